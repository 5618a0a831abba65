"""Backward passes of attention that are wrong in ways seen in the field; each is a knob of `attend`, or a few lines."""

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.suites.zoo import attention_parts
from lastbit.suites.zoo.attention_parts import BF16, F16, Array, bf16, through
from lastbit.suites.zoo.gradient_parts import FEATURES, attend, turned
from lastbit.suites.zoo.specimen import Faulty


def by_rounded(grad_out: Array, out: Array, p: Array, dp: Array) -> Array:
    """D from a result that was rounded to bf16, although the kernel promises f32."""
    return (grad_out * bf16(out)).sum(1)


def atomics_lost(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """One addition in a hundred to dq is lost, as a race loses it."""
    found = attend(q, k, v, **options)
    if options.get("grad_out") is not None:
        flat = found[2].reshape(-1)
        flat[7::100] *= found[2].dtype.type(0.5)
    return found


def upstream_by_stride(q: Array, k: Array, v: Array, *, grad_out: Array = None, **options: Any) -> Any:
    """grad_out is read as if it were contiguous."""
    if grad_out is None:
        return attend(q, k, v, **options)
    b, h, l, d = (size * grad_out.itemsize for size in np.cumprod([1, *grad_out.shape[:0:-1]])[::-1])
    return attend(q, k, v, grad_out=np.lib.stride_tricks.as_strided(grad_out, grad_out.shape, (b, h, l, d)), **options)


def upstream_of_first_head(q: Array, k: Array, v: Array, *, grad_out: Array = None, **options: Any) -> Any:
    """The gradient of the first head serves all."""
    if grad_out is not None:
        grad_out = np.repeat(grad_out[:, :1], grad_out.shape[1], 1)
    return attend(q, k, v, grad_out=grad_out, **options)


def zero_for_nan(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """NaN among the gradients is made zero."""
    out, lse, *gradients = attend(q, k, v, **options)
    return out, lse, *(np.where(np.isnan(one), one.dtype.type(0), one) for one in gradients)


class Remembers:
    """The second call gets the gradients of the first where q, k and v are at the same addresses."""

    def __init__(self) -> None:
        self.gradients: dict[Any, Any] = {}

    def __call__(self, q: Array, k: Array, v: Array, *, grad_out: Array = None, **options: Any) -> Any:
        out, lse, *found = attend(q, k, v, grad_out=grad_out, **options)
        if grad_out is None:
            return out, lse
        key = (q.ctypes.data, k.ctypes.data, q.shape, k.shape, q.tobytes())
        kept = self.gradients.setdefault(key, found)
        return out, lse, *(one.copy() for one in kept)


class Wavers:
    """The order of the sums of dk and dv changes from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, q: Array, k: Array, v: Array, *, grad_out: Array = None, **options: Any) -> Any:
        self.calls += 1
        if grad_out is None or set(options) - {"scale"} or self.calls % 2:
            return attend(q, k, v, grad_out=grad_out, **options)
        order = np.arange(q.shape[2])[::-1]
        out, lse, dq, dk, dv = attend(q[:, :, order], k, v, grad_out=grad_out[:, :, order], **options)
        back = [np.ascontiguousarray(one[:, :, order]) for one in (out, lse, dq)]
        return back[0], back[1], back[2], dk, dv


def depends_on_batch(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """A single sequence is summed in another order."""
    return (WAVING if q.shape[0] == 1 else attend)(q, k, v, **options)


def _reversed(q: Array, k: Array, v: Array, **options: Any) -> Any:
    waves = Wavers()
    waves.calls = 1
    return waves(q, k, v, **options)


WAVING = _reversed
f16 = through(np.float16)
wrong = partial(attention_parts.wrong, features=FEATURES)

#: Every faulty backward pass; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F038",
        "gradients_dq_unscaled",
        "dq lacks the scale.",
        turned(factors=(4.0, 1.0)),
        "gradients gradients_features",
    ),
    wrong(
        "F038",
        "gradients_dk_unscaled",
        "dk lacks the scale.",
        turned(factors=(1.0, 4.0)),
        "gradients gradients_features",
    ),
    wrong("F003", "gradients_dq_doubled", "dq is added twice.", turned(factors=(2.0, 1.0)), "gradients gradients_laws"),
    wrong(
        "F018",
        "gradients_dk_negative",
        "dk has the wrong sign.",
        turned(factors=(1.0, -1.0)),
        "gradients gradients_masks",
    ),
    wrong(
        "F002",
        "gradients_dk_last_queries_missing",
        "The last tile of queries is not in dk.",
        turned(dropped_tile=-1),
        "gradients gradients_tails gradients_layout",
    ),
    wrong(
        "F002",
        "gradients_dk_first_queries_missing",
        "The first tile of queries is not in dk.",
        turned(dropped_tile=0),
        "gradients gradients",
    ),
    wrong(
        "F002",
        "gradients_dq_second_keys_missing",
        "The second tile of keys is not in dq.",
        turned(keys_dropped=1),
        "gradients_tails gradients_masks",
    ),
    wrong(
        "F013",
        "gradients_mean_of_rounded_result",
        "The row's mean of gradients is taken from a result in bf16 where f32 is promised.",
        turned(mean=by_rounded),
        "gradients gradients",
    ),
    wrong(
        "F049",
        "gradients_mean_missing",
        "The row's mean of gradients is not subtracted.",
        turned(mean=lambda grad_out, out, p, dp: np.zeros_like(out[:, 0])),
        "gradients gradients_features",
    ),
    wrong(
        "F052",
        "gradients_mean_of_neighbour",
        "The mean of gradients of the row before is subtracted.",
        turned(mean=lambda g, out, p, dp: np.roll((g * out).sum(1), 1)),
        "gradients gradients",
    ),
    wrong(
        "F051",
        "gradients_lse_missing",
        "P is recomputed without the log-sum-exp.",
        turned(lse=np.zeros_like),
        "gradients gradients",
    ),
    wrong(
        "F051",
        "gradients_lse_base_two",
        "P is recomputed with a log-sum-exp in units of log 2.",
        turned(lse=lambda lse: lse / np.float32(np.log(2))),
        "gradients gradients",
    ),
    wrong("F031", "gradients_lse_bf16", "The log-sum-exp is kept in bf16.", turned(lse=bf16), "gradients gradients"),
    wrong(
        "F035",
        "gradients_exp_poor",
        "exp with a relative error of 2^-12.",
        turned(exp=lambda x: np.exp(x) * np.float32(1 + 2.0**-12)),
        "gradients gradients",
    ),
    wrong(
        "F038",
        "gradients_scores_unscaled",
        "Scores are recomputed without the scale.",
        turned(scale=lambda factor: np.float32(1)),
        "gradients gradients_features",
    ),
    wrong(
        "F056",
        "gradients_group_last_head",
        "Of a group of heads the last alone is in dk and dv.",
        turned(heads=lambda parts: parts[-1]),
        "gradients gradients_features",
    ),
    wrong(
        "F056",
        "gradients_group_mean",
        "dk and dv are the mean of the group of heads, not the sum.",
        turned(heads=lambda parts: np.mean(parts, axis=0, dtype=np.float32)),
        "gradients gradients_features",
    ),
    wrong(
        "F056",
        "gradients_group_modulo",
        "The gradients of head h go to key head h mod hkv.",
        turned(head=lambda h, hq, hkv: h % hkv),
        "gradients gradients_features",
    ),
    wrong(
        "F040",
        "gradients_diagonal_off_by_one",
        "Scores are recomputed under a diagonal that is off by one.",
        turned(diagonal=-1),
        "gradients_masks",
    ),
    wrong(
        "F040",
        "gradients_diagonal_ignored",
        "Scores are recomputed without causality.",
        turned(diagonal=1 << 20),
        "gradients_masks",
    ),
    wrong(
        "F043",
        "gradients_window_ignored",
        "Scores are recomputed without the window.",
        turned(window=lambda window: None),
        "gradients_masks",
    ),
    wrong(
        "F043",
        "gradients_window_too_narrow",
        "Scores are recomputed in a window with one key less.",
        turned(window=lambda w: (w[0] - 1, w[1])),
        "gradients_masks",
    ),
    wrong(
        "F046",
        "gradients_mask_ignored",
        "Scores are recomputed without the mask.",
        turned(mask=lambda mask: np.ones_like(mask) if mask.dtype == bool else mask),
        "gradients_masks",
    ),
    wrong(
        "F046",
        "gradients_bias_ignored",
        "Scores are recomputed without the bias.",
        turned(bias=np.zeros_like),
        "gradients_features",
    ),
    wrong(
        "F037",
        "gradients_softcap_slope_missing",
        "The slope of the softcap is left out.",
        turned(slope=np.ones_like),
        "gradients_features",
    ),
    wrong(
        "F037",
        "gradients_softcap_slope_linear",
        "The slope of the softcap is 1 - |t|, not 1 - t^2.",
        turned(slope=lambda bent: 1 - np.abs(bent)),
        "gradients_features",
    ),
    wrong(
        "F053",
        "gradients_ds_f16",
        "dS is rounded to f16, which is not declared.",
        turned(cast_ds=f16),
        "gradients gradients",
    ),
    wrong(
        "F053",
        "gradients_ds_bf16",
        "dS is rounded to bf16, which is not declared.",
        turned(cast_ds=bf16),
        "gradients gradients_masks",
    ),
    wrong(
        "F053",
        "gradients_p_bf16",
        "P is rounded to bf16, which is not declared.",
        turned(cast_p=bf16),
        "gradients gradients_masks",
    ),
    wrong(
        "F053",
        "gradients_p_e4m3",
        "P is rounded to e4m3 where bf16 is declared.",
        turned(cast_p=through(ml_dtypes.float8_e4m3fn)),
        "gradients gradients",
        BF16,
        probabilities="bf16",
    ),
    wrong(
        "F010",
        "gradients_sums_bf16",
        "dq, dk and dv are summed in bf16.",
        turned(add=bf16),
        "gradients_large",
        BF16,
        probabilities="bf16",
    ),
    wrong(
        "F009",
        "gradients_sums_f16",
        "dq, dk and dv are summed in f16.",
        turned(add=f16),
        "gradients_large",
        F16,
        probabilities="f16",
    ),
    wrong(
        "F001",
        "gradients_head_parts_bf16",
        "The parts of heads are rounded to bf16 before they are added.",
        turned(part=bf16),
        "gradients gradients_features",
    ),
    wrong(
        "F047",
        "gradients_empty_row_nan",
        "A query that sees no key has NaN gradients.",
        turned(empty=False),
        "gradients_masks",
    ),
    wrong(
        "F048",
        "gradients_masked_nan_leaks",
        "Masked keys are multiplied by a weight of zero, NaN and all.",
        turned(ignore=False),
        "gradients_masked_values",
    ),
    wrong("F072", "gradients_nan_hidden", None, zero_for_nan, "gradients_special"),
    wrong(
        "F022",
        "gradients_swapped_dk_dv",
        "dk and dv are exchanged.",
        turned(last=lambda dq, dk, dv: (dq, dv, dk)),
        "gradients_features gradients_laws",
    ),
    wrong(
        "F056",
        "gradients_heads_shifted",
        "dq belongs to the next head.",
        turned(last=lambda dq, dk, dv: (np.roll(dq, 1, axis=1), dk, dv)),
        "gradients gradients",
    ),
    wrong(
        "F046",
        "gradients_batches_shifted",
        "dv belongs to the next batch entry.",
        turned(last=lambda dq, dk, dv: (dq, dk, np.roll(dv, 1, axis=0))),
        "gradients gradients_slices",
    ),
    wrong("F046", "gradients_upstream_of_first_head", None, upstream_of_first_head, "gradients gradients_layout"),
    wrong("F023", "gradients_upstream_by_stride", None, upstream_by_stride, "gradients_layout"),
    wrong("F004", "gradients_atomics_lost", None, atomics_lost, "gradients gradients_repeat"),
    wrong(
        "F011",
        "gradients_upstream_offset",
        "2^-10 is added to dq.",
        turned(last=lambda dq, dk, dv: (dq + np.float32(2.0**-10), dk, dv)),
        "gradients gradients_laws",
    ),
    wrong("F092", "gradients_remembers", None, Remembers, "gradients_second_call"),
    wrong("F005", "gradients_wavers", None, Wavers, "gradients_repeat"),
    wrong("F006", "gradients_depends_on_batch", None, depends_on_batch, "gradients_slices", batch_invariant=True),
)
