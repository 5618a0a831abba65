"""Paged attention and KV append kernels as the providers of several frameworks share them: description and outline."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

FLOATS = ("f64", "f32", "f16", "bf16")
#: (format of q, k, v and the result; format of the cache).
QUANTIZED = (("bf16", "e4m3fn"), ("f16", "e5m2"), ("f32", "e4m3fn"), ("bf16", "i8"))
#: Those of an append: copies and codes.
PAIRS = (("f64", "f64"), ("f32", "f32"), ("f16", "f16"), ("bf16", "bf16"), *QUANTIZED)
#: What the plain attentions offer beyond one query a sequence and as many heads of keys as of queries.
FEATURES = frozenset({"gqa", "causal", "window", "scales", "head_scales"})


def attention_kernel(
    name: str,
    run: Callable[..., Any],
    contract: Contract,
    *,
    framework: str = "torch",
    floats: tuple[str, ...] = FLOATS,
    quantized: tuple[tuple[str, str], ...] = QUANTIZED,
    devices: tuple[str, ...] = ("cpu", "cuda"),
    features: frozenset[str] = FEATURES,
    limit: int | None = None,
) -> Kernel:
    """A paged attention kernel over caches of the formats of q and of 8 bits."""
    pairs = [(fmt, fmt) for fmt in floats] + [pair for pair in quantized if pair[0] in floats]
    return Kernel(
        name=name,
        op="paged_attention",
        run=run,
        formats=[{"q": q, "k_cache": cache, "v_cache": cache, "out": q} for q, cache in pairs],
        contract=contract,
        framework=framework,
        devices=devices if framework == "torch" else ("cpu",),
        features=features,
        limit=limit,
    )


def append_kernel(
    name: str,
    run: Callable[..., Any],
    contract: Contract,
    *,
    inplace: bool,
    pairs: tuple[tuple[str, str], ...] = PAIRS,
    framework: str = "torch",
) -> Kernel:
    """A KV append kernel over caches of the formats of the tokens and of 8 bits."""
    return Kernel(
        name=name,
        op="kv_append",
        run=run,
        formats=[{"k": x, "v": x, "k_cache": cache, "v_cache": cache, "out": cache} for x, cache in pairs],
        contract=contract,
        framework=framework,
        devices=("cpu", "cuda") if framework == "torch" else ("cpu",),
        features=frozenset({"scales", "head_scales", "padding"} | ({"inplace"} if inplace else set())),
    )


def attend_gathered(
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    out: Any,
    gather: Callable[..., Any],
    dense: Callable[..., Any],
    k_scale: Any = None,
    v_scale: Any = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
) -> Any:
    """`out`, zeros of (b, hq, lq, dv), with each sequence's attention over its own gathered tokens.

    `gather(cache, pages, length, scale)` gives a sequence's tokens (hkv, length, size), dequantized, and
    `dense(q, k, v, causal, window)` their attention; a sequence without tokens stays zero.
    """
    for sequence, length in enumerate(seq_lens.tolist()):
        if length:
            k = gather(k_cache, block_table[sequence], length, k_scale)
            v = gather(v_cache, block_table[sequence], length, v_scale)
            out[sequence] = dense(q[sequence], k, v, causal, window)
    return out


def append_tokens(
    k: Any,
    v: Any,
    k_cache: Any,
    v_cache: Any,
    slots: Any,
    *,
    copy: Callable[[Any], Any],
    store: Callable[..., None],
    k_scale: Any = None,
    v_scale: Any = None,
    inplace: bool = False,
) -> Any:
    """Both caches with the tokens at their slots, negative slots left out; None where they are written in place.

    `copy(cache)` gives a cache to write to, and `store(cache, pages, places, tokens, scale)` writes the tokens, divided
    by their heads' scale if there is one.
    """
    kept = slots >= 0
    block, caches = k_cache.shape[1], []
    for x, cache, scale in ((k, k_cache, k_scale), (v, v_cache, v_scale)):
        new = cache if inplace else copy(cache)
        store(new, slots[kept] // block, slots[kept] % block, x[kept], None if scale is None else scale[:, None])
        caches.append(new)
    return None if inplace else tuple(caches)
