"""Flash attention of our own in Triton: prefill, and decode split over the keys; compiled, or interpreted on the CPU."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

SOURCE = "plugins/lastbit/providers/triton_attention_kernels.py"
FORMATS = ("f32", "f16", "bf16")
#: Queries and keys of a tile; head sizes are padded to a power of two of at least 16.
BM, BN = 32, 32
#: Largest product of sizes (b, hq, hkv, lq, lk, d, dv) that is interpreted: a few tiles each way.
INTERPRETED_LIMIT = 3 * 2**22
#: Parts into which decode splits the keys.
PARTS = 4
FEATURES = frozenset({"scale", "causal", "window", "gqa", "dv", "lse"})


def kernels(compiled: bool) -> tuple[Kernel, ...]:
    """The Triton attention kernels, compiled or interpreted; a kernel a format where P is cast to the format of v."""
    return tuple(
        Kernel(
            name=f"triton/{name}" + (f"-{fmt}" if fmt != "f32" else ""),
            op="attention",
            run=_run(parts, widen=not compiled),
            formats=({"q": fmt, "k": fmt, "v": fmt, "out": fmt, "lse": "f32"},),
            contract=_contract(fmt, compiled),
            devices=("cuda",) if compiled else ("cpu",),
            features=FEATURES,
            limit=None if compiled else INTERPRETED_LIMIT,
            tile={"lq": BM, "lk": BN},
        )
        for name, parts in (("flash", 1), ("split-kv", PARTS))
        for fmt in FORMATS
    )


def _contract(fmt: str, compiled: bool) -> Contract:
    """P is cast to the type of v for tl.dot; the interpreter's bf16 is widened to f32, so that P stays f32."""
    narrow = fmt == "f16" or (fmt == "bf16" and compiled)
    return Contract(
        probabilities=fmt if narrow else None,
        masked_keys="computed",
        source=f"{SOURCE}: sums in f32, P cast to the type of v, masked keys of a tile multiplied by a zero",
    )


def _run(parts: int, *, widen: bool) -> Callable[..., Any]:
    def run(
        q: Any,
        k: Any,
        v: Any,
        *,
        scale: float | None = None,
        causal: bool = False,
        window: tuple[int, int] | None = None,
    ) -> tuple[Any, Any]:
        import torch

        (b, hq, lq, d), (hkv, lk), dv = q.shape, k.shape[1:3], v.shape[3]
        out = torch.empty((b, hq, lq, dv), dtype=q.dtype, device=q.device)
        lse = torch.empty((b, hq, lq), dtype=torch.float32, device=q.device)
        if not lse.numel():
            return out, lse
        each = -(-max(lk, 1) // parts)
        far = lq + lk
        left, right = (far if side < 0 else min(side, far) for side in window or (-1, -1))
        right = min(right, 0) if causal else right
        split_out, split_lse = out, lse
        if parts > 1:
            split_out = torch.empty((parts, b, hq, lq, dv), dtype=torch.float32, device=q.device)
            split_lse = torch.empty((parts, b, hq, lq), dtype=torch.float32, device=q.device)
        blocks = {"BM": BM, "BN": BN, "BD": _padded(d), "BV": _padded(dv)}
        strides = (*q.stride(), *k.stride(), *v.stride())
        sizes = (hq, hq // hkv, lq, lk, d, dv, left, right, each)
        factor = d**-0.5 if scale is None else scale
        forward, combine = _jit()
        grid = (-(-lq // BM), b * hq, parts)
        widened = widen and q.dtype == torch.bfloat16
        forward[grid](q, k, v, split_out, split_lse, factor, *strides, *sizes, **blocks, WIDEN=widened)
        if parts > 1:
            count = b * hq * lq
            combine[(-(-count // BM),)](split_out, split_lse, out, lse, parts, count, dv, BM=BM, BV=_padded(dv))
        return out, lse

    return run


def _padded(size: int) -> int:
    """The least power of two that a tile of tl.dot can have."""
    return max(16, 1 << (size - 1).bit_length())


@cache
def _jit() -> tuple[Any, Any]:
    import triton

    from lastbit.providers.triton_attention_kernels import combine, forward

    return triton.jit(forward), triton.jit(combine)
