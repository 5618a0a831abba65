"""PyTorch's own quantizers of int8 and int4: quantize_per_tensor and _channel, and the decomposed ones of torch.export.

fake_quantize is quantize and dequantize in one: its parts are what is judged here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

if TYPE_CHECKING:
    from lastbit.references.scaling import Scaling

DOCS = "docs.pytorch.org/docs/stable/generated"
DECOMPOSED = "torch/ao/quantization/fx/_decomposed.py"


def kernels() -> tuple[Kernel, ...]:
    """The quantizers and dequantizers of the installed PyTorch; scales are given, but for the dynamic one.

    Raises ImportError when PyTorch is not installed, or has lost its decomposed quantizers.
    """
    from dataclasses import replace

    import torch
    import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed

    from lastbit.references.scaling import Scaling

    fused = Scaling.of("i8_affine_torch")
    apart = replace(fused, name="i8_affine_apart", arithmetic="reciprocal")
    rows = replace(apart, name="i8_row_affine_torch", granularity="row")
    after = replace(apart, name="i8_affine_decomposed", zero_before_rounding=False, source=DECOMPOSED)
    channels = replace(after, name="i8_row_affine_decomposed", granularity="row")
    groups = replace(
        apart,
        name="i4_group32_decomposed",
        element="i4",
        zero_point="i4",
        granularity="group",
        group=32,
        source=DECOMPOSED,
    )
    dynamic = replace(
        Scaling.of("i8_row"),
        name="i8_token_decomposed",
        smallest_amax=1e-5,
        zero_scale=None,
        arithmetic="reciprocal",
        lowest=None,
        source=f"{DECOMPOSED}, choose_qparams_per_token",
    )
    unsigned = replace(fused, name="u8_affine_torch", element="u8", zero_point="u8")
    kinds: tuple[tuple[str, Scaling, Any, Any, str], ...] = (
        ("per-tensor", fused, _per_tensor(torch.qint8), _of_tensor, f"{DOCS}/torch.quantize_per_tensor.html"),
        (
            "per-tensor-u8",
            unsigned,
            _per_tensor(torch.quint8),
            _of_tensor,
            f"{DOCS}/torch.quantize_per_tensor.html",
        ),
        ("per-channel", rows, _per_channel, _of_channel, f"{DOCS}/torch.quantize_per_channel.html"),
        ("decomposed-per-tensor", after, _decomposed_tensor, _of_decomposed_tensor, DECOMPOSED),
        ("decomposed-per-channel", channels, _decomposed_channel, _of_decomposed_channel, DECOMPOSED),
        ("decomposed-per-group", groups, _decomposed_group, _of_decomposed_group, DECOMPOSED),
        ("decomposed-per-token", dynamic, _decomposed_token, None, DECOMPOSED),
    )
    found = []
    for name, scaling, to_codes, to_numbers, source in kinds:
        found.append(_kernel(f"quantize-{name}", "quantize", to_codes, scaling, source))
        if to_numbers is not None:
            found.append(_kernel(f"dequantize-{name}", "dequantize", to_numbers, scaling, source))
    return tuple(found)


def _kernel(name: str, op: str, run: Callable[..., Any], scaling: "Scaling", source: str) -> Kernel:
    return Kernel(
        name=f"torch/{name}",
        op=op,
        run=run,
        formats={"x" if op == "quantize" else "out": "f32"},
        contract=Contract(source=source),
        devices=("cpu",),
        features=frozenset({"tails"}) if scaling.granularity != "group" else frozenset(),
        scaling=scaling,
    )


def _per_tensor(dtype: Any) -> Callable[..., Any]:
    def run(x: Any, scale: Any, zero: Any) -> Any:
        import torch

        return torch.quantize_per_tensor(x, scale, zero.int(), dtype).int_repr()

    return run


def _per_channel(x: Any, scale: Any, zero: Any) -> Any:
    import torch

    return torch.quantize_per_channel(x, scale.reshape(-1), zero.reshape(-1).int(), 0, torch.qint8).int_repr()


def _of_tensor(codes: Any, scale: Any, zero: Any) -> Any:
    import torch

    return torch._make_per_tensor_quantized_tensor(codes, float(scale), int(zero)).dequantize()


def _of_channel(codes: Any, scale: Any, zero: Any) -> Any:
    import torch

    made = torch._make_per_channel_quantized_tensor(codes, scale.reshape(-1), zero.reshape(-1).int(), 0)
    return made.dequantize()


def _decomposed_tensor(x: Any, scale: Any, zero: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    return ops.quantize_per_tensor.tensor(x, scale, zero.int(), -128, 127, torch.int8)


def _of_decomposed_tensor(codes: Any, scale: Any, zero: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    return ops.dequantize_per_tensor.tensor(codes, scale, zero.int(), -128, 127, torch.int8)


def _decomposed_channel(x: Any, scale: Any, zero: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    return ops.quantize_per_channel(x, scale.reshape(-1), zero.reshape(-1).int(), 0, -128, 127, torch.int8)


def _of_decomposed_channel(codes: Any, scale: Any, zero: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    return ops.dequantize_per_channel(codes, scale.reshape(-1), zero.reshape(-1).int(), 0, -128, 127, torch.int8)


def _decomposed_group(x: Any, scale: Any, zero: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    return ops.quantize_per_channel_group(x, scale, zero.int(), -8, 7, torch.int8, 32)


def _of_decomposed_group(codes: Any, scale: Any, zero: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    return ops.dequantize_per_channel_group(codes, scale, zero.int(), -8, 7, torch.int8, 32, torch.float32)


def _decomposed_token(x: Any) -> Any:
    import torch

    ops = torch.ops.quantized_decomposed
    scale, zero = ops.choose_qparams_per_token(x, torch.int8)
    return ops.quantize_per_token(x, scale, zero, -128, 127, torch.int8), scale
