"""PyTorch's border: bit patterns to tensors on the CPU or a device and back, by reinterpretation only."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lastbit.arrays import UnavailableError, code_dtype, itemsize
from lastbit.guards import poison
from lastbit.kernel import FORMATS
from lastbit.layouts import Placement

name = "PyTorch"
DTYPES = {
    "f64": "float64",
    "f32": "float32",
    "tf32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "e4m3fn": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e8m0fnu": "float8_e8m0fnu",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "bool": "bool",
}
#: Types of the same width that NumPy knows, signed because every PyTorch has these.
RAW = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
#: Blocks that are poisoned before a call: the result and a few temporaries of its size.
SCRUBBED = 4


def has_negative_strides() -> bool:
    """PyTorch has no negative strides."""
    return False


@cache
def dtype(format: str) -> torch.dtype:
    """The PyTorch type of `format`; tf32 travels as float32, a narrow format unknown to PyTorch as codes in uint8.

    Raises UnavailableError when this PyTorch has none.
    """
    if format in FORMATS and format not in DTYPES:
        return torch.uint8
    found = getattr(torch, DTYPES.get(format, ""), None)
    if not isinstance(found, torch.dtype):
        raise UnavailableError(f"PyTorch {torch.__version__} has no type for {format}")
    return found


def allocate(nbytes: int, device: str) -> torch.Tensor:
    """Uninitialised bytes on `device`."""
    kind = device.partition(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("PyTorch finds no CUDA device on this machine")
    return torch.empty(nbytes, dtype=torch.uint8, device=device)


def host(buffer: torch.Tensor) -> NDArray[np.uint8]:
    """The bytes of the buffer: shared on the CPU, else a copy.

    Raises RuntimeError when a kernel has made the buffer's storage smaller.
    """
    if buffer.untyped_storage().nbytes() < buffer.numel():
        raise RuntimeError("the storage of a tensor that was not the kernel's was resized")
    content: NDArray[np.uint8] = buffer.cpu().numpy()
    return content


def load(buffer: torch.Tensor, content: NDArray[np.uint8]) -> None:
    """Copy `content` into the buffer."""
    buffer.copy_(torch.from_numpy(content))


def view(buffer: torch.Tensor, placement: Placement, format: str) -> torch.Tensor:
    """The tensor of `format` at `placement` in `buffer`."""
    return buffer.view(dtype(format)).as_strided(placement.shape, placement.strides, placement.start)


def codes(tensor: torch.Tensor, format: str) -> NDArray[Any]:
    """A row-major copy of the tensor's bit patterns."""
    raw = tensor.detach().resolve_neg().view(RAW[itemsize(format)]).cpu().numpy()
    return np.array(raw, order="C").view(code_dtype(format))


def misfit(result: Any, shape: tuple[int, ...], format: str, device: str) -> str:
    """Why `result` is not a plain tensor of this shape, format and device; "" if it is."""
    if type(result) is not torch.Tensor:
        return f"it is a {type(result).__module__}.{type(result).__qualname__}, expected a torch.Tensor"
    if result.layout is not torch.strided:
        return f"its layout is {result.layout}, expected torch.strided"
    if tuple(result.shape) != shape:
        return f"its shape is {tuple(result.shape)}, expected {shape}"
    if result.dtype != dtype(format):
        return f"its dtype is {result.dtype}, expected {dtype(format)} ({format})"
    wanted = torch.device(device)
    if result.device.type != wanted.type or wanted.index not in (None, result.device.index):
        return f"it is on {result.device}, expected {device}"
    return ""


def geometry(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Shape, strides and address of the tensor."""
    return (tensor.shape, tensor.stride(), tensor.data_ptr(), tensor.dtype)


def span(tensor: torch.Tensor) -> tuple[int, int]:
    """Addresses of the first byte and after the last byte of the tensor's elements."""
    if tensor.numel() == 0:
        return (0, 0)
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return (start, start + (reach + 1) * tensor.element_size())


def synchronize(device: str) -> None:
    """Wait for every stream of the device."""
    if device != "cpu":
        torch.accelerator.synchronize(device)


def scrub(shape: tuple[int, ...], format: str, device: str) -> None:
    """Fill blocks of the result's size with poison and free them: the allocator hands them out again."""
    raw = RAW[itemsize(format)]
    signed = int(np.array(poison(format), code_dtype(format)).view(f"i{itemsize(format)}"))
    value = poison(format) if raw is torch.uint8 else signed
    blocks = [torch.full(shape, value, dtype=raw, device=device) for _ in range(SCRUBBED)]
    del blocks


def spoil(tensor: torch.Tensor, format: str) -> None:
    """Overwrite the tensor's elements with poison."""
    raw = RAW[itemsize(format)]
    value = np.array(poison(format), code_dtype(format))
    tensor.detach().view(raw).fill_(int(value if raw is torch.uint8 else value.view(f"i{itemsize(format)}")))
