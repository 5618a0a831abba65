"""Backward passes that recompute with other keys, heads or masks; each is a turn of `attend`."""

from typing import Any

import numpy as np

from lastbit.suites.zoo.attention_parts import Array
from lastbit.suites.zoo.gradient_parts import attend, turned, wrong
from lastbit.suites.zoo.specimen import Faulty


def upstream_of_first_head(q: Array, k: Array, v: Array, *, grad_out: Array = None, **options: Any) -> Any:
    """The gradient of the first head serves all."""
    if grad_out is not None:
        grad_out = np.repeat(grad_out[:, :1], grad_out.shape[1], 1)
    return attend(q, k, v, grad_out=grad_out, **options)


#: Every backward pass with the wrong keys or heads; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
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
)
