"""SGLang's Triton kernels: decode, extend and prefill attention over token slots, and appends to the cache."""

from collections.abc import Callable
from typing import Any

from lastbit.providers.serving import Entry, Offer, Package, changed, published
from lastbit.providers.serving_layout import flat, last_tokens, ragged, slots, span, starts, unflat
from lastbit.providers.serving_triton import append_offer, dense_offers, paged_offers, prefilled
from lastbit.providers.sglang_stubs import loaded

OPS = "sglang.kernels.ops"
FILES = "python/sglang/kernels/ops"
DECODE = Entry(
    f"{OPS}.attention.decode_attention",
    "decode_attention_fwd",
    (
        *("q", "k_buffer", "v_buffer", "o", "kv_indptr", "kv_indices", "attn_logits", "attn_lse", "num_kv_splits"),
        *("max_kv_splits", "sm_scale", "k_scale", "v_scale"),
    ),
)
EXTEND = Entry(
    f"{OPS}.attention.extend_attention",
    "extend_attention_fwd",
    (
        *("q_extend", "k_extend", "v_extend", "o_extend", "k_buffer", "v_buffer", "qo_indptr", "kv_indptr"),
        *("kv_indices", "custom_mask", "is_causal", "mask_indptr", "max_len_extend", "k_scale", "v_scale"),
        *("sm_scale", "sliding_window_size"),
    ),
)
PREFILL = Entry(
    f"{OPS}.attention.prefill_attention",
    "context_attention_fwd",
    ("q", "k", "v", "o", "b_start_loc", "b_seq_len", "max_input_len", "is_causal", "sm_scale"),
)
APPEND = Entry(
    f"{OPS}.kvcache.cache_ops",
    "launch_reshape_and_cache_flash",
    ("key", "value", "key_cache", "value_cache", "slot_mapping", "k_scale", "v_scale"),
)

#: Most parts that the keys of a decode are cut into; a part is a multiple of 32 keys (_MIN_BLOCK_KV).
PARTS = 4


def offers(compiled: bool) -> list[Offer]:
    """The kernels, compiled or interpreted."""
    single = f"{FILES}/attention/decode_attention.py"
    grouped, plain = f"{single}: _fwd_grouped_kernel_stage1", f"{single}: _fwd_kernel_stage1, reduced in fp32"
    extended = f"{FILES}/attention/extend_attention.py: _fwd_kernel, acc f32, p.to(v.dtype)"
    fill = f"{FILES}/attention/prefill_attention.py: _fwd_kernel, acc f32, p.to(v.dtype)"
    stored = f"{FILES}/kvcache/cache_ops.py: k / k_scale; RN and saturation by the cast of tl.store"
    return [
        *paged_offers("sglang/decode", decode, (DECODE,), grouped, compiled, tier="smoke"),
        *paged_offers("sglang/decode-mha", decode_mha, (DECODE,), plain, compiled, cast=False),
        *paged_offers("sglang/extend", extend, (EXTEND,), extended, compiled, features=("causal", "window")),
        *dense_offers("sglang/prefill", prefill, PREFILL, fill, compiled),
        append_offer("sglang/append", append, APPEND, stored, compiled),
    ]


def find(owner: Package, entry: Entry) -> Callable[..., Any]:
    """The function of an entry, out of SGLang's file alone.

    Raises UnavailableKernelError when the file, or what lastbit gives it of the rest of SGLang, has changed.
    """
    try:
        module = loaded(owner.folder, entry.module)
    except (ImportError, AttributeError) as error:
        raise changed(entry, owner, str(error)) from error
    return published(entry, module, owner)


def decode(attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any) -> Any:
    """decode_attention_fwd of grouped heads, which are multiplied by tl.dot."""
    if q.shape[1] == k_cache.shape[2]:
        raise NotImplementedError("heads that share no keys take another kernel, decode-mha")
    return _decoded(attend, q, k_cache, v_cache, block_table, seq_lens)


def decode_mha(attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any) -> Any:
    """decode_attention_fwd of heads with keys of their own: those of a group are repeated."""
    group = q.shape[1] // k_cache.shape[2]
    caches = (x.repeat_interleave(group, 2) for x in (k_cache, v_cache))
    return _decoded(attend, q, *caches, block_table, seq_lens)


def extend(
    attend: Callable[..., Any],
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
) -> Any:
    """extend_attention_fwd: a chunk's own keys, and those before it by their slots."""
    import torch

    (b, hq, lq, d) = q.shape
    causal, left = span(causal, window, lq)
    if not causal or left == 0:
        raise NotImplementedError("the kernel's windows look back, and one of 0 means none")
    places = slots(block_table, k_cache.shape[1])
    indices, begin = ragged(places, seq_lens - lq)
    out = torch.empty((b * lq, hq, d), dtype=q.dtype, device=q.device)
    attend(
        q_extend=flat(q),
        k_extend=last_tokens(k_cache, places, seq_lens, lq),
        v_extend=last_tokens(v_cache, places, seq_lens, lq),
        o_extend=out,
        k_buffer=k_cache.flatten(0, 1),
        v_buffer=v_cache.flatten(0, 1),
        qo_indptr=starts(b, lq, q.device),
        kv_indptr=begin,
        kv_indices=indices,
        custom_mask=None,
        is_causal=True,
        mask_indptr=None,
        max_len_extend=lq,
        k_scale=1.0,
        v_scale=1.0,
        sm_scale=d**-0.5,
        sliding_window_size=left,
    )
    return unflat(out, lq)


def prefill(
    attend: Callable[..., Any], q: Any, k: Any, v: Any, *, scale: float | None = None, causal: bool = False
) -> Any:
    """context_attention_fwd of a first prefill."""

    def launch(*operands: Any) -> None:
        attend(*operands, is_causal=causal, sm_scale=scale)

    return prefilled(launch, q, k, v)


def append(store: Callable[..., Any], k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any, **scales: Any) -> None:
    """launch_reshape_and_cache_flash, in place."""
    store(k.contiguous(), v.contiguous(), k_cache, v_cache, slots.contiguous(), **scales)


def _decoded(attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any) -> Any:
    import torch

    (b, hq, lq, d) = q.shape
    if lq != 1:
        raise NotImplementedError("decode takes one query a sequence")
    indices, begin = ragged(slots(block_table, k_cache.shape[1]), seq_lens)
    out = torch.empty((b, hq, d), dtype=q.dtype, device=q.device)
    attend(
        q=flat(q),
        k_buffer=k_cache.flatten(0, 1),
        v_buffer=v_cache.flatten(0, 1),
        o=out,
        kv_indptr=begin,
        kv_indices=indices,
        attn_logits=torch.empty((b, hq, PARTS, d), dtype=torch.float32, device=q.device),
        attn_lse=torch.empty((b, hq, PARTS), dtype=torch.float32, device=q.device),
        num_kv_splits=torch.full((b,), PARTS, dtype=torch.int32, device=q.device),
        max_kv_splits=PARTS,
        sm_scale=d**-0.5,
        k_scale=1.0,
        v_scale=1.0,
    )
    return unflat(out, 1)
