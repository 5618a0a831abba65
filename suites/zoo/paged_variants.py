"""Paged attentions that differ from one another and are all right under what they declare."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.paged_parts import (
    BF16,
    F32,
    FP8,
    FP8_F32,
    INT8,
    Array,
    attend,
    online,
    right,
    scaled,
    softmax,
    turned,
)
from lastbit.suites.zoo.specimen import Variant


def splits(logits: Array, v: Array, parts: int = 3) -> Array:
    """Split keys, combined by their log-sum-exp."""
    pieces = [piece for piece in np.array_split(np.arange(logits.shape[-1]), parts) if piece.size]
    outs, lses = [], []
    for piece in pieces:
        top = logits[..., piece].max(-1, keepdims=True)
        safe = np.where(np.isfinite(top), top, 0)
        weights = np.exp(logits[..., piece] - safe)
        total = weights.sum(-1, keepdims=True)
        outs.append(weights @ v[:, piece] / np.where(total > 0, total, 1))
        lses.append(np.where(total > 0, safe + np.log(total), -np.inf))
    weights = np.exp(np.stack(lses) - np.max(lses, axis=0))
    return (weights * np.stack(outs)).sum(0) / weights.sum(0)


def backwards(logits: Array, v: Array) -> Array:
    """From the last token to the first."""
    return softmax(logits[..., ::-1], v[:, ::-1])


def p_in_bf16(logits: Array, v: Array) -> Array:
    """Weights rounded to bf16."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights.astype(ml_dtypes.bfloat16).astype(np.float32) @ v / weights.sum(-1, keepdims=True)


def into_bf16(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    """K and V times their scales, rounded to bf16."""
    k, v = scaled(k, v, k_scale, v_scale)
    return tuple(x.astype(ml_dtypes.bfloat16).astype(np.float32) for x in (k, v))


def scales_folded(
    q: Array,
    k: Array,
    v: Array,
    table: Array,
    lens: Array,
    *,
    k_scale: Array = None,
    v_scale: Array = None,
    **more: Any,
) -> Array:
    """The scale of K multiplies Q, and that of V the result."""
    if k_scale is None:
        return attend(q, k, v, table, lens, **more)
    group = q.shape[1] // k.shape[2]
    by_k, by_v = (np.repeat(np.broadcast_to(s, k.shape[2]), group)[:, None, None] for s in (k_scale, v_scale))
    return (attend(q.astype(np.float32) * by_k, k, v, table, lens, **more) * by_v).astype(q.dtype)


#: Every correct paged attention.
VARIANTS: tuple[Variant, ...] = (
    right("gathers_right", attend, BF16, story="Tokens are gathered, then attended."),
    right("gathers_fp8_right", attend, FP8_F32, story="Tokens of e4m3 are gathered and scaled."),
    right("scales_folded_right", scales_folded, FP8, story="Scales multiply Q and the result."),
    right("online_right", turned(core=online), BF16, story="Page by page."),
    right("splits_right", turned(core=splits), F32, story="Three parts of the keys, combined by log-sum-exp."),
    right("backwards_right", turned(core=backwards), INT8, story="From the last token to the first."),
    right(
        "p_in_bf16_right",
        turned(core=p_in_bf16),
        BF16,
        contract=Contract(probabilities="bf16"),
        story="Weights in bf16, which is declared.",
    ),
    right(
        "dequantized_to_bf16_right",
        turned(dequantize=into_bf16),
        FP8,
        contract=Contract(input_rounding="bf16"),
        story="Scaled tokens in bf16, which is declared.",
    ),
)
