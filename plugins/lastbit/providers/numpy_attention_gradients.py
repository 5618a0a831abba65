"""The backward pass of our own NumPy attention: P from its scores and log-sum-exp, then dq, dk and dv in f32 or f64."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Saved:
    """What the forward pass keeps, in the working format; k and v repeated to (b, hq, lk, ..)."""

    q: Any
    k: Any
    v: Any
    #: Final scores (b, hq, lq, lk), -inf where a key is left out; those that count; slope of a softcap, or None.
    scores: Any
    keep: Any
    slope: Any
    scale: Any
    #: (b, hq, lq, dv) and (b, hq, lq), before they are rounded to the result's format.
    out: Any
    lse: Any


def gradients(saved: Saved, grad_out: Any, group: int) -> tuple[Any, Any, Any]:
    """dq (b, hq, lq, d), dk (b, hkv, lk, d) and dv (b, hkv, lk, dv), `group` query heads to a key head.

    A row without keys has gradients of zero, and so have keys that no query sees; what they hold is not read.
    """
    import numpy as np

    some, working = np.isfinite(saved.lse)[..., None], saved.lse.dtype.type
    lse = np.where(some, saved.lse[..., None], working(0))
    p = np.where(saved.keep & some, np.exp(saved.scores - lse), working(0))
    mean = (grad_out * saved.out).sum(-1, keepdims=True)
    ds = np.where(saved.keep & some, p * (grad_out @ saved.v.swapaxes(-1, -2) - mean), working(0))
    if saved.slope is not None:
        ds = np.where(saved.keep, ds * saved.slope, working(0))
    ds = ds * saved.scale
    dq = product(ds, saved.keep, saved.k)
    return dq, _of_key_head(ds.swapaxes(-1, -2) @ saved.q, group), _of_key_head(p.swapaxes(-1, -2) @ grad_out, group)


def product(p: Any, keep: Any, v: Any) -> Any:
    """p v over the kept keys: where a value is NaN or infinite, those of masked keys are left out of the sums."""
    import numpy as np

    if np.isfinite(v).all():
        return p @ v
    return np.where(keep[..., None], p[..., None] * v[..., None, :, :], 0).sum(-2, dtype=p.dtype)


def _of_key_head(parts: Any, group: int) -> Any:
    """The sum over the query heads of each key head."""
    b, heads = parts.shape[:2]
    return parts.reshape(b, heads // group, group, *parts.shape[2:]).sum(2)
