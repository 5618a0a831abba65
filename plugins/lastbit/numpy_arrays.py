"""NumPy's border: bit patterns to arrays of NumPy's and ml_dtypes' types and back."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.arrays import UnavailableError, code_dtype
from lastbit.guards import poison
from lastbit.kernel import FORMATS
from lastbit.layouts import ALIGNMENT, Placement

name = "NumPy"
NATIVE = {"f64": "f8", "f32": "f4", "tf32": "f4", "f16": "f2", "i8": "i1", "u8": "u1", "i32": "i4", "bool": "?"}
ML_DTYPES = {
    "bf16": "bfloat16",
    "e4m3fn": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e4m3b11fnuz": "float8_e4m3b11fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e4m3": "float8_e4m3",
    "e3m4": "float8_e3m4",
    "e8m0fnu": "float8_e8m0fnu",
    "e3m2fn": "float6_e3m2fn",
    "e2m3fn": "float6_e2m3fn",
    "e2m1fn": "float4_e2m1fn",
    "i4": "int4",
    "u4": "uint4",
}
#: Bits of the integers of ml_dtypes that fill no byte: it ignores the bits above them.
NARROW = {"i4": 4, "u4": 4}
#: Blocks that are poisoned before a call: the result and a few temporaries of its size.
SCRUBBED = 4


def has_negative_strides() -> bool:
    """NumPy has negative strides."""
    return True


@cache
def dtype(format: str) -> "np.dtype[Any]":
    """The NumPy type of `format`; tf32 travels as float32, a format that ml_dtypes does not know as codes in uint8.

    Raises UnavailableError when neither NumPy nor ml_dtypes has one.
    """
    if format in NATIVE:
        return np.dtype(NATIVE[format])
    if format in FORMATS and format not in ML_DTYPES:
        return np.dtype(np.uint8)
    import ml_dtypes

    if not hasattr(ml_dtypes, ML_DTYPES.get(format, "")):
        raise UnavailableError(f"NumPy with ml_dtypes {ml_dtypes.__version__} has no type for {format}")
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, ML_DTYPES[format]))
    return found


def allocate(nbytes: int, device: str) -> NDArray[np.uint8]:
    """Uninitialised bytes, aligned; the device is always the CPU."""
    if device != "cpu":
        raise UnavailableError(f"NumPy arrays live on the CPU, not on {device}")
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    shift = -block.ctypes.data % ALIGNMENT
    return block[shift : shift + nbytes]


def host(buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The buffer itself."""
    return buffer


def load(buffer: NDArray[np.uint8], content: NDArray[np.uint8]) -> None:
    """Copy `content` into the buffer."""
    buffer[:] = content


def view(buffer: NDArray[np.uint8], placement: Placement, format: str) -> NDArray[Any]:
    """The array of `format` at `placement` in `buffer`."""
    return placement.view(buffer, dtype(format))


def codes(tensor: NDArray[Any], format: str) -> NDArray[Any]:
    """A row-major copy of the array's bit patterns; those above a narrow type's width are 0."""
    held = np.array(tensor.view(code_dtype(format)), order="C")
    return held & np.uint8((1 << NARROW[format]) - 1) if format in NARROW else held


def misfit(result: Any, shape: tuple[int, ...], format: str, device: str) -> str:
    """Why `result` is not a plain array of this shape and format; "" if it is."""
    if type(result) is not np.ndarray:
        return f"it is a {type(result).__module__}.{type(result).__qualname__}, expected a numpy.ndarray"
    if result.shape != shape:
        return f"its shape is {result.shape}, expected {shape}"
    if result.dtype != dtype(format):
        return f"its dtype is {result.dtype}, expected {dtype(format)} ({format})"
    return ""


def geometry(tensor: NDArray[Any]) -> tuple[Any, ...]:
    """Shape, strides and address of the array."""
    return (tensor.shape, tensor.strides, tensor.ctypes.data, tensor.dtype)


def span(tensor: NDArray[Any]) -> tuple[int, int]:
    """Addresses of the first byte and after the last byte of the array's elements."""
    if tensor.size == 0:
        return (0, 0)
    low, high = np.lib.array_utils.byte_bounds(tensor)
    return (int(low), int(high))


def synchronize(device: str) -> None:
    """NumPy computes before it returns."""


def scrub(shape: tuple[int, ...], format: str, device: str) -> None:
    """Fill blocks of the result's size with poison and free them: malloc hands them out again."""
    blocks = [np.full(shape, poison(format), code_dtype(format)) for _ in range(SCRUBBED)]
    del blocks


def spoil(tensor: NDArray[Any], format: str) -> None:
    """Overwrite the array's elements with poison."""
    tensor.view(code_dtype(format))[...] = poison(format)
