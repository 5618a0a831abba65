"""How lastbit's operands reach vLLM's CPU operators, whose cache has a layout of its own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lastbit.providers.serving_layout import dense_batch, flat, slots, span, starts, unflat, widened

#: Tokens of a page are a multiple of this, by instruction set: cpu_attn_vec.hpp and cpu_attn_vec16.hpp,
#: BlockSizeAlignment.
PAGES = {"vec": 32, "vec16": 16}
#: vllm/v1/attention/backends/cpu_attn.py: get_supported_head_sizes; "vec" takes the multiples of 32.
HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
FP8 = {"e4m3fn": "fp8_e4m3", "e5m2": "fp8_e5m2"}


def paged(
    attend: Any,
    schedule: Any,
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    isa: str,
    k_scale: Any = None,
    v_scale: Any = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
) -> Any:
    """cpu_attention_with_kv_cache over a cache in its own layout; pages of another size are cut into its own."""
    if k_cache.shape[1] % PAGES[isa]:
        k_cache, v_cache, block_table = _repaged(k_cache, v_cache, block_table, PAGES[isa])
    return _attend(
        *(attend, schedule, q, k_cache, v_cache, block_table, seq_lens),
        scale=q.shape[-1] ** -0.5,
        causal=causal,
        window=window,
        isa=isa,
        scales={} if k_scale is None else {"k_scale": float(k_scale), "v_scale": float(v_scale)},
    )


def dense(
    attend: Any,
    schedule: Any,
    q: Any,
    k: Any,
    v: Any,
    *,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    softcap: float | None = None,
    sinks: Any = None,
    **packed: Any,
) -> Any:
    """cpu_attention_with_kv_cache over keys and values in pages of their own, as in a first prefill."""
    operands, begin = dense_batch(q, k, v, PAGES["vec"], **packed, aligned=causal or window is not None)
    return _attend(
        *(attend, schedule, q, *operands),
        begin=begin,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        causal=causal,
        window=window,
        isa="vec",
        softcap=softcap or 0.0,
        sinks=sinks,
    )


def append(
    store: Any, k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any, *, k_scale: Any = None, v_scale: Any = None
) -> None:
    """cpu_attn_reshape_and_cache into a cache in its own layout, which is then read back."""
    import torch

    d, size = k.shape[-1], _head(k.shape[-1], "vec")
    caches = [widened(_raw(cache), size) for cache in (k_cache, v_cache)]
    key_cache, value_cache = _packed(*caches)
    scales = {} if k_scale is None else {"k_scale": float(k_scale), "v_scale": float(v_scale)}
    tokens = [x.contiguous() for x in (widened(k, size), widened(v, size))]
    places = slots.to(torch.int64).contiguous()
    store(*tokens, key_cache, value_cache, places, "vec", **scales, **_kind(k_cache))
    pages, heads, block, _ = key_cache.shape
    keys = key_cache.reshape(pages, heads, size, block).permute(0, 3, 1, 2)
    _raw(k_cache).copy_(keys[..., :d])
    _raw(v_cache).copy_(value_cache.permute(0, 2, 1, 3)[..., :d])


def _attend(
    attend: Any,
    schedule: Any,
    q: Any,
    k_cache: Any,
    v_cache: Any,
    table: Any,
    lengths: Any,
    *,
    scale: float,
    causal: bool,
    window: tuple[int, int] | None,
    isa: str,
    begin: Any = None,
    softcap: float = 0.0,
    sinks: Any = None,
    scales: Mapping[str, float] = MappingProxyType({}),
) -> Any:
    import torch

    (b, hq, lq, d), hkv = q.shape, k_cache.shape[2]
    size = _head(d, isa)
    query = flat(widened(q, size))
    out = torch.empty(query.shape, dtype=query.dtype)
    key_cache, value_cache = _packed(*(widened(_raw(x), size) for x in (k_cache, v_cache)))
    begin = starts(b, lq, q.device) if begin is None else begin
    causal, left = span(causal, window, int(torch.diff(begin).max()))
    kind, seen = _kind(k_cache), left if left < 0 else left + 1
    lengths, table = lengths.contiguous(), table.contiguous()
    plan = schedule(lengths.numel(), hq, hkv, size, lengths, query.dtype, begin, causal, seen, isa, True, None, **kind)
    attend(
        *(query, key_cache, value_cache, out, begin, lengths, scale, causal, None, seen, table, softcap, plan, sinks),
        None,
        **scales,
        **kind,
    )
    return unflat(out[..., :d], lq)


def _packed(k: Any, v: Any) -> tuple[Any, Any]:
    """vLLM's one tensor of keys and values: (pages, hkv, 2, block, d); a page of keys is stored (d, block)."""
    import torch

    keys, values = k.permute(0, 2, 3, 1).flatten(2), v.permute(0, 2, 1, 3).flatten(2)
    pages, block, heads, size = v.shape
    both = torch.stack([keys, values], 2).view(pages, heads, 2 * block, size)
    key_cache, value_cache = both.chunk(2, dim=2)
    return key_cache, value_cache


def _repaged(k_cache: Any, v_cache: Any, table: Any, page: int) -> tuple[Any, Any, Any]:
    """Caches in pages of `page` places, the last ones first, and their table; places without a token go along."""
    import torch

    places = slots(table, k_cache.shape[1])
    more = -places.shape[1] % page
    places = torch.cat([places, places[:, -1:].expand(-1, more)], 1)
    count = places.numel() // page
    order = torch.arange(count - 1, -1, -1)
    caches = []
    for cache in (k_cache, v_cache):
        tokens = _raw(cache).flatten(0, 1)[places.flatten()]
        caches.append(tokens.unflatten(0, (count, page))[order].view(cache.dtype))
    return caches[0], caches[1], order.to(torch.int32).view(places.shape[0], -1)


def _raw(cache: Any) -> Any:
    """A cache of FP8 as the bytes that vLLM holds it in; another as it is."""
    import torch

    return cache.view(torch.uint8) if cache.element_size() == 1 else cache


def _kind(cache: Any) -> dict[str, str]:
    names = {"torch.float8_e4m3fn": FP8["e4m3fn"], "torch.float8_e5m2": FP8["e5m2"]}
    return {"kv_cache_dtype": names.get(str(cache.dtype), "auto")}


def _head(d: int, isa: str) -> int:
    """The least head size of the kernel that holds `d`."""
    return next(size for size in HEADS if size >= d and not size % PAGES[isa])
