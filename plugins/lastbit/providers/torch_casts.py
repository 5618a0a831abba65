"""PyTorch's Tensor.to between its number formats, eager and compiled."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.torch_arrays import DTYPES

WIDE = ("f64", "f32", "f16", "bf16")
INTEGERS = ("i8", "u8", "i32")
DOCS = "docs.pytorch.org/docs/stable"
ROUNDED = Contract(source=f"{DOCS}/tensor_attributes.html: formats of the dtypes; IEEE 754 round to nearest even")
HEADERS = "torch/headeronly/util"
#: Beyond the largest number e4m3fn saturates, infinities included; e5m2 overflows to infinity, the fnuz to NaN.
FP8 = {
    "e4m3fn": Contract(overflow="saturate", source=f"{HEADERS}/Float8_e4m3fn.h: saturates since 2.13"),
    "e5m2": Contract(overflow="inf", source=f"{HEADERS}/Float8_e5m2.h"),
    "e4m3fnuz": Contract(overflow="nan", source=f"{HEADERS}/Float8_e4m3fnuz.h"),
    "e5m2fnuz": Contract(overflow="nan", source=f"{HEADERS}/Float8_e5m2fnuz.h"),
}
#: Nearest, ties to the larger power; zero is the smallest power.
E8M0 = Contract(output_rounding="nearest-away", source=f"{HEADERS}/Float8_e8m0fnu.h: fp8e8m0fnu_from_fp32_value")
#: C casts: a number that does not fit is undefined behaviour.
TRUNCATED = Contract(
    output_rounding="toward-zero", overflow="any", source=f"{DOCS}/generated/torch.Tensor.to.html; C++ static_cast"
)
WRAPPED = Contract(overflow="wrap", source="C++20 [conv.integral]: modulo 2^n")
NARROW = (*FP8, "e8m0fnu", *INTEGERS)
#: Formats of the operand and the result that are compiled, each for seconds.
COMPILED = (("f32", "bf16"), ("f32", "e4m3fn"), ("bf16", "e5m2"), ("f32", "i8"))
RECOMPILES = 256


def kernels() -> tuple[Kernel, ...]:
    """Tensor.to for each target of the installed PyTorch: from wide floats, and in the standard tier from the rest.

    Raises ImportError when PyTorch is not installed.
    """
    import torch

    contracts = dict.fromkeys(WIDE, ROUNDED) | FP8 | {"e8m0fnu": E8M0} | dict.fromkeys(INTEGERS, TRUNCATED)
    here = {fmt for fmt, name in DTYPES.items() if hasattr(torch, name)}
    found = []
    for out, contract in contracts.items():
        if out not in here:
            continue
        floats = [fmt for fmt in WIDE if fmt != out]
        found.append(_kernel(out, "", floats, contract))
        narrow = [fmt for fmt in NARROW if fmt != out and fmt in here]
        narrow = [fmt for fmt in narrow if not (out in INTEGERS and fmt in INTEGERS)]
        found.append(_kernel(out, "-narrow", narrow, contract, tier="smoke" if out == "f32" else "standard"))
        if out in INTEGERS:
            found.append(_kernel(out, "-integers", [fmt for fmt in INTEGERS if fmt != out], WRAPPED))
    for source, out in COMPILED:
        found.append(_kernel(out, f"-compiled-{source}", [source], contracts[out], tier="standard", compiled=True))
    return tuple(found)


def _kernel(
    out: str, suffix: str, sources: Sequence[str], contract: Contract, tier: str = "smoke", compiled: bool = False
) -> Kernel:
    return Kernel(
        name=f"torch/to-{out}{suffix}",
        op="cast",
        run=_compiled(out) if compiled else _to(out),
        formats=tuple({"x": fmt, "out": out} for fmt in sources),
        contract=contract,
        tier=tier,
    )


def _to(out: str) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        import torch

        # A cast that keeps strides may leave gaps: the result's layout is the kernel's affair.
        return x.to(getattr(torch, DTYPES[out]))

    return run


def _compiled(out: str) -> Callable[..., Any]:
    """The cast, compiled on the first call for a contiguous vector of any length."""

    def run(x: Any) -> Any:
        import torch._dynamo

        with torch._dynamo.config.patch(recompile_limit=RECOMPILES):
            found = _compile(out)(x.reshape(-1).contiguous())
        return found.reshape(x.shape)

    return run


@cache
def _compile(out: str) -> Callable[..., Any]:
    import torch

    function: Callable[..., Any] = torch.compile(_to(out), dynamic=True)
    return function
