"""The scales of a tensor, by rule: a power of two from an exponent, a rounded quotient, or an affine range."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.groups import reduced
from lastbit.references.one_rounding import add, divide
from lastbit.references.scaling import POWERS, Scaling, ScalingError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scales:
    """What a tensor is divided by, as codes and as what is computed with."""

    #: Codes in `scale_format`, of the shape `Scaling.scale_shape`; None without one.
    scale: Codes | None
    #: Codes in `zero_point`'s format, of the same shape, or None.
    zero_point: Codes | None
    #: The code of the tensor's scale, (), or None.
    global_scale: Codes | None
    #: The numbers that x is divided by, before the global scale.
    divisor: Array
    #: Largest magnitude of each group, as the rule used it.
    amax: Array
    #: Where the scaling leaves open what the scale is, and hence the codes.
    unspecified: Mask


@dataclass(frozen=True, slots=True)
class Off:
    """How far from the exact quotient another arithmetic may be: its magnitude times `factor`, plus `shift`."""

    factor: float = 1.0
    shift: float = 0.0

    def of(self, raw: Array) -> Array:
        """The moved quotients, of the same sign."""
        return np.copysign(np.maximum(np.abs(raw) * self.factor + self.shift, 0.0), raw)


EXACT = Off()


def by_rule(x: Array, scaling: Scaling, fmt: str, global_scale: Codes | None = None, off: Off = EXACT) -> Scales:
    """The scales of `x`, whose numbers are of the format `fmt`; `global_scale` is computed where it is not given.

    Quotients that the arithmetic rounds are moved by `off`.
    """
    compute = scaling.scale_compute or fmt
    x = _as_computed(x, fmt, compute)
    amax = reduced(np.abs(x), scaling, np.max)
    if scaling.rule == "affine_min_max":
        return _affine(x, amax, scaling, fmt, off)
    signed = reduced(x, scaling, _signed_amax) if scaling.rule == "signed_amax" else None
    return from_amax(amax, scaling, fmt, global_scale, off, signed)


def from_amax(
    amax: Array,
    scaling: Scaling,
    fmt: str,
    global_scale: Codes | None = None,
    off: Off = EXACT,
    signed: Array | None = None,
) -> Scales:
    """The same from the largest magnitude of each group, and for "signed_amax" the number that has it."""
    compute = scaling.scale_compute or fmt
    if scaling.smallest_amax is not None:
        amax = np.maximum(amax, Format.of(compute).round(scaling.smallest_amax))
    if scaling.rule in POWERS:
        return _powers(amax, scaling, compute, off)
    if scaling.rule not in ("amax_over_max", "signed_amax", "four_over_six"):
        raise ScalingError(f"scaling {scaling.name}: the rule {scaling.rule!r} has no scales of its own; give them")
    raw = off.of(divide(amax if signed is None else signed, scaling.largest, compute))
    if scaling.global_scale is not None:
        top = Format.of(scaling.global_scale)
        if global_scale is None:
            global_scale = top.encode(divide(amax.max(initial=0.0), scaling.global_largest, compute))
        raw = off.of(divide(raw, top.decode(np.asarray(global_scale)), compute))
    return _stored(raw, amax, scaling, fmt, global_scale)


def _as_computed(x: Array, fmt: str, compute: str) -> Array:
    """`x` in the format of the arithmetic: rounded only if that is narrower."""
    return x if Format.of(fmt).precision <= Format.of(compute).precision else Format.of(compute).round(x)


def _powers(amax: Array, scaling: Scaling, compute: str, off: Off) -> Scales:
    """2^e, e clipped to the exponents of the scale format."""
    fmt = Format.of(scaling.scale_format or "e8m0fnu")
    emax = int(np.floor(np.log2(scaling.largest)))
    infinite, nan = np.isinf(amax), np.isnan(amax)
    finite = np.where(infinite | nan, 1.0, amax)
    if scaling.rule == "rceil":
        finite, emax = off.of(divide(finite, scaling.largest, compute)), 0
    significand, exponent = np.frexp(finite)
    exponent = exponent.astype(np.int64) - 1
    if scaling.rule in ("ceil", "rceil"):
        exponent += significand > 0.5
    elif scaling.rule == "even":
        # The exponent of amax rounded to the element's precision; a carry is decided alike by every rule for ties.
        exponent += significand >= 1 - 2.0 ** -(Format.of(scaling.element).precision + 1)
    exponent = np.where(finite == 0, fmt.emin, exponent - emax)
    exponent = np.where(infinite, fmt.emax if scaling.infinite == "largest" else 128 - emax, exponent)
    value = np.ldexp(1.0, np.clip(exponent, fmt.emin, fmt.emax))
    value = np.where(nan | (infinite if scaling.infinite == "nan" else False), np.nan, value)
    unspecified = infinite & (scaling.infinite is None)
    divisor = value if scaling.smallest_divisor is None else np.maximum(value, scaling.smallest_divisor)
    return Scales(fmt.encode(value), None, None, divisor, amax, unspecified)


def _stored(raw: Array, amax: Array, scaling: Scaling, fmt: str, global_scale: Codes | None) -> Scales:
    """Scales of unrounded value `raw` in their format."""
    raw = np.maximum(raw, least(scaling, fmt)) if scaling.smallest_scale is not None else raw
    stored = Format.of(scaling.scale_format or "f32")
    overflow = None if stored.has_inf else "saturate"
    value = stored.round(raw, rounding=scaling.scale_rounding, overflow=overflow)
    if scaling.zero_scale is not None:
        raw = np.where((amax == 0) | (value == 0), scaling.zero_scale, raw)
        value = np.where((amax == 0) | (value == 0), scaling.zero_scale, value)
    divisor = raw if scaling.unrounded_divisor else value
    if scaling.smallest_divisor is not None:
        divisor = np.maximum(divisor, Format.of(scaling.compute or fmt).round(scaling.smallest_divisor))
    return Scales(stored.encode(value), None, global_scale, divisor, amax, np.zeros(value.shape, bool))


def _affine(x: Array, amax: Array, scaling: Scaling, fmt: str, off: Off) -> Scales:
    """(max - min) / (highest - lowest) of a range that holds 0, and the element that stands for 0."""
    compute = scaling.scale_compute or fmt
    low = np.minimum(reduced(x, scaling, np.min), 0.0)
    high = np.maximum(reduced(x, scaling, np.max), 0.0)
    raw = off.of(divide(add(high, -low, compute), scaling.largest, compute))
    scales = _stored(raw, amax, scaling, fmt, None)
    zero_format = Format.of(scaling.zero_point or scaling.element)
    steps = divide(low, scales.divisor, compute)
    unspecified = ~np.isfinite(steps) | ~np.isfinite(scales.divisor)
    zero = np.clip(scaling.low - np.rint(np.where(unspecified, 0.0, steps)), scaling.low, scaling.high)
    return Scales(scales.scale, zero_format.encode(zero), None, scales.divisor, amax, unspecified)


def least(scaling: Scaling, fmt: str) -> float:
    """The smallest scale, in the format of the arithmetic."""
    if scaling.smallest_scale == "input":
        return Format.of(fmt).min_normal
    assert isinstance(scaling.smallest_scale, float)
    return float(Format.of(scaling.scale_compute or fmt).round(scaling.smallest_scale))


def _signed_amax(x: Array, axis: int) -> Array:
    """The first number of the largest magnitude, with its sign."""
    return np.take_along_axis(x, np.abs(x).argmax(axis=axis, keepdims=True), axis=axis)[..., 0]
