"""Quantizers whose scales are wrong: their rule, their format, what is remembered of them."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_faults import STATIC, static
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import (
    E4M3,
    E8M0,
    F32,
    FP8_GROUP,
    I8_ROW,
    MXFP4,
    MXFP8,
    Array,
    Step,
    but,
    exponent,
    f32,
    integers,
    nvfp4,
    over,
    power,
)
from lastbit.suites.zoo.specimen import Faulty


def rounded_through(dtype: Any, rule: Step) -> Step:
    """The rule's scale rounded to a narrow format."""
    return lambda amax: f32(rule(amax).astype(dtype))


def shifted(rule: Step, power_of_two: int) -> Step:
    """The rule's scale times a power of two."""
    return lambda amax: (f32(rule(amax)) * F32(2.0**power_of_two)).astype(E8M0)


def no_guard(amax: Array) -> Array:
    """amax / 127, 0 for groups of zeros."""
    return amax / F32(127)


def flushing(rule: Step) -> Step:
    """The rule's scale, 1 for subnormal ones."""

    def flushed(amax: Array) -> Array:
        scale = rule(amax)
        return np.where(scale < np.finfo(np.float32).tiny, F32(1), scale).astype(np.float32)

    return flushed


def with_floor(floor: float) -> Step:
    """The rule's scale, no smaller than this."""
    return lambda amax: np.maximum(over(127)(amax), F32(floor))


def remembers_scale() -> Step:
    """A quantizer that keeps the scales of each shape."""
    kept: dict[tuple[int, ...], Array] = {}

    def rule(amax: Array) -> Array:
        return kept.setdefault(amax.shape, over(127)(amax))

    return but(I8_ROW, rule=rule)


def even_as_floor(amax: Array) -> Array:
    """The exponent of amax."""
    return power(2)(amax)


def to_even(amax: Array) -> Array:
    """The exponent of amax rounded to two bits, with a carry."""
    return np.where(amax >= np.ldexp(F32(1.75), exponent(amax)), 1, 0)


def up(amax: Array) -> Array:
    """1 more for all but powers of two."""
    return np.where(np.frexp(amax)[0] > 0.5, 1, 0)


def past_six(amax: Array) -> Array:
    """rceil of e2m1: 2^ceil(log2(amax / 6))."""
    quotient = amax / F32(6)
    return np.frexp(quotient)[1] - 1 + up(quotient) - exponent(amax) + 2


def _without_global(x: Array) -> Array:
    codes, scale, top = nvfp4(x)
    return codes, scale, np.ones_like(top)


def _rounded_up(raw: Array) -> Array:
    near = np.clip(raw, F32(2**-6), F32(448)).astype(E4M3)
    bits = parts.codes_of(near)
    return np.where((f32(near) < raw) & (bits < 0x7E), bits + 1, bits).astype(np.uint8).view(E4M3)


def _half_away(raw: Array) -> Array:
    """e4m3 with ties away from zero."""
    near = np.clip(raw, F32(2**-6), F32(448)).astype(E4M3)
    bits = parts.codes_of(near)
    above = (bits + 1).astype(np.uint8).view(E4M3)
    tie = (bits < 0x7E) & (raw.astype(np.float64) == (np.float64(near) + np.float64(above)) / 2)
    return np.where(tie, bits + 1, bits).astype(np.uint8).view(E4M3)


#: Every quantizer with wrong scales.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F075",
        "uses_minus_128",
        static(integers(-128, 127)),
        STATIC,
        "f32",
        "saturation",
        story="-128 is stored where -127 is the lowest code.",
    ),
    wrong(
        "F075",
        "max_240",
        but(FP8_GROUP, rule=over(240)),
        "fp8_group128",
        "f32",
        "exact",
        story="The largest magnitude becomes 240, not 448.",
    ),
    wrong(
        "F075",
        "amax_over_128",
        but(I8_ROW, rule=over(128)),
        "i8_row",
        "f32",
        "exact",
        story="The largest magnitude is divided by 128, not by 127.",
    ),
    wrong(
        "F077",
        "zero_row",
        but(I8_ROW, rule=no_guard),
        "i8_row",
        "f32",
        "blocks",
        story="A row of zeros has a scale of zero.",
    ),
    wrong(
        "F077", "floor", but(I8_ROW, rule=with_floor(1e-5)), "i8_row", "f32", "blocks", story="No scale is below 1e-5."
    ),
    wrong(
        "F077",
        "subnormal_scale",
        but(I8_ROW, rule=flushing(over(127))),
        "i8_row",
        "f32",
        "blocks",
        story="Subnormal scales become 1.",
    ),
    wrong(
        "F079",
        "scale_in_bf16",
        but(I8_ROW, rule=rounded_through(ml_dtypes.bfloat16, over(127))),
        "i8_row",
        "f32",
        "exact",
        story="Scales are rounded to bf16.",
    ),
    wrong(
        "F080",
        "ceil_for_floor",
        but(MXFP4, rule=power(2, lift=up)),
        "mxfp4_floor",
        "f32",
        "exact",
        "scale_rule",
        story="Powers of two are rounded up where down is declared.",
    ),
    wrong(
        "F080",
        "even_for_floor",
        but(MXFP4, rule=power(2, lift=to_even)),
        "mxfp4_floor",
        "f32",
        "exact",
        "scale_rule",
        story="Powers of two are rounded to nearest where down is declared.",
    ),
    wrong(
        "F080",
        "floor_for_even",
        but(MXFP4, rule=even_as_floor),
        "mxfp4_even",
        "f32",
        "scale_rule",
        story="Powers of two are rounded down where to nearest is declared.",
    ),
    wrong(
        "F080",
        "floor_for_rceil",
        but(MXFP4, rule=power(2)),
        "mxfp4_rceil",
        "f32",
        "scale_rule",
        story="Powers of two are rounded down where up from the quotient is declared.",
    ),
    wrong(
        "F080",
        "ceil_for_rceil",
        but(MXFP4, rule=power(2, lift=up)),
        "mxfp4_rceil",
        "f32",
        "scale_rule",
        story="The largest magnitude's power of two is rounded up where the quotient's is declared.",
    ),
    wrong(
        "F080",
        "rceil_for_ceil",
        but(MXFP4, rule=power(2, lift=past_six)),
        "mxfp4_ceil",
        "f32",
        "scale_rule",
        story="The quotient's power of two is rounded up where the largest magnitude's is declared.",
    ),
    wrong(
        "F080",
        "bias_off_by_one",
        but(MXFP8, rule=shifted(power(8), 1)),
        "mxfp8_e4m3",
        "f32",
        "exact",
        story="Scales are twice what they should be: a bias of 126.",
    ),
    wrong(
        "F081",
        "global_scale_missing",
        lambda x: _without_global(x),
        "nvfp4",
        "f32",
        "exact",
        story="The scale of the tensor is stored as 1.",
    ),
    wrong(
        "F081",
        "448_for_2688",
        lambda x: nvfp4(x, most=448.0),
        "nvfp4",
        "f32",
        "exact",
        story="The scale of the tensor is taken for 448, not for 6 * 448.",
    ),
    wrong(
        "F081",
        "block_scale_half_away",
        lambda x: nvfp4(x, scale_of=_half_away),
        "nvfp4",
        "bf16",
        "scale_rule",
        story="Block scales at ties are rounded away from zero.",
    ),
    wrong(
        "F081",
        "block_scale_up",
        lambda x: nvfp4(x, scale_of=_rounded_up),
        "nvfp4",
        "f32",
        "exact",
        "scale_rule",
        story="Block scales are rounded up.",
    ),
    wrong(
        "F063",
        "stale_scale",
        None,
        "i8_row",
        "f32",
        "second_call",
        make=remembers_scale,
        story="The scales of the first call of a shape are used for ever.",
    ),
)
