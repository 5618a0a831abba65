"""Packed-batch attentions that are wrong in ways seen in the field; each is a turn of `attend`, or a few lines."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from lastbit.suites.zoo import attention_parts
from lastbit.suites.zoo.attention_parts import TILE, Array
from lastbit.suites.zoo.packed_parts import FEATURES, Seen, attend, turned
from lastbit.suites.zoo.specimen import Faulty


def longest(cu: tuple[int, ...]) -> int:
    """The length of the longest sequence."""
    return max(b - a for a, b in pairwise(cu))


def one_key_more(seen: Seen) -> tuple[int, int]:
    """The first key of the next sequence too."""
    return seen.k[0], min(seen.k[1] + 1, seen.cu_k[-1])


def one_key_less(seen: Seen) -> tuple[int, int]:
    """Not the last key."""
    return seen.k[0], max(seen.k[1] - 1, seen.k[0] + 1)


def one_key_early(seen: Seen) -> tuple[int, int]:
    """The last key of the sequence before too."""
    return max(seen.k[0] - 1, 0), seen.k[1]


def everything(seen: Seen) -> tuple[int, int]:
    """All keys."""
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
    """The lengths of the queries for the keys."""
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


wrong = partial(attention_parts.wrong, features=FEATURES)

#: Every faulty attention of packed batches; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F042",
        "packed_one_key_more",
        "Each sequence sees the first key of the next.",
        turned(keys=one_key_more),
        "packed packed_masks packed_leaks",
    ),
    wrong(
        "F007",
        "packed_one_key_less",
        "Each sequence misses its last key.",
        turned(keys=one_key_less),
        "packed packed_masks",
    ),
    wrong(
        "F042",
        "packed_one_key_early",
        "Each sequence sees the last key of the one before.",
        turned(keys=one_key_early),
        "packed packed_leaks",
    ),
    wrong(
        "F042",
        "packed_attends_across",
        "Each sequence sees all keys.",
        turned(keys=everything),
        "packed packed_leaks packed_order",
    ),
    wrong(
        "F042",
        "packed_longest_for_all",
        "Each sequence reads as many keys as the longest has.",
        turned(keys=up_to_longest),
        "packed packed_leaks",
    ),
    wrong(
        "F042",
        "packed_whole_tiles",
        "The remainder of a tile reads into the next sequence.",
        turned(keys=whole_tiles),
        "packed packed_leaks",
    ),
    wrong(
        "F057",
        "packed_equal_lengths",
        "The batch is cut into equal parts.",
        turned(lengths=equal_lengths),
        "packed packed",
    ),
    wrong(
        "F057",
        "packed_keys_as_queries",
        "The lengths of the queries serve for the keys.",
        turned(lengths=keys_as_queries),
        "packed packed",
    ),
    wrong(
        "F057",
        "packed_without_empty",
        "Empty sequences are left out of the queries and of the keys, each on its own.",
        turned(lengths=without_empty),
        "packed_empty",
    ),
    wrong(
        "F008",
        "packed_last_dropped",
        "The last sequence is not computed.",
        turned(queries=lambda seen: None if seen.number == len(seen.cu_q) - 2 else seen.q),
        "packed packed",
    ),
    wrong(
        "F008",
        "packed_first_dropped",
        "The first sequence is not computed.",
        turned(queries=lambda seen: seen.q if seen.number else None),
        "packed packed",
    ),
    wrong(
        "F008",
        "packed_last_query_dropped",
        "The last query of each sequence is left as it was.",
        turned(queries=lambda seen: (seen.q[0], seen.q[1] - 1), stale=True),
        "packed packed",
    ),
    wrong(
        "F041",
        "packed_diagonal_of_batch",
        "The diagonal is that of the whole batch.",
        turned(shift=lambda seen: seen.cu_k[-1] - seen.cu_q[-1]),
        "packed_masks",
    ),
    wrong(
        "F041",
        "packed_diagonal_of_longest",
        "The diagonal is that of the longest sequence.",
        turned(shift=lambda seen: longest(seen.cu_k) - longest(seen.cu_q)),
        "packed_masks",
    ),
    wrong(
        "F041",
        "packed_diagonal_of_place",
        "The diagonal is that of where the sequence begins.",
        turned(shift=lambda seen: seen.k[0] - seen.q[0]),
        "packed_masks",
    ),
    wrong(
        "F041",
        "packed_diagonal_top_left",
        "The diagonal begins at a sequence's first key where it is to end at its last.",
        turned(shift=lambda seen: 0),
        "packed_masks",
    ),
    wrong(
        "F041",
        "packed_diagonal_bottom_right",
        "The diagonal ends at a sequence's last key where it is to begin at its first.",
        attend,
        "packed_masks",
        causal_alignment="top-left",
    ),
    wrong(
        "F048",
        "packed_neighbours_weighted_zero",
        "The keys of other sequences are multiplied by a weight of zero, NaN and all.",
        turned(whole=True),
        "packed_leaks",
    ),
    wrong("F063", "packed_keeps_lengths", None, KeepsLengths, "packed_second_call"),
    wrong("F092", "packed_remembers", None, Remembers, "packed_second_call"),
    wrong("F027", "packed_scaled_by_place", None, scaled_by_place, "packed packed_order"),
    wrong(
        "F006",
        "packed_tiles_by_place",
        "The tiles depend on a sequence's place in the batch.",
        turned(tile=lambda seen: 3 if seen.number % 2 else 5),
        "packed_order",
        batch_invariant=True,
    ),
)
