"""Paged attentions that are wrong in ways seen in the field, each one changed step of `attend`."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.suites.zoo.paged_parts import (
    BF16,
    F32,
    FP8,
    FP8_F32,
    INT8,
    Array,
    attend,
    mask,
    online,
    scaled,
    softmax,
    turned,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty

#: Bits of a page id that `narrow_page_id` keeps.
PAGE_BITS = 16


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
        turned(length=lambda n, s: max(1, int(n[s]) - 1)),
        BF16,
        "lengths",
        story="The last token is not seen.",
    ),
    wrong(
        "F042",
        "longest_for_all",
        turned(length=lambda n, s: int(n.max())),
        BF16,
        "lengths",
        story="Each sequence is as long as the longest.",
    ),
    wrong(
        "F057",
        "row_of_another",
        turned(row=lambda s: max(0, s - 1)),
        BF16,
        "exact",
        story="Each sequence reads the table of the one before.",
    ),
    wrong(
        "F057",
        "table_off_by_one",
        turned(where=table_off_by_one),
        BF16,
        "exact",
        story="The page of the next token is read.",
    ),
    wrong(
        "F057",
        "wrong_block_stride",
        turned(where=wrong_stride),
        BF16,
        "exact",
        story="Pages are a token longer than they are.",
    ),
    wrong(
        "F057",
        "pages_in_order",
        turned(where=pages_in_order),
        BF16,
        "pages",
        story="The pages after the first are taken to follow it.",
    ),
    wrong("F024", "narrow_page_id", turned(where=narrow_page_id), BF16, "pages", story="Page ids are cut to 16 bits."),
    wrong(
        "F055", "k_scale_for_v", turned(dequantize=k_scale_for_v), FP8, "exact", story="The scale of K serves for V."
    ),
    wrong(
        "F055",
        "scale_of_head_0",
        turned(dequantize=first_scale),
        INT8,
        "exact",
        story="The scale of the first head serves all.",
    ),
    wrong(
        "F079", "scale_in_bf16", turned(dequantize=scale_in_bf16), FP8_F32, "bound", story="Scales are rounded to bf16."
    ),
    wrong(
        "F059",
        "no_scale",
        turned(dequantize=lambda k, v, k_scale, v_scale: (k, v)),
        FP8,
        "exact",
        story="The cache is read without its scale.",
    ),
    wrong(
        "F056",
        "heads_interleaved",
        turned(heads=lambda hq, hkv: np.arange(hq) % hkv),
        BF16,
        "heads",
        story="Query head h takes key head h mod hkv.",
    ),
    wrong(
        "F056",
        "first_head_for_all",
        turned(heads=lambda hq, hkv: np.zeros(hq, int)),
        BF16,
        "heads",
        story="All query heads take the first key head.",
    ),
    wrong(
        "F049",
        "no_rescale",
        turned(core=no_rescale),
        BF16,
        "bound",
        story="The result is not rescaled when the maximum grows.",
    ),
    wrong(
        "F053",
        "p_in_e4m3",
        turned(core=p_in_e4m3),
        F32,
        "bound",
        story="Weights are rounded to e4m3, which is not declared.",
    ),
    wrong("F038", "no_softmax_scale", turned(factor=lambda d: 1.0), BF16, "bound", story="Scores are not scaled."),
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
        turned(hide=causal_off),
        BF16,
        "causal",
        story="Each query sees one key after its own.",
    ),
    wrong(
        "F041", "causal_top_left", turned(hide=top_left), BF16, "causal", story="The diagonal begins at the first key."
    ),
    wrong("F043", "window_off_by_one", turned(hide=window_off), BF16, "window", story="The window has one key less."),
)
