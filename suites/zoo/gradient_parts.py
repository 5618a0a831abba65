"""What the right and the wrong backward passes of the zoo are made of: `attend`, every step of which can be turned."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo import attention_parts
from lastbit.suites.zoo.attention_parts import FEATURES as FORWARD
from lastbit.suites.zoo.attention_parts import TILE, Array, f32, same

FEATURES = FORWARD | {"gradients"}


#: Tiles of queries at most; they have TILE of them, or more.
MOST = 64


@dataclass(frozen=True, slots=True)
class Turns:
    """What the backward pass of `attend` can be made to do otherwise; as they stand it is right."""

    #: Of the recomputed scores, scaled and masked, from the scores, the bias and the sink.
    scale: Callable[[Array], Array] = same
    diagonal: int = 0
    window: Callable[[Any], Any] = same
    mask: Callable[[Array], Array] = same
    bias: Callable[[Array], Array] = same
    lse: Callable[[Array], Array] = same
    exp: Callable[[Array], Array] = np.exp
    #: P as it meets dO; P in dS; dS as it meets Q and K.
    cast_p: Callable[[Array], Array] = same
    cast_ds: Callable[[Array], Array] = same
    mean: Callable[[Array, Array, Array, Array], Array] = lambda grad_out, out, p, dp: (grad_out * out).sum(1)
    slope: Callable[[Array], Array] = lambda bent: 1 - bent * bent
    #: The sums: of dq by tiles of keys, of dk and dv by tiles of queries, and of the heads of a group.
    add: Callable[[Array], Array] = same
    dropped_tile: int | None = None
    keys_dropped: int | None = None
    heads: Callable[[list[Array]], Array] = lambda parts: np.sum(parts, axis=0, dtype=np.float32)
    head: Callable[[int, int, int], int] = lambda h, hq, hkv: h // (hq // hkv)
    part: Callable[[Array], Array] = same
    #: (scale of dq, of dk), as factors of the right ones.
    factors: tuple[float, float] = (1.0, 1.0)
    empty: bool = True
    ignore: bool = True
    last: Callable[[Array, Array, Array], tuple[Array, Array, Array]] = lambda dq, dk, dv: (dq, dk, dv)


def attend(
    q: Array,
    k: Array,
    v: Array,
    *,
    grad_out: Array = None,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    mask: Array = None,
    bias: Array = None,
    softcap: float | None = None,
    sinks: Array = None,
    knobs: Turns = Turns(),
) -> tuple[Array, ...]:
    """One pass in f32 forward; backward in f32, P from the log-sum-exp, in tiles; one rounding at the end."""
    (b, hq, lq, d), (hkv, lk) = q.shape, k.shape[1:3]
    factor = np.float32(d**-0.5 if scale is None else scale)
    out, lse = np.zeros((b, hq, lq, v.shape[3]), np.float32), np.zeros((b, hq, lq), np.float32)
    dq, dk, dv = (np.zeros(x.shape, np.float32) for x in (q, k, v))
    with np.errstate(all="ignore"):
        for i in range(b):
            parts: dict[int, list[tuple[Array, Array]]] = {}
            for h in range(hq):
                g = h // (hq // hkv)
                wide = f32(q[i, h]), f32(k[i, g]), f32(v[i, g])
                extra = None if bias is None else f32(bias)[0, h]
                own = None if mask is None else np.broadcast_to(mask, (b, hq, lq, lk))[i, h]
                keep = _seen(lq, lk, causal, window, 0)
                s, keep, _ = _scores(*wide[:2], factor, keep, own, extra, softcap)
                out[i, h], lse[i, h] = _forward(s, keep, wide[2], None if sinks is None else np.float32(sinks[h]))
                if grad_out is None:
                    continue
                keep = _seen(lq, lk, causal, knobs.window(window) if window else None, knobs.diagonal)
                s, keep, bent = _scores(
                    *wide[:2],
                    knobs.scale(factor),
                    keep,
                    None if own is None else knobs.mask(own),
                    None if extra is None else knobs.bias(extra),
                    softcap,
                )
                rounded = f32(out[i, h].astype(q.dtype))
                g = knobs.head(h, hq, hkv)
                found = _backward(
                    wide, f32(grad_out[i, h]), rounded, knobs.lse(lse[i, h]), s, keep, bent, factor, knobs
                )
                dq[i, h] = found[0]
                parts.setdefault(g, []).append(found[1:])
            for g, pairs in parts.items():
                dk[i, g], dv[i, g] = (knobs.heads([knobs.part(one[n]) for one in pairs]) for n in (0, 1))
    results = out.astype(q.dtype), lse
    if grad_out is None:
        return results
    return (*results, *(np.ascontiguousarray(one.astype(q.dtype)) for one in knobs.last(dq, dk, dv)))


def _seen(lq: int, lk: int, causal: bool, window: tuple[int, int] | None, diagonal: int) -> Array:
    distance = np.arange(lk)[None, :] - (np.arange(lq)[:, None] + lk - lq)
    seen = np.ones(distance.shape, bool) if not causal else distance <= diagonal
    for side, beyond in zip(window or (), (-distance, distance), strict=False):
        seen = seen & (beyond <= side) if side >= 0 else seen
    return seen


def _scores(
    q: Array, k: Array, factor: Array, keep: Array, mask: Array, bias: Array, softcap: float | None
) -> tuple[Array, Array, Array]:
    s, bent = q @ k.T * factor, None
    if softcap is not None:
        bent = np.tanh(s / np.float32(softcap))
        s = np.float32(softcap) * bent
    s = s if bias is None else s + bias
    if mask is not None:
        keep = keep & (mask if mask.dtype == bool else mask != -np.inf)
        s = s if mask.dtype == bool else s + f32(mask)
    return np.where(keep, s, np.float32(-np.inf)), keep, bent


def _forward(s: Array, keep: Array, v: Array, sink: Array) -> tuple[Array, Array]:
    top = s.max(1, keepdims=True)
    top = top if sink is None else np.maximum(top, sink)
    base = np.where(top == -np.inf, np.float32(0), top)
    p = np.where(keep, np.exp(s - base), np.float32(0))
    total = p.sum(1, keepdims=True) + (np.float32(0) if sink is None else np.exp(sink - base))
    some = np.where(total == 0, np.float32(1), total)
    out = np.where(total == 0, np.float32(0), _product(p, keep, v) / some)
    return out, np.where(total == 0, np.float32(-np.inf), base + np.log(some))[:, 0]


def _product(p: Array, keep: Array, v: Array) -> Array:
    if np.isfinite(v).all():
        return p @ v
    return np.where(keep[:, :, None], p[:, :, None] * v[None], np.float32(0)).sum(1)


def _backward(
    wide: tuple[Array, Array, Array],
    grad_out: Array,
    out: Array,
    lse: Array,
    s: Array,
    keep: Array,
    bent: Array,
    factor: Array,
    knobs: Turns,
) -> tuple[Array, Array, Array]:
    q, k, v = wide
    empty = (lse == -np.inf)[:, None]
    base = np.where(empty, np.float32(0), lse[:, None]) if knobs.empty else lse[:, None]
    p = np.where(keep, knobs.exp(s - base), np.float32(0)) if knobs.empty else knobs.exp(s - base)
    dp = grad_out @ v.T
    dp = np.where(keep, dp, np.float32(0)) if knobs.ignore else dp
    ds = p * (dp - knobs.mean(grad_out, out, p, dp)[:, None])
    if bent is not None:
        ds = ds * np.where(keep, knobs.slope(bent), np.float32(0))
    cast_p, cast_ds = knobs.cast_p(p), knobs.cast_ds(ds)
    dq = np.zeros_like(q)
    for start in range(0, k.shape[0], TILE):
        part = slice(start, start + TILE)
        if start // TILE != knobs.keys_dropped:
            rows = k[part] if not knobs.ignore else np.where(keep[:, part].any(0)[:, None], k[part], np.float32(0))
            dq = knobs.add(dq + cast_ds[:, part] @ rows)
    dk, dv = np.zeros_like(k), np.zeros_like(v)
    size = max(TILE, -(-q.shape[0] // MOST))
    tiles = range(0, q.shape[0], size)
    for number, start in enumerate(tiles):
        part = slice(start, start + size)
        if knobs.dropped_tile is None or number != knobs.dropped_tile % len(tiles):
            dk = knobs.add(dk + cast_ds[part].T @ q[part])
        dv = knobs.add(dv + cast_p[part].T @ grad_out[part])
    return dq * factor * np.float32(knobs.factors[0]), dk * factor * np.float32(knobs.factors[1]), dv


def turned(**knobs: Any) -> Callable[..., Any]:
    """`attend` with these turns."""
    return partial(attend, knobs=Turns(**knobs))


#: A faulty backward pass, as attention_parts.wrong has it.
wrong = partial(attention_parts.wrong, features=FEATURES)
