"""The exact quantizer of blocks of e2m1, in float32: as `quantize`, at the speed of a compiled one."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.one_rounding import divide, multiply
from lastbit.references.quantize_codes import Codes, Quantized
from lastbit.references.scale_rules import Scales, from_amax
from lastbit.references.scaling import POWERS, Scaling

Floats = NDArray[np.float32]

#: Numbers at a time: float32 temporaries of this length stay in a 512 KiB cache.
CHUNK = 1 << 15
#: |q| above these takes the next code. Where a tie goes up, to the even code, the largest float32 below the midpoint
#: stands for it.
_MIDPOINTS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)
THRESHOLDS = tuple(
    np.float32(middle) if code % 2 == 0 else np.nextafter(np.float32(middle), np.float32(0))
    for code, middle in enumerate(_MIDPOINTS)
)
#: Codes of NaN, by what it becomes.
NAN_CODES = {None: 0, "zero": 0, "max": 7}


def applies(scaling: Scaling, fmt: str, shape: tuple[int, ...]) -> bool:
    """Whether `quantize_fp4` gives these codes: whole groups along the last axis, arithmetic in f32."""
    return (
        scaling.element == "e2m1fn"
        and scaling.granularity == "group"
        and scaling.axis in (-1, len(shape) - 1)
        and scaling.group & (scaling.group - 1) == 0
        and bool(shape)
        and shape[-1] % scaling.group == 0
        and (scaling.rounding, scaling.overflow, scaling.steps) == ("nearest-even", "saturate", 1)
        and scaling.compute == scaling.scale_compute == "f32"
        and scaling.negative_zero
        and not (scaling.zero_codes or scaling.unrounded_divisor)
        and scaling.rule in (*POWERS, "amax_over_max")
        and scaling.arithmetic in (("exact", "divide", "reciprocal") if _powers(scaling) else ("divide", "reciprocal"))
        and fmt in ("f32", "bf16", "f16")
    )


def _powers(scaling: Scaling) -> bool:
    """Whether numbers are divided by a power of two."""
    return scaling.rule in POWERS and scaling.global_scale is None


def quantize_fp4(x: NDArray[Any], scaling: Scaling, fmt: str, global_scale: Codes | None = None) -> Quantized:
    """What `quantize` gives, where `applies` says so; `x` holds numbers of the format `fmt` in any float dtype.

    Exact: float32 division and multiplication round as the scaling says. By a power of two they are exact where the
    quotient is normal, and below it is 0 by every rounding here.
    """
    flat, group = x.reshape(-1), scaling.group
    amax = np.empty(flat.size // group, np.float32)
    for start in range(0, flat.size, CHUNK):
        amax[start // group : (start + CHUNK) // group] = _amax(_float32(flat[start : start + CHUNK]), group)
    scales = from_amax(amax.astype(np.float64).reshape(scaling.scale_shape(x.shape)), scaling, fmt, global_scale)
    factor, operation = _factor(scales, scaling)
    codes = np.empty(flat.size, np.uint8)
    undefined = np.empty(flat.size, bool)
    for start in range(0, flat.size, CHUNK):
        piece = _float32(flat[start : start + CHUNK])
        each = np.repeat(factor[start // group : (start + CHUNK) // group], group)
        with np.errstate(all="ignore"):
            quotient = operation(piece, each)
        codes[start : start + CHUNK] = _codes(quotient)
        undefined[start : start + CHUNK] = np.isnan(quotient)
    codes[undefined] = NAN_CODES[scaling.nan]
    undefined &= scaling.nan is None
    open_scale = scales.unspecified | np.isnan(scales.divisor)
    if open_scale.any():
        undefined |= spread(open_scale, scaling, x.shape).reshape(-1)
    shaped = codes.reshape(x.shape), undefined.reshape(x.shape)
    return Quantized(shaped[0], scales.scale, None, scales.global_scale, shaped[1], scales.unspecified)


def _float32(x: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(x, np.float32)


def _amax(x: Floats, group: int) -> Floats:
    """Largest magnitude of each group, a power of two in size; as integers, whose order is that of the numbers."""
    bits: NDArray[np.int32] = x.view(np.int32) & np.int32(0x7FFF_FFFF)
    while group > 1:
        bits = np.maximum(bits[0::2], bits[1::2])
        group //= 2
    return bits.view(np.float32)


def _factor(scales: Scales, scaling: Scaling) -> tuple[Floats, Callable[[Floats, Floats], Floats]]:
    """What the numbers of each group are multiplied or divided by, and which of both."""
    divisor = scales.divisor.reshape(-1)
    one = np.ones(())
    if scaling.global_scale is not None:
        top = Format.of(scaling.global_scale).decode(np.asarray(scales.global_scale))
        if scaling.arithmetic == "divide":
            return _float32(multiply(divisor, top, "f32")), np.divide
        one = divide(one, top, "f32")
    elif scaling.arithmetic == "divide" and not _powers(scaling):
        return _float32(divisor), np.divide
    return _float32(divide(one, divisor, "f32")), np.multiply


def _codes(quotient: Floats) -> NDArray[np.uint8]:
    """The codes of numbers rounded to nearest even and saturated; of NaN any."""
    magnitude = np.abs(quotient)
    codes = np.signbit(quotient).view(np.uint8) << np.uint8(3)
    for threshold in THRESHOLDS:
        codes += (magnitude > threshold).view(np.uint8)
    return codes
