"""Quantizers whose codes are wrong in ways seen in the field; each is one changed step of a right one."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import (
    E2M1,
    E4M3,
    FP8_BLOCK,
    FP8_GROUP,
    I8_ROW,
    MXFP4,
    MXFP6,
    MXFP8,
    Array,
    Scheme,
    Step,
    affine,
    but,
    f32,
    floats,
    integers,
    low_first,
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


def high_first(codes: Array) -> Array:
    """The first of two codes in the upper half."""
    packed = low_first(codes)
    return packed << 4 | packed >> 4


def loses_the_odd_one(codes: Array) -> Array:
    """Packed, a last single code lost."""
    packed = low_first(codes)
    if codes.shape[-1] % 2:
        packed[..., -1] = 0
    return packed


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


def permuted(quotient: Array) -> Array:
    """The codes of 2 and 3 exchanged."""
    bits = parts.codes_of(floats(E2M1)(quotient)) & 15
    size = bits & 7
    return bits & 8 | np.array([0, 1, 2, 3, 5, 4, 6, 7], np.uint8)[size]


def truncated_floats(quotient: Array) -> Array:
    """e4m3 toward zero."""
    rounded = floats(E4M3)(quotient)
    past = np.abs(f32(rounded)) > np.abs(quotient)
    bits = parts.codes_of(rounded)
    return np.where(past, bits - 1, bits).astype(np.uint8).view(E4M3)


def contiguous_only(scheme: Scheme) -> Step:
    """A quantizer that knows no strides."""

    def run(x: Array) -> Array:
        strides = np.cumprod([x.itemsize, *x.shape[:0:-1]])[::-1]
        return scheme(np.lib.stride_tricks.as_strided(x, x.shape, tuple(int(s) for s in strides)))

    return run


def tail_unscaled(x: Array) -> Array:
    """A short group is left as zeros."""
    whole = x.shape[-1] // 32 * 32
    codes, scale = MXFP8(np.concatenate([x[..., :whole], np.zeros_like(x[..., whole:])], axis=-1))
    return codes, scale


def sometimes() -> Step:
    """A quantizer that is wrong in one call of three."""
    calls = [0]

    def run(x: Array) -> Array:
        codes, scale = I8_ROW(x)
        calls[0] += 1
        if calls[0] % 3 == 0 and codes.size:
            codes = codes.copy()
            codes.reshape(-1)[-1] += 1
        return codes, scale

    return run


def changes_x(x: Array) -> Array:
    """The operand is doubled in place."""
    result = I8_ROW(x)
    x *= 2
    return result


def fixed_capacity(x: Array) -> Array:
    """Rows beyond 64 are not written."""
    codes, scale = (array.copy() for array in MXFP8(x))
    parts.codes_of(codes)[..., 64:, :] = 0
    return codes, scale


def fp16_inside(x: Array) -> Array:
    """Quantized as f16."""
    return I8_ROW(np.clip(f32(x), -65504, 65504).astype(np.float16).astype(x.dtype))


def all_zero(codes: Array) -> Array:
    """Zeros, one a byte."""
    return np.zeros(codes.shape, np.uint8)


BYTES = replace(Scaling.of("mxfp4"), name="mxfp4_bytes", packing="none")
#: Every faulty quantizer.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F090",
        "all_zero",
        but(MXFP4, pack=all_zero),
        BYTES,
        "f32",
        "exact",
        story="Asked for one code a byte, it gives zeros.",
    ),
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
        "F082",
        "code_table",
        but(MXFP4, code=permuted),
        "mxfp4",
        "f32",
        "exact",
        "levels",
        story="The codes of 2 and 3 are exchanged.",
    ),
    wrong(
        "F082",
        "nibbles_swapped",
        but(MXFP4, pack=high_first),
        "mxfp4",
        "f32",
        "exact",
        story="The first of two codes is in the upper half of the byte.",
    ),
    wrong(
        "F082",
        "odd_one_lost",
        but(MXFP4, pack=loses_the_odd_one),
        "mxfp4",
        "f32",
        "tails",
        story="The last of an odd number of codes is not stored.",
    ),
    wrong(
        "F083",
        "six_bits_reversed",
        but(MXFP6, pack=lambda codes: parts.six_bits(codes, -1)),
        "mxfp6_e3m2",
        "f32",
        "exact",
        story="Four codes of six bits are packed from the last to the first.",
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
        "F008",
        "tail_not_quantized",
        tail_unscaled,
        "mxfp8_e4m3",
        "f32",
        "tails",
        story="A short last group is left as zeros.",
    ),
    wrong(
        "F089",
        "race",
        None,
        "i8_row",
        "f32",
        "exact",
        "repeat",
        make=sometimes,
        story="In one call of three the last code is one too large.",
    ),
    wrong(
        "F008",
        "rows_beyond_capacity",
        fixed_capacity,
        "mxfp8_e4m3",
        "f32",
        "placed",
        story="Rows beyond 64 are not written.",
    ),
    wrong(
        "F023",
        "strides_ignored",
        contiguous_only(I8_ROW),
        "i8_row",
        "f32",
        "layout",
        story="The numbers are read as if they lay row after row.",
    ),
    wrong("F094", "changes_x", changes_x, "i8_row", "f32", "exact", story="The operand is doubled in place."),
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
