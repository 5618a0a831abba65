"""Error-free slicing: a matrix product as a short sum of FP64 products, each of them exact."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lastbit.references.certificate import LEAST, PRECISION, Exponents
from lastbit.references.dgemm import product

Array = NDArray[np.float64]

#: More slices than this an operand are not considered: 64 slices of 20 bits cover 1280 bits.
MOST_SLICES = 128


class Plan(NamedTuple):
    """How many slices of how many bits each operand is cut into."""

    slices_a: int
    bits_a: int
    slices_b: int
    bits_b: int

    @property
    def products(self) -> int:
        """The number of FP64 matrix products, zero slices not yet skipped."""
        return self.slices_a * self.slices_b


def plan(span_a: int, span_b: int, terms: int) -> Plan | None:
    """The fewest products that cut operands of `span_a` and `span_b` bits error-free for sums of `terms` products.

    The first slice of w bits is at most 2^w of its grid; each later one, the rest of a rounding to nearest, at most
    half its predecessor's grid, so it covers w + 1 bits. A product of slices is exact where
    terms * 2^(wa + wb) <= 2^53. None if no admissible number of slices does it.
    """
    budget = PRECISION - max(terms - 1, 0).bit_length()
    best: Plan | None = None
    for slices_a in range(1, MOST_SLICES + 1):
        bits_a = max(-(-(span_a + 1) // slices_a) - 1, 1)
        bits_b = min(budget - bits_a, max(span_b, 1))
        if bits_b < 1:
            continue
        slices_b = max(-(-(span_b + 1) // (bits_b + 1)), 1)
        cut = Plan(slices_a, bits_a, slices_b, bits_b)
        if slices_b <= MOST_SLICES and (best is None or cut.products < best.products):
            best = cut
    return best


def slices(x: Array, top: Exponents, bits: int, count: int, axis: int) -> list[Array]:
    """`x` (finite, < 2^970) as an exact sum of at most `count` matrices of `bits` (then bits + 1) bits a vector.

    top: exponent of each vector along `axis` (|x| < 2^top). Adding and subtracting 1.5 * 2^52 * grid rounds to a
    multiple of the grid, without error in the difference. Zero slices end the list early. Source: Ozaki, Ogita, Oishi,
    Rump, Numer. Algorithms 59 (2012), with the rounding constant of Rump, Ogita, Oishi (SISC 31, 2008).
    """
    rest, cut = x, []
    grid = top - bits
    for _ in range(count - 1):
        constant = np.expand_dims(np.ldexp(1.5, (np.maximum(grid, LEAST) + PRECISION - 1).astype(np.int32)), axis)
        head = rest + constant
        np.subtract(head, constant, out=head)
        rest = rest - head
        cut.append(head)
        if not rest.any():
            return cut
        grid = grid - (bits + 1)
    return [*cut, rest]


def exact_products(a: list[Array], b: list[Array]) -> Iterator[Array]:
    """The FP64 products of all pairs of slices, smallest first: their exact sum is the product of the operands."""
    pairs = sorted(((i, j) for i in range(len(a)) for j in range(len(b))), key=sum, reverse=True)
    for i, j in pairs:
        yield product(a[i], b[j])
