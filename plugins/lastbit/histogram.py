"""Histograms of signed errors in ulp: half-octave bins, stored as pairs of a bin and a count, empty bins left out.

Bin 0 holds |e| <= 2^-6; bin k of 1..72 holds 2^((k-1)/2 - 6) < e <= 2^(k/2 - 6), so that half an ulp is the upper
edge of bin 10 and one ulp that of bin 12; bin -k holds the same with a minus. Bins 72 and -72 have all that is larger.
Reports read histograms without NumPy, which only the functions that make them import.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import inf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: (bin, how many elements), by ascending bin, counts positive.
Pairs = tuple[tuple[int, int], ...]

#: The outermost bin on either side.
LAST = 72
#: |e| <= 2^FLOOR is bin 0.
FLOOR = -6

# Of float64's bits: all but the sign, the bias of the exponent, and the numbers from which on all are in bins 0 and 72.
_ABS = 2**63 - 1
_BIAS = 1023
_LOWEST = _BIAS + FLOOR << 52
_HIGHEST = _BIAS + FLOOR + LAST // 2 << 52
#: Carries into the exponent where the mantissa is above that of sqrt(2), which begins the upper half of an octave.
_FROM_SQRT_2 = 2**52 - int((sqrt(2) - 1) * 2**52)


def away_from_zero(ulps: "Floats", error: "Floats", x: "Floats") -> "Floats":
    """`ulps`, not negative, with a minus where `error` points from `x` to zero: a result too small in size.

    Where x is +0 the sign is that of the error. Products that overflow have the right sign: call it with such warnings
    off.
    """
    import numpy as np

    signed: Floats = np.copysign(ulps, error * x)
    return signed


def histogram(signed_ulp: "Floats") -> Pairs:
    """How many of `signed_ulp` (n,) lie in each bin; infinities, and what is no number, lie in the outermost."""
    import numpy as np

    bits = np.ascontiguousarray(signed_ulp, dtype=np.float64).view(np.int64)
    size = bits & _ABS
    np.minimum(size, _HIGHEST, out=size)
    np.maximum(size, _LOWEST, out=size)
    size -= 1  # an edge belongs to the bin below it
    half = size + _FROM_SQRT_2
    size >>= 52
    half >>= 52
    size += half
    sign = bits >> 63
    size -= 2 * (_BIAS + FLOOR) - 1
    size ^= sign  # with the next line: minus where the sign is
    size -= sign
    size += LAST
    return tuple((bin - LAST, count) for bin, count in enumerate(np.bincount(size).tolist()) if count)


def edges(bin: int) -> tuple[float, float]:
    """The ends of a bin in ulp, the lower one first; that of bin 72 is infinite. ValueError for what is no bin."""
    if abs(bin) > LAST:
        raise ValueError(f"bin is {bin}, expected a number from {-LAST} to {LAST}")
    if bin == 0:
        return -(2.0**FLOOR), 2.0**FLOOR
    size = abs(bin)
    inner, outer = 2.0 ** ((size - 1) / 2 + FLOOR), inf if size == LAST else 2.0 ** (size / 2 + FLOOR)
    return (inner, outer) if bin > 0 else (-outer, -inner)


def merged(histograms: Iterable[Pairs]) -> Pairs:
    """The histogram of all elements of several."""
    total: Counter[int] = Counter()
    for pairs in histograms:
        for bin, count in pairs:
            total[bin] += count
    return tuple(sorted(total.items()))


def cumulative(pairs: Pairs) -> tuple[tuple[float, float], ...]:
    """The distribution of |e|: for each filled size, its upper edge in ulp and the share of elements up to there."""
    sizes: Counter[int] = Counter()
    for bin, count in pairs:
        sizes[abs(bin)] += count
    total, below, steps = sizes.total(), 0, []
    for size, count in sorted(sizes.items()):
        below += count
        steps.append((edges(size)[1], below / total))
    return tuple(steps)


def quantile(pairs: Pairs, share: float) -> float:
    """The upper edge in ulp of the bin up to which at least `share` of the elements lie; 0 if there are none."""
    return next((edge for edge, reached in cumulative(pairs) if reached >= share), 0.0)


def flaw(pairs: Pairs) -> str:
    """Why `pairs`, read from a file, are no histogram, or ""."""
    bins = [bin for bin, _ in pairs]
    if any(abs(bin) > LAST for bin in bins):
        return f"histogram has a bin beyond {LAST}"
    if any(count < 1 for _, count in pairs):
        return "histogram has a count below 1"
    return "" if all(a < b for a, b in pairwise(bins)) else "histogram's bins do not ascend"
