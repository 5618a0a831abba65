"""Scaled GEMMs whose sum, zero points or epilogue are wrong in ways seen in the field."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.scaled_gemm_parts import (
    AFFINE,
    FP8_BLOCK,
    FP8_ROW,
    FP8_TENSOR,
    I8_ROW,
    MXFP8,
    NVFP4,
    U8_I8,
    WEIGHT_ONLY,
    Array,
    Scheme,
    Side,
    Sum,
    bf16,
    f32,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous


class ZeroPoints(Sum):
    """Zero points are subtracted `times_a` and `times_b` times."""

    def __init__(self, scheme: Scheme, times_a: int, times_b: int) -> None:
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

    def __init__(self, scheme: Scheme, narrow: Callable[[Array], Array]) -> None:
        super().__init__(scheme)
        self.narrow = narrow

    def accumulate(self, left: Array, right: Array) -> Array:
        total = np.zeros((left.shape[0], right.shape[0]), np.float32)
        with np.errstate(all="ignore"):
            for i in range(left.shape[1]):
                total = self.narrow(total + left[:, i, None] * right[None, :, i])
        return total


def cut_to_14_bits(x: Array) -> Array:
    """Cut to 14 significand bits."""
    return (f32(x).view(np.uint32) & np.uint32(0xFFFFFC00)).view(np.float32)


def through_f16(x: Array) -> Array:
    """Rounded to f16."""
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
    """The scale of the tensor is left out."""

    def finish(self, total: Array, **extra: Array) -> Array:
        extra.pop("global_scale", None)
        return super().finish(total, **extra)


class GlobalTwice(Sum):
    """The scale of the tensor is applied twice."""

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
    """The bias is left out."""

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

    def __init__(self, scheme: Scheme) -> None:
        super().__init__(scheme)
        self.seen: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        key = (scale_a.ctypes.data, scale_a.shape)
        kept = self.seen.setdefault(key, scale_a.copy())
        return super().__call__(a, b, kept, scale_b, **extra)


class IgnoresStrides(Sum):
    """Scales of b are read as if they were contiguous."""

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        return super().__call__(a, b, scale_a, as_if_contiguous(scale_b), **extra)


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


def _zero(times_a: int, times_b: int) -> Callable[[Scheme], Sum]:
    return partial(ZeroPoints, times_a=times_a, times_b=times_b)


_BF16_OPERANDS = partial(Sum, dequantize_first=True, rounding=bf16)
#: Every scaled GEMM whose sum, zero points or epilogue are wrong.
FAULTY: tuple[Faulty, ...] = (
    *(
        wrong("F086", _zero(0, 0), scheme, "exact", name="zero_ignored", story="Zero points are not subtracted.")
        for scheme in (AFFINE, WEIGHT_ONLY)
    ),
    wrong("F086", _zero(1, 0), AFFINE, "exact", name="zero_only_a", story="The zero point of b is not subtracted."),
    wrong("F086", _zero(2, 1), AFFINE, "exact", name="zero_twice", story="The zero point of a is subtracted twice."),
    *(wrong("F025", SaturatingPairs, scheme, "exact", "bound") for scheme in (U8_I8, I8_ROW)),
    *(wrong("F025", kind, I8_ROW, "exact") for kind in (Wraps24, Wraps16)),
    *(
        wrong(
            "F009",
            partial(Through, narrow=through_f16),
            scheme,
            "exact",
            name="f16_sum",
            story="Partial sums are stored in f16.",
        )
        for scheme in (FP8_TENSOR, FP8_ROW)
    ),
    *(
        wrong(
            "F009",
            partial(Through, narrow=cut_to_14_bits),
            scheme,
            "exact",
            name="14_bit_sum",
            story="Partial sums are cut to 14 bits.",
        )
        for scheme in (FP8_ROW, FP8_BLOCK)
    ),
    wrong("F011", Truncates, WEIGHT_ONLY, "statistics", contract=Contract(scaled="sums")),
    *(wrong("F010", RoundsPartials, scheme, "exact", "bound") for scheme in (FP8_BLOCK, NVFP4)),
    *(wrong("F007", DropsLastGroup, scheme, "exact", "tails") for scheme in (MXFP8, FP8_BLOCK)),
    *(wrong("F017", ScaledOnce, scheme, "exact") for scheme in (FP8_BLOCK, WEIGHT_ONLY)),
    *(wrong("F021", kind, NVFP4, "exact") for kind in (GlobalForgotten, GlobalTwice)),
    *(wrong("F015", BiasBeforeScale, scheme, "epilogue") for scheme in (FP8_ROW, I8_ROW)),
    wrong("F016", BiasForgotten, FP8_TENSOR, "epilogue"),
    wrong("F001", RoundedBeforeScale, I8_ROW, "exact"),
    wrong("F064", TruncatesOutput, FP8_TENSOR, "exact"),
    wrong("F063", StaleScales, FP8_ROW, "second_call"),
    wrong("F023", IgnoresStrides, FP8_BLOCK, "layout"),
    wrong("F027", ShortRows, FP8_ROW, "tails"),
    wrong("F005", Wavers, FP8_ROW, "repeat"),
    wrong(
        "F013",
        _BF16_OPERANDS,
        WEIGHT_ONLY,
        "exact",
        "bound",
        name="undeclared_bf16_operands",
        story="Scaled operands are rounded to bf16, which is not declared.",
    ),
    wrong(
        "F078",
        _BF16_OPERANDS,
        I8_ROW,
        "exact",
        "bound",
        contract=Contract(scaled="sums"),
        name="operands_rounded",
        story="Scaled operands are rounded to bf16 where scaled sums are promised.",
    ),
)
