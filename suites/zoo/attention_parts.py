"""What the right and the wrong attentions of the zoo are made of: `attend`, every step of which can be turned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.zoo import specimen
from lastbit.suites.zoo.specimen import Faulty, Variant, maker, story_of

Array = Any
TILE = 12
FEATURES = frozenset(
    {
        "scale",
        "causal",
        "window",
        "mask",
        "additive_mask",
        "causal_mask",
        "bias",
        "softcap",
        "sinks",
        "gqa",
        "dv",
        "lse",
    }
)


def f32(x: Array) -> Array:
    """The values as f32."""
    return np.asarray(x).astype(np.float32)


def through(dtype: Any) -> Callable[[Array], Array]:
    """Rounding to `dtype` and back to f32."""
    return lambda x: f32(np.asarray(x).astype(dtype))


def same(x: Array) -> Array:
    """As it is."""
    return x


def truncated(x: Array) -> Array:
    """f32 values cut to the significand of bf16, toward zero."""
    return (f32(x).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@dataclass(frozen=True, slots=True)
class Knobs:
    """What `attend` can be made to do otherwise; as they stand it is right."""

    tile: int = 1 << 20
    shift: int | None = None
    #: Keys that causal and window move the diagonal by, and what happens to (left, right).
    diagonal: int = 0
    window: Callable[[tuple[int, int]], tuple[int, int]] = same
    head: Callable[[int, int, int], int] = lambda h, hq, hkv: h // (hq // hkv)
    scale: Callable[[float], float] = same
    dot: Callable[[Array, Array], Array] = lambda q, k: q @ k.T
    score: Callable[[Array], Array] = same
    exp: Callable[[Array], Array] = np.exp
    weight: Callable[[Array], Array] = same
    running: Callable[[Array], Array] = same
    #: The factor that the sum so far is multiplied by, from the right one and the tile's number.
    rescale: Callable[[Array, int], Array] = lambda shrink, tile: shrink
    #: What is subtracted, from the maximum so far and that with the tile's.
    peak: Callable[[Array, Array], Array] = lambda top, peak: peak
    subtract: bool = True
    #: Padding keys of score 0 that enter the denominator.
    phantom: bool = False
    total: Callable[[Array], Array] = same
    empty: float | None = 0.0
    ignore: bool = True
    lse: Callable[[Array, Array], Array] = lambda top, total: top + np.log(total)
    sink_counts: bool = True
    mask: Callable[[Array], Array] = same
    bias: Callable[[Array], Array] = same
    cap: Callable[[float], float | None] = same
    keep: Callable[[Array], Array] = same


def attend(
    q: Array,
    k: Array,
    v: Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    mask: Array = None,
    bias: Array = None,
    softcap: float | None = None,
    sinks: Array = None,
    knobs: Knobs = Knobs(),
) -> tuple[Array, Array]:
    """Online softmax in f32 over tiles of keys, one rounding to the operands' type at the end."""
    (b, hq, lq, d), (hkv, lk) = q.shape, k.shape[1:3]
    out, lse = np.zeros((b, hq, lq, v.shape[3]), np.float32), np.zeros((b, hq, lq), np.float32)
    shift = lk - lq if knobs.shift is None else knobs.shift
    distance = np.arange(lk)[None, :] - (np.arange(lq)[:, None] + shift + knobs.diagonal)
    seen = np.ones(distance.shape, bool) if not causal else distance <= 0
    for side, beyond in zip(knobs.window(window) if window else (), (-distance, distance), strict=False):
        seen = seen & (beyond <= side) if side >= 0 else seen
    factor = np.float32(knobs.scale(d**-0.5 if scale is None else scale))
    cap = None if softcap is None else knobs.cap(softcap)
    with np.errstate(all="ignore"):
        for i, h in np.ndindex(b, hq):
            group = knobs.head(h, hq, hkv)
            s, keep = knobs.score(knobs.dot(f32(q[i, h]), f32(k[i, group])) * factor), seen
            s = s if cap is None else np.float32(cap) * np.tanh(s / np.float32(cap))
            s = s if bias is None else s + f32(knobs.bias(bias))[0, h]
            if mask is not None:
                own = knobs.mask(np.broadcast_to(mask, (b, hq, lq, lk)))[i, h]
                keep = keep & (own if own.dtype == bool else own != -np.inf)
                s = s if own.dtype == bool else s + f32(own)
            sink = None if sinks is None else np.float32(sinks[h])
            out[i, h], lse[i, h] = _rows(s, knobs.keep(keep), f32(v[i, group]), sink, knobs)
        return out.astype(q.dtype), lse


def _rows(s: Array, keep: Array, v: Array, sink: Array, knobs: Knobs) -> tuple[Array, Array]:
    top = np.full((s.shape[0], 1), -np.inf if sink is None else sink, np.float32)
    total = np.zeros_like(top) if sink is None or not knobs.sink_counts else np.ones_like(top)
    mean = np.zeros((s.shape[0], v.shape[1]), np.float32)
    for number, start in enumerate(range(0, s.shape[1], knobs.tile)):
        part = slice(start, start + knobs.tile)
        x, kept = np.where(keep[:, part], s[:, part], np.float32(-np.inf)), keep[:, part]
        peak = knobs.peak(top, np.maximum(top, x.max(1, keepdims=True)))
        base = np.where(peak == -np.inf, np.float32(0), peak) if knobs.subtract else np.zeros_like(peak)
        p = np.where(kept, knobs.exp(x - base), np.float32(0))
        shrink = knobs.exp(top - base) if knobs.subtract else np.ones_like(top)
        total = total * shrink + p.sum(1, keepdims=True)
        if knobs.phantom and x.shape[1] < knobs.tile:
            total = total + (knobs.tile - x.shape[1]) * knobs.exp(-base)
        mean = knobs.running(mean * knobs.rescale(shrink, number) + _product(knobs.weight(p), kept, v[part], knobs))
        top = peak
    nothing = total == 0
    total = knobs.total(total)
    found = mean / np.where(nothing, np.float32(1), total)
    if knobs.empty is None:
        found = np.where(nothing, v.mean(0), found)
    else:
        found = np.where(nothing, np.float32(knobs.empty), found)
    if not knobs.subtract:
        top = np.zeros_like(top)
    return found, np.where(nothing, -np.inf, knobs.lse(top, total))[:, 0]


def _product(p: Array, kept: Array, v: Array, knobs: Knobs) -> Array:
    if not knobs.ignore or np.isfinite(v).all():
        return p @ v
    return np.where(kept[:, :, None], p[:, :, None] * v[None], np.float32(0)).sum(1)


def turned(**knobs: Any) -> Callable[..., Any]:
    """`attend` with these knobs."""
    return partial(attend, knobs=Knobs(**knobs))


bf16 = through(ml_dtypes.bfloat16)
F32 = {"q": "f32", "k": "f32", "v": "f32", "out": "f32", "lse": "f32"}
F16 = {"q": "f16", "k": "f16", "v": "f16", "out": "f16", "lse": "f32"}
BF16 = {"q": "bf16", "k": "bf16", "v": "bf16", "out": "bf16", "lse": "f32"}
PLAIN = Contract(exp_ulp=4.0)
INVARIANT = replace(PLAIN, batch_invariant=True)


def kernel(
    name: str,
    run: Callable[..., Any],
    formats: dict[str, str],
    contract: Contract,
    features: frozenset[str] = FEATURES,
) -> Kernel:
    """An attention of the zoo."""
    tile = {"lq": TILE, "lk": TILE}
    return specimen.kernel(name, "attention", run, formats, contract, features=features, tile=tile)


def wrong(
    fault: str,
    name: str,
    story: str | None,
    run: Callable[..., Any],
    checks: str,
    formats: dict[str, str] = F32,
    *,
    features: frozenset[str] = FEATURES,
    **contract: Any,
) -> Faulty:
    """`run` as a faulty attention that each of `checks` has to see; its story is the function's where None is given."""
    known, making = f"attention-{name}-{formats['q']}", maker(run)
    return Faulty(
        known,
        lambda: kernel(known, making(), formats, replace(PLAIN, **contract), features),
        fault,
        story or story_of(run),
        frozenset(checks.split()),
    )


def right(
    name: str,
    story: str | None,
    run: Callable[..., Any],
    formats: dict[str, str] = F32,
    *,
    features: frozenset[str] = FEATURES,
    contract: Mapping[str, Any] | None = None,
) -> Variant:
    """`run` as an attention that keeps its contract; its story is the function's where None is given."""
    known, making = f"attention-{name}-{formats['q']}", maker(run)
    declared = replace(PLAIN, **(contract or {}))
    return Variant(known, lambda: kernel(known, making(), formats, declared, features), story or story_of(run))
