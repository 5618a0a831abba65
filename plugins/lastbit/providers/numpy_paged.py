"""Plain NumPy paged attention (gather, then softmax) and KV appends, of our own."""

from functools import partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.paged_kernels import append_kernel, append_tokens, attend_gathered, attention_kernel

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


def attention(q: Any, *cache: Any, **options: Any) -> Any:
    """Attention of each sequence over its own gathered tokens; arithmetic in f32, or f64 for f64 queries."""
    import numpy as np

    wide = np.float64 if q.dtype == np.float64 else np.float32
    out = np.zeros((*q.shape[:-1], cache[1].shape[-1]), q.dtype)
    with np.errstate(all="ignore"):
        return attend_gathered(q, *cache, out=out, gather=partial(_gathered, dtype=wide), dense=_dense, **options)


def append(*tokens: Any, **options: Any) -> Any:
    """Both caches with the tokens at their slots; negative slots are left out."""
    return append_tokens(*tokens, copy=lambda cache: cache.copy(), store=_store, **options)


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

    q, group = q.astype(k.dtype), q.shape[0] // k.shape[0]
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


def _store(cache: Any, pages: Any, places: Any, x: Any, scale: Any) -> None:
    cache[pages, places] = x if scale is None else _quantized(x, scale, cache.dtype)


def _quantized(x: Any, scale: Any, dtype: Any) -> Any:
    import ml_dtypes
    import numpy as np

    x = x.astype(np.float32) / scale
    if dtype == np.int8:
        return np.clip(np.rint(x), -128, 127).astype(dtype)
    largest = np.float32(ml_dtypes.finfo(dtype).max)
    return np.clip(x, -largest, largest).astype(dtype)
