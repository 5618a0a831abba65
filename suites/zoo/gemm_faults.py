"""GEMMs whose arithmetic is wrong in ways seen in the field; elsewhere they are `honest`, bit for bit."""

from functools import partial

import ml_dtypes
import numpy as np

from lastbit.suites.zoo.gemm_parts import (
    BF16,
    F16,
    F32,
    INT8,
    TILE,
    Array,
    bf16,
    chain,
    f16,
    f32,
    honest,
    keep_bits,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty

# Arithmetic ---------------------------------------------------------------------------------------------------------


def rounds_halves(a: Array, b: Array, splits: int = 2) -> Array:
    """Slices of k are rounded to the output type before they are added."""
    parts = [honest(a[..., one], b[..., one, :]) for one in np.array_split(np.arange(a.shape[-1]), splits)]
    return sum(map(f32, parts), np.float32(0)).astype(a.dtype)


def f16_accumulator(a: Array, b: Array) -> Array:
    """Partial sums are stored in f16."""
    with np.errstate(over="ignore", invalid="ignore"):
        return chain(a, b, f16).astype(a.dtype)


def f16_block_sums(a: Array, b: Array) -> Array:
    """The sum of each block of 32 products is added in f16."""
    with np.errstate(over="ignore", invalid="ignore"):
        return chain(a, b, f16, TILE).astype(a.dtype)


def bf16_accumulator(a: Array, b: Array) -> Array:
    """Partial sums are stored in bf16."""
    return chain(a, b, bf16).astype(a.dtype)


def bf16_block_sums(a: Array, b: Array) -> Array:
    """The sum of each block of 32 products is added in bf16."""
    return chain(a, b, bf16, TILE).astype(a.dtype)


def truncating_accumulator(a: Array, b: Array) -> Array:
    """Each partial sum is cut to 24 bits from an exact addition, toward zero."""
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    wide_a, wide_b = f32(a).astype(np.float64), f32(b).astype(np.float64)
    for k in range(a.shape[-1]):
        wide = total.astype(np.float64) + wide_a[..., :, k, None] * wide_b[..., None, k, :]
        near = wide.astype(np.float32)
        total = np.where(np.abs(near) > np.abs(wide), np.nextafter(near, np.float32(0)), near)
    return total.astype(a.dtype)


def tf32_cut(a: Array, b: Array) -> Array:
    """f32 operands are cut to TF32's 11 significand bits."""
    return honest(keep_bits(a, 11), keep_bits(b, 11)).astype(a.dtype)


def tf32_rounded(a: Array, b: Array) -> Array:
    """f32 operands are rounded to TF32's 11 significand bits."""
    step = np.float32(2**13 + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        near = [np.where(np.abs(x) < 2.0**100, step * x - (step * x - x), x) for x in (f32(a), f32(b))]
    return honest(*near).astype(a.dtype)


def bf16_operands(a: Array, b: Array) -> Array:
    """f32 operands are multiplied as bf16."""
    return honest(bf16(a), bf16(b)).astype(a.dtype)


def f16_operands(a: Array, b: Array) -> Array:
    """f32 operands are multiplied as f16."""
    with np.errstate(invalid="ignore"):
        return honest(f16(a), f16(b)).astype(a.dtype)


def truncates_output(a: Array, b: Array) -> Array:
    """The result is cut, not rounded, to bf16."""
    return keep_bits(honest(f32(a), f32(b)), 8).astype(a.dtype)


def flushes(a: Array, b: Array) -> Array:
    """Subnormal operands count as zero."""
    smallest = float(ml_dtypes.finfo(a.dtype).smallest_normal)
    return honest(np.where(np.abs(f32(a)) < smallest, 0, a).astype(a.dtype), b)


def flushes_result(a: Array, b: Array) -> Array:
    """Subnormal results become zero."""
    out = honest(a, b)
    return np.where(np.abs(f32(out)) < float(ml_dtypes.finfo(a.dtype).smallest_normal), 0, out).astype(a.dtype)


def saturates(a: Array, b: Array) -> Array:
    """Overflow gives the largest value where infinity is promised."""
    largest = float(ml_dtypes.finfo(a.dtype).max)
    return np.clip(f32(honest(f32(a), f32(b))), -largest, largest).astype(a.dtype)


def loses_nan(a: Array, b: Array) -> Array:
    """NaN operands count as zero."""
    return honest(np.nan_to_num(f32(a), nan=0.0, posinf=np.inf, neginf=-np.inf).astype(a.dtype), b)


def halved(a: Array, b: Array) -> Array:
    """Half of the answer: a scale of the epilogue is applied twice."""
    return (f32(honest(a, b)) / 2).astype(a.dtype)


# Integers -----------------------------------------------------------------------------------------------------------


def _integers(a: Array, b: Array) -> Array:
    return np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(np.int32)


def saturates_pairs(a: Array, b: Array) -> Array:
    """Two products of u8 and i8 are added with saturation to 16 bits."""
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.int64)
    for k in range(0, a.shape[-1], 2):
        pair = np.matmul(a[..., k : k + 2].astype(np.int64), b[..., k : k + 2, :].astype(np.int64))
        total += np.clip(pair, -(2**15), 2**15 - 1)
    return total.astype(np.int32)


def sums_of_16_bits(a: Array, b: Array) -> Array:
    """The sum wraps at 16 bits."""
    return _integers(a, b).astype(np.int16).astype(np.int32)


def unsigned_as_signed(a: Array, b: Array) -> Array:
    """u8 operands are read as i8."""
    return _integers(a.view(np.int8), b)


def sums_in_f32(a: Array, b: Array) -> Array:
    """The sum is kept in f32, which loses odd numbers above 2^24."""
    return chain(a.astype(np.float32), b.astype(np.float32), f32).astype(np.int32)


#: Every GEMM whose arithmetic is wrong.
FAULTY: tuple[Faulty, ...] = (
    *(wrong("F001", rounds_halves, formats, "exact") for formats in (BF16, F16)),
    wrong(
        "F001",
        partial(rounds_halves, splits=4),
        BF16,
        "exact",
        name="rounds_quarters",
        story="Four slices of k are rounded to the output type before they are added.",
    ),
    wrong("F009", f16_accumulator, F16, "exact"),
    wrong("F009", f16_accumulator, F32, "exact", "bound"),
    wrong("F009", f16_block_sums, F16, "exact"),
    wrong("F010", bf16_accumulator, BF16, "exact"),
    wrong("F010", bf16_accumulator, F32, "exact"),
    wrong("F010", bf16_block_sums, BF16, "exact"),
    wrong("F011", truncating_accumulator, F32, "statistics", "bound"),
    wrong("F012", tf32_cut, F32, "exact"),
    wrong("F012", tf32_rounded, F32, "exact"),
    wrong("F013", bf16_operands, F32, "exact"),
    wrong("F013", f16_operands, F32, "exact"),
    wrong("F028", flushes, F16, "bound"),
    wrong("F028", flushes, F32, "bound"),
    wrong("F028", flushes_result, F16, "bound"),
    *(wrong("F025", run, INT8, "exact") for run in (saturates_pairs, sums_of_16_bits, unsigned_as_signed, sums_in_f32)),
)
