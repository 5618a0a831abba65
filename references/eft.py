"""Error-free transformations of float64 arrays: sums and products as exact pairs, and exact sums rounded once.

Nothing here rounds away information: a result is exact, or a radius says by how much it may be off. All functions
need round-to-nearest-even with gradual underflow, and operands whose sums stay below 2^1023.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Veltkamp's constant for 53 bits: the upper half keeps 26 of them.
SPLITTER = 2.0**27 + 1


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """`a + b` as an exact pair: s = RN(a + b), and its error.

    Exact for all finite operands without overflow, subnormals included (a sum cannot underflow).
    Source: Knuth, TAOCP 2, 4.2.2, theorem B; Moller 1965.
    """
    s = a + b
    z = s - a
    e = s - z
    np.subtract(a, e, out=e)
    np.subtract(b, z, out=z)
    np.add(e, z, out=e)
    return s, e


def split(a: Array) -> tuple[Array, Array]:
    """`a` as the exact sum of two numbers of at most 26 bits, for |a| < 2^996.

    Source: Dekker, Numer. Math. 18 (1971); Veltkamp.
    """
    t = SPLITTER * a
    high = t - (t - a)
    return high, a - high


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """`a * b` as an exact pair: p = RN(a * b), and its error.

    Exact where |a|, |b| < 2^996 and the product is 0 or 2^-968 <= |a * b| < 2^1021 (see `product_is_safe`).
    Source: Dekker 1971; range: Boldo, Jeannerod et al., Acta Numerica 32 (2023).
    """
    p = a * b
    ah, al = split(a)
    bh, bl = split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def product_is_safe(a: Array, b: Array) -> NDArray[np.bool_]:
    """Where `two_product(a, b)` is exact: by the operands' exponents, so that the test itself cannot underflow."""
    exponent = np.frexp(a)[1] + np.frexp(b)[1]
    small = (np.abs(a) < 2.0**990) & (np.abs(b) < 2.0**990)
    safe: NDArray[np.bool_] = ((a == 0) | (b == 0)) | (small & (exponent > -960) & (exponent < 1015))
    return safe


def grow(expansion: list[Array], term: Array) -> list[Array]:
    """`expansion` (arrays, largest first) plus `term`, exactly; arrays that are zero throughout are left out."""
    tail = []
    carry = term
    for component in reversed(expansion):
        carry, error = two_sum(component, carry)
        if error.any():
            tail.append(error)
    return [carry, *reversed(tail)]


def rounded_once(terms: Iterable[Array]) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """The exact elementwise sum of `terms` (same shapes) as hi, lo, radius, and where they are proved.

    hi = RN(sum); lo = sum - hi exactly with radius 0, or, where that has more than 53 bits, rounded **to odd**: of its
    two float64 neighbours the one with the odd significand. A sum that is no float64 pair is then never mistaken for a
    tie: the boundaries between two results of any format of at most 53 bits, seen from hi, have even significands, so
    hi + lo rounds as the sum does, in every direction. radius is then one spacing of lo.

    Proof: `_settle` ends with x0 = RN(x0 + x1), x1 = RN(x1 + x2) ...: each term is at most half a spacing of the one
    before, so x2 + x3 + ... has the sign of x2 (or is 0) and less than a spacing of x1. hi is x0 unless x0 + x1 is a
    tie that x2 breaks the other way, which `_break_ties` mends (x0 is then left alone, or x0 + x1 would tie again).
    Elements that have not settled come back as not proved.
    """
    expansion: list[Array] = []
    for term in terms:
        expansion = grow(expansion, term) if expansion else [term]
    if len(expansion) == 1:
        expansion.append(np.zeros_like(expansion[0]))
    if len(expansion) == 2:
        hi, lo = two_sum(expansion[0], expansion[1])
        return hi + 0.0, lo, np.zeros_like(hi), np.ones(hi.shape, bool)
    shape = expansion[0].shape
    settled = _settle(expansion)
    if _break_ties(expansion):
        settled &= _settle(expansion, 1)
    hi, lo = expansion[0] + 0.0, expansion[1]
    if len(expansion) == 2:
        return hi, lo, np.zeros(shape), settled
    rest = expansion[2]
    lo = to_odd(lo, rest)
    return hi, lo, np.where(rest != 0, np.spacing(np.abs(lo)), 0.0), settled


def to_odd(x: Array, rest: Array) -> Array:
    """`x + rest` rounded to odd, where |rest| is less than the distance from x to its neighbour on that side."""
    even = (x.view(np.int64) & 1) == 0
    return np.where(even & (rest != 0), np.nextafter(x, np.copysign(np.inf, rest)), x)


def _settle(x: list[Array], first: int = 0) -> NDArray[np.bool_]:
    """Sweep two_sum upwards from x[first] on until nothing changes, in place; returns where it has: everywhere.

    Bohlender (IEEE Trans. Comput. C-26, 1977): len(x) - 1 sweeps suffice. The stopping test is the proof that is used.
    """
    for _ in range(len(x) + 2):
        for i in range(len(x) - 2, first - 1, -1):
            x[i], x[i + 1] = two_sum(x[i], x[i + 1])
        while len(x) > 2 and not x[-1].any():
            x.pop()
        if all(np.array_equal(x[i] + x[i + 1], x[i]) for i in range(first, len(x) - 1)):
            return np.ones(x[0].shape, bool)
    settled = np.ones(x[0].shape, bool)
    for i in range(first, len(x) - 1):
        settled &= x[i] + x[i + 1] == x[i]
    return settled


def _break_ties(x: list[Array]) -> bool:
    """Move x0 to its neighbour, in place, where x0 + x1 is a tie and x2 lies on the far side; whether any was moved."""
    if len(x) < 3:
        return False
    beyond = x[0] + 2 * x[1]
    tied = (x[2] != 0) & (np.signbit(x[1]) == np.signbit(x[2])) & (beyond - x[0] == 2 * x[1])
    if not tied.any():
        return False
    x[1] = np.where(tied, (x[0] - beyond) + x[1], x[1])
    x[0] = np.where(tied, beyond, x[0])
    return True
