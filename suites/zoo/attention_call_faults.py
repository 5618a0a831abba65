"""Attentions that are wrong by how they are called: sizes, strides, earlier calls, other rows of the batch."""

from typing import Any

import numpy as np

from lastbit.suites.zoo.attention_mask_faults import last_key_seen
from lastbit.suites.zoo.attention_parts import Array, Knobs, attend, turned, wrong
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous


def odd_dimensions(q: Array, k: Array) -> Array:
    """Dimensions beyond the last whole vector of 8 are not read."""
    whole = q.shape[1] // 8 * 8 or q.shape[1]
    return q[:, :whole] @ k[:, :whole].T


def ignores_strides(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """K is read as if it were contiguous."""
    return attend(q, as_if_contiguous(k), v, **options)


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


#: Every attention that is wrong by how it is called; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
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
    wrong("F063", "keeps_scale", None, KeepsScale, "second_call"),
    wrong("F092", "remembers", None, Remembers, "second_call"),
    wrong("F005", "wavers", None, Wavers, "repeat"),
    wrong("F006", "varies_with_batch", None, varies_with_batch, "slices", batch_invariant=True),
)
