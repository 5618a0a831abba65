"""The codes and scales that a quantizer of undeclared arithmetic may give: a range that every right one lies in."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lastbit.references.formats import Format
from lastbit.references.groups import reduced, spread
from lastbit.references.quantize import Codes, Scales, quantize_with
from lastbit.references.scale_rules import Off, by_rule
from lastbit.references.scaling import POWERS, Scaling, ScalingError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Roundings between x and its quotient: two reciprocals and a product (or a product of scales and a quotient). One of
#: them is off by at most u / (1 + u) of its result, so three multiply to at most 1 + 3u, and at least 1 - 3u.
QUOTIENT_ROUNDINGS = 3
#: The same between amax and a scale: a reciprocal and a product for the constant, and again for the global scale.
SCALE_ROUNDINGS = 4
#: The difference of max and min, a reciprocal and a product.
AFFINE_ROUNDINGS = 3
#: Roundings of min / scale: a reciprocal and a product.
ZERO_ROUNDINGS = 2
#: What float64 itself loses of an interval's end: fewer than 8 roundings.
SLACK = 2.0**-50


@dataclass(frozen=True, slots=True)
class Allowed:
    """Codes between `low` and `high` in the order of their values, both included, are right; two at most, as a rule."""

    fmt: str
    low: Codes
    high: Codes
    #: Where every code is right.
    free: Mask
    #: One more code that is right, or None: of the scale that stands for one that may become zero.
    also: Codes | None = None

    def holds(self, codes: Codes) -> Mask:
        """Where `codes` are allowed; both zeros are one value."""
        fmt = Format.of(self.fmt)
        keys = fmt.keys(codes)
        inside = (fmt.keys(self.low) <= keys) & (keys <= fmt.keys(self.high))
        nan = np.isnan(fmt.decode(codes))
        both_nan = nan & np.isnan(fmt.decode(self.low))
        allowed: Mask = self.free | both_nan | (inside & ~nan & ~np.isnan(fmt.decode(self.low)))
        return allowed if self.also is None else allowed | (codes == self.also)

    @property
    def ambiguous(self) -> Mask:
        """Where more than one value is allowed."""
        fmt = Format.of(self.fmt)
        several: Mask = self.free | (fmt.keys(self.low) != fmt.keys(self.high))
        return several if self.also is None else several | (self.also != self.low)

    @property
    def share(self) -> float:
        """The share of numbers with more than one allowed value; 0 of none."""
        return float(self.ambiguous.mean()) if self.low.size else 0.0


def allowed_codes(x: ArrayLike, scales: Scales, scaling: "str | Scaling", fmt: str = "f32") -> Allowed:
    """The codes of `x` under known scales by any of the arithmetics, in the scaling's `compute`.

    The quotient may be off by 3u of itself (numerics 1.14), and by what a reciprocal or a product of scales loses below
    the normal range; it may be infinite where a reciprocal is, and is then open for x = 0. Rounding is monotone, so the
    codes of both ends bound all.
    Raises ScalingError where a sum is rounded before the code ("half-up", `zero_before_rounding`): declare it.
    """
    x, scaling = np.asarray(x, np.float64), Scaling.of(scaling)
    if scaling.rounding == "half-up" or scaling.zero_before_rounding:
        raise ScalingError(f"scaling {scaling.name} rounds a sum before the code; declare its arithmetic")
    exact = replace(scaling, arithmetic="exact", steps=1, compute="f64")
    relative, infinite = _relative(scales, scaling, fmt)
    off = spread(relative, scaling, x.shape)
    smaller = quantize_with(x * scaling.steps * (1 - off), scales, exact, "f64")
    beyond = spread(infinite, scaling, x.shape)
    far = np.where(beyond & (x != 0), np.copysign(np.inf, x), x * scaling.steps * (1 + off))
    larger = quantize_with(far, scales, exact, "f64")
    negative = np.signbit(x) ^ np.signbit(spread(_whole(scales, scaling), scaling, x.shape))
    low = np.where(negative, larger.codes, smaller.codes)
    high = np.where(negative, smaller.codes, larger.codes)
    assert smaller.unspecified is not None, "quantize_with always says"
    return Allowed(scaling.element, low, high, smaller.unspecified | (beyond & (x == 0)))


def allowed_scales(
    x: ArrayLike, scaling: "str | Scaling", fmt: str = "f32", global_scale: Codes | None = None
) -> Allowed:
    """The scales of `x` by the scaling's rule in any of the arithmetics; floor, ceil and even have one answer.

    `global_scale` is the code that the quantizer gave for the tensor, if it gave one.
    Raises ScalingError for "four_over_six", whose scales are no range.
    """
    x, scaling = np.asarray(x, np.float64), Scaling.of(scaling)
    stored = scaling.scale_format or "f32"
    if scaling.rule == "four_over_six":
        raise ScalingError(
            f"scaling {scaling.name} chooses between two scales; declare its arithmetic and compare codes"
        )
    if scaling.rule in POWERS and scaling.rule != "rceil":
        scales = by_rule(x, scaling, fmt, global_scale)
        return Allowed(stored, _codes(scales), _codes(scales), scales.unspecified)
    compute = Format.of(scaling.scale_compute or fmt)
    # Both quotients of a two-level scale are moved by all of it, which only widens the range.
    roundings = AFFINE_ROUNDINGS if scaling.rule == "affine_min_max" else SCALE_ROUNDINGS
    far = (roundings + (Format.of(fmt).precision > compute.precision)) * compute.u + SLACK
    lost = roundings * compute.eta / 2
    fine = replace(scaling, scale_compute="f64", zero_scale=None)
    ends = [by_rule(x, fine, fmt, global_scale, Off(1 + sign * far, sign * lost)) for sign in (-1, 1)]
    keys = [Format.of(stored).keys(_codes(end)) for end in ends]
    low, high = (np.where((keys[0] <= keys[1]) == first, *map(_codes, ends)) for first in (True, False))
    free = ends[0].unspecified | ends[1].unspecified
    if scaling.rule == "affine_min_max":  # max - min may overflow where their difference over the steps does not
        free = free | (reduced(x, scaling, np.max) - reduced(x, scaling, np.min) >= compute.max * (1 - far))
    if scaling.global_scale is not None and global_scale is not None:
        top = Format.of(scaling.global_scale).decode(np.asarray(global_scale))
        free = free | (1 / top >= compute.threshold if top else True)
    if scaling.zero_scale is None:
        return Allowed(stored, low, high, free)
    return _or_instead(Allowed(stored, low, high, free), ends[0].amax == 0, scaling.zero_scale)


def _or_instead(allowed: Allowed, zero: Mask, zero_scale: float) -> Allowed:
    """The same with `zero_scale` for scales of zero, which those of groups of nothing but zeros, `zero`, are."""
    fmt = Format.of(allowed.fmt)
    instead = fmt.encode(np.full(allowed.low.shape, zero_scale))
    ends = [fmt.decode(codes) == 0 for codes in (allowed.low, allowed.high)]
    certain = zero | (ends[0] & ends[1])
    low = np.where(ends[0], fmt.encode(np.asarray(fmt.eta)), allowed.low)
    low, high = (np.where(certain, instead, codes) for codes in (low, allowed.high))
    return Allowed(allowed.fmt, low, high, allowed.free, np.where(ends[0] | ends[1], instead, low))


def allowed_zero_points(x: ArrayLike, scales: Scales, scaling: "str | Scaling", fmt: str = "f32") -> Allowed:
    """The zero points of `x` under known scales: lowest - round(min / scale) in any of the arithmetics."""
    x, scaling = np.asarray(x, np.float64), Scaling.of(scaling)
    off = ZERO_ROUNDINGS * Format.of(scaling.scale_compute or fmt).u + SLACK
    with np.errstate(all="ignore"):
        steps = np.minimum(reduced(x, scaling, np.min), 0.0) / scales.divisor
    free = ~np.isfinite(steps)
    zero = Format.of(scaling.zero_point or scaling.element)
    low, high = (
        zero.encode(np.clip(scaling.low - np.rint(np.where(free, 0.0, steps) * factor), scaling.low, scaling.high))
        for factor in (1 - off, 1 + off)
    )
    return Allowed(zero.name, low, high, free)


def _codes(scales: Scales) -> Codes:
    assert scales.scale is not None, "every rule but 'given' has scales"
    return scales.scale


def _top(scales: Scales, scaling: Scaling) -> Array:
    """The scale of the tensor; 1 without one."""
    if scales.global_scale is None or scaling.global_scale is None:
        return np.ones(())
    return Format.of(scaling.global_scale).decode(np.asarray(scales.global_scale))


def _whole(scales: Scales, scaling: Scaling) -> Array:
    """What numbers are divided by, the scale of the tensor included."""
    return np.asarray(scales.divisor * _top(scales, scaling))


def _relative(scales: Scales, scaling: Scaling, fmt: str) -> tuple[Array, Mask]:
    """Largest relative error of a quotient, for each scale, and whether a reciprocal overflows.

    A power of two has an exact reciprocal, and so no error.
    """
    compute = Format.of(scaling.compute or fmt)
    whole, top = np.abs(_whole(scales, scaling)), np.abs(_top(scales, scaling))
    with np.errstate(all="ignore"):
        lost = np.where(whole < compute.min_normal, compute.eta / 2 / whole, 0.0)
        lost = lost + np.where(whole > 1 / compute.min_normal, compute.eta / 2 * whole, 0.0)
        exact = (np.frexp(whole)[0] == 0.5) & (scaling.steps & (scaling.steps - 1) == 0)
        infinite = (scaling.steps / whole >= compute.threshold) | (1 / top >= compute.threshold)
    lost = np.where(np.isfinite(lost), lost, 0.0) + QUOTIENT_ROUNDINGS * compute.u + SLACK
    narrowed = compute.u if Format.of(fmt).precision > compute.precision else 0.0
    if scaling.global_scale is not None:
        return lost + narrowed, infinite
    return np.where(exact, 0.0, lost) + narrowed, infinite
