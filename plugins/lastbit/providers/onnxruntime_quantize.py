"""ONNX Runtime's QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear on the CPU."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lastbit.kernel import Kernel
from lastbit.providers.onnxruntime_node import Node, run_node
from lastbit.providers.quantizers import TAILS, WHOLE, dequantizer, quantizer

if TYPE_CHECKING:
    from lastbit.references.scaling import Scaling

OPERATORS = "onnx.ai/onnx/operators/onnx__{}.html"
QUANTIZE = f"{OPERATORS.format('QuantizeLinear')}: saturate(round(x / y_scale) + y_zero_point), nearest even"
DEQUANTIZE = f"{OPERATORS.format('DequantizeLinear')}: (x - x_zero_point) * x_scale"
DYNAMIC = OPERATORS.format("DynamicQuantizeLinear")
#: Elements with a zero point, and those of floating point, whose zero point is 0.
INTEGERS, FLOATS = ("i8", "u8", "i4", "u4"), ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")
GROUP = 32


def kernels() -> tuple[Kernel, ...]:
    """The quantizers of the installed ONNX Runtime; `onnxruntime` finds out whether there is one."""
    return (*_given(), *_dynamic())


def _given() -> Iterator[Kernel]:
    """Scales and zero points are inputs: of the tensor, of rows (of a matrix), or of blocks of 32."""
    for element in (*INTEGERS, *FLOATS):
        for granularity in ("tensor", "row", "group"):
            for wide in ("f32", "f16"):
                scaling = _scaling(element, granularity, wide)
                tails = frozenset({"tails"}) if scaling.packing == "none" else frozenset()
                more: dict[str, Any] = {"features": tails if granularity == "row" else tails | WHOLE}
                more["tier"] = "smoke" if wide == "f32" or granularity == "group" else "standard"
                more["framework"] = "numpy"
                name = f"{element}-{granularity}-{wide}"
                yield quantizer(f"onnxruntime/quantize-{name}", _quantize(scaling), scaling, (wide,), QUANTIZE, **more)
                run = _dequantize(scaling)
                yield dequantizer(f"onnxruntime/dequantize-{name}", run, scaling, wide, DEQUANTIZE, **more)


def _dynamic() -> Iterator[Kernel]:
    from lastbit.references.scaling import Scaling

    node = Node("DynamicQuantizeLinear", (("x", "f32"),), (("y", "u8"), ("scale", "f32"), ("zero", "u8")))

    def run(x: Any) -> Any:
        return run_node(node, {"x": x}, (x.shape, (), ()))

    scaling = Scaling.of("u8_affine_onnx")
    name = "onnxruntime/quantize-dynamic"
    yield quantizer(name, run, scaling, ("f32",), DYNAMIC, features=TAILS, framework="numpy")


def _scaling(element: str, granularity: str, wide: str) -> "Scaling":
    from lastbit.references.scaling import Scaling

    packed = element in ("i4", "u4")
    return replace(
        Scaling.of("u8_affine_onnx"),
        name=f"{element}_{granularity}_onnx_{wide}",
        element=element,
        zero_point=element if element in INTEGERS else None,
        rule="given",
        granularity=granularity,
        group=GROUP if granularity == "group" else 0,
        scale_format=wide,
        # "If not provided, it will be the same as the type of y_scale."
        compute=wide,
        zero_scale=None,
        packing="nibbles_low_first" if packed else "none",
        source=QUANTIZE,
    )


def _quantize(scaling: "Scaling") -> Callable[..., Any]:
    wide, element = scaling.scale_format or "f32", scaling.element
    inputs = (("x", wide), ("scale", wide), ("zero", element))
    node = Node("QuantizeLinear", inputs, (("y", element),), _axis(scaling))

    def run(x: Any, scale: Any, zero: Any = None) -> Any:
        if scaling.packing != "none" and x.shape[-1] % 2:
            raise ValueError(f"rows of {x.shape[-1]} numbers fill no whole bytes: the next row's codes are beside them")
        known = _known(scaling, scale, zero)
        shape = x.shape if scaling.packing == "none" else (*x.shape[:-1], x.shape[-1] // 2)
        return run_node(node, {"x": x, **known}, (shape,), {"y": x.shape})[0]

    return run


def _dequantize(scaling: "Scaling") -> Callable[..., Any]:
    wide, element = scaling.scale_format or "f32", scaling.element
    inputs = (("x", element), ("scale", wide), ("zero", element))
    node = Node("DequantizeLinear", inputs, (("y", wide),), _axis(scaling))

    def run(codes: Any, scale: Any, zero: Any = None) -> Any:
        shape = codes.shape if scaling.packing == "none" else (*codes.shape[:-1], codes.shape[-1] * 2)
        known = _known(scaling, scale, zero)
        return run_node(node, {"x": codes, **known}, (shape,), {"x": shape})[0]

    return run


def _axis(scaling: "Scaling") -> tuple[tuple[str, int], ...]:
    return {"tensor": (), "row": (("axis", 0),), "group": (("axis", -1), ("block_size", scaling.group))}[
        scaling.granularity
    ]


def _known(scaling: "Scaling", scale: Any, zero: Any) -> dict[str, Any]:
    """Scales and zero points in the shapes that the operators want; a float's zero point is 0, and says its type."""
    import numpy as np

    from lastbit.numpy_arrays import dtype

    if zero is None:
        zero = np.zeros(scale.shape, dtype(scaling.element))
    if scaling.granularity == "row":
        return {"scale": scale.reshape(-1), "zero": zero.reshape(-1)}
    return {"scale": scale, "zero": zero}
