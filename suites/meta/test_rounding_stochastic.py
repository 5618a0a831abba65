"""Stochastic rounding goes up for exactly floor(fraction * 2^r) of the 2^r random numbers, and exact values stay."""

import math
from fractions import Fraction

import numpy as np
import pytest

from lastbit.references.formats import Format

NAMES = [name for name in Format.names() if name != "nf4"]
BITS = (1, 3, 8)


def _gap(name: str, where: float) -> tuple[float, float]:
    """A value of the format near `where` * max (0: at 0), and the one above."""
    fmt = Format.of(name)
    a = float(fmt.round(where * fmt.max, rounding="toward-zero"))
    return a, a + float(fmt.ulp(a))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("where", [0.0, 1e-3, 0.2, 0.6])
@pytest.mark.parametrize("name", NAMES)
def test_stochastic_goes_up_for_the_floor_of_the_fraction(name: str, where: float, bits: int) -> None:
    fmt = Format.of(name)
    a, b = _gap(name, where)
    every = np.arange(1 << bits, dtype=np.uint64)
    for eighths in range(0, 64, 3):
        x = a + (b - a) * eighths / 64 if name != "f64" else a
        for side in (0, -1, 1):
            lo = side * 2.0**-60 * x if name != "f64" else (b - a) * eighths / 128
            if x == 0 or (name == "e8m0fnu" and x + lo <= a):
                continue
            exact = Fraction(x) + Fraction(lo)
            low = a if exact >= a else float(fmt.round(np.nextafter(a, 0), rounding="toward-zero"))
            high = b if exact >= a else a
            fraction = (exact - Fraction(low)) / (Fraction(high) - Fraction(low))
            for sign in (1, -1) if fmt.signed else (1,):
                got = fmt.round(
                    np.full(every.size, sign * x), sign * lo, rounding="stochastic", random=every, random_bits=bits
                )
                assert set(got) <= {sign * low, sign * high}
                assert np.count_nonzero(got == sign * high) == math.floor(fraction * (1 << bits)), (x, lo, sign)
                # The largest random numbers go up.
                assert (np.sort(np.abs(got)) == np.abs(got)).all()


@pytest.mark.parametrize("name", NAMES)
def test_stochastic_never_changes_a_value_of_the_format(name: str) -> None:
    fmt = Format.of(name)
    codes = (np.arange(1 << min(fmt.bits, 16)) << (13 if name == "tf32" else 0)).astype(fmt.code_dtype)
    values = fmt.decode(codes)
    values = values[np.isfinite(values)]
    for random in (0, -1):
        got = fmt.round(values, rounding="stochastic", random=np.full(values.shape, random), random_bits=62)
        assert np.array_equal(got, values)


@pytest.mark.parametrize("lo", [0.125, -0.125, 0.5, 0.3, -0.2, 2.0**-30])
def test_stochastic_keeps_any_number_of_bits_of_a_float64_pair(lo: float) -> None:
    fmt = Format.of("f64")
    gap = 2.0**-52 if lo > 0 else 2.0**-53
    fraction = Fraction(lo) * Fraction(2) ** -52 / Fraction(gap) % 1
    first_up = (1 << 40) - math.floor(fraction * (1 << 40))
    random = np.array([first_up - 1, first_up])
    got = fmt.round([1.0, 1.0], lo * 2.0**-52, rounding="stochastic", random=random, random_bits=40)
    low = 1.0 if lo > 0 else 1 - gap
    assert got.tolist() == [low, low + gap]


def test_stochastic_with_more_bits_than_the_fraction_has() -> None:
    fmt = Format.of("f32")
    x = 1 + 2.0**-24
    half = 1 << 61
    got = fmt.round([x, x], rounding="stochastic", random=np.array([half - 1, half]), random_bits=62)
    assert got.tolist() == [1.0, 1 + 2.0**-23]


@pytest.mark.parametrize("name", ["e4m3fn", "p3109_8p4se", "bf16"])
def test_stochastic_agrees_with_gfloat_fastest(name: str) -> None:
    """P3109 StochasticA is gfloat's StochasticFastest; its StochasticFast is ours with the bits 2R + 1 of r + 1."""
    gfloat = pytest.importorskip("gfloat", reason="gfloat is the independent implementation")
    from gfloat import formats

    info = {
        "e4m3fn": formats.format_info_ocp_e4m3,
        "p3109_8p4se": formats.format_info_p3109(8, 4),
        "bf16": formats.format_info_bfloat16,
    }[name]
    fmt = Format.of(name)
    rng = np.random.default_rng(3)
    x = np.ldexp(rng.standard_normal(2000), rng.integers(-12, 7, 2000))
    random = rng.integers(0, 1 << 6, 2000)
    a = fmt.round(x, rounding="stochastic", random=random, random_bits=6)
    b = fmt.round(x, rounding="stochastic", random=2 * random + 1, random_bits=7)
    modes = gfloat.RoundMode
    for mine, mode in ((a, modes.StochasticFastest), (b, modes.StochasticFast)):
        theirs = [
            gfloat.round_float(info, v, mode, srbits=r, srnumbits=6) for v, r in zip(x, random.tolist(), strict=True)
        ]
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("name", ["bf16", "e4m3fn"])
def test_planted_stochastic_faults_are_caught(name: str) -> None:
    """Adding 2^r - 1 - R, or rounding the fraction instead of flooring it, changes the count that the law fixes."""
    fmt = Format.of(name)
    every = np.arange(8, dtype=np.uint64)
    x = np.full(8, 1 + float(fmt.ulp(1.0)) * (3 / 8 + 1 / 16))
    right = fmt.round(x, rounding="stochastic", random=every, random_bits=3)
    rounded_fraction = fmt.round(x, rounding="stochastic", random=2 * every + 1, random_bits=4)
    assert np.count_nonzero(right > 1) == 3
    assert np.count_nonzero(rounded_fraction > 1) == 4
