"""bitsandbytes on the CPU: NF4 blocks, int8 rows, and the integer product."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import LastbitError
from lastbit.kernel import Kernel
from lastbit.providers.quantizers import Family, dequantizer, quantizer, settled
from lastbit.providers.triton import ready

#: Sizes of blocks, and the tier from which on each is judged: 64 is the default.
BLOCKS = {64: "smoke", 128: "standard", 256: "standard"}
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
FUNCTIONAL = "bitsandbytes 0.50, functional.py"
#: Numbers of one row are no multiple of anything; there is one matrix.
ROWS = frozenset({"tails"})


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed bitsandbytes.

    Raises ImportError when it is not installed.
    """
    return _settled()[0]


def absent() -> dict[str, str]:
    """What the installed bitsandbytes no longer has, by the names of the kernels that need it.

    Raises ImportError when it is not installed.
    """
    return _settled()[1]


@cache
def _settled() -> tuple[tuple[Kernel, ...], dict[str, str]]:
    with suppress(ImportError, LastbitError):
        # bitsandbytes imports Triton, which has to be told before that whether to interpret.
        ready()
    import bitsandbytes

    module = "bitsandbytes.functional"
    families = (
        Family("bitsandbytes/*-nf4*", module, ("quantize_4bit", "dequantize_4bit"), _nf4),
        Family("bitsandbytes/quantize-i8_row", module, ("int8_vectorwise_quant",), _i8),
        Family("bitsandbytes/int8_linear_matmul", module, ("int8_linear_matmul",), _product),
    )
    return settled(families, f"bitsandbytes {bitsandbytes.__version__}")


def _nf4() -> Iterator[Kernel]:
    from lastbit.references.scaling import Scaling

    for size, tier in BLOCKS.items():
        scaling = replace(Scaling.of("nf4_bitsandbytes"), group=size)
        name, suffix = f"nf4_bitsandbytes_{size}", "" if size == 64 else f"-{size}"
        scaling = scaling if not suffix else replace(scaling, name=name)
        source = f"{FUNCTIONAL}, quantize_4bit; backends/default/ops.py"
        yield quantizer(
            f"bitsandbytes/quantize-nf4{suffix}", _to_nf4(size), scaling, DTYPES, source, framework="torch", tier=tier
        )
        for out, dtype in DTYPES.items():
            order = "once" if out == "f32" else "element_first"
            source = f"{FUNCTIONAL}, dequantize_4bit: a product in f32"
            name = f"bitsandbytes/dequantize-nf4{suffix}-{out}"
            yield dequantizer(name, _of_nf4(size, dtype), scaling, out, source, order=order, tier=tier)


def _i8() -> Iterator[Kernel]:
    source = f"{FUNCTIONAL}, int8_vectorwise_quant; backends/default/ops.py"
    from lastbit.references.scaling import Scaling

    scaling = Scaling.of("i8_row_bitsandbytes")
    yield quantizer("bitsandbytes/quantize-i8_row", _to_i8, scaling, DTYPES, source, features=ROWS)


def _product() -> Iterator[Kernel]:
    yield Kernel(
        name="bitsandbytes/int8_linear_matmul",
        op="gemm",
        run=_int8_linear_matmul,
        formats={"a": "i8", "b": "i8", "out": "i32"},
        contract=Contract(source=f"{FUNCTIONAL}, int8_linear_matmul: 8-bit integer matrix multiplication"),
        devices=("cpu",),
    )


def _to_nf4(size: int) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        from bitsandbytes.functional import quantize_4bit

        leading, n = x.shape[:-1], x.shape[-1]
        _whole(n, size)
        codes, state = quantize_4bit(x, blocksize=size, quant_type="nf4")
        return codes.reshape(*leading, n // 2), state.absmax.reshape(*leading, n // size)

    return run


def _of_nf4(size: int, dtype: str) -> Callable[..., Any]:
    def run(codes: Any, scale: Any) -> Any:
        import torch
        from bitsandbytes.functional import QuantState, dequantize_4bit

        _whole(codes.shape[-1] * 2, size)
        shape = torch.Size((*codes.shape[:-1], codes.shape[-1] * 2))
        kind = getattr(torch, dtype)
        state = QuantState(scale.reshape(-1), shape=shape, blocksize=size, quant_type="nf4", dtype=kind)
        return dequantize_4bit(codes.reshape(-1, 1), state)

    return run


def _whole(n: int, size: int) -> None:
    """The library's blocks run on from row to row; those of a scaling do not."""
    if n % size:
        raise ValueError(f"rows of {n} numbers are no whole blocks of {size}")


def _to_i8(x: Any) -> Any:
    from bitsandbytes.functional import int8_vectorwise_quant

    codes, scale, _ = int8_vectorwise_quant(x)
    return codes, scale.reshape(-1, 1)


def _int8_linear_matmul(a: Any, b: Any) -> Any:
    from bitsandbytes.functional import int8_linear_matmul

    return int8_linear_matmul(a, b.t())
