"""Scaled GEMMs that differ and are right: other orders, other places of the scales, split sums."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.scaled_gemm_parts import (
    AFFINE,
    FP8_BLOCK,
    FP8_ROW,
    INVARIANT,
    MXFP4,
    MXFP8,
    NVFP4,
    SCHEMES,
    U8_I8,
    WEIGHT_ONLY,
    Array,
    Side,
    Sum,
    bf16,
    f32,
    right,
)
from lastbit.suites.zoo.specimen import Variant


class SplitK(Sum):
    """Three contiguous sums of k, each scaled by itself, added in f32."""

    def product(self, sides: list[Side], k: int) -> Array:
        parts = np.array_split(np.arange(k), 3)
        total = np.zeros((sides[0].codes.shape[0], sides[1].codes.shape[0]), np.float32)
        for index in parts:
            left, right = (one.codes[:, index] * one.scale[:, index] for one in sides)
            total = total + np.matmul(left, right.T)
        return f32(total)


class ScaleByScale(Sum):
    """(sum * scale_a) * scale_b instead of sum * (scale_a * scale_b)."""

    def product(self, sides: list[Side], k: int) -> Array:
        x, y = sides
        total = np.zeros((x.codes.shape[0], y.codes.shape[0]), np.float32)
        for start in range(0, max(k, 1), self.run()):
            part = slice(start, min(start + self.run(), k))
            partial = f32(self.accumulate(x.codes[:, part], y.codes[:, part]))
            with np.errstate(all="ignore"):
                total = total + (partial * x.scale[:, part.start, None]) * y.scale[None, :, part.start]
        return total


SUMS, OPERANDS = Contract(scaled="sums"), Contract(scaled="operands")
BF16_OPERANDS = Contract(scaled="operands", input_rounding="bf16")


def _variants() -> Iterator[Variant]:
    for scheme in SCHEMES:
        yield right(Sum, scheme, contract=INVARIANT, name="sums", story="Sums of codes are scaled.")
    for scheme in (FP8_BLOCK, NVFP4, U8_I8):
        yield right(partial(Sum, order=-1), scheme, name="backward", story="From the last product to the first.")
    for scheme in (FP8_ROW, FP8_BLOCK, AFFINE):
        yield right(ScaleByScale, scheme, contract=SUMS, name="scale_by_scale", story="One scale after the other.")
    for scheme in (MXFP8, NVFP4, WEIGHT_ONLY):
        first = partial(Sum, dequantize_first=True)
        yield right(first, scheme, name="operands", story="Operands are scaled, then multiplied.")
    for scheme in (FP8_BLOCK, MXFP4, WEIGHT_ONLY):
        yield right(SplitK, scheme, contract=OPERANDS, name="split_k", story="Three sums of k, added in f32.")
    for scheme in (FP8_ROW, WEIGHT_ONLY):
        narrow = partial(Sum, dequantize_first=True, rounding=bf16)
        story = "Operands are scaled and rounded to bf16, which is declared."
        yield right(narrow, scheme, contract=BF16_OPERANDS, name="bf16_operands", story=story)


#: Every correct scaled GEMM.
VARIANTS: tuple[Variant, ...] = tuple(_variants())
