"""Softmaxes that differ from one another and are all right under what they declare."""

from dataclasses import replace

import numpy as np

from lastbit.suites.zoo.softmax_faults import Wavers, bf16_sum, flushes_tails, varies_with_batch, zeros_masked_rows
from lastbit.suites.zoo.softmax_parts import (
    ALL,
    BF16,
    BOTH,
    F16,
    F32,
    F64,
    LOG,
    LOG2_E,
    LSE,
    PLAIN,
    SOFTMAX,
    Array,
    Run,
    f32,
    finish,
    honest,
    online,
    right,
    top,
)
from lastbit.suites.zoo.specimen import Variant


def in_f64(op: str, x: Array) -> Array:
    """Everything in f64 (a row of -inf or NaN as `honest` has it), rounded once to f32 or f64."""
    wide = np.asarray(x).astype(np.float64)
    below = wide - top(wide)
    weights = np.exp(below)
    total = weights.sum(axis=-1, keepdims=True)
    if op == "softmax":
        out = weights / total
    elif op == "log_softmax":
        out = below - np.log(total)
    else:
        high = wide.max(axis=-1)
        out = np.where(np.isinf(high), high, high + np.log(total[..., 0]))
    return out.astype(x.dtype) if x.dtype.itemsize > 2 else out.astype(np.float32).astype(x.dtype)


def with_exp2(op: str, x: Array) -> Array:
    """exp2 of the scaled difference, and log2 scaled back."""
    below = f32(x) - top(f32(x))
    weights = np.exp2(below * LOG2_E)
    total = weights.sum(axis=-1, keepdims=True)
    if op == "softmax":
        return (weights / total).astype(x.dtype)
    log_total = np.log2(total) * np.float32(0.6931471805599453)
    if op == "log_softmax":
        return (below - log_total).astype(x.dtype)
    high = f32(x).max(axis=-1)
    return np.where(np.isinf(high), high, high + log_total[..., 0]).astype(x.dtype)


def with_reciprocal(op: str, x: Array) -> Array:
    """Weights are multiplied by 1 / sum."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    total = weights.sum(axis=-1, keepdims=True)
    return (
        (weights * (np.float32(1) / total)).astype(x.dtype) if op == "softmax" else finish(op, x, below, weights, total)
    )


def rescaled_weights(op: str, x: Array) -> Array:
    """One pass: weights are kept under the running maximum and rescaled whenever it grows, element by element."""
    wide, n = f32(x), x.shape[-1]
    high = np.full((*x.shape[:-1], 1), -np.inf, np.float32)
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    weights = np.zeros(x.shape, np.float32)
    for start in range(0, n, 5):
        part = wide[..., start : start + 5]
        larger = np.maximum(high, top(part))
        base = np.where(np.isneginf(larger), 0, larger)
        alpha = np.where(np.isneginf(high), 0, np.exp(high - base)).astype(np.float32)
        weights[..., :start] *= alpha
        weights[..., start : start + 5] = np.exp(part - base)
        total = total * alpha + weights[..., start : start + 5].sum(axis=-1, keepdims=True)
        high = larger
    return finish(op, x, wide - high, weights, total)


def lanes(op: str, x: Array, count: int = 8) -> Array:
    """`count` interleaved partial maxima and sums, combined as a tree."""
    wide = np.concatenate([f32(x), np.full((*x.shape[:-1], -x.shape[-1] % count), -np.inf, np.float32)], axis=-1)
    parts = wide.reshape(*x.shape[:-1], wide.shape[-1] // count, count)
    high = parts.max(axis=-2)
    base = np.where(np.isneginf(high), 0, high)
    total = np.exp(parts - base[..., None, :]).sum(axis=-2)
    while high.shape[-1] > 1:
        left, right = high[..., ::2], high[..., 1::2]
        larger = np.maximum(left, right)
        base = np.where(np.isneginf(larger), 0, larger)
        total = total[..., ::2] * np.exp(left - base) + total[..., 1::2] * np.exp(right - base)
        high = larger
    below = f32(x) - high
    return finish(op, x, below, np.exp(below), total)


def tiles(size: int) -> Run:
    """Online, in tiles of this size."""

    def run(op: str, x: Array) -> Array:
        """The maximum and the sum in one pass over tiles; the sum is rescaled when the maximum grows."""
        return online(op, x, tile=size)

    return run


def backward(op: str, x: Array) -> Array:
    """Weights are summed from the end of the row."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    return finish(op, x, below, weights, np.cumsum(weights[..., ::-1], axis=-1)[..., -1:])


#: Formats in which a way is tried.
Over = tuple[dict[str, str], ...]
#: Each way with the formats of its softmaxes, of its log_softmaxes and of its logsumexps.
_WAYS: tuple[tuple[Run, str, Over, Over, Over], ...] = (
    (honest, "", (F32,), (F32,), (BF16,)),
    (in_f64, "", (F64,), (), (F64,)),
    (with_exp2, "", (F32,), (F32,), (BF16,)),
    (with_reciprocal, "", (F16,), (), ()),
    (rescaled_weights, "", (F32,), (), ()),
    (lanes, "", (F32,), (F32,), (BF16,)),
    (backward, "", (F32,), (), (F32,)),
    (tiles(2), "online_2", (BF16,), (F32,), ()),
    (tiles(7), "online_7", (F16,), (BF16,), (F32,)),
    (tiles(64), "online_64", (F32,), (), (BF16,)),
)
#: Every correct softmax, log_softmax and logsumexp.
VARIANTS: tuple[Variant, ...] = (
    *(
        one
        for run, name, *over in _WAYS
        for ops, each in zip((SOFTMAX, LOG, LSE), over, strict=True)
        for formats in each
        for one in right(run, ops, formats, name=name)
    ),
    *right(bf16_sum, ALL, BF16, contract=replace(PLAIN, accumulator="bf16")),
    *right(flushes_tails, SOFTMAX, F32, contract=replace(PLAIN, subnormals="flush")),
    *right(zeros_masked_rows, BOTH, F32, contract=replace(PLAIN, masked_row="zero")),
    *right(varies_with_batch, SOFTMAX, F32, name="batch_variant"),
    *right(Wavers, LSE, F32, contract=replace(PLAIN, deterministic=False)),
)
