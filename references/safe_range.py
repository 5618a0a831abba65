"""A matrix product brought into the safe range of float64 by powers of two, and back."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lastbit.references import eft
from lastbit.references.certificate import LEAST, Exponents, Span, span

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Where their own exponents could take a product out of range, vectors are brought to 2^480 ...
TARGET = 480
#: ... if they hold at most this many bits: with 53 more for alpha's rounding error, products reach from
#: 2^(960 + log2 k) down to 2^(960 - 2 * 970 - 53) = 2^-1033, so nothing overflows and nothing underflows.
WIDEST = 970
#: Exponents beyond which the rounding constant of a slice (2^53 above it) could overflow.
HIGHEST = 900


@dataclass(frozen=True, slots=True)
class Scaled:
    """`a @ b` is the problem's product times 2^-(up_a + up_b): exact in every partial product and sum."""

    a: Array
    b: Array
    span_a: Span
    span_b: Span
    #: Exponents (m,) and (n,) that bring a result back, or None where nothing was scaled.
    up_a: Exponents | None
    up_b: Exponents | None
    #: (m, n): elements whose row or column is too wide for that; it is zero in `a`, `b`.
    hard: Mask

    def part(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> "Scaled":
        """The problem of some rows of a and columns of b."""
        return replace(
            self,
            a=self.a[rows],
            b=np.ascontiguousarray(self.b[:, columns]),
            span_a=Span(self.span_a.top[rows], self.span_a.low[rows]),
            span_b=Span(self.span_b.top[columns], self.span_b.low[columns]),
        )

    def restored(self, x: Array) -> Array:
        """`x` (m, n) in the problem's own units: rounded where it leaves the range of float64."""
        return x if self.up_a is None or self.up_b is None else _times_power(x, self.up_a[:, None] + self.up_b)

    def scaled_term(self, x: Array) -> Array:
        """An (m, n) addend of the problem in the scaled units: rounded where it leaves the range of float64."""
        return x if self.up_a is None or self.up_b is None else _times_power(x, -(self.up_a[:, None] + self.up_b))

    def unscaled(self, sums: tuple[Array, Array, Array, Mask]) -> tuple[Array, Array, Array, Mask]:
        """hi, lo, radius in the problem's own units, and where they still are what was proved."""
        if self.up_a is None:
            return sums
        proved = sums[3]
        back = []
        for x in sums[:3]:
            restored = self.restored(x)
            proved = proved & (self.scaled_term(restored) == x)
            back.append(restored)
        return back[0], back[1], back[2], proved


def scaled(a: Array, b: Array, alpha: float) -> Scaled:
    """The product of alpha * a (m, k) and b (k, n), finite, in units that keep every slice product exact.

    alpha = 1 and exponents that cannot leave the range need no scaling. Otherwise rows and columns are scaled each by a
    power of two; an alpha that is no power of two turns a into two matrices side by side, the exact product alpha * a.
    """
    shape = (a.shape[0], b.shape[1])
    span_a, span_b = span(a, 1), span(b, 0)
    if alpha == 1 and _in_range(span_a, span_b, a.shape[1]):
        return Scaled(a, b, span_a, span_b, None, None, np.zeros(shape, bool))
    wide_a, wide_b = span_a.bits > WIDEST, span_b.bits > WIDEST
    up_a, up_b = span_a.top - TARGET, span_b.top - TARGET
    a = _times_power(np.where(wide_a[:, None], 0.0, a), -up_a[:, None])
    b = _times_power(np.where(wide_b, 0.0, b), -up_b)
    significand, exponent = np.frexp(alpha)
    up_a = up_a + int(exponent)
    product = eft.two_product(a, np.full_like(a, significand))
    a, b = (np.hstack(product), np.vstack((b, b))) if product[1].any() else (product[0], b)
    hard = wide_a[:, None] | wide_b
    return Scaled(a, np.ascontiguousarray(b), span(a, 1), span(b, 0), up_a, up_b, hard)


def _in_range(span_a: Span, span_b: Span, k: int) -> bool:
    """Whether no product, partial sum or rounding constant can leave the range of float64."""
    top_a, top_b = int(span_a.top.max(initial=0)), int(span_b.top.max(initial=0))
    low = int(span_a.low.min(initial=0)) + int(span_b.low.min(initial=0))
    return max(top_a, top_b) <= HIGHEST and top_a + top_b + k.bit_length() <= 1000 and low >= LEAST


def _times_power(x: Array, exponent: Exponents) -> Array:
    """x * 2^exponent, in one rounding; exponents of any size."""
    return np.ldexp(x, np.clip(exponent, -4000, 4000).astype(np.int32))
