"""The exact cast: codes as rational arithmetic and ml_dtypes have them, policies, and data that reach every edge."""

from fractions import Fraction
from math import comb

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit import numpy_arrays
from lastbit.contract import Contract
from lastbit.errors import KernelError
from lastbit.kernel import FORMATS, Kernel
from lastbit.references import cast_data, cast_points
from lastbit.references.cast import Rule, beyond, expected, integers, right
from lastbit.references.formats import Format, FormatError
from lastbit.suites.cast_stochastic import binomial_tail
from lastbit.suites.zoo import cast_parts as parts

TARGETS = ("f16", "bf16", "e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz", "e4m3", "e3m4", "e3m2fn", "e2m1fn")
ROUNDINGS = ("nearest-even", "nearest-away", "toward-zero", "down", "up", "to-odd")
NARROW = tuple(sorted(fmt for fmt in FORMATS if Format.of(fmt).bits <= 8))


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    x=st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-1000, 1000, width=32),
    target=st.sampled_from((*TARGETS, "i8", "u4", "e8m0fnu", "p3109_8p3se")),
    rounding=st.sampled_from(ROUNDINGS),
    saturate=st.booleans(),
)
def test_finite_numbers_are_rounded_as_rationals_are(x: float, target: str, rounding: str, saturate: bool) -> None:
    fmt = Format.of(target)
    overflow = "saturate" if saturate else None
    answer = expected(np.array([x]), "f32", target, Rule(rounding, overflow))
    want = fmt.round_rational(Fraction(x), rounding=rounding, overflow=overflow)
    got = float(fmt.decode(answer.code)[0])
    assert got == want or (np.isnan(got) and np.isnan(want))
    assert answer.other is answer.code
    assert answer.anything is None


@pytest.mark.parametrize("source", ["f16", "bf16"])
@pytest.mark.parametrize("target", [*TARGETS, "e2m3fn"])
def test_every_code_is_cast_as_ml_dtypes_does(source: str, target: str) -> None:
    """All 65,536 codes, an independent implementation, which is right from f16 and bf16 (they are exact in its f32)."""
    codes = cast_points.every_code(Format.of(source))
    x = codes.view(numpy_arrays.dtype(source))
    with np.errstate(all="ignore"):
        theirs = numpy_arrays.codes(x.astype(numpy_arrays.dtype(target)), target)
    values = Format.of(source).decode(codes)
    rule = Rule(nan="zero")
    assert right(theirs, expected(values, source, target, rule), values, target).all()


@pytest.mark.parametrize("target", ["i8", "u8", "i4", "u4", "i32"])
@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away", "toward-zero", "down", "up"])
def test_wrapping_is_modulo(target: str, rounding: str) -> None:
    fmt = Format.of(target)
    x = np.array(
        [0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 128, -129, 255.5, 300, 2.0**31, -(2.0**31) - 1, 2.0**40 + 3, 1e300, np.nan]
    )
    answer = expected(x, "f64", target, Rule(rounding, "wrap"))
    for value, code in zip(x[:-2], answer.code, strict=False):
        whole = int(Format.of("f64").round(value)) if value == int(value) else None
        floor = value.__floor__()
        half = Fraction(value) - floor - Fraction(1, 2)
        nearest = floor + (half > 0 or (half == 0 and (floor % 2 == 1 if rounding == "nearest-even" else value > 0)))
        picked = {"toward-zero": int(value), "down": floor, "up": -((-value).__floor__())}.get(rounding, nearest)
        assert int(code) == (picked if whole is None else whole) % 2**fmt.bits
    assert answer.anything is not None
    assert answer.anything.tolist() == [False] * 13 + [True, True]


def test_promises_of_casts_are_refused_elsewhere() -> None:
    with pytest.raises(KernelError, match="overflow 'any' is for casts, not softmax"):
        Kernel("mine/softmax", "softmax", abs, parts.pair("f32", "f32"), Contract(overflow="any"))


def test_half_away_looks_at_the_fraction_itself() -> None:
    """0.5 - 2^-54, plus 0.5, is 1 in float64."""
    x = np.array([0.5 - 2.0**-54, -0.5, 0.5, 2.0**52 + 1, np.inf])
    assert integers(x, "nearest-away").tolist() == [0, -1, 1, 2.0**52 + 1, np.inf]


def test_wrapping_needs_integers() -> None:
    with pytest.raises(FormatError, match="overflow is 'wrap', which e5m2 cannot"):
        expected(np.zeros(1), "f32", "e5m2", Rule(overflow="wrap"))


@pytest.mark.parametrize("target", [*TARGETS, "i8", "u8", "i4", "e8m0fnu", "p3109_8p3se", "p3109_8p1uf"])
@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away"])
def test_beyond_is_where_overflow_policies_differ(target: str, rounding: str) -> None:
    """Saturated and not, a number in range is the same."""
    fmt = Format.of(target)
    x = cast_points.decisive(fmt)
    outside = beyond(x, fmt, rounding)
    for value, out in zip(x, outside, strict=True):
        kept = fmt.round_rational(Fraction(value), rounding=rounding, overflow="saturate")
        error = abs(Fraction(kept) - Fraction(value))
        limit = Fraction(float(fmt.ulp(np.array([kept]))[0])) / 2
        if fmt.kind == "exponent" and 0 <= value < fmt.min_normal:
            assert not out
        elif out:
            assert kept in (fmt.max, fmt.lowest)
            assert error >= limit
        else:
            assert error <= limit
    assert beyond(np.array([np.inf]), fmt).all()
    assert not beyond(np.array([np.nan]), fmt).any()


def test_anything_is_right_beyond_the_range_where_nothing_is_promised() -> None:
    x = np.array([0.0, 126.9, 128.0, -129.0, np.nan, np.inf])
    answer = expected(x, "f32", "i8", Rule("toward-zero", "any"))
    codes = np.array([0, 126, 7, 7, 7, 7], np.uint8)
    assert right(codes, answer, x, "i8").all()
    assert right(codes[::-1], answer, x, "i8").tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("nan", "good", "bad"), [("zero", (0x0, 0x8), (0x7, 0xF)), ("max", (0x7,), (0x0, 0x8, 0xF)), (None, range(16), ())]
)
def test_nan_of_a_format_without(nan: str | None, good: tuple[int, ...], bad: tuple[int, ...]) -> None:
    for sign in (1.0, -1.0):
        x = np.array([np.copysign(np.nan, sign)])
        answer = expected(x, "f32", "e2m1fn", Rule(nan=nan))
        assert all(right(np.array([code], np.uint8), answer, x, "e2m1fn").all() for code in good)
        assert not any(right(np.array([code], np.uint8), answer, x, "e2m1fn").any() for code in bad)


def test_any_nan_is_right_and_nothing_else() -> None:
    x = np.full(4, np.nan)
    answer = expected(x, "f32", "e5m2", Rule())
    assert right(np.array([0x7D, 0x7E, 0xFF, 0x7C], np.uint8), answer, x, "e5m2").tolist() == [True, True, True, False]


def test_zero_of_a_format_without() -> None:
    x = np.array([0.0, -0.0, 2.0**-140, 1.0])
    assert expected(x, "f32", "e8m0fnu", Rule("nearest-away")).code.tolist() == [0, 0, 0, 127]
    assert expected(x, "f32", "e8m0fnu", Rule("nearest-away", zero="nan")).code.tolist() == [255, 255, 0, 127]


def test_flushed_zeros_have_the_sign_of_the_operand() -> None:
    x = np.array([2.0**-15, -(2.0**-15), 2.0**-14, 2.0**-130])
    answer = expected(x, "f32", "f16", Rule(flush=True))
    zero, minus = np.zeros(4, np.uint16), np.full(4, 0x8000, np.uint16)
    assert right(zero, answer, x, "f16").tolist() == [True, False, False, True]
    assert right(minus, answer, x, "f16").tolist() == [False, True, False, False]
    assert right(answer.code, answer, x, "f16").all()


@settings(derandomize=True, deadline=None, max_examples=200)
@given(x=st.floats(-70000, 70000), target=st.sampled_from(("bf16", "f16", "e4m3fn", "e2m1fn", "i8")))
def test_stochastic_answers_are_the_two_neighbours(x: float, target: str) -> None:
    fmt = Format.of(target)
    answer = expected(np.array([x]), "f64", target, Rule("stochastic", "saturate"))
    low, high = float(fmt.decode(answer.code)[0]), float(fmt.decode(answer.other)[0])
    inner = fmt.round_rational(Fraction(x), rounding="toward-zero", overflow="saturate")
    outer = fmt.round_rational(Fraction(x), rounding="down" if x < 0 else "up", overflow="saturate")
    assert low == inner
    fraction = abs(Fraction(x) - Fraction(inner)) / Fraction(float(fmt.ulp(np.array([x]))[0]))
    # With 62 random bits a smaller fraction never carries.
    assert high == (outer if fraction >= Fraction(1, 2**62) else inner)


@pytest.mark.parametrize("source", ["f64", "f32", "f16", "bf16"])
@pytest.mark.parametrize("target", [fmt for fmt in NARROW if fmt != "nf4"])
def test_boundaries_hold_every_edge_of_the_target(source: str, target: str) -> None:
    """Values, middles, the middles' neighbours in the source, threshold, half the smallest number; both signs."""
    held = set(cast_data.operand("boundaries", parts.pair(source, target), None, 0).values.tolist())
    wide, narrow = Format.of(source), Format.of(target)
    values = narrow.decode(cast_points.every_code(narrow))
    values = np.unique(values[np.isfinite(values)])
    edges = np.concatenate([values, (values[:-1] + values[1:]) / 2, [narrow.threshold, narrow.eta / 2]])
    for x in np.concatenate([edges, -edges]):
        inside = float(wide.round(x))
        if inside != x or not np.isfinite(inside) or abs(x) >= wide.max:
            continue
        assert x in held
        assert float(wide.round(np.nextafter(x, -np.inf), rounding="down", overflow="saturate")) in held
        assert float(wide.round(np.nextafter(x, np.inf), rounding="up", overflow="saturate")) in held


@pytest.mark.parametrize("source", ["f16", "bf16", *NARROW])
def test_every_code_is_every_code(source: str) -> None:
    operand = cast_data.operand("every_code", parts.pair(source, "f32"), None, 0)
    assert operand.codes.tolist() == list(range(2 ** Format.of(source).bits))


def test_shared_numbers_are_the_same_in_both_formats() -> None:
    for source, target in (("f32", "bf16"), ("e4m3fn", "f16"), ("i32", "f32"), ("f64", "f32"), ("f16", "e4m3fnuz")):
        before, after = cast_points.shared(Format.of(source), Format.of(target))
        x, y = Format.of(source).decode(before), Format.of(target).decode(after)
        assert x.size > 100
        assert np.array_equal(x, y)
        assert np.array_equal(np.signbit(x), np.signbit(y))


@pytest.mark.parametrize("target", ["bf16", "e4m3fn", "e5m2fnuz", "e8m0fnu", "e2m1fn", "i8"])
def test_fractions_lie_as_far_up_as_they_say(target: str) -> None:
    x, low, steps = cast_points.fractions(Format.of("f32"), Format.of(target))
    fmt = Format.of(target)
    assert set(steps) == set(range(cast_points.STEPS))
    for value, lower, k in zip(x, low, steps, strict=True):
        code = fmt.encode(np.array([abs(lower)]))
        other = fmt.decode((code + np.array(1, code.dtype)).astype(code.dtype)) * (-1 if value < 0 else 1)
        assert Fraction(value) == Fraction(lower) + (Fraction(float(other[0])) - Fraction(lower)) * int(k) / 16


@pytest.mark.parametrize(("draws", "p"), [(10, Fraction(1, 16)), (40, Fraction(1, 2)), (300, Fraction(13, 16))])
def test_binomial_tail_is_exact(draws: int, p: Fraction) -> None:
    mass = [comb(draws, i) * p**i * (1 - p) ** (draws - i) for i in range(draws + 1)]
    for count in range(0, draws + 1, max(1, draws // 20)):
        exact = min(Fraction(1), 2 * min(sum(mass[: count + 1]), sum(mass[count:])))
        assert abs(binomial_tail(count, draws, float(p)) - float(exact)) <= 1e-9 * float(exact)


def test_the_same_arguments_give_the_same_operand() -> None:
    for recipe in cast_data.RECIPES:
        if cast_data.applicable(recipe, parts.pair("f32", "bf16")):
            one, two, other = (
                cast_data.operand(recipe, parts.pair("f32", "bf16"), (3, 35), seed) for seed in (0, 0, 1)
            )
            assert np.array_equal(one.codes, two.codes)
            assert np.array_equal(one.codes, other.codes) == (recipe in ("specials", "shared", "fractions"))
    assert ml_dtypes.bfloat16 is numpy_arrays.dtype("bf16").type
