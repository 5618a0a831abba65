"""Quantizers that store codes wrongly: packing, tables, the order of scales, short groups, strides, other calls."""

from dataclasses import replace
from functools import partial

import numpy as np

from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.conditions import OneCallIn
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import (
    E2M1,
    E8M0,
    FP8_BLOCK,
    I8_ROW,
    MXFP4,
    MXFP6,
    MXFP8,
    Array,
    Scheme,
    Step,
    but,
    floats,
    low_first,
)
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous


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


def permuted(quotient: Array) -> Array:
    """The codes of 2 and 3 exchanged."""
    bits = parts.codes_of(floats(E2M1)(quotient)) & 15
    size = bits & 7
    return bits & 8 | np.array([0, 1, 2, 3, 5, 4, 6, 7], np.uint8)[size]


def contiguous_only(scheme: Scheme) -> Step:
    """A quantizer that knows no strides."""
    return lambda x: scheme(as_if_contiguous(x))


def transposed_copy(scheme: Scheme) -> Step:
    """A quantizer that turns the codes of the rows where columns are to be quantized anew."""

    def run(x: Array) -> Array:
        codes, scale = scheme(x)
        if x.ndim > 1 and x.strides[-1] > x.strides[-2] == x.itemsize:
            codes = np.array(np.swapaxes(scheme(np.swapaxes(x, -1, -2))[0], -1, -2), order="C")
        return codes, scale

    return run


def tail_unscaled(x: Array) -> Array:
    """A short group is left as zeros."""
    whole = x.shape[-1] // 32 * 32
    codes, scale = MXFP8(np.concatenate([x[..., :whole], np.zeros_like(x[..., whole:])], axis=-1))
    return codes, scale


def one_too_large(x: Array) -> Array:
    """The last code is one too large."""
    codes, scale = I8_ROW(x)
    codes = codes.copy()
    codes.reshape(-1)[-1:] += 1
    return codes, scale


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


def all_zero(codes: Array) -> Array:
    """Zeros, one a byte."""
    return np.zeros(codes.shape, np.uint8)


BYTES = replace(Scaling.of("mxfp4"), name="mxfp4_bytes", packing="none")

SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_swizzled", scale_layout="swizzled-128x4")


def transposed(scale: Array) -> Array:
    """The scales column after column."""
    return np.swapaxes(scale, -1, -2).reshape(scale.shape)


def unswizzled(scale: Array) -> Array:
    """The memory of swizzled scales, filled row after row."""
    rows, columns = int(np.prod(scale.shape[:-1])), scale.shape[-1]
    whole = np.zeros((-(-rows // 128) * 128, -(-columns // 4) * 4), np.uint8)
    whole[:rows, :columns] = parts.codes_of(scale).reshape(rows, columns)
    return whole.reshape(-1).view(E8M0)


#: Every quantizer that stores wrongly.
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
        make=partial(OneCallIn, 3, one_too_large, I8_ROW),
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
        "F017",
        "scale_transposed",
        but(MXFP8, store=transposed),
        "mxfp8_e4m3",
        "f32",
        "placed",
        story="Scales are stored column after column.",
    ),
    wrong(
        "F017",
        "block_scale_transposed",
        but(FP8_BLOCK, store=transposed),
        "fp8_block128",
        "f32",
        "placed",
        story="Scales are stored column after column.",
    ),
    wrong(
        "F019",
        "swizzle_forgotten",
        but(MXFP8, store=unswizzled),
        SWIZZLED,
        "f32",
        "placed",
        story="Scales are stored row after row where the 128x4 order is declared.",
    ),
    *(
        wrong(
            "F088",
            "transposed_copy",
            transposed_copy(scheme),
            scheme.scaling,
            "f32",
            "layout",
            story="Of a transposed tensor the codes of its rows are kept, under the scales of its columns.",
        )
        for scheme in (I8_ROW, MXFP8)
    ),
)
