"""Backward passes that are wrong by how they are called: strides, earlier calls, other sequences, swapped results."""

from typing import Any

import numpy as np

from lastbit.suites.zoo.attention_parts import Array
from lastbit.suites.zoo.gradient_parts import attend, turned, wrong
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous


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
    return attend(q, k, v, grad_out=as_if_contiguous(grad_out), **options)


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


#: Every backward pass that is wrong by how it is called; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    wrong("F072", "gradients_nan_hidden", None, zero_for_nan, "gradients_special"),
    wrong(
        "F022",
        "gradients_swapped_dk_dv",
        "dk and dv are exchanged.",
        turned(last=lambda dq, dk, dv: (dq, dv, dk)),
        "gradients_features gradients_laws",
    ),
    wrong("F023", "gradients_upstream_by_stride", None, upstream_by_stride, "gradients_layout"),
    wrong("F004", "gradients_atomics_lost", None, atomics_lost, "gradients gradients_repeat"),
    wrong("F092", "gradients_remembers", None, Remembers, "gradients_second_call"),
    wrong("F005", "gradients_wavers", None, Wavers, "gradients_repeat"),
    wrong("F006", "gradients_depends_on_batch", None, depends_on_batch, "gradients_slices", batch_invariant=True),
)
