"""Dequantizers that read codes or zero points wrongly, round wrongly, or depend on how they are called."""

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo import quantize_kernels
from lastbit.suites.zoo.conditions import OneCallIn
from lastbit.suites.zoo.dequantize_parts import (
    E2M1_VALUES,
    as_double,
    by_columns_of_four,
    i8_row,
    mxfp4,
    mxfp6,
    mxfp8,
    nibbles,
    nibbles_swapped,
    truncated,
    twice,
    zero_point,
)
from lastbit.suites.zoo.quantize_parts import E5M2, F32, Array, Step, codes_of
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous

wrong = partial(quantize_kernels.wrong, op="dequantize")

FUSED = Contract(scale_arithmetic="fused_zero")


def but(run: Step, **steps: Any) -> Step:
    """The dequantizer with other steps."""
    return lambda *arrays: run(*arrays, **steps)


def viewed(dtype: Any) -> Step:
    """The codes read as another type."""
    return lambda codes: codes_of(codes).view(dtype).astype(np.float64)


def nan_as_480(codes: Array) -> Array:
    """Values of e4m3 in which NaN is 480."""
    values = as_double(codes)
    return np.where(np.isnan(values), np.where(codes_of(codes) > 127, -480.0, 480.0), values)


def wrong_entry() -> Array:
    """The table of e2m1 with 2.5 for 5."""
    table = E2M1_VALUES.copy()
    table[[5, 13]] = [2.5, -2.5]
    return table


def loses_tail(codes: Array, scale: Array) -> Array:
    """A short last group is left as zeros."""
    found = mxfp8(codes, scale)
    found[..., codes.shape[-1] // 32 * 32 :] = 0
    return found


def contiguous_only(codes: Array, scale: Array) -> Array:
    """The codes are read as if they lay row after row."""
    return i8_row(as_if_contiguous(codes), scale)


def one_ulp_up(codes: Array, scale: Array) -> Array:
    """The first number is one unit in the last place too large."""
    found = i8_row(codes, scale, out=np.float32)
    found.reshape(-1)[:1] = np.nextafter(found.reshape(-1)[:1], F32(np.inf))
    return found


#: Every faulty dequantizer whose scales are right.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F068",
        "double_rounding",
        but(i8_row, finish=twice),
        "i8_row",
        "bf16",
        "rounding",
        story="The product is rounded to f32 before it is rounded to bf16.",
    ),
    wrong(
        "F064",
        "truncates",
        but(i8_row, finish=truncated),
        "i8_row",
        "bf16",
        "exact",
        story="The product is cut, not rounded.",
    ),
    wrong(
        "F025",
        "unsigned_i8",
        but(i8_row, element=lambda codes: as_double(codes_of(codes))),
        "i8_row",
        "bf16",
        "codes",
        story="Codes of i8 are read as u8.",
    ),
    wrong(
        "F023",
        "strides_ignored",
        contiguous_only,
        "i8_row",
        "bf16",
        "layout",
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
        make=partial(OneCallIn, 3, one_ulp_up, partial(i8_row, out=np.float32)),
        story="In one call of three the first number is one unit in the last place too large.",
    ),
    wrong(
        "F073",
        "as_fnuz",
        but(mxfp8, element=viewed(ml_dtypes.float8_e4m3fnuz)),
        "mxfp8_e4m3",
        "f32",
        "codes",
        story="e4m3fn codes are read as e4m3fnuz.",
    ),
    wrong(
        "F074",
        "as_e5m2",
        but(mxfp8, element=viewed(E5M2)),
        "mxfp8_e4m3",
        "f32",
        "codes",
        story="e4m3fn codes are read as e5m2.",
    ),
    wrong(
        "F072",
        "nan_as_480",
        but(mxfp8, element=nan_as_480),
        "mxfp8_e4m3",
        "f32",
        "special",
        story="The codes of NaN are read as 480.",
    ),
    wrong("F008", "tail_lost", loses_tail, "mxfp8_e4m3", "f32", "tails", story="A short last group is left as zeros."),
    wrong(
        "F082",
        "nibbles_swapped",
        but(mxfp4, unpack=nibbles_swapped),
        "mxfp4",
        "bf16",
        "codes",
        story="The first of two codes is taken from the upper half of the byte.",
    ),
    wrong(
        "F082",
        "table",
        but(mxfp4, table=wrong_entry()),
        "mxfp4",
        "bf16",
        "codes",
        story="5 is decoded as 2.5: one wrong entry of the table.",
    ),
    wrong(
        "F083",
        "six_bits_reversed",
        but(mxfp6, unpack=by_columns_of_four),
        "mxfp6_e3m2",
        "f32",
        "codes",
        story="Four codes of six bits are taken from the last to the first.",
    ),
    wrong(
        "F026",
        "no_sign_extension",
        but(zero_point, unpack=nibbles),
        "i4_group32_zp",
        "f32",
        "codes",
        story="Codes of i4 are read as u4.",
    ),
    wrong(
        "F086",
        "sign",
        but(zero_point, sign=-1.0),
        "i4_group32_zp",
        "f32",
        "zero_points",
        story="The zero point is added, not subtracted.",
    ),
    wrong(
        "F086",
        "ignored",
        but(zero_point, sign=0.0),
        "i4_group32_zp",
        "f32",
        "zero_points",
        story="The zero point is not subtracted.",
    ),
    wrong(
        "F086",
        "after_scale",
        but(zero_point, late=True),
        "i4_group32_zp",
        "f32",
        "zero_points",
        story="The zero point is subtracted after the product.",
    ),
    wrong(
        "F086",
        "read_as_unsigned",
        but(zero_point, zeros=lambda z: as_double(codes_of(z) & 15)),
        "i4_group32_zp",
        "f32",
        "zero_points",
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
        story="The zero point is added where its product is subtracted.",
    ),
)
