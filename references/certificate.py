"""When is a plain FP64 matrix product exact? Lowest set bits, and the certificate that they give."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Exponents = NDArray[np.int64]

#: Of a float64 significand.
PRECISION = 53
#: Exponent of the least positive float64.
LEAST = -1074


class Span(NamedTuple):
    """Where the set bits of each vector lie: every |x| < 2^top and every x is a multiple of 2^low (0, 0 for zeros)."""

    top: Exponents
    low: Exponents

    @property
    def bits(self) -> Exponents:
        """The width, top - low, of each vector as a fixed-point number."""
        return self.top - self.low


def span(x: Array, axis: int, magnitude: Array | None = None) -> Span:
    """The span of each vector of the finite matrix `x` along `axis`; `magnitude` is |x|, if at hand.

    Clearing the lowest set bit of a float64's bit pattern subtracts the number's own lowest bit, except that a power
    of two loses an exponent bit: the difference then is at least half the number, which claims one bit too many. So
    `low` is never too high, and at most 1 too low.
    """
    codes = x.view(np.int64)
    lowest = (codes & (codes - 1)).view(np.float64)
    np.subtract(x, lowest, out=lowest)
    np.abs(lowest, out=lowest)
    if lowest.all():
        least = np.min(lowest, axis=axis, initial=np.inf)
    else:
        least = np.min(lowest, axis=axis, initial=np.inf, where=lowest > 0)
    most = np.max(np.abs(x) if magnitude is None else magnitude, axis=axis, initial=0.0)
    top, low = np.frexp(most)[1], np.frexp(least)[1] - 1
    some = most > 0
    return Span(np.where(some, top, 0).astype(np.int64), np.where(some, low, 0).astype(np.int64))


def certified(weight: Array, low_a: Exponents, low_b: Exponents) -> NDArray[np.bool_]:
    """Where an FP64 sum of products is exact in any order, with any use of FMA.

    weight (m, n) is an upper bound of |A||B|; low_a (m,), low_b (n,) the lowest bits of A's rows and B's columns. All
    products and partial sums are multiples of q = 2^(low_a + low_b) and at most weight: exact where weight <= 2^53 q
    and q is itself a float64. Source: numerics of fixed-point sums; the basis of Ozaki et al. 2012.
    """
    if not weight.size:
        return np.ones(weight.shape, bool)
    if min(low_a.min(), low_b.min()) >= LEAST // 2 and max(low_a.max(), low_b.max()) < 450:
        limit = np.multiply.outer(np.ldexp(1.0, low_a + PRECISION), np.ldexp(1.0, low_b))
        return np.asarray(weight <= limit)
    q = low_a[:, None] + low_b[None, :]
    limit = np.ldexp(1.0, np.minimum(q + PRECISION, 1023).astype(np.int32))
    return np.asarray(((weight <= limit) & (q >= LEAST)) | (weight == 0))


def guaranteed_terms(max_a: float, low_a: float, max_b: float, low_b: float) -> int:
    """The most products whose FP64 sum is exact a priori, for |a| <= max_a that are multiples of low_a, and so for b.

    For a whole format: its largest number and its least positive one (e4m3fn: 448, 2^-9, so 171,196 terms).
    """
    quantum = Fraction(low_a) * Fraction(low_b)
    if quantum < Fraction(1, 2**-LEAST):
        return 0
    return int(2**PRECISION * quantum // (Fraction(max_a) * Fraction(max_b)))
