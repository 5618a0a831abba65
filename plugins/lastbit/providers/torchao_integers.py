"""torchao's primitives of integers, with and without a zero point, and of float8 with f32 scales."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lastbit.kernel import Kernel
from lastbit.providers.quantizers import TAILS, WHOLE, dequantizer, quantizer

if TYPE_CHECKING:
    from lastbit.references.scaling import Scaling

#: Presets, and those of the smoke tier.
INTEGERS = (
    "i8_row_torchao",
    "i8_tensor_torchao",
    "i8_affine",
    "i8_row_affine",
    "i4_group32",
    "i4_group64",
    "i4_group128",
    "i4_group32_zp",
    "i4_group64_zp",
    "i4_group128_zp",
    "u4_group32",
    "u4",
)
SMOKE = ("i8_row_torchao", "i8_affine", "i4_group32", "i4_group32_zp", "u4_group32")
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
PRIMITIVES = "torchao 0.18, quantization/quant_primitives.py"
#: The product with the scale is rounded to f32, and that to the output.
TWICE = "element_first"


def integers() -> Iterator[Kernel]:
    """quantize_affine with the scales and zero points of choose_qparams_affine, and dequantize_affine."""
    from lastbit.references.scaling import Scaling

    quantize = f"{PRIMITIVES}, choose_qparams_affine, quantize_affine"
    for name in INTEGERS:
        # Codes of 4 bits are bytes here; they are packed for a matrix product only.
        scaling = Scaling.of(name)
        if scaling.packing != "none":
            scaling = replace(scaling, name=f"{name}_unpacked", packing="none")
        more: dict[str, Any] = {"features": WHOLE if scaling.granularity == "group" else TAILS}
        more["tier"] = "smoke" if name in SMOKE else "standard"
        yield quantizer(f"torchao/quantize-{name}", _to_affine(scaling), scaling, DTYPES, quantize, **more)
        for out in ("f32", "bf16"):
            run, order = _of_affine(scaling, DTYPES[out]), "once" if out == "f32" else TWICE
            source = f"{PRIMITIVES}, dequantize_affine"
            yield dequantizer(f"torchao/dequantize-{name}-{out}", run, scaling, out, source, order=order, **more)


def float8() -> Iterator[Kernel]:
    """_quantize_affine_float8 with the scales of _choose_scale_float8, as Float8Tensor does, and back."""
    from lastbit.references.scaling import Scaling

    for name in ("fp8_tensor_torchao", "fp8_row_torchao"):
        # Numbers close to the original: those of a row of zeros are zeros.
        scaling = replace(Scaling.of(name), name=f"{name}_zeros", zero_codes=True)
        source = f"{PRIMITIVES}, _choose_scale_float8, _quantize_affine_float8"
        yield quantizer(f"torchao/quantize-{name}", _to_float8(scaling), scaling, DTYPES, source, features=TAILS)
        for out, dtype in DTYPES.items():
            source = f"{PRIMITIVES}, _dequantize_affine_float8: a product in f32"
            order = "once" if out == "f32" else TWICE
            run = _of_float8(dtype)
            yield dequantizer(
                f"torchao/dequantize-{name}-{out}", run, scaling, out, source, order=order, features=TAILS
            )


def _block(scaling: "Scaling", shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many numbers along each axis have one scale."""
    if scaling.granularity == "tensor":
        return shape
    return (*(1 for _ in shape[:-1]), scaling.group or shape[-1])


def _range(scaling: "Scaling") -> tuple[Any, int, int]:
    """The type of torch that holds the codes, and the smallest and largest."""
    import torch

    return (torch.int8 if scaling.low < 0 else torch.uint8), int(scaling.low), int(scaling.high)


def _to_affine(scaling: "Scaling") -> Callable[..., Any]:
    def run(x: Any) -> Any:
        from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine

        x = x.contiguous()
        block, shape = _block(scaling, x.shape), scaling.scale_shape(tuple(x.shape))
        kind = MappingType.ASYMMETRIC if scaling.zero_point else MappingType.SYMMETRIC
        scale, zero = choose_qparams_affine(x, kind, block, *_range(scaling))
        codes = quantize_affine(x, block, scale, zero, *_range(scaling))
        found = codes, scale.float().reshape(shape)
        return (*found, zero.to(codes.dtype).reshape(shape)) if scaling.zero_point else found

    return run


def _of_affine(scaling: "Scaling", dtype: str) -> Callable[..., Any]:
    def run(codes: Any, scale: Any, zero: Any = None) -> Any:
        import torch
        from torchao.quantization.quant_primitives import dequantize_affine

        block = _block(scaling, codes.shape)
        kind, low, high = _range(scaling)
        known = scale.contiguous(), None if zero is None else zero.contiguous()
        return dequantize_affine(codes.contiguous(), block, *known, kind, low, high, output_dtype=getattr(torch, dtype))

    return run


def _to_float8(scaling: "Scaling") -> Callable[..., Any]:
    def run(x: Any) -> Any:
        from torchao.quantization.quant_primitives import _choose_scale_float8, _quantize_affine_float8

        x = x.contiguous()
        scale = _choose_scale_float8(x, list(_block(scaling, x.shape)))
        return _quantize_affine_float8(x, scale), scale.reshape(scaling.scale_shape(tuple(x.shape)))

    return run


def _of_float8(dtype: str) -> Callable[..., Any]:
    def run(codes: Any, scale: Any) -> Any:
        import torch
        from torchao.quantization.quant_primitives import _dequantize_affine_float8

        return _dequantize_affine_float8(codes, scale, getattr(torch, dtype))

    return run
