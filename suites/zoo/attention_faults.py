"""Attentions that compute otherwise than they promise; each is a knob of `attend`, or a few lines around it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.suites.zoo.attention_parts import (
    BF16,
    F16,
    TILE,
    Array,
    attend,
    bf16,
    f32,
    same,
    through,
    truncated,
    turned,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty


def in_f16(q: Array, k: Array) -> Array:
    """Q k^T is stored in f16 before it is scaled."""
    return f32((q @ k.T).astype(np.float16))


def split(
    q: Array, k: Array, v: Array, *, careful: bool = True, store: Callable[[Array], Array] = f32, **options: Any
) -> Any:
    """Five parts of the keys, combined by log-sum-exp; careless, an empty part gives -inf - (-inf)."""
    if set(options) - {"scale"}:
        return attend(q, k, v, **options)
    pieces = [
        attend(store(q), store(k[:, :, index]), store(v[:, :, index]), **options) if index.size else _nothing(q, v)
        for index in np.array_split(np.arange(k.shape[2]), 5)
    ]
    top = np.max([lse for _, lse in pieces], axis=0)
    total, mean = np.zeros_like(top), np.zeros(q.shape[:3] + v.shape[3:], np.float32)
    with np.errstate(all="ignore"):
        for out, lse in pieces:
            weight = np.exp(lse - top) if careful else np.exp((lse - top) + 0 * lse)
            total += weight
            mean += weight[..., None] * f32(out)
        return (mean / total[..., None]).astype(q.dtype), top + np.log(total)


def _nothing(q: Array, v: Array) -> Any:
    zero = np.zeros(q.shape[:3] + v.shape[3:], np.float32)
    return zero, np.full(q.shape[:3], -np.inf, np.float32)


#: Every attention with wrong arithmetic; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    wrong("F038", "scale_missing", "Scores are not scaled.", turned(scale=lambda scale: 1.0), "bound"),
    wrong("F038", "scale_twice", "Scores are scaled twice.", turned(scale=lambda scale: scale * scale), "bound"),
    wrong(
        "F038", "scale_of_default", "The scale is 1/4, whatever it is to be.", turned(scale=lambda scale: 0.25), "bound"
    ),
    wrong(
        "F049",
        "rescale_skipped",
        "The result is not rescaled when the maximum grows.",
        turned(tile=TILE, rescale=lambda shrink, tile: np.ones_like(shrink)),
        "bound",
    ),
    wrong(
        "F049",
        "last_rescale_skipped",
        "From the fifth tile on the result is not rescaled.",
        turned(tile=TILE, rescale=lambda a, tile: a if tile < 4 else a * 0 + 1),
        "bound",
    ),
    wrong("F053", "weights_bf16", "Weights are rounded to bf16, which is not declared.", turned(weight=bf16), "bound"),
    wrong(
        "F053",
        "weights_truncated",
        "Weights are cut to bf16, which is not declared.",
        turned(weight=truncated),
        "bound",
    ),
    wrong(
        "F064",
        "weights_truncated_declared",
        "Weights are cut where rounding to bf16 is declared.",
        turned(weight=truncated),
        "statistics",
        probabilities="bf16",
    ),
    wrong(
        "F053",
        "weights_e4m3",
        "Weights are rounded to e4m3 where bf16 is declared.",
        turned(weight=through(ml_dtypes.float8_e4m3fn)),
        "bound",
        BF16,
        probabilities="bf16",
    ),
    wrong("F013", "scores_bf16", "Scores are rounded to bf16.", turned(score=bf16), "bound"),
    wrong(
        "F013",
        "scores_bf16_out_bf16",
        "Scores are rounded to bf16 where the weights alone may be.",
        turned(score=bf16),
        "bound",
        BF16,
        probabilities="bf16",
    ),
    wrong(
        "F010", "output_bf16_sum", "The result so far is kept in bf16.", turned(tile=TILE, running=bf16), "bound", BF16
    ),
    wrong(
        "F009",
        "output_f16_sum",
        "The result so far is kept in f16.",
        turned(tile=TILE, running=through(np.float16)),
        "bound",
    ),
    wrong(
        "F054", "scores_f16_overflow", "q k^T is stored in f16 before it is scaled.", turned(dot=in_f16), "bound", F16
    ),
    wrong("F029", "maximum_kept", "The maximum is not subtracted.", turned(subtract=False), "bound lse"),
    wrong(
        "F035",
        "exp_poor",
        "exp with a relative error of 2^-14 times its argument.",
        turned(exp=lambda x: np.exp(x) * np.float32(1 + 2.0**-14) ** x),
        "bound",
    ),
    wrong(
        "F035",
        "exp_flushes",
        "Weights below exp(-10) are zero.",
        turned(exp=lambda x: np.where(x < -10, np.float32(0), np.exp(x))),
        "bound",
    ),
    wrong(
        "F051",
        "lse_base_two",
        "The log-sum-exp is in units of log 2.",
        turned(lse=lambda top, total: (top + np.log(total)) / np.float32(np.log(2))),
        "lse bound",
    ),
    wrong(
        "F051",
        "lse_without_maximum",
        "The log-sum-exp lacks the maximum.",
        turned(lse=lambda top, total: np.log(total)),
        "lse",
    ),
    wrong("F051", "lse_is_maximum", "The log-sum-exp is the maximum.", turned(lse=lambda top, total: top), "lse"),
    wrong(
        "F052",
        "row_sum_of_neighbour",
        "A row is divided by its neighbour's sum.",
        turned(total=lambda total: np.roll(total, 1, axis=0)),
        "bound",
    ),
    wrong(
        "F052",
        "row_sum_twice",
        "The sum of a row is twice what it should be.",
        turned(total=lambda total: total * 2),
        "exact bound",
    ),
    wrong("F037", "softcap_ignored", "There is no softcap.", turned(cap=lambda cap: None), "features"),
    wrong(
        "F050",
        "empty_part_nan",
        "Parts of the keys are combined so that an empty one gives -inf - (-inf).",
        partial(split, careful=False),
        "tails",
    ),
    wrong(
        "F001",
        "parts_bf16",
        "The results of five parts of the keys are rounded to bf16 before they are combined.",
        partial(split, store=same),
        "bound chunks permutation",
        BF16,
    ),
)
