"""Other people's quantizers: what is offered, that it conforms or fails as a finding says, and what is missing."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lastbit import discovery
from lastbit.kernel import Kernel
from lastbit.providers import quantizers
from lastbit.providers.quantizers import Family, settled
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import scaling_of
from lastbit.verify import verify

PROVIDERS = ("torchao", "bitsandbytes", "gguf", "onnxruntime")
OPS = ("quantize", "dequantize")
#: One kernel of each adapter, and what it has to be among.
SAMPLE = (
    "torchao/quantize-mxfp8_e4m3_floor",
    "torchao/quantize-mxfp4_rceil",
    "torchao/quantize-mxfp6_e2m3_floor",
    "torchao/quantize-mxfp8_e4m3-swizzled",
    "torchao/dequantize-mxfp4-bf16",
    "torchao/quantize-nvfp4",
    "torchao/dequantize-nvfp4-swizzled-bf16",
    "torchao/quantize-i4_group32_zp",
    "torchao/dequantize-i8_affine-bf16",
    "torchao/quantize-fp8_row_torchao",
    "torchao/dequantize-fp8_row_torchao-f16",
    "bitsandbytes/quantize-nf4",
    "bitsandbytes/dequantize-nf4-f32",
    "bitsandbytes/quantize-i8_row",
    "bitsandbytes/int8_linear_matmul",
    "gguf/quantize-Q4_0",
    "gguf/quantize-Q5_0",
    "gguf/quantize-TQ2_0",
    "gguf/quantize-MXFP4",
    "gguf/dequantize-Q8_0",
    "gguf/dequantize-NVFP4",
    "onnxruntime/quantize-i8-row-f32",
    "onnxruntime/quantize-u4-group-f16",
    "onnxruntime/quantize-e5m2fnuz-tensor-f32",
    "onnxruntime/quantize-dynamic",
    "onnxruntime/dequantize-i4-group-f16",
)


def provided(provider: str) -> dict[str, Kernel]:
    # Found, not imported: torchao imports Triton, which has to be told to interpret before.
    if importlib.util.find_spec(provider) is None:
        pytest.skip(f"{provider} is not installed")
    found = discovery.find(only=(f"{provider}/*",)).kernels
    return {kernel.name: kernel for kernel in found}


def scaled(provider: str) -> Iterator[Kernel]:
    return (kernel for kernel in provided(provider).values() if kernel.op in OPS)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_quantizer_names_its_source_and_has_a_scaling(provider: str) -> None:
    kernels = list(scaled(provider))
    assert kernels
    for kernel in kernels:
        scaling = scaling_of(kernel)
        assert kernel.contract.source, kernel.name
        assert scaling.source, kernel.name
        assert kernel.devices == ("cpu",)
        assert kernel.format_sets
        # Nothing is left open that the library's source says.
        assert scaling.arithmetic is not None, kernel.name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_scalings_of_one_name_are_one_scaling(provider: str) -> None:
    """A name in a report stands for one way to quantize, whatever kernel has it."""
    by_name = {name: Scaling.of(name) for name in Scaling.names()}
    for kernel in scaled(provider):
        scaling = scaling_of(kernel)
        assert by_name.setdefault(scaling.name, scaling) == scaling, kernel.name


@pytest.mark.parametrize(
    ("provider", "elements"),
    [
        ("torchao", {"e4m3fn", "e5m2", "e3m2fn", "e2m3fn", "e2m1fn", "i8", "i4", "u4"}),
        ("bitsandbytes", {"nf4", "i8"}),
        ("gguf", {"u4", "u8", "i8", "e2m1fn"}),
        ("onnxruntime", {"i8", "u8", "i4", "u4", "e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz"}),
    ],
)
def test_a_library_is_asked_for_every_element_that_it_has(provider: str, elements: set[str]) -> None:
    kernels = [kernel for kernel in scaled(provider) if kernel.op == "quantize"]
    assert {scaling_of(kernel).element for kernel in kernels} == elements
    if provider == "torchao":
        powers = [scaling_of(kernel).rule for kernel in kernels if scaling_of(kernel).scale_format == "e8m0fnu"]
        assert {rule: powers.count(rule) for rule in ("floor", "ceil", "even", "rceil")} == {
            "floor": 6,
            "ceil": 5,
            "even": 5,
            "rceil": 5,
        }


@pytest.mark.parametrize("name", SAMPLE)
def test_a_kernel_conforms_or_fails_as_a_finding_says(name: str) -> None:
    kernel = provided(name.partition("/")[0])[name]
    report = verify(kernel, tier="smoke", seed=3)
    assert [record for record in report.records if record.outcome.failed and not record.known] == []
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("name", "field", "check"),
    [
        ("torchao/quantize-i8_row_torchao", {"arithmetic": "divide"}, "ties"),
        ("torchao/quantize-mxfp6_e2m3_floor", {"rule": "ceil"}, "exact"),
        ("torchao/quantize-nvfp4_single", {"smallest_scale": 2.0**-9}, "blocks"),
        ("bitsandbytes/quantize-nf4", {"rounding": "nearest-even"}, "ties"),
        ("bitsandbytes/quantize-i8_row", {"steps": 1, "largest": 127.0}, "exact"),
        ("gguf/quantize-Q8_0", {"rounding": "nearest-even"}, "ties"),
        ("gguf/quantize-Q5_0", {"unrounded_divisor": False}, "ties"),
        ("gguf/quantize-TQ2_0", {"fixed_zero": 0.0}, "exact"),
        ("onnxruntime/quantize-i8-tensor-f32", {"zero_before_rounding": True}, "ties"),
        ("onnxruntime/quantize-u8-group-f32", {"arithmetic": "reciprocal"}, "ties"),
    ],
)
def test_a_library_held_to_another_promise_is_caught(name: str, field: dict[str, Any], check: str) -> None:
    """The contracts say something: the same kernel under a neighbouring one fails in the check that shows it."""
    kernel = provided(name.partition("/")[0])[name]
    mistaken = replace(kernel, scaling=replace(scaling_of(kernel), **field))
    report = verify(mistaken, tier="smoke", seed=3)
    failing = {record.check for record in report.records if record.outcome.failed and not record.known}
    assert check in failing


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_that_is_absent_is_not_installed(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == provider]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, provider, None)
    forget(provider, monkeypatch)
    found = discovery.find(only=(f"{provider}/*", "numpy/quantize-i8-row"))
    assert [kernel.name for kernel in found.kernels] == ["numpy/quantize-i8-row"]
    assert found.absent[provider].startswith("not installed (")
    # ONNX Runtime's nodes are built with onnx, which may be the one that is missing.
    assert "No module named 'onnx" in found.absent[provider] or provider in found.absent[provider]


def forget(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the provider look at the library anew; afterwards it does so again."""
    for room in discovery.ROOMS.get(provider, (provider,)):
        module = importlib.import_module(f"lastbit.providers.{room}")
        if hasattr(module, "_settled"):
            monkeypatch.setattr(module, "_settled", module._settled.__wrapped__)


def test_an_entry_point_that_moved_is_reported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    provided("gguf")
    import gguf

    monkeypatch.delattr(gguf.quants, "MXFP4")
    forget("gguf", monkeypatch)
    found = discovery.find(only=("gguf/*",))
    assert found.absent["gguf/*-MXFP4"].endswith("has no gguf.quants.MXFP4)")
    names = {kernel.name for kernel in found.kernels}
    assert "gguf/quantize-Q8_0" in names
    assert not {name for name in names if name.endswith("-MXFP4")}


def test_a_family_without_its_module_or_attribute_is_missing() -> None:
    def kernels() -> Iterator[Kernel]:
        yield quantizers.quantizer("x/y", lambda x: x, "i8_row", ("f32",), "here")  # type: ignore[arg-type]

    there = Family("x/y", "math", ("sqrt",), kernels)
    moved = Family("x/m*", "math", ("sqrt", "cube_of"), kernels)
    gone = Family("x/g*", "math.nowhere", (), kernels)
    found, missing = settled((there, moved, gone), "lib 1.0")
    assert [kernel.name for kernel in found] == ["x/y"]
    assert missing == {
        "x/m*": "changed upstream (lib 1.0 has no math.cube_of)",
        "x/g*": "changed upstream (lib 1.0 has no math.nowhere)",
    }
