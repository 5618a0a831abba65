"""PyTorch's matrix products, each with what PyTorch's documentation promises about it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

NUMERICS = "docs.pytorch.org/docs/stable/notes/numerical_accuracy.html"
CUDA_NOTES = "docs.pytorch.org/docs/stable/notes/cuda.html"

#: Batched and sliced computations may differ in the last bit; f16 and bf16 products are accumulated in f32.
PLAIN = Contract(
    source=f"{NUMERICS}: batched or slice computations; reduced precision reduction for FP16 and BF16 GEMMs"
)
TF32 = Contract(input_rounding="tf32", source=f"{CUDA_NOTES}: TensorFloat-32 (TF32) on Ampere (and later) devices")
EXACT = Contract(source="aten/src/ATen/native/LinearAlgebra.cpp: _int_mm_out_cpu sums in int32")

FLOATS = ("f64", "f32", "f16", "bf16")
#: PyTorch's casts to FP8, which its FP8 mm ends with: e4m3fn saturates, e5m2 overflows to infinity, the fnuz to NaN.
FP8_OVERFLOW = {"e4m3fn": "saturate", "e5m2": "inf", "e4m3fnuz": "nan", "e5m2fnuz": "nan"}


def kernels() -> tuple[Kernel, ...]:
    """The matrix products of the installed PyTorch.

    Raises ImportError when PyTorch is not installed.
    """
    import torch

    return (
        _kernel("torch/matmul", _strict(torch.matmul), same(*FLOATS), features={"batch"}),
        _kernel("torch/mm", _strict(torch.mm), same(*FLOATS)),
        _kernel("torch/mm-out", _strict(_mm_out), same(*FLOATS), features={"out"}),
        _kernel("torch/bmm", _strict(_bmm), same(*FLOATS), features={"batch"}),
        _kernel("torch/einsum", _strict(_einsum), same(*FLOATS), features={"batch"}),
        _kernel("torch/linear", _strict(_linear), same(*FLOATS), features={"bias"}),
        _kernel("torch/addmm", _strict(_addmm), same(*FLOATS), features={"c", "alpha", "beta"}),
        _kernel("torch/addmm-bias", _strict(_addmm_bias), same(*FLOATS), features={"bias"}),
        _kernel("torch/baddbmm", _strict(_baddbmm), same(*FLOATS), features={"batch", "c", "alpha", "beta"}),
        # Two formats, for each format, rank, layout and size of 0 or 1 is compiled apart.
        _kernel("torch/matmul-compiled", _strict(_compiled), same("f32", "bf16"), features={"batch"}, tier="standard"),
        _kernel("torch/_int_mm", _int_mm, (formats("i8", "i8", "i32"), formats("u8", "i8", "i32")), EXACT),
        *(
            _kernel(f"torch/mm-{fmt}", torch.mm, same(fmt), _fp8(fmt, overflow), devices=("cpu",))
            for fmt, overflow in FP8_OVERFLOW.items()
        ),
        *_switched(),
    )


def formats(a: str, b: str, out: str) -> dict[str, str]:
    """The formats of the operands and the result of a product."""
    return {"a": a, "b": b, "out": out}


def same(*names: str) -> tuple[dict[str, str], ...]:
    """For each name, the formats of a product whose operands and result all have it."""
    return tuple(formats(name, name, name) for name in names)


def _switched() -> tuple[Kernel, ...]:
    """matmul under each of PyTorch's CUDA switches; `torch/matmul` itself has all of them off."""
    import torch

    def kernel(name: str, format: str, contract: Contract, **switches: Any) -> Kernel:
        run = _under(torch.matmul, **switches)
        return _kernel(f"torch/matmul-{name}", run, same(format), contract, devices=("cuda",), features={"batch"})

    def reduced(format: str) -> Contract:
        # The documentation says neither how many partial sums are rounded nor in what order: any chain covers it.
        return Contract(accumulator=format, source=f"{CUDA_NOTES}: reduced precision reduction in {format} GEMMs")

    half = Contract(accumulator="f16", source=f"{CUDA_NOTES}: full FP16 accumulation in FP16 GEMMs")
    return (
        kernel("tf32", "f32", TF32, float32="high"),
        kernel("f16-reduced", "f16", reduced("f16"), allow_fp16_reduced_precision_reduction=True),
        kernel("bf16-reduced", "bf16", reduced("bf16"), allow_bf16_reduced_precision_reduction=True),
        kernel("f16-accumulate", "f16", half, allow_fp16_accumulation=True),
    )


def _kernel(
    name: str,
    run: Callable[..., Any],
    formats: tuple[dict[str, str], ...],
    contract: Contract = PLAIN,
    *,
    features: set[str] | frozenset[str] = frozenset(),
    devices: tuple[str, ...] = ("cpu", "cuda"),
    tier: str = "smoke",
) -> Kernel:
    return Kernel(
        name=name,
        op="gemm",
        run=run,
        formats=formats,
        contract=contract,
        features=frozenset(features),
        devices=devices,
        limit=_limit(),
        tier=tier,
    )


def _limit() -> dict[str, int] | None:
    """What a CPU is asked for in formats that it has no instructions for: a second's worth, 0.3 to 1.3 G products/s."""
    import torch

    return None if torch.cuda.is_available() else dict.fromkeys(("f16", *FP8_OVERFLOW), 2**28)


def _fp8(format: str, overflow: str) -> Contract:
    source = f"not stated: torch.mm of {format} tensors gives {format}; overflow as Tensor.to({format})"
    return Contract(overflow=overflow, source=source)


#: All switches off: torch.set_float32_matmul_precision, and attributes of torch.backends.cuda.matmul.
STRICT = {
    "float32": "highest",
    "allow_fp16_reduced_precision_reduction": False,
    "allow_bf16_reduced_precision_reduction": False,
    "allow_fp16_accumulation": False,
}


@contextmanager
def switched(values: dict[str, Any]) -> Iterator[None]:
    """PyTorch's process-wide precision switches set to `values` (the keys of STRICT), and put back as they were.

    A switch that this PyTorch does not have is left out.
    """
    import torch

    owner = torch.backends.cuda.matmul
    precisions = [(backend, backend.fp32_precision) for backend in (owner, torch.backends.mkldnn.matmul)]
    legacy = _legacy_precision()
    saved = {name: _setting(owner, name) for name in values if name != "float32" and hasattr(owner, name)}
    try:
        torch.set_float32_matmul_precision(values["float32"])
        for name in saved:
            setattr(owner, name, values[name])
        yield
    finally:
        for name, value in saved.items():
            setattr(owner, name, value)
        torch.set_float32_matmul_precision(legacy)
        for backend, value in precisions:
            backend.fp32_precision = value


def _legacy_precision() -> str:
    """torch.get_float32_matmul_precision(); where only the newer fp32_precision was set, that raises: "highest"."""
    import torch

    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:
        return "highest"


def _setting(owner: Any, name: str) -> Any:
    """The value to put back: the reduction switches are read one by one and set as a pair."""
    split = f"{name}_split_k"
    return (getattr(owner, name), getattr(owner, split)) if hasattr(owner, split) else getattr(owner, name)


def _under(function: Callable[..., Any], **values: Any) -> Callable[..., Any]:
    """`function` with the given switches on and every other one off."""

    def run(a: Any, b: Any, **keywords: Any) -> Any:
        with switched(STRICT | values):
            return function(a, b, **keywords)

    return run


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    return _under(function)


def _mm_out(a: Any, b: Any, *, out: Any = None) -> Any:
    import torch

    return torch.mm(a, b, out=out)


def _bmm(a: Any, b: Any) -> Any:
    import torch

    return torch.bmm(a, b) if a.ndim == 3 else torch.bmm(a.unsqueeze(0), b.unsqueeze(0)).squeeze(0)


def _einsum(a: Any, b: Any) -> Any:
    import torch

    return torch.einsum("...mk,...kn->...mn", a, b)


def _linear(a: Any, b: Any, *, bias: Any = None) -> Any:
    import torch

    return torch.nn.functional.linear(a, b.mT, bias)


def _addmm(a: Any, b: Any, *, c: Any = None, alpha: float = 1.0, beta: float = 1.0) -> Any:
    import torch

    if c is None:
        return torch.addmm(a.new_zeros(()), a, b, alpha=alpha, beta=0)
    return torch.addmm(c, a, b, alpha=alpha, beta=beta)


def _addmm_bias(a: Any, b: Any, *, bias: Any = None) -> Any:
    import torch

    return torch.addmm(a.new_zeros(()), a, b, beta=0) if bias is None else torch.addmm(bias, a, b)


def _baddbmm(a: Any, b: Any, *, c: Any = None, alpha: float = 1.0, beta: float = 1.0) -> Any:
    import torch

    if a.ndim == 2:
        c = None if c is None else c.unsqueeze(0)
        return _baddbmm(a.unsqueeze(0), b.unsqueeze(0), c=c, alpha=alpha, beta=beta).squeeze(0)
    if c is None:
        return torch.baddbmm(a.new_zeros(()), a, b, alpha=alpha, beta=0)
    return torch.baddbmm(c, a, b, alpha=alpha, beta=beta)


def _int_mm(a: Any, b: Any) -> Any:
    import torch

    if a.is_cuda and (a.dtype != torch.int8 or a.shape[0] <= 16 or a.shape[1] % 8 or b.shape[1] % 8):
        raise NotImplementedError("torch._int_mm on CUDA takes int8 with m > 16 and with k and n multiples of 8")
    return torch._int_mm(a, b)


#: Formats, ranks, layouts and sizes of 0 and 1, which are compiled apart, in the hunt too.
RECOMPILATIONS = 256


@cache
def _compile() -> Callable[..., Any]:
    """torch.matmul compiled for shapes of any size; on the first call, for importing the compiler takes seconds."""
    import torch

    compiled: Callable[..., Any] = torch.compile(torch.matmul, dynamic=True)
    return compiled


def _compiled(a: Any, b: Any) -> Any:
    from torch._dynamo import config

    # Beyond the limit PyTorch falls back to the eager kernel without a word, and something else would be judged.
    with config.patch(recompile_limit=RECOMPILATIONS, fail_on_recompile_limit_hit=True):
        return _compile()(a, b)
