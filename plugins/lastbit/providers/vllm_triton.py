"""vLLM's Triton kernels: paged, decode, prefix and prefill attention, and appends to the cache."""

from collections.abc import Callable
from typing import Any

from lastbit.providers.serving import Entry, Offer, Package, changed, published
from lastbit.providers.serving_layout import flat, last_tokens, slots, span, starts, unflat
from lastbit.providers.serving_triton import append_offer, dense_offers, paged_offers, prefilled
from lastbit.providers.vllm_stubs import loaded

OPS = "vllm.v1.attention.ops"
FILES = "vllm/v1/attention/ops"
UNIFIED = Entry(
    f"{OPS}.triton_unified_attention",
    "unified_attention",
    (
        *("q", "k", "v", "out", "cu_seqlens_q", "max_seqlen_q", "seqused_k", "max_seqlen_k", "softmax_scale"),
        *("causal", "window_size", "block_table", "softcap", "q_descale", "k_descale", "v_descale"),
        *("seq_threshold_3D", "num_par_softmax_segments", "softmax_segm_output", "softmax_segm_max"),
        "softmax_segm_expsum",
    ),
)
DECODE = Entry(
    f"{OPS}.triton_decode_attention",
    "decode_attention_fwd",
    (
        *("q", "k_buffer", "v_buffer", "o", "lse", "req_to_token", "b_seq_len", "attn_logits", "num_kv_splits"),
        *("sm_scale", "page_size"),
    ),
)
MERGE = Entry(
    f"{OPS}.triton_merge_attn_states",
    "merge_attn_states",
    ("output", "prefix_output", "prefix_lse", "suffix_output", "suffix_lse"),
)
PREFIX = Entry(
    f"{OPS}.prefix_prefill",
    "context_attention_fwd",
    (
        *("q", "k", "v", "o", "kv_cache_dtype", "k_cache", "v_cache", "b_loc", "b_start_loc", "b_seq_len"),
        *("max_seq_len", "max_input_len", "k_scale", "v_scale", "sliding_window"),
    ),
)
PREFILL = Entry(
    f"{OPS}.triton_prefill_attention",
    "context_attention_fwd",
    (
        *("q", "k", "v", "o", "b_start_loc", "b_seq_len", "max_input_len", "is_causal", "softmax_scale"),
        *("sliding_window_q", "sliding_window_k", "sinks"),
    ),
)
APPEND = Entry(
    f"{OPS}.triton_reshape_and_cache_flash",
    "triton_reshape_and_cache_flash",
    ("key", "value", "key_cache", "value_cache", "slot_mapping", "kv_cache_dtype", "k_scale", "v_scale"),
)

#: Parts that the keys of a decode are cut into.
PARTS = 4


def offers(compiled: bool) -> list[Offer]:
    """The kernels, compiled or interpreted."""
    several, wide = ("causal", "window"), f"{FILES}/triton_unified_attention.py: acc, P.to(V.dtype), softmax_step"
    single = f"{FILES}/triton_decode_attention.py"
    grouped, plain = f"{single}: _fwd_grouped_kernel_stage1", f"{single}: _fwd_kernel_stage1, acc and e_sum f32"
    merged = f"{grouped}; {FILES}/triton_merge_attn_states.py"
    prefix = f"{FILES}/prefix_prefill.py: _fwd_kernel, acc f32, p.to(v.dtype)"
    fill = f"{FILES}/triton_prefill_attention.py: _fwd_kernel, acc f32, p.to(v.dtype)"
    stored = f"{FILES}/triton_reshape_and_cache_flash.py: key_load / k_scale; RN and saturation by the cast of tl.store"
    return [
        *paged_offers("vllm/unified", unified, (UNIFIED,), wide, compiled, features=several, tier="smoke"),
        *paged_offers("vllm/unified-split", unified_split, (UNIFIED,), f"{wide}, reduce_segments", compiled),
        *paged_offers("vllm/decode", decode, (DECODE,), grouped, compiled, tier="smoke"),
        *paged_offers("vllm/decode-mha", decode_mha, (DECODE,), plain, compiled, cast=False),
        *paged_offers("vllm/decode-merged", decode_merged, (DECODE, MERGE), merged, compiled),
        *paged_offers("vllm/prefix-prefill", prefix_prefill, (PREFIX,), prefix, compiled, features=several),
        *dense_offers("vllm/prefill", prefill, PREFILL, fill, compiled, ("window", "sinks")),
        append_offer("vllm/append", append, APPEND, stored, compiled),
    ]


def find(owner: Package, entry: Entry) -> Callable[..., Any]:
    """The function of an entry, out of vLLM's file alone.

    Raises UnavailableKernelError when the file, or what lastbit gives it of the rest of vLLM, has changed.
    """
    try:
        module = loaded(owner.folder, entry.module)
    except (ImportError, AttributeError) as error:
        raise changed(entry, owner, str(error)) from error
    return published(entry, module, owner)


def unified(
    attend: Callable[..., Any],
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    **segments: Any,
) -> Any:
    """unified_attention, the online softmax of one pass; with `segments`, that of split keys."""
    import torch

    (b, hq, lq, d) = q.shape
    causal, left = span(causal, window, lq)
    query = flat(q)
    out = torch.empty((b * lq, hq, d), dtype=q.dtype, device=q.device)
    attend(
        q=query,
        k=k_cache,
        v=v_cache,
        out=out,
        cu_seqlens_q=starts(b, lq, q.device),
        max_seqlen_q=lq,
        seqused_k=seq_lens.contiguous(),
        max_seqlen_k=int(seq_lens.max()),
        softmax_scale=d**-0.5,
        causal=causal,
        window_size=(left, 0 if causal else left),
        block_table=block_table,
        softcap=0.0,
        q_descale=None,
        k_descale=None,
        v_descale=None,
        **segments,
    )
    return unflat(out, lq)


def unified_split(
    attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any
) -> Any:
    """unified_attention of one query a sequence with its keys in parts."""
    import torch

    (b, hq, lq, d) = q.shape
    if lq != 1:
        raise NotImplementedError("the split kernel takes one query a sequence")
    padded = 1 << (d - 1).bit_length()
    shape = (b, hq, PARTS)
    return unified(
        attend,
        *(q, k_cache, v_cache, block_table, seq_lens),
        seq_threshold_3D=b,
        num_par_softmax_segments=PARTS,
        softmax_segm_output=torch.empty((*shape, padded), dtype=torch.float32, device=q.device),
        softmax_segm_max=torch.empty(shape, dtype=torch.float32, device=q.device),
        softmax_segm_expsum=torch.empty(shape, dtype=torch.float32, device=q.device),
    )


def decode(attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any) -> Any:
    """decode_attention_fwd of grouped heads, which are multiplied by tl.dot."""
    if q.shape[1] == k_cache.shape[2]:
        raise NotImplementedError("heads that share no keys take another kernel, decode-mha")
    return unflat(_decoded(attend, q, k_cache, v_cache, block_table, seq_lens)[0], 1)


def decode_mha(attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any) -> Any:
    """decode_attention_fwd of heads with keys of their own: those of a group are repeated."""
    group = q.shape[1] // k_cache.shape[2]
    caches = (x.repeat_interleave(group, 2) for x in (k_cache, v_cache))
    return unflat(_decoded(attend, q, *caches, block_table, seq_lens)[0], 1)


def decode_merged(
    attend: Callable[..., Any],
    merge: Callable[..., Any],
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
) -> Any:
    """decode_attention_fwd over the first page and over the others, and merge_attn_states of the two.

    A sequence of one page has an empty second part, whose result is 0 and whose log-sum-exp is -inf.
    """
    import torch

    block = k_cache.shape[1]
    prefix, prefix_lse = _decoded(attend, q, k_cache, v_cache, block_table, seq_lens.clamp(max=block))
    rest, last = seq_lens - block, block_table[:, 1:] if block_table.shape[1] > 1 else block_table
    suffix, suffix_lse = _decoded(attend, q, k_cache, v_cache, last, rest.clamp(min=1))
    empty = rest[:, None] <= 0
    suffix, suffix_lse = suffix.masked_fill(empty[..., None], 0), suffix_lse.masked_fill(empty, -torch.inf)
    out = torch.empty_like(prefix)
    merge(out, prefix, prefix_lse.T.contiguous(), suffix, suffix_lse.T.contiguous())
    return unflat(out, 1)


def prefix_prefill(
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
    """context_attention_fwd of a chunk's own keys and of those of the paged cache, which is laid out as it wants."""
    import torch

    (b, hq, lq, d), width = q.shape, 16 // q.element_size()
    causal, left = span(causal, window, lq)
    if not causal or d % width:
        raise NotImplementedError(f"the kernel is causal and takes heads of multiples of {width}")
    places = slots(block_table, k_cache.shape[1])
    keys = k_cache.unflatten(3, (d // width, width)).permute(0, 2, 3, 1, 4).contiguous()
    values = v_cache.permute(0, 2, 3, 1).contiguous()
    one = torch.ones((), dtype=torch.float32, device=q.device)
    out = torch.empty((b * lq, hq, d), dtype=q.dtype, device=q.device)
    attend(
        q=flat(q),
        k=last_tokens(k_cache, places, seq_lens, lq),
        v=last_tokens(v_cache, places, seq_lens, lq),
        o=out,
        kv_cache_dtype="auto",
        k_cache=keys,
        v_cache=values,
        b_loc=block_table,
        b_start_loc=starts(b, lq, q.device),
        b_seq_len=seq_lens.contiguous(),
        max_seq_len=int(seq_lens.max()),
        max_input_len=lq,
        k_scale=one,
        v_scale=one,
        sliding_window=None if left < 0 else left + 1,
    )
    return unflat(out, lq)


def prefill(
    attend: Callable[..., Any],
    q: Any,
    k: Any,
    v: Any,
    *,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    sinks: Any = None,
) -> Any:
    """context_attention_fwd of a first prefill; a window of no keys on a side cannot be said to it."""
    if window is not None and 0 in window and not (causal and window[0]):
        raise NotImplementedError("a window of 0 means none to the kernel")
    left, right = (None if side <= 0 else side for side in window or (-1, -1))
    options = {"sliding_window_q": left, "sliding_window_k": None if causal else right, "sinks": sinks}

    def launch(*operands: Any) -> None:
        attend(*operands, is_causal=causal, softmax_scale=scale, **options)

    return prefilled(launch, q, k, v)


def append(store: Callable[..., Any], k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any, **scales: Any) -> None:
    """triton_reshape_and_cache_flash, in place."""
    import torch

    kind = "fp8_e4m3" if k_cache.element_size() == 1 else "auto"
    one = torch.ones((), dtype=torch.float32, device=k.device)
    tokens = (k.contiguous(), v.contiguous())
    store(*tokens, k_cache, v_cache, slots.contiguous(), kind, scales.get("k_scale", one), scales.get("v_scale", one))


def _decoded(
    attend: Callable[..., Any], q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any
) -> tuple[Any, Any]:
    """The result (b, hq, d) and its log-sum-exp (b, hq)."""
    import torch

    (b, hq, lq, d) = q.shape
    if lq != 1:
        raise NotImplementedError("decode takes one query a sequence")
    query = flat(q)
    out = torch.empty((b, hq, d), dtype=q.dtype, device=q.device)
    lse = torch.empty((b, hq), dtype=torch.float32, device=q.device)
    logits = torch.empty((b, hq, PARTS, d + 1), dtype=torch.float32, device=q.device)
    lengths = seq_lens.contiguous()
    attend(
        q=query,
        k_buffer=k_cache,
        v_buffer=v_cache,
        o=out,
        lse=lse,
        req_to_token=block_table,
        b_seq_len=lengths,
        attn_logits=logits,
        num_kv_splits=PARTS,
        sm_scale=d**-0.5,
        page_size=k_cache.shape[1],
    )
    return out, lse
