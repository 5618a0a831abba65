"""Attentions that are wrong in ways seen in the field, and attentions that differ and are right; all on numpy arrays.

Each fault is a knob of `attend`, or a few lines around it; ids are those of the fault classes they stand for.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel

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
    return np.asarray(x).astype(np.float32)


def through(dtype: Any) -> Callable[[Array], Array]:
    return lambda x: f32(np.asarray(x).astype(dtype))


def same(x: Array) -> Array:
    return x


def truncated(x: Array) -> Array:
    """f32 values cut to the significand of bf16, toward zero."""
    return (f32(x).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@dataclass(frozen=True)
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
        peak = np.maximum(top, x.max(1, keepdims=True))
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
    return partial(attend, knobs=Knobs(**knobs))


# Faults of a few lines ----------------------------------------------------------------------------------------------


def last_key_seen(keep: Array) -> Array:
    return np.concatenate([keep[:, :-1], np.zeros_like(keep[:, -1:])], axis=1)


def odd_dimensions(q: Array, k: Array) -> Array:
    """F062: dimensions beyond the last whole vector of 8 are not read."""
    whole = q.shape[1] // 8 * 8 or q.shape[1]
    return q[:, :whole] @ k[:, :whole].T


def in_f16(q: Array, k: Array) -> Array:
    """F054: q k^T is stored in f16 before it is scaled."""
    return f32((q @ k.T).astype(np.float16))


def ignores_strides(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """F023's kin: k is read as if it were contiguous."""
    b, h, l, d = (size * k.itemsize for size in (k[0].size, k.shape[2] * k.shape[3], k.shape[3], 1))
    return attend(q, np.lib.stride_tricks.as_strided(k, k.shape, (b, h, l, d)), v, **options)


def tail_unwritten(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """F008's kin: queries beyond the last whole tile of 4 are left as they were."""
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
    """F094: q is scaled in place."""
    found = attend(q, k, v, **options)
    q *= q.dtype.type(0.5)
    return found


def split(
    q: Array, k: Array, v: Array, *, careful: bool = True, store: Callable[[Array], Array] = f32, **options: Any
) -> Any:
    """Five parts of the keys, combined by log-sum-exp; careless, an empty part gives -inf - (-inf) (F050)."""
    if set(options) - {"scale"}:
        return attend(q, k, v, **options)
    pieces = [
        attend(store(q), store(k[:, :, index]), store(v[:, :, index]), **options) if index.size else _nothing(q, v)
        for index in np.array_split(np.arange(k.shape[2]), 5)
    ]
    top = np.max([lse for _, lse in pieces], axis=0)
    total, mean = np.zeros_like(top), np.zeros(q.shape[:3] + v.shape[3:], np.float32)
    with np.errstate(all="ignore"):
        for out, lse in pieces:
            weight = np.exp(lse - top) if careful else np.exp((lse - top) + 0 * lse)
            total += weight
            mean += weight[..., None] * f32(out)
        return (mean / total[..., None]).astype(q.dtype), top + np.log(total)


def _nothing(q: Array, v: Array) -> Any:
    zero = np.zeros(q.shape[:3] + v.shape[3:], np.float32)
    return zero, np.full(q.shape[:3], -np.inf, np.float32)


class KeepsScale:
    """F063: the scale of the first call of a shape is used for ever."""

    def __init__(self) -> None:
        self.scales: dict[Any, float | None] = {}

    def __call__(self, q: Array, k: Array, v: Array, *, scale: float | None = None, **options: Any) -> Any:
        return attend(q, k, v, scale=self.scales.setdefault((q.shape, k.shape), scale), **options)


class Remembers:
    """F092: results are cached by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Any] = {}

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Any:
        key = (q.ctypes.data, k.ctypes.data, q.shape, k.shape, str(options.get("scale")))
        if key not in self.results:
            self.results[key] = attend(q, k, v, **options)
        return tuple(part.copy() for part in self.results[key])


class Wavers:
    """F005: the tiles change from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Any:
        self.calls += 1
        return attend(q, k, v, **options, knobs=Knobs(tile=3 + self.calls % 5))


def varies_with_batch(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """F006: fewer than five queries are summed in other tiles."""
    return attend(q, k, v, **options, knobs=Knobs(tile=7) if q.shape[2] < 5 else Knobs())


F32 = {"q": "f32", "k": "f32", "v": "f32", "out": "f32", "lse": "f32"}
F16 = {"q": "f16", "k": "f16", "v": "f16", "out": "f16", "lse": "f32"}
BF16 = {"q": "bf16", "k": "bf16", "v": "bf16", "out": "bf16", "lse": "f32"}
PLAIN = Contract(exp_ulp=4.0)
INVARIANT = replace(PLAIN, batch_invariant=True)

Fault = tuple[str, Callable[..., Any], dict[str, str], Contract, frozenset[str]]


def _fault(name: str, run: Callable[..., Any], checks: str, formats: dict[str, str] = F32, **contract: Any) -> Fault:
    return name, run, formats, replace(PLAIN, **contract), frozenset(checks.split())


bf16 = through(ml_dtypes.bfloat16)

#: (id, function, formats, contract, checks that have to catch it: each of them).
FAULTS: tuple[Fault, ...] = (
    _fault("last_key_dropped", turned(keep=last_key_seen), "exact tails bound"),
    _fault("phantom_keys", turned(tile=TILE, phantom=True), "bound"),
    _fault("diagonal_plus_one", turned(diagonal=1), "masks"),
    _fault("diagonal_minus_one", turned(diagonal=-1), "masks"),
    _fault("aligned_top_left", turned(shift=0), "masks"),
    _fault("aligned_bottom_right", attend, "masks", causal_alignment="top-left"),
    _fault("window_too_wide", turned(window=lambda w: (w[0] + 1, w[1])), "masks"),
    _fault("window_too_narrow", turned(window=lambda w: (w[0] - 1, w[1])), "masks"),
    _fault("window_swapped", turned(window=lambda w: w[::-1]), "masks"),
    _fault("window_ignored", turned(window=lambda w: (-1, -1)), "masks masked_values"),
    _fault("heads_modulo", turned(head=lambda h, hq, hkv: h % hkv), "exact features"),
    _fault("heads_divided", turned(head=lambda h, hq, hkv: min(h // hkv, hkv - 1)), "exact features"),
    _fault("scale_missing", turned(scale=lambda scale: 1.0), "bound"),
    _fault("scale_twice", turned(scale=lambda scale: scale * scale), "bound"),
    _fault("scale_of_default", turned(scale=lambda scale: 0.25), "bound"),
    _fault("rescale_skipped", turned(tile=TILE, rescale=lambda shrink, tile: np.ones_like(shrink)), "bound"),
    _fault("last_rescale_skipped", turned(tile=TILE, rescale=lambda a, tile: a if tile < 4 else a * 0 + 1), "bound"),
    _fault("weights_bf16", turned(weight=bf16), "bound"),
    _fault("weights_truncated", turned(weight=truncated), "bound"),
    _fault("weights_truncated_declared", turned(weight=truncated), "statistics", probabilities="bf16"),
    _fault("weights_e4m3", turned(weight=through(ml_dtypes.float8_e4m3fn)), "bound", BF16, probabilities="bf16"),
    _fault("scores_bf16", turned(score=bf16), "bound"),
    _fault("scores_bf16_out_bf16", turned(score=bf16), "bound", BF16, probabilities="bf16"),
    _fault("output_bf16_sum", turned(tile=TILE, running=bf16), "bound", BF16),
    _fault("output_f16_sum", turned(tile=TILE, running=through(np.float16)), "bound"),
    _fault("scores_f16_overflow", turned(dot=in_f16), "bound", F16),
    _fault("maximum_kept", turned(subtract=False), "bound lse"),
    _fault("exp_poor", turned(exp=lambda x: np.exp(x) * np.float32(1 + 2.0**-14) ** x), "bound"),
    _fault("exp_flushes", turned(exp=lambda x: np.where(x < -10, np.float32(0), np.exp(x))), "bound"),
    _fault("masked_nan_leaks", turned(ignore=False), "masked_values special"),
    _fault("empty_row_nan", turned(empty=np.nan), "masks"),
    _fault("empty_row_mean", turned(empty=None), "masks"),
    _fault("empty_row_zero", attend, "masks", masked_row="nan"),
    _fault("lse_base_two", turned(lse=lambda top, total: (top + np.log(total)) / np.float32(np.log(2))), "lse bound"),
    _fault("lse_without_maximum", turned(lse=lambda top, total: np.log(total)), "lse"),
    _fault("lse_is_maximum", turned(lse=lambda top, total: top), "lse"),
    _fault("row_sum_of_neighbour", turned(total=lambda total: np.roll(total, 1, axis=0)), "bound"),
    _fault("row_sum_twice", turned(total=lambda total: total * 2), "exact bound"),
    _fault("sink_not_counted", turned(sink_counts=False), "features"),
    _fault("softcap_ignored", turned(cap=lambda cap: None), "features"),
    _fault("bias_of_first_head", turned(bias=lambda bias: np.repeat(bias[:, :1], bias.shape[1], 1)), "features"),
    _fault("mask_inverted", turned(mask=lambda mask: ~mask if mask.dtype == bool else mask), "masks"),
    _fault("mask_of_first_batch", turned(mask=lambda mask: np.repeat(mask[:1], mask.shape[0], 0)), "masks"),
    _fault("mask_transposed", turned(mask=lambda mask: mask[:, :, ::-1]), "masks"),
    _fault("odd_dimensions", turned(dot=odd_dimensions), "tails"),
    _fault("ignores_strides", ignores_strides, "layout"),
    _fault("tail_unwritten", tail_unwritten, "exact"),
    _fault("decode_drops_newest", decode_drops_newest, "decode tails"),
    _fault("long_drops", long_drops, "large"),
    _fault("changes_inputs", changes_inputs, "exact"),
    _fault("empty_part_nan", partial(split, careful=False), "tails"),
    _fault("parts_bf16", partial(split, store=same), "bound chunks permutation", BF16),
    _fault("keeps_scale", KeepsScale(), "second_call"),
    _fault("remembers", Remembers(), "second_call"),
    _fault("wavers", Wavers(), "repeat"),
    _fault("varies_with_batch", varies_with_batch, "slices", batch_invariant=True),
)


# Correct variants ---------------------------------------------------------------------------------------------------


def backward(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Keys from last to first, where no option depends on their order."""
    if set(options) - {"scale", "softcap", "sinks"}:
        return attend(q, k, v, **options, knobs=Knobs(tile=9))
    return attend(q, k[:, :, ::-1], v[:, :, ::-1], **options, knobs=Knobs(tile=TILE))


def scaled_first(q: Array, k: Array, v: Array, *, scale: float | None = None, **options: Any) -> Any:
    """q and k are each multiplied by the root of the scale, in f32."""
    root = np.float32(np.sqrt(q.shape[3] ** -0.5 if scale is None else scale))
    out, lse = attend(f32(q) * root, f32(k) * root, f32(v), scale=1.0, **options)
    return out.astype(q.dtype), lse


def normalised_first(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """Weights are divided by their sum before they are multiplied by v: two passes by the log-sum-exp."""
    if options:
        return attend(q, k, v, **options)
    group, factor = q.shape[1] // k.shape[1], np.float32(q.shape[3] ** -0.5)
    wide_k, wide_v = (np.repeat(f32(x), group, 1) for x in (k, v))
    with np.errstate(all="ignore"):
        s = f32(q) @ wide_k.swapaxes(-1, -2) * factor
        top = s.max(-1, keepdims=True)
        p = np.exp(s - top)
        total = p.sum(-1, keepdims=True)
        return (p / total @ wide_v).astype(q.dtype), (top + np.log(total))[..., 0]


def base_two(x: Array) -> Array:
    return np.exp2(x * np.float32(np.log2(np.e)))


VARIANTS: tuple[tuple[str, Callable[..., Any], dict[str, Any]], ...] = (
    ("one_pass", attend, {}),
    ("online", turned(tile=TILE), {}),
    ("online_narrow", turned(tile=5), {}),
    ("backward", backward, {}),
    ("split", split, {}),
    ("scaled_first", scaled_first, {}),
    ("normalised_first", normalised_first, {}),
    ("exp2", turned(tile=TILE, exp=base_two), {}),
    ("weights_bf16-declared", turned(weight=bf16), {"probabilities": "bf16"}),
    ("scores_bf16-declared", turned(score=bf16), {"scores": "bf16"}),
    ("masked_row-declared", turned(empty=np.nan), {"masked_row": "nan"}),
    ("top_left-declared", turned(shift=0), {"causal_alignment": "top-left"}),
    ("computed-declared", turned(tile=TILE, ignore=False), {"masked_keys": "computed"}),
    ("nondeterministic-declared", Wavers(), {"deterministic": False}),
    ("batch-variant-undeclared", varies_with_batch, {}),
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
