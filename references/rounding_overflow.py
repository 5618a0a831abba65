"""What becomes of NaN, infinities and values that round beyond a format's range."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.references.format_table import FormatError

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]

POLICIES = ("inf", "nan", "saturate", "propagate")


def check_policy(fmt: "Format", overflow: str | None, nan: str | None) -> str:
    """The overflow policy, None resolved to the format's own.

    Raises FormatError when the format cannot follow it.
    """
    if nan not in (None, "zero", "max"):
        raise FormatError(f"nan is {nan!r}, expected 'zero', 'max' or None")
    if overflow is None:
        return "inf" if fmt.has_inf else "nan" if fmt.has_nan else "saturate"
    if overflow not in POLICIES:
        raise FormatError(f"overflow is {overflow!r}, expected one of {', '.join(POLICIES)} or None")
    if (overflow == "inf" and not fmt.has_inf) or (overflow == "nan" and not fmt.has_nan):
        raise FormatError(f"overflow is {overflow!r}, but {fmt.name} has no {overflow}; use 'saturate' or None")
    return overflow


def settle(fmt: "Format", mode: str, overflow: str, nan: str | None, x: Floats, values: Floats) -> Floats:
    """Replace, in place, what is not in `fmt` among `values`, the roundings of `x` with unbounded exponent."""
    if not fmt.has_negative_zero:
        values += 0.0  # turns -0 into +0, changes nothing else
    strange = np.flatnonzero(~((values <= fmt.max) & (values >= fmt.lowest) & (x == x)))
    if strange.size:
        values[strange] = _settled(fmt, mode, overflow, nan, x[strange])
    return values


def _settled(fmt: "Format", mode: str, overflow: str, nan: str | None, x: Floats) -> Floats:
    is_nan = np.isnan(x)
    if is_nan.any() and not fmt.has_nan and nan is None:
        raise FormatError(f"NaN has no value in {fmt.name}; say what it becomes: nan='zero' or nan='max'")
    positive = x > 0
    limit = np.where(positive, fmt.max, fmt.lowest)
    beyond = _beyond(fmt, overflow, positive, np.isinf(x), limit)
    if overflow == "inf" or overflow == "nan":
        # IEEE 754-2019 section 4.3.2: a finite value is not rounded away from its direction.
        stays = np.full(x.shape, mode == "toward-zero") | (positive if mode == "down" else ~positive & (mode == "up"))
        stays &= np.isfinite(x) & (positive | fmt.signed)
        beyond = np.where(stays, limit, beyond)
    replacement = np.nan if fmt.has_nan else 0.0 if nan == "zero" else fmt.max
    return np.where(is_nan, replacement, beyond)


def _beyond(
    fmt: "Format", overflow: str, positive: NDArray[np.bool_], infinite: NDArray[np.bool_], limit: Floats
) -> Floats:
    """The policy's answer for each value out of range."""
    infinity = np.where(positive, np.inf, -np.inf if fmt.signed else np.nan)
    if overflow == "inf":
        return infinity
    if overflow == "nan":
        return np.full(limit.shape, np.nan)
    if overflow == "propagate" and fmt.has_inf:
        return np.where(infinite, infinity, limit)
    if overflow == "propagate" and fmt.has_nan:
        return np.where(infinite, np.nan, limit)
    return limit
