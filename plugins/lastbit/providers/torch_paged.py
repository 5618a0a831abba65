"""Plain PyTorch paged attention (gather, then softmax) and KV appends (index_put_), of our own."""

from dataclasses import replace
from functools import partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.paged_kernels import QUANTIZED, append_kernel, append_tokens, attend_gathered, attention_kernel

SOURCE = "plugins/lastbit/providers/torch_paged.py"
ATTENTION = Contract(source=f"{SOURCE}: gathered keys and values, matmul, softmax, matmul in f32 or f64")
DIVIDED = Contract(overflow="saturate", scale_arithmetic="divide", source=f"{SOURCE}: x / scale in f32, clamped, cast")


def kernels() -> tuple[Kernel, ...]:
    """Paged attention and KV appends in plain PyTorch.

    Raises ImportError when PyTorch is not installed.
    """
    import torch  # noqa: F401

    reciprocal = replace(DIVIDED, scale_arithmetic="reciprocal", source=f"{SOURCE}: x * (1 / scale) in f32")
    by_reciprocal = partial(append, inplace=True, reciprocal=True)
    return (
        attention_kernel("torch/paged-gather", attention, ATTENTION),
        append_kernel("torch/kv-append", append, DIVIDED, inplace=False),
        append_kernel("torch/kv-append-inplace", partial(append, inplace=True), DIVIDED, inplace=True),
        append_kernel("torch/kv-append-reciprocal", by_reciprocal, reciprocal, inplace=True, pairs=QUANTIZED),
    )


def attention(q: Any, *cache: Any, **options: Any) -> Any:
    """Attention of each sequence over its own gathered tokens; arithmetic in f32, or f64 for f64 queries."""
    import torch

    wide = torch.promote_types(q.dtype, torch.float32)
    out = q.new_zeros(*q.shape[:-1], cache[1].shape[-1])
    return attend_gathered(q, *cache, out=out, gather=partial(_gathered, dtype=wide), dense=_dense, **options)


def append(*tokens: Any, reciprocal: bool = False, **options: Any) -> Any:
    """Both caches with the tokens at their slots; negative slots are left out."""
    store = partial(_store, reciprocal=reciprocal)
    return append_tokens(*tokens, copy=lambda cache: cache.clone(), store=store, **options)


def _gathered(cache: Any, pages: Any, length: int, scale: Any, dtype: Any) -> Any:
    """The first `length` tokens of a sequence, (heads, length, size), dequantized."""
    block = cache.shape[1]
    used = cache[pages[: -(-length // block)].long()]
    tokens = used.flatten(0, 1)[:length].to(dtype)
    if scale is not None:
        tokens = tokens * scale[:, None].to(dtype)
    return tokens.transpose(0, 1)


def _dense(q: Any, k: Any, v: Any, causal: bool, window: tuple[int, int] | None) -> Any:
    import torch

    q, group = q.to(k.dtype), q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    logits = q @ k.mT * q.shape[-1] ** -0.5
    rows, keys = (torch.arange(n, device=q.device) for n in logits.shape[-2:])
    ahead = keys - rows[:, None] - (len(keys) - len(rows))
    if causal:
        logits = logits.masked_fill(ahead > 0, -torch.inf)
    if window is not None:
        left, right = window
        hidden = (ahead < -left) & (left >= 0) | (ahead > right) & (right >= 0)
        logits = logits.masked_fill(hidden, -torch.inf)
    return torch.softmax(logits, -1) @ v


def _store(cache: Any, pages: Any, places: Any, x: Any, scale: Any, reciprocal: bool) -> None:
    import torch

    codes = x if scale is None else _quantized(x, scale, cache.dtype, reciprocal)
    # Bytes are stored as they are: PyTorch has no index_put_ of FP8.
    raw, stored = (t.view(torch.uint8) if t.element_size() == 1 else t for t in (cache, codes))
    raw.index_put_((pages.long(), places.long()), stored)


def _quantized(x: Any, scale: Any, dtype: Any, reciprocal: bool) -> Any:
    import torch

    x = x.float()
    x = x * scale.reciprocal() if reciprocal else x / scale
    if dtype == torch.int8:
        return x.round().clamp(-128, 127).to(dtype)
    largest = torch.finfo(dtype).max
    return x.clamp(-largest, largest).to(dtype)
