"""Flash attention of our own in Triton: prefill, and decode split over the keys; interpreted where there is no GPU."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.triton import ready
from lastbit.providers.triton_attention_gradients import gradients

SOURCE = "plugins/lastbit/providers/triton_attention_kernels.py"
#: Queries and keys of a tile; head sizes are padded to a power of two of at least 16.
BM, BN = 32, 32
#: Largest product of sizes (batch, hq, hkv, lq, lk, d, dv) that is interpreted: a few tiles of each dimension.
INTERPRETED_LIMIT = 1_200_000
#: Parts into which decode splits the keys.
PARTS = 2
#: Names, parts and formats of the kernels, and the tier from which on they are interpreted.
OFFERED = (
    ("flash", 1, "f32", "smoke"),
    ("flash", 1, "f16", "standard"),
    ("flash", 1, "bf16", "standard"),
    ("split-kv", PARTS, "f32", "smoke"),
    ("split-kv", PARTS, "f16", "standard"),
    ("split-kv", PARTS, "bf16", "standard"),
)
FEATURES = frozenset({"scale", "causal", "window", "gqa", "dv", "lse"})


def kernels() -> tuple[Kernel, ...]:
    """The Triton attention kernels, compiled or interpreted; one a format, for P is cast to the format of v.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    return tuple(
        Kernel(
            name=f"triton/{name}" + (f"-{fmt}" if fmt != "f32" else ""),
            op="attention",
            run=_run(parts, compiled) if parts > 1 else _with_gradients(_run(parts, compiled), compiled),
            formats=({"q": fmt, "k": fmt, "v": fmt, "out": fmt, "lse": "f32"},),
            contract=_contract(fmt, compiled),
            devices=("cuda",) if compiled else ("cpu",),
            features=_features(parts, compiled),
            limit=None if compiled else INTERPRETED_LIMIT,
            tier="smoke" if compiled else tier,
            tile={"lq": BM, "lk": BN},
        )
        for name, parts, fmt, tier in OFFERED
    )


def _features(parts: int, compiled: bool) -> frozenset[str]:
    """Gradients do not depend on the parts of the forward pass; packed batches take the interpreter too long twice."""
    return FEATURES | (frozenset({"gradients", "packed"}) if parts == 1 else {"packed"} if compiled else frozenset())


def _contract(fmt: str, compiled: bool) -> Contract:
    narrow = fmt == "f16" or (fmt == "bf16" and compiled)
    return Contract(
        probabilities=fmt if narrow else None,
        masked_keys="computed",
        source=f"{SOURCE}: sums in f32, P cast to the type of v, masked keys of a tile multiplied by a zero",
    )


def _run(parts: int, compiled: bool) -> Callable[..., Any]:
    """`run` with the keys in `parts`; bf16 operands are interpreted as f32, PyTorch converting them.

    The interpreter's own conversions and products of bf16 are wrong (FINDINGS.md, F3 and F4), and its documentation
    asks for f32: triton-lang.org/main/programming-guide/chapter-3/debugging.html, Limitations.
    """

    def run(
        q: Any,
        k: Any,
        v: Any,
        *,
        scale: float | None = None,
        causal: bool = False,
        window: tuple[int, int] | None = None,
        cu_seqlens_q: Any = None,
        cu_seqlens_k: Any = None,
    ) -> tuple[Any, Any]:
        import torch

        (b, hq, lq, d), (hkv, lk), dv = q.shape, k.shape[1:3], v.shape[3]
        if q.dtype == torch.bfloat16 and not compiled:
            given: dict[str, Any] = {"scale": scale, "causal": causal, "window": window}
            given |= {"cu_seqlens_q": cu_seqlens_q, "cu_seqlens_k": cu_seqlens_k}
            wide, lse = run(q.float(), k.float(), v.float(), **given)
            return wide.bfloat16(), lse
        out = torch.empty((b, hq, lq, dv), dtype=q.dtype, device=q.device)
        lse = torch.empty((b, hq, lq), dtype=torch.float32, device=q.device)
        if not lse.numel():
            return out, lse
        packed, sequences, queries, keys = cu_seqlens_q is not None, b, lq, lk
        if packed:
            sequences = cu_seqlens_q.numel() - 1
            queries, keys = (int(ends.diff().max()) for ends in (cu_seqlens_q, cu_seqlens_k))
        each = -(-max(keys, 1) // parts)
        left, right = _sides(lq, lk, causal, window)
        split_out, split_lse = out, lse
        if parts > 1:
            split_out = torch.empty((parts, b, hq, lq, dv), dtype=torch.float32, device=q.device)
            split_lse = torch.empty((parts, b, hq, lq), dtype=torch.float32, device=q.device)
        blocks = {"BM": BM, "BN": BN, "BD": _padded(d), "BV": _padded(dv), "PACKED": packed}
        strides = (*q.stride(), *k.stride(), *v.stride())
        sizes = (hq, hq // hkv, lq, lk, d, dv, left, right, each)
        factor = d**-0.5 if scale is None else scale
        forward, combine = _jit()
        grid = (-(-queries // BM), sequences * hq, parts)
        # The kernel reads them one after the other. Without a packed batch they are not read.
        ends = (cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous()) if packed else (lse, lse)
        forward[grid](q, k, v, split_out, split_lse, *ends, factor, *strides, *sizes, **blocks)
        if parts > 1:
            count = b * hq * lq
            combine[(-(-count // BM),)](split_out, split_lse, out, lse, parts, count, dv, BM=BM, BV=_padded(dv))
        return out, lse

    return run


def _with_gradients(run: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
    """`run`, which with `grad_out` also returns dq, dk and dv; bf16 operands are interpreted as f32."""

    def both(q: Any, k: Any, v: Any, *, grad_out: Any = None, **options: Any) -> Any:
        import torch

        out, lse = run(q, k, v, **options)
        if grad_out is None:
            return out, lse
        operands, scale = (q, k, v, grad_out, out), options.get("scale")
        if q.dtype == torch.bfloat16 and not compiled:
            operands = tuple(x.float() for x in operands)
        found = gradients(
            operands[:3],
            *operands[3:],
            lse,
            q.shape[3] ** -0.5 if scale is None else scale,
            _sides(q.shape[2], k.shape[2], options.get("causal", False), options.get("window")),
            (_padded(q.shape[3]), _padded(v.shape[3])),
        )
        return out, lse, *(x.to(q.dtype) for x in found)

    return both


def _sides(lq: int, lk: int, causal: bool, window: tuple[int, int] | None) -> tuple[int, int]:
    """Keys that a query sees to its left and right."""
    left, right = (lq + lk if side < 0 else min(side, lq + lk) for side in window or (-1, -1))
    return left, min(right, 0) if causal else right


def _padded(size: int) -> int:
    """The least power of two that a tile of tl.dot can have."""
    return max(16, 1 << (size - 1).bit_length())


@cache
def _jit() -> tuple[Any, Any]:
    import triton

    from lastbit.providers.triton_attention_kernels import combine, forward

    return triton.jit(forward), triton.jit(combine)
