"""Attentions that see other keys, heads or masks than they should; each is a knob of `attend`."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.suites.zoo.attention_parts import BF16, F16, TILE, Array, attend, turned, wrong
from lastbit.suites.zoo.specimen import Faulty


def last_key_seen(keep: Array) -> Array:
    """All but the last key."""
    return np.concatenate([keep[:, :-1], np.zeros_like(keep[:, -1:])], axis=1)


def masks_added(q: Array, k: Array, v: Array, *, causal: bool = False, mask: Array = None, **options: Any) -> Any:
    """Both masks are lowest numbers and are added: twice that is -inf, and of a row of those NaN is left."""
    out, lse = attend(q, k, v, causal=causal, mask=mask, **options)
    if causal and mask is not None:
        lowest = ml_dtypes.finfo(q.dtype).min
        ahead = np.arange(k.shape[2]) > np.arange(q.shape[2])[:, None] + k.shape[2] - q.shape[2]
        hidden = ~mask if mask.dtype == bool else mask == -np.inf
        with np.errstate(over="ignore"):
            added = np.where(ahead, lowest, 0).astype(q.dtype) + np.where(hidden, lowest, 0).astype(q.dtype)
        lost = np.broadcast_to((added == -np.inf).all(-1), lse.shape)
        out[lost], lse[lost] = np.nan, np.nan
    return out, lse


#: Every attention that sees the wrong keys; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    wrong("F007", "last_key_dropped", "The last key is not seen.", turned(keep=last_key_seen), "exact tails bound"),
    wrong(
        "F042",
        "phantom_keys",
        "Keys that fill the last tile count with a score of zero.",
        turned(tile=TILE, phantom=True),
        "bound",
    ),
    wrong("F040", "diagonal_plus_one", "Each query sees one key after its own.", turned(diagonal=1), "masks"),
    wrong("F040", "diagonal_minus_one", "Each query misses its own key.", turned(diagonal=-1), "masks"),
    wrong(
        "F041",
        "aligned_top_left",
        "The diagonal begins at the first key where it is to end at the last.",
        turned(shift=0),
        "masks",
    ),
    wrong(
        "F041",
        "aligned_bottom_right",
        "The diagonal ends at the last key where it is to begin at the first.",
        attend,
        "masks",
        causal_alignment="top-left",
    ),
    wrong(
        "F043", "window_too_wide", "The window has one key more.", turned(window=lambda w: (w[0] + 1, w[1])), "masks"
    ),
    wrong(
        "F043", "window_too_narrow", "The window has one key less.", turned(window=lambda w: (w[0] - 1, w[1])), "masks"
    ),
    wrong(
        "F043",
        "window_swapped",
        "Left and right of the window are exchanged.",
        turned(window=lambda w: w[::-1]),
        "masks",
    ),
    wrong("F043", "window_ignored", "There is no window.", turned(window=lambda w: (-1, -1)), "masks masked_values"),
    wrong(
        "F056",
        "heads_modulo",
        "Query head h takes key head h mod hkv.",
        turned(head=lambda h, hq, hkv: h % hkv),
        "exact features",
    ),
    wrong(
        "F056",
        "heads_divided",
        "Query head h takes key head h div hkv.",
        turned(head=lambda h, hq, hkv: min(h // hkv, hkv - 1)),
        "exact features",
    ),
    wrong(
        "F048",
        "masked_nan_leaks",
        "Masked keys are multiplied by a weight of zero, NaN and all.",
        turned(ignore=False),
        "masked_values special",
    ),
    wrong(
        "F047",
        "empty_row_nan",
        "A query that sees no key gets NaN where zeros are promised.",
        turned(empty=np.nan),
        "masks",
    ),
    wrong(
        "F047", "empty_row_mean", "A query that sees no key gets the mean of the values.", turned(empty=None), "masks"
    ),
    wrong(
        "F047",
        "empty_row_zero",
        "A query that sees no key gets zeros where NaN is promised.",
        attend,
        "masks",
        masked_row="nan",
    ),
    wrong(
        "F060",
        "sink_not_counted",
        "The sink is in the maximum and not in the sum.",
        turned(sink_counts=False),
        "features",
    ),
    wrong(
        "F046",
        "bias_of_first_head",
        "The bias of the first head serves all.",
        turned(bias=lambda bias: np.repeat(bias[:, :1], bias.shape[1], 1)),
        "features",
    ),
    wrong(
        "F044",
        "mask_inverted",
        "True masks where it is to keep.",
        turned(mask=lambda mask: ~mask if mask.dtype == bool else mask),
        "masks",
    ),
    wrong(
        "F046",
        "mask_of_first_batch",
        "The mask of the first batch entry serves all.",
        turned(mask=lambda mask: np.repeat(mask[:1], mask.shape[0], 0)),
        "masks",
    ),
    wrong(
        "F022",
        "mask_transposed",
        "The mask's rows are read from the last to the first.",
        turned(mask=lambda mask: mask[:, :, ::-1]),
        "masks",
    ),
    *(
        wrong(
            "F045",
            "masks_added",
            "The causal and the other mask, lowest numbers both, are added.",
            masks_added,
            "masks",
            formats,
        )
        for formats in (F16, BF16)
    ),
)
