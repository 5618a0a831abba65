"""The codes of a tensor whose scales are known: every operation rounded as the scaling says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lastbit.references import eft
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.one_rounding import add, divide, multiply
from lastbit.references.scale_rules import Scales
from lastbit.references.scaling import Scaling, ScalingError

Array = NDArray[np.float64]
Codes = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized tensor: bit patterns, one an element, not packed."""

    #: Codes of the element format, of the shape of x.
    codes: Codes
    #: Codes of the scale format, in the shape of `Scaling.scale_shape`; None without a scale.
    scale: Codes | None
    zero_point: Codes | None = None
    #: The code of the tensor's scale, (), or None.
    global_scale: Codes | None = None
    #: Where the scaling leaves open what the code is (of NaN in a format without it, or under a scale that is NaN).
    unspecified: Mask | None = None
    #: The same of the scales.
    unspecified_scale: Mask | None = None


def given(
    scaling: "str | Scaling",
    scale: Codes | None,
    zero_point: Codes | None = None,
    global_scale: Codes | None = None,
) -> Scales:
    """Scales of which only the codes are known: x is divided by what they are worth."""
    scaling = Scaling.of(scaling)
    value = np.ones(()) if scale is None else Format.of(scaling.scale_format or "f32").decode(scale)
    if scaling.smallest_divisor is not None:
        value = np.maximum(value, scaling.smallest_divisor)
    unspecified = np.zeros(value.shape, bool)
    return Scales(scale, zero_point, global_scale, value, np.full(value.shape, np.nan), unspecified)


def quantize_with(
    x: ArrayLike,
    scales: Scales,
    scaling: "str | Scaling",
    fmt: str = "f32",
    *,
    random: ArrayLike | None = None,
    random_bits: int = 20,
) -> Quantized:
    """The codes of `x` under scales that are known; stochastic rounding uses the low `random_bits` of `random`.

    Raises ScalingError where the arithmetic is undeclared; FormatError for stochastic rounding without random bits.
    """
    x, scaling = np.asarray(x, np.float64), Scaling.of(scaling)
    quotient, low = _quotient(x, scales, scaling, fmt)
    zero: Any = scaling.fixed_zero
    if scales.zero_point is not None and scaling.zero_point is not None:
        zero = spread(Format.of(scaling.zero_point).decode(scales.zero_point), scaling, x.shape)
    codes, undefined = _rounded(quotient, low, zero, scaling, scaling.compute or fmt, random, random_bits)
    open_scale = scales.unspecified
    if scales.scale is not None:
        open_scale = open_scale | np.isnan(scales.divisor)
    return Quantized(
        codes,
        scales.scale,
        scales.zero_point,
        scales.global_scale,
        undefined | spread(open_scale, scaling, x.shape),
        scales.unspecified,
    )


def right(codes: Codes, expected: Quantized, scaling: "str | Scaling") -> Mask:
    """Where `codes` are those of `expected`: any NaN for a NaN, any code where none is promised, bits elsewhere."""
    element = Format.of(Scaling.of(scaling).element)
    same: Mask = codes == expected.codes
    if element.has_nan:
        same = same | (np.isnan(element.decode(codes)) & np.isnan(element.decode(expected.codes)))
    return same if expected.unspecified is None else same | expected.unspecified


def right_scales(codes: Codes, expected: Quantized, scaling: "str | Scaling") -> Mask:
    """The same of scales."""
    scale = Format.of(Scaling.of(scaling).scale_format or "f32")
    same: Mask = codes == expected.scale
    same = same | (np.isnan(scale.decode(codes)) & np.isnan(scale.decode(np.asarray(expected.scale))))
    return same if expected.unspecified_scale is None else same | expected.unspecified_scale


def _quotient(x: Array, scales: Scales, scaling: Scaling, fmt: str) -> tuple[Array, Array | None]:
    """x * steps / (scale * global scale) by the scaling's arithmetic: one number, or a pair for the exact one."""
    compute = scaling.compute or fmt
    if Format.of(fmt).precision > Format.of(compute).precision:
        x = Format.of(compute).round(x)
    divisor = scales.divisor
    top = None
    if scales.global_scale is not None and scaling.global_scale is not None:
        top = Format.of(scaling.global_scale).decode(np.asarray(scales.global_scale))
    if scaling.arithmetic in ("reciprocal", "fused"):
        one = np.ones(()) if top is None else divide(np.ones(()), top, compute)
        factor = multiply(divide(one, divisor, compute), float(scaling.steps), compute)
        product = multiply(x, spread(factor, scaling, x.shape), "f64" if scaling.arithmetic == "fused" else compute)
        result: tuple[Array, Array | None] = (product, None)
    elif scaling.arithmetic == "ratio":
        factor = divide(np.asarray(scaling.largest), scales.amax, compute)
        result = multiply(x, spread(factor, scaling, x.shape), compute), None
    elif scaling.arithmetic == "divide":
        whole = divisor if top is None else multiply(divisor, top, compute)
        result = scaling.steps * divide(x, spread(whole, scaling, x.shape), compute), None
    elif scaling.arithmetic == "exact":
        result = _real_quotient(x, spread(divisor if top is None else divisor * top, scaling, x.shape), scaling.steps)
    else:
        raise ScalingError(
            f"scaling {scaling.name} does not declare its arithmetic: its codes are a set, allowed_codes"
        )
    if scaling.zero_codes:
        none = spread(divisor == 0, scaling, x.shape)
        result = np.where(none, 0.0, result[0]), None if result[1] is None else np.where(none, 0.0, result[1])
    return result


def _real_quotient(x: Array, y: Array, steps: int) -> tuple[Array, Array]:
    """x * steps / y as a pair: the float64 nearest to it and, of the right sign, what is missing.

    steps is a power of two or 1, y has at most 53 bits. Exact where the quotient is above 2^-900.
    """
    with np.errstate(all="ignore"):
        quotient = x / y * steps
        product, error = eft.two_product(quotient / steps, y)
        rest = ((x - product) - error) / y * steps
    # A zero below a negative zero would make their sum positive.
    return quotient, np.where(np.isfinite(rest) & (rest != 0), rest, np.copysign(0.0, quotient))


def _fused(product: Array, zero: Any, compute: str) -> Array:
    """An exact product of two numbers of `compute` plus the zero point, rounded once."""
    with np.errstate(all="ignore"):
        hi, lo = eft.two_sum(product, np.broadcast_to(zero, product.shape))
    return Format.of(compute).round(hi, np.where(np.isfinite(lo), lo, 0.0))


def _rounded(
    quotient: Array, low: Array | None, zero: Any, scaling: Scaling, compute: str, random: ArrayLike | None, bits: int
) -> tuple[Codes, Mask]:
    """The codes of the quotient and where they are undefined."""
    element = Format.of(scaling.element)
    undefined = np.isnan(quotient) & (not element.has_nan and scaling.nan is None)
    random_bits = bits if random is not None else None
    overflow, how = scaling.overflow, scaling.rounding
    if overflow == "undefined":
        undefined |= np.isinf(quotient)
        overflow = "saturate"
    if not element.has_nan:
        quotient = np.where(np.isnan(quotient), scaling.high if scaling.nan == "max" else 0.0, quotient)
    if how == "thresholds":
        levels = np.asarray(element.levels)
        middle = ((levels[1:] + levels[:-1]) / 2).astype(np.float32).astype(np.float64)
        return np.searchsorted(middle, quotient, side="left").astype(element.code_dtype), undefined
    if how == "nearest-zero":
        how, low = "nearest-even", _tilted(quotient, low)
    if element.kind == "integer":
        if scaling.zero_before_rounding:
            whole = _fused(quotient, zero, compute) if scaling.arithmetic == "fused" else add(quotient, zero, compute)
            quotient, low, zero = whole, None, 0.0
        if how == "half-up":
            whole = np.floor(add(quotient, 0.5 + zero, compute))
        else:
            wide = Format.of("i32").round(
                quotient, low, rounding=how, overflow="saturate", random=random, random_bits=random_bits
            )
            whole = wide + zero
        return element.encode(np.clip(whole, scaling.low, scaling.high)), undefined
    values = element.round(quotient, low, rounding=how, overflow=overflow, random=random, random_bits=random_bits)
    return element.encode(values if scaling.negative_zero else values + 0.0), undefined


def _tilted(quotient: Array, low: Array | None) -> Array:
    """A low part that makes ties fall towards zero, and changes nothing else."""
    inward = np.copysign(2.0**-1074, -quotient)
    return np.where(quotient == 0, 0.0, inward if low is None else np.where(low == 0, inward, low))
