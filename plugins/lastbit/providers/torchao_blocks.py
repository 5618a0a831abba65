"""torchao's quantizers of small blocks: MX with each rule of the scale, and NVFP4, scales in rows or swizzled."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lastbit.kernel import Kernel
from lastbit.providers.quantizers import dequantizer, quantizer

#: torchao's name of each element of the MX presets: a type of torch, or a word.
ELEMENTS = {
    "mxfp8_e4m3": "float8_e4m3fn",
    "mxfp8_e5m2": "float8_e5m2",
    "mxfp6_e3m2": "fp6_e3m2",
    "mxfp6_e2m3": "fp6_e2m3",
    "mxfp4": "float4_e2m1fn_x2",
}
RULES = ("floor", "ceil", "even", "rceil")
#: MX quantizers of the smoke tier: each element and each rule is among them.
SMOKE = ("mxfp8_e4m3_floor", "mxfp8_e5m2_even", "mxfp6_e3m2_ceil", "mxfp6_e2m3_floor", "mxfp4_rceil")
#: What to_mx takes.
WIDE = ("f32", "bf16")
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
MX_SOURCE = "torchao 0.18, prototype/mx_formats/mx_tensor.py"
NVFP4_SOURCE = "torchao 0.18, prototype/mx_formats/nvfp4_tensor.py"
SWIZZLED = "swizzled-128x4"
#: Codes that `to_mx` swizzles have no leading axes.
FLAT: frozenset[str] = frozenset()


def mx() -> Iterator[Kernel]:
    """to_mx of each element by each rule, and to_dtype.

    A code is that of x over the scale that is stored with it, the smallest one too: the presets say what torchao does.
    """
    from lastbit.references.scaling import Scaling

    quantize, dequantize = f"{MX_SOURCE}, to_mx; OCP MX 1.0, 6.3", f"{MX_SOURCE}, to_dtype; OCP MX 1.0, 5.1"
    for base, element in ELEMENTS.items():
        for rule in RULES:
            name = f"{base}_{rule}"
            scaling = replace(Scaling.of(name), name=f"{name}_stored", smallest_divisor=None)
            tier = "smoke" if name in SMOKE else "standard"
            yield quantizer(f"torchao/quantize-{name}", _to_mx(element, rule), scaling, WIDE, quantize, tier=tier)
        plain = replace(Scaling.of(f"{base}_floor"), name=f"{base}_torchao")
        for out in WIDE:
            run = _of_mx(element, DTYPES[out])
            yield dequantizer(f"torchao/dequantize-{base}-{out}", run, plain, out, dequantize)
    swizzled = replace(
        Scaling.of("mxfp8_e4m3_floor"), name="mxfp8_e4m3_swizzled", smallest_divisor=None, scale_layout=SWIZZLED
    )
    run = _to_mx(ELEMENTS["mxfp8_e4m3"], "floor", swizzled=True)
    yield quantizer("torchao/quantize-mxfp8_e4m3-swizzled", run, swizzled, ("bf16",), quantize, features=FLAT)


def nvfp4() -> Iterator[Kernel]:
    """NVFP4Tensor.to_nvfp4 with and without a scale of the tensor, and NVFP4Tensor.dequantize."""
    from lastbit.references.scaling import Scaling

    quantize = f"{NVFP4_SOURCE}, nvfp4_quantize"
    dequantize = f"{NVFP4_SOURCE}, NVFP4Tensor.dequantize: the product of the scales in f32"
    single = Scaling.of("nvfp4_single")
    # A tensor of zeros has blocks of zeros, whose scale is the same with and without a global one.
    double = replace(Scaling.of("nvfp4"), name="nvfp4_zeros", zero_scale=2.0**-6)
    swizzled = replace(double, name="nvfp4_swizzled", scale_layout=SWIZZLED)
    yield quantizer("torchao/quantize-nvfp4", _to_nvfp4(top=True), double, WIDE, quantize)
    yield quantizer("torchao/quantize-nvfp4_single", _to_nvfp4(top=False), single, WIDE, quantize)
    run = _to_nvfp4(top=True, swizzled=True)
    yield quantizer("torchao/quantize-nvfp4-swizzled", run, swizzled, ("bf16",), quantize, features=FLAT)
    for out, dtype in DTYPES.items():
        run = _of_nvfp4(dtype)
        yield dequantizer(f"torchao/dequantize-nvfp4-{out}", run, double, out, dequantize, order="scales_first")
        yield dequantizer(f"torchao/dequantize-nvfp4_single-{out}", run, single, out, dequantize)
    run = _of_nvfp4("bfloat16", swizzled=True)
    name = "torchao/dequantize-nvfp4-swizzled-bf16"
    yield dequantizer(name, run, swizzled, "bf16", dequantize, order="scales_first", features=FLAT)


def _to_mx(element: str, rule: str, *, swizzled: bool = False) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        import torch
        from torchao.prototype.mx_formats.mx_tensor import ScaleCalculationMode, to_mx

        mode = ScaleCalculationMode[rule.upper()]
        scale, codes = to_mx(x.contiguous(), getattr(torch, element, element), 32, mode, swizzled)
        return codes, scale.flatten() if swizzled else scale

    return run


def _of_mx(element: str, dtype: str) -> Callable[..., Any]:
    def run(codes: Any, scale: Any) -> Any:
        import torch
        from torchao.prototype.mx_formats.mx_tensor import to_dtype

        kind = getattr(torch, element, element)
        return to_dtype(codes.contiguous(), scale.contiguous(), kind, 32, getattr(torch, dtype))

    return run


def _to_nvfp4(*, top: bool, swizzled: bool = False) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale

        x = x.contiguous()
        scale = per_tensor_amax_to_scale(x.abs().max()) if top else None
        made = NVFP4Tensor.to_nvfp4(x, per_tensor_scale=scale, is_swizzled_scales=swizzled)
        found = made.qdata, made.scale.flatten() if swizzled else made.scale
        return (*found, scale) if top else found

    return run


def _of_nvfp4(dtype: str, *, swizzled: bool = False) -> Callable[..., Any]:
    def run(codes: Any, scale: Any, top: Any = None) -> Any:
        import torch
        from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor

        kind = getattr(torch, dtype)
        made = NVFP4Tensor(codes.contiguous(), scale.contiguous(), 16, kind, top, is_swizzled_scales=swizzled)
        return made.dequantize(kind)

    return run
