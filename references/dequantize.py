"""What a quantized tensor is worth: the exact values, and the results of the declared orders of arithmetic."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references import eft, pairs
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.one_rounding import add, multiply
from lastbit.references.quantize_codes import Quantized
from lastbit.references.scaling import Scaling, ScalingError
from lastbit.references.truth import Truth

Array = NDArray[np.float64]

#: (q - z) * s * g: "once" rounds the exact value; "scales_first" computes q * fl(s * g), "element_first" fl(q * s) * g,
#: "fused_zero" fl(q * s) + fl(-z * s).
ORDERS = ("once", "scales_first", "element_first", "fused_zero")


def truth(quantized: Quantized, scaling: "str | Scaling") -> Truth:
    """The exact values (q - z) / steps * s * g, as pairs, of the shape of the codes.

    Exact (radius 0) where steps is a power of two: q - z has at most 9 bits, s and g at most 24 each, so the product of
    the first two is one float64 number and that of all three a pair. Else the radius is 2^-102 of the value. A NaN
    anywhere gives NaN, infinities follow IEEE 754, and so do zeros: hi + lo is -0 where an odd
    number of q - z, s and g have a sign (q - z = 0 is +0; without z a q of -0 is -0). The weight is
    (|q| + |z|) / steps * s * g.
    """
    scaling = Scaling.of(scaling)
    element, zero, scale, top = _parts(quantized, scaling)
    with np.errstate(all="ignore"):
        first = (element - zero if scaling.zero_point or scaling.fixed_zero else element) * scale
        weight = (np.abs(element) + np.abs(zero)) * np.abs(scale) * np.abs(top) / scaling.steps
        hi, lo = eft.two_product(first, top) if scaling.global_scale else (first, np.zeros(first.shape))
        lo = np.where(np.isfinite(hi) & np.isfinite(lo), lo, 0.0)
        radius = np.zeros(hi.shape)
        if scaling.steps & (scaling.steps - 1):
            steps = np.full(hi.shape, float(scaling.steps)), np.zeros(hi.shape)
            finite = np.isfinite(hi)
            quotient = pairs.over((np.where(finite, hi, 0.0), np.where(finite, lo, 0.0)), steps)
            hi, lo = np.where(finite, quotient[0], hi), np.where(finite, quotient[1], 0.0)
            radius = np.where(finite, np.abs(hi) * 2.0**-102, 0.0)
        else:
            hi, lo = hi / scaling.steps, lo / scaling.steps
    weight = np.where(np.isfinite(weight), weight, 0.0)
    lo = np.where(lo == 0, np.copysign(0.0, hi), lo)  # -0 + 0 would be +0
    return Truth(hi, lo, radius, weight, "product")


def dequantize(
    quantized: Quantized,
    scaling: "str | Scaling",
    out: str,
    *,
    order: str = "once",
    compute: str = "f32",
    overflow: str | None = None,
) -> Array:
    """The values in the format `out` by `order`, each step rounded to `compute`, the last one to `out`.

    Error (numerics 1.15), u of `compute`, of a result within its normal range: "once" 0.5 ulp of `out`;
    "scales_first" and "element_first" one relative u more; "fused_zero" u |q s| + u |z s| + u |result|, which is no
    bound in ulp: q s and z s cancel.
    Raises ScalingError for an unknown order, and for one whose parts the scaling lacks.
    """
    scaling = Scaling.of(scaling)
    if order not in ORDERS:
        raise ScalingError(f"order is {order!r}, expected one of {', '.join(ORDERS)}")
    if order == "once":
        exact = truth(quantized, scaling)
        return Format.of(out).round(exact.hi, exact.lo, overflow=overflow)
    element, zero, scale, top = _parts(quantized, scaling)
    if scaling.steps != 1:
        raise ScalingError(f"scaling {scaling.name} has {scaling.steps} steps; its only order is 'once'")
    if order == "fused_zero":
        value = add(multiply(element, scale, compute), multiply(-zero, scale, compute), compute)
    elif order == "scales_first":
        value = multiply(element - zero, multiply(scale, top, compute), compute)
    else:
        value = multiply(multiply(element - zero, scale, compute), top, compute)
    return Format.of(out).round(value, overflow=overflow)


def _parts(quantized: Quantized, scaling: Scaling) -> tuple[Array, Array, Array, Array]:
    """Element, zero point, scale and global scale of every number."""
    shape = quantized.codes.shape
    element = Format.of(scaling.element).decode(quantized.codes)
    scale = _each(quantized.scale, scaling.scale_format, 1.0, scaling, shape)
    zero = _each(quantized.zero_point, scaling.zero_point, scaling.fixed_zero, scaling, shape)
    top = np.asarray(1.0)
    if quantized.global_scale is not None and scaling.global_scale is not None:
        top = Format.of(scaling.global_scale).decode(np.asarray(quantized.global_scale))
    return element, zero, scale, np.broadcast_to(top, shape)


def _each(
    codes: NDArray[Any] | None, fmt: str | None, default: float, scaling: Scaling, shape: tuple[int, ...]
) -> Array:
    if codes is None or fmt is None:
        return np.full(shape, default)
    return spread(Format.of(fmt).decode(codes), scaling, shape)
