"""torchao's scaled matrix products on the CPU: MX tensors, emulated, and int8 with scales of rows."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.scaling import Scaling

MX = Contract(
    scaled="operands",
    input_rounding="bf16",
    source="torchao 0.18, prototype/mx_formats/mx_tensor.py, _addmm_mx_dispatch: both are dequantized to bf16",
)
INT8 = Contract(source="torchao 0.18, kernel/intmm.py, int_scaled_matmul: i32 sums times the scales of rows")
#: MX tensors are whole blocks.
BLOCKS = {"k": 32}
TYPES = {"e4m3fn": "float8_e4m3fn", "e5m2": "float8_e5m2", "e2m1fn": "float4_e2m1fn_x2"}


def kernels() -> tuple[Kernel, ...]:
    """The scaled products of the installed torchao.

    Raises ImportError when it is not installed.
    """
    import torchao  # noqa: F401

    mx = (("mxfp8", "e4m3fn", "mxfp8_e4m3"), ("mxfp8-e5m2", "e5m2", "mxfp8_e5m2"), ("mxfp4", "e2m1fn", "mxfp4"))
    return (
        *(_mx(name, element, scaling) for name, element, scaling in mx),
        Kernel(
            name="torchao/int_scaled_matmul",
            op="scaled_gemm",
            run=_int_scaled_matmul,
            formats={"a": "i8", "b": "i8", "out": "f32"},
            contract=INT8,
            devices=("cpu",),
            scaling={"a": "i8_row", "b": None},
        ),
    )


def _mx(name: str, element: str, scaling: str) -> Kernel:
    return Kernel(
        name=f"torchao/{name}-mm",
        op="scaled_gemm",
        run=_mm(element),
        formats={"a": element, "b": element, "out": "bf16"},
        contract=MX,
        devices=("cpu",),
        scaling={"a": Scaling.of(scaling), "b": Scaling.of(scaling)},
        multiple=BLOCKS,
    )


def _mm(element: str) -> Callable[..., Any]:
    """torch.mm of two MX tensors of these codes and scales."""

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
        import torch
        from torchao.prototype.mx_formats.mx_tensor import MXTensor
        from torchao.quantization.quantize_.common import KernelPreference

        def tensor(codes: Any, scale: Any) -> Any:
            kind, emulated = getattr(torch, TYPES[element]), KernelPreference.EMULATED
            return MXTensor(
                codes.contiguous(), scale.contiguous(), kind, BLOCKS["k"], torch.bfloat16, emulated, None, False
            )

        return torch.mm(tensor(a, scale_a), tensor(b.t(), scale_b.t()).t())

    return run


def _int_scaled_matmul(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
    from torchao.kernel.intmm import int_scaled_matmul

    return int_scaled_matmul(a, b, scale_a.contiguous())
