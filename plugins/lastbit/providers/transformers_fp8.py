"""Transformers' FP8 cache as a paged attention kernel: a model decodes with a cache of each sequence's codes."""

from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.paged_kernels import attend_gathered
from lastbit.providers.transformers_caches import attend, decoder

FP8 = "e4m3fn"
#: One scale for all heads, one new token a step.
FEATURES = frozenset({"gqa", "scales"})
#: A model works through each sequence on its own.
LIMIT = 2_000_000


def decode_kernel(name: str, fmt: str, contract: Contract, tier: str) -> Kernel:
    """Decode steps with QuantizedCache("fp8") for queries of `fmt`."""
    formats = {"q": fmt, "k_cache": FP8, "v_cache": FP8, "out": fmt}
    return Kernel(name, "paged_attention", decode, formats, contract, features=FEATURES, tier=tier, limit=LIMIT)


def decode(q: Any, *cache: Any, k_scale: Any = None, v_scale: Any = None) -> Any:
    """Attention of each sequence's last token, whose codes the cache is about to make, and the earlier ones' codes."""
    out = q.new_zeros(*q.shape[:-1], cache[1].shape[-1])
    return attend_gathered(q, *cache, out=out, gather=_codes, dense=_decode, k_scale=k_scale, v_scale=v_scale)


def _codes(cache: Any, pages: Any, length: int, scale: Any) -> tuple[Any, Any]:
    """The codes of a sequence's tokens, (1, heads, length, size), and the scale of all heads."""
    used = cache[pages[: -(-length // cache.shape[1])].long()]
    return used.flatten(0, 1)[:length].transpose(0, 1)[None], scale[0]


def _decode(q: Any, k: tuple[Any, Any], v: tuple[Any, Any], causal: bool, window: tuple[int, int] | None) -> Any:
    from transformers.cache_utils import QuantizedCache

    if q.shape[1] != 1:
        raise NotImplementedError("a decode step has one query")
    # The codes of the new token are its dequantized value's, whose rounding to q's type is far less than e4m3's step.
    new = [(codes[:, :, -1:].float() * scale).to(q.dtype) for codes, scale in (k, v)]
    model = decoder(q[None], new[0], "sdpa")
    cache = QuantizedCache("fp8", model.config)
    past = k[0].shape[2] - 1
    for layer in cache.layers if past else ():
        layer.lazy_initialization(*new)
        layer._quantized_keys, layer._quantized_values = ((codes[:, :, :-1], scale) for codes, scale in (k, v))
        layer.cumulative_length = past
    return attend(model, cache, (1,), q[None], *new)[0]
