"""Quantizers and dequantizers of our own in plain PyTorch operations, as training and serving code writes them."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

SOURCE = "plugins/lastbit/providers/torch_quantize_formulas.py: amax / largest, x / scale, in f32"
MX_SOURCE = "OCP Microscaling Formats (MX) 1.0, section 6.3"
FORMATS = ("f32", "bf16", "f16")
#: What a scale of 8 bits takes away from 127, the bias of e8m0, for e4m3: its largest exponent.
EMAX_E4M3 = 8


def kernels() -> tuple[Kernel, ...]:
    """int8, FP8 and MXFP8 by row, group and block, and back.

    Raises ImportError when PyTorch is not installed.
    """
    import torch

    tails = frozenset({"batch", "tails"})
    found = [
        _quantizer("i8-row", _i8_row, "i8_row", SOURCE, tails),
        _quantizer("i8-tensor", _i8_tensor, "i8_tensor", SOURCE, tails),
        _quantizer("fp8-row", _fp8_row, "fp8_row", SOURCE, tails),
        _quantizer("fp8-group128", _fp8_group, "fp8_group128", SOURCE, frozenset({"batch"})),
        _quantizer("fp8-block128", _fp8_block, "fp8_block128", SOURCE, frozenset({"batch"})),
        _dequantizer("i8-row", _product, "i8_row", ("f32",), tails),
        _dequantizer("fp8-row", _product, "fp8_row", ("f32",), tails),
        _dequantizer("fp8-row-twice", _narrowed_product, "fp8_row", ("bf16",), tails, "element_first"),
        _dequantizer("fp8-group128", _group_product, "fp8_group128", ("f32",), frozenset({"batch"})),
    ]
    if hasattr(torch, "float8_e8m0fnu"):
        found.append(_quantizer("mxfp8", _mxfp8, "mxfp8_e4m3", MX_SOURCE, frozenset({"batch"})))
    return tuple(found)


def _quantizer(name: str, run: Callable[..., Any], scaling: str, source: str, features: frozenset[str]) -> Kernel:
    return Kernel(
        name=f"torch/quantize-{name}",
        op="quantize",
        run=run,
        formats=tuple({"x": fmt} for fmt in FORMATS),
        contract=Contract(source=source),
        features=features,
        scaling=scaling,
    )


def _dequantizer(
    name: str,
    run: Callable[..., Any],
    scaling: str,
    formats: tuple[str, ...],
    features: frozenset[str],
    order: str = "once",
) -> Kernel:
    return Kernel(
        name=f"torch/dequantize-{name}",
        op="dequantize",
        run=run,
        formats=tuple({"out": fmt} for fmt in formats),
        contract=Contract(scale_arithmetic=order, source=SOURCE),
        features=features,
        scaling=scaling,
    )


def _i8_row(x: Any) -> Any:
    import torch

    scale = _scale(x.float().abs().amax(dim=-1, keepdim=True), 127)
    return (x.float() / scale).round().clamp(-127, 127).to(torch.int8), scale


def _i8_tensor(x: Any) -> Any:
    import torch

    wide = x.float()
    scale = _scale(wide.abs().amax() if wide.numel() else wide.new_zeros(()), 127)
    return (wide / scale).round().clamp(-127, 127).to(torch.int8), scale


def _fp8_row(x: Any) -> Any:
    scale = _scale(x.float().abs().amax(dim=-1, keepdim=True), 448)
    return _e4m3(x.float() / scale), scale


def _fp8_group(x: Any) -> Any:
    groups = _groups(x, 128)
    scale = _scale(groups.abs().amax(dim=-1), 448)
    return _e4m3(groups / scale[..., None]).reshape(x.shape), scale


def _fp8_block(x: Any) -> Any:
    _whole(x.shape[-2], 128)
    _whole(x.shape[-1], 128)
    shape = (*x.shape[:-2], x.shape[-2] // 128, 128, x.shape[-1] // 128, 128)
    tiles = x.float().reshape(shape)
    scale = _scale(tiles.abs().amax(dim=(-3, -1)), 448)
    return _e4m3(tiles / scale[..., :, None, :, None]).reshape(x.shape), scale


def _mxfp8(x: Any) -> Any:
    """The scale's code is the exponent of amax, less that of the largest element, plus the bias."""
    import torch

    groups = _groups(x, 32)
    amax = groups.abs().amax(dim=-1)
    exponent = torch.frexp(amax)[1] - 1 - EMAX_E4M3 + 127
    code = torch.where(amax == 0, 0, exponent.clamp(0, 254))
    code = torch.where(amax.isnan(), 255, torch.where(amax.isinf(), 254, code)).to(torch.uint8)
    scale = code.view(torch.float8_e8m0fnu)
    # Two steps, for 2^-127 and 1 / 2^127 are subnormal, and some processors divide by these as by zero.
    half = torch.exp2((127 - code.to(torch.int32)).clamp(-126, 126).float())
    rest = torch.exp2((127 - code.to(torch.int32)).float() - torch.log2(half))
    quotient = torch.where(amax.isnan()[..., None], torch.nan, groups * half[..., None] * rest[..., None])
    return _e4m3(quotient).reshape(x.shape), scale


def _product(codes: Any, scale: Any) -> Any:
    return codes.float() * scale


def _narrowed_product(codes: Any, scale: Any) -> Any:
    import torch

    return (codes.float() * scale).to(torch.bfloat16)


def _group_product(codes: Any, scale: Any) -> Any:
    return (_groups(codes, 128) * scale[..., None]).reshape(codes.shape)


def _scale(amax: Any, largest: int) -> Any:
    import torch

    scale = amax / largest
    return torch.where((amax == 0) | (scale == 0), 1.0, scale)


def _e4m3(quotient: Any) -> Any:
    import torch

    return quotient.clamp(-448, 448).to(torch.float8_e4m3fn)


def _groups(x: Any, size: int) -> Any:
    """(.., n) in f32 as (.., n / size, size)."""
    _whole(x.shape[-1], size)
    return x.float().reshape(*x.shape[:-1], x.shape[-1] // size, size)


def _whole(size: int, part: int) -> None:
    if size % part:
        raise ValueError(f"{size} numbers are no multiple of {part}")
