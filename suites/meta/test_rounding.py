"""Rounding is exact: every gap of every format, every mode, against construction, rationals and mpmath."""

import math
import sys
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding_points import MODES, all_points, mismatches

from lastbit.references.formats import Format

Floats = NDArray[np.float64]

NAMES = Format.names()
#: One small format of each kind, for the slow referee.
SMALL = ["e4m3fn", "e4m3fnuz", "e5m2", "e2m1fn", "e8m0fnu", "nf4", "i8", "u4", "p3109_8p1uf"]
#: With one significant bit, mpmath ties to even multiples, not to even codes.
FLOATS = [name for name in NAMES if Format.of(name).kind == "float" and Format.of(name).precision > 1]
proved = settings(deadline=None, derandomize=True, max_examples=80)

finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def pairs(draw: st.DrawFn, fmt: Format) -> tuple[float, float]:
    """A normalised pair: near a value or midpoint of the format, or anywhere; with or without a low part."""
    code = draw(st.integers(0, fmt.max_code))
    value = float(fmt.decode(np.array(code & -8192 if fmt.name == "tf32" else code).astype(fmt.code_dtype)))
    near = value + draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])) * float(fmt.ulp(value))
    hi = draw(st.one_of(st.just(near), st.just(-near), st.just(value * (1 + 2.0**-40)), finite))
    hi = math.copysign(min(abs(hi), sys.float_info.max), hi)
    lo = math.ulp(hi) * draw(st.floats(-0.5, 0.5))
    return (hi, lo)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_rounding_every_gap(name: str, mode: str) -> None:
    fmt = Format.of(name)
    assert mismatches(fmt, mode, lambda hi, lo, m: fmt.round(hi, lo, rounding=m)) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMALL)
def test_round_rational_every_gap(name: str, mode: str) -> None:
    """The slow referee is right by the same construction, so the two implementations check each other."""
    fmt = Format.of(name)

    def slow(hi: Floats, lo: Floats, m: str) -> Floats:
        exact = [Fraction(x) + Fraction(y) for x, y in zip(hi, lo, strict=True)]
        return np.array([fmt.round_rational(x, rounding=m) for x in exact])

    lines = [line for line in mismatches(fmt, mode, slow) if not _negative_zero(line)]
    assert lines == []


def _negative_zero(line: str) -> bool:
    """A rational zero has no sign."""
    return "exact: -0x0.0p+0" in line and "gave 0.0, want -0.0 (1 of" in line


@pytest.mark.parametrize("name", NAMES)
def test_rounding_of_pairs_is_rounding_of_rationals(name: str) -> None:
    fmt = Format.of(name)

    @proved
    @given(pairs(fmt), st.sampled_from(MODES), st.sampled_from([None, "saturate", "propagate"]))
    def check(pair: tuple[float, float], mode: str, overflow: str | None) -> None:
        got = float(fmt.round(pair[0], pair[1], rounding=mode, overflow=overflow))
        want = fmt.round_rational(Fraction(pair[0]) + Fraction(pair[1]), rounding=mode, overflow=overflow)
        assert got == want or (np.isnan(got) and np.isnan(want)), (pair, mode, overflow)

    check()


@pytest.mark.parametrize("name", FLOATS)
def test_rounding_agrees_with_mpmath_in_the_normal_range(name: str) -> None:
    fmt = Format.of(name)
    modes = {"nearest-even": "n", "toward-zero": "d", "down": "f", "up": "c"}

    @proved
    @given(pairs(fmt), st.sampled_from(sorted(modes)))
    def check(pair: tuple[float, float], mode: str) -> None:
        with mpmath.workprec(4000):
            exact = mpmath.mpf(pair[0]) + mpmath.mpf(pair[1])
            want = mpmath.fadd(exact, 0, prec=fmt.precision, rounding=modes[mode])
            normal = fmt.min_normal <= abs(exact) and fmt.lowest <= want <= fmt.max
        if normal:
            assert float(fmt.round(pair[0], pair[1], rounding=mode)) == want

    check()


@pytest.mark.parametrize("name", NAMES)
def test_encode_is_the_code_of_round(name: str) -> None:
    fmt = Format.of(name)
    for points in all_points(fmt):
        values = fmt.round(points.hi, points.lo)
        back = fmt.decode(fmt.encode(points.hi, points.lo))
        assert np.array_equal(back, values, equal_nan=True)
        assert np.array_equal(np.signbit(back), np.signbit(values) & ~np.isnan(values))


FAULTS: dict[str, Callable[[Format, Floats, Floats, str], Floats]] = {
    "rounds twice, through float32": lambda f, hi, lo, m: f.round(np.float64(np.float32(hi)), rounding=m),
    "rounds twice, through float64": lambda f, hi, lo, m: f.round(hi + lo, rounding=m),
    "nearest-away for nearest-even": lambda f, hi, lo, m: f.round(hi, lo, rounding="nearest-away"),
    "truncates": lambda f, hi, lo, m: f.round(hi, lo, rounding="toward-zero"),
    "overflows one ulp early": lambda f, hi, lo, m: np.where(
        np.abs(hi) > f.max, f.round(np.sign(hi) * 2 * f.max), f.round(hi, lo, rounding=m)
    ),
    "overflows half an ulp late": lambda f, hi, lo, m: np.where(
        (np.abs(hi) > f.max) & (np.abs(hi) < f.max + f.ulp(f.max)),
        np.sign(hi) * f.max,
        f.round(hi, lo, rounding=m),
    ),
    "flushes subnormals": lambda f, hi, lo, m: np.where(
        np.abs(hi) < f.min_normal, 0.0 * hi, f.round(hi, lo, rounding=m)
    ),
    "loses the sign of zero": lambda f, hi, lo, m: f.round(hi, lo, rounding=m) + 0.0,
}


@pytest.mark.parametrize("name", ["f16", "bf16", "e5m2", "e3m4"])
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(name: str, fault: str) -> None:
    fmt = Format.of(name)
    with np.errstate(over="ignore"):
        assert mismatches(fmt, "nearest-even", lambda hi, lo, m: FAULTS[fault](fmt, hi, lo, m)) != []


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "nearest-even"])
@pytest.mark.parametrize("name", NAMES)
def test_planted_default_rounding_is_caught_in_every_mode(name: str, mode: str) -> None:
    fmt = Format.of(name)
    assert mismatches(fmt, mode, lambda hi, lo, m: fmt.round(hi, lo)) != []
