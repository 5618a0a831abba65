"""Packed-batch attentions that are wrong only where features meet, in large batches, or in other layouts."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo import attention_parts
from lastbit.suites.zoo.attention_parts import Array
from lastbit.suites.zoo.packed_parts import FEATURES, attend
from lastbit.suites.zoo.specimen import Faulty

When = Callable[[Array, Array, dict[str, Any]], bool]


def scale_off(when: When) -> Callable[..., Any]:
    """The scale is two parts in a hundred too large `when` this is so of q, k and the options of a packed batch."""

    def run(q: Array, k: Array, v: Array, **options: Any) -> Any:
        if options.get("cu_seqlens_q") is not None and when(q, k, options):
            options["scale"] = 1.02 * (options.get("scale") or q.shape[3] ** -0.5)
        return attend(q, k, v, **options)

    return run


wrong = partial(attention_parts.wrong, features=FEATURES)


def _off(name: str, where: str, when: When, check: str = "packed") -> Faulty:
    return wrong("F038", f"packed_scale_off_{name}", f"The scale is 2 % too large {where}.", scale_off(when), check)


def _grouped(q: Array, k: Array) -> bool:
    return bool(q.shape[1] != k.shape[1])


#: Every faulty attention of this kind; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    _off("many", "in batches of more than 16", lambda q, k, o: o["cu_seqlens_q"].size > 17),
    _off("long", "where a sequence has over 128 keys", lambda q, k, o: np.diff(o["cu_seqlens_k"]).max() > 128),
    _off("wide", "where d is 64 or more", lambda q, k, o: q.shape[3] >= 64),
    _off("given", "where a scale is given", lambda q, k, o: o.get("scale") is not None),
    _off(
        "grouped_causal",
        "where gqa and causal meet",
        lambda q, k, o: _grouped(q, k) and bool(o.get("causal")),
        "packed_masks",
    ),
    _off(
        "grouped_window",
        "where gqa and window meet",
        lambda q, k, o: _grouped(q, k) and bool(o.get("window")),
        "packed_masks",
    ),
    _off("strided_q", "where q is not contiguous", lambda q, k, o: not q.flags.c_contiguous),
    _off("strided_k", "where k is not contiguous", lambda q, k, o: not k.flags.c_contiguous),
    _off(
        "strided_ends", "where cu_seqlens is not contiguous", lambda q, k, o: not o["cu_seqlens_q"].flags.c_contiguous
    ),
)
