"""One exact rounding of float64 pairs to a format of at most 32 significant bits, or to float64 itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lastbit.references import rounding_double, rounding_levels
from lastbit.references.format_table import FormatError
from lastbit.references.rounding_overflow import check_policy, settle
from lastbit.references.rounding_stochastic import Random, carries

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]

ROUNDINGS = ("nearest-even", "nearest-away", "toward-zero", "down", "up", "to-odd", "stochastic")


@dataclass(frozen=True, slots=True)
class Rule:
    """How to round: validated options of Format.round."""

    mode: str
    overflow: str
    nan: str | None
    random_bits: int


def rule(
    fmt: "Format", mode: str, overflow: str | None, nan: str | None, random_bits: int | None, *, paired: bool
) -> Rule:
    """The options as a Rule, for values that are `paired` with a low part or not.

    Raises FormatError for an unknown or impossible option.
    """
    if mode not in ROUNDINGS:
        raise FormatError(f"rounding is {mode!r}, expected one of {', '.join(ROUNDINGS)}")
    if mode == "stochastic":
        if fmt.kind == "table":
            raise FormatError(
                f"stochastic rounding to {fmt.name}: its levels are no power of two apart; use nearest-even"
            )
        # A pair is kept to 53 bits with a sticky last one, so a fraction of 52 - precision bits is exact.
        most = 52 - fmt.precision if paired and fmt.precision < 53 else 62
        if random_bits is None or not 1 <= random_bits <= most:
            raise FormatError(f"random_bits is {random_bits}; stochastic rounding to {fmt.name} takes 1 to {most} here")
    return Rule(mode, check_policy(fmt, overflow, nan), nan, random_bits or 0)


def exact_float64(x: ArrayLike) -> Floats:
    """`x` as float64.

    Raises FormatError when a value is not a float64 number.
    """
    array = np.asarray(x)
    if array.dtype == np.float64:
        return array
    floats = array.astype(np.float64) if array.dtype.kind in "biuf" else np.empty(0)
    if floats.shape != array.shape or (
        array.dtype.itemsize >= 8 and not np.array_equal(floats.astype(array.dtype), array)
    ):
        raise FormatError(f"values of type {array.dtype} are not exact in float64; give a pair (x, lo) or a Fraction")
    return floats


def random_array(how: Rule, random: ArrayLike | None) -> Random:
    """The low `random_bits` bits of `random`; None unless the rounding is stochastic."""
    if how.mode != "stochastic":
        return None
    bits = None if random is None else np.asarray(random)
    if bits is None or bits.dtype.kind not in "iu":
        raise FormatError("stochastic rounding takes random, an array of integers; give one of the shape of x")
    return (bits.astype(np.uint64) & np.uint64((1 << how.random_bits) - 1)).astype(np.int64)


def round_chunk(fmt: "Format", how: Rule, x: Floats, lo: Floats | None, random: Random) -> Floats:
    """One-dimensional `x` + `lo` rounded to `fmt` under `how`; a new array."""
    with np.errstate(invalid="ignore", over="ignore"):
        if fmt.precision == 53:
            values = rounding_double.round_double(x, lo, how.mode, random, how.random_bits)
            source = x
        else:
            source = x if lo is None else sticky(x, lo)
            values = _round(fmt, how, source, random)
        return settle(fmt, how.mode, how.overflow, how.nan, source, values)


def sticky(hi: Floats, lo: Floats) -> Floats:
    """hi + lo rounded to odd in float64: rounding that to 51 bits or fewer is rounding hi + lo once.

    Source: Boldo and Melquiond, Emulation of FMA and correctly rounded sums, IEEE TC 57 (2008).
    """
    total = hi + lo
    rest = lo - (total - hi)
    inexact = (rest > 0) | (rest < 0)
    overflown = np.isinf(total) & np.isfinite(hi)
    if overflown.any():
        total[overflown] = hi[overflown]
        inexact &= ~overflown
    bits = total.view(np.int64)
    even = (bits & 1) == 0
    step = np.where((rest > 0) == (total > 0), 1, -1)
    bits += step * (inexact & even)
    return total


def _round(fmt: "Format", how: Rule, x: Floats, random: Random) -> Floats:
    """`x` on the grid of `fmt` with no upper limit of the exponent."""
    if fmt.precision == 1 or fmt.kind == "table":
        return rounding_levels.round_levels(fmt, x, how.mode, random, how.random_bits)
    values = _round_bits(x, 53 - fmt.precision, how, random)
    small = np.flatnonzero(np.abs(x) < fmt.min_normal)
    if small.size:
        values[small] = _round_fixed(x[small], fmt.eta, how, None if random is None else random[small])
    return values


def _round_bits(x: Floats, shift: int, how: Rule, random: Random) -> Floats:
    """Normal `x` without its low `shift` bits. A carry runs into the exponent, as it should; NaN is settled later."""
    bits = x.view(np.int64)
    mask = (1 << shift) - 1
    if how.mode == "nearest-even":
        rounded = bits >> shift
        rounded &= 1
        rounded += bits
        rounded += mask >> 1
    elif how.mode == "nearest-away":
        rounded = bits + ((mask + 1) >> 1)
    elif how.mode == "toward-zero":
        rounded = bits.copy()
    elif how.mode in ("down", "up"):
        away = (bits < 0) if how.mode == "down" else (bits >= 0)
        rounded = bits + away * np.int64(mask)
    elif how.mode == "to-odd":
        rounded = bits | (((bits & mask) != 0).astype(np.int64) << shift)
    else:
        assert random is not None
        # Below 2^shift the fraction has `shift` bits: the sum carries exactly when fraction + R/2^r reaches 1.
        spare = shift - how.random_bits
        rounded = bits + (random << spare if spare >= 0 else random >> -spare)
    rounded &= ~mask
    return rounded.view(np.float64)


def _round_fixed(x: Floats, quantum: float, how: Rule, random: Random) -> Floats:
    """`x` as a multiple of `quantum`, a power of two; |x| < 2^52 quantum."""
    # 1/quantum is finite: eta >= 2^-149 for every format but f64. Scaling up is exact.
    scaled = np.abs(x) * (1 / quantum)
    return np.copysign(_round_integer(scaled, np.signbit(x), how, random) * quantum, x)


def _round_integer(scaled: Floats, negative: Any, how: Rule, random: Random) -> Floats:
    """Non-negative `scaled` < 2^52 rounded to integers; `negative` is the sign that directed modes see."""
    if how.mode == "nearest-even":
        return np.rint(scaled)
    whole = np.floor(scaled)
    fraction = scaled - whole
    if how.mode == "nearest-away":
        up: Any = fraction >= 0.5
    elif how.mode == "toward-zero":
        return whole
    elif how.mode in ("down", "up"):
        up = (fraction > 0) & (negative if how.mode == "down" else ~negative)
    elif how.mode == "to-odd":
        up = (fraction > 0) & (whole % 2 == 0)
    else:
        up = carries(np.floor(fraction * 2.0**how.random_bits), random, how.random_bits)
    rounded: Floats = whole + up
    return rounded
