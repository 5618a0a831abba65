"""Quantizers that are right and differ: in how they find a code or an amax, and in what they declare."""

from dataclasses import replace

import numpy as np

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_faults import STATIC, half_away, static
from lastbit.suites.zoo.quantize_kernels import right
from lastbit.suites.zoo.quantize_parts import (
    E8M0,
    F32,
    FP8_BLOCK,
    FP8_GROUP,
    I8_ROW,
    I8_TENSOR,
    MXFP4,
    MXFP6,
    MXFP8,
    Array,
    Step,
    affine,
    but,
    f32,
    integers,
    largest,
    nvfp4,
    power,
)
from lastbit.suites.zoo.quantize_random_faults import STOCHASTIC, fair, stochastic
from lastbit.suites.zoo.quantize_scale_faults import to_even, up
from lastbit.suites.zoo.quantize_storage_faults import SWIZZLED
from lastbit.suites.zoo.quantize_table_faults import LEVELS, NF4, NF4_THRESHOLDS
from lastbit.suites.zoo.specimen import Variant

UNDECLARED_I8 = replace(Scaling.of("i8_row"), name="i8_row_any", arithmetic=None)
UNDECLARED_FP8 = replace(Scaling.of("fp8_group128"), name="fp8_group128_any", arithmetic=None)
UNDECLARED_NVFP4 = replace(Scaling.of("nvfp4_divide"), name="nvfp4_any", arithmetic=None)
UNDECLARED_I4 = replace(Scaling.of("i4_group32_zp"), name="i4_group32_zp_any", arithmetic=None)
UNDECLARED_STATIC = replace(STATIC, name="i8_static_any", arithmetic=None)
BYTES = replace(Scaling.of("mxfp4"), name="mxfp4_bytes", packing="none")
RECIPROCAL = Contract(scale_arithmetic="reciprocal")


def by_bits(groups: Array) -> Array:
    """The largest magnitude as the largest bit pattern without its sign."""
    bits = groups.astype(np.float32).view(np.uint32) & 0x7FFF_FFFF
    return bits.max(axis=-1, initial=0).view(np.float32)


def in_two_passes(groups: Array) -> Array:
    """The largest magnitude of two halves."""
    half = groups.shape[-1] // 2
    return np.maximum(largest(groups[..., :half]), largest(groups[..., half:]))


def by_thresholds(quotient: Array) -> Array:
    """e2m1 by comparison with the ties, at each of which the even code wins."""
    size = np.abs(quotient)
    number = np.zeros(quotient.shape, np.uint8)
    for code, tie in enumerate((0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)):
        number += (size > tie) | ((size == tie) & (code % 2 == 1))
    return number | np.where(np.signbit(quotient), 8, 0).astype(np.uint8)


def by_magic_number(quotient: Array) -> Array:
    """Rounded to an integer by adding 1.5 * 2^23, whose last bit is worth 1."""
    magic = F32(1.5 * 2**23)
    whole = (np.clip(np.nan_to_num(quotient), -127, 127).astype(np.float32) + magic) - magic
    return whole.astype(np.int8)


def by_search(quotient: Array) -> Array:
    """The level with the least distance; of two of them that of the even code."""
    away = np.abs(quotient[..., None] - LEVELS)
    first, last = away.argmin(axis=-1), 15 - away[..., ::-1].argmin(axis=-1)
    return np.where(first % 2 == 0, first, last).astype(np.uint8)


def in_double(groups: Array, scale: Array) -> Array:
    """The quotients in f64."""
    return np.asarray(groups, np.float64) / np.asarray(scale, np.float64)[..., None]


def from_exponent_bits(amax: Array) -> Array:
    """The floor rule by shifting the bits of amax; subnormal numbers have the exponent field 0."""
    bits = amax.astype(np.float32).view(np.uint32)
    field = (bits >> 23).astype(np.int64)
    code = np.clip(field - 2, 0, 254)
    return np.where(field == 255, np.where(bits & 0x7F_FFFF, 255, 253), code).astype(np.uint8).view(E8M0)


def at_least_normal(groups: Array, scale: Array) -> Array:
    """torchao divides by no scale below the normal range of f32."""
    return parts.exactly(groups, np.maximum(np.asarray(scale, np.float64), 2.0**-126))


def over_by_product(most: float) -> Step:
    """amax times the reciprocal in f32, 1 for groups of zeros."""

    def rule(amax: Array) -> Array:
        scale = amax * (F32(1) / F32(most))
        return np.where((amax == 0) | (scale == 0), F32(1), scale).astype(np.float32)

    return rule


#: Every correct quantizer.
VARIANTS: tuple[Variant, ...] = (
    right("i8_row", I8_ROW, "i8_row", "f32", story="Rows divided by their largest magnitude over 127."),
    right("i8_tensor", I8_TENSOR, "i8_tensor", "f16", story="One scale for the tensor."),
    right(
        "i8_bits", but(I8_ROW, amax=by_bits), "i8_row", "f32", story="The largest magnitude as the largest bit pattern."
    ),
    right(
        "i8_two_passes", but(I8_ROW, amax=in_two_passes), "i8_row", "f32", story="The largest magnitude of two halves."
    ),
    right("i8_magic_number", but(I8_ROW, code=by_magic_number), "i8_row", "f32", story="Rounded by adding 1.5 * 2^23."),
    right(
        "i8_reciprocal",
        but(I8_ROW, quotient=parts.reciprocal),
        "i8_row",
        "bf16",
        contract=RECIPROCAL,
        story="Multiplied by the reciprocal, which is declared.",
    ),
    right(
        "i8_half_away",
        but(I8_ROW, code=integers(-127, 127, half_away)),
        "i8_row",
        "f32",
        contract=Contract(output_rounding="nearest-away"),
        story="Ties away from zero, which is declared.",
    ),
    right("i8_any_divides", I8_ROW, UNDECLARED_I8, "bf16", story="Division where the arithmetic is left open."),
    right(
        "i8_any_reciprocal",
        but(I8_ROW, quotient=parts.reciprocal),
        UNDECLARED_I8,
        "bf16",
        story="The reciprocal where the arithmetic is left open.",
    ),
    right(
        "i8_any_double",
        but(I8_ROW, quotient=in_double),
        UNDECLARED_I8,
        "f32",
        story="f64 where the arithmetic is left open.",
    ),
    right(
        "i8_any_scale_by_product",
        but(I8_ROW, rule=over_by_product(127)),
        UNDECLARED_I8,
        "f32",
        story="The scale by a product where the arithmetic is left open.",
    ),
    right("i8_static", static(integers(-127, 127)), STATIC, "f32", story="A scale that is given."),
    right(
        "i8_static_any",
        lambda x, s: integers(-127, 127)(f32(x) * (F32(1) / s)),
        UNDECLARED_STATIC,
        "bf16",
        story="The reciprocal of a given scale where the arithmetic is left open.",
    ),
    right("fp8_group", FP8_GROUP, "fp8_group128", "bf16", story="Groups of 128."),
    right(
        "fp8_group_any",
        but(FP8_GROUP, quotient=parts.reciprocal),
        UNDECLARED_FP8,
        "f32",
        story="The reciprocal where the arithmetic is left open.",
    ),
    right("fp8_block", FP8_BLOCK, "fp8_block128", "f32", story="Blocks of 128x128."),
    right("mxfp8", MXFP8, "mxfp8_e4m3", "f32", story="Groups of 32 under a power of two."),
    right("mxfp8_floor", MXFP8, "mxfp8_e4m3_floor", "f16", story="Powers of two rounded down."),
    right("mxfp8_swizzled", but(MXFP8, store=parts.swizzled), SWIZZLED, "bf16", story="Scales in the 128x4 order."),
    right("mxfp6", MXFP6, "mxfp6_e3m2", "f32", story="Codes of six bits."),
    right("mxfp4", MXFP4, "mxfp4", "f32", story="Two codes a byte."),
    right(
        "mxfp4_thresholds", but(MXFP4, code=by_thresholds), "mxfp4", "bf16", story="Codes by comparison with the ties."
    ),
    right(
        "mxfp4_exponent_bits",
        but(MXFP4, rule=from_exponent_bits),
        "mxfp4",
        "f32",
        story="Scales from the exponent bits.",
    ),
    right(
        "mxfp4_bytes", but(MXFP4, pack=lambda codes: parts.codes_of(codes) & 15), BYTES, "f32", story="One code a byte."
    ),
    right(
        "mxfp4_ceil",
        but(MXFP4, rule=power(2, lift=up), quotient=at_least_normal),
        "mxfp4_ceil",
        "f32",
        story="Powers of two rounded up.",
    ),
    right(
        "mxfp4_even",
        but(MXFP4, rule=power(2, lift=to_even), quotient=at_least_normal),
        "mxfp4_even",
        "f32",
        story="Powers of two rounded to nearest.",
    ),
    right(
        "mxfp4_ceil_declared",
        but(MXFP4, rule=power(2, lift=up)),
        "mxfp4",
        "f32",
        contract=Contract(scale_rule="ceil"),
        story="Powers of two rounded up by the contract.",
    ),
    right(
        "mxfp4_stochastic",
        None,
        "mxfp4",
        "f32",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(fair)),
        story="Random rounding, which is declared.",
    ),
    right("nvfp4", nvfp4, "nvfp4", "bf16", story="Blocks of 16 under e4m3 scales and a scale of the tensor."),
    right("nf4_search", but(NF4, code=by_search), "nf4", "bf16", story="The nearest of 16 levels by search."),
    right("nf4_thresholds", NF4_THRESHOLDS, "nf4_bitsandbytes", "f16", story="A product, and boundaries in f32."),
    right("i4_zero_point", affine, "i4_group32_zp", "f32", story="Groups of 32 with a zero point."),
    right(
        "i4_zero_point_any",
        affine,
        UNDECLARED_I4,
        "f32",
        story="Groups of 32 with a zero point, the arithmetic left open.",
    ),
)
