"""GEMMs that differ from one another and are all right under what they declare."""

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.gemm_faults import (
    bf16_accumulator,
    bf16_operands,
    f16_accumulator,
    f16_operands,
    flushes,
    saturates,
    tf32_cut,
    tf32_rounded,
    truncates_output,
)
from lastbit.suites.zoo.gemm_index_faults import EPILOGUE, Wavers, backward_if_few
from lastbit.suites.zoo.gemm_parts import (
    BF16,
    F16,
    F32,
    F64,
    INT8,
    INVARIANT,
    Array,
    bf16,
    epilogue,
    f32,
    honest,
    product,
    right,
)
from lastbit.suites.zoo.specimen import Variant


def backward(a: Array, b: Array) -> Array:
    """k is summed from its end."""
    return honest(a[..., ::-1], b[..., ::-1, :])


def pairwise(a: Array, b: Array) -> Array:
    """Products are added in pairs, and the sums in pairs."""
    parts = f32(a)[..., :, :, None] * f32(b)[..., None, :, :]
    while parts.shape[-2] > 1:
        if parts.shape[-2] % 2:
            parts = np.concatenate([parts, np.zeros_like(parts[..., :1, :])], axis=-2)
        parts = parts[..., ::2, :] + parts[..., 1::2, :]
    with np.errstate(over="ignore"):
        return parts.sum(axis=-2).astype(a.dtype)


def _in_parts(a: Array, b: Array, parts: "list[Array]") -> Array:
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    for part in parts:
        total += honest(f32(a)[..., part], f32(b)[..., part, :])
    with np.errstate(over="ignore"):
        return total.astype(a.dtype)


def split_k_2(a: Array, b: Array) -> Array:
    """Two slices of k, added in f32."""
    return _in_parts(a, b, np.array_split(np.arange(a.shape[-1]), 2))


def split_k_7(a: Array, b: Array) -> Array:
    """Seven slices of k, added in f32."""
    return _in_parts(a, b, np.array_split(np.arange(a.shape[-1]), 7))


def blocks_of_16(a: Array, b: Array) -> Array:
    """Blocks of 16 products, each summed by itself."""
    return _in_parts(a, b, [np.arange(start, min(start + 16, a.shape[-1])) for start in range(0, a.shape[-1], 16)])


def lanes_of_8(a: Array, b: Array) -> Array:
    """Eight sums of every eighth product."""
    return _in_parts(a, b, [np.arange(lane, a.shape[-1], 8) for lane in range(8)])


def fused(a: Array, b: Array) -> Array:
    """Fused multiply-add: a product is not rounded before it is added."""
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    wide_a, wide_b = f32(a).astype(np.float64), f32(b).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(a.shape[-1]):
            total = (total + wide_a[..., :, k, None] * wide_b[..., None, k, :]).astype(np.float32)
        return total.astype(a.dtype)


def compensated(a: Array, b: Array) -> Array:
    """What each addition loses is added to the next product (Kahan)."""
    total, lost = (np.zeros((*a.shape[:-1], b.shape[-1]), np.float32) for _ in range(2))
    wide_a, wide_b = f32(a), f32(b)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(a.shape[-1]):
            term = wide_a[..., :, k, None] * wide_b[..., None, k, :] - lost
            larger = total + term
            # Of an infinite sum nothing is lost that could be added.
            lost = np.where(np.isfinite(larger), (larger - total) - term, np.float32(0))
            total = larger
        return total.astype(a.dtype)


def in_f64(a: Array, b: Array) -> Array:
    """Everything in f64, rounded once to f32."""
    wide = np.asarray(a).astype(np.float64) @ np.asarray(b).astype(np.float64)
    with np.errstate(over="ignore"):
        return wide.astype(np.float32).astype(a.dtype) if a.dtype.itemsize < 4 else wide.astype(a.dtype)


def column_major(a: Array, b: Array) -> Array:
    """The result lies column after column."""
    return np.asarray(honest(a, b), order="F")


def inside_larger(a: Array, b: Array) -> Array:
    """The result is a part of a larger array, neither at its beginning nor contiguous."""
    out = honest(a, b)
    larger = np.zeros((*out.shape[:-2], out.shape[-2] + 3, out.shape[-1] + 5), out.dtype)
    larger[..., 2:-1, 1:-4] = out
    return larger[..., 2:-1, 1:-4]


def of_tiles(a: Array, b: Array) -> Array:
    """The result is written tile after tile of 16 by 16, the last tile first, operands padded with zeros."""
    out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    for row in range(0, a.shape[-2], 16)[::-1]:
        for column in range(0, b.shape[-1], 16)[::-1]:
            part = (slice(row, row + 16), slice(column, column + 16))
            out[..., part[0], part[1]] = honest(a[..., part[0], :], b[..., part[1]])
    return out


def bias_first(a: Array, b: Array, *, bias: Array = None, **others: Array) -> Array:
    """The bias is where the sum starts."""
    if bias is None or others:
        return epilogue(a, b, bias=bias, **others)
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32) + f32(bias)
    for k in range(a.shape[-1]):
        total += f32(a)[..., :, k, None] * f32(b)[..., None, k, :]
    return total.astype(a.dtype)


def _words(x: Array, count: int) -> list[Array]:
    words: list[Array] = []
    with np.errstate(invalid="ignore"):
        for _ in range(count):
            words.append(bf16(f32(x) - sum(words, np.float32(0))))
    return words


def _of_words(a: Array, b: Array, count: int) -> Array:
    left, right = _words(a, count), _words(b, count)
    pairs = [(i, j) for i in range(count) for j in range(count) if 0 < i + j < count]
    with np.errstate(all="ignore"):
        first = honest(left[0], right[0])
        low = sum((honest(left[i], right[j]) for i, j in pairs[::-1]), np.float32(0))
        # Of an infinity the low words are NaN: it has none.
        return np.where(np.isfinite(low), low + first, first).astype(a.dtype)


def bf16x3(a: Array, b: Array) -> Array:
    """f32 operands as two bf16 words each, of which three products are added."""
    return _of_words(a, b, 2)


def bf16x6(a: Array, b: Array) -> Array:
    """f32 operands as three bf16 words each, of which six products are added."""
    return _of_words(a, b, 3)


def integers(a: Array, b: Array) -> Array:
    """Products and sums of 32-bit integers."""
    return np.matmul(a.astype(np.int32), b.astype(np.int32))


def integers_by_offset(a: Array, b: Array) -> Array:
    """u8 as i8 with an offset of 128, which the column sums of b correct."""
    shifted = np.matmul(a.astype(np.int32) - 128, b.astype(np.int32))
    return shifted + 128 * b.astype(np.int32).sum(axis=-2, keepdims=True, dtype=np.int32)


#: Ways to add, and to write: in f32 where the products are rounded too, or where the output is.
_ORDERS = (
    (honest, (F32, F16)),
    (backward, (F32,)),
    (pairwise, (F32,)),
    (split_k_2, (BF16,)),
    (split_k_7, (F32,)),
    (blocks_of_16, (F16,)),
    (lanes_of_8, (BF16,)),
    (fused, (F32,)),
    (compensated, (F32,)),
    (in_f64, (F32,)),
    (of_tiles, (BF16,)),
    (column_major, (F32,)),
    (inside_larger, (F16,)),
)
#: Every correct GEMM.
VARIANTS: tuple[Variant, ...] = (
    *(right(run, formats) for run, over in _ORDERS for formats in over),
    right(product, F32, limit=None),
    right(in_f64, F64),
    right(honest, F32, contract=INVARIANT),
    right(tf32_cut, F32, contract=Contract(input_rounding="tf32")),
    right(tf32_rounded, F32, contract=Contract(input_rounding="tf32")),
    right(bf16_operands, F32, contract=Contract(input_rounding="bf16")),
    right(f16_operands, F32, contract=Contract(input_rounding="f16")),
    right(bf16x3, F32, contract=Contract(input_rounding="bf16x3")),
    right(bf16x6, F32, contract=Contract(input_rounding="bf16x6")),
    right(f16_accumulator, F16, contract=Contract(accumulator="f16")),
    right(bf16_accumulator, BF16, contract=Contract(accumulator="bf16")),
    right(truncates_output, BF16, contract=Contract(output_rounding="toward-zero")),
    right(saturates, F16, contract=Contract(overflow="saturate")),
    right(flushes, F16, contract=Contract(subnormals="flush")),
    right(Wavers, F32, contract=Contract(deterministic=False)),
    right(backward_if_few, F32, name="batch_variant"),
    right(epilogue, F32, features=EPILOGUE),
    right(bias_first, F32, features=EPILOGUE),
    right(integers, INT8),
    right(integers_by_offset, INT8),
)
