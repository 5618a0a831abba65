"""Dequantizers that read scales wrongly: their format, their place, their order in memory."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_kernels
from lastbit.suites.zoo.dequantize_faults import but
from lastbit.suites.zoo.dequantize_parts import (
    BF16,
    as_double,
    blocks,
    i8_row,
    mxfp8,
    nvfp4,
    nvfp4_scales_first,
    unswizzled,
)
from lastbit.suites.zoo.quantize_parts import E5M2, Array, Step, codes_of
from lastbit.suites.zoo.specimen import Faulty

SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_swizzled", scale_layout="swizzled-128x4")

wrong = partial(quantize_kernels.wrong, op="dequantize")


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


def remembers() -> Step:
    """A dequantizer that keeps the scales of each shape."""
    kept: dict[tuple[int, ...], Array] = {}

    def run(codes: Array, scale: Array) -> Array:
        return i8_row(codes, kept.setdefault(scale.shape, scale.copy()))

    return run


#: Every dequantizer with wrong scales.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F079",
        "scale_in_bf16",
        but(i8_row, scales=through(BF16), out=np.float32),
        "i8_row",
        "f32",
        "exact",
        story="Scales are rounded to bf16.",
    ),
    wrong(
        "F063",
        "stale_scale",
        None,
        "i8_row",
        "bf16",
        "second_call",
        make=remembers,
        story="The scales of the first call of a shape are used for ever.",
    ),
    wrong(
        "F080",
        "bias_off_by_one",
        but(mxfp8, scales=e8m0(bias=126)),
        "mxfp8_e4m3",
        "f32",
        "codes",
        "scales",
        story="Powers of two are decoded with a bias of 126.",
    ),
    wrong(
        "F080",
        "code_0_as_zero",
        but(mxfp8, scales=e8m0(subnormal=0.0)),
        "mxfp8_e4m3",
        "f32",
        "scales",
        story="The smallest scale, 2^-127, is decoded as zero.",
    ),
    wrong(
        "F080",
        "code_255_infinite",
        but(mxfp8, scales=e8m0(last=np.inf)),
        "mxfp8_e4m3",
        "f32",
        "special",
        story="The scale NaN is decoded as infinity.",
    ),
    wrong(
        "F017",
        "first_scale",
        but(mxfp8, scales=first_only),
        "mxfp8_e4m3",
        "f32",
        "placed",
        story="The first scale of a row is used for all of it.",
    ),
    wrong(
        "F017",
        "scale_transposed",
        but(mxfp8, place=turned),
        "mxfp8_e4m3",
        "f32",
        "placed",
        story="Scales are read column after column.",
    ),
    wrong(
        "F017",
        "group_of_16",
        lambda codes, scale: mxfp8(codes, np.repeat(scale, 2, axis=-1)[..., : scale.shape[-1]], size=32),
        "mxfp8_e4m3",
        "f32",
        "placed",
        story="Groups of 16 are read where they are of 32.",
    ),
    wrong(
        "F017",
        "block_transposed",
        but(blocks, turned=True),
        "fp8_block128",
        "f32",
        "placed",
        story="Scales are read column after column.",
    ),
    wrong(
        "F019",
        "swizzle_forgotten",
        but(unswizzled, known=False),
        SWIZZLED,
        "f32",
        "placed",
        story="Scales in the 128x4 order are read row after row.",
    ),
    wrong(
        "F021",
        "global_missing",
        but(nvfp4, tops=lambda top: 1.0),
        "nvfp4",
        "f32",
        "exact",
        story="The scale of the tensor is left out.",
    ),
    wrong(
        "F021",
        "global_inverted",
        but(nvfp4, tops=lambda top: 1 / as_double(top)),
        "nvfp4",
        "f32",
        "exact",
        story="Divided by the scale of the tensor.",
    ),
    wrong(
        "F021",
        "scale_as_e5m2",
        but(nvfp4, scales=as_e5m2),
        "nvfp4",
        "f32",
        "scales",
        story="Block scales of e4m3 are read as e5m2.",
    ),
    wrong(
        "F081",
        "subnormal_scale_flushed",
        but(nvfp4, scales=e4m3_flushed),
        "nvfp4",
        "f32",
        "scales",
        story="Subnormal block scales count as zero.",
    ),
    wrong(
        "F081",
        "scales_first",
        nvfp4_scales_first,
        "nvfp4",
        "f32",
        "exact",
        story="The two scales are multiplied and rounded first, which is not declared.",
    ),
)
