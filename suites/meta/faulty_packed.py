"""Packed-batch attentions that are wrong in ways seen in the field, and some that differ and are right; numpy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from faulty_attentions import BF16, F16, F32, INVARIANT, PLAIN, TILE, Knobs
from faulty_attentions import attend as attend_one

from lastbit.contract import Contract
from lastbit.kernel import Kernel

Array = Any
FEATURES = frozenset({"scale", "causal", "window", "gqa", "dv", "lse", "packed"})


@dataclass(frozen=True)
class Seen:
    """What `attend` is about to compute of one sequence: where it lies, and all lengths."""

    number: int
    q: tuple[int, int]
    k: tuple[int, int]
    cu_q: tuple[int, ...]
    cu_k: tuple[int, ...]


@dataclass(frozen=True)
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
    """One sequence after the other by the attention of the other zoo."""
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
    return partial(attend, turns=Turns(**turns))


# Faults of a few lines ----------------------------------------------------------------------------------------------


def longest(cu: tuple[int, ...]) -> int:
    return max(b - a for a, b in pairwise(cu))


def one_key_more(seen: Seen) -> tuple[int, int]:
    return seen.k[0], min(seen.k[1] + 1, seen.cu_k[-1])


def one_key_less(seen: Seen) -> tuple[int, int]:
    return seen.k[0], max(seen.k[1] - 1, seen.k[0] + 1)


def one_key_early(seen: Seen) -> tuple[int, int]:
    return max(seen.k[0] - 1, 0), seen.k[1]


def everything(seen: Seen) -> tuple[int, int]:
    return 0, seen.cu_k[-1]


def up_to_longest(seen: Seen) -> tuple[int, int]:
    """Each sequence reads as many keys as the longest has."""
    return seen.k[0], min(seen.k[0] + longest(seen.cu_k), seen.cu_k[-1])


def whole_tiles(seen: Seen) -> tuple[int, int]:
    """The remainder of a tile reads into the next sequence."""
    count = -(-(seen.k[1] - seen.k[0]) // TILE) * TILE
    return seen.k[0], min(seen.k[0] + count, seen.cu_k[-1])


def without_empty(cu_q: Array, cu_k: Array) -> tuple[Array, Array]:
    """Empty sequences are left out of the queries and of the keys, each on its own."""
    return np.unique(cu_q), np.unique(cu_k)


def keys_as_queries(cu_q: Array, cu_k: Array) -> tuple[Array, Array]:
    return cu_q, np.minimum(cu_q, cu_k[-1])


def equal_lengths(cu_q: Array, cu_k: Array) -> tuple[Array, Array]:
    """The batch is cut into equal parts."""
    count = cu_k.size - 1
    return cu_q, np.array([cu_k[-1] * n // count for n in range(count + 1)])


class KeepsLengths:
    """The cumulative lengths of the first call of a shape are used for ever."""

    def __init__(self) -> None:
        self.kept: dict[Any, Any] = {}

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Any:
        pair = options.pop("cu_seqlens_q", None), options.pop("cu_seqlens_k", None)
        if pair[0] is not None:
            pair = self.kept.setdefault((q.shape, k.shape), tuple(one.copy() for one in pair))
        return attend(q, k, v, cu_seqlens_q=pair[0], cu_seqlens_k=pair[1], **options)


class Remembers:
    """Results are cached by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Any] = {}

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Any:
        key = (q.ctypes.data, k.ctypes.data, q.shape, k.shape)
        if key not in self.results:
            self.results[key] = attend(q, k, v, **options)
        return tuple(part.copy() for part in self.results[key])


def scaled_by_place(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """The third sequence is computed with another scale."""
    out, lse = attend(q, k, v, **options)
    cu = options.get("cu_seqlens_q")
    if cu is not None and cu.size > 3:
        chosen = {**options, "scale": 1.02 * q.shape[3] ** -0.5}
        other, part = attend(q, k, v, **chosen), slice(int(cu[2]), int(cu[3]))
        out[:, :, part], lse[:, :, part] = other[0][:, :, part], other[1][:, :, part]
    return out, lse


Fault = tuple[str, Callable[..., Any], dict[str, str], Contract, frozenset[str]]


def _fault(name: str, run: Callable[..., Any], checks: str, formats: dict[str, str] = F32, **contract: Any) -> Fault:
    return name, run, formats, replace(PLAIN, **contract), frozenset(f"packed{one}" for one in checks.split(","))


#: (id, function, formats, contract, checks that have to catch it: each of them). Of the check "packed" the suffix.
FAULTS: tuple[Fault, ...] = (
    _fault("one_key_more", turned(keys=one_key_more), ",_masks,_leaks"),
    _fault("one_key_less", turned(keys=one_key_less), ",_masks"),
    _fault("one_key_early", turned(keys=one_key_early), ",_leaks"),
    _fault("attends_across", turned(keys=everything), ",_leaks,_order"),
    _fault("longest_for_all", turned(keys=up_to_longest), ",_leaks"),
    _fault("whole_tiles", turned(keys=whole_tiles), ",_leaks"),
    _fault("equal_lengths", turned(lengths=equal_lengths), ","),
    _fault("keys_as_queries", turned(lengths=keys_as_queries), ","),
    _fault("without_empty", turned(lengths=without_empty), "_empty"),
    _fault("last_dropped", turned(queries=lambda seen: None if seen.number == len(seen.cu_q) - 2 else seen.q), ","),
    _fault("first_dropped", turned(queries=lambda seen: seen.q if seen.number else None), ","),
    _fault("last_query_dropped", turned(queries=lambda seen: (seen.q[0], seen.q[1] - 1), stale=True), ","),
    _fault("diagonal_of_batch", turned(shift=lambda seen: seen.cu_k[-1] - seen.cu_q[-1]), "_masks"),
    _fault("diagonal_of_longest", turned(shift=lambda seen: longest(seen.cu_k) - longest(seen.cu_q)), "_masks"),
    _fault("diagonal_of_place", turned(shift=lambda seen: seen.k[0] - seen.q[0]), "_masks"),
    _fault("diagonal_top_left", turned(shift=lambda seen: 0), "_masks"),
    _fault("diagonal_bottom_right", attend, "_masks", causal_alignment="top-left"),
    _fault("neighbours_weighted_zero", turned(whole=True), "_leaks"),
    _fault("keeps_lengths", KeepsLengths(), "_second_call"),
    _fault("remembers", Remembers(), "_second_call"),
    _fault("scaled_by_place", scaled_by_place, ",_order"),
    _fault("tiles_by_place", turned(tile=lambda seen: 3 if seen.number % 2 else 5), "_order", batch_invariant=True),
)

VARIANTS: tuple[tuple[str, Callable[..., Any], Contract], ...] = (
    ("plain", attend, INVARIANT),
    ("online", turned(tile=lambda seen: 5), INVARIANT),
    ("tiles_by_place-undeclared", turned(tile=lambda seen: 3 if seen.number % 2 else 5), PLAIN),
    ("top_left-declared", turned(shift=lambda seen: 0), replace(PLAIN, causal_alignment="top-left")),
    ("computed-declared", turned(whole=True), replace(PLAIN, masked_keys="computed")),
)

#: (id, function, formats, contract); none may be flagged under any seed.
CORRECT: tuple[tuple[str, Callable[..., Any], dict[str, str], Contract], ...] = tuple(
    (f"{name}-{formats['q']}", run, formats, contract)
    for name, run, contract in VARIANTS
    for formats in (F32, F16, BF16)
)


def kernel(name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract) -> Kernel:
    return Kernel(
        name=f"zoo/{name}",
        op="attention",
        run=run,
        formats=formats,
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        features=FEATURES,
        tile={"lq": TILE, "lk": TILE},
    )
