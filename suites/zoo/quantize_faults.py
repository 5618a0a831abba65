"""Quantizers that round wrongly: ties, double rounding, overflow, subnormal codes, quotients, zero points."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import (
    E4M3,
    FP8_BLOCK,
    FP8_GROUP,
    I8_ROW,
    MXFP8,
    Array,
    Step,
    affine,
    but,
    f32,
    floats,
    integers,
    nvfp4,
)
from lastbit.suites.zoo.specimen import Faulty

#: A static quantizer of int8: run(x, scale) -> codes.
STATIC = Scaling("i8_static", "i8", "the zoo's", granularity="row", rule="given", lowest=-127.0)


def static(code: Step) -> Step:
    """A quantizer whose scale is given."""

    def run(x: Array, scale: Array) -> Array:
        with np.errstate(all="ignore"):
            return code(f32(x) / scale)

    return run


def wraps(quotient: Array) -> Array:
    """Integers modulo 256."""
    return np.rint(np.clip(quotient, -(2.0**31), 2.0**31 - 1)).astype(np.int64).astype(np.int8)


def half_away(quotient: Array) -> Array:
    """Rounded to integers, ties away from zero."""
    whole = np.trunc(quotient)
    return whole + np.where(np.abs(quotient - whole) >= 0.5, np.copysign(1, quotient), 0)


def plus_one_half(quotient: Array) -> Array:
    """0.49999997 + 0.5 is 1 in f32."""
    return np.trunc(quotient + np.copysign(0.5, quotient))


def half_up(quotient: Array) -> Array:
    """Ties go up."""
    return np.floor(quotient + 0.5)


def half_to_odd(quotient: Array) -> Array:
    """Ties to odd."""
    near = np.rint(quotient)
    return np.where(
        np.abs(quotient - np.trunc(quotient)) == 0.5,
        np.trunc(quotient) + np.where(np.trunc(quotient) % 2 == 0, np.copysign(1, quotient), 0),
        near,
    )


def through(dtype: Any, code: Step) -> Step:
    """Quotients rounded to a narrow format, then coded."""
    return lambda quotient: code(f32(f32(quotient).astype(dtype)))


def positive_zero(code: Step) -> Step:
    """The sign of zero lost."""

    def changed(quotient: Array) -> Array:
        bits = parts.codes_of(code(quotient))
        return np.where(bits == 0x80, 0, bits).astype(np.uint8).view(E4M3)

    return changed


def flushes_subnormals(quotient: Array) -> Array:
    """Subnormal codes become zero."""
    codes = floats(E4M3)(quotient)
    return np.where(np.abs(f32(codes)) < 2.0**-6, 0, codes).astype(E4M3)


def unsaturated(quotient: Array) -> Array:
    """Codes without saturation."""
    return f32(quotient).astype(E4M3)


def truncated_floats(quotient: Array) -> Array:
    """e4m3 toward zero."""
    rounded = floats(E4M3)(quotient)
    past = np.abs(f32(rounded)) > np.abs(quotient)
    bits = parts.codes_of(rounded)
    return np.where(past, bits - 1, bits).astype(np.uint8).view(E4M3)


def fp16_inside(x: Array) -> Array:
    """Quantized as f16."""
    return I8_ROW(np.clip(f32(x), -65504, 65504).astype(np.float16).astype(x.dtype))


#: Every quantizer that rounds wrongly.
FAULTY: tuple[Faulty, ...] = (
    wrong("F070", "wraps", static(wraps), STATIC, "f32", "saturation", story="Numbers beyond 127 scales wrap around."),
    wrong(
        "F064",
        "truncates",
        but(I8_ROW, code=integers(-127, 127, np.trunc)),
        "i8_row",
        "f32",
        "exact",
        "ties",
        story="Quotients are cut toward zero.",
    ),
    wrong(
        "F065",
        "half_away",
        but(I8_ROW, code=integers(-127, 127, half_away)),
        "i8_row",
        "f32",
        "ties",
        story="Ties go away from zero.",
    ),
    wrong(
        "F065",
        "adds_one_half",
        but(I8_ROW, code=integers(-127, 127, plus_one_half)),
        "i8_row",
        "f32",
        "ties",
        contract=Contract(output_rounding="nearest-away"),
        story="One half is added and the sum cut: 0.49999997 + 0.5 is 1 in f32.",
    ),
    wrong(
        "F066", "half_up", but(I8_ROW, code=integers(-127, 127, half_up)), "i8_row", "bf16", "ties", story="Ties go up."
    ),
    wrong(
        "F067",
        "half_to_odd",
        but(I8_ROW, code=integers(-127, 127, half_to_odd)),
        "i8_row",
        "bf16",
        "ties",
        story="Ties go to the odd code.",
    ),
    wrong(
        "F064",
        "truncates_e4m3",
        but(FP8_GROUP, code=truncated_floats),
        "fp8_group128",
        "bf16",
        "exact",
        story="Quotients are cut toward zero.",
    ),
    wrong(
        "F068",
        "through_bf16",
        but(FP8_GROUP, code=through(ml_dtypes.bfloat16, floats(E4M3))),
        "fp8_group128",
        "f32",
        "levels",
        "ties",
        story="Quotients are rounded to bf16 before they are coded.",
    ),
    wrong(
        "F068",
        "through_f16",
        but(MXFP8, code=through(np.float16, floats(E4M3))),
        "mxfp8_e4m3",
        "f32",
        "levels",
        "ties",
        story="Quotients are rounded to f16 before they are coded.",
    ),
    wrong(
        "F069",
        "flushes_codes",
        but(MXFP8, code=flushes_subnormals),
        "mxfp8_e4m3",
        "bf16",
        "levels",
        story="Subnormal codes become zero.",
    ),
    wrong(
        "F070",
        "no_saturation",
        but(MXFP8, code=unsaturated),
        "mxfp8_e4m3",
        "f32",
        "exact",
        "scale_rule",
        story="Quotients beyond the largest code become NaN.",
    ),
    wrong(
        "F078",
        "reciprocal",
        but(I8_ROW, quotient=parts.reciprocal),
        "i8_row",
        "bf16",
        "ties",
        story="Multiplied by the reciprocal of the scale where division is declared.",
    ),
    wrong(
        "F078",
        "reciprocal_e4m3",
        but(FP8_BLOCK, quotient=parts.reciprocal),
        "fp8_block128",
        "bf16",
        "ties",
        story="Multiplied by the reciprocal of the scale where division is declared.",
    ),
    wrong(
        "F078",
        "divides",
        lambda x: nvfp4(x, quotient=lambda groups, s, top: groups / (f32(s) * top)[..., None]),
        "nvfp4",
        "bf16",
        "ties",
        story="Divided where a product with the reciprocal is declared.",
    ),
    wrong(
        "F086",
        "zero_point_truncated",
        lambda x: affine(x, round_zero=np.trunc),
        "i4_group32_zp",
        "f32",
        "exact",
        story="The zero point is cut, not rounded.",
    ),
    wrong(
        "F086",
        "zero_point_sign",
        lambda x: affine(x, zero_sign=1.0),
        "i4_group32_zp",
        "f32",
        "exact",
        story="The zero point has the wrong sign.",
    ),
    wrong(
        "F086",
        "range_without_zero",
        lambda x: affine(x, include_zero=False),
        "i4_group32_zp",
        "f32",
        "exact",
        story="The range of a group need not hold zero.",
    ),
    wrong(
        "F013", "f16_inside", fp16_inside, "i8_row", "f32", "blocks", "exact", story="f32 numbers are quantized as f16."
    ),
    wrong(
        "F069",
        "zero_sign_lost",
        but(MXFP8, code=positive_zero(floats(E4M3))),
        "mxfp8_e4m3",
        "bf16",
        "blocks",
        "levels",
        story="-0 is stored as 0.",
    ),
)
