"""One exact rounding of a float64 pair to float64 itself, in every mode."""

import numpy as np
from numpy.typing import NDArray

from lastbit.references.rounding_stochastic import Random, carries

Floats = NDArray[np.float64]


def round_double(hi: Floats, lo: Floats | None, mode: str, random: Random, random_bits: int) -> Floats:
    """hi + lo rounded once to float64, infinite from 2^1024 on as if rounded with unbounded exponent; a new array."""
    if lo is None:
        return hi.copy()
    total = hi + lo
    if mode == "nearest-even":
        return np.where(np.isfinite(hi), total, hi)
    kept = ~np.isfinite(total)
    total = np.where(kept, hi, total)
    rest = np.where(kept, lo, lo - (total - hi))
    # From here hi + lo = total + rest lies between total and its neighbour `other`; |rest| is at most half their gap.
    grows = (rest > 0) == (total > 0)
    other = (total.view(np.int64) + np.where(grows, 1, -1)).view(np.float64)
    # Beyond the largest value the next is 2^1024, which reads as infinite.
    gap = np.where(np.isinf(other), 2.0**971, np.abs(other - total))
    if mode == "nearest-away":
        move = grows & (2 * np.abs(rest) == gap)
    elif mode == "toward-zero":
        move = ~grows
    elif mode == "down":
        move = rest < 0
    elif mode == "up":
        move = rest > 0
    elif mode == "to-odd":
        move = (total.view(np.int64) & 1) == 0
    else:
        # `total` is the lower magnitude where the sum grows, else the upper one.
        part = np.abs(rest) / gap * 2.0**random_bits
        move = carries(np.where(grows, np.floor(part), 2.0**random_bits - np.ceil(part)), random, random_bits) == grows
    return np.where(move & (rest != 0) & np.isfinite(total), other, total)
