"""The rules of Transformers' quantized caches in plain NumPy: what an update returns, and how far from the tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Floats = NDArray[np.float64]
#: Tokens of shape (batch, heads, tokens, size) as they are stored, and the largest error that the rule allows each.
Stored = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Returned:
    """What a cache returns for one update, and the largest difference of each element from the token put in."""

    values: Floats
    error: Floats


def affine(x: Floats, fmt: str, bits: int, group: int) -> Stored:
    """Codes of 0 to 2^bits - 1 times a scale, above the smallest of their group, and back.

    Groups are `group` elements in memory order, at least two of them, none of one value alone. Every operation is
    rounded to `fmt`. Error: half a step, half of which each rounding of the scale may add at the ends of the range, and
    the roundings of what is added and taken off. Source: optimum.quanto's MaxOptimizer, quantize_affine and
    QBitsDequantizer, called by QuantoQuantizedLayer.
    """
    number = Format.of(fmt)
    rows, most = x.reshape(-1, group), 2**bits - 1
    low, high = rows.min(1, keepdims=True), rows.max(1, keepdims=True)
    scale = number.round(number.round(high - low) / most)
    codes = np.clip(np.rint(number.round(number.round(rows - low) / scale)), 0, most)
    back = number.round(number.round(codes * scale) + low)
    u, span = number.u, high - low
    # (x - low) / scale is rounded twice, and clipped where the scale was rounded down: span - most * scale <= 2 u span.
    # Then the product and the sum are rounded: u span (1 + u)^k and u |x|. (1 + 8 u) covers what is second order.
    error = (scale / 2 + 5 * u * span + u * (np.abs(low) + span)) * (1 + 8 * u)
    return back.reshape(x.shape), np.broadcast_to(error, rows.shape).reshape(x.shape)


def in_groups(chunks: Sequence[Floats], fmt: str, *, bits: int, group: int, residual: int) -> list[Returned]:
    """What a QuantizedLayer returns for each chunk of tokens: stored ones, the latest as they are, and the new ones.

    All are quantized anew, with what the first time lost, once `residual` tokens or more are not. The first chunk is
    returned as it is. Source: transformers.cache_utils.QuantizedLayer.update.
    """
    found = [Returned(chunks[0], np.zeros(chunks[0].shape))]
    stored, lost = affine(chunks[0], fmt, bits, group)
    latest = chunks[0][:, :, :0]
    for new in chunks[1:]:
        fresh = np.concatenate([latest, new], 2)
        whole = np.concatenate([stored, fresh], 2)
        error = np.concatenate([lost, np.zeros(fresh.shape)], 2)
        found.append(Returned(whole, error))
        if fresh.shape[2] >= residual:
            stored, more = affine(whole, fmt, bits, group)
            lost, latest = error + more, fresh[:, :, :0]
        else:
            latest = fresh
    return found


def in_fp8(chunks: Sequence[Floats], fmt: str) -> list[Returned]:
    """What an Fp8QuantizedLayer returns: e4m3 codes by a scale that the first chunk sets and that stays.

    Larger tokens saturate. The first chunk is returned as it is. Source: transformers.cache_utils.Fp8QuantizedLayer.
    """
    wide, narrow, own = Format.of("f32"), Format.of("e4m3fn"), Format.of(fmt)
    scale = max(float(wide.round(np.abs(chunks[0]).max() / narrow.max)), wide.min_normal)
    found = [Returned(chunks[0], np.zeros(chunks[0].shape))]
    for count in range(2, len(chunks) + 1):
        x = np.concatenate(chunks[:count], 2)
        inside = wide.round(x / scale)
        back = own.round(wide.round(narrow.round(inside, overflow="saturate") * scale))
        # The quotient's rounding, e4m3's, that of the product and of the cache's format; and what is cut off.
        u = own.u + 2 * wide.u
        cut = np.maximum(np.abs(inside) - narrow.max, 0.0) * scale
        error = narrow.u * np.abs(x) + narrow.eta / 2 * scale + cut + u * np.abs(x) * (1 + narrow.u)
        found.append(Returned(back, error * (1 + 8 * u)))
    return found


def moved(q: Floats, k: Floats, v: Floats, dk: Floats, dv: Floats, scale: float) -> Floats:
    """How far attention's exact result, (heads, queries, size), can move when k and v do by dk and dv, elementwise.

    q (hq, m, d), k and v (hkv, n, d), queries being the last tokens. A logit moves by at most e = scale |q| . dk, so a
    weight by a factor within exp(-e - max e) and exp(e + max e); a sum of weights times V - O moves as the weights do.
    Source: numerics, attention forward, last item, without its first-order approximation.
    """
    found = []
    for head in range(q.shape[0]):
        own = head // (q.shape[0] // k.shape[0])
        logits = scale * q[head] @ k[own].T
        m, n = logits.shape
        keep = np.arange(n) <= np.arange(n - m, n)[:, None]
        weights = np.where(keep, np.exp(logits - np.where(keep, logits, -np.inf).max(1, keepdims=True)), 0.0)
        weights /= weights.sum(1, keepdims=True)
        drift = np.where(keep, scale * np.abs(q[head]) @ dk[own].T, 0.0)
        drift = drift + drift.max(1, keepdims=True)
        out = weights @ v[own]
        away = np.abs(v[own][None] - out[:, None])
        found.append(np.einsum("mn,mnd->md", weights * np.expm1(drift), away) + (weights * np.exp(drift)) @ dv[own])
    return np.stack(found)
