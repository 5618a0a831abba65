"""Errors in units of a format's last place, and in steps of its values."""

from typing import TYPE_CHECKING

import numpy as np
from lastbit.references.rounding import sticky
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]

_EXPONENT = 0x7FF0_0000_0000_0000


def ulp(fmt: "Format", x: Floats, lo: Floats | None = None) -> Floats:
    """Unit in the last place of `fmt` at the real number x + lo; see Format.ulp."""
    if fmt.kind == "table":
        levels = np.array(fmt.levels)
        below = np.clip(np.searchsorted(levels, x, side="right") - 1, 0, len(levels) - 2)
        return np.where(np.isnan(x), np.nan, levels[below + 1] - levels[below])
    if fmt.kind == "integer":
        return np.where(np.isnan(x), np.nan, 1.0)
    size = np.abs(x if lo is None else sticky(np.atleast_1d(x), np.atleast_1d(lo)).reshape(np.shape(x)))
    size = np.clip(size, fmt.min_normal, fmt.max)
    if fmt.emin - fmt.precision + 1 < -1022:
        return np.where(np.isnan(size), np.nan, np.ldexp(1.0, np.frexp(size)[1] - fmt.precision))
    bits = (size.view(np.int64) & _EXPONENT) - ((fmt.precision - 1) << 52)
    return np.where(np.isnan(size), np.nan, bits.view(np.float64))


def error_ulp(y: ArrayLike, hi: ArrayLike, lo: ArrayLike, fmt: "Format") -> Floats:
    """The signed error (y - (hi + lo)) / ulp of `y`, in ulp of `fmt` at the exact hi + lo; 0.5 is a tie.

    0 where both are NaN or the same infinity; NaN where one only is NaN; infinite where one only is infinite.
    Error: relative 2^-52, by two float64 subtractions; the division by a power of two is exact.
    """
    y, hi, lo = (np.asarray(a, np.float64) for a in (y, hi, lo))
    with np.errstate(invalid="ignore", over="ignore"):
        error = ((y - hi) - lo) / ulp(fmt, hi, lo)
    same = (y == hi) & np.isinf(y) | np.isnan(y) & np.isnan(hi)
    return np.where(same, 0.0, error)


def kappa(codes: ArrayLike, expected: ArrayLike, fmt: "Format") -> Floats:
    """How many representable values apart `codes` and `expected` are; both zeros are one value.

    NaN where one only is NaN, infinite where one only is infinite, or of the other sign; 0 where both are the same.
    Exact to 2^53. Source: IEEE P3109 interim report 4.0, kappa.
    """
    codes, expected = np.asarray(codes), np.asarray(expected)
    a, b = fmt.keys(codes), fmt.keys(expected)
    distance = (
        np.abs(a.astype(np.float64) - b.astype(np.float64)) if fmt.bits > 62 else np.abs(a - b).astype(np.float64)
    )
    x, y = fmt.decode(codes), fmt.decode(expected)
    infinite = (np.isinf(x) | np.isinf(y)) & (x != y)
    distance = np.where(infinite, np.inf, distance)
    nan_x, nan_y = np.isnan(x), np.isnan(y)
    return np.where(nan_x & nan_y, 0.0, np.where(nan_x | nan_y, np.nan, distance))
