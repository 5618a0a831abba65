"""Rounding by search in the sorted values, for formats of one significant bit and for tables."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.references.rounding_stochastic import Random, carries

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]


def round_levels(fmt: "Format", x: Floats, mode: str, random: Random, random_bits: int) -> Floats:
    """`x` on the levels of `fmt`, and on one level beyond its largest, so that overflow shows; a new array."""
    levels, even = _levels(fmt)
    clipped = np.clip(x, levels[0], levels[-1])
    if fmt.kind == "exponent":
        clipped = np.copysign(np.maximum(np.abs(clipped), fmt.min_normal), np.where(x == 0, 1.0, clipped))
    below = np.minimum(np.searchsorted(levels, clipped, side="right") - 1, len(levels) - 2)
    a, b = levels[below], levels[below + 1]
    negative = clipped < 0
    if mode in ("nearest-even", "nearest-away"):
        # Exact: a midpoint has at most 50 significant bits.
        middle = a + (b - a) / 2
        up = clipped > middle
        tie = clipped == middle
        up |= tie & (even[below + 1] if mode == "nearest-even" else ~negative)
    elif mode == "down":
        up = clipped >= b
    elif mode == "up":
        up = clipped > a
    elif mode == "toward-zero":
        up = (clipped >= b) | (negative & (clipped > a))
    elif mode == "to-odd":
        up = (clipped >= b) | ((clipped > a) & ~even[below + 1])
    else:
        up = _stochastic(clipped, a, b, negative, random, random_bits)
    return np.where(np.isnan(x), x, np.where(up, b, a))


def _stochastic(
    x: Floats, a: Floats, b: Floats, negative: NDArray[np.bool_], random: Random, random_bits: int
) -> NDArray[np.bool_]:
    """Whether the upper level is chosen; magnitudes round up. b - a is a power of two, so all is exact."""
    fraction = np.where(negative, b - x, x - a) / (b - a)
    away = carries(np.floor(fraction * 2.0**random_bits), random, random_bits)
    up: NDArray[np.bool_] = (away != negative) | (x == b)
    return up


@cache
def _levels(fmt: "Format") -> tuple[Floats, NDArray[np.bool_]]:
    """The levels, ascending, and whether the code of each is even."""
    if fmt.kind == "table":
        return np.array(fmt.levels), np.arange(len(fmt.levels)) % 2 == 0
    first = 0 if fmt.kind == "exponent" else 1
    codes = np.arange(first, fmt.max_code + 2)
    magnitudes = np.ldexp(1.0, codes - fmt.bias)
    zero = [] if fmt.kind == "exponent" else [0]
    levels = np.concatenate([-magnitudes[::-1], np.array(zero, np.float64), magnitudes])
    parity = np.concatenate([codes[::-1], np.array(zero, np.int64), codes]) % 2 == 0
    return levels, parity
