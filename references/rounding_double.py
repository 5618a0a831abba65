"""One exact rounding of a float64 pair to float64 itself, in every mode."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def round_double(
    hi: Floats, lo: Floats | None, mode: str, random: NDArray[np.int64] | None, random_bits: int
) -> Floats:
    """hi + lo rounded once to float64; a new array. A finite sum of magnitude 2^1024 or more is infinite.

    In modes that keep a finite sum finite, the caller's overflow rule sees that hi was finite.
    """
    if lo is None:
        return hi.copy()
    total = hi + lo
    if mode == "nearest-even":
        return np.where(np.isfinite(hi), total, hi)
    rest = lo - (total - hi)
    # From here: hi + lo = total + rest, |rest| <= ulp(total)/2, and it lies between total and `other`.
    finite = np.isfinite(total)
    grows = (rest > 0) == (total > 0)
    inexact = finite & (rest != 0)
    bits = total.view(np.int64)
    other = (bits + np.where(grows, 1, -1)).view(np.float64)
    if mode == "nearest-away":
        # At the largest value `other` is infinite and the gap is that of the binade.
        gap = np.where(np.isinf(other), np.copysign(2.0**971, total), other - total)
        move = inexact & grows & (2 * rest == gap)
    elif mode == "toward-zero":
        move = inexact & ~grows
    elif mode == "down":
        move = inexact & (rest < 0)
    elif mode == "up":
        move = inexact & (rest > 0)
    elif mode == "to-odd":
        move = inexact & ((bits & 1) == 0)
    else:
        assert random is not None
        move = inexact & _stochastic_moves(total, other, rest, grows, random, random_bits)
    return np.where(move, other, np.where(finite, total, np.where(np.isfinite(hi), total, hi)))


def _stochastic_moves(
    total: Floats, other: Floats, rest: Floats, grows: NDArray[np.bool_], random: NDArray[np.int64], random_bits: int
) -> NDArray[np.bool_]:
    """Whether `other` is chosen: `total` is the lower magnitude where the sum `grows`, else the upper one."""
    gap = np.abs(np.where(np.isinf(other), 2.0**971, other - total))
    part = np.abs(rest) / gap
    scale = 2.0**random_bits
    fraction = np.where(grows, np.floor(part * scale), scale - np.ceil(part * scale)).astype(np.int64)
    away = fraction + random >= (1 << random_bits)
    return away == grows
