"""Softmaxes that are wrong in ways seen in the field; each is a few lines on top of `honest`."""

from collections.abc import Callable

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.softmax_parts import (
    ALL,
    BF16,
    BOTH,
    F16,
    F32,
    F64,
    INVARIANT,
    LOG,
    LOG2_E,
    SOFTMAX,
    TILE,
    Array,
    bf16,
    f16,
    f32,
    finish,
    honest,
    online,
    top,
    with_sum,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous


def no_maximum(op: str, x: Array) -> Array:
    """Exp(x) as it is."""
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
    """The running maximum starts at 0, so that rows far below it vanish."""
    high = np.maximum(top(f32(x)), 0)
    weights = np.exp(f32(x) - high)
    total = weights.sum(axis=-1, keepdims=True)
    if op == "logsumexp":
        return (high + np.log(total))[..., 0].astype(x.dtype)
    return (weights / total if op == "softmax" else f32(x) - high - np.log(total)).astype(x.dtype)


def maximum_of_all(op: str, x: Array) -> Array:
    """One maximum for the whole matrix."""
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


def bf16_sum(op: str, x: Array) -> Array:
    """The weights are summed in bf16."""
    return with_sum(bf16)(op, x)


def f16_sum(op: str, x: Array) -> Array:
    """The weights are summed in f16."""
    return with_sum(f16)(op, x)


def _with_exp(op: str, x: Array, exp: Callable[[Array], Array]) -> Array:
    below = f32(x) - top(f32(x))
    weights = exp(below)
    return finish(op, x, below, weights, weights.sum(axis=-1, keepdims=True))


def bf16_exp(op: str, x: Array) -> Array:
    """Each weight is stored in bf16."""
    return _with_exp(op, x, lambda below: bf16(np.exp(below)))


def f16_exp(op: str, x: Array) -> Array:
    """Each weight is stored in f16."""
    return _with_exp(op, x, lambda below: f16(np.exp(below)))


def _cubic(x: Array) -> Array:
    """2^x by a polynomial of degree 3 on [0, 1), about 13 bits; exp(0) is 1."""
    y = np.maximum(x * LOG2_E, np.float32(-160))
    whole = np.floor(y)
    part = y - whole
    series = 1 + part * (np.float32(0.695976) + part * (np.float32(0.224494) + part * np.float32(0.079530)))
    return np.where(np.isnan(x), np.nan, np.ldexp(series, np.nan_to_num(whole).astype(np.int64))).astype(np.float32)


def coarse_exp(op: str, x: Array) -> Array:
    """2^x by a polynomial of degree 3, about 13 bits."""
    return _with_exp(op, x, _cubic)


def nan_masked_rows(op: str, x: Array) -> Array:
    """A row of -inf gives NaN where zeros are promised."""
    return honest(op, x)


def f32_inside_f64(op: str, x: Array) -> Array:
    """f64 logits are computed in f32."""
    return honest(op, x)


def drops_last(op: str, x: Array) -> Array:
    """The last column is not in the sum."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    total = weights[..., :-1].sum(axis=-1, keepdims=True) if x.shape[-1] > 1 else weights
    return finish(op, x, below, weights, total)


def counts_padding(op: str, x: Array) -> Array:
    """The columns that fill the last tile count as logits of 0."""
    padding = -x.shape[-1] % TILE
    wide = np.concatenate([f32(x), np.zeros((*x.shape[:-1], padding), np.float32)], axis=-1)
    below = wide - top(wide)
    weights = np.exp(below)
    n = x.shape[-1]
    return finish(op, x, below[..., :n], weights[..., :n], weights.sum(axis=-1, keepdims=True))


def skips_last_rescale(op: str, x: Array) -> Array:
    """The last tile's rescaling is missing."""
    return online(op, x, skip="last")


def skips_one_rescale(op: str, x: Array) -> Array:
    """The second tile's rescaling is missing."""
    return online(op, x, skip="second")


def forgets_masked_tile(op: str, x: Array) -> Array:
    """A tile that is all -inf before any other gives -inf - (-inf) = NaN."""
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
    """NaN counts as -inf."""
    return honest(op, np.where(np.isnan(f32(x)), -np.inf, f32(x)).astype(x.dtype))


def swallows_infinity(op: str, x: Array) -> Array:
    """+inf counts as the largest number."""
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


def base_two(op: str, x: Array) -> Array:
    """2^x in place of e^x."""
    return honest(op, (f32(x) * np.float32(0.6931472)).astype(x.dtype))


def temperature(op: str, x: Array) -> Array:
    """The logits are scaled by 1.003."""
    return honest(op, (f32(x) * np.float32(1.003)).astype(x.dtype))


def ignores_strides(op: str, x: Array) -> Array:
    """The logits are read as if they lay row after row."""
    return honest(op, as_if_contiguous(x) if x.ndim == 2 else x)


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


ZERO_ROWS = Contract(masked_row="zero", exp_ulp=4.0)
#: Every faulty softmax, log_softmax and logsumexp.
FAULTY: tuple[Faulty, ...] = (
    *(one for formats in (F32, F16) for one in wrong("F029", no_maximum, ALL, formats, "bound")),
    *wrong("F029", division_free, BOTH, F32, "bound"),
    *wrong("F029", log_of_softmax, LOG, F32, "bound"),
    *wrong("F030", maximum_from_zero, ALL, F32, "bound", "tails"),
    *wrong("F030", maximum_of_all, ALL, F32, "bound", "tails"),
    *wrong("F030", wrong_axis, ALL, F32, "exact", "tails", "bound"),
    *(one for formats in (F32, BF16) for one in wrong("F031", bf16_sum, ALL, formats, "exact", "bound")),
    *(one for formats in (F32, F16) for one in wrong("F031", f16_sum, ALL, formats, "exact", "bound")),
    *wrong("F031", rounded_sum, LOG, BF16, "bound"),
    *wrong("F032", forgets_masked_tile, ALL, F32, "bound", "exact"),
    *wrong("F032", nan_masked_rows, BOTH, F32, "special", contract=ZERO_ROWS),
    *wrong("F033", swallows_nan, ALL, F32, "special"),
    *wrong("F033", swallows_infinity, ALL, F32, "special"),
    *(one for formats in (F32, BF16) for one in wrong("F034", drops_last, ALL, formats, "exact", "tails")),
    *(one for formats in (F32, BF16) for one in wrong("F034", counts_padding, ALL, formats, "exact", "tails")),
    *(one for formats in (F32, BF16) for one in wrong("F035", bf16_exp, ALL, formats, "bound")),
    *(one for run in (f16_exp, coarse_exp) for one in wrong("F035", run, ALL, F32, "bound")),
    *(one for run in (base_two, temperature) for one in wrong("F038", run, ALL, F32, "bound")),
    *wrong("F049", skips_last_rescale, ALL, F32, "bound", "tails"),
    *wrong("F049", skips_one_rescale, ALL, F32, "bound"),
    *wrong("F047", zeros_masked_rows, ALL, F32, "special"),
    *wrong("F064", truncates, ALL, BF16, "bound"),
    *wrong("F028", flushes_tails, SOFTMAX, F32, "bound"),
    *wrong("F023", ignores_strides, ALL, F32, "layout"),
    *wrong("F013", f32_inside_f64, ALL, F64, "bound"),
    *wrong("F006", varies_with_batch, ALL, F32, "slices", contract=INVARIANT),
    *wrong("F005", Wavers, ALL, F32, "repeat"),
)
