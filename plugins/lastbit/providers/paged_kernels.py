"""Descriptions of paged attention and KV append kernels, as the providers of several frameworks share them."""

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
