"""The libraries' scaled products: what they declare, and that one of each kind conforms."""

from importlib.util import find_spec

import pytest

from lastbit.discovery import find
from lastbit.verdict import Outcome
from lastbit.verify import verify

#: One kernel of each arithmetic of each provider.
SAMPLE = (
    "numpy/scaled-nvfp4",
    "numpy/scaled-i8-rows",
    "simulated/scaled-h100-fp8-blocks",
    "simulated/scaled-b200-mxfp8",
    "simulated/scaled-b200-nvfp4",
    "torch/_scaled_mm-f16",
    "torch/_scaled_mm-rows-f32",
    "torch/scaled_mm-rows-bf16",
    "torch/_weight_int8pack_mm-bf16",
    "torch/_weight_int4pack_mm-f32",
    "onnxruntime/matmul-integer-u8-i8",
    "onnxruntime/qlinear-matmul-i8-i8",
    "onnxruntime/matmul-integer-to-float-u8-u8",
    "onnxruntime/matmul-nbits-4-f32",
)


@pytest.mark.parametrize("name", SAMPLE)
def test_kernel_conforms(name: str) -> None:
    pytest.importorskip({"simulated": "numpy"}.get(name.partition("/")[0], name.partition("/")[0]))
    found = find(only=(name,)).kernels
    assert len(found) == 1
    report = verify(found[0], tier="smoke", seed=5)
    assert report.passed, str(report)
    outcomes = {record.outcome for record in report.records}
    assert outcomes <= {Outcome.PASS, Outcome.NOT_TESTED}


def test_every_kernel_names_its_source_and_its_scalings() -> None:
    if not find_spec("torch"):
        pytest.skip("torch is not installed")
    kernels = [kernel for kernel in find().kernels if kernel.op == "scaled_gemm"]
    assert len({kernel.name for kernel in kernels}) == len(kernels)
    for kernel in kernels:
        assert kernel.contract.source, kernel.name
        assert kernel.format_sets
        assert all(formats.keys() >= {"a", "b", "out"} for formats in kernel.format_sets)
