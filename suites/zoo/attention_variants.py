"""Attentions that differ from one another and are all right under what they declare."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lastbit.suites.zoo.attention_call_faults import Wavers, varies_with_batch
from lastbit.suites.zoo.attention_faults import split
from lastbit.suites.zoo.attention_parts import BF16, F32, TILE, Array, Knobs, attend, bf16, f32, right, turned
from lastbit.suites.zoo.specimen import Variant


def backward(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Keys from last to first, where no option depends on their order."""
    if set(options) - {"scale", "softcap", "sinks"}:
        return attend(q, k, v, **options, knobs=Knobs(tile=9))
    return attend(q, k[:, :, ::-1], v[:, :, ::-1], **options, knobs=Knobs(tile=TILE))


def scaled_first(q: Array, k: Array, v: Array, *, scale: float | None = None, **options: Any) -> Any:
    """q and k are each multiplied by the root of the scale, in f32."""
    root = np.float32(np.sqrt(q.shape[3] ** -0.5 if scale is None else scale))
    out, lse = attend(f32(q) * root, f32(k) * root, f32(v), scale=1.0, **options)
    return out.astype(q.dtype), lse


def normalised_first(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Weights are divided by their sum before they are multiplied by v: two passes by the log-sum-exp."""
    if options:
        return attend(q, k, v, **options)
    group, factor = q.shape[1] // k.shape[1], np.float32(q.shape[3] ** -0.5)
    wide_k, wide_v = (np.repeat(f32(x), group, 1) for x in (k, v))
    with np.errstate(all="ignore"):
        s = f32(q) @ wide_k.swapaxes(-1, -2) * factor
        top = s.max(-1, keepdims=True)
        p = np.exp(s - top)
        total = p.sum(-1, keepdims=True)
        return (p / total @ wide_v).astype(q.dtype), (top + np.log(total))[..., 0]


def heads_inside(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """The result lies in memory as (b, lq, h, dv)."""
    out, lse = attend(q, k, v, **options)
    return np.ascontiguousarray(out.swapaxes(1, 2)).swapaxes(1, 2), lse


def lazily(top: Array, peak: Array) -> Array:
    """The maximum is raised only where it grows by more than 4."""
    return np.where(peak > top + np.float32(4), peak, top)


def base_two(x: Array) -> Array:
    """exp by exp2."""
    return np.exp2(x * np.float32(np.log2(np.e)))


#: Formats in which a way is tried.
Over = tuple[dict[str, str], ...]
#: Each way with its formats and what it declares.
_WAYS: tuple[tuple[str, str | None, Callable[..., Any], Over, dict[str, Any]], ...] = (
    ("one_pass", "All keys at once.", attend, (F32,), {}),
    ("online", "Tiles of 12 keys.", turned(tile=TILE), (BF16,), {}),
    ("online_narrow", "Tiles of 5 keys.", turned(tile=5), (F32,), {}),
    ("online_lazy", "Tiles of 5 keys, whose maximum grows in leaps.", turned(tile=5, peak=lazily), (F32,), {}),
    ("backward", None, backward, (F32,), {}),
    ("split", "Five parts of the keys, combined by log-sum-exp.", split, (BF16,), {}),
    ("scaled_first", None, scaled_first, (BF16,), {}),
    ("normalised_first", None, normalised_first, (F32,), {}),
    ("heads_inside", None, heads_inside, (BF16,), {}),
    ("exp2", "exp2 of the scaled score.", turned(tile=TILE, exp=base_two), (F32,), {}),
    (
        "weights_bf16_declared",
        "Weights in bf16, which is declared.",
        turned(weight=bf16),
        (BF16,),
        {"probabilities": "bf16"},
    ),
    ("scores_bf16_declared", "Scores in bf16, which is declared.", turned(score=bf16), (BF16,), {"scores": "bf16"}),
    (
        "masked_row_declared",
        "NaN for a query that sees no key, which is declared.",
        turned(empty=np.nan),
        (BF16,),
        {"masked_row": "nan"},
    ),
    (
        "top_left_declared",
        "The diagonal begins at the first key, which is declared.",
        turned(shift=0),
        (F32,),
        {"causal_alignment": "top-left"},
    ),
    (
        "computed_declared",
        "Masked keys are computed, which is declared.",
        turned(tile=TILE, ignore=False),
        (BF16,),
        {"masked_keys": "computed"},
    ),
    (
        "nondeterministic_declared",
        "Other tiles in each call, which is declared.",
        Wavers,
        (F32,),
        {"deterministic": False},
    ),
    ("batch_variant_undeclared", "Tiles that depend on the number of queries.", varies_with_batch, (BF16,), {}),
)
#: Every correct attention.
VARIANTS: tuple[Variant, ...] = tuple(
    right(name, story, run, formats, contract=contract)
    for name, story, run, over, contract in _WAYS
    for formats in over
)
