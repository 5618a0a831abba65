"""Backward passes of attention that are wrong in ways seen in the field, and some that differ and are right; numpy.

Each fault is a knob of `attend`, or a few lines around it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
from faulty_attentions import BF16, F16, F32, PLAIN, bf16, f32, same, through
from faulty_attentions import FEATURES as FORWARD

from lastbit.contract import Contract
from lastbit.kernel import Kernel

Array = Any
TILE = 12
FEATURES = FORWARD | {"gradients"}


@dataclass(frozen=True)
class Knobs:
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
    knobs: Knobs = Knobs(),
) -> tuple[Array, ...]:
    """One pass in f32 forward; backward in f32, P from the log-sum-exp, tiles of TILE; one rounding at the end."""
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
            for g, found in parts.items():
                dk[i, g], dv[i, g] = (knobs.heads([knobs.part(one[n]) for one in found]) for n in (0, 1))
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
    knobs: Knobs,
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
    tiles = range(0, q.shape[0], TILE)
    for number, start in enumerate(tiles):
        part = slice(start, start + TILE)
        if knobs.dropped_tile is None or number != knobs.dropped_tile % len(tiles):
            dk = knobs.add(dk + cast_ds[part].T @ q[part])
        dv = knobs.add(dv + cast_p[part].T @ grad_out[part])
    return dq * factor * np.float32(knobs.factors[0]), dk * factor * np.float32(knobs.factors[1]), dv


def turned(**knobs: Any) -> Callable[..., Any]:
    return partial(attend, knobs=Knobs(**knobs))


# Faults of a few lines ----------------------------------------------------------------------------------------------


def by_keys(grad_out: Array, out: Array, p: Array, dp: Array) -> Array:
    return (p * dp).sum(1)


def by_rounded(grad_out: Array, out: Array, p: Array, dp: Array) -> Array:
    """D from a result that was rounded to bf16, although the kernel promises f32."""
    return (grad_out * bf16(out)).sum(1)


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
    b, h, l, d = (size * grad_out.itemsize for size in np.cumprod([1, *grad_out.shape[:0:-1]])[::-1])
    return attend(q, k, v, grad_out=np.lib.stride_tricks.as_strided(grad_out, grad_out.shape, (b, h, l, d)), **options)


def upstream_of_first_head(q: Array, k: Array, v: Array, *, grad_out: Array = None, **options: Any) -> Any:
    if grad_out is not None:
        grad_out = np.repeat(grad_out[:, :1], grad_out.shape[1], 1)
    return attend(q, k, v, grad_out=grad_out, **options)


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
f16 = through(np.float16)

Fault = tuple[str, Callable[..., Any], dict[str, str], Contract, frozenset[str]]


def _fault(name: str, run: Callable[..., Any], checks: str, formats: dict[str, str] = F32, **contract: Any) -> Fault:
    return name, run, formats, replace(PLAIN, **contract), frozenset(f"gradients{one}" for one in checks.split(","))


#: (id, function, formats, contract, checks that have to catch it: each of them). Of the check "gradients" the suffix.
FAULTS: tuple[Fault, ...] = (
    _fault("dq_unscaled", turned(factors=(4.0, 1.0)), ",_features"),
    _fault("dk_unscaled", turned(factors=(1.0, 4.0)), ",_features"),
    _fault("dq_doubled", turned(factors=(2.0, 1.0)), ",_laws"),
    _fault("dk_negative", turned(factors=(1.0, -1.0)), ",_masks"),
    _fault("dk_last_queries_missing", turned(dropped_tile=-1), ",_tails,_layout"),
    _fault("dk_first_queries_missing", turned(dropped_tile=0), ","),
    _fault("dq_second_keys_missing", turned(keys_dropped=1), "_tails,_masks"),
    _fault("mean_of_rounded_result", turned(mean=by_rounded), ","),
    _fault("mean_missing", turned(mean=lambda grad_out, out, p, dp: np.zeros_like(out[:, 0])), ",_features"),
    _fault("mean_of_neighbour", turned(mean=lambda g, out, p, dp: np.roll((g * out).sum(1), 1)), ","),
    _fault("lse_missing", turned(lse=np.zeros_like), ","),
    _fault("lse_base_two", turned(lse=lambda lse: lse / np.float32(np.log(2))), ","),
    _fault("lse_bf16", turned(lse=bf16), ","),
    _fault("exp_poor", turned(exp=lambda x: np.exp(x) * np.float32(1 + 2.0**-12)), ","),
    _fault("scores_unscaled", turned(scale=lambda factor: np.float32(1)), ",_features"),
    _fault("group_last_head", turned(heads=lambda parts: parts[-1]), ",_features"),
    _fault("group_mean", turned(heads=lambda parts: np.mean(parts, axis=0, dtype=np.float32)), ",_features"),
    _fault("group_modulo", turned(head=lambda h, hq, hkv: h % hkv), ",_features"),
    _fault("diagonal_off_by_one", turned(diagonal=-1), "_masks"),
    _fault("diagonal_ignored", turned(diagonal=1 << 20), "_masks"),
    _fault("window_ignored", turned(window=lambda window: None), "_masks"),
    _fault("window_too_narrow", turned(window=lambda w: (w[0] - 1, w[1])), "_masks"),
    _fault("mask_ignored", turned(mask=lambda mask: np.ones_like(mask) if mask.dtype == bool else mask), "_masks"),
    _fault("bias_ignored", turned(bias=np.zeros_like), "_features"),
    _fault("softcap_slope_missing", turned(slope=np.ones_like), "_features"),
    _fault("softcap_slope_linear", turned(slope=lambda bent: 1 - np.abs(bent)), "_features"),
    _fault("ds_f16", turned(cast_ds=f16), ","),
    _fault("ds_bf16", turned(cast_ds=bf16), ",_masks"),
    _fault("p_bf16", turned(cast_p=bf16), ",_masks"),
    _fault("p_e4m3", turned(cast_p=through(ml_dtypes.float8_e4m3fn)), ",", BF16, probabilities="bf16"),
    _fault("sums_bf16", turned(add=bf16), "_large", BF16, probabilities="bf16"),
    _fault("sums_f16", turned(add=f16), "_large", F16, probabilities="f16"),
    _fault("head_parts_bf16", turned(part=bf16), ",_features"),
    _fault("empty_row_nan", turned(empty=False), "_masks"),
    _fault("masked_nan_leaks", turned(ignore=False), "_masked_values"),
    _fault("nan_hidden", zero_for_nan, "_special"),
    _fault("swapped_dk_dv", turned(last=lambda dq, dk, dv: (dq, dv, dk)), "_features,_laws"),
    _fault("heads_shifted", turned(last=lambda dq, dk, dv: (np.roll(dq, 1, axis=1), dk, dv)), ","),
    _fault("batches_shifted", turned(last=lambda dq, dk, dv: (dq, dk, np.roll(dv, 1, axis=0))), ",_slices"),
    _fault("upstream_of_first_head", upstream_of_first_head, ",_layout"),
    _fault("upstream_by_stride", upstream_by_stride, "_layout"),
    _fault("atomics_lost", atomics_lost, ",_repeat"),
    _fault("upstream_offset", turned(last=lambda dq, dk, dv: (dq + np.float32(2.0**-10), dk, dv)), ",_laws"),
    _fault("remembers", Remembers(), "_second_call"),
    _fault("wavers", Wavers(), "_repeat"),
    _fault("depends_on_batch", depends_on_batch, "_slices", batch_invariant=True),
)

VARIANTS: tuple[tuple[str, Callable[..., Any], dict[str, Any]], ...] = (
    ("plain", attend, {}),
    ("mean_by_keys", turned(mean=by_keys), {}),
    ("exp2", turned(exp=lambda x: np.exp2(x * np.float32(np.log2(np.e)))), {}),
    ("casts-declared", turned(cast_p=bf16, cast_ds=bf16), {"probabilities": "bf16"}),
    ("parts-declared", turned(part=bf16), {"head_gradients": "bf16"}),
    ("nondeterministic-declared", Wavers(), {"deterministic": False}),
    ("atomics-declared", Wavers(), {"deterministic_gradients": False}),
    ("batch-variant-undeclared", depends_on_batch, {}),
)

#: (id, function, formats, contract); none may be flagged under any seed.
CORRECT: tuple[tuple[str, Callable[..., Any], dict[str, str], Contract], ...] = tuple(
    (f"{name}-{formats['q']}", run, formats, replace(PLAIN, **contract))
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
