"""One exact rounding of float64 pairs to a format of at most 32 significant bits, or to float64 itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from lastbit.references import rounding_double, rounding_levels
from lastbit.references.format_table import FormatError
from lastbit.references.rounding_overflow import check_policy, settle
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]

ROUNDINGS = ("nearest-even", "nearest-away", "toward-zero", "down", "up", "to-odd", "stochastic")

#: Bits of a float64 fraction.
FRACTION = 52


@dataclass(frozen=True, slots=True)
class Rule:
    """How to round: validated options of Format.round."""

    mode: str
    overflow: str
    nan: str | None
    random_bits: int


def rule(fmt: "Format", mode: str, overflow: str | None, nan: str | None, random_bits: int | None) -> Rule:
    """The options as a Rule.

    Raises FormatError for an unknown or impossible one.
    """
    if mode not in ROUNDINGS:
        raise FormatError(f"rounding is {mode!r}, expected one of {', '.join(ROUNDINGS)}")
    if mode == "stochastic" and (random_bits is None or not 1 <= random_bits <= 62):
        raise FormatError(f"random_bits is {random_bits}; stochastic rounding takes 1 to 62 of them")
    if mode == "stochastic" and fmt.kind == "table":
        raise FormatError(f"stochastic rounding to {fmt.name}: its levels are no power of two apart; round to nearest")
    return Rule(mode, check_policy(fmt, overflow, nan), nan, random_bits or 0)


def exact_float64(x: ArrayLike) -> Floats:
    """`x` as float64.

    Raises FormatError when a value is not a float64 number.
    """
    array = np.asarray(x)
    if array.dtype == np.float64:
        return array
    floats = array.astype(np.float64)
    exact = array.dtype.kind in "biuf" and (
        array.dtype.itemsize < 8 or bool(np.all(floats.astype(array.dtype) == array))
    )
    if not exact:
        raise FormatError(f"values of type {array.dtype} are not exact in float64; give a pair (x, lo) or a Fraction")
    return floats


def random_array(how: Rule, random: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """The low `random_bits` bits of `random`, flat; None unless the rounding is stochastic."""
    if how.mode != "stochastic":
        return None
    if random is None or np.asarray(random).dtype.kind not in "iu":
        raise FormatError("stochastic rounding takes random, an array of integers; give one of the shape of x")
    bits = np.broadcast_to(np.asarray(random), shape).astype(np.uint64) & np.uint64((1 << how.random_bits) - 1)
    return bits.astype(np.int64).reshape(-1)


def check_random_bits(fmt: "Format", how: Rule) -> None:
    """Raise FormatError when a pair's fraction cannot be kept to `random_bits` bits."""
    if how.random_bits > FRACTION - fmt.precision:
        raise FormatError(
            f"random_bits is {how.random_bits}; for a pair (x, lo) rounded to {fmt.name} "
            f"at most {FRACTION - fmt.precision} are kept exactly"
        )


def round_chunk(fmt: "Format", how: Rule, x: Floats, lo: Floats | None, random: NDArray[np.int64] | None) -> Floats:
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


def _round(fmt: "Format", how: Rule, x: Floats, random: NDArray[np.int64] | None) -> Floats:
    """`x` on the grid of `fmt` with no upper limit of the exponent."""
    if fmt.precision == 1 or fmt.kind == "table":
        return rounding_levels.round_levels(fmt, x, how.mode, random, how.random_bits)
    values = _round_bits(x, 53 - fmt.precision, how, random)
    small = np.flatnonzero(np.abs(x) < fmt.min_normal)
    if small.size:
        values[small] = _round_fixed(x[small], fmt.eta, how, None if random is None else random[small])
    return values


def _round_bits(x: Floats, shift: int, how: Rule, random: NDArray[np.int64] | None) -> Floats:
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


def _round_fixed(x: Floats, quantum: float, how: Rule, random: NDArray[np.int64] | None) -> Floats:
    """`x` as a multiple of `quantum`, a power of two; |x| < 2^52 quantum."""
    # 1/quantum is finite: eta >= 2^-149 for every format but f64. Scaling up is exact.
    scaled = np.abs(x) * (1 / quantum)
    return np.copysign(round_integer(scaled, np.signbit(x), how.mode, random, how.random_bits) * quantum, x)


def round_integer(
    scaled: Floats, negative: Any, mode: str, random: NDArray[np.int64] | None, random_bits: int
) -> Floats:
    """Non-negative `scaled` < 2^52 rounded to integers; `negative` is the sign that directed modes see."""
    if mode == "nearest-even":
        return np.rint(scaled)
    whole = np.floor(scaled)
    fraction = scaled - whole
    if mode == "nearest-away":
        up: Any = fraction >= 0.5
    elif mode == "toward-zero":
        return whole
    elif mode in ("down", "up"):
        up = (fraction > 0) & (negative if mode == "down" else ~negative)
    elif mode == "to-odd":
        up = (fraction > 0) & (whole % 2 == 0)
    else:
        up = np.floor(fraction * 2.0**random_bits).astype(np.int64) + random >= (1 << random_bits)
    return whole + up
