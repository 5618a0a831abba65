"""Backward passes of attention that differ from one another and are all right under what they declare."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lastbit.suites.zoo.attention_parts import BF16, F32, Array, bf16, right
from lastbit.suites.zoo.attention_variants import Over
from lastbit.suites.zoo.gradient_call_faults import Wavers, depends_on_batch
from lastbit.suites.zoo.gradient_parts import FEATURES, attend, turned
from lastbit.suites.zoo.specimen import Variant


def by_keys(grad_out: Array, out: Array, p: Array, dp: Array) -> Array:
    """The sum of P dP over the keys."""
    return (p * dp).sum(1)


#: Each way with its formats and what it declares.
_WAYS: tuple[tuple[str, str | None, Callable[..., Any], Over, dict[str, Any]], ...] = (
    ("gradients_plain", "P from the log-sum-exp, tiles of 12.", attend, (F32,), {}),
    ("gradients_mean_by_keys", "The row's mean of gradients by keys.", turned(mean=by_keys), (F32,), {}),
    (
        "gradients_exp2",
        "exp2 of the scaled score.",
        turned(exp=lambda x: np.exp2(x * np.float32(np.log2(np.e)))),
        (F32,),
        {},
    ),
    (
        "gradients_casts_declared",
        "P and dS in bf16, which is declared.",
        turned(cast_p=bf16, cast_ds=bf16),
        (BF16,),
        {"probabilities": "bf16"},
    ),
    (
        "gradients_parts_declared",
        "Parts of heads in bf16, which is declared.",
        turned(part=bf16),
        (BF16,),
        {"head_gradients": "bf16"},
    ),
    (
        "gradients_atomics_declared",
        "Another order of the gradients in each call, which is declared.",
        Wavers,
        (F32,),
        {"deterministic_gradients": False},
    ),
    ("gradients_batch_variant_undeclared", "Sums that depend on the batch.", depends_on_batch, (F32,), {}),
)
#: Every correct backward pass.
VARIANTS: tuple[Variant, ...] = tuple(
    right(name, story, run, formats, contract=contract, features=FEATURES)
    for name, story, run, over, contract in _WAYS
    for formats in over
)
