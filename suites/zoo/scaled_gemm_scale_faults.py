"""Scaled GEMMs whose scales or codes are read wrongly: each changes the decoded operands before the product."""

from collections.abc import Callable
from functools import partial

import numpy as np

from lastbit.suites.zoo.scaled_gemm_parts import (
    FP8_BLOCK,
    FP8_ROW,
    FP8_TENSOR,
    I8_ROW,
    MXFP4,
    MXFP8,
    NVFP4,
    WEIGHT_ONLY,
    Array,
    Scheme,
    Side,
    Sum,
    bf16,
    f32,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty, story_of

#: A scaled sum that is wrong where its operands are decoded: it changes them before the product.
Change = Callable[[list[Side]], None]


class Changed(Sum):
    """`Sum` of sides that `change` has been at."""

    def __init__(self, scheme: Scheme, change: Change) -> None:
        super().__init__(scheme)
        self.change = change

    def sides(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> tuple[list[Side], int]:
        found, k = super().sides(a, b, scale_a, scale_b, **extra)
        self.change(found)
        return found, k


def swaps_scales(sides: list[Side]) -> None:
    """The scales of a are used for b, as far as there are as many."""
    rows = min(len(side.scale) for side in sides)
    first = sides[0].scale[:rows].copy()
    sides[0].scale, sides[1].scale = sides[0].scale.copy(), sides[1].scale.copy()
    sides[0].scale[:rows], sides[1].scale[:rows] = sides[1].scale[:rows], first


def row_as_column(sides: list[Side]) -> None:
    """Row scales run along k."""
    scale = sides[0].scale
    sides[0].scale = np.broadcast_to(np.resize(scale[:, 0], scale.shape[1]), scale.shape)


def next_group(sides: list[Side]) -> None:
    """The scale of the next group."""
    for side in sides:
        if side.scaling is not None:
            side.scale = np.roll(side.scale, -max(side.scaling.group, side.scaling.block[1], 1), axis=1)


def first_group(sides: list[Side]) -> None:
    """The scale of the first group for all."""
    for side in sides:
        side.scale = np.broadcast_to(side.scale[:, :1], side.scale.shape)


def floored_blocks(sides: list[Side]) -> None:
    """Blocks of rows by floor division: those of a last short block are scaled by the block before."""
    side = sides[1]
    rows = side.scaling.block[0] if side.scaling is not None else 0
    whole = len(side.scale) // rows * rows if rows else len(side.scale)
    side.scale = side.scale.copy()
    if whole:
        side.scale[whole:] = side.scale[whole - 1]


def squared(sides: list[Side]) -> None:
    """The scale of a is applied twice."""
    sides[0].scale = sides[0].scale * sides[0].scale


def forgotten(sides: list[Side]) -> None:
    """The scale of b is left out."""
    sides[1].scale = np.ones_like(sides[1].scale)


def reciprocal(sides: list[Side]) -> None:
    """Divided by the scale of a."""
    with np.errstate(divide="ignore"):
        sides[0].scale = f32(1) / sides[0].scale


def bf16_scale(sides: list[Side]) -> None:
    """Scales are stored in bf16."""
    for side in sides:
        side.scale = bf16(f32(side.scale))


def exponent_bias_126(sides: list[Side]) -> None:
    """e8m0 with a bias of 126."""
    for side in sides:
        side.scale = side.scale * f32(2)


def nan_scale_ignored(sides: list[Side]) -> None:
    """A scale that is NaN counts as 1."""
    for side in sides:
        side.scale = np.nan_to_num(side.scale, nan=1.0)


def nan_code_ignored(sides: list[Side]) -> None:
    """NaN among the codes counts as 448."""
    for side in sides:
        side.codes = np.nan_to_num(side.codes, nan=448.0)


def subnormal_scales_flushed(sides: list[Side]) -> None:
    """Subnormal scales count as zero."""
    for side in sides:
        side.scale = np.where(side.scale < f32(2.0**-126), f32(0), side.scale)


def subnormal_codes_flushed(sides: list[Side]) -> None:
    """Subnormal codes count as zero."""
    for side in sides:
        side.codes = np.where(np.abs(side.codes) < f32(2.0**-6), f32(0), side.codes)


def nibbles_swapped(sides: list[Side]) -> None:
    """The two codes of a byte are exchanged."""
    side = sides[1]
    k = side.codes.shape[1] // 2 * 2
    side.codes = side.codes.copy()
    side.codes[:, :k] = side.codes[:, :k].reshape(len(side.codes), -1, 2)[:, :, ::-1].reshape(len(side.codes), k)


def unsigned_nibbles(sides: list[Side]) -> None:
    """The sign of an e2m1 code is lost."""
    sides[1].codes = np.abs(sides[1].codes)


def largest_code_clipped(sides: list[Side]) -> None:
    """-128 becomes -127."""
    for side in sides:
        side.codes = np.maximum(side.codes, -127)


def scale_bytes_leak(sides: list[Side]) -> None:
    """Four scale bytes are packed into a word without masking: the last bit of each leaks into its neighbour."""
    for side in sides:
        group = side.scaling.group if side.scaling is not None else 1
        odd = np.log2(side.scale).astype(np.int64) % 2 == 1
        side.scale = np.where(np.roll(odd, group, axis=1), side.scale * f32(2), side.scale)


def swizzle_forgotten(sides: list[Side]) -> None:
    """The scales of the rows of a tile are read in another order."""
    for side in sides:
        rows = len(side.scale)
        side.scale = side.scale[np.argsort(np.arange(rows) % 4, kind="stable")]


def _changed(fault: str, change: Change, scheme: Scheme, *checks: str) -> Faulty:
    made = partial(Changed, change=change)
    return wrong(fault, made, scheme, *checks, name=change.__name__, story=story_of(change))


#: Every scaled GEMM that reads its scales or codes wrongly.
FAULTY: tuple[Faulty, ...] = (
    *(_changed("F018", swaps_scales, scheme, "exact") for scheme in (FP8_ROW, MXFP8)),
    _changed("F017", row_as_column, FP8_ROW, "exact"),
    *(_changed("F019", next_group, scheme, "exact") for scheme in (MXFP8, FP8_BLOCK, NVFP4, WEIGHT_ONLY)),
    *(_changed("F017", first_group, scheme, "exact") for scheme in (FP8_BLOCK, MXFP4)),
    _changed("F019", floored_blocks, FP8_BLOCK, "exact", "tails"),
    *(_changed("F019", swizzle_forgotten, scheme, "exact") for scheme in (MXFP8, MXFP4)),
    _changed("F020", scale_bytes_leak, MXFP8, "exact", "bound"),
    *(_changed("F018", squared, scheme, "exact") for scheme in (FP8_TENSOR, I8_ROW)),
    _changed("F016", forgotten, FP8_TENSOR, "exact"),
    _changed("F021", reciprocal, FP8_ROW, "exact"),
    *(_changed("F079", bf16_scale, scheme, "bound") for scheme in (FP8_ROW, I8_ROW)),
    _changed("F080", exponent_bias_126, MXFP8, "exact"),
    *(_changed("F072", nan_scale_ignored, scheme, "special") for scheme in (MXFP8, FP8_ROW)),
    _changed("F072", nan_code_ignored, FP8_ROW, "special"),
    _changed("F028", subnormal_scales_flushed, FP8_ROW, "bound"),
    _changed("F028", subnormal_codes_flushed, FP8_ROW, "exact"),
    *(_changed("F026", nibbles_swapped, scheme, "exact") for scheme in (MXFP4, WEIGHT_ONLY)),
    _changed("F026", unsigned_nibbles, NVFP4, "exact"),
    _changed("F025", largest_code_clipped, I8_ROW, "exact"),
)
