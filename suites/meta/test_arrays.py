"""The framework borders: bit patterns become tensors and come back, in every layout, and mean the same there."""

import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit import arrays, numpy_arrays, torch_arrays
from lastbit.arrays import UnavailableError, code_dtype
from lastbit.errors import UsageError
from lastbit.guards import POISON, POISON_ELSE, TELLTALE, poison
from lastbit.kernel import FORMATS
from lastbit.layouts import ALIGNMENT, LAYOUTS, MARGIN, place
from lastbit.references.formats import Format

HELD = {"torch": tuple(torch_arrays.DTYPES), "numpy": (*numpy_arrays.NATIVE, *numpy_arrays.ML_DTYPES)}
BORDERS = [(framework, format) for framework, formats in HELD.items() for format in formats]
#: Bits of formats narrower than a byte.
NARROW = {"e3m2fn": 6, "e2m3fn": 6, "e2m1fn": 4, "i4": 4, "u4": 4}


def every_code(format: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]":
    """All bit patterns of a format of 16 bits or fewer; of wider ones the edges of every exponent."""
    dtype = code_dtype(format)
    if dtype.itemsize <= 2:
        return np.arange(2 ** NARROW.get(format, 8 * dtype.itemsize), dtype=np.int64).astype(dtype)
    edges = np.arange(2**12, dtype=np.uint64) << np.uint64(8 * dtype.itemsize - 12)
    return np.concatenate([edges, edges + np.uint64(1), edges - np.uint64(1)]).astype(dtype)


@pytest.mark.parametrize(("framework", "format"), BORDERS)
def test_codes_come_back_from_every_layout(framework: str, format: str) -> None:
    border = arrays.of(framework)
    codes = every_code(format).reshape(-1, 4, 4)
    for layout in LAYOUTS:
        if layout == "broadcast" or (layout == "reversed" and not border.has_negative_strides()):
            continue
        placement = place(layout, codes.shape, codes.itemsize)
        buffer = border.allocate(placement.nbytes, "cpu")
        placement.view(border.host(buffer), codes.dtype)[...] = codes
        back = border.codes(border.view(buffer, placement, format), format)
        assert back.dtype == codes.dtype
        assert back.flags.c_contiguous
        assert np.array_equal(back, codes), layout


@pytest.mark.parametrize(("framework", "format"), BORDERS)
def test_codes_mean_the_same_in_the_framework(framework: str, format: str) -> None:
    """The dtype is the right one, not merely one of the right width."""
    codes = np.arange(2, dtype=np.uint8) if format == "bool" else every_code(format)
    tensor = arrays.tensor(codes, format, framework)
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = tensor.to(torch.float64).numpy() if framework == "torch" else tensor.astype(np.float64)
    meant = codes.astype(np.float64) if format == "bool" else Format.of(format).decode(codes)
    assert np.array_equal(values, meant, equal_nan=True)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    border=st.sampled_from(BORDERS),
    layout=st.sampled_from(sorted(LAYOUTS)),
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 2**32),
)
def test_codes_round_trip(border: tuple[str, str], layout: str, shape: tuple[int, ...], seed: int) -> None:
    framework, format = border
    held = arrays.of(framework)
    dtype = code_dtype(format)
    codes = np.random.default_rng(seed).integers(0, 2 ** NARROW.get(format, 8 * dtype.itemsize), shape, dtype)
    placement = place(layout, shape, dtype.itemsize)
    if layout == "broadcast" and 0 in placement.strides:
        codes = np.broadcast_to(codes[(slice(0, 1),) * (len(shape) - 2)], shape).copy()
    buffer = held.allocate(placement.nbytes, "cpu")
    content = held.host(buffer)
    content[:] = 0
    placement.view(content, dtype)[...] = codes
    if min(placement.strides) < 0 and not held.has_negative_strides():
        return
    tensor = held.view(buffer, placement, format)
    assert tuple(tensor.shape) == shape
    assert np.array_equal(held.codes(tensor, format), codes)
    assert not held.misfit(tensor, shape, format, "cpu")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=4).map(tuple),
    itemsize=st.sampled_from([1, 2, 4, 8]),
)
def test_placements_are_apart_and_inside(layout: str, shape: tuple[int, ...], itemsize: int) -> None:
    """No two elements share a place, but for broadcast; a margin is left on both sides; lengths are aligned."""
    placement = place(layout, shape, itemsize)
    index = np.zeros(shape, np.int64) + placement.start
    for axis, stride in enumerate(placement.strides):
        index += stride * np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    assert placement.nbytes % ALIGNMENT == 0
    if index.size:
        assert index.min() * itemsize >= MARGIN
        assert (placement.length - 1 - index.max()) * itemsize >= MARGIN
    if layout != "broadcast":
        assert np.unique(index).size == index.size
    if layout not in ("offset", "reversed"):
        assert placement.start * itemsize % ALIGNMENT == 0


@pytest.mark.parametrize(
    ("layout", "strides"),
    [
        ("contiguous", (20, 5, 1)),
        ("transposed", (20, 1, 4)),
        ("strided", (40, 10, 2)),
        ("strided_rows", (40, 10, 1)),
        ("offset", (20, 5, 1)),
        ("broadcast", (0, 5, 1)),
        ("reversed", (20, -5, -1)),
    ],
)
def test_layouts_have_their_strides(layout: str, strides: tuple[int, ...]) -> None:
    placement = place(layout, (3, 4, 5), 4)
    assert placement.strides == strides
    assert (placement.start * 4 % ALIGNMENT != 0) == (layout in ("offset", "reversed"))


def test_place_refuses_unknown_layouts() -> None:
    with pytest.raises(UsageError, match="layout 'spiral': expected one of contiguous, transposed, strided"):
        place("spiral", (2, 2), 4)


@pytest.mark.parametrize("format", sorted(FORMATS - {"i4", "u4", "nf4"}))
def test_poison_is_not_a_number_or_as_far_out_as_can_be(format: str) -> None:
    known = Format.of(format)
    value = float(known.decode(np.array([poison(format)], code_dtype(format)))[0])
    if known.has_nan:
        assert np.isnan(value)
    else:
        assert abs(value) >= known.max


def test_telltale_poison_is_no_nan_that_arithmetic_makes() -> None:
    """Not an architecture's default NaN (quiet bit, or all of the significand) of either sign, nor one converted."""
    significands = {"f64": 52, "f32": 23, "tf32": 23, "f16": 10, "bf16": 7}
    assert set(significands) == TELLTALE
    types = {"f64": np.float64, "f32": np.float32, "tf32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
    with np.errstate(invalid="ignore"):
        made = np.float64("inf") * np.zeros(1)
    for format, bits in significands.items():
        width = 8 * code_dtype(format).itemsize
        infinity, sign = (1 << (width - 1)) - (1 << bits), 1 << (width - 1)
        defaults = {infinity | 1 << (bits - 1), infinity | ((1 << bits) - 1)}
        here = {int(value.astype(types[format]).view(code_dtype(format))[0]) for value in (made, -made)}
        assert here <= defaults | {code | sign for code in defaults}
        assert poison(format) not in defaults | {code | sign for code in defaults}


def test_every_poison_fits_its_format() -> None:
    assert all(0 <= code < 2 ** (8 * code_dtype(format).itemsize) for format, code in POISON.items())
    assert POISON_ELSE == 0xFF


def test_lazily_negated_tensors_are_read_as_they_are() -> None:
    """torch.conj marks the imaginary part of a complex tensor instead of computing it."""
    lazy = torch.tensor([1 + 2j]).conj().imag
    assert lazy.is_neg()
    assert torch_arrays.codes(lazy, "f32").view(np.float32) == np.float32(-2)


def test_frameworks_say_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match="jax is not supported by this version of lastbit; wrap the kernel"):
        arrays.of("jax")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        without.delitem(sys.modules, "lastbit.torch_arrays")
        with pytest.raises(UnavailableError, match=r"torch kernels cannot run here: .*; install torch"):
            arrays.of("torch")
    with pytest.raises(UnavailableError, match=r"PyTorch .* has no type for e9m9"):
        torch_arrays.dtype("e9m9")
    with pytest.raises(UnavailableError, match="has no type for e9m9"):
        numpy_arrays.dtype("e9m9")
    with pytest.raises(UnavailableError, match="NumPy arrays live on the CPU, not on cuda"):
        numpy_arrays.allocate(16, "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_named() -> None:
    with pytest.raises(UnavailableError, match="PyTorch finds no CUDA device"):
        torch_arrays.allocate(16, "cuda")


@pytest.mark.parametrize(("framework", "type"), [("torch", torch.uint8), ("numpy", np.dtype(np.uint8))])
def test_formats_that_a_framework_lacks_travel_as_codes(framework: str, type: object) -> None:
    border = torch_arrays if framework == "torch" else numpy_arrays
    lacking = [format for format in sorted(FORMATS) if border.dtype(format) == type and format != "u8"]
    assert {"nf4", "p3109_8p3se"} <= set(lacking)
    assert ({"e3m4", "e2m1fn", "i4"} <= set(lacking)) == (framework == "torch")
    for format in lacking:
        codes = np.arange(2 ** Format.of(format).bits, dtype=np.uint8)
        tensor = arrays.tensor(codes, format, framework)
        assert np.array_equal(np.asarray(tensor), codes)
        assert np.array_equal(border.codes(tensor, format), codes)
        assert not border.misfit(tensor, codes.shape, format, "cpu")


@pytest.mark.parametrize("format", sorted(numpy_arrays.NARROW))
def test_bits_above_a_narrow_type_of_ml_dtypes_mean_nothing(format: str) -> None:
    """ml_dtypes reads a byte whose upper bits are set, as a sign-extended int4 has them, as the same number."""
    every = np.arange(256, dtype=np.uint8)
    tensor = every.view(numpy_arrays.dtype(format))
    codes = numpy_arrays.codes(tensor, format)
    assert int(codes.max()) < 2 ** numpy_arrays.NARROW[format]
    assert np.array_equal(Format.of(format).decode(codes), tensor.astype(np.float64))


def test_framework_of_a_value() -> None:
    assert arrays.framework_of(torch.zeros(1)) == "torch"
    assert arrays.framework_of(np.zeros(1)) == "numpy"
    assert arrays.framework_of([0.0]) == ""
