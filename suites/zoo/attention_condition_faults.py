"""Attentions and their gradients that are wrong under one condition only, and elsewhere right, bit for bit.

k mod 32 = 16, one more than a tile, few rows, groups of seven, one call of three.
"""

from collections.abc import Callable
from functools import partial

from lastbit.suites.zoo import attention_parts, gradient_parts
from lastbit.suites.zoo.attention_mask_faults import last_key_seen
from lastbit.suites.zoo.conditions import OneCallIn, Run, where
from lastbit.suites.zoo.specimen import Faulty

_BLIND = attention_parts.turned(keep=last_key_seen)
_MODULO = attention_parts.turned(head=lambda h, hq, hkv: h % hkv)


def keys(wanted: Callable[[int], bool], faulty: Run = _BLIND) -> Run:
    """The faulty attention where the number of keys is wanted."""
    return where(lambda q, k, v: wanted(k.shape[2]), faulty, attention_parts.attend)


_FORWARD: tuple[Faulty, ...] = (
    attention_parts.wrong(
        "F007",
        "blind_if_half_tile",
        "The last key is not seen where there are 16 more than a multiple of 32.",
        keys(lambda n: n % 32 == 16),
        "masks",
        attention_parts.BF16,
    ),
    attention_parts.wrong(
        "F042",
        "blind_if_one_over",
        "The last key is not seen where there is one more than a tile has.",
        keys(lambda n: n == attention_parts.TILE + 1),
        "tails",
    ),
    attention_parts.wrong(
        "F027",
        "blind_if_few_queries",
        "The last key is not seen by four queries and fewer.",
        where(lambda q, k, v: q.shape[2] <= 4, _BLIND, attention_parts.attend),
        "tails",
        attention_parts.F16,
    ),
    attention_parts.wrong(
        "F056",
        "heads_modulo_if_seven",
        "Query head h takes key head h mod hkv in groups of seven.",
        where(lambda q, k, v: q.shape[1] == 7 * k.shape[1], _MODULO, attention_parts.attend),
        "features",
        attention_parts.BF16,
    ),
    attention_parts.wrong(
        "F004",
        "blind_in_one_of_3",
        "The last key is not seen in one call of three.",
        partial(OneCallIn, 3, _BLIND, attention_parts.attend),
        "repeat",
    ),
)

_SHORT = gradient_parts.turned(keys_dropped=0)


def gradients(applies: Callable[..., bool], faulty: Run = _SHORT) -> Run:
    """The faulty backward pass for calls to which `applies`."""
    return where(applies, faulty, gradient_parts.attend)


_BACKWARD: tuple[Faulty, ...] = (
    gradient_parts.wrong(
        "F007",
        "gradients_short_if_half_tile",
        "The first tile of keys is not in dq where there are 16 keys more than a multiple of 32.",
        gradients(lambda q, k, v: k.shape[2] % 32 == 16),
        "gradients_tails",
        attention_parts.BF16,
    ),
    gradient_parts.wrong(
        "F042",
        "gradients_short_if_one_over",
        "The first tile of keys is not in dq where there is one key more than a tile has.",
        gradients(lambda q, k, v: k.shape[2] == attention_parts.TILE + 1),
        "gradients_tails",
    ),
    gradient_parts.wrong(
        "F027",
        "gradients_short_if_few_queries",
        "The first tile of keys is not in dq of four queries and fewer.",
        gradients(lambda q, k, v: q.shape[2] <= 4),
        "gradients_tails",
        attention_parts.F16,
    ),
    gradient_parts.wrong(
        "F056",
        "gradients_last_head_if_seven",
        "Of a group of seven heads the last alone is in dk and dv.",
        gradients(lambda q, k, v: q.shape[1] == 7 * k.shape[1], gradient_parts.turned(heads=lambda parts: parts[-1])),
        "gradients_features",
    ),
    gradient_parts.wrong(
        "F004",
        "gradients_short_in_one_of_3",
        "The first tile of keys is not in dq in one call of three.",
        partial(OneCallIn, 3, _SHORT, gradient_parts.attend),
        "gradients_repeat",
        attention_parts.BF16,
    ),
)

#: Every attention and backward pass that is wrong under one condition.
FAULTY: tuple[Faulty, ...] = (*_FORWARD, *_BACKWARD)
