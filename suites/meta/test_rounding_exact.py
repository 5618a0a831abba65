"""Rounding against rational arithmetic in few numbers: pairs that overlap, random bits, ends, and what is refused."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from rounding_points import MODES

from lastbit.references.formats import Format, FormatError
from lastbit.references.rounding import exact_float64, sticky

NAMES = ["f64", "f32", "tf32", "bf16", "f16", "e4m3fn", "e5m2", "e2m1fn", "e8m0fnu", "p3109_8p1uf", "nf4", "i8", "u4"]
LARGEST = 1.7976931348623157e308
Array = Any


def numbers(fmt: Format) -> tuple[Array, Array]:
    """Pairs hi + lo about the values of a format, below and beyond them, that overlap by any number of bits.

    Those of f64 are in its normal range.
    """
    rng = np.random.default_rng(3)
    ends = (1e-280, 1e280) if fmt.name == "f64" else (fmt.eta / 8, fmt.max * 4)
    scale = np.concatenate(
        [np.geomspace(*ends, 24), [fmt.min_normal, fmt.max, fmt.eta] if fmt.name != "f64" else [1.0]]
    )
    values = fmt.round(scale, rounding="toward-zero", overflow="saturate")
    steps = fmt.ulp(values)
    hi = [values + steps * part for part in (0, 0.25, 0.5, 0.75, 1)] if fmt.name != "f64" else [values]
    high = np.concatenate([*hi, -values, scale * rng.uniform(0.5, 2, scale.size)])
    high = np.concatenate([high, high, high])
    low = np.ldexp(
        rng.choice([-1.0, 0, 1], high.size) * rng.integers(1, 64, high.size), rng.integers(-12, 3, high.size)
    )
    return high, low * np.spacing(np.abs(high))


@pytest.mark.parametrize("name", NAMES)
def test_pairs_that_overlap_are_rounded_once(name: str) -> None:
    fmt = Format.of(name)
    hi, lo = numbers(fmt)
    exact = [Fraction(x) + Fraction(y) for x, y in zip(hi.tolist(), lo.tolist(), strict=True)]
    for mode in MODES:
        for overflow in (None, "saturate", "propagate"):
            got = fmt.round(hi, lo, rounding=mode, overflow=overflow)
            want = np.array([fmt.round_rational(x, rounding=mode, overflow=overflow) for x in exact])
            assert np.array_equal(got, want, equal_nan=True), (mode, overflow)


@pytest.mark.parametrize("name", NAMES)
def test_single_numbers_are_rounded_as_pairs_without_a_low_part(name: str) -> None:
    fmt = Format.of(name)
    hi, _ = numbers(fmt)
    hi = np.concatenate([hi, [0.0, 2.0**-1074, -(2.0**-1074), LARGEST, -LARGEST, np.inf, -np.inf]])
    for mode in MODES:
        got, paired = fmt.round(hi, rounding=mode), fmt.round(hi, np.zeros(hi.shape), rounding=mode)
        assert np.array_equal(got, paired, equal_nan=True)
        assert np.array_equal(np.signbit(got[hi != 0]), np.signbit(paired[hi != 0]))
        zero = fmt.round([-0.0], rounding=mode)
        assert np.signbit(zero).item() is fmt.has_negative_zero


def to_odd(exact: Fraction) -> float:
    """The float64 neighbour of `exact` with the odd significand, or itself."""
    near = float(exact)
    if Fraction(near) == exact:
        return near
    other = math.nextafter(near, math.inf if exact > Fraction(near) else -math.inf)
    return near if np.float64(near).view(np.int64) & 1 else other


def test_a_pair_becomes_one_number_by_rounding_to_odd() -> None:
    rng = np.random.default_rng(4)
    hi = np.ldexp(rng.integers(-(2**53), 2**53, 600).astype(float), rng.integers(-1074, 900, 600))
    lo = np.spacing(np.abs(hi)) * np.ldexp(
        rng.integers(-(2**20), 2**20, 600).astype(float), rng.integers(-40, -14, 600)
    )
    for x, y, got in zip(hi.tolist(), lo.tolist(), sticky(hi, lo).tolist(), strict=True):
        assert got == to_odd(Fraction(x) + Fraction(y)), (x, y)


def test_a_pair_beyond_float64_stays_at_its_high_part() -> None:
    hi, lo = np.array([LARGEST, -LARGEST, np.inf, 1.0]), np.array([2.0**970, -(2.0**970), 0.0, 2.0**-60])
    with np.errstate(all="ignore"):
        assert sticky(hi, lo).tolist() == [LARGEST, -LARGEST, np.inf, 1 + 2.0**-52]


@pytest.mark.parametrize("name", ["f32", "bf16", "e4m3fn", "e8m0fnu", "i8"])
@pytest.mark.parametrize(
    ("bits", "paired"),
    [(1, False), (7, False), (29, False), (30, False), (40, False), (1, True), (2, True), (20, True)],
)
def test_stochastic_rounding_compares_the_fraction_with_the_random_bits(name: str, bits: int, paired: bool) -> None:
    """A magnitude goes up where floor(fraction 2^r) + R is at least 2^r; of R the low r bits count. f32 drops 29."""
    fmt = Format.of(name)
    rng = np.random.default_rng(5)
    base = fmt.round(np.geomspace(fmt.min_normal, fmt.max / 4, 40), rounding="toward-zero")
    part = rng.integers(0, 1 << 20, 40) / 2.0**20
    x = (base + fmt.ulp(base) * part) * (rng.choice([-1.0, 1.0], 40) if fmt.signed else 1.0)
    lo = np.spacing(np.abs(x)) * rng.choice([-0.25, 0.0, 0.25], 40) if paired else None
    random = rng.integers(-(2**62), 2**62, 40)
    if bits > 20:  # next to what decides
        random = (1 << bits) - np.floor(part * 2.0**bits).astype(np.int64) - rng.integers(0, 2, 40)
    got = fmt.round(x, lo, rounding="stochastic", random=random, random_bits=bits)
    for i in range(40):
        exact = abs(Fraction(x[i]) + (Fraction(lo[i]) if lo is not None else 0))
        low = Fraction(float(fmt.round_rational(exact, rounding="toward-zero")))
        high = Fraction(float(fmt.round_rational(exact, rounding="to-odd" if low == exact else "up")))
        fraction = (exact - low) / (high - low) if high != low else Fraction(0)
        up = math.floor(fraction * 2**bits) + int(random[i]) % 2**bits >= 2**bits
        assert got[i] == math.copysign(float(high if up else low), x[i]), (x[i], i)


@pytest.mark.parametrize(
    ("name", "paired", "most"),
    [
        ("f32", False, 62),
        ("f32", True, 28),
        ("bf16", True, 44),
        ("e8m0fnu", True, 51),
        ("f64", True, 62),
        ("f64", False, 62),
    ],
)
def test_stochastic_rounding_takes_as_many_random_bits_as_are_exact(name: str, paired: bool, most: int) -> None:
    fmt, lo = Format.of(name), np.zeros(1) if paired else None
    for bits in (1, most):
        assert fmt.round([1.0], lo, rounding="stochastic", random=[(1 << bits) - 1], random_bits=bits).tolist() == [1.0]
    for bits in (0, most + 1, None):
        with pytest.raises(
            FormatError, match=f"random_bits is {bits}; stochastic rounding to {name} takes 1 to {most} here"
        ):
            fmt.round([1.0], lo, rounding="stochastic", random=[0], random_bits=bits)


def test_random_bits_are_integers_and_asked_for_only_where_they_are_used() -> None:
    fmt = Format.of("f32")
    for random in (None, 0.5, [0.25]):
        with pytest.raises(FormatError, match="stochastic rounding takes random, an array of integers"):
            fmt.round([1.0], rounding="stochastic", random=random, random_bits=4)
    assert fmt.round([1.0], random=[0.5]).tolist() == [1.0]
    with pytest.raises(FormatError, match="stochastic rounding to nf4: its levels are no power of two apart"):
        Format.of("nf4").round([1.0], rounding="stochastic", random=[0], random_bits=4)
    with pytest.raises(FormatError, match="rounding is 'nearest', expected one of nearest-even, "):
        fmt.round([1.0], rounding="nearest")


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2**53, -(2**53)], np.int64),
        np.array([2**63], np.uint64),
        np.array([0.1], np.float32),
        np.array([0.1], np.float16),
        np.array([True, False]),
        np.array([127, -128], np.int8),
        np.array([2**31 - 1], np.int32),
        np.array([], np.int64),
        np.array([1.5], np.longdouble),
        [0.1, 2],
    ],
)
def test_values_that_float64_holds_are_taken_as_they_are(values: Any) -> None:
    found = exact_float64(values)
    assert found.dtype == np.float64
    assert found.tolist() == np.asarray(values).tolist()


@pytest.mark.parametrize(
    "values",
    [
        np.array([2**53 + 1]),
        np.array([1, 2**63 + 1], np.uint64),
        np.array([1j]),
        np.array([object()]),
        np.array(["1"]),
        np.array([], np.complex128).reshape(1, 0),
        np.array([np.longdouble(1) + np.longdouble(2) ** -60]),
    ],
)
def test_values_that_float64_does_not_hold_are_refused(values: Any) -> None:
    with pytest.raises(FormatError, match="not exact in float64; give a pair"):
        exact_float64(values)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_nan_stays_nan_whatever_its_bits(mode: str) -> None:
    nan = np.array([0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF], np.uint64).view(np.float64)
    for name in ("f64", "f32", "e4m3fn", "e8m0fnu"):
        assert np.isnan(Format.of(name).round(nan, rounding=mode)).all()
        assert np.isnan(Format.of(name).round(nan, np.zeros(2), rounding=mode)).all()
