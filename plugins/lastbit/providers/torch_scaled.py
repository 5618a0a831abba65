"""PyTorch's scaled matrix products, each with what its documentation or source promises about it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.scaling import Scaling

DOCUMENTATION = "docs.pytorch.org/docs/2.13/generated/torch.nn.functional.scaled_mm.html"
NATIVE = "pytorch 2.13, aten/src/ATen/native"
SCALED_MM = Contract(source=f"{DOCUMENTATION}: products of FP8 operands, scaled, in f32")
#: FP8 results: beyond the largest number as Tensor.to of that type.
SCALED_MM_FP8 = Contract(overflow="saturate", source=f"{DOCUMENTATION}; overflow as Tensor.to(float8_e4m3fn)")
WEIGHT8 = Contract(source=f"{NATIVE}/cpu/int8mm_kernel.cpp: products of codes and their scale in f32")
WEIGHT4 = Contract(scaled="operands", source=f"{NATIVE}/cpu/int4mm_kernel.cpp: weights dequantized to f32")

#: What the GPU's product needs of n and k: 16 bytes.
ALIGNED = {"n": 16, "k": 16}
#: With bf16 the CPU's int8 product reads past the rows of other k, into a crash (FINDINGS.md), and misaligned ones too.
WHOLE_VECTORS = {"k": 16}
GROUP = 32
#: 4-bit weights whose zero point is always the middle, so that they are (q - 8) * scale.
MIDDLE4 = replace(Scaling.of("u4_group32"), name="u4_group32_middle", zero_point=None, fixed_zero=8.0, packing="none")


def kernels() -> tuple[Kernel, ...]:
    """The scaled products of the installed PyTorch.

    Raises ImportError when PyTorch is not installed.
    """
    import torch  # noqa: F401

    floats = tuple(_formats(fmt, "i8", fmt) for fmt in ("bf16", "f16", "f32"))
    weights = tuple(_formats(fmt, "u4", fmt) for fmt in ("bf16", "f16", "f32"))
    return (
        *(_fp8("_scaled_mm", out, "fp8_tensor", _scaled_mm(out)) for out in ("bf16", "f32", "f16", "e4m3fn")),
        *(_fp8("_scaled_mm-rows", out, "fp8_row", _scaled_mm(out)) for out in ("bf16", "f32")),
        _fp8("scaled_mm", "bf16", "fp8_tensor", _recipe("TensorWise", "bf16"), bias=False),
        _fp8("scaled_mm-rows", "bf16", "fp8_row", _recipe("RowWise", "bf16"), bias=False),
        *(_fp8("_scaled_mm-cuda", out, "fp8_tensor", _column_major(out), cuda=True) for out in ("bf16", "f32")),
        _fp8("_scaled_mm-rows-cuda", "bf16", "fp8_row", _column_major("bf16"), cuda=True),
        *(
            _kernel(
                f"torch/_weight_int8pack_mm-{formats['a']}",
                _int8pack,
                (formats,),
                _plain_rows(formats),
                WEIGHT8,
                multiple=WHOLE_VECTORS if formats["a"] == "bf16" else None,
            )
            for formats in floats
        ),
        *(
            _kernel(
                f"torch/_weight_int4pack_mm-{formats['a']}",
                _int4pack,
                (formats,),
                {"a": None, "b": replace(MIDDLE4, scale_format=formats["a"])},
                WEIGHT4,
                multiple={"n": 32, "k": GROUP},
            )
            for formats in weights
        ),
    )


def _fp8(
    name: str, out: str, scaling: str, run: Callable[..., Any], *, bias: bool = True, cuda: bool = False
) -> Kernel:
    """A product of FP8 operands; on a GPU sizes are multiples of 16 and e5m2 meets e4m3fn only."""
    pairs = [("e4m3fn", "e4m3fn")] if out == "e4m3fn" or cuda else [("e4m3fn", "e4m3fn"), ("e4m3fn", "e5m2")]
    formats = tuple(_formats(a, b, out, bias="bf16") for a, b in pairs)
    contract = SCALED_MM_FP8 if out == "e4m3fn" else SCALED_MM
    kernel = _kernel(f"torch/{name}-{out}", run, formats, scaling, contract, bias=bias)
    return replace(kernel, devices=("cuda",), multiple=ALIGNED) if cuda else kernel


def _formats(a: str, b: str, out: str, **more: str) -> dict[str, str]:
    return {"a": a, "b": b, "out": out, **more}


def _plain_rows(formats: Mapping[str, str]) -> dict[str, Any]:
    """A plain a, and i8 rows of b whose scales have a's format."""
    return {"a": None, "b": replace(Scaling.of("i8_row"), scale_format=formats["a"])}


def _kernel(
    name: str,
    run: Callable[..., Any],
    formats: tuple[dict[str, str], ...],
    scaling: Any,
    contract: Contract,
    *,
    bias: bool = False,
    multiple: Mapping[str, int] | None = None,
) -> Kernel:
    return Kernel(
        name=name,
        op="scaled_gemm",
        run=run,
        formats=formats,
        contract=contract,
        devices=("cpu",),
        features=frozenset({"bias"} if bias else ()),
        scaling=scaling if isinstance(scaling, Mapping) else {"a": scaling, "b": scaling},
        multiple=multiple or {},
    )


def _scaled_mm(out: str) -> Callable[..., Any]:
    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, bias: Any = None) -> Any:
        import torch

        from lastbit.torch_arrays import dtype

        scales = (_contiguous(scale) for scale in (scale_a, scale_b))
        return torch._scaled_mm(a, b, *scales, bias=bias, out_dtype=dtype(out))

    return run


def _column_major(out: str) -> Callable[..., Any]:
    """cuBLASLt takes a row-major and b column-major."""
    product = _scaled_mm(out)

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, bias: Any = None) -> Any:
        return product(a.contiguous(), b.t().contiguous().t(), scale_a, scale_b, bias=bias)

    return run


def _recipe(recipe: str, out: str) -> Callable[..., Any]:
    def run(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
        import torch
        from torch.nn.functional import ScalingType

        from lastbit.torch_arrays import dtype

        kind = getattr(ScalingType, recipe)
        left, right = _contiguous(scale_a), _contiguous(scale_b)
        return torch.nn.functional.scaled_mm(a, b, left, kind, right, kind, output_dtype=dtype(out))

    return run


def _contiguous(scale: Any) -> Any:
    """Row-major with the strides of its shape, sizes of 1 included, as both functions demand."""
    return scale.reshape(-1).clone().reshape(scale.shape)


def _int8pack(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
    import torch

    x, weight = (part.clone(memory_format=torch.contiguous_format) for part in (a, b.t()))
    return torch.ops.aten._weight_int8pack_mm(x, weight, scale_b.reshape(-1).clone())


def _int4pack(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
    """The weights are packed by the operator for that; scale and zero point (a number, here 0) lie together."""
    import torch

    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(b.t().contiguous().to(torch.int32), 2)
    pairs = torch.stack((scale_b, torch.zeros_like(scale_b)), dim=-1).contiguous()
    return torch.ops.aten._weight_int4pack_mm_for_cpu(a.contiguous(), packed, GROUP, pairs)
