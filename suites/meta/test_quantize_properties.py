"""What a quantizer must do beyond arithmetic: special values, order, idempotence, chance; and planted faults show."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_numbers import KINDS, numbers

from lastbit.references import four_over_six
from lastbit.references.dequantize import truth
from lastbit.references.formats import Format
from lastbit.references.quantize import given as given_scales
from lastbit.references.quantize import quantize, quantize_with, right, right_scales, scales
from lastbit.references.quantize_fp4 import applies
from lastbit.references.scaling import Scaling, ScalingError

#: What a wrong quantizer does, as the scaling that it follows instead.
FAULTS = {
    "ties away": ("mxint8", {"rounding": "nearest-away"}),
    "truncation": ("mxfp8_e5m2", {"rounding": "toward-zero"}),
    "narrow range": ("i8_row_torchao", {"lowest": -127.0}),
    "wrong largest": ("fp8_row", {"largest": 240.0}),
    "reciprocal": ("fp8_row", {"arithmetic": "reciprocal"}),
    "half the group": ("mxfp4", {"group": 16}),
    "other axis": ("i8_row", {"granularity": "column"}),
    "ceil for floor": ("mxfp8_e4m3", {"rule": "ceil"}),
    "even for floor": ("mxfp4", {"rule": "even"}),
    "rceil for ceil": ("mxfp8_e5m2", {"rule": "rceil"}),
    "scale rounded up": ("nvfp4", {"scale_rounding": "up"}),
    "no global scale": ("nvfp4", {"global_largest": 6.0}),
    "stored scale": ("gguf_q8_0", {"unrounded_divisor": False}),
    "bf16 arithmetic": ("fp8_row", {"compute": "bf16"}),
    "no -0": ("mxfp4", {"negative_zero": False}),
    "zero point": ("i8_affine", {"lowest": -127.0}),
    "signed group": ("gguf_q4_0", {"rule": "amax_over_max"}),
    "midpoints in f32": ("nf4", {"rounding": "thresholds", "arithmetic": "divide"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_quantizer_gives_other_codes(fault: str) -> None:
    name, changed = FAULTS[fault]
    scaling = Scaling.of(name)
    wrong = replace(scaling, **changed)  # type: ignore[arg-type]
    for kind in ("ties", "normal", "wide"):
        x = numbers(kind, (64, 256), "bf16" if fault == "reciprocal" else "f32", 1)
        if fault == "midpoints in f32":
            x[:, ::64] = 1
            levels = Format.of("nf4").levels
            x[:, 1:16] = np.float32((np.array(levels[1:]) + np.array(levels[:-1])) / 2)
            x = np.clip(x, -1, 1)
        expected, obtained = quantize(x, scaling), quantize(x, wrong)
        same_scales = expected.scale is not None and np.array_equal(expected.scale, obtained.scale)
        if not same_scales or not right(obtained.codes, expected, scaling).all():
            return
    pytest.fail(f"{fault}: no code and no scale differs")


@pytest.mark.parametrize("name", ["mxfp4", "mxfp4_rceil", "mxfp4_even", "nvfp4", "nvfp4_divide", "nvfp4_round_up"])
@settings(max_examples=25)
@given(kind=st.sampled_from((*KINDS, "special")), seed=st.integers(0, 2**32))
def test_fp4_in_float32_is_the_general_quantizer(name: str, kind: str, seed: int) -> None:
    scaling = Scaling.of(name)
    x = numbers("normal" if kind == "special" else kind, (5, 96), "f32", seed)
    if kind == "special":
        rng = np.random.default_rng(seed)
        x[rng.random(x.shape) < 0.03] = rng.choice([np.nan, np.inf, -np.inf])
    assert applies(scaling, "f32", x.shape)
    fast = quantize(x.astype(np.float32), scaling)
    slow = quantize_with(x, scales(x, scaling), scaling)
    assert right(fast.codes, slow, scaling).all()
    assert right_scales(np.asarray(fast.scale), slow, scaling).all()
    assert np.array_equal(fast.unspecified, slow.unspecified)
    assert fast.global_scale == slow.global_scale


@pytest.mark.parametrize("name", [name for name in Scaling.names() if name.startswith("mxfp")])
def test_a_nan_makes_its_block_nan_and_no_other(name: str) -> None:
    x = numbers("normal", (2, 96), "f32", 3)
    x[0, 40] = np.nan
    obtained = quantize(x, name)
    assert obtained.scale is not None
    assert obtained.scale.tolist() == [
        [s if (i, j) != (0, 1) else 0xFF for j, s in enumerate(row)]
        for i, row in enumerate(quantize(np.nan_to_num(x), name).scale.tolist())
    ]  # type: ignore[union-attr]
    assert obtained.unspecified is not None
    assert obtained.unspecified.nonzero()[1].tolist() == list(range(32, 64))


@pytest.mark.parametrize(
    ("name", "code"),
    [("mxfp4", None), ("mxfp8_e4m3_floor", 247), ("mxfp4_rceil", 254), ("mxfp6_e2m3_ceil", 253)],
)
def test_an_infinity_makes_the_declared_scale(name: str, code: int | None) -> None:
    x = numbers("normal", (1, 64), "f32", 4)
    x[0, 3] = -np.inf
    obtained = quantize(x, name)
    assert obtained.scale is not None
    assert obtained.unspecified_scale is not None
    assert obtained.unspecified_scale.tolist() == [[code is None, False]]
    if code is not None:
        assert obtained.scale[0, 0] == code
        element = Format.of(Scaling.of(name).element)
        assert element.decode(obtained.codes)[0, 3] == element.lowest


@settings(max_examples=25)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32))
def test_four_over_six_is_the_better(kind: str, seed: int) -> None:
    scaling = Scaling.of("nvfp4_four_over_six")
    x = numbers(kind, (2, 32), "f32", seed)
    if not np.abs(x).max() * 2.0**-11 > 2.0**-120:
        return
    six = quantize_with(x, scales(x, replace(scaling, rule="amax_over_max")), scaling)
    four = quantize_with(x, scales(x, replace(scaling, rule="amax_over_max", largest=4.0)), scaling)
    obtained = quantize(x, scaling)

    def squares(quantized: Any, block: tuple[int, slice]) -> Fraction:
        worth = truth(quantized, scaling)
        total = Fraction(0)
        for value, hi, lo in zip(x[block], worth.hi[block], worth.lo[block], strict=True):
            total += (Fraction(value) - Fraction(hi) - Fraction(lo)) ** 2
        return total

    for row in range(2):
        for column in range(2):
            block = row, slice(16 * column, 16 * column + 16)
            better = four if squares(four, block) < squares(six, block) else six
            assert obtained.scale is not None
            assert better.scale is not None
            assert obtained.scale[row, column] == better.scale[row, column]
            assert obtained.codes[block].tolist() == better.codes[block].tolist()


def test_close_sums_of_squares_are_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With sums that mean nothing, all of them taken as close, the choice is the same."""
    x = numbers("normal", (5, 64), "f32", 8)
    expected = quantize(x, "nvfp4_four_over_six")
    calls = iter(range(2))
    monkeypatch.setattr(four_over_six, "CLOSE", np.inf)
    monkeypatch.setattr(four_over_six, "reduced", lambda squares, *_: np.full((5, 4), 1.0 + next(calls)))
    obtained = quantize(x, "nvfp4_four_over_six")
    assert np.array_equal(obtained.scale, expected.scale)
    assert np.array_equal(obtained.codes, expected.codes)
    assert not np.array_equal(expected.scale, quantize(x, six_only()).scale)


def six_only() -> Scaling:
    """Four over six that never takes four."""
    return replace(Scaling.of("nvfp4_four_over_six"), rule="amax_over_max")


@pytest.mark.parametrize(
    "name", [name for name in Scaling.names() if "affine" not in name and Scaling.of(name).zero_point is None]
)
def test_codes_rise_with_the_numbers(name: str) -> None:
    """Monotone, whatever the scale."""
    scaling = Scaling.of(name)
    element = Format.of(scaling.element)
    scale = Format.of(scaling.scale_format or "f32").encode(
        np.array(0.75 if scaling.scale_format != "e8m0fnu" else 0.5)
    )
    top = None if scaling.global_scale is None else Format.of("f32").encode(np.array(1.25))
    x = np.sort(numbers("normal", (1, 4096), "f32", 5) * 40)
    known = given_scales(replace(scaling, granularity="tensor"), scale, None, top)
    keys = element.keys(
        quantize_with(x, known, replace(scaling, granularity="tensor", rounding=scaling.rounding)).codes
    )
    assert (np.diff(keys[0]) >= 0).all()
    assert keys[0, 0] < keys[0, -1]


STABLE = [name for name in Scaling.names() if name.startswith("mx") and "rceil" not in name and name != "mxint8"]


@pytest.mark.parametrize("name", STABLE)
@settings(max_examples=10)
@given(kind=st.sampled_from(["normal", "ties", "wide", "zeros"]), seed=st.integers(0, 2**32))
def test_quantizing_what_was_quantized_changes_nothing(name: str, kind: str, seed: int) -> None:
    """Powers of two from the exponent of amax: the largest element keeps it, or becomes one that half the scale has."""
    first = quantize(numbers(kind, (2, 64), "f32", seed), name)
    worth = truth(first, name).hi
    second = quantize(worth, name)
    assert np.array_equal(truth(second, name).hi, worth)


def test_mxint8_is_not_stable_at_minus_two() -> None:
    """-1.999 becomes -2 times the scale, an amax of the next binade; the symmetric variant stops at -127/64."""
    x = np.zeros((1, 32))
    x[0, :2] = -1.999, 1 / 64
    for name, stable in (("mxint8", False), ("mxint8_symmetric", True)):
        worth = truth(quantize(x, name), name).hi
        assert np.array_equal(truth(quantize(worth, name), name).hi, worth) == stable


def test_stochastic_rounding_rounds_up_as_often_as_it_should() -> None:
    """False alarm: 6 sigma of a binomial, 2e-9 each."""
    scaling = replace(Scaling.of("i8_tensor"), rounding="stochastic", rule="given")
    runs = 20000
    rng = np.random.default_rng(6)
    known = given_scales(scaling, Format.of("f32").encode(np.array(0.5)))
    for fraction in (0.5, 0.25, 0.125, 0.8125):
        x = np.full((1, runs), 0.5 * (3 + fraction))
        random = rng.integers(0, 1 << 20, x.shape)
        codes = quantize_with(x, known, scaling, random=random).codes
        assert set(codes.ravel().tolist()) <= {3, 4}
        assert abs((codes == 4).sum() - runs * fraction) < 6 * (runs * fraction * (1 - fraction)) ** 0.5


def test_undeclared_arithmetic_and_given_scales_are_refused() -> None:
    x = np.ones((1, 32))
    with pytest.raises(ScalingError, match="allowed_codes"):
        quantize(x, replace(Scaling.of("i8_row"), arithmetic=None))
    with pytest.raises(ScalingError, match="give them"):
        scales(x, replace(Scaling.of("i8_row"), rule="given"))


@pytest.mark.parametrize("name", [name for name in Scaling.names() if Scaling.of(name).rule != "given"])
@pytest.mark.parametrize("shape", [(0, 32), (3, 0), (1, 1), (1, 33)])
def test_empty_and_ragged_tensors_have_codes_of_their_shape(name: str, shape: tuple[int, int]) -> None:
    obtained = quantize(np.ones(shape), name)
    assert obtained.codes.shape == shape
    assert obtained.scale is not None
    assert obtained.scale.shape == Scaling.of(name).scale_shape(shape)
    assert truth(obtained, name).hi.shape == shape
