"""Double-double arithmetic: float64 pairs hi + lo with |lo| <= ulp(hi) / 2, added, multiplied and divided."""

import numpy as np
from numpy.typing import NDArray

from lastbit.references.eft import two_product, two_sum

Array = NDArray[np.float64]
Pair = tuple[Array, Array]

#: u^2: the unit of the relative errors told below, u = 2^-53.
U2 = 2.0**-106


def add(x: Pair, y: Pair) -> Pair:
    """x + y. Error: relative 3 u^2 / (1 - 4u), cancellation included.

    Source: Joldes, Muller and Popescu, ACM TOMS 44 (2017), algorithm 6 and theorem 3.1.
    """
    s, e = two_sum(x[0], y[0])
    t, f = two_sum(x[1], y[1])
    s, e = _fast_two_sum(s, e + t)
    return _fast_two_sum(s, f + e)


def times(x: Pair, y: Pair) -> Pair:
    """x * y. Error: relative 7 u^2, where no product of the parts underflows.

    Source: the same, algorithm 11 (with its exact product by Dekker) and theorem 5.1.
    """
    p, e = two_product(x[0], y[0])
    return _fast_two_sum(p, e + (x[0] * y[1] + x[1] * y[0]))


def over(x: Pair, y: Pair) -> Pair:
    """x / y. Error: relative 15 u^2 + 56 u^3, where nothing under- or overflows.

    Source: the same, algorithm 17 and theorem 6.3.
    """
    quotient = x[0] / y[0]
    r, e = two_product(y[0], quotient)
    r, e = _fast_two_sum(r, e + y[1] * quotient)
    return _fast_two_sum(quotient, ((x[0] - r) + (x[1] - e)) / y[0])


def total(x: Pair) -> Pair:
    """The sum over the last axis of pairs that are not negative, as a tree; 0 for an empty axis.

    Error: relative 3 u^2 for each level of the tree, ceil(log2 n) of them.
    """
    hi, lo = x
    while hi.shape[-1] > 1:
        even = hi.shape[-1] // 2 * 2
        added = add((hi[..., 0:even:2], lo[..., 0:even:2]), (hi[..., 1:even:2], lo[..., 1:even:2]))
        hi = np.concatenate([added[0], hi[..., even:]], axis=-1)
        lo = np.concatenate([added[1], lo[..., even:]], axis=-1)
    return hi.sum(axis=-1), lo.sum(axis=-1)


def _fast_two_sum(a: Array, b: Array) -> Pair:
    """a + b exactly, where |a| >= |b| or a = 0."""
    s = a + b
    return s, b - (s - a)
