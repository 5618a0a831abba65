"""Plain PyTorch paged attention (gather, then softmax) and KV appends (index_put_), of our own."""

from dataclasses import replace
from functools import partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.paged_kernels import QUANTIZED, append_kernel, attention_kernel

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
    import torch

    wide = torch.promote_types(q.dtype, torch.float32)
    out = q.new_zeros(*q.shape[:-1], v_cache.shape[-1])
    for sequence, length in enumerate(seq_lens.tolist()):
        k = _gathered(k_cache, block_table[sequence], length, k_scale, wide)
        v = _gathered(v_cache, block_table[sequence], length, v_scale, wide)
        if length:
            out[sequence] = _dense(q[sequence].to(wide), k, v, causal, window).to(q.dtype)
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
    reciprocal: bool = False,
) -> Any:
    """Both caches with the tokens at their slots; negative slots are left out."""
    import torch

    places = slots[slots >= 0].long()
    caches = []
    for x, cache, scale in ((k, k_cache, k_scale), (v, v_cache, v_scale)):
        codes = x if scale is None else _quantized(x, scale[:, None], cache.dtype, reciprocal)
        new = cache if inplace else cache.clone()
        # Bytes are stored as they are: PyTorch has no index_put_ of FP8.
        raw, stored = (t.view(torch.uint8) if t.element_size() == 1 else t for t in (new, codes))
        raw.index_put_((places // cache.shape[1], places % cache.shape[1]), stored[slots >= 0])
        caches.append(new)
    return None if inplace else tuple(caches)


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

    group = q.shape[0] // k.shape[0]
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


def _quantized(x: Any, scale: Any, dtype: Any, reciprocal: bool) -> Any:
    import torch

    x = x.float()
    x = x * scale.reciprocal() if reciprocal else x / scale
    if dtype == torch.int8:
        return x.round().clamp(-128, 127).to(dtype)
    largest = torch.finfo(dtype).max
    return x.clamp(-largest, largest).to(dtype)
