"""Paged decode and KV appends of our own in Triton: compiled for a CUDA device, else interpreted on the CPU."""

from functools import cache, partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.paged_kernels import PAIRS, QUANTIZED, append_kernel, attention_kernel
from lastbit.providers.triton import interpreting, ready

SOURCE = "plugins/lastbit/providers/triton_decode.py"
#: Triton's exp of f32 is ex2.approx, of 2 ulp, on the scaled argument; NumPy's, where interpreted, of up to 4.
PLAIN = Contract(exp_ulp=4.0, source=f"{SOURCE}: online, in f32, scales applied to logits and to the result")
APPEND = Contract(
    overflow="saturate",
    scale_arithmetic="divide",
    source="plugins/lastbit/providers/triton_append.py: x / scale in f32, clipped, cast",
)
#: Largest b*hq*lq*d*len that is interpreted: a page of a head takes a millisecond.
INTERPRETED_LIMIT = 2_000
#: Largest tokens*hkv*d*dv of an append that is interpreted: a head of a token takes a millisecond.
INTERPRETED_APPEND = 16_000


def kernels() -> tuple[Kernel, ...]:
    """Paged decode and appends in Triton, if this process can run them.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    # The interpreter's casts to FP8 are wrong (FINDINGS.md, F5), and copies of two widths are as good as of all.
    pairs = PAIRS if compiled else (("f32", "f32"), ("bf16", "bf16"), ("bf16", "i8"))
    appending = partial(
        append_kernel,
        contract=APPEND,
        pairs=pairs,
        devices=("cuda",) if compiled else ("cpu",),
        limit=None if compiled else INTERPRETED_APPEND,
    )
    return (
        appending("triton/kv-append", append, inplace=False, tier="smoke" if compiled else "standard"),
        appending("triton/kv-append-inplace", partial(append, inplace=True), inplace=True),
        attention_kernel(
            "triton/paged-decode",
            attention,
            PLAIN,
            floats=("f32", "f16", "bf16"),
            quantized=QUANTIZED if compiled else QUANTIZED[:1],
            devices=("cuda",) if compiled else ("cpu",),
            features=frozenset({"gqa", "window", "scales", "head_scales"}),
            limit=None if compiled else INTERPRETED_LIMIT,
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
    window: tuple[int, int] = (-1, -1),
) -> Any:
    """Attention of one query of each sequence, its last token's; arithmetic in f32."""
    import torch

    out = torch.empty(*q.shape[:-1], v_cache.shape[-1], dtype=q.dtype, device=q.device)
    # The interpreter's casts between f32 and bf16 are wrong (FINDINGS.md, F4): PyTorch's are taken there.
    outside = q.dtype == torch.bfloat16 and interpreting()
    result = torch.empty_like(out, dtype=torch.float32) if outside else out
    if outside:
        q, k_cache, v_cache = (x.float() if x.dtype == torch.bfloat16 else x for x in (q, k_cache, v_cache))
    if out.numel():
        _launch(q, k_cache, v_cache, block_table, seq_lens, k_scale, v_scale, window[0], result)
    if outside:
        out.copy_(result)
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
    caches = tuple(cache if inplace else cache.clone() for cache in (k_cache, v_cache))
    for x, new, scale in zip((k, v), caches, (k_scale, v_scale), strict=True):
        if x.numel():
            _store(x, new, slots, scale)
    return None if inplace else caches


def _store(x: Any, cache: Any, slots: Any, scale: Any) -> None:
    import torch
    import triton

    scaled, integer = scale is not None, not cache.dtype.is_floating_point
    if scaled and x.dtype == torch.bfloat16 and interpreting():
        x = x.float()  # as in `attention`
    limits = torch.iinfo(cache.dtype) if integer else torch.finfo(cache.dtype)
    sizes = (x.shape[0], x.shape[2], cache.shape[1], scale.stride(0) if scaled and scale.numel() > 1 else 0)
    strides = (*x.stride(), *cache.stride(), *slots.stride())
    held = {name: triton.next_power_of_2(size) for name, size in zip(("TOKENS", "SIZE"), sizes[:2], strict=True)}
    rule = {"SCALED": scaled, "LOW": float(limits.min), "HIGH": float(limits.max), "INTEGER": integer}
    _jit_append()[x.shape[:2]](x, cache, slots, scale if scaled else x, *sizes, *strides, **held, **rule)


def _launch(q: Any, k: Any, v: Any, table: Any, lengths: Any, k_scale: Any, v_scale: Any, left: int, out: Any) -> None:
    import triton

    if q.shape[2] != 1:
        raise NotImplementedError("paged decode takes one query for each sequence")
    scaled = k_scale is not None
    step = k_scale.stride(0) if scaled and k_scale.numel() > 1 else 0
    sizes = (q.shape[1] // k.shape[2], k.shape[1], q.shape[3], v.shape[3], step, left)
    strides = (q.stride(0), q.stride(1), q.stride(3), *k.stride(), *v.stride(), *table.stride(), *lengths.stride())
    held = {name: triton.next_power_of_2(size) for name, size in zip(("BLOCK", "D", "DV"), sizes[1:4], strict=True)}
    scales = (k_scale, v_scale) if scaled else (q, q)
    operands = (q, k, v, table, lengths, *scales, out)
    _jit()[q.shape[:2]](*operands, q.shape[3] ** -0.5, *sizes, *strides, **held, SCALED=scaled)


@cache
def _jit() -> Any:
    import triton

    from lastbit.providers.triton_decode import decode

    return triton.jit(decode)


@cache
def _jit_append() -> Any:
    import triton

    from lastbit.providers.triton_append import append

    return triton.jit(append)
