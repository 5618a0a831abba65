"""Dequantizers that are wrong in ways seen in the field; each is one changed step of a right one."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo.dequantize_parts import (
    BF16,
    E2M1_VALUES,
    as_double,
    blocks,
    by_columns_of_four,
    i8_row,
    mxfp4,
    mxfp6,
    mxfp8,
    nibbles,
    nibbles_swapped,
    nvfp4,
    nvfp4_scales_first,
    truncated,
    twice,
    unswizzled,
    zero_point,
)
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import E5M2, F32, Array, Step, codes_of
from lastbit.suites.zoo.specimen import Faulty

SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_swizzled", scale_layout="swizzled-128x4")
FUSED = Contract(scale_arithmetic="fused_zero")


def but(run: Step, **steps: Any) -> Step:
    """The dequantizer with other steps."""
    return lambda *arrays: run(*arrays, **steps)


def viewed(dtype: Any) -> Step:
    """The codes read as another type."""
    return lambda codes: codes_of(codes).view(dtype).astype(np.float64)


def e8m0(subnormal: float = 2.0**-127, last: float = np.nan, bias: int = 127) -> Step:
    """Powers of two decoded by shifting."""

    def decode(scale: Array) -> Array:
        bits = codes_of(scale).astype(np.int64)
        values = np.ldexp(1.0, bits - bias)
        return np.where(bits == 255, last, np.where(bits == 0, subnormal, values))

    return decode


def e4m3_flushed(scale: Array) -> Array:
    """Values of e4m3, subnormal ones zero."""
    values = as_double(scale)
    return np.where(np.abs(values) < 2.0**-6, 0, values)


def nan_as_480(codes: Array) -> Array:
    """Values of e4m3 in which NaN is 480."""
    values = as_double(codes)
    return np.where(np.isnan(values), np.where(codes_of(codes) > 127, -480.0, 480.0), values)


def first_only(scale: Array) -> Array:
    """The first scale of each row for all of it."""
    return np.broadcast_to(as_double(scale)[..., :1], scale.shape)


def turned(scale: Array) -> Array:
    """The scales column after column."""
    return np.swapaxes(scale, -1, -2).reshape(scale.shape)


def through(dtype: Any) -> Step:
    """The scales rounded to a narrow format."""
    return lambda scale: np.asarray(scale).astype(np.float32).astype(dtype).astype(np.float64)


def as_e5m2(scale: Array) -> Array:
    """The codes read as e5m2."""
    return codes_of(scale).view(E5M2).astype(np.float64)


def wrong_entry() -> Array:
    """The table of e2m1 with 2.5 for 5."""
    table = E2M1_VALUES.copy()
    table[[5, 13]] = [2.5, -2.5]
    return table


def remembers() -> Step:
    """A dequantizer that keeps the scales of each shape."""
    kept: dict[tuple[int, ...], Array] = {}

    def run(codes: Array, scale: Array) -> Array:
        return i8_row(codes, kept.setdefault(scale.shape, scale.copy()))

    return run


def loses_tail(codes: Array, scale: Array) -> Array:
    """A short last group is left as zeros."""
    found = mxfp8(codes, scale)
    found[..., codes.shape[-1] // 32 * 32 :] = 0
    return found


def contiguous_only(codes: Array, scale: Array) -> Array:
    """The codes are read as if they lay row after row."""
    strides = np.cumprod([codes.itemsize, *codes.shape[:0:-1]])[::-1]
    return i8_row(np.lib.stride_tricks.as_strided(codes, codes.shape, tuple(int(s) for s in strides)), scale)


def sometimes() -> Step:
    """A dequantizer that is wrong in one call of three."""
    calls = [0]

    def run(codes: Array, scale: Array) -> Array:
        found = i8_row(codes, scale, out=np.float32)
        calls[0] += 1
        if calls[0] % 3 == 0 and found.size:
            found.reshape(-1)[0] = np.nextafter(found.reshape(-1)[0], F32(np.inf))
        return found

    return run


#: Every faulty dequantizer.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F068",
        "double_rounding",
        but(i8_row, finish=twice),
        "i8_row",
        "bf16",
        "rounding",
        op="dequantize",
        story="The product is rounded to f32 before it is rounded to bf16.",
    ),
    wrong(
        "F064",
        "truncates",
        but(i8_row, finish=truncated),
        "i8_row",
        "bf16",
        "exact",
        op="dequantize",
        story="The product is cut, not rounded.",
    ),
    wrong(
        "F079",
        "scale_in_bf16",
        but(i8_row, scales=through(BF16), out=np.float32),
        "i8_row",
        "f32",
        "exact",
        op="dequantize",
        story="Scales are rounded to bf16.",
    ),
    wrong(
        "F025",
        "unsigned_i8",
        but(i8_row, element=lambda codes: as_double(codes_of(codes))),
        "i8_row",
        "bf16",
        "codes",
        op="dequantize",
        story="Codes of i8 are read as u8.",
    ),
    wrong(
        "F063",
        "stale_scale",
        None,
        "i8_row",
        "bf16",
        "second_call",
        make=remembers,
        op="dequantize",
        story="The scales of the first call of a shape are used for ever.",
    ),
    wrong(
        "F023",
        "strides_ignored",
        contiguous_only,
        "i8_row",
        "bf16",
        "layout",
        op="dequantize",
        story="The codes are read as if they lay row after row.",
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
        op="dequantize",
        story="In one call of three the first number is one unit in the last place too large.",
    ),
    wrong(
        "F073",
        "as_fnuz",
        but(mxfp8, element=viewed(ml_dtypes.float8_e4m3fnuz)),
        "mxfp8_e4m3",
        "f32",
        "codes",
        op="dequantize",
        story="e4m3fn codes are read as e4m3fnuz.",
    ),
    wrong(
        "F074",
        "as_e5m2",
        but(mxfp8, element=viewed(E5M2)),
        "mxfp8_e4m3",
        "f32",
        "codes",
        op="dequantize",
        story="e4m3fn codes are read as e5m2.",
    ),
    wrong(
        "F072",
        "nan_as_480",
        but(mxfp8, element=nan_as_480),
        "mxfp8_e4m3",
        "f32",
        "special",
        op="dequantize",
        story="The codes of NaN are read as 480.",
    ),
    wrong(
        "F080",
        "bias_off_by_one",
        but(mxfp8, scales=e8m0(bias=126)),
        "mxfp8_e4m3",
        "f32",
        "codes",
        "scales",
        op="dequantize",
        story="Powers of two are decoded with a bias of 126.",
    ),
    wrong(
        "F080",
        "code_0_as_zero",
        but(mxfp8, scales=e8m0(subnormal=0.0)),
        "mxfp8_e4m3",
        "f32",
        "scales",
        op="dequantize",
        story="The smallest scale, 2^-127, is decoded as zero.",
    ),
    wrong(
        "F080",
        "code_255_infinite",
        but(mxfp8, scales=e8m0(last=np.inf)),
        "mxfp8_e4m3",
        "f32",
        "special",
        op="dequantize",
        story="The scale NaN is decoded as infinity.",
    ),
    wrong(
        "F017",
        "first_scale",
        but(mxfp8, scales=first_only),
        "mxfp8_e4m3",
        "f32",
        "placed",
        op="dequantize",
        story="The first scale of a row is used for all of it.",
    ),
    wrong(
        "F017",
        "scale_transposed",
        but(mxfp8, place=turned),
        "mxfp8_e4m3",
        "f32",
        "placed",
        op="dequantize",
        story="Scales are read column after column.",
    ),
    wrong(
        "F017",
        "group_of_16",
        lambda codes, scale: mxfp8(codes, np.repeat(scale, 2, axis=-1)[..., : scale.shape[-1]], size=32),
        "mxfp8_e4m3",
        "f32",
        "placed",
        op="dequantize",
        story="Groups of 16 are read where they are of 32.",
    ),
    wrong(
        "F017",
        "block_transposed",
        but(blocks, turned=True),
        "fp8_block128",
        "f32",
        "placed",
        op="dequantize",
        story="Scales are read column after column.",
    ),
    wrong(
        "F019",
        "swizzle_forgotten",
        but(unswizzled, known=False),
        SWIZZLED,
        "f32",
        "placed",
        op="dequantize",
        story="Scales in the 128x4 order are read row after row.",
    ),
    wrong(
        "F008",
        "tail_lost",
        loses_tail,
        "mxfp8_e4m3",
        "f32",
        "tails",
        op="dequantize",
        story="A short last group is left as zeros.",
    ),
    wrong(
        "F082",
        "nibbles_swapped",
        but(mxfp4, unpack=nibbles_swapped),
        "mxfp4",
        "bf16",
        "codes",
        op="dequantize",
        story="The first of two codes is taken from the upper half of the byte.",
    ),
    wrong(
        "F082",
        "table",
        but(mxfp4, table=wrong_entry()),
        "mxfp4",
        "bf16",
        "codes",
        op="dequantize",
        story="5 is decoded as 2.5: one wrong entry of the table.",
    ),
    wrong(
        "F083",
        "six_bits_reversed",
        but(mxfp6, unpack=by_columns_of_four),
        "mxfp6_e3m2",
        "f32",
        "codes",
        op="dequantize",
        story="Four codes of six bits are taken from the last to the first.",
    ),
    wrong(
        "F026",
        "no_sign_extension",
        but(zero_point, unpack=nibbles),
        "i4_group32_zp",
        "f32",
        "codes",
        op="dequantize",
        story="Codes of i4 are read as u4.",
    ),
    wrong(
        "F086",
        "sign",
        but(zero_point, sign=-1.0),
        "i4_group32_zp",
        "f32",
        "zero_points",
        op="dequantize",
        story="The zero point is added, not subtracted.",
    ),
    wrong(
        "F086",
        "ignored",
        but(zero_point, sign=0.0),
        "i4_group32_zp",
        "f32",
        "zero_points",
        op="dequantize",
        story="The zero point is not subtracted.",
    ),
    wrong(
        "F086",
        "after_scale",
        but(zero_point, late=True),
        "i4_group32_zp",
        "f32",
        "zero_points",
        op="dequantize",
        story="The zero point is subtracted after the product.",
    ),
    wrong(
        "F086",
        "read_as_unsigned",
        but(zero_point, zeros=lambda z: as_double(codes_of(z) & 15)),
        "i4_group32_zp",
        "f32",
        "zero_points",
        op="dequantize",
        story="The zero point is read as u4.",
    ),
    wrong(
        "F078",
        "fused_undeclared",
        but(zero_point, fused=True),
        "i4_group32_zp",
        "f32",
        "exact",
        "zero_points",
        op="dequantize",
        story="scale * q - scale * zero, which is not declared.",
    ),
    wrong(
        "F086",
        "sign_fused",
        but(zero_point, sign=-1.0, fused=True),
        "i4_group32_zp",
        "f32",
        "zero_points",
        contract=FUSED,
        op="dequantize",
        story="The zero point is added where its product is subtracted.",
    ),
    wrong(
        "F021",
        "global_missing",
        but(nvfp4, tops=lambda top: 1.0),
        "nvfp4",
        "f32",
        "exact",
        op="dequantize",
        story="The scale of the tensor is left out.",
    ),
    wrong(
        "F021",
        "global_inverted",
        but(nvfp4, tops=lambda top: 1 / as_double(top)),
        "nvfp4",
        "f32",
        "exact",
        op="dequantize",
        story="Divided by the scale of the tensor.",
    ),
    wrong(
        "F021",
        "scale_as_e5m2",
        but(nvfp4, scales=as_e5m2),
        "nvfp4",
        "f32",
        "scales",
        op="dequantize",
        story="Block scales of e4m3 are read as e5m2.",
    ),
    wrong(
        "F081",
        "subnormal_scale_flushed",
        but(nvfp4, scales=e4m3_flushed),
        "nvfp4",
        "f32",
        "scales",
        op="dequantize",
        story="Subnormal block scales count as zero.",
    ),
    wrong(
        "F081",
        "scales_first",
        nvfp4_scales_first,
        "nvfp4",
        "f32",
        "exact",
        op="dequantize",
        story="The two scales are multiplied and rounded first, which is not declared.",
    ),
)
