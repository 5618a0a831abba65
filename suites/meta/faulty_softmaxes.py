"""Softmaxes that are wrong in ways seen in the field, on numpy arrays.

Each fault is a few lines on top of `honest`; ids are those of the fault classes they stand for.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from softmax_parts import (
    ALL,
    BF16,
    BOTH,
    F16,
    F32,
    F64,
    INVARIANT,
    LOG,
    LOG2_E,
    PLAIN,
    SOFTMAX,
    TILE,
    Array,
    Fault,
    Run,
    bf16,
    f16,
    f32,
    finish,
    honest,
    online,
    top,
    with_sum,
)

from lastbit.contract import Contract


def no_maximum(op: str, x: Array) -> Array:
    """F029: exp(x) as it is."""
    weights = np.exp(f32(x))
    total = weights.sum(axis=-1, keepdims=True)
    if op == "logsumexp":
        return np.log(total[..., 0]).astype(x.dtype)
    return (weights / total if op == "softmax" else f32(x) - np.log(total)).astype(x.dtype)


def division_free(op: str, x: Array) -> Array:
    """exp(x - lse) and x - lse with lse = max + log(sum): the error grows with the offset of the logits."""
    wide = f32(x)
    lse = top(wide) + np.log(np.exp(wide - top(wide)).sum(axis=-1, keepdims=True))
    return (np.exp(wide - lse) if op == "softmax" else wide - lse).astype(x.dtype)


def maximum_from_zero(op: str, x: Array) -> Array:
    """F030: the running maximum starts at 0, so that rows far below it vanish."""
    high = np.maximum(top(f32(x)), 0)
    weights = np.exp(f32(x) - high)
    total = weights.sum(axis=-1, keepdims=True)
    if op == "logsumexp":
        return (high + np.log(total))[..., 0].astype(x.dtype)
    return (weights / total if op == "softmax" else f32(x) - high - np.log(total)).astype(x.dtype)


def maximum_of_all(op: str, x: Array) -> Array:
    """F030: one maximum for the whole matrix."""
    wide = f32(x)
    high = wide.max(axis=(-2, -1), keepdims=True) if wide.size else np.zeros(())
    weights = np.exp(wide - high)
    total = weights.sum(axis=-1, keepdims=True)
    if op == "logsumexp":
        return (high + np.log(total))[..., 0].astype(x.dtype)
    return (weights / total if op == "softmax" else wide - high - np.log(total)).astype(x.dtype)


def wrong_axis(op: str, x: Array) -> Array:
    """The sum runs down the columns."""
    if op == "logsumexp":
        return honest(op, np.swapaxes(x, -1, -2))[..., : x.shape[-2]] if x.shape[-1] >= x.shape[-2] else honest(op, x)
    return np.swapaxes(honest(op, np.swapaxes(x, -1, -2)), -1, -2) if x.size else honest(op, x)


def with_exp(exp: Callable[[Array], Array]) -> Run:
    def run(op: str, x: Array) -> Array:
        below = f32(x) - top(f32(x))
        weights = exp(below)
        return finish(op, x, below, weights, weights.sum(axis=-1, keepdims=True))

    return run


def coarse_exp(x: Array) -> Array:
    """F035: 2^x by a polynomial of degree 3 on [0, 1), about 13 bits; exp(0) is 1."""
    y = np.maximum(x * LOG2_E, np.float32(-160))
    whole = np.floor(y)
    part = y - whole
    series = 1 + part * (np.float32(0.695976) + part * (np.float32(0.224494) + part * np.float32(0.079530)))
    return np.where(np.isnan(x), np.nan, np.ldexp(series, np.nan_to_num(whole).astype(np.int64))).astype(np.float32)


def drops_last(op: str, x: Array) -> Array:
    """F034: the last column is not in the sum."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    total = weights[..., :-1].sum(axis=-1, keepdims=True) if x.shape[-1] > 1 else weights
    return finish(op, x, below, weights, total)


def counts_padding(op: str, x: Array) -> Array:
    """F034: the columns that fill the last tile count as logits of 0."""
    padding = -x.shape[-1] % TILE
    wide = np.concatenate([f32(x), np.zeros((*x.shape[:-1], padding), np.float32)], axis=-1)
    below = wide - top(wide)
    weights = np.exp(below)
    n = x.shape[-1]
    return finish(op, x, below[..., :n], weights[..., :n], weights.sum(axis=-1, keepdims=True))


def skips_last_rescale(op: str, x: Array) -> Array:
    """F049's kin: the last tile's rescaling is missing."""
    return online(op, x, skip="last")


def skips_one_rescale(op: str, x: Array) -> Array:
    """F049's kin: the second tile's rescaling is missing."""
    return online(op, x, skip="second")


def forgets_masked_tile(op: str, x: Array) -> Array:
    """F032: a tile that is all -inf before any other gives -inf - (-inf) = NaN."""
    wide, n = f32(x), x.shape[-1]
    high = np.full((*x.shape[:-1], 1), -np.inf, np.float32)
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    for start in range(0, n, 16):
        part = wide[..., start : start + 16]
        larger = np.maximum(high, top(part))
        total = total * np.exp(high - larger) + np.exp(part - larger).sum(axis=-1, keepdims=True)
        high = larger
    below = wide - high
    return finish(op, x, below, np.exp(below), total)


def swallows_nan(op: str, x: Array) -> Array:
    """F033: NaN counts as -inf."""
    return honest(op, np.where(np.isnan(f32(x)), -np.inf, f32(x)).astype(x.dtype))


def swallows_infinity(op: str, x: Array) -> Array:
    """F033: +inf counts as the largest number."""
    largest = float(ml_dtypes.finfo(x.dtype).max)
    return honest(op, np.where(np.isposinf(f32(x)), largest, f32(x)).astype(x.dtype))


def zeros_masked_rows(op: str, x: Array) -> Array:
    """A row of -inf gives zeros (for log_softmax -inf, for logsumexp 0) where NaN (-inf) is promised."""
    out = honest(op, x)
    empty = np.isneginf(f32(x)).all(axis=-1)
    out[empty] = -np.inf if op == "log_softmax" else 0
    return out


def log_of_softmax(op: str, x: Array) -> Array:
    """log(softmax(x)): weights that underflow give -inf."""
    return np.log(f32(honest("softmax", f32(x)))).astype(x.dtype)


def truncates(op: str, x: Array) -> Array:
    """The result is cut, not rounded, to bf16."""
    bits = f32(honest(op, f32(x))).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(x.dtype)


def rounded_sum(op: str, x: Array) -> Array:
    """The sum's logarithm is stored in the operands' type."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    log_sum = f32(np.log(weights.sum(axis=-1, keepdims=True)).astype(x.dtype))
    return (below - log_sum).astype(x.dtype)


def flushes_tails(op: str, x: Array) -> Array:
    """Weights below the smallest normal number become zero."""
    out = f32(honest(op, f32(x)))
    return np.where(out < 2.0**-126, 0, out).astype(x.dtype)


def no_work(op: str, x: Array) -> Array:
    """F039: zeros."""
    return np.zeros(x.shape[:-1] if op == "logsumexp" else x.shape, x.dtype)


def uniform(op: str, x: Array) -> Array:
    """F039: 1/n for every column."""
    return np.full(x.shape, 1 / max(1, x.shape[-1]), np.float32).astype(x.dtype)


def base_two(op: str, x: Array) -> Array:
    """2^x in place of e^x."""
    return honest(op, (f32(x) * np.float32(0.6931472)).astype(x.dtype))


def temperature(op: str, x: Array) -> Array:
    """F038's kin: the logits are scaled by 1.003."""
    return honest(op, (f32(x) * np.float32(1.003)).astype(x.dtype))


def ignores_strides(op: str, x: Array) -> Array:
    """The logits are read as if they lay row after row."""
    steps = (x.shape[-1] * x.itemsize, x.itemsize)
    flat = np.lib.stride_tricks.as_strided(x, x.shape, steps) if x.ndim == 2 else x
    return honest(op, flat)


def varies_with_batch(op: str, x: Array) -> Array:
    """Fewer than five rows are summed in another order."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    ordered = weights if x.shape[-2] > 4 else weights[..., ::-1]
    return finish(op, x, below, weights, np.cumsum(ordered, axis=-1)[..., -1:])


class Wavers:
    """The order of summation changes from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, op: str, x: Array) -> Array:
        self.calls += 1
        below = f32(x) - top(f32(x))
        weights = np.exp(below)
        total = np.cumsum(np.roll(weights, self.calls, axis=-1), axis=-1)[..., -1:]
        return finish(op, x, below, weights, total)


class Remembers:
    """F092: results are cached by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Array] = {}

    def __call__(self, op: str, x: Array) -> Array:
        key = (op, x.ctypes.data, x.shape)
        if key not in self.results:
            self.results[key] = honest(op, x)
        return self.results[key].copy()


FAULTS: tuple[Fault, ...] = (
    ("no_maximum", no_maximum, ALL, F32, PLAIN, frozenset({"bound"})),
    ("no_maximum_f16", no_maximum, ALL, F16, PLAIN, frozenset({"bound"})),
    ("division_free", division_free, BOTH, F32, PLAIN, frozenset({"bound"})),
    ("maximum_from_zero", maximum_from_zero, ALL, F32, PLAIN, frozenset({"bound", "tails"})),
    ("maximum_of_all", maximum_of_all, ALL, F32, PLAIN, frozenset({"bound", "tails"})),
    ("wrong_axis", wrong_axis, ALL, F32, PLAIN, frozenset({"exact", "tails", "bound"})),
    ("bf16_sum", with_sum(bf16), ALL, BF16, PLAIN, frozenset({"exact", "bound"})),
    ("bf16_sum_f32", with_sum(bf16), ALL, F32, PLAIN, frozenset({"exact", "bound"})),
    ("f16_sum", with_sum(f16), ALL, F16, PLAIN, frozenset({"exact", "bound"})),
    ("f16_sum_f32", with_sum(f16), ALL, F32, PLAIN, frozenset({"bound"})),
    ("bf16_exp", with_exp(lambda x: bf16(np.exp(x))), ALL, F32, PLAIN, frozenset({"bound"})),
    ("bf16_exp_bf16", with_exp(lambda x: bf16(np.exp(x))), ALL, BF16, PLAIN, frozenset({"bound"})),
    ("f16_exp", with_exp(lambda x: f16(np.exp(x))), ALL, F32, PLAIN, frozenset({"bound"})),
    ("coarse_exp", with_exp(coarse_exp), ALL, F32, PLAIN, frozenset({"bound"})),
    ("drops_last", drops_last, ALL, F32, PLAIN, frozenset({"exact", "tails"})),
    ("drops_last_bf16", drops_last, ALL, BF16, PLAIN, frozenset({"exact", "tails"})),
    ("counts_padding", counts_padding, ALL, F32, PLAIN, frozenset({"exact", "tails"})),
    ("counts_padding_bf16", counts_padding, ALL, BF16, PLAIN, frozenset({"exact", "tails"})),
    ("skips_last_rescale", skips_last_rescale, ALL, F32, PLAIN, frozenset({"bound", "tails"})),
    ("skips_one_rescale", skips_one_rescale, ALL, F32, PLAIN, frozenset({"bound"})),
    ("forgets_masked_tile", forgets_masked_tile, ALL, F32, PLAIN, frozenset({"bound", "exact"})),
    ("swallows_nan", swallows_nan, ALL, F32, PLAIN, frozenset({"special"})),
    ("swallows_infinity", swallows_infinity, ALL, F32, PLAIN, frozenset({"special"})),
    ("zeros_masked_rows", zeros_masked_rows, ALL, F32, PLAIN, frozenset({"special"})),
    ("nan_masked_rows", honest, BOTH, F32, Contract(masked_row="zero", exp_ulp=4.0), frozenset({"special"})),
    ("log_of_softmax", log_of_softmax, LOG, F32, PLAIN, frozenset({"bound"})),
    ("truncates", truncates, ALL, BF16, PLAIN, frozenset({"bound"})),
    ("rounded_sum", rounded_sum, LOG, BF16, PLAIN, frozenset({"bound"})),
    ("flushes_tails", flushes_tails, SOFTMAX, F32, PLAIN, frozenset({"bound"})),
    ("no_work", no_work, ALL, F32, PLAIN, frozenset({"exact", "bound"})),
    ("uniform", uniform, SOFTMAX, F32, PLAIN, frozenset({"bound"})),
    ("base_two", base_two, ALL, F32, PLAIN, frozenset({"bound"})),
    ("temperature", temperature, ALL, F32, PLAIN, frozenset({"bound"})),
    ("ignores_strides", ignores_strides, ALL, F32, PLAIN, frozenset({"layout"})),
    ("f32_inside_f64", honest, ALL, F64, PLAIN, frozenset({"bound"})),
    ("varies_with_batch", varies_with_batch, ALL, F32, INVARIANT, frozenset({"slices"})),
    ("wavers", Wavers(), ALL, F32, PLAIN, frozenset({"repeat"})),
    ("remembers", Remembers(), ALL, F32, PLAIN, frozenset({"second_call"})),
)
