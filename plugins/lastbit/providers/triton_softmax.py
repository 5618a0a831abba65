"""Online softmax, log_softmax and logsumexp of our own in Triton: compiled for a CUDA device, else interpreted."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.triton import interpreting, ready

SOURCE = "plugins/lastbit/providers/triton_rows.py"
#: Triton's exp of f32 is ex2.approx, of 2 ulp, on the scaled argument; NumPy's, where interpreted, of up to 4.
PLAIN = Contract(exp_ulp=4.0, masked_row="nan", source=f"{SOURCE}: online, in f32 or the operands' f64")
TILE = {"m": 32, "n": 128}
#: Largest m*n that is interpreted: a tile takes a millisecond.
INTERPRETED_LIMIT = 8_000
FORMATS = ("f64", "f32", "f16", "bf16")


def kernels() -> tuple[Kernel, ...]:
    """The softmax family in Triton, if this process can run it.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    return tuple(
        Kernel(
            name=f"triton/{op}",
            op=op,
            run=_run(op),
            formats=tuple({"x": fmt, "out": fmt} for fmt in FORMATS),
            contract=PLAIN,
            devices=("cuda",) if compiled else ("cpu",),
            features=frozenset({"batch", "out"}),
            limit=None if compiled else INTERPRETED_LIMIT,
            tile=TILE,
        )
        for op in ("softmax", "log_softmax", "logsumexp")
    )


def _run(op: str) -> Callable[..., Any]:
    def run(x: Any, *, out: Any = None) -> Any:
        import torch

        shape = x.shape[:-1] if op == "logsumexp" else x.shape
        if out is None:
            out = torch.empty(shape, dtype=x.dtype, device=x.device)
        # The interpreter's casts between f32 and bf16 are wrong (FINDINGS.md, F4): PyTorch's are taken there.
        outside = x.dtype == torch.bfloat16 and interpreting()
        result = torch.empty(shape, dtype=torch.float32, device=x.device) if outside else out
        if x.numel():
            _launch(op, x.float() if outside else x, result)
        if outside:
            out.copy_(result)
        return out

    return run


def _launch(op: str, x: Any, out: Any) -> None:
    import torch
    import triton.language as tl

    m, n = x.shape[-2:]
    batch = math.prod(x.shape[:-2])
    rows = x.reshape(batch, m, n)
    results = out.view(batch, m, 1) if op == "logsumexp" else out.view(batch, m, n)
    work = tl.float64 if x.dtype == torch.float64 else tl.float32
    grid = (-(-m // TILE["m"]), batch)
    strides = (*rows.stride(), *results.stride())
    _jit()[grid](rows, results, m, n, *strides, BM=TILE["m"], BN=TILE["n"], OP=op, WORK=work)


@cache
def _jit() -> Any:
    import triton

    from lastbit.providers.triton_rows import rows

    return triton.jit(rows)
