"""vLLM's Triton kernels: paged, decode, prefix and prefill attention, and appends to the cache."""

from collections.abc import Callable
from typing import Any

from lastbit.providers.serving import Entry, Offer, Package, changed, published
from lastbit.providers.serving_triton import append_offer, dense_offers, paged_offers
from lastbit.providers.vllm_stubs import loaded
from lastbit.providers.vllm_triton_calls import (
    append,
    decode,
    decode_merged,
    decode_mha,
    prefill,
    prefix_prefill,
    unified,
    unified_dense,
    unified_split,
)

OPS = "vllm.v1.attention.ops"
FILES = "vllm/v1/attention/ops"
UNIFIED = Entry(
    f"{OPS}.triton_unified_attention",
    "unified_attention",
    (
        *("q", "k", "v", "out", "cu_seqlens_q", "max_seqlen_q", "seqused_k", "max_seqlen_k", "softmax_scale"),
        *("causal", "window_size", "block_table", "softcap", "q_descale", "k_descale", "v_descale"),
        *("seq_threshold_3D", "num_par_softmax_segments", "softmax_segm_output", "softmax_segm_max"),
        *("softmax_segm_expsum", "sinks"),
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
        *dense_offers(
            "vllm/unified-dense", unified_dense, UNIFIED, wide, compiled, ("window", "softcap", "sinks", "packed")
        ),
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
