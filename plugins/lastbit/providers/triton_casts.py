"""Casts of our own in Triton, on the bits of f32: compiled for a CUDA device, else interpreted."""

from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.triton import ready
from lastbit.torch_arrays import DTYPES, RAW

SOURCE = "plugins/lastbit/providers/triton_cast_kernels.py"
NEAREST = Contract(source=f"{SOURCE}: nearest, ties to even")
SATURATING = Contract(overflow="saturate", source=f"{SOURCE}: nearest, ties to even, saturating as PTX cvt.satfinite")
STOCHASTIC = Contract(
    output_rounding="stochastic", deterministic=False, source=f"{SOURCE}: 16 random bits of tl.randint, a seed a call"
)
TILE = {"n": 1024}
#: Most numbers that are interpreted: a program of 1,024 takes 2 ms.
INTERPRETED_LIMIT = 1 << 17

_SEEDS = count()


def kernels() -> tuple[Kernel, ...]:
    """The casts in Triton, if this process can run it.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    return tuple(
        Kernel(
            name=f"triton/cast-{to}",
            op="cast",
            run=_run(to, out),
            formats={"x": "f32", "out": out},
            contract=contract,
            devices=("cuda",) if compiled else ("cpu",),
            limit=None if compiled else INTERPRETED_LIMIT,
            tile=TILE,
        )
        for to, out, contract in (
            ("bf16", "bf16", NEAREST),
            ("bf16-stochastic", "bf16", STOCHASTIC),
            ("e4m3fn", "e4m3fn", SATURATING),
        )
    )


def _run(to: str, out: str) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        import torch

        bits = x.contiguous().view(-1).view(torch.int32)
        result = torch.empty(x.shape, dtype=getattr(torch, DTYPES[out]), device=x.device)
        grid = (-(-bits.numel() // TILE["n"]),)
        if bits.numel():
            held = result.view(RAW[result.element_size()]).view(-1)
            _jit()[grid](bits, held, bits.numel(), next(_SEEDS), BLOCK=TILE["n"], TO=to)
        return result

    return run


@cache
def _jit() -> Any:
    import triton

    from lastbit.providers.triton_cast_kernels import cast

    return triton.jit(cast)
