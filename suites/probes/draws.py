"""Operands whose every sum is zero: a result is nothing but rounding errors, which tell any two orders apart."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lastbit.references.formats import Format
from lastbit.suites.probes.span import Array

if TYPE_CHECKING:
    from lastbit.suites.probes.access import Shape


#: Binades of the operands: products of 8-bit formats, which have few bits, then still have more than f32 holds.
SPREAD = 14


def noise(shape: "Shape", formats: Mapping[str, str], seed: int) -> tuple[Array, Array]:
    """a (m, k) and b (k, n) of the formats, half of each sum's terms the negatives of the others, anywhere.

    They are as large as the result's format takes, so that what is lost is a number of it.
    """
    left, right, out = (Format.of(formats[name]) for name in ("a", "b", "out"))
    rng, half = np.random.default_rng(seed), shape.k // 2
    power = min(left.emax - 1, right.emax - 1, max(1, out.emax // 2 - 3), 40)

    def drawn(fmt: Format, size: tuple[int, int]) -> Array:
        if fmt.kind == "integer":
            return rng.integers(0, int(fmt.max) + 1, size).astype(np.float64)
        low = max(fmt.emin, power - SPREAD)
        return fmt.round(np.ldexp(1 + rng.random(size), rng.integers(low, power + 1, size)))

    a, b = drawn(left, (shape.m, shape.k)), drawn(right, (shape.k, shape.n))
    order = rng.permutation(2 * half)
    a[:, order[half:]] = a[:, order[:half]]
    b[order[half:]] = -b[order[:half]] if right.signed else b[order[:half]]
    return a, b
