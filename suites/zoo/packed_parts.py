"""What the attentions of packed batches in the zoo are made of: `attend`, every step of which can be turned."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo.attention_parts import Array, Knobs
from lastbit.suites.zoo.attention_parts import attend as attend_one

FEATURES = frozenset({"scale", "causal", "window", "gqa", "dv", "lse", "packed"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What `attend` is about to compute of one sequence: where it lies, and all lengths."""

    number: int
    q: tuple[int, int]
    k: tuple[int, int]
    cu_q: tuple[int, ...]
    cu_k: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """What `attend` can be made to do otherwise; as they stand it is right."""

    #: The ends of keys that a sequence reads and of queries that it writes; None leaves it out.
    keys: Callable[[Seen], tuple[int, int]] = lambda seen: seen.k
    queries: Callable[[Seen], tuple[int, int] | None] = lambda seen: seen.q
    #: Keys by which causal and window are shifted, or None for the sequence's own.
    shift: Callable[[Seen], int | None] = lambda seen: None
    lengths: Callable[[Array, Array], tuple[Array, Array]] = lambda cu_q, cu_k: (cu_q, cu_k)
    #: Compute with all keys, those of others weighted with zero.
    whole: bool = False
    tile: Callable[[Seen], int] = lambda seen: 1 << 20
    stale: bool = False


def attend(
    q: Array,
    k: Array,
    v: Array,
    *,
    cu_seqlens_q: Array = None,
    cu_seqlens_k: Array = None,
    turns: Turns = Turns(),
    **options: Any,
) -> tuple[Array, Array]:
    """One sequence after the other by `attention_parts.attend`."""
    if cu_seqlens_q is None:
        return attend_one(q, k, v, **options)
    cu_q, cu_k = turns.lengths(cu_seqlens_q, cu_seqlens_k)
    ends_q, ends_k = tuple(cu_q.tolist()), tuple(cu_k.tolist())
    out, lse = np.zeros((*q.shape[:3], v.shape[3]), q.dtype), np.zeros(q.shape[:3], np.float32)
    if turns.stale:
        out, lse = np.empty_like(out), np.empty_like(lse)
    for number in range(min(len(ends_q), len(ends_k)) - 1):
        seen = Seen(number, ends_q[number : number + 2], ends_k[number : number + 2], ends_q, ends_k)
        place = turns.queries(seen)
        if place is None or place[1] <= place[0]:
            continue
        (a, b), (c, d) = place, turns.keys(seen)
        knobs = Knobs(shift=turns.shift(seen), tile=turns.tile(seen), ignore=not turns.whole)
        found = attend_one(q[:, :, a:b], k[:, :, c:d], v[:, :, c:d], **options, knobs=knobs)
        if turns.whole:
            rest = np.concatenate([v[:, :, :c], v[:, :, d:]], axis=2)
            nothing = (rest.astype(np.float32) * np.float32(0)).sum((1, 2, 3))[:, None, None, None]
            found = (found[0] + nothing.astype(q.dtype), found[1])
        out[:, :, a:b], lse[:, :, a:b] = found
    return out, lse


def turned(**turns: Any) -> Callable[..., Any]:
    """`attend` with these turns."""
    return partial(attend, turns=Turns(**turns))
