"""A tiled Triton matrix product of our own: compiled where there is a CUDA device, else interpreted on the CPU."""

import importlib.util
import math
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import LastbitError
from lastbit.kernel import Kernel

SOURCE = "plugins/lastbit/providers/triton_gemm.py"
#: Products are summed in f32 (i32 for integers) and the sum is rounded once.
PLAIN = Contract(source=f"{SOURCE}: accumulator argument of tl.dot, input_precision='ieee'")
TF32 = Contract(input_rounding="tf32", source=f"{SOURCE}: tl.dot with input_precision='tf32'")
#: What PTX's cvt.rn.satfinite, the only conversion to FP8 that it has, does beyond the largest number.
SATURATING = Contract(overflow="saturate", source="docs.nvidia.com/cuda/parallel-thread-execution: cvt, .satfinite")

#: One tile for every format: wide enough for wgmma and tcgen05, and one program for an interpreted smoke case.
TILE = {"m": 64, "n": 64, "k": 64}
#: Largest m*n*k that is interpreted: two tiles each way.
INTERPRETED_LIMIT = 128**3
#: Least CUDA capability with e4m3fn instructions (Triton: "type fp8e4nv not supported in this architecture").
E4M3_CAPABILITY = (8, 9)


def kernels() -> tuple[Kernel, ...]:
    """The Triton matrix products that this process can run.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    wide = tuple({"a": fmt, "b": fmt, "out": "f32"} for fmt in ("f16", "bf16", "e4m3fn", "e5m2"))
    narrow = tuple({"a": fmt, "b": fmt, "out": "bf16"} for fmt in ("e4m3fn", "e5m2"))
    eight = tuple({"a": fmt, "b": fmt, "out": fmt} for fmt in ("e4m3fn", "e5m2"))
    plain = tuple({"a": fmt, "b": fmt, "out": fmt} for fmt in ("f32", "f16", "bf16"))
    integer = {"a": "i8", "b": "i8", "out": "i32"}
    found = [
        _kernel("triton/gemm", (*plain, integer), None, PLAIN, compiled),
        _kernel("triton/gemm-f32", wide, "float32", PLAIN, compiled),
        _kernel("triton/gemm-bf16", narrow, "bfloat16", PLAIN, compiled),
        _kernel("triton/gemm-fp8", eight, None, SATURATING, compiled),
    ]
    if compiled:
        tf32 = ({"a": "f32", "b": "f32", "out": "f32"},)
        found.append(_kernel("triton/gemm-tf32", tf32, None, TF32, compiled, precision="tf32"))
    else:
        bf16 = ({"a": "bf16", "b": "bf16", "out": "f32"},)
        found.append(_kernel("triton/gemm-unwidened", bf16, "float32", PLAIN, compiled, widen=False))
    return tuple(found)


def absent() -> dict[str, str]:
    """Why a kernel is not among `kernels()`, by its name.

    Raises ImportError and LastbitError as `kernels` does.
    """
    if ready():
        return {"triton/gemm-unwidened": "unsupported here (Triton compiles; this shows its interpreter's bf16)"}
    return {"triton/gemm-tf32": "needs device (CUDA: Triton's interpreter does not round to TF32)"}


def ready() -> bool:
    """Whether Triton compiles here (there is a CUDA device), else interprets, as it is then told to.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    import torch

    compiled: bool = torch.cuda.is_available()
    if not compiled and "triton" not in sys.modules and importlib.util.find_spec("triton"):
        # Triton reads this once, when its own library is imported; with a CUDA device nothing is ever set.
        os.environ.setdefault("TRITON_INTERPRET", "1")
    import triton.language  # noqa: F401

    if compiled == interpreting():
        raise LastbitError(_unusable(compiled))
    return compiled


def interpreting() -> bool:
    """Whether the Triton of this process interprets its kernels; it is decided when Triton is imported."""
    import triton.language as tl

    return type(tl.sum).__name__ != "JITFunction"


def _unusable(compiled: bool) -> str:
    if compiled:
        return "Triton interprets in this process (TRITON_INTERPRET is set), but there is a CUDA device; unset it"
    return (
        "Triton was imported before lastbit and compiles, but there is no CUDA device; "
        "set TRITON_INTERPRET=1 before Triton is imported to have its kernels interpreted"
    )


def _kernel(
    name: str,
    formats: tuple[dict[str, str], ...],
    out_dtype: str | None,
    contract: Contract,
    compiled: bool,
    precision: str = "ieee",
    widen: bool = True,
) -> Kernel:
    """`widen`: cast bf16 operands to f32 where Triton interprets, as its documentation asks.

    Source: triton-lang.org/main/programming-guide/chapter-3/debugging.html, Limitations: "It does not support
    operations on bfloat16 numeric types [...] use tl.cast(tensor) to convert the tensor to float32."
    """
    return Kernel(
        name=name,
        op="gemm",
        run=_run(out_dtype, precision, widen and not compiled),
        formats=formats,
        contract=contract,
        devices=("cuda",) if compiled else ("cpu",),
        features=frozenset({"batch", "out"}),
        limit=None if compiled else INTERPRETED_LIMIT,
        tile=TILE,
    )


def _run(out_dtype: str | None, precision: str, widen: bool) -> Callable[..., Any]:
    """A `run` whose result has the torch dtype called `out_dtype`; None: the operands', or int32 for integers."""

    def run(a: Any, b: Any, *, out: Any = None) -> Any:
        import torch

        dtype = getattr(torch, out_dtype) if out_dtype else torch.int32 if a.dtype == torch.int8 else a.dtype
        _check_device(a)
        batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        m, n = a.shape[-2], b.shape[-1]
        if out is None:
            out = torch.empty((*batch, m, n), dtype=dtype, device=a.device)
        x, y = _three_axes(a, batch), _three_axes(b, batch)
        z = out.view(math.prod(batch), m, n)
        if out.numel():
            _launch(x, y, z, precision, widen and a.dtype == torch.bfloat16)
        return out

    return run


def _launch(a: Any, b: Any, out: Any, precision: str, widen: bool) -> None:
    import torch
    import triton.language as tl

    (batch, m, k), n = a.shape, b.shape[-1]
    grid = (-(-m // TILE["m"]), -(-n // TILE["n"]), batch)
    accumulator = tl.int32 if a.dtype == torch.int8 else tl.float32
    strides = (*a.stride(), *b.stride(), *out.stride())
    blocks = {"BM": TILE["m"], "BN": TILE["n"], "BK": TILE["k"]}
    options = {"ACC": accumulator, "PRECISION": precision, "IMPRECISE": 0, "WIDEN": widen}
    _jit()[grid](a, b, out, m, n, k, *strides, **blocks, **options)


def _three_axes(x: Any, batch: tuple[int, ...]) -> Any:
    """`x` broadcast to `batch` and viewed with one batch axis; copied only where several axes have no common stride."""
    return x.expand(*batch, *x.shape[-2:]).reshape(math.prod(batch), *x.shape[-2:])


def _check_device(a: Any) -> None:
    import torch

    if a.dtype == torch.float8_e4m3fn and a.is_cuda and torch.cuda.get_device_capability(a.device) < E4M3_CAPABILITY:
        raise NotImplementedError("Triton has no e4m3fn on this device: it needs CUDA capability 8.9")


@cache
def _jit() -> Any:
    import triton

    from lastbit.providers.triton_gemm import gemm

    return triton.jit(gemm)
