"""Errors in units of a format's last place, and in steps of its values."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lastbit.references.chunks import by_chunks
from lastbit.references.rounding import sticky

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]

#: The exponent field of a float64.
EXPONENT = 0x7FF0_0000_0000_0000


def ulp(fmt: "Format", x: Floats, lo: Floats | None = None) -> Floats:
    """Unit in the last place of `fmt` at the real number x + lo; see Format.ulp."""
    return by_chunks(lambda x, lo: _ulp(fmt, x, lo), np.float64, x, lo)


def error_ulp(y: ArrayLike, hi: ArrayLike, lo: ArrayLike, fmt: "Format") -> Floats:
    """The signed error (y - (hi + lo)) / ulp of `y`, in ulp of `fmt` at the exact hi + lo; 0.5 is a tie.

    0 where both are NaN or the same infinity; NaN where one only is NaN; infinite where one only is infinite.
    Error: relative 2^-52 (two float64 subtractions; the division by a power of two is exact), 2^-51 for nf4.
    """
    y, hi, lo = (np.asarray(a, np.float64) for a in (y, hi, lo))
    return by_chunks(lambda y, hi, lo: _error(fmt, y, hi, lo), np.float64, y, hi, lo)


def kappa(codes: ArrayLike, expected: ArrayLike, fmt: "Format") -> Floats:
    """How many representable values apart `codes` and `expected` are; both zeros are one value.

    NaN where one only is NaN, infinite where one only is infinite, or of the other sign; 0 where both are the same.
    Exact up to 2^53. Source: kappa of the IEEE P3109 interim report 4.0.
    """
    return by_chunks(lambda a, b: _kappa(fmt, a, b), np.float64, np.asarray(codes), np.asarray(expected))


def _ulp(fmt: "Format", x: Floats, lo: Floats | None) -> Floats:
    if fmt.kind == "integer":
        return np.where(np.isnan(x), np.nan, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        exact = x if lo is None else sticky(x, lo)
    if fmt.kind == "table":
        levels = np.array(fmt.levels)
        below = np.clip(np.searchsorted(levels, exact, side="right") - 1, 0, len(levels) - 2)
        return np.where(np.isnan(x), np.nan, levels[below + 1] - levels[below])
    size = np.clip(np.abs(exact), fmt.min_normal, fmt.max)
    nan = size - size
    if fmt.precision == 53:
        # Down to 2^-1074: bit patterns do not shift evenly there.
        unit: Floats = np.ldexp(1.0, np.frexp(size)[1] - 53)
    else:
        unit = ((size.view(np.int64) & EXPONENT) - ((fmt.precision - 1) << 52)).view(np.float64)
    unit += nan
    return unit


def _error(fmt: "Format", y: Floats, hi: Floats, lo: Floats) -> Floats:
    unit = _ulp(fmt, hi, lo)
    with np.errstate(invalid="ignore", over="ignore"):
        # The difference of two f64 values can overflow; in ulp it does not.
        error = (y / unit - hi / unit) - lo / unit if fmt.precision == 53 else ((y - hi) - lo) / unit
    same = ((y == hi) & np.isinf(y)) | (np.isnan(y) & np.isnan(hi))
    return np.where(same, 0.0, error)


def _kappa(fmt: "Format", codes: NDArray[np.uint64], expected: NDArray[np.uint64]) -> Floats:
    a, b = fmt.keys(codes), fmt.keys(expected)
    # Keys of f64 of opposite sign can be 2^64 apart; the two's complement difference is right as an unsigned number.
    distance = (np.maximum(a, b) - np.minimum(a, b)).view(np.uint64).astype(np.float64)
    x, y = fmt.decode(codes), fmt.decode(expected)
    distance[(np.isinf(x) | np.isinf(y)) & (x != y)] = np.inf
    distance[np.isnan(x) != np.isnan(y)] = np.nan
    distance[np.isnan(x) & np.isnan(y)] = 0.0
    return distance
