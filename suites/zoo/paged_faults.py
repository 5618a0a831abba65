"""Paged attentions that are wrong in ways seen in the field, each one changed step of `attend`, and right ones."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.zoo import specimen
from lastbit.suites.zoo.specimen import Faulty, Variant, maker

Array = Any
#: Bits of a page id that `narrow_page_id` keeps.
PAGE_BITS = 16


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
        hidden |= (ahead < -window[0]) & (window[0] >= 0)
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


# Faults of attention -----------------------------------------------------------------------------------------------


def whole_pages(lens: Array, s: int, block: int = 8) -> int:
    """The last page is read to its end."""
    return -(-int(lens[s]) // block) * block


def reads_past_length(q: Array, k: Array, v: Array, table: Array, lens: Array, **keywords: Any) -> Array:
    """The last page is read to its end."""
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
    """The page of the next token."""
    tokens = np.arange(length)
    return table[(tokens + 1) // block].astype(np.int64) * block + tokens % block


def wrong_stride(table: Array, length: int, block: int, pages: int) -> Array:
    """Pages a token longer than they are."""
    tokens = np.arange(length)
    return (table[tokens // block].astype(np.int64) * (block + 1) + tokens % block) % (pages * block)


def narrow_page_id(table: Array, length: int, block: int, pages: int) -> Array:
    """Page ids cut to 16 bits."""
    tokens = np.arange(length)
    return (table[tokens // block].astype(np.int64) & (2**PAGE_BITS - 1)) * block + tokens % block


def pages_in_order(table: Array, length: int, block: int, pages: int) -> Array:
    """The pages after the first are taken to follow it."""
    return (int(table[0]) * block + np.arange(length)) % (pages * block)


def k_scale_for_v(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    """The scale of K for both."""
    return scaled(k, v, k_scale, k_scale)


def first_scale(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    """The scale of the first head for all."""
    return (k, v) if k_scale is None else scaled(k, v, k_scale[:1], v_scale[:1])


def scale_in_bf16(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    """Scales rounded to bf16."""
    if k_scale is None:
        return k, v
    return scaled(k, v, *(s.astype(ml_dtypes.bfloat16).astype(np.float32) for s in (k_scale, v_scale)))


def no_scale(k: Array, v: Array, k_scale: Array, v_scale: Array) -> tuple[Array, Array]:
    """No scale."""
    return k, v


def no_rescale(logits: Array, v: Array, page: int = 8) -> Array:
    """An online softmax that forgets to shrink the result when the maximum rises."""
    return online(logits, v, page, shrink_result=False)


def p_in_e4m3(logits: Array, v: Array) -> Array:
    """Weights rounded to e4m3."""
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


class RemembersTable:
    """A plan is kept by the table's address and shape."""

    def __init__(self) -> None:
        self.tables: dict[Any, Array] = {}

    def __call__(self, q: Array, k: Array, v: Array, table: Array, lens: Array, **keywords: Any) -> Array:
        kept = self.tables.setdefault((table.ctypes.data, table.shape, k.shape), table.copy())
        return attend(q, k, v, kept, lens, **keywords)


def causal_off(lq: int, lk: int, causal: bool, window: Any) -> Array:
    """One key after the query's own is seen."""
    return mask(lq, lk, False, window) | ((np.arange(lk) - np.arange(lq)[:, None] - (lk - lq) > 1) & causal)


def top_left(lq: int, lk: int, causal: bool, window: Any) -> Array:
    """The diagonal from the first key."""
    return mask(lq, lk, False, window) | ((np.arange(lk) > np.arange(lq)[:, None]) & causal & (lq > 1))


def window_off(lq: int, lk: int, causal: bool, window: Any) -> Array:
    """A window with one key less."""
    return mask(lq, lk, causal, None if window is None else (window[0] - 1, window[1]))


def _attention(**steps: Any) -> Callable[..., Array]:
    return partial(attend, **steps)


BF16 = {"q": "bf16", "k_cache": "bf16", "v_cache": "bf16", "out": "bf16"}
F32 = {"q": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}
FP8 = {"q": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "bf16"}
FP8_F32 = {"q": "f32", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "f32"}
INT8 = {"q": "bf16", "k_cache": "i8", "v_cache": "i8", "out": "bf16"}
PLAIN = Contract()


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


def kernel(name: str, run: Callable[..., Array], formats: dict[str, str], contract: Contract) -> Kernel:
    """A paged attention of the zoo."""
    features = frozenset({"gqa", "causal", "window", "scales", "head_scales"})
    return specimen.kernel(name, "paged_attention", run, formats, contract, features=features)


def wrong(fault: str, name: str, run: Callable[..., Any], formats: dict[str, str], *checks: str, story: str) -> Faulty:
    """`run` as a faulty kernel of class `fault`."""
    known, making = f"paged_attention-{name}-{formats['k_cache']}", maker(run)
    return Faulty(known, lambda: kernel(known, making(), formats, PLAIN), fault, story, frozenset(checks))


def right(
    name: str, run: Callable[..., Any], formats: dict[str, str], *, story: str, contract: Contract = PLAIN
) -> Variant:
    """`run` as a kernel that keeps its contract."""
    known, making = f"paged_attention-{name}-{formats['k_cache']}", maker(run)
    return Variant(known, lambda: kernel(known, making(), formats, contract), story)


#: Every faulty paged attention.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F048",
        "reads_past_length",
        reads_past_length,
        BF16,
        "exact",
        "lengths",
        story="The last page is read to its end.",
    ),
    wrong(
        "F042",
        "counts_past_length",
        counts_past_length,
        BF16,
        "exact",
        "lengths",
        story="Tokens past the end count in the sum of weights.",
    ),
    wrong(
        "F007",
        "drops_last_token",
        _attention(length=lambda n, s: max(1, int(n[s]) - 1)),
        BF16,
        "lengths",
        story="The last token is not seen.",
    ),
    wrong(
        "F042",
        "longest_for_all",
        _attention(length=lambda n, s: int(n.max())),
        BF16,
        "lengths",
        story="Each sequence is as long as the longest.",
    ),
    wrong(
        "F057",
        "row_of_another",
        _attention(row=lambda s: max(0, s - 1)),
        BF16,
        "exact",
        story="Each sequence reads the table of the one before.",
    ),
    wrong(
        "F057",
        "table_off_by_one",
        _attention(where=table_off_by_one),
        BF16,
        "exact",
        story="The page of the next token is read.",
    ),
    wrong(
        "F057",
        "wrong_block_stride",
        _attention(where=wrong_stride),
        BF16,
        "exact",
        story="Pages are a token longer than they are.",
    ),
    wrong(
        "F057",
        "pages_in_order",
        _attention(where=pages_in_order),
        BF16,
        "pages",
        story="The pages after the first are taken to follow it.",
    ),
    wrong(
        "F024", "narrow_page_id", _attention(where=narrow_page_id), BF16, "pages", story="Page ids are cut to 16 bits."
    ),
    wrong(
        "F055",
        "k_scale_for_v",
        _attention(dequantize=k_scale_for_v),
        FP8,
        "exact",
        story="The scale of K serves for V.",
    ),
    wrong(
        "F055",
        "scale_of_head_0",
        _attention(dequantize=first_scale),
        INT8,
        "exact",
        story="The scale of the first head serves all.",
    ),
    wrong(
        "F079",
        "scale_in_bf16",
        _attention(dequantize=scale_in_bf16),
        FP8_F32,
        "bound",
        story="Scales are rounded to bf16.",
    ),
    wrong(
        "F059", "no_scale", _attention(dequantize=no_scale), FP8, "exact", story="The cache is read without its scale."
    ),
    wrong(
        "F056",
        "heads_interleaved",
        _attention(heads=lambda hq, hkv: np.arange(hq) % hkv),
        BF16,
        "heads",
        story="Query head h takes key head h mod hkv.",
    ),
    wrong(
        "F056",
        "first_head_for_all",
        _attention(heads=lambda hq, hkv: np.zeros(hq, int)),
        BF16,
        "heads",
        story="All query heads take the first key head.",
    ),
    wrong(
        "F049",
        "no_rescale",
        _attention(core=no_rescale),
        BF16,
        "bound",
        story="The result is not rescaled when the maximum grows.",
    ),
    wrong(
        "F053",
        "p_in_e4m3",
        _attention(core=p_in_e4m3),
        F32,
        "bound",
        story="Weights are rounded to e4m3, which is not declared.",
    ),
    wrong("F038", "no_softmax_scale", _attention(factor=lambda d: 1.0), BF16, "bound", story="Scores are not scaled."),
    wrong(
        "F048",
        "leaks_unused",
        leaks_unused,
        BF16,
        "unused",
        story="The rest of the last page is multiplied by a weight of zero, NaN and all.",
    ),
    wrong(
        "F057",
        "remembers_table",
        RemembersTable,
        BF16,
        "second_call",
        story="A plan is kept by the table's address and shape.",
    ),
    wrong(
        "F040",
        "causal_off_by_one",
        _attention(hide=causal_off),
        BF16,
        "causal",
        story="Each query sees one key after its own.",
    ),
    wrong(
        "F041",
        "causal_top_left",
        _attention(hide=top_left),
        BF16,
        "causal",
        story="The diagonal begins at the first key.",
    ),
    wrong(
        "F043", "window_off_by_one", _attention(hide=window_off), BF16, "window", story="The window has one key less."
    ),
)


#: Every correct paged attention.
VARIANTS: tuple[Variant, ...] = (
    right("gathers_right", attend, BF16, story="Tokens are gathered, then attended."),
    right("gathers_f32_right", attend, F32, story="Tokens of f32 are gathered."),
    right("gathers_fp8_right", attend, FP8_F32, story="Tokens of e4m3 are gathered and scaled."),
    right("online_right", _attention(core=online), BF16, story="Page by page."),
    right("splits_right", _attention(core=splits), F32, story="Three parts of the keys, combined by log-sum-exp."),
    right("backwards_right", _attention(core=backwards), INT8, story="From the last token to the first."),
    right(
        "p_in_bf16_right",
        _attention(core=p_in_bf16),
        BF16,
        contract=Contract(probabilities="bf16"),
        story="Weights in bf16, which is declared.",
    ),
    right(
        "dequantized_to_bf16_right",
        _attention(dequantize=into_bf16),
        FP8,
        contract=Contract(input_rounding="bf16"),
        story="Scaled tokens in bf16, which is declared.",
    ),
)
