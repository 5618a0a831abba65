"""Plain PyTorch functions with the signatures and layouts of the serving libraries' kernels, as those were published.

Each has the arguments that vLLM 0.32.0 and SGLang 0.5.23 give theirs, reads and writes the same memory, and computes in
float64: what an adapter passes in the wrong place, order or layout is seen without the library.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def rows(q: Tensor, k: Tensor, v: Tensor, scale: float, *, causal: bool = True, **options: Any) -> Tensor:
    """Attention of q (t, hq, d), the last tokens of k, v (n, hkv, d); `before`, `after`: keys seen on either side."""
    group, (t, n) = q.shape[1] // k.shape[1], (q.shape[0], k.shape[0])
    k, v = (x.double().repeat_interleave(group, 1) for x in (k, v))
    logits = torch.einsum("qhd,khd->hqk", q.double(), k) * scale
    if options.get("softcap"):
        logits = options["softcap"] * torch.tanh(logits / options["softcap"])
    ahead = torch.arange(n)[None, :] - (torch.arange(t)[:, None] + n - t)
    hidden = (ahead > 0) if causal else torch.zeros_like(ahead, dtype=torch.bool)
    for side, beyond in ((options.get("before"), -ahead), (options.get("after"), ahead)):
        hidden = hidden if side is None else hidden | (beyond > side)
    logits = logits.masked_fill(hidden, -torch.inf)
    if options.get("sinks") is not None:
        logits = torch.cat([logits, options["sinks"].double()[:, None, None].expand(-1, t, 1)], -1)
        v = torch.cat([v, torch.zeros_like(v[:1])])
    return torch.einsum("hqk,khd->qhd", torch.softmax(logits, -1), v)


def sequences(begin: Tensor) -> list[slice]:
    """The tokens of each sequence, by where they begin."""
    ends = begin.tolist()
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def gathered(cache: Tensor, table: Tensor, length: int) -> Tensor:
    """(length, hkv, d) of one sequence out of pages (pages, block, hkv, d)."""
    return cache[table.long()].flatten(0, 1)[:length]


def scheduled(*arguments: Any, kv_cache_dtype: str) -> Tensor:
    """get_scheduler_metadata of vLLM: what it says is the kernel's own."""
    assert len(arguments) == 12
    assert kv_cache_dtype in ("auto", "fp8_e4m3", "fp8_e5m2")
    return torch.zeros(1)


def unpacked(key_cache: Tensor, value_cache: Tensor) -> tuple[Tensor, Tensor]:
    """vLLM's CPU cache, (pages, hkv, block, d) with keys stored (d, block), as (pages, block, hkv, d)."""
    pages, heads, block, d = key_cache.shape
    return key_cache.reshape(pages, heads, d, block).permute(0, 3, 1, 2), value_cache.permute(0, 2, 1, 3)


def cpu_attention(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    output: Tensor,
    begin: Tensor,
    lengths: Tensor,
    scale: float,
    causal: bool,
    slopes: None,
    seen: int,
    table: Tensor,
    softcap: float,
    plan: Tensor,
    sinks: Tensor | None,
    dynamic: None,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
    kv_cache_dtype: str = "auto",
) -> None:
    """cpu_attention_with_kv_cache; its result is written without regard to strides."""
    assert output.is_contiguous()
    assert not key_cache.shape[2] % 16
    dtype = {"fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2, "auto": query.dtype}[kv_cache_dtype]
    keys, values = unpacked(key_cache, value_cache)
    side = None if seen < 0 else seen - 1
    options = {"before": side, "after": None if causal else side, "softcap": softcap, "sinks": sinks}
    for i, tokens in enumerate(sequences(begin)):
        k, v = (gathered(x.contiguous().view(dtype).float(), table[i], int(lengths[i])) for x in (keys, values))
        output[tokens] = rows(query[tokens], k * k_scale, v * v_scale, scale, causal=causal, **options).to(output.dtype)


def cpu_append(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slots: Tensor,
    isa: str,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
    kv_cache_dtype: str = "auto",
) -> None:
    """cpu_attn_reshape_and_cache, with codes of FP8 rounded to nearest."""
    assert isa == "vec"
    assert slots.dtype == torch.int64
    block = key_cache.shape[2]
    keys = key_cache.reshape(*key_cache.shape[:2], key_cache.shape[3], block)
    for tokens, cache, scale in ((key, keys.transpose(2, 3), k_scale), (value, value_cache, v_scale)):
        if kv_cache_dtype != "auto":
            dtype = torch.float8_e4m3fn if kv_cache_dtype == "fp8_e4m3" else torch.float8_e5m2
            most = torch.finfo(dtype).max
            reciprocal = torch.tensor(1.0) / torch.tensor(scale)
            tokens = (tokens.float() * reciprocal).clamp(-most, most).to(dtype).view(torch.uint8)
        for token, slot in zip(tokens, slots.tolist(), strict=True):
            if slot >= 0:
                cache[slot // block, :, slot % block] = token
    key_cache.copy_(keys.reshape(key_cache.shape))


def sgl_decode(
    query: Tensor, k: Tensor, v: Tensor, output: Tensor, key: None, value: None, loc: None, logits: Tensor, *rest: Any
) -> None:
    """decode_attention_cpu of SGLang."""
    places, requests, lengths, scale, cap, cross, seen, _, sinks = rest
    assert places.dtype == torch.int32
    assert lengths.dtype == requests.dtype == torch.int64
    assert not cross
    assert not cap
    assert logits.shape[-1] == v.shape[-1] + 1
    assert sinks is None
    for i, length in enumerate(lengths.tolist()):
        at = places[requests[i], :length].long()
        out = rows(query[i : i + 1], k[at], v[at], scale, before=None if seen < 0 else seen - 1)
        output[i] = out[0].to(output.dtype)


def sgl_extend(q: Tensor, k: Tensor, v: Tensor, output: Tensor, k_buffer: Tensor, v_buffer: Tensor, *rest: Any) -> None:
    """extend_attention_cpu of SGLang: a chunk's own keys are not read from the buffer."""
    places, requests, lengths, chunks, begin, longest, scale, cap, cross, seen, _, sinks, *_ = rest
    assert q.shape[2] % 32 == 0
    assert longest == int(chunks.max())
    assert not cross
    assert not cap
    assert sinks is None
    for i, (first, count) in enumerate(zip(begin.tolist(), chunks.tolist(), strict=True)):
        before = places[requests[i], : int(lengths[i]) - count].long()
        own = slice(first, first + count)
        keys, values = torch.cat([k_buffer[before], k[own]]), torch.cat([v_buffer[before], v[own]])
        output[own] = rows(q[own], keys, values, scale, before=None if seen < 0 else seen - 1).to(output.dtype)


def unified(
    *, q: Tensor, k: Tensor, v: Tensor, out: Tensor, cu_seqlens_q: Tensor, seqused_k: Tensor, **rest: Any
) -> None:
    """unified_attention of vLLM."""
    left, right = rest["window_size"]
    side = None if left < 0 else left
    causal = rest["causal"]
    assert rest["max_seqlen_k"] == int(seqused_k.max())
    assert right == 0 or not causal
    options = {
        "before": side,
        "after": None if causal else side,
        "softcap": rest["softcap"],
        "sinks": rest.get("sinks"),
    }
    for i, tokens in enumerate(sequences(cu_seqlens_q)):
        keys, values = (gathered(x, rest["block_table"][i], int(seqused_k[i])) for x in (k, v))
        out[tokens] = rows(q[tokens], keys, values, rest["softmax_scale"], causal=causal, **options).to(out.dtype)


def decode(*, q: Tensor, k_buffer: Tensor, v_buffer: Tensor, o: Tensor, lse: Tensor, **rest: Any) -> None:
    """decode_attention_fwd of vLLM, with its log-sum-exp in natural logarithms."""
    assert rest["attn_logits"].shape == (*lse.shape, rest["num_kv_splits"], v_buffer.shape[-1] + 1)
    assert rest["page_size"] == k_buffer.shape[1]
    for i, length in enumerate(rest["b_seq_len"].tolist()):
        k, v = (gathered(x, rest["req_to_token"][i], length) for x in (k_buffer, v_buffer))
        o[i] = rows(q[i : i + 1], k, v, rest["sm_scale"])[0].to(o.dtype)
        wide = k.double().repeat_interleave(q.shape[1] // k.shape[1], 1)
        lse[i] = torch.logsumexp(torch.einsum("hd,khd->hk", q[i].double(), wide) * rest["sm_scale"], -1).float()


def merge(output: Tensor, prefix: Tensor, prefix_lse: Tensor, suffix: Tensor, suffix_lse: Tensor) -> None:
    """merge_attn_states of vLLM: log-sum-exps are (heads, tokens)."""
    weights = torch.softmax(torch.stack([prefix_lse.T, suffix_lse.T]).double(), 0)[..., None]
    output.copy_((prefix.double() * weights[0] + suffix.double() * weights[1]).to(output.dtype))


def prefix_prefill(
    *, q: Tensor, k: Tensor, v: Tensor, o: Tensor, k_cache: Tensor, v_cache: Tensor, **rest: Any
) -> None:
    """context_attention_fwd of vLLM's prefix_prefill: keys (pages, hkv, d / x, block, x), values (.., d, block)."""
    keys = k_cache.permute(0, 3, 1, 2, 4).flatten(3)
    values = v_cache.permute(0, 3, 1, 2)
    seen = rest["sliding_window"]
    for i, own in enumerate(sequences(rest["b_start_loc"])):
        count = int(rest["b_seq_len"][i]) - (own.stop - own.start)
        before = (gathered(x, rest["b_loc"][i], count) for x in (keys, values))
        both = (torch.cat([x, y[own]]) for x, y in zip(before, (k, v), strict=True))
        o[own] = rows(q[own], *both, q.shape[-1] ** -0.5, before=None if not seen else seen - 1).to(o.dtype)


def prefill(
    q: Tensor, k: Tensor, v: Tensor, o: Tensor, begin: Tensor, lengths: Tensor, longest: int, **rest: Any
) -> None:
    """context_attention_fwd of a first prefill, of vLLM and SGLang: a window of 0 or None is none."""
    assert longest == int(lengths.max())
    given = rest.get("softmax_scale", rest.get("sm_scale"))
    scale = q.shape[-1] ** -0.5 if given is None else given
    options = {"before": rest.get("sliding_window_q") or None, "after": rest.get("sliding_window_k") or None}
    for own in sequences(begin):
        out = rows(q[own], k[own], v[own], scale, causal=rest["is_causal"], sinks=rest.get("sinks"), **options)
        o[own] = out.to(o.dtype)


def append(
    key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slots: Tensor, *rest: Any, **_: Any
) -> None:
    """triton_reshape_and_cache_flash of vLLM, launch_reshape_and_cache_flash of SGLang."""
    assert rest in ((), ("auto", *rest[1:]))
    block = key_cache.shape[1]
    for tokens, cache in ((key, key_cache), (value, value_cache)):
        for token, slot in zip(tokens, slots.tolist(), strict=True):
            if slot >= 0:
                cache[slot // block, slot % block] = token


def slot_decode(*, q: Tensor, k_buffer: Tensor, v_buffer: Tensor, o: Tensor, kv_indptr: Tensor, **rest: Any) -> None:
    """decode_attention_fwd of SGLang."""
    assert rest["attn_logits"].shape == (*rest["attn_lse"].shape, v_buffer.shape[-1])
    for i, tokens in enumerate(sequences(kv_indptr)):
        at = rest["kv_indices"][tokens]
        o[i] = rows(q[i : i + 1], k_buffer[at], v_buffer[at], rest["sm_scale"])[0].to(o.dtype)


def slot_extend(*, q_extend: Tensor, k_extend: Tensor, v_extend: Tensor, o_extend: Tensor, **rest: Any) -> None:
    """extend_attention_fwd of SGLang: sliding_window_size keys before the own one."""
    seen = rest["sliding_window_size"]
    for own, tokens in zip(sequences(rest["qo_indptr"]), sequences(rest["kv_indptr"]), strict=True):
        at = rest["kv_indices"][tokens]
        k, v = torch.cat([rest["k_buffer"][at], k_extend[own]]), torch.cat([rest["v_buffer"][at], v_extend[own]])
        out = rows(q_extend[own], k, v, rest["sm_scale"], before=seen if seen > 0 else None)
        o_extend[own] = out.to(o_extend.dtype)


#: A stand-in of each entry, by its module's last word and its function.
STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_C", "cpu_attention_with_kv_cache"): cpu_attention,
    ("_C", "get_scheduler_metadata"): scheduled,
    ("_C", "cpu_attn_reshape_and_cache"): cpu_append,
    ("_C", "decode_attention_cpu"): sgl_decode,
    ("_C", "extend_attention_cpu"): sgl_extend,
    ("triton_unified_attention", "unified_attention"): unified,
    ("triton_decode_attention", "decode_attention_fwd"): decode,
    ("triton_merge_attn_states", "merge_attn_states"): merge,
    ("prefix_prefill", "context_attention_fwd"): prefix_prefill,
    ("triton_prefill_attention", "context_attention_fwd"): prefill,
    ("triton_reshape_and_cache_flash", "triton_reshape_and_cache_flash"): append,
    ("decode_attention", "decode_attention_fwd"): slot_decode,
    ("extend_attention", "extend_attention_fwd"): slot_extend,
    ("prefill_attention", "context_attention_fwd"): prefill,
    ("cache_ops", "launch_reshape_and_cache_flash"): append,
}

#: Cases by op that between them use every argument of an adapter: pages, heads, tokens, windows, scales, layouts.
CASES = {
    "paged_attention": (
        "exact one_hot/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/pages=shuffled",
        "bound normal/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/pages=shuffled/scale=tensor",
        "pages one_hot/b5-hq4-hkv2-lq1-d16-dv16-block8-len27/pages=shared",
        "heads one_hot/b3-hq3-hkv3-lq1-d16-dv16-block8-len27/pages=shuffled",
        "causal one_hot/b5-hq4-hkv2-lq3-d16-dv16-block8-len27/pages=shuffled/causal=1",
        "window sharp/b5-hq4-hkv2-lq3-d16-dv16-block8-len27/pages=shuffled/causal=1/window=7:0",
        "window normal/b5-hq4-hkv2-lq1-d16-dv16-block8-len27/pages=shuffled/window=4:0",
        "layout one_hot/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/q:interleaved/pages=shuffled",
    ),
    "attention": (
        "masks one_hot/batch1-hq1-hkv1-lq5-lk21-d16-dv16/causal=1",
        "masks one_hot/batch1-hq1-hkv1-lq17-lk17-d16-dv16/causal=1/window=2:0",
        "masks one_hot/batch1-hq1-hkv1-lq9-lk20-d16-dv16/window=3:1",
        "bound sharp/batch1-hq1-hkv1-lq5-lk33-d16-dv16/scale=0.3",
        "features sharp/batch1-hq1-hkv1-lq5-lk21-d16-dv16/softcap=5",
        "features sharp/batch1-hq2-hkv2-lq5-lk21-d16-dv16/sinks=heads",
        "features one_hot/batch1-hq4-hkv2-lq3-lk11-d16-dv16/causal=1",
    ),
    "kv_append": (
        "exact bits/tokens13-hkv2-d16-dv16-block8-pages7/slots=shuffled",
        "exact near_ties/tokens13-hkv2-d16-dv16-block8-pages7/slots=shuffled/scale=tensor",
        "untouched bits/tokens5-hkv2-d16-dv16-block8-pages7/slots=shuffled",
        "padding bits/tokens17-hkv2-d16-dv16-block8-pages7/slots=padding",
    ),
}
