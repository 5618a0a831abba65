"""Scaled GEMMs that are wrong in ways seen in the field, each a few lines on a correct one, on numpy arrays."""

from collections.abc import Callable
from typing import Any

import correct_scaled_gemms as right
import numpy as np
from correct_scaled_gemms import Array, Side, Sum, bf16, f32

from lastbit.contract import Contract

#: A scaled sum that is wrong where its operands are decoded: it changes them before the product.
Change = Callable[[list[Side]], None]


class Changed(Sum):
    """`Sum` of sides that `change` has been at."""

    def __init__(self, scheme: right.Scheme, change: Change) -> None:
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
    sides[0].scale = sides[0].scale * sides[0].scale


def forgotten(sides: list[Side]) -> None:
    sides[1].scale = np.ones_like(sides[1].scale)


def reciprocal(sides: list[Side]) -> None:
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
    for side in sides:
        side.scale = np.nan_to_num(side.scale, nan=1.0)


def nan_code_ignored(sides: list[Side]) -> None:
    for side in sides:
        side.codes = np.nan_to_num(side.codes, nan=448.0)


def subnormal_scales_flushed(sides: list[Side]) -> None:
    for side in sides:
        side.scale = np.where(side.scale < f32(2.0**-126), f32(0), side.scale)


def subnormal_codes_flushed(sides: list[Side]) -> None:
    for side in sides:
        side.codes = np.where(np.abs(side.codes) < f32(2.0**-6), f32(0), side.codes)


def nibbles_swapped(sides: list[Side]) -> None:
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


class ZeroPoints(Sum):
    """Zero points are subtracted `times_a` and `times_b` times."""

    def __init__(self, scheme: right.Scheme, times_a: int, times_b: int) -> None:
        super().__init__(scheme)
        self.times = {"zero_a": times_a, "zero_b": times_b}

    def sides(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> tuple[list[Side], int]:
        changed = {name: f32(x) * self.times.get(name, 1) for name, x in extra.items()}
        return super().sides(a, b, scale_a, scale_b, **changed)


class SaturatingPairs(Sum):
    """Pairs of products are added with saturation to 16 bits, as vpmaddubsw does."""

    def accumulate(self, left: Array, right: Array) -> Array:
        products = left[:, None, :].astype(np.int64) * right[None].astype(np.int64)
        if products.shape[2] % 2:
            products = np.concatenate([products, np.zeros_like(products[:, :, :1])], axis=2)
        pairs = products[:, :, ::2] + products[:, :, 1::2]
        return np.clip(pairs, -32768, 32767).sum(axis=2)


class Wraps24(Sum):
    """An integer sum of 24 bits."""

    def accumulate(self, left: Array, right: Array) -> Array:
        total = left.astype(np.int64) @ right.astype(np.int64).T
        return (total + 2**23) % 2**24 - 2**23


class Wraps16(Sum):
    """An integer sum of 16 bits."""

    def accumulate(self, left: Array, right: Array) -> Array:
        return (left.astype(np.int64) @ right.astype(np.int64).T).astype(np.int16).astype(np.int64)


class Through(Sum):
    """Each partial sum passes `narrow`."""

    def __init__(self, scheme: right.Scheme, narrow: Callable[[Array], Array]) -> None:
        super().__init__(scheme)
        self.narrow = narrow

    def accumulate(self, left: Array, right: Array) -> Array:
        total = np.zeros((left.shape[0], right.shape[0]), np.float32)
        with np.errstate(all="ignore"):
            for i in range(left.shape[1]):
                total = self.narrow(total + left[:, i, None] * right[None, :, i])
        return total


def cut_to_14_bits(x: Array) -> Array:
    return (f32(x).view(np.uint32) & np.uint32(0xFFFFFC00)).view(np.float32)


def through_f16(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


class Truncates(Sum):
    """Each partial sum is cut to f32 from an exact addition, toward zero."""

    def accumulate(self, left: Array, right: Array) -> Array:
        total = np.zeros((left.shape[0], right.shape[0]), np.float32)
        for i in range(left.shape[1]):
            wide = total.astype(np.float64) + left[:, i, None].astype(np.float64) * right[None, :, i]
            near = wide.astype(np.float32)
            total = np.where(np.abs(near) > np.abs(wide), np.nextafter(near, np.float32(0)), near)
        return total


class DropsLastGroup(Sum):
    """A last group that is short is skipped."""

    def product(self, sides: list[Side], k: int) -> Array:
        whole = k // self.run() * self.run()
        for side in sides:
            side.codes, side.scale = side.codes[:, : whole or k], side.scale[:, : whole or k]
        return super().product(sides, whole or k)


class ScaledOnce(Sum):
    """All codes are summed, and scaled by the scale of the last group."""

    def product(self, sides: list[Side], k: int) -> Array:
        x, y = sides
        return f32(self.accumulate(x.codes, y.codes)) * x.scale[:, -1, None] * y.scale[None, :, -1]


class RoundsPartials(Sum):
    """The sums of groups are added in bf16."""

    def product(self, sides: list[Side], k: int) -> Array:
        x, y = sides
        total = np.zeros((x.codes.shape[0], y.codes.shape[0]), np.float32)
        for start in range(0, k, self.run()):
            part = slice(start, min(start + self.run(), k))
            with np.errstate(all="ignore"):
                partial = f32(self.accumulate(x.codes[:, part], y.codes[:, part]))
                total = bf16(total + partial * x.scale[:, start, None] * y.scale[None, :, start])
        return total


class GlobalForgotten(Sum):
    def finish(self, total: Array, **extra: Array) -> Array:
        extra.pop("global_scale", None)
        return super().finish(total, **extra)


class GlobalTwice(Sum):
    def finish(self, total: Array, **extra: Array) -> Array:
        return super().finish(total * f32(extra["global_scale"]), **extra)


class BiasBeforeScale(Sum):
    """The bias is added to the sum of codes, before it is scaled."""

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        bias = extra.pop("bias", None)
        sides, k = self.sides(a, b, scale_a, scale_b, **extra)
        total = self.product(sides, k)
        if bias is not None:
            total = total + f32(bias) * sides[0].scale[:, :1] * sides[1].scale[None, :, 0]
        return self.finish(total, **extra)


class BiasForgotten(Sum):
    def finish(self, total: Array, **extra: Array) -> Array:
        extra.pop("bias", None)
        return super().finish(total, **extra)


class RoundedBeforeScale(Sum):
    """The sum of codes is rounded to bf16 before it is scaled."""

    def accumulate(self, left: Array, right: Array) -> Array:
        return bf16(f32(super().accumulate(left, right)))


class TruncatesOutput(Sum):
    """The result is cut to bf16."""

    def finish(self, total: Array, **extra: Array) -> Array:
        cut = (f32(total).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return super().finish(cut, **extra)


class StaleScales(Sum):
    """Scales are remembered by their address."""

    def __init__(self, scheme: right.Scheme) -> None:
        super().__init__(scheme)
        self.seen: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        key = (scale_a.ctypes.data, scale_a.shape)
        kept = self.seen.setdefault(key, scale_a.copy())
        return super().__call__(a, b, kept, scale_b, **extra)


class IgnoresStrides(Sum):
    """Scales of b are read as if they were contiguous."""

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        flat = np.lib.stride_tricks.as_strided(scale_b, scale_b.shape, (scale_b.shape[1] * 4, 4))
        return super().__call__(a, b, scale_a, flat, **extra)


class ShortRows(Sum):
    """Wrong for one row only: the scales of a are not used."""

    def sides(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> tuple[list[Side], int]:
        found, k = super().sides(a, b, scale_a, scale_b, **extra)
        if len(a) == 1:
            found[0].scale = np.ones_like(found[0].scale)
        return found, k


class Wavers(Sum):
    """The order of k changes from call to call."""

    def product(self, sides: list[Side], k: int) -> Array:
        self.order = -self.order
        return super().product(sides, k)


#: Those that remember earlier calls.
CHEATS = (StaleScales, Wavers)
PLAIN, INVARIANT = right.PLAIN, right.INVARIANT

Row = tuple[str, Any, right.Scheme, Contract, frozenset[str]]


def _changed(change: Change, scheme: right.Scheme, *checks: str, contract: Contract = PLAIN) -> Row:
    return (f"{change.__name__}-{scheme.name}", Changed(scheme, change), scheme, contract, frozenset(checks))


def _made(name: str, run: Sum, *checks: str, contract: Contract = PLAIN) -> Row:
    return (f"{name}-{run.scheme.name}", run, run.scheme, contract, frozenset(checks))


def _faults() -> tuple[Row, ...]:
    row, block, tensor = right.FP8_ROW, right.FP8_BLOCK, right.FP8_TENSOR
    mx, mx4, nv = right.MXFP8, right.MXFP4, right.NVFP4
    i8, affine, weight, mixed = right.I8_ROW, right.AFFINE, right.WEIGHT_ONLY, right.U8_I8
    return (
        _changed(swaps_scales, row, "exact"),
        _changed(swaps_scales, mx, "exact"),
        _changed(row_as_column, row, "exact"),
        _changed(next_group, mx, "exact"),
        _changed(next_group, block, "exact"),
        _changed(next_group, nv, "exact"),
        _changed(next_group, weight, "exact"),
        _changed(first_group, block, "exact"),
        _changed(first_group, mx4, "exact"),
        _changed(floored_blocks, block, "exact", "tails"),
        _changed(squared, tensor, "exact"),
        _changed(squared, i8, "exact"),
        _changed(forgotten, tensor, "exact"),
        _changed(reciprocal, row, "exact"),
        _changed(bf16_scale, row, "bound"),
        _changed(bf16_scale, i8, "bound"),
        _changed(exponent_bias_126, mx, "exact"),
        _changed(nan_scale_ignored, mx, "special"),
        _changed(nan_scale_ignored, row, "special"),
        _changed(nan_code_ignored, row, "special"),
        _changed(subnormal_scales_flushed, row, "bound"),
        _changed(subnormal_codes_flushed, row, "exact"),
        _changed(nibbles_swapped, mx4, "exact"),
        _changed(nibbles_swapped, weight, "exact"),
        _changed(unsigned_nibbles, nv, "exact"),
        _changed(largest_code_clipped, i8, "exact"),
        _made("zero-ignored", ZeroPoints(affine, 0, 0), "exact"),
        _made("zero-only-a", ZeroPoints(affine, 1, 0), "exact"),
        _made("zero-twice", ZeroPoints(affine, 2, 1), "exact"),
        _made("zero-ignored", ZeroPoints(weight, 0, 0), "exact"),
        _made("saturating-pairs", SaturatingPairs(mixed), "exact", "bound"),
        _made("saturating-pairs", SaturatingPairs(i8), "exact", "bound"),
        _made("24-bit-sum", Wraps24(i8), "exact"),
        _made("16-bit-sum", Wraps16(i8), "exact"),
        _made("f16-sum", Through(tensor, through_f16), "exact"),
        _made("f16-sum", Through(row, through_f16), "exact"),
        _made("14-bit-sum", Through(row, cut_to_14_bits), "exact"),
        _made("14-bit-sum", Through(block, cut_to_14_bits), "exact"),
        _made("truncating-sum", Truncates(weight), "statistics", contract=Contract(scaled="sums")),
        _made("bf16-partials", RoundsPartials(block), "exact", "bound"),
        _made("bf16-partials", RoundsPartials(nv), "exact", "bound"),
        _made("last-group-dropped", DropsLastGroup(mx), "exact", "tails"),
        _made("last-group-dropped", DropsLastGroup(block), "exact", "tails"),
        _made("scaled-once", ScaledOnce(block), "exact"),
        _made("scaled-once", ScaledOnce(weight), "exact"),
        _made("global-forgotten", GlobalForgotten(nv), "exact"),
        _made("global-twice", GlobalTwice(nv), "exact"),
        _made("bias-before-scale", BiasBeforeScale(row), "epilogue"),
        _made("bias-before-scale", BiasBeforeScale(i8), "epilogue"),
        _made("bias-forgotten", BiasForgotten(tensor), "epilogue"),
        _made("rounded-before-scale", RoundedBeforeScale(i8), "exact"),
        _made("truncated-output", TruncatesOutput(tensor), "exact"),
        _made("stale-scales", StaleScales(row), "second_call"),
        _made("ignores-strides", IgnoresStrides(block), "layout"),
        _made("one-row-unscaled", ShortRows(row), "tails"),
        _made("wavers", Wavers(row), "repeat"),
        (
            "bf16-operands-undeclared",
            Sum(weight, dequantize_first=True, rounding=bf16),
            weight,
            PLAIN,
            frozenset({"exact", "bound"}),
        ),
        (
            "operands-although-sums-promised",
            Sum(right.I8_ROW, dequantize_first=True, rounding=bf16),
            right.I8_ROW,
            Contract(scaled="sums"),
            frozenset({"bound", "exact"}),
        ),
    )


#: (id, function, scheme, contract, checks of which at least one must name it)
FAULTS = _faults()
