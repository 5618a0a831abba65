"""What the right and the wrong paged attentions of the zoo are made of: `attend`, whose every step can be replaced."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.specimen import Faulty, Variant, faulty, maker, variant

Array = Any


def places(table: Array, length: int, block: int, pages: int) -> Array:
    """Flat places of a sequence's tokens, in order."""
    tokens = np.arange(length)
    return table[tokens // block].astype(np.int64) * block + tokens % block


def gathered(cache: Array, flat: Array) -> Array:
    """The tokens at these places, (h, n, d) in f32."""
    return cache.reshape(-1, *cache.shape[2:])[flat].astype(np.float32).swapaxes(0, 1)


def softmax(logits: Array, v: Array) -> Array:
    """(h, lq, n), (h, n, dv): rows of f32."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights @ v / weights.sum(-1, keepdims=True)


def mask(lq: int, lk: int, causal: bool, window: Any) -> Array:
    """The keys that each query does not see."""
    ahead = np.arange(lk) - np.arange(lq)[:, None] - (lk - lq)
    hidden = (ahead > 0) & causal
    if window is not None:
        hidden |= (ahead < -window[0]) & (window[0] >= 0) | (ahead > window[1]) & (window[1] >= 0)
    return hidden


def scaled(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    """K and V times their scales."""
    if k_scale is None:
        return k, v
    return k * k_scale[:, None, None], v * v_scale[:, None, None]


def attend(
    q: Array,
    k_cache: Array,
    v_cache: Array,
    block_table: Array,
    seq_lens: Array,
    *,
    k_scale: Array = None,
    v_scale: Array = None,
    causal: bool = False,
    window: Any = None,
    where: Callable[..., Array] = places,
    length: Callable[[Array, int], int] = lambda lens, s: int(lens[s]),
    row: Callable[[int], int] = lambda s: s,
    dequantize: Callable[..., tuple[Array, Array]] = scaled,
    heads: Callable[[int, int], Array] = lambda hq, hkv: np.arange(hq) // (hq // hkv),
    hide: Callable[..., Array] = mask,
    core: Callable[[Array, Array], Array] = softmax,
    factor: Callable[[int], float] = lambda d: d**-0.5,
) -> Array:
    """f32 attention of each sequence over its gathered tokens; every step can be replaced."""
    pages, block, hkv = k_cache.shape[:3]
    out = np.zeros((*q.shape[:3], v_cache.shape[3]), q.dtype)
    for s in range(q.shape[0]):
        flat = where(block_table[row(s)], length(seq_lens, s), block, pages)
        k, v = dequantize(gathered(k_cache, flat), gathered(v_cache, flat), k_scale, v_scale)
        of = heads(q.shape[1], hkv)
        logits = q[s].astype(np.float32) @ k[of].swapaxes(1, 2) * np.float32(factor(q.shape[3]))
        logits = np.where(hide(q.shape[2], len(flat), causal, window), -np.inf, logits)
        with np.errstate(all="ignore"):
            out[s] = core(logits, v[of]).astype(q.dtype)
    return out


def turned(**steps: Any) -> Callable[..., Array]:
    """`attend` with other steps."""
    return partial(attend, **steps)


BF16 = {"q": "bf16", "k_cache": "bf16", "v_cache": "bf16", "out": "bf16"}
F32 = {"q": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}
FP8 = {"q": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "bf16"}
FP8_F32 = {"q": "f32", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "f32"}
INT8 = {"q": "bf16", "k_cache": "i8", "v_cache": "i8", "out": "bf16"}
PLAIN = Contract()
FEATURES = frozenset({"gqa", "causal", "window", "scales", "head_scales"})


def online(logits: Array, v: Array, page: int = 8, *, shrink_result: bool = True) -> Array:
    """Page by page, with a running maximum."""
    top = np.full((*logits.shape[:2], 1), -np.inf, np.float32)
    total, result = np.zeros_like(top), np.zeros((*logits.shape[:2], v.shape[-1]), np.float32)
    for start in range(0, logits.shape[-1], page):
        part = logits[..., start : start + page]
        new = np.maximum(top, part.max(-1, keepdims=True))
        safe = np.where(np.isfinite(new), new, 0)
        weights, shrink = np.exp(part - safe), np.exp(np.where(np.isfinite(top), top - safe, -np.inf))
        total = total * shrink + weights.sum(-1, keepdims=True)
        result = result * (shrink if shrink_result else 1) + weights @ v[:, start : start + page]
        top = new
    return result / total


def wrong(fault: str, name: str, run: Callable[..., Any], formats: dict[str, str], *checks: str, story: str) -> Faulty:
    """`run` as a faulty kernel of class `fault`."""
    known = f"paged_attention-{name}-{formats['k_cache']}"
    return faulty(
        fault, "paged_attention", maker(run), formats, PLAIN, checks, name=known, story=story, features=FEATURES
    )


def right(
    name: str, run: Callable[..., Any], formats: dict[str, str], *, story: str, contract: Contract = PLAIN
) -> Variant:
    """`run` as a kernel that keeps its contract."""
    known = f"paged_attention-{name}-{formats['k_cache']}"
    return variant("paged_attention", maker(run), formats, contract, name=known, story=story, features=FEATURES)
