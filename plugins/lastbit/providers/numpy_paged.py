"""Plain NumPy paged attention (gather, then softmax) and KV appends, of our own."""

from functools import partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.paged_kernels import append_kernel, attention_kernel

SOURCE = "plugins/lastbit/providers/numpy_paged.py"
ATTENTION = Contract(source=f"{SOURCE}: gathered keys and values, matmul, exp, matmul in f32 or f64")
DIVIDED = Contract(overflow="saturate", scale_arithmetic="divide", source=f"{SOURCE}: x / scale in f32, clipped, cast")


def kernels() -> tuple[Kernel, ...]:
    """Paged attention and KV appends in plain NumPy, with the number formats of ml_dtypes.

    Raises ImportError when NumPy or ml_dtypes is not installed.
    """
    import ml_dtypes  # noqa: F401
    import numpy as np  # noqa: F401

    return (
        attention_kernel("numpy/paged-gather", attention, ATTENTION, framework="numpy"),
        append_kernel("numpy/kv-append", append, DIVIDED, inplace=False, framework="numpy"),
        append_kernel(
            "numpy/kv-append-inplace", partial(append, inplace=True), DIVIDED, inplace=True, framework="numpy"
        ),
    )


def attention(
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    k_scale: Any = None,
    v_scale: Any = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
) -> Any:
    """Attention of each sequence over its own gathered tokens; arithmetic in f32, or f64 for f64 queries."""
    import numpy as np

    wide = np.float64 if q.dtype == np.float64 else np.float32
    out = np.zeros((*q.shape[:-1], v_cache.shape[-1]), q.dtype)
    with np.errstate(all="ignore"):
        for sequence, length in enumerate(seq_lens.tolist()):
            k = _gathered(k_cache, block_table[sequence], length, k_scale, wide)
            v = _gathered(v_cache, block_table[sequence], length, v_scale, wide)
            if length:
                out[sequence] = _dense(q[sequence].astype(wide), k, v, causal, window).astype(q.dtype)
    return out


def append(
    k: Any,
    v: Any,
    k_cache: Any,
    v_cache: Any,
    slots: Any,
    *,
    k_scale: Any = None,
    v_scale: Any = None,
    inplace: bool = False,
) -> Any:
    """Both caches with the tokens at their slots; negative slots are left out."""
    places = slots[slots >= 0]
    caches = []
    for x, cache, scale in ((k, k_cache, k_scale), (v, v_cache, v_scale)):
        codes = x if scale is None else _quantized(x, scale[:, None], cache.dtype)
        new = cache if inplace else cache.copy()
        new[places // cache.shape[1], places % cache.shape[1]] = codes[slots >= 0]
        caches.append(new)
    return None if inplace else tuple(caches)


def _gathered(cache: Any, pages: Any, length: int, scale: Any, dtype: Any) -> Any:
    """The first `length` tokens of a sequence, (heads, length, size), dequantized."""
    block = cache.shape[1]
    used = cache[pages[: -(-length // block)]]
    tokens = used.reshape(-1, *cache.shape[2:])[:length].astype(dtype)
    if scale is not None:
        tokens = tokens * scale[:, None].astype(dtype)
    return tokens.swapaxes(0, 1)


def _dense(q: Any, k: Any, v: Any, causal: bool, window: tuple[int, int] | None) -> Any:
    import numpy as np

    group = q.shape[0] // k.shape[0]
    k, v = k.repeat(group, 0), v.repeat(group, 0)
    logits = q @ k.swapaxes(1, 2) * q.dtype.type(q.shape[-1] ** -0.5)
    rows, keys = logits.shape[-2:]
    ahead = np.arange(keys) - np.arange(rows)[:, None] - (keys - rows)
    hidden = (ahead > 0) & causal
    if window is not None:
        left, right = window
        hidden |= (ahead < -left) & (left >= 0) | (ahead > right) & (right >= 0)
    logits = np.where(hidden, -np.inf, logits)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights @ v / weights.sum(-1, keepdims=True)


def _quantized(x: Any, scale: Any, dtype: Any) -> Any:
    import ml_dtypes
    import numpy as np

    x = x.astype(np.float32) / scale
    if dtype == np.int8:
        return np.clip(np.rint(x), -128, 127).astype(dtype)
    largest = np.float32(ml_dtypes.finfo(dtype).max)
    return np.clip(x, -largest, largest).astype(dtype)
