"""Attentions that are wrong in ways seen in the field; each is a knob of `attend`, or a few lines around it."""

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
    Knobs,
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


def last_key_seen(keep: Array) -> Array:
    """All but the last key."""
    return np.concatenate([keep[:, :-1], np.zeros_like(keep[:, -1:])], axis=1)


def odd_dimensions(q: Array, k: Array) -> Array:
    """Dimensions beyond the last whole vector of 8 are not read."""
    whole = q.shape[1] // 8 * 8 or q.shape[1]
    return q[:, :whole] @ k[:, :whole].T


def in_f16(q: Array, k: Array) -> Array:
    """Q k^T is stored in f16 before it is scaled."""
    return f32((q @ k.T).astype(np.float16))


def ignores_strides(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """K is read as if it were contiguous."""
    b, h, l, d = (size * k.itemsize for size in (k[0].size, k.shape[2] * k.shape[3], k.shape[3], 1))
    return attend(q, np.lib.stride_tricks.as_strided(k, k.shape, (b, h, l, d)), v, **options)


def tail_unwritten(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Queries beyond the last whole tile of 4 are left as they were."""
    out, lse = attend(q, k, v, **options)
    stale, whole = np.empty_like(out), q.shape[2] // 4 * 4 or q.shape[2]
    stale[:, :, :whole] = out[:, :, :whole]
    return stale, lse


def decode_drops_newest(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """The path of a single query does not see the newest key."""
    return attend(q, k, v, **options, knobs=Knobs(keep=last_key_seen) if q.shape[2] == 1 else Knobs())


def long_drops(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Only of more than 512 keys, one is lost."""
    return attend(q, k, v, **options, knobs=Knobs(keep=last_key_seen) if k.shape[2] > 512 else Knobs())


def changes_inputs(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Q is scaled in place."""
    found = attend(q, k, v, **options)
    q *= q.dtype.type(0.5)
    return found


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


class KeepsScale:
    """The scale of the first call of a shape is used for ever."""

    def __init__(self) -> None:
        self.scales: dict[Any, float | None] = {}

    def __call__(self, q: Array, k: Array, v: Array, *, scale: float | None = None, **options: Any) -> Any:
        return attend(q, k, v, scale=self.scales.setdefault((q.shape, k.shape), scale), **options)


class Remembers:
    """Results are cached by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Any] = {}

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Any:
        key = (q.ctypes.data, k.ctypes.data, q.shape, k.shape, str(options.get("scale")))
        if key not in self.results:
            self.results[key] = attend(q, k, v, **options)
        return tuple(part.copy() for part in self.results[key])


class Wavers:
    """The tiles change from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Any:
        self.calls += 1
        return attend(q, k, v, **options, knobs=Knobs(tile=3 + self.calls % 5))


def varies_with_batch(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Fewer than five queries are summed in other tiles."""
    return attend(q, k, v, **options, knobs=Knobs(tile=7) if q.shape[2] < 5 else Knobs())


#: Every faulty attention; each of its checks sees it.
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
    wrong(
        "F060",
        "sink_not_counted",
        "The sink is in the maximum and not in the sum.",
        turned(sink_counts=False),
        "features",
    ),
    wrong("F037", "softcap_ignored", "There is no softcap.", turned(cap=lambda cap: None), "features"),
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
    wrong(
        "F062",
        "odd_dimensions",
        "Dimensions beyond the last whole vector of 8 are not read.",
        turned(dot=odd_dimensions),
        "tails",
    ),
    wrong("F023", "ignores_strides", None, ignores_strides, "layout"),
    wrong("F008", "tail_unwritten", None, tail_unwritten, "exact"),
    wrong("F027", "decode_drops_newest", None, decode_drops_newest, "decode tails"),
    wrong("F027", "long_drops", None, long_drops, "large"),
    wrong("F094", "changes_inputs", None, changes_inputs, "exact"),
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
    wrong("F063", "keeps_scale", None, KeepsScale, "second_call"),
    wrong("F092", "remembers", None, Remembers, "second_call"),
    wrong("F005", "wavers", None, Wavers, "repeat"),
    wrong("F006", "varies_with_batch", None, varies_with_batch, "slices", batch_invariant=True),
)
