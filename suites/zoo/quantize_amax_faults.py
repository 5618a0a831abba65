"""Quantizers that scale by the largest magnitude of the wrong numbers."""

import numpy as np

from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import FP8_GROUP, I8_ROW, MXFP4, MXFP8, Array, but, largest
from lastbit.suites.zoo.specimen import Faulty


def first_group(groups: Array) -> Array:
    """The largest magnitude of the first group, for each."""
    return np.broadcast_to(largest(groups)[..., :1], groups.shape[:-1])


def neighbour(groups: Array) -> Array:
    """The largest magnitude of the group before."""
    return np.roll(largest(groups), 1, axis=-1)


def without_last(groups: Array) -> Array:
    """The largest magnitude but for the last number."""
    return largest(groups[..., :-1])


def without_first(groups: Array) -> Array:
    """The largest magnitude but for the first number."""
    return largest(groups[..., 1:])


def signed(groups: Array) -> Array:
    """The largest number."""
    return groups.max(axis=-1, initial=0)


def down_the_columns(groups: Array) -> Array:
    """The largest magnitude of each column."""
    return np.broadcast_to(np.abs(groups).max(axis=-3, keepdims=True, initial=0)[..., 0], groups.shape[:-1])


def over_the_batch(groups: Array) -> Array:
    """The largest magnitude of the batch."""
    return np.broadcast_to(largest(groups).max(axis=0, initial=0), groups.shape[:-1])


def ignoring_nan(groups: Array) -> Array:
    """The largest magnitude that is no NaN."""
    return np.fmax.reduce(np.abs(groups), axis=-1, initial=0)


def ignoring_infinity(groups: Array) -> Array:
    """The largest finite magnitude."""
    return largest(np.where(np.isinf(groups), 0, groups))


#: Every quantizer with a wrong largest magnitude.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F071",
        "infinity_ignored",
        but(MXFP8, amax=ignoring_infinity),
        "mxfp8_e4m3_floor",
        "f32",
        "special",
        story="Infinity does not count for the largest magnitude.",
    ),
    wrong(
        "F072",
        "nan_swallowed",
        but(MXFP8, amax=ignoring_nan),
        "mxfp8_e4m3",
        "f32",
        "special",
        story="NaN does not count for the largest magnitude.",
    ),
    wrong(
        "F072",
        "nan_swallowed_row",
        but(I8_ROW, amax=ignoring_nan),
        "i8_row",
        "f32",
        "special",
        story="NaN does not count for the largest magnitude.",
    ),
    wrong(
        "F076",
        "first_group_only",
        but(MXFP8, amax=first_group),
        "mxfp8_e4m3",
        "f32",
        "placed",
        story="The first group's largest magnitude scales the whole row.",
    ),
    wrong(
        "F076",
        "neighbours_amax",
        but(FP8_GROUP, amax=neighbour),
        "fp8_group128",
        "bf16",
        "amax",
        "placed",
        story="Each group is scaled by its neighbour's largest magnitude.",
    ),
    wrong(
        "F076",
        "last_missed",
        but(MXFP4, amax=without_last),
        "mxfp4",
        "f32",
        "amax",
        story="The last number of a group does not count for its largest magnitude.",
    ),
    wrong(
        "F076",
        "first_missed",
        but(MXFP4, amax=without_first),
        "mxfp4",
        "bf16",
        "amax",
        story="The first number of a group does not count for its largest magnitude.",
    ),
    wrong(
        "F076",
        "no_abs",
        but(MXFP8, amax=signed),
        "mxfp8_e4m3",
        "f32",
        "amax",
        story="The largest number is taken, not the largest magnitude.",
    ),
    wrong(
        "F076",
        "columns",
        but(I8_ROW, amax=down_the_columns),
        "i8_row",
        "f32",
        "placed",
        story="The largest magnitude of the column is taken.",
    ),
    wrong(
        "F076",
        "batch",
        but(I8_ROW, amax=lambda groups: over_the_batch(groups) if groups.ndim == 4 else largest(groups)),
        "i8_row",
        "f32",
        "exact",
        "placed",
        story="The largest magnitude is taken over the batch.",
    ),
)
