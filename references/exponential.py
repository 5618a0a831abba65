"""exp and log of float64 pairs with a proved error, from additions and multiplications alone."""

from fractions import Fraction
from math import factorial

import numpy as np
from numpy.typing import NDArray

from lastbit.references import pairs
from lastbit.references.dgemm import ArithmeticDoubtError
from lastbit.references.eft import two_sum
from lastbit.references.pairs import Pair

Array = NDArray[np.float64]

#: Relative error of `exp`, absolute error of `log`.
EXP_ERROR = 2.0**-96
LOG_ERROR = 2.0**-93
#: Arguments below this count as this: exp of it is below 2^-1154, less than any float64 number.
LOWEST = -800.0
#: The argument is divided by 2^HALVINGS before the series, which then needs DEGREE terms.
HALVINGS, DEGREE = 9, 9

#: ln 2 to 250 bits, as an integer: sum of 1 / (k 2^k), exact to the last bit told.
_LN2 = sum((1 << 280) // (k << k) for k in range(1, 280)) >> 30
_PARTS = 40


def exp(x: Pair) -> tuple[Array, Array, NDArray[np.int64]]:
    """e^x for pairs x <= 0 as hi, lo and k: (hi + lo) * 2^k, 0.7 < hi < 1.42; exactly 1 for x = 0.

    Error: relative EXP_ERROR. Proof, in units of u^2 = 2^-106: the reduced argument r = x - k ln 2, |r| < 0.36, is off
    by 4 (three additions of at most 3 * 0.36 each, and the parts of ln 2); r / 2^9 is exact; the series of expm1 is
    within 20 (its last product 7, the addition before it 3, those before divided by 1500 each time, truncation 2^-127
    relatively); each of nine steps expm1(2y) = m (2 + m) adds 10 and multiplies what is there by (2 + 2m) / (2 + m),
    in all by less than 1.4: 160 of m, |m| < 0.42; adding 1 leaves 70 + 3 + 4 * 1.42 of a value above 0.7: 113, below
    2^10.
    """
    hi = np.maximum(x[0], LOWEST)
    lo = np.where(x[0] < LOWEST, 0.0, x[1])
    k = np.rint(hi * (1 / float(np.log(2.0))))
    r = pairs.add(two_sum(hi, -k * LN2[0]), (-k * LN2[1], np.zeros_like(k)))
    r = pairs.add(r, two_sum(lo, -k * LN2[2]))
    r = np.ldexp(r[0], -HALVINGS), np.ldexp(r[1], -HALVINGS)
    m = _constant(COEFFICIENTS[-1], r)
    for coefficient in reversed(COEFFICIENTS[:-1]):
        m = pairs.add(pairs.times(m, r), _constant(coefficient, r))
    m = pairs.times(m, r)
    two, one = _constant((2.0, 0.0), r), _constant((1.0, 0.0), r)
    for _ in range(HALVINGS):
        m = pairs.times(m, pairs.add(two, m))
    m = pairs.add(one, m)
    return m[0], m[1], k.astype(np.int64)


def log(x: Pair) -> Pair:
    """The natural logarithm of pairs x in [1, 2^500]; exactly 0 for x = 1.

    NumPy's log only starts it: y is accepted where t = x e^-y - 1 is small, and then log x = y + t - t^2 / 2 + ...
    Error: absolute LOG_ERROR (2^-96 of e^-y, 7 u^2 of the product, |t|^3 < 2^-135 of the series, 3 u^2 |log x| < 2^-95
    of the addition). Raises ArithmeticDoubtError where NumPy's log is off by more than 2^-45.
    """
    y = np.log(x[0])
    hi, lo, k = exp((-y, np.zeros_like(y)))
    product = pairs.times(x, (np.ldexp(hi, k), np.ldexp(lo, k)))
    t = pairs.add(product, (np.full_like(y, -1.0), np.zeros_like(y)))
    if not (np.abs(t[0]) < 2.0**-45).all():
        raise ArithmeticDoubtError("numpy.log is off by more than 2^-45 on this machine: no truth can start from it")
    return pairs.add((y, np.zeros_like(y)), two_sum(t[0], t[1] - t[0] * t[0] / 2))


def _constant(value: tuple[float, float], like: Pair) -> Pair:
    return np.full_like(like[0], value[0]), np.full_like(like[0], value[1])


def _pair(value: Fraction) -> tuple[float, float]:
    high = float(value)
    return high, float(value - Fraction(high))


def _ln2_parts() -> tuple[float, float, float]:
    """ln 2 as two numbers of 40 bits, whose products with integers below 2^13 are exact, and the rest."""
    first = _LN2 >> (250 - _PARTS)
    rest = _LN2 - (first << (250 - _PARTS))
    second = rest >> (250 - 2 * _PARTS)
    third = rest - (second << (250 - 2 * _PARTS))
    return first / 2.0**_PARTS, second / 2.0 ** (2 * _PARTS), float(Fraction(third, 1 << 250))


LN2 = _ln2_parts()
COEFFICIENTS = tuple(_pair(Fraction(1, factorial(j))) for j in range(1, DEGREE + 1))
