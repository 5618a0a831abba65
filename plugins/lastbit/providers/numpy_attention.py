"""An attention of our own on NumPy arrays: two passes in f32 or f64, every part of the op, and what it promises."""

from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.numpy_attention_gradients import Saved, gradients, product

SOURCE = "plugins/lastbit/providers/numpy_attention.py"
#: Scores, probabilities and sums in f32 (f64 for f64), one rounding at the end; masked keys are never read. NumPy's exp
#: is off by at most 4 ulp: numpy/_core/src/umath/loops_exponent_log.dispatch.c.src.
PLAIN = Contract(exp_ulp=4.0, source=f"{SOURCE}: two passes in f32 or f64")
FEATURES = frozenset(
    {"scale", "causal", "window", "mask", "additive_mask", "causal_mask", "mask_bias", "bias", "softcap", "sinks"}
    | {"gqa", "dv", "lse", "gradients"}
)


def kernels() -> tuple[Kernel, ...]:
    """The attention that lastbit brings for NumPy.

    Raises ImportError when NumPy is not installed.
    """
    import numpy as np  # noqa: F401

    return (
        Kernel(
            name="numpy/attention",
            op="attention",
            run=attention,
            formats=tuple(_formats(fmt) for fmt in ("f64", "f32", "f16", "bf16")),
            contract=PLAIN,
            framework="numpy",
            devices=("cpu",),
            features=FEATURES,
        ),
    )


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    grad_out: Any = None,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    mask: Any = None,
    bias: Any = None,
    softcap: float | None = None,
    sinks: Any = None,
) -> tuple[Any, ...]:
    """softmax(scale q k' + ..) v and the log-sum-exp, of q (b, hq, lq, d), k (b, hkv, lk, d), v (b, hkv, lk, dv).

    With `grad_out`, the gradient of a loss by the result, also those by q, k and v. Causal and window count from the
    bottom-right corner. A row without keys is zero, its log-sum-exp -inf (or its head's sink). Error: that of two f32
    (f64) products and one exp a score, derived in docs/attention.md.
    """
    import numpy as np

    working: Any = np.float64 if q.dtype == np.float64 else np.float32
    group = q.shape[1] // k.shape[1]
    wide_q, wide_k, wide_v = (np.asarray(x, working) for x in (q, np.repeat(k, group, 1), np.repeat(v, group, 1)))
    factor, slope = working(q.shape[-1] ** -0.5 if scale is None else scale), None
    keep = _kept(q.shape, k.shape[2], causal, window)
    with np.errstate(all="ignore"):
        s = wide_q @ wide_k.swapaxes(-1, -2) * factor
        if softcap is not None:
            bent = np.tanh(s / working(softcap))
            s, slope = working(softcap) * bent, 1 - bent * bent
        if bias is not None:
            s = s + np.asarray(bias, working)
        if mask is not None and mask.dtype == np.bool_:
            keep = keep & mask
        elif mask is not None:
            keep = keep & (np.asarray(mask, working) != -np.inf)
            s = s + np.asarray(mask, working)
        s, keep = np.where(keep, s, working(-np.inf)), np.broadcast_to(keep, s.shape)
        out, lse = _weighted(s, keep, wide_v, sinks, working)
        if grad_out is None:
            return out.astype(q.dtype), lse
        saved = Saved(wide_q, wide_k, wide_v, s, keep, slope, factor, out, lse)
        found = gradients(saved, np.asarray(grad_out, working), group)
    return out.astype(q.dtype), lse, *(gradient.astype(q.dtype) for gradient in found)


def _weighted(s: Any, keep: Any, v: Any, sinks: Any, working: Any) -> tuple[Any, Any]:
    """The mean of v under exp(s), and the log of the sum of exp(s), sinks among the terms of the sum."""
    import numpy as np

    top = s.max(-1, keepdims=True, initial=-np.inf)
    sink = None if sinks is None else np.asarray(sinks, working)[:, None, None]
    if sink is not None:
        top = np.maximum(top, sink)
    top = np.where(top == -np.inf, working(0), top)
    p = np.where(keep, np.exp(s - top), working(0))
    total = p.sum(-1, keepdims=True)
    if sink is not None:
        total = total + np.exp(sink - top)
    out = np.where(total == 0, working(0), product(p, keep, v) / total)
    return out, (np.log(total) + top)[..., 0]


def _kept(shape: tuple[int, ...], lk: int, causal: bool, window: tuple[int, int] | None) -> Any:
    """Which keys a query sees, (lq, lk)."""
    import numpy as np

    distance = np.arange(lk)[None, :] - (np.arange(shape[2])[:, None] + lk - shape[2])
    keep = np.ones(distance.shape, bool)
    if causal:
        keep &= distance <= 0
    for side, beyond in zip(window or (), (-distance, distance), strict=False):
        if side >= 0:
            keep &= beyond <= side
    return keep


def _formats(fmt: str) -> dict[str, str]:
    return {"q": fmt, "k": fmt, "v": fmt, "out": fmt, "lse": "f64" if fmt == "f64" else "f32"}
