"""Dequantizers that are right and differ: in formats, packing, arithmetic and the order of scales."""

from dataclasses import replace
from functools import partial

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_kernels
from lastbit.suites.zoo.dequantize_faults import FUSED, but
from lastbit.suites.zoo.dequantize_parts import (
    BF16,
    blocks,
    i8_row,
    mxfp4,
    mxfp6,
    mxfp8,
    nvfp4,
    nvfp4_scales_first,
    twice,
    unswizzled,
    zero_point,
)
from lastbit.suites.zoo.dequantize_scale_faults import SWIZZLED, e8m0
from lastbit.suites.zoo.quantize_parts import f32
from lastbit.suites.zoo.specimen import Variant

right = partial(quantize_kernels.right, op="dequantize")
MXFP4_BYTES = replace(Scaling.of("mxfp4"), name="mxfp4_bytes", packing="none")
#: Every correct dequantizer.
VARIANTS: tuple[Variant, ...] = (
    right("i8_row", i8_row, "i8_row", "bf16", story="One product, rounded once."),
    right(
        "i8_row_f32",
        lambda codes, scale: f32(codes) * scale,
        "i8_row",
        "f32",
        story="A product of f32.",
    ),
    right(
        "i8_row_twice",
        but(i8_row, finish=twice),
        "i8_row",
        "bf16",
        contract=Contract(scale_arithmetic="element_first"),
        story="Rounded to f32 first, which is declared.",
    ),
    right("mxfp8", mxfp8, "mxfp8_e4m3", "f32", story="Groups of 32 under a power of two."),
    right(
        "mxfp8_by_hand",
        but(mxfp8, scales=e8m0()),
        "mxfp8_e4m3",
        "f32",
        story="Powers of two by shifting.",
    ),
    right("mxfp8_swizzled", unswizzled, SWIZZLED, "f32", story="Scales in the 128x4 order."),
    right("mxfp6", mxfp6, "mxfp6_e3m2", "f32", story="Codes of six bits."),
    right("mxfp4", mxfp4, "mxfp4", "bf16", story="Two codes a byte."),
    right(
        "mxfp4_bytes",
        but(mxfp4, unpack=lambda codes: codes),
        MXFP4_BYTES,
        "bf16",
        story="One code a byte.",
    ),
    right("nvfp4", nvfp4, "nvfp4", "f32", story="Three factors, rounded once."),
    right(
        "nvfp4_bf16",
        but(nvfp4, out=BF16),
        "nvfp4",
        "bf16",
        story="Three factors, rounded once to bf16.",
    ),
    right(
        "nvfp4_scales_first",
        nvfp4_scales_first,
        "nvfp4",
        "f32",
        contract=Contract(scale_arithmetic="scales_first"),
        story="The two scales first, which is declared.",
    ),
    right("fp8_block", blocks, "fp8_block128", "f32", story="Blocks of 128x128."),
    right("i4_zero_point", zero_point, "i4_group32_zp", "f32", story="The zero point first."),
    right(
        "i4_fused",
        but(zero_point, fused=True),
        "i4_group32_zp",
        "f32",
        contract=FUSED,
        story="scale * q - scale * zero, which is declared.",
    ),
)
