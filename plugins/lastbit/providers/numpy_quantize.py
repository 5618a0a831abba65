"""Quantizers and dequantizers of our own in NumPy: int8 by row and by tensor, and FP8 by ml_dtypes' casts."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

SOURCE = "plugins/lastbit/providers/numpy_quantize.py: amax / largest, x / scale, in f32"
FORMATS = ("f32", "bf16", "f16")


def kernels() -> tuple[Kernel, ...]:
    """int8 and FP8 on the installed NumPy.

    Raises ImportError when NumPy is not installed.
    """
    import numpy  # noqa: F401

    return (
        _kernel("quantize", "i8-row", _i8_row, "i8_row"),
        _kernel("quantize", "i8-tensor", _i8_tensor, "i8_tensor"),
        _kernel("quantize", "u8-affine", _u8_affine, "u8_affine_onnx", ("f32",)),
        _kernel("quantize", "fp8-row", _fp8_row, "fp8_row"),
        _kernel("dequantize", "i8-row", _product, "i8_row", ("f32",)),
        _kernel("dequantize", "fp8-row", _product, "fp8_row", ("f32",)),
        _kernel("dequantize", "u8-affine", _shifted_product, "u8_affine_onnx", ("f32",)),
    )


def _kernel(op: str, name: str, run: Callable[..., Any], scaling: str, formats: tuple[str, ...] = FORMATS) -> Kernel:
    def quiet(*operands: Any) -> Any:
        import numpy as np

        with np.errstate(all="ignore"):
            return run(*operands)

    quiet.__module__ = __name__
    return Kernel(
        name=f"numpy/{op}-{name}",
        op=op,
        run=quiet,
        formats=tuple({"x" if op == "quantize" else "out": fmt} for fmt in formats),
        contract=Contract(source=SOURCE),
        framework="numpy",
        devices=("cpu",),
        features=frozenset({"batch", "tails"}),
        scaling=scaling,
    )


def _i8_row(x: Any) -> Any:
    import numpy as np

    scale = _scale(np.abs(_f32(x)).max(axis=-1, keepdims=True), 127)
    return _i8(_f32(x) / scale), scale


def _i8_tensor(x: Any) -> Any:
    import numpy as np

    scale = _scale(np.abs(_f32(x)).max(initial=0), 127)
    return _i8(_f32(x) / scale), scale


def _u8_affine(x: Any) -> Any:
    """ONNX's DynamicQuantizeLinear: the range holds 0, and the zero point is the code of 0."""
    import numpy as np

    low, high = np.minimum(x.min(initial=0), np.float32(0)), np.maximum(x.max(initial=0), np.float32(0))
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    scale = np.where((low == 0) & (high == 0) | (scale == 0), np.float32(1), scale)
    zero = np.asarray(np.nan_to_num(np.clip(np.rint(-low / scale), 0, 255)), np.float32)
    codes = np.clip(np.rint(x / scale) + zero, 0, 255)
    return np.nan_to_num(codes).astype(np.uint8), scale, zero.astype(np.uint8)


def _fp8_row(x: Any) -> Any:
    import ml_dtypes
    import numpy as np

    scale = _scale(np.abs(_f32(x)).max(axis=-1, keepdims=True), 448)
    top = np.float32(448)
    return np.clip(_f32(x) / scale, -top, top).astype(ml_dtypes.float8_e4m3fn), scale


def _product(codes: Any, scale: Any) -> Any:
    return _f32(codes) * scale


def _shifted_product(codes: Any, scale: Any, zero: Any) -> Any:
    return (_f32(codes) - _f32(zero)) * scale


def _scale(amax: Any, largest: float) -> Any:
    import numpy as np

    scale = amax / np.float32(largest)
    return np.where((amax == 0) | (scale == 0), np.float32(1), scale)


def _i8(quotient: Any) -> Any:
    import numpy as np

    return np.nan_to_num(np.clip(np.rint(quotient), -127, 127)).astype(np.int8)


def _f32(x: Any) -> Any:
    import numpy as np

    return np.asarray(x).astype(np.float32)
