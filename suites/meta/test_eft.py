"""Error-free transformations of whole arrays: elements of every kind side by side, against rational arithmetic."""

from fractions import Fraction
from math import inf, isfinite, nan, nextafter, ulp

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.references import eft

Array = NDArray[np.float64]


def check(terms: list[Array]) -> None:
    """hi, lo and radius of each element are those of its exact sum rounded once."""
    hi, lo, radius, proved = eft.rounded_once([term.copy() for term in terms])
    for place in range(hi.size):
        values = [float(term[place]) for term in terms]
        total = sum(map(Fraction, values), Fraction(0))
        assert proved[place]
        assert hi[place] == float(total), values
        assert not np.signbit(hi[place]) or hi[place] < 0
        rest = total - Fraction(float(hi[place]))
        if Fraction(float(lo[place])) == rest:
            assert radius[place] == 0, values
            continue
        below = nextafter(lo[place], -inf) if Fraction(float(lo[place])) > rest else lo[place]
        assert Fraction(float(below)) < rest < Fraction(nextafter(float(below), inf)), values
        assert lo[place : place + 1].view(np.int64)[0] & 1, values
        assert radius[place] == ulp(lo[place]), values


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_sums_of_arrays_are_rounded_once_in_every_element(count: int) -> None:
    rng = np.random.default_rng(count)
    size = 400
    terms = [rng.standard_normal(size) * 2.0 ** rng.integers(-70, 70, size) for _ in range(count)]
    for term in terms[1:]:
        term[rng.random(size) < 0.3] = 0.0
        opposite = rng.random(size) < 0.2
        term[opposite] = -terms[0][opposite]
    for term in terms:  # sums of nothing but negative zeros
        term[::50] = -0.0
    check(terms)


#: What lies beyond a tie: one bit, bits that cancel, and such as reach the next binade from the other side of it.
TAILS = (
    (2.0**-120,), (-(2.0**-120),), (2.0**-110, -(2.0**-170)), (2.0**-110, 2.0**-170, -(2.0**-230)), (),
    (2.0**-106,), (2.0**-106, 2.0**-170), (2.0**-106, -(2.0**-170)), (1.5 * 2.0**-107,),
    (-1.5 * 2.0**-107, 2.0**-165), (1.75 * 2.0**-107, -(2.0**-160), 2.0**-220),
)  # fmt: skip


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("beside", [False, True])
def test_ties_are_broken_by_the_smallest_term(sign: float, beside: bool) -> None:
    """x0 + x1 is a tie, and x2, x3 or x4 tells its side: alone, and beside elements that are no ties."""
    u = 2.0**-53
    rows = []
    for x0 in (1.0, 1 + 2 * u, 1.5, 2 - 2 * u, 2.0):
        for x1 in (u, -u, u / 2, -u / 2, 2 * u, -2 * u):
            for tail in TAILS:
                rows.append([x0, x1, *tail, 0.0, 0.0, 0.0][:5])
    table = sign * np.array(rows)
    if beside:
        check([np.ascontiguousarray(column) for column in table.T])
    else:
        for row in table[:: 1 + len(table) // 120]:
            check([np.array([value]) for value in row])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_low_part_just_below_a_power_of_two_is_one_number(sign: float) -> None:
    """2^53 + 2 + (1/2 - 2^-54): the low part has 53 bits, and is exact; it comes as 1/2 and -2^-54."""
    terms = [1.5 * 2.0**54, 2.0, -(2.0**-54), 0.5, -(2.0**54)]
    check([np.array([sign * term]) for term in terms])


def test_an_infinity_or_a_nan_leaves_the_other_elements_proved() -> None:
    terms = [
        np.array([1.0, inf, nan, 3.0]),
        np.array([2.0**-60, 1.0, 1.0, -3.0]),
        np.array([2.0**-130, 2.0, 3.0, 2.0**-200]),
    ]
    with np.errstate(invalid="ignore"):
        hi, lo, _, proved = eft.rounded_once(terms)
    assert proved.tolist() == [True, False, False, True]
    assert (hi[0], lo[0]) == (1.0, nextafter(2.0**-60, inf))
    assert (hi[3], lo[3]) == (2.0**-200, 0.0)


def test_rounding_to_odd_moves_even_numbers_only() -> None:
    even, odd = 1.0, nextafter(1.0, 2.0)
    x = np.array([even, even, even, odd, odd, odd, -even, -even])
    rest = np.array([1e-30, -1e-30, 0.0, 1e-30, -1e-30, 0.0, 1e-30, -1e-30])
    want = [odd, nextafter(1.0, 0.0), even, odd, odd, odd, -nextafter(1.0, 0.0), -odd]
    assert eft.to_odd(x, rest).tolist() == want


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_products_are_exact_wherever_they_are_said_to_be(swapped: bool, sign: float) -> None:
    """And said to be wherever both operands and the product keep ten binades from the ends of the theorem."""
    mantissa = 2 - 2.0**-52
    for i in (-1060, -1000, -700, -480, -300, 0, 300, 500, 700, 985, 996, 1010, 1023):
        for j in (-1060, -1000, -700, -480, -300, 0, 300, 500, 700, 985, 996, 1010, 1023):
            a, b = np.array([sign * np.ldexp(mantissa, i)]), np.array([np.ldexp(mantissa, j)])
            a, b = (b, a) if swapped else (a, b)
            with np.errstate(all="ignore"):
                p, e = eft.two_product(a, b)
            safe = bool(eft.product_is_safe(a, b)[0])
            if safe:
                assert Fraction(float(p[0])) + Fraction(float(e[0])) == Fraction(float(a[0])) * Fraction(float(b[0])), (
                    i,
                    j,
                )
            assert safe or not (max(i, j) < 986 and -958 < i + j < 1010), (i, j)
            assert not safe or (max(i, j) < 996 and -968 <= i + j < 1021), (i, j)
    for other in (0.0, 5e-324, 1.0, 1.7e308):
        pair = np.array([0.0, other]), np.array([other, 0.0])
        assert eft.product_is_safe(*pair).all()
    assert not eft.product_is_safe(np.array([1.0, -1.0]), np.array([1e308, -1e308])).any()


def test_products_of_random_numbers_are_exact() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(300) * 2.0 ** rng.integers(-300, 300, 300) for _ in range(2))
    p, e = eft.two_product(a, b)
    high, low = eft.split(a)
    for i in range(300):
        assert Fraction(p[i]) + Fraction(e[i]) == Fraction(a[i]) * Fraction(b[i])
        assert p[i] == a[i] * b[i]
        assert Fraction(high[i]) + Fraction(low[i]) == Fraction(a[i])
        for part in (high[i], low[i]):
            assert part == 0 or (np.frexp(part)[0] * 2.0**26).is_integer()


def test_growing_keeps_the_sum_and_leaves_out_zeros() -> None:
    expansion = [np.array([1.0, 2.0]), np.array([2.0**-60, 0.0])]
    grown = eft.grow(expansion, np.array([2.0**-120, 2.0**-70]))
    for place in range(2):
        assert sum(Fraction(float(part[place])) for part in grown) == sum(
            Fraction(float(part[place])) for part in expansion
        ) + Fraction([2.0**-120, 2.0**-70][place])
    assert len(eft.grow([np.array([1.0])], np.array([1.0]))) == 1
    assert all(isfinite(part) for array in grown for part in array)
