"""The exact cast: which codes a number may become in another format, under one declared rounding."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format, FormatError

Floats = NDArray[np.float64]
Codes = NDArray[Any]
Mask = NDArray[np.bool_]

#: Random bits of the two extreme draws of stochastic rounding: what neither of them reaches has no probability.
EXTREME_BITS = 62
#: From here on float64 holds no odd integers, and int64 soon none.
WIDEST_WRAP = 2.0**62


@dataclass(frozen=True, slots=True)
class Rule:
    """What a cast promises; the fields are those of lastbit.Contract."""

    rounding: str = "nearest-even"
    #: As Format.round, or "wrap" (modulo 2^bits, integers only), or "any".
    overflow: str | None = None
    #: What NaN becomes in a format without it: "zero", "max", or None: anything.
    nan: str | None = None
    #: What zero becomes in a format without it: "smallest" (None), or "nan".
    zero: str | None = None
    #: Subnormal operands and results may be zero instead.
    flush: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """The codes that are right, element by element; arrays of the operand's shape."""

    #: The right code; under stochastic rounding the one nearer zero.
    code: Codes
    #: The other right code under stochastic rounding, else the same array.
    other: Codes
    #: NaN is right, of any sign and payload, and nothing else; None: nowhere.
    nan: Mask | None
    #: Zero with the operand's sign is right, too: a flushed subnormal; None: nowhere.
    flushed: Mask | None
    #: Anything is right; None: nowhere.
    anything: Mask | None


def expected(x: Floats, source: "str | Format", target: "str | Format", rule: Rule) -> Expected:
    """The codes of `target` that `x`, exact values of `source`, may become under `rule`.

    Exact: every finite number is rounded once (Format.encode). Without NaN in `target`, a NaN under nan="zero" may be a
    zero of either sign.

    Raises FormatError when `target` cannot follow the rule.
    """
    source, target = Format.of(source), Format.of(target)
    lost = np.isnan(x)
    has_lost = bool(lost.any())
    known = np.where(lost, 0.0, x) if has_lost and not target.has_nan else x
    open_ = np.zeros(x.shape, bool)
    if rule.overflow == "wrap":
        code, open_ = _wrapped(known, target, rule.rounding)
        other = code
    else:
        overflow = rule.overflow
        if overflow == "any":
            open_ = beyond(known, target, rule.rounding)
            overflow = None
        code, other = _rounded(known, target, rule.rounding, overflow)
    if rule.zero == "nan" and target.kind == "exponent":
        code, other = (np.where(x == 0, target.nan_code or 0, one).astype(target.code_dtype) for one in (code, other))
    nan: Mask | None = np.isnan(target.decode(code)) if target.has_nan else None
    flushed = _small(x, source, target) if rule.flush else None
    if has_lost and not target.has_nan:
        if rule.nan is None:
            open_ = open_ | lost
        elif rule.nan == "max":
            code = np.where(lost, target.max_code, code).astype(target.code_dtype)
            other = code
        else:
            flushed = lost if flushed is None else flushed | lost
    return Expected(
        code,
        other,
        nan if nan is not None and nan.any() else None,
        flushed if flushed is not None and flushed.any() else None,
        open_ if open_.any() else None,
    )


def right(codes: Codes, wanted: Expected, x: Floats, target: "str | Format") -> Mask:
    """Where `codes` of `target` are right for `x`."""
    target = Format.of(target)
    same: Mask = codes == wanted.code
    if wanted.other is not wanted.code:
        same |= codes == wanted.other
    if wanted.nan is not None:
        same |= wanted.nan & np.isnan(target.decode(codes))
    if wanted.flushed is not None:
        value = target.decode(codes)
        sign = (np.signbit(value) == np.signbit(x)) | (not target.has_negative_zero) | np.isnan(x)
        same |= wanted.flushed & (value == 0) & sign
    if wanted.anything is not None:
        same |= wanted.anything
    return same


def beyond(x: Floats, target: "str | Format", rounding: str = "nearest-even") -> Mask:
    """Where `x` rounds beyond the range of `target`, or is infinite; False for NaN.

    A tie at the threshold rounds to the even code, which is beyond where the largest number's is odd. In other
    roundings, the stochastic one too, every number past the largest counts as beyond: it may be.
    """
    target = Format.of(target)
    with np.errstate(invalid="ignore"):
        if target.kind == "integer":
            whole = integers(x, rounding)
            outside: Mask = (whole > target.max) | (whole < target.lowest)
        elif target.kind == "table":
            outside = (x > target.max) | (x < target.lowest)
        elif rounding.startswith("nearest"):
            tie = rounding == "nearest-away" or target.max_code % 2 == 1
            size = np.abs(x) if target.signed else x
            outside = (size > target.threshold) | (tie & (size == target.threshold)) | _below(x, target, half=True)
        else:
            outside = ((np.abs(x) if target.signed else x) > target.max) | _below(x, target, half=False)
    return outside


def _below(x: Floats, target: Format, *, half: bool) -> Mask:
    """Negative numbers that an unsigned format does not round to zero."""
    if target.signed:
        return np.zeros(x.shape, bool)
    below: Mask = x < (-target.eta / 2 if half and target.kind != "exponent" else 0.0)
    return below


def integers(x: Floats, rounding: str) -> Floats:
    """`x` rounded to whole numbers of any size.

    Raises FormatError for a rounding that casts to integers do not have.
    """
    whole: Floats
    if rounding == "nearest-even":
        whole = np.rint(x)
    elif rounding == "nearest-away":
        size = np.abs(x)
        with np.errstate(invalid="ignore"):  # the fraction of an infinity
            whole = np.copysign(np.floor(size) + (size - np.floor(size) >= 0.5), x)
    elif rounding in ("toward-zero", "down", "up"):
        whole = np.trunc(x) if rounding == "toward-zero" else np.floor(x) if rounding == "down" else np.ceil(x)
    else:
        raise FormatError(f"rounding {rounding!r} to integers without a limit is not defined here")
    return whole


def _rounded(x: Floats, target: Format, rounding: str, overflow: str | None) -> tuple[Codes, Codes]:
    """The right codes: one, or under stochastic rounding that without and that with every carry."""
    if rounding != "stochastic":
        code = target.encode(x, rounding=rounding, overflow=overflow)
        return code, code
    most = np.full((), (1 << EXTREME_BITS) - 1)
    low, high = (
        target.encode(
            x, rounding=rounding, overflow=overflow, random=np.broadcast_to(bits, x.shape), random_bits=EXTREME_BITS
        )
        for bits in (np.zeros_like(most), most)
    )
    return low, high


def _wrapped(x: Floats, target: Format, rounding: str) -> tuple[Codes, Mask]:
    """Whole numbers modulo 2^bits, and where they are too large to tell."""
    if target.kind != "integer":
        raise FormatError(f"overflow is 'wrap', which {target.name} cannot: it is no integer format")
    whole = integers(x, rounding)
    wide = ~(np.abs(whole) < WIDEST_WRAP)
    bits = np.where(wide, 0.0, whole).astype(np.int64) & ((1 << target.bits) - 1)
    return bits.astype(target.code_dtype), wide


def _small(x: Floats, source: Format, target: Format) -> Mask:
    """Where the operand, or the result before it is rounded, is below the normal range."""
    size = np.abs(x)
    limit = max(fmt.min_normal if fmt.kind == "float" else 0.0 for fmt in (source, target))
    small: Mask = (size > 0) & (size < limit)
    return small
