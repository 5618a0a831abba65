"""Paged attentions and KV appends that are wrong in ways seen in the field, and others that differ and are right.

All on numpy arrays. Each fault is one changed step of `attend` or `store`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel

Array = Any
#: Bits of a page id that `narrow_page_id` keeps.
PAGE_BITS = 16


def places(table: Array, length: int, block: int, pages: int) -> Array:
    """Flat places of a sequence's tokens, in order."""
    tokens = np.arange(length)
    return table[tokens // block].astype(np.int64) * block + tokens % block


def gathered(cache: Array, flat: Array) -> Array:
    return cache.reshape(-1, *cache.shape[2:])[flat].astype(np.float32).swapaxes(0, 1)


def softmax(logits: Array, v: Array) -> Array:
    """(h, lq, n), (h, n, dv): rows of f32."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights @ v / weights.sum(-1, keepdims=True)


def mask(lq: int, lk: int, causal: bool, window: Any) -> Array:
    ahead = np.arange(lk) - np.arange(lq)[:, None] - (lk - lq)
    hidden = (ahead > 0) & causal
    if window is not None:
        hidden |= (ahead < -window[0]) & (window[0] >= 0)
    return hidden


def scaled(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
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


# Faults of attention -----------------------------------------------------------------------------------------------


def whole_pages(lens: Array, s: int, block: int = 8) -> int:
    """The last page is read to its end."""
    return -(-int(lens[s]) // block) * block


def reads_past_length(q: Array, k: Array, v: Array, table: Array, lens: Array, **keywords: Any) -> Array:
    block = k.shape[1]
    return attend(q, k, v, table, lens, length=lambda lens, s: -(-int(lens[s]) // block) * block, **keywords)


def counts_past_length(q: Array, k: Array, v: Array, table: Array, lens: Array, **keywords: Any) -> Array:
    """Tokens past the end weigh nothing in P V, but exp(0 - max) in the sum."""

    def core(logits: Array, values: Array) -> Array:
        top = logits.max(-1, keepdims=True)
        weights = np.exp(logits - top)
        rest = -logits.shape[-1] % k.shape[1]
        return weights @ values / (weights.sum(-1, keepdims=True) + rest * np.exp(-np.maximum(top, 0)))

    return attend(q, k, v, table, lens, core=core, **keywords)


def table_off_by_one(table: Array, length: int, block: int, pages: int) -> Array:
    tokens = np.arange(length)
    return table[(tokens + 1) // block].astype(np.int64) * block + tokens % block


def wrong_stride(table: Array, length: int, block: int, pages: int) -> Array:
    tokens = np.arange(length)
    return (table[tokens // block].astype(np.int64) * (block + 1) + tokens % block) % (pages * block)


def narrow_page_id(table: Array, length: int, block: int, pages: int) -> Array:
    tokens = np.arange(length)
    return (table[tokens // block].astype(np.int64) & (2**PAGE_BITS - 1)) * block + tokens % block


def pages_in_order(table: Array, length: int, block: int, pages: int) -> Array:
    """The pages after the first are taken to follow it."""
    return (int(table[0]) * block + np.arange(length)) % (pages * block)


def k_scale_for_v(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    return scaled(k, v, k_scale, k_scale)


def first_scale(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    return (k, v) if k_scale is None else scaled(k, v, k_scale[:1], v_scale[:1])


def scale_in_bf16(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    if k_scale is None:
        return k, v
    return scaled(k, v, *(s.astype(ml_dtypes.bfloat16).astype(np.float32) for s in (k_scale, v_scale)))


def no_scale(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    return k, v


def no_rescale(logits: Array, v: Array, page: int = 8) -> Array:
    """An online softmax that forgets to shrink the result when the maximum rises."""
    return online(logits, v, page, shrink_result=False)


def p_in_e4m3(logits: Array, v: Array) -> Array:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights.astype(ml_dtypes.float8_e4m3fn).astype(np.float32) @ v / weights.sum(-1, keepdims=True)


def leaks_unused(q: Array, k: Array, v: Array, table: Array, lens: Array, **keywords: Any) -> Array:
    """The rest of the last page is masked in the logits, and multiplied by a weight of zero in P V."""
    block = k.shape[1]
    given = {s: int(n) for s, n in enumerate(lens)}
    current = iter(range(q.shape[0]))

    def core(logits: Array, values: Array) -> Array:
        seen = np.arange(logits.shape[-1]) < given[next(current)]
        return softmax(np.where(seen, logits, -np.inf), values)

    return attend(q, k, v, table, lens, length=lambda lens, s: -(-int(lens[s]) // block) * block, core=core, **keywords)


_tables: dict[Any, Array] = {}


def remembers_table(q: Array, k: Array, v: Array, table: Array, lens: Array, **keywords: Any) -> Array:
    """A plan is kept by the table's address and shape."""
    kept = _tables.setdefault((table.ctypes.data, table.shape, k.shape), table.copy())
    return attend(q, k, v, kept, lens, **keywords)


def causal_off(lq: int, lk: int, causal: bool, window: Any) -> Array:
    return mask(lq, lk, False, window) | ((np.arange(lk) - np.arange(lq)[:, None] - (lk - lq) > 1) & causal)


def top_left(lq: int, lk: int, causal: bool, window: Any) -> Array:
    return mask(lq, lk, False, window) | ((np.arange(lk) > np.arange(lq)[:, None]) & causal & (lq > 1))


def window_off(lq: int, lk: int, causal: bool, window: Any) -> Array:
    return mask(lq, lk, causal, None if window is None else (window[0] - 1, window[1]))


def _attention(**steps: Any) -> Callable[..., Array]:
    return partial(attend, **steps)


BF16 = {"q": "bf16", "k_cache": "bf16", "v_cache": "bf16", "out": "bf16"}
F32 = {"q": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}
FP8 = {"q": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "bf16"}
FP8_F32 = {"q": "f32", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "f32"}
INT8 = {"q": "bf16", "k_cache": "i8", "v_cache": "i8", "out": "bf16"}
PLAIN = Contract()

#: (name, run, formats, contract, checks one of which must fail).
ATTENTION_FAULTS: tuple[tuple[str, Callable[..., Array], dict[str, str], Contract, frozenset[str]], ...] = (
    ("reads-past-length", reads_past_length, BF16, PLAIN, frozenset({"exact", "lengths"})),
    ("counts-past-length", counts_past_length, BF16, PLAIN, frozenset({"exact", "lengths"})),
    ("drops-last-token", _attention(length=lambda n, s: max(1, int(n[s]) - 1)), BF16, PLAIN, frozenset({"lengths"})),
    ("longest-for-all", _attention(length=lambda n, s: int(n.max())), BF16, PLAIN, frozenset({"lengths"})),
    ("row-of-another", _attention(row=lambda s: max(0, s - 1)), BF16, PLAIN, frozenset({"exact"})),
    ("table-off-by-one", _attention(where=table_off_by_one), BF16, PLAIN, frozenset({"exact"})),
    ("wrong-block-stride", _attention(where=wrong_stride), BF16, PLAIN, frozenset({"exact"})),
    ("pages-in-order", _attention(where=pages_in_order), BF16, PLAIN, frozenset({"pages"})),
    ("narrow-page-id", _attention(where=narrow_page_id), BF16, PLAIN, frozenset({"pages"})),
    ("k-scale-for-v", _attention(dequantize=k_scale_for_v), FP8, PLAIN, frozenset({"exact"})),
    ("scale-of-head-0", _attention(dequantize=first_scale), INT8, PLAIN, frozenset({"exact"})),
    ("scale-in-bf16", _attention(dequantize=scale_in_bf16), FP8_F32, PLAIN, frozenset({"bound"})),
    ("no-scale", _attention(dequantize=no_scale), FP8, PLAIN, frozenset({"exact"})),
    ("heads-interleaved", _attention(heads=lambda hq, hkv: np.arange(hq) % hkv), BF16, PLAIN, frozenset({"heads"})),
    ("first-head-for-all", _attention(heads=lambda hq, hkv: np.zeros(hq, int)), BF16, PLAIN, frozenset({"heads"})),
    ("no-rescale", _attention(core=no_rescale), BF16, PLAIN, frozenset({"bound"})),
    ("p-in-e4m3", _attention(core=p_in_e4m3), F32, PLAIN, frozenset({"bound"})),
    ("no-softmax-scale", _attention(factor=lambda d: 1.0), BF16, PLAIN, frozenset({"bound"})),
    ("leaks-unused", leaks_unused, BF16, PLAIN, frozenset({"unused"})),
    ("remembers-table", remembers_table, BF16, PLAIN, frozenset({"second_call"})),
    ("causal-off-by-one", _attention(hide=causal_off), BF16, PLAIN, frozenset({"causal"})),
    ("causal-top-left", _attention(hide=top_left), BF16, PLAIN, frozenset({"causal"})),
    ("window-off-by-one", _attention(hide=window_off), BF16, PLAIN, frozenset({"window"})),
)


# Right attentions that differ ---------------------------------------------------------------------------------------


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
    return softmax(logits[..., ::-1], v[:, ::-1])


def p_in_bf16(logits: Array, v: Array) -> Array:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights.astype(ml_dtypes.bfloat16).astype(np.float32) @ v / weights.sum(-1, keepdims=True)


def into_bf16(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    k, v = scaled(k, v, k_scale, v_scale)
    return tuple(x.astype(ml_dtypes.bfloat16).astype(np.float32) for x in (k, v))


ATTENTION_CORRECT: tuple[tuple[str, Callable[..., Array], dict[str, str], Contract], ...] = (
    ("gathers", attend, BF16, PLAIN),
    ("gathers-f32", attend, F32, PLAIN),
    ("gathers-fp8", attend, FP8_F32, PLAIN),
    ("online", _attention(core=online), BF16, PLAIN),
    ("splits", _attention(core=splits), F32, PLAIN),
    ("backwards", _attention(core=backwards), INT8, PLAIN),
    ("p-in-bf16", _attention(core=p_in_bf16), BF16, Contract(probabilities="bf16")),
    ("dequantized-to-bf16", _attention(dequantize=into_bf16), FP8, Contract(input_rounding="bf16")),
)


def attention_kernel(name: str, run: Callable[..., Array], formats: dict[str, str], contract: Contract) -> Kernel:
    features = frozenset({"gqa", "causal", "window", "scales", "head_scales"})
    return Kernel(f"zoo/{name}", "paged_attention", run, formats, contract, "numpy", ("cpu",), features)
