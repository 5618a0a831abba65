"""Our quantizers in Triton: every 16-bit number, every tie, any f32 tensor, and faults planted in their source."""

import importlib.util
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit import discovery
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized, quantize, right, right_scales
from lastbit.references.scaling import Scaling
from lastbit.scaled_storage import read
from lastbit.verify import verify

pytest.importorskip("torch")

import torch

from lastbit.providers import triton_quantize
from lastbit.providers.triton_quantize import NAMES

FOUND = discovery.find(only=("triton/*quantize-*", "numpy/quantize-i8-row"))
KERNELS = {kernel.name.partition("/")[2]: kernel for kernel in FOUND.kernels if kernel.name.startswith("triton/")}

pytestmark = [
    pytest.mark.skipif("triton" in FOUND.absent, reason=FOUND.absent.get("triton", "")),
    # Interpreted, quotients are NumPy's, which warns of those that are infinite or NaN.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def quantized(name: str, fmt: str, codes: np.ndarray) -> Quantized:
    """What the Triton quantizer makes of numbers given by their codes."""
    kernel = KERNELS[f"quantize-{name}" + ("" if fmt == "f32" else f"-{fmt}")]
    raw, dtype = {
        "f32": (np.int32, torch.float32),
        "bf16": (np.int16, torch.bfloat16),
        "f16": (np.int16, torch.float16),
    }[fmt]
    x = torch.from_numpy(codes.astype(f"u{np.dtype(raw).itemsize}").view(raw)).view(dtype).to(kernel.devices[0])
    arrays = []
    for array in kernel.run(x):
        held = np.asarray(array.cpu().view(torch.uint8 if array.element_size() == 1 else torch.int32))
        arrays.append(held.view(f"u{held.itemsize}"))
    found, strange = read(arrays, Scaling.of(name), codes.shape)
    assert found is not None, strange
    return found


def assert_exact(name: str, fmt: str, codes: np.ndarray) -> None:
    """Every code, scale and global scale is that of the exact quantizer."""
    found = quantized(name, fmt, codes)
    expected = quantize(Format.of(fmt).decode(codes), name, fmt)
    assert right(found.codes, expected, name).all()
    assert right_scales(np.asarray(found.scale), expected, name).all()
    if expected.global_scale is not None:
        top = Format.of("f32").decode(np.stack([np.asarray(found.global_scale), np.asarray(expected.global_scale)]))
        assert np.array_equal(top[:1], top[1:], equal_nan=True)


def test_every_preset_has_kernels_of_every_format() -> None:
    assert set(KERNELS) == {
        f"{op}-{name}{suffix}"
        for op in ("quantize", "dequantize")
        for name in NAMES
        for suffix in ("", "-bf16", "-f16")
    }
    for kernel in KERNELS.values():
        assert kernel.contract.source == triton_quantize.SOURCE
        assert kernel.scaling == Scaling.of(kernel.scaling.name)


@pytest.mark.parametrize("fmt", ["bf16", "f16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_16_bits_is_quantized_exactly(name: str, fmt: str) -> None:
    """In ascending rows, so that few groups hold an infinity or NaN; the tensor's own scale sees none of them."""
    codes = np.arange(1 << 16, dtype=np.uint16)
    values = Format.of(fmt).decode(codes)
    if Scaling.of(name).granularity == "tensor" or Scaling.of(name).global_scale:
        codes = codes[np.abs(values) < np.inf]
    assert_exact(name, fmt, codes.reshape(-1, 256) if codes.size % 256 == 0 else codes.reshape(1, -1))


@pytest.mark.parametrize(
    ("name", "largest"), [("fp8_row", 448.0), ("mxfp8_e5m2", 57344.0), ("mxfp4", 6.0), ("i8_row", 127.0)]
)
def test_every_tie_and_its_neighbours_go_where_fractions_say(name: str, largest: float) -> None:
    """Groups that hold the largest element have the scale 1: numbers are rounded as they stand."""
    scaling = Scaling.of(name)
    element = Format.of(scaling.element)
    levels = np.unique(element.decode(np.arange(1 << element.bits, dtype=element.code_dtype)))
    levels = levels[(levels >= scaling.low) & (levels <= scaling.high)]
    middle = ((levels[1:] + levels[:-1]) / 2).astype(np.float32)
    beside = [np.nextafter(middle, np.float32(side)) for side in (-np.inf, np.inf)]
    numbers = np.concatenate([middle, *beside, levels.astype(np.float32)])
    numbers = np.resize(numbers, (-(-numbers.size // 31), 31))
    x = np.concatenate([numbers, np.full((len(numbers), 1), largest, np.float32)], axis=1)
    found = quantized(name, "f32", x.view(np.uint32))
    values = element.decode(found.codes)
    exact = sorted(map(Fraction, levels.tolist()))
    code_of = {Fraction(value): int(element.encode(np.asarray(value))) for value in levels.tolist()}
    for number, value in zip(x.ravel().tolist(), values.ravel().tolist(), strict=True):
        # Of two levels equally near, the one whose code is even.
        best = min(exact, key=lambda level: (abs(level - Fraction(number)), code_of[level] & 1))
        assert Fraction(value) == best, number


@pytest.mark.parametrize("name", ["fp8_tensor", "fp8_row", "i8_row"])
def test_scales_of_a_few_units_in_the_last_place_saturate(name: str) -> None:
    """amax / largest is rounded by up to a half of itself: the quotient of amax is beyond the largest element."""
    for most in (300, 500, 650, 1000, 1500):
        codes = np.arange(most + 1, dtype=np.uint32)[None, :]
        assert_exact(name, "f32", codes | np.uint32(0x80000000) * (codes & 1))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_f32_tensor_is_quantized_exactly(data: Any) -> None:
    name = data.draw(st.sampled_from(NAMES))
    shape = data.draw(st.tuples(*(st.integers(1, size) for size in (2, 5, 150))))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    spread = data.draw(st.sampled_from([1, 8, 255]))
    field = rng.integers(0, spread, shape) + data.draw(st.integers(0, 255 - spread))
    codes = (rng.integers(0, 2, shape) << 31) | (field << 23) | rng.integers(0, 1 << 23, shape)
    codes[rng.random(shape) < data.draw(st.sampled_from([0.0, 0.3]))] = 0
    assert_exact(name, "f32", codes.astype(np.uint32))


#: Kernel, line of its source, what a fault makes of it, and the check that has to see it.
FAULTS = [
    ("quantize-i8_row-f16", "tl.div_rn(number, factor)", "number * tl.div_rn(factor / factor, factor)", "ties"),
    ("quantize-i8_row-f16", "tl.load(x + column * x_n", "tl.load(x + column", "layout"),
    ("quantize-mxfp4", "whole + half - 1 + ((whole >> shift) & 1)", "whole + half", "ties"),
    ("quantize-mxfp4", "<< (4 * half)", "<< (4 * (1 - half))", "exact"),
    ("quantize-mxfp8_e4m3-bf16", "(bits >> 23) - LARGEST", "((bits + 0x7FFFFF) >> 23) - LARGEST", "scale_rule"),
    ("quantize-fp8_group128-f16", "tl.minimum(start + run, n)", "tl.minimum(start + run - 1, n)", "amax"),
    ("quantize-fp8_tensor", "tl.where((size == 0) | (factor == 0), 1.0, factor)", "factor + 0.0", "blocks"),
    ("quantize-mxfp8_e4m3-bf16", "tl.where(code > MOST, MOST, code)", "code & 0x7F", "exact"),
    (
        "quantize-fp8_group128-f16",
        "tl.cdiv(n, run) + slot, stored",
        "tl.cdiv(n, run) + slot // runs + slot % runs * m, stored",
        "placed",
    ),
    ("quantize-nvfp4", "tl.where(ratio < 0.015625, 0.015625, ratio)", "ratio", "blocks"),
    ("dequantize-mxfp4", "tl.where(power == 0, 0x400000, power << 23)", "(power << 23)", "scales"),
    ("dequantize-mxfp4", "byte >> (4 * half)", "byte >> (4 * (1 - half))", "codes"),
    ("dequantize-fp8_row-bf16", "bits + 0x7FFF + ((bits >> 16) & 1)", "bits", "rounding"),
]


def mutant(old: str, new: str, folder: Path) -> Callable[[str], Any]:
    """The provider's `_jit` of a copy of the kernels in which `old` is `new`."""
    import triton

    from lastbit.providers import triton_quantize_kernels

    text = Path(str(triton_quantize_kernels.__file__)).read_text()
    assert text.count(old) >= 1
    path = folder / "mutant_kernels.py"
    path.write_text(text.replace(old, new))
    spec = importlib.util.spec_from_file_location("mutant_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda name: triton.jit(getattr(module, name))


@pytest.mark.parametrize(("name", "old", "new", "check"), FAULTS)
def test_planted_fault_is_caught(
    name: str, old: str, new: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_quantize, "_jit", mutant(old, new, tmp_path))
    report = verify(KERNELS[name], tier="smoke", seed=3, device=KERNELS[name].devices[0])
    assert check in {record.check for record in report.records if record.outcome.failed}
