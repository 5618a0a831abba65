"""Quantizers that are right but on one path: at some sizes, rows, layouts, scales that are given, or tiny scales."""

from collections.abc import Callable

import numpy as np

from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_faults import STATIC, half_away, static, unsaturated, wraps
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import (
    E8M0,
    F32,
    FP8_GROUP,
    I8_ROW,
    MXFP4,
    MXFP8,
    Array,
    Step,
    but,
    f32,
    integers,
    low_first,
    nvfp4,
    over,
    power,
)
from lastbit.suites.zoo.specimen import Faulty

AWAY = but(I8_ROW, code=integers(-127, 127, half_away))
BY_RECIPROCAL = but(I8_ROW, quotient=parts.reciprocal)
DOUBLED = but(MXFP8, rule=lambda amax: (2 * f32(power(8)(amax))).astype(E8M0))


def where(applies: Callable[[Array], bool], faulty: Step, right: Step = I8_ROW) -> Step:
    """The faulty quantizer of some tensors, the right one of others."""
    return lambda x: (faulty if applies(x) else right)(x)


def ties_away(quotient: Array) -> Array:
    """Codes of e2m1 by comparison with the ties, each of which goes to the larger code."""
    size = np.abs(quotient)
    number = sum(size >= tie for tie in (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0))
    return (number + np.where(np.signbit(quotient), 8, 0)).astype(np.uint8)


def from_row_132(x: Array) -> Array:
    """Rows after the 132nd, the multiprocessors of a GPU, round ties away."""
    codes, scale = I8_ROW(x)
    if x.ndim == 2:
        codes = np.concatenate([codes[:132], AWAY(x)[0][132:]])
    return codes, scale


def of_first_rows(x: Array) -> Array:
    """The scale of the tensor is that of its first 64 rows."""
    top = np.abs(f32(x)[..., :64, :]).max(initial=0)
    return nvfp4(np.clip(f32(x), -top, top).astype(x.dtype))


def with_scale_before(x: Array) -> Array:
    """Half a group takes the scale of the group before."""
    codes, scale = MXFP8(x)
    if x.shape[-1] % 32 == 16 and scale.shape[-1] > 1:
        before = f32(scale)[..., -2:-1]
        codes[..., -16:] = MXFP8.code(np.asarray(f32(x)[..., -16:], np.float64) / before)
    return codes, scale


def ignoring_batch_stride(x: Array) -> Array:
    """The matrices of a batch are taken to follow one another in memory."""
    step = x.shape[-2] * x.strides[-2] if x.ndim == 3 else 0
    if x.ndim == 3 and 0 < step <= x.strides[0]:
        x = np.lib.stride_tricks.as_strided(x, strides=(step, *x.strides[1:]))
    return I8_ROW(x)


def ignoring_scale_strides(x: Array, scale: Array) -> Array:
    """Scales are taken to follow one another in memory."""
    if min(scale.strides) > 0:
        size = scale.itemsize
        scale = np.lib.stride_tricks.as_strided(scale, strides=tuple(size * n for n in _strides(scale.shape)))
    return static(integers(-127, 127))(x, scale)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))


def given_as(changed: Step) -> Step:
    """A static quantizer that divides by something else than the scale."""
    return lambda x, scale: static(integers(-127, 127))(x, changed(scale))


def leaves_last_nibble(codes: Array) -> Array:
    """The unused half of the last byte keeps what was there."""
    packed = low_first(codes)
    if codes.shape[-1] % 2:
        packed[..., -1] |= 0x70
    return packed


#: Every quantizer that is faulty on one path.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F065",
        "half_away_by_64",
        where(lambda x: x.shape[-1] % 64 == 0, AWAY),
        "i8_row",
        "bf16",
        "ties",
        story="Rows that tiles of 64 divide take a path that rounds ties away from zero.",
    ),
    wrong(
        "F080",
        "twice_the_scale_by_64",
        where(lambda x: x.shape[-1] % 64 == 0, DOUBLED, MXFP8),
        "mxfp8_e4m3",
        "f32",
        "exact",
        story="Rows that tiles of 64 divide have twice the scale.",
    ),
    wrong(
        "F075",
        "maximum_120_from_1024",
        where(lambda x: x.shape[-1] >= 1024, but(I8_ROW, rule=over(120))),
        "i8_row",
        "f32",
        "exact",
        story="The path for 1024 columns and more divides by 120 in place of 127.",
    ),
    wrong(
        "F065",
        "half_away_of_one_row",
        where(lambda x: x.shape[-2] == 1, AWAY),
        "i8_row",
        "bf16",
        "ties",
        story="The path for one row rounds ties away from zero.",
    ),
    wrong(
        "F078",
        "reciprocal_of_one_row",
        where(lambda x: x.shape[-2] == 1, BY_RECIPROCAL),
        "i8_row",
        "bf16",
        "ties",
        story="The path for one row multiplies by the reciprocal.",
    ),
    wrong(
        "F078",
        "reciprocal_of_long_rows",
        where(lambda x: x.shape[-1] > 200, BY_RECIPROCAL),
        "i8_row",
        "bf16",
        "ties",
        story="The path for more than 200 columns multiplies by the reciprocal.",
    ),
    wrong(
        "F078",
        "reciprocal_of_batches",
        where(lambda x: x.ndim == 3, BY_RECIPROCAL),
        "i8_row",
        "bf16",
        "ties",
        story="The path for batches multiplies by the reciprocal.",
    ),
    wrong(
        "F065",
        "half_away_of_batches",
        where(lambda x: x.ndim == 3, but(MXFP4, code=ties_away), MXFP4),
        "mxfp4",
        "f32",
        "ties",
        story="The path for batches rounds ties away from zero.",
    ),
    wrong(
        "F065",
        "half_away_from_1024",
        where(lambda x: x.shape[-1] >= 1024, but(MXFP4, code=ties_away), MXFP4),
        "mxfp4",
        "f32",
        "ties",
        story="The path for 1024 columns and more rounds ties away from zero.",
    ),
    wrong(
        "F065",
        "half_away_from_row_132",
        from_row_132,
        "i8_row",
        "f32",
        "ties",
        story="Rows after the 132nd round ties away from zero.",
    ),
    wrong(
        "F076",
        "global_of_first_rows",
        of_first_rows,
        "nvfp4",
        "bf16",
        "amax",
        story="The scale of the tensor is got from its first 64 rows.",
    ),
    wrong(
        "F076",
        "scale_of_group_before",
        with_scale_before,
        "mxfp8_e4m3",
        "bf16",
        "tails",
        story="A last group that is half full takes the scale of the group before.",
    ),
    wrong(
        "F023",
        "batch_stride",
        ignoring_batch_stride,
        "i8_row",
        "f32",
        "layout",
        story="The stride of a batch is taken to be that of whole matrices.",
    ),
    wrong(
        "F070",
        "wraps_at_tiny_scales",
        but(I8_ROW, code=wraps),
        "i8_row",
        "f32",
        "blocks",
        story="Quotients wrap around, which they reach where the scale is a few of the smallest numbers.",
    ),
    wrong(
        "F070",
        "nan_at_tiny_scales",
        but(FP8_GROUP, code=unsaturated),
        "fp8_group128",
        "f32",
        "blocks",
        story="Quotients are not saturated; where the scale is a few of the smallest numbers they become NaN.",
    ),
    wrong(
        "F083",
        "unused_nibble",
        but(MXFP4, pack=leaves_last_nibble),
        "mxfp4",
        "f32",
        "tails",
        story="The unused half of a last byte is not zero.",
    ),
    wrong(
        "F079",
        "given_scale_without_sign",
        given_as(np.abs),
        STATIC,
        "f32",
        "given_scales",
        story="The sign of a scale that is given is lost.",
    ),
    wrong(
        "F077",
        "given_subnormal_as_one",
        given_as(lambda scale: np.where(np.abs(scale) < np.finfo(np.float32).tiny, F32(1), scale)),
        STATIC,
        "f32",
        "given_scales",
        story="A subnormal scale that is given is taken for one.",
    ),
    wrong(
        "F077",
        "given_scale_clamped",
        given_as(lambda scale: np.clip(scale, -F32(2.0**40), F32(2.0**40))),
        STATIC,
        "f32",
        "given_scales",
        story="A scale that is given is clamped to 2^40.",
    ),
    wrong(
        "F023",
        "given_scale_strides",
        ignoring_scale_strides,
        STATIC,
        "f32",
        "layout",
        story="The strides of scales that are given are ignored.",
    ),
)
