"""Softmaxes that differ from one another and are all right, on numpy arrays."""

import numpy as np
from faulty_softmaxes import Wavers, flushes_tails, varies_with_batch, zeros_masked_rows
from softmax_parts import (
    ALL,
    BF16,
    BOTH,
    F16,
    F32,
    F64,
    LOG2_E,
    PLAIN,
    SOFTMAX,
    Array,
    Right,
    Run,
    bf16,
    f32,
    finish,
    honest,
    online,
    top,
    with_sum,
)

from lastbit.contract import Contract


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
    def run(op: str, x: Array) -> Array:
        return online(op, x, tile=size)

    return run


def backward(op: str, x: Array) -> Array:
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    return finish(op, x, below, weights, np.cumsum(weights[..., ::-1], axis=-1)[..., -1:])


#: None may be flagged under any seed.
CORRECT: tuple[Right, ...] = (
    *(
        (f"{name}-{formats['x']}", function, ALL, formats, PLAIN)
        for name, function in (
            ("honest", honest),
            ("in_f64", in_f64),
            ("exp2", with_exp2),
            ("reciprocal", with_reciprocal),
            ("online-1", tiles(1)),
            ("online-7", tiles(7)),
            ("online-64", tiles(64)),
            ("rescaled_weights", rescaled_weights),
            ("lanes", lanes),
            ("backward", backward),
        )
        for formats in (F32, F16, BF16)
    ),
    ("in_f64-f64", in_f64, ALL, F64, PLAIN),
    ("bf16_sum-declared", with_sum(bf16), ALL, BF16, Contract(accumulator="bf16", masked_row="nan", exp_ulp=4.0)),
    ("flush-declared", flushes_tails, SOFTMAX, F32, Contract(subnormals="flush", masked_row="nan", exp_ulp=4.0)),
    ("zeros_masked_rows-declared", zeros_masked_rows, BOTH, F32, Contract(masked_row="zero", exp_ulp=4.0)),
    ("batch-variant-undeclared", varies_with_batch, ALL, F32, PLAIN),
    ("wavers-declared", Wavers(), ALL, F32, Contract(deterministic=False, masked_row="nan", exp_ulp=4.0)),
)
