"""Span, the numbers that a kernel's formats leave to a probe, and the operands that make a product of them."""

from dataclasses import dataclass
from math import frexp

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Array = NDArray[np.float64]
#: Terms of one sum by slot: each a product, given as its two operands.
Terms = dict[int, tuple[float, float]]

#: Exponents of operands beyond these are of no use to a probe, and near over- and underflow: of f64, of the others.
WIDE, NARROW = 400, 60


@dataclass(frozen=True, slots=True)
class Span:
    """Exponents that products of the operands, and results, can have."""

    a: Format
    b: Format
    out: Format
    #: Whether operands may be subnormal.
    subnormal: bool = False

    @property
    def high(self) -> int:
        """Exponent of the largest power of two that is a product of two operands."""
        return min(self.a.emax, self._cap(self.a)) + min(self.b.emax, self._cap(self.b))

    @property
    def low(self) -> int:
        """Exponent of the smallest such product: of normal operands, unless subnormal ones may be used."""
        return max(self._least(self.a), -self._cap(self.a)) + max(self._least(self.b), -self._cap(self.b))

    @property
    def result_high(self) -> int:
        """Exponent of the largest power of two that a result can be."""
        return self.out.emax

    @property
    def result_low(self) -> int:
        """Exponent of the smallest normal result."""
        return self.out.emin

    def product(self, x: float) -> tuple[float, float]:
        """Operands whose product is x, the significand all in one of them.

        Raises ValueError where the formats have no such operands.
        """
        if x == 0.0:
            return 0.0, 0.0
        significand, exponent = frexp(x)
        significand, exponent = 2 * significand, exponent - 1
        half = exponent // 2
        for first in sorted(range(self._least(self.a), self.a.emax + 1), key=lambda one: abs(one - half)):
            second = exponent - first
            if not self._least(self.b) <= second <= self.b.emax:
                continue
            for pair in (
                (significand * 2.0**first, 2.0**second),
                (2.0**first, significand * 2.0**second),
            ):
                if holds(self.a, pair[0]) and holds(self.b, pair[1]):
                    return pair
        raise ValueError(f"no product of {self.a.name} and {self.b.name} is {x!r}")

    def can(self, x: float) -> bool:
        """Whether x is a product that `product` finds."""
        try:
            self.product(x)
        except ValueError:
            return False
        return True

    def _least(self, fmt: Format) -> int:
        return fmt.emin - fmt.precision + 1 if self.subnormal else fmt.emin

    def _cap(self, fmt: Format) -> int:
        return WIDE if fmt.precision == 53 else NARROW


def holds(fmt: Format, x: float) -> bool:
    """Whether x is one of the format's finite numbers."""
    return abs(x) <= fmt.max and bool(fmt.round(np.float64(x)) == x)


def rows(k: int, sums: list[Terms]) -> tuple[Array, Array]:
    """Operands (n, k) of n sums of the given terms; every other term is zero."""
    a, b = np.zeros((len(sums), k)), np.zeros((len(sums), k))
    for row, terms in enumerate(sums):
        for slot, (first, second) in terms.items():
            a[row, slot], b[row, slot] = first, second
    return a, b
