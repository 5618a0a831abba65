"""The borders to the frameworks: bit patterns become tensors of a kernel's framework and come back, bit for bit."""

import importlib
import sys
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lastbit.errors import LastbitError
from lastbit.kernel import UNSERVED, served
from lastbit.layouts import Placement, place

#: Bytes of a bit pattern, for the formats that do not use one.
ITEMSIZE = {"f64": 8, "f32": 4, "tf32": 4, "i32": 4, "f16": 2, "bf16": 2}


class UnavailableError(LastbitError):
    """A framework cannot hold this format, layout or device here."""


class Arrays(Protocol):
    """What lastbit asks of a framework; modules `<framework>_arrays` provide it."""

    #: The framework's name, as people write it.
    name: str

    def has_negative_strides(self) -> bool:
        """Whether a tensor's stride can be negative."""

    def allocate(self, nbytes: int, device: str) -> Any:
        """Uninitialised bytes on `device`; raises UnavailableError when there is no such device."""

    def host(self, buffer: Any) -> NDArray[np.uint8]:
        """The bytes of `buffer`: shared memory on the CPU, else a copy."""

    def load(self, buffer: Any, content: NDArray[np.uint8]) -> None:
        """Make `buffer` hold `content`."""

    def view(self, buffer: Any, placement: Placement, format: str) -> Any:
        """The tensor of `format` at `placement` in `buffer`; raises UnavailableError where there is no such dtype."""

    def codes(self, tensor: Any, format: str) -> NDArray[Any]:
        """A row-major copy of the tensor's bit patterns."""

    def misfit(self, result: Any, shape: tuple[int, ...], format: str, device: str) -> str:
        """Why `result` is not a plain tensor of this shape, format and device; "" if it is."""

    def geometry(self, tensor: Any) -> tuple[Any, ...]:
        """Shape, strides and address of the tensor, to see whether they changed."""

    def span(self, tensor: Any) -> tuple[int, int]:
        """Addresses of the first byte and after the last byte of the tensor's elements; empty if it has none."""

    def synchronize(self, device: str) -> None:
        """Wait until everything submitted to the device is done."""

    def scrub(self, shape: tuple[int, ...], format: str, device: str) -> None:
        """Leave poison in the memory that the next result is likely to be given."""

    def spoil(self, tensor: Any, format: str) -> None:
        """Overwrite the tensor's elements with poison."""


def of(framework: str) -> Arrays:
    """The border to `framework`.

    Raises UnavailableError when the framework is not installed or not supported.
    """
    if not served(framework):
        raise UnavailableError(UNSERVED.format(framework))
    try:
        return cast(Arrays, importlib.import_module(f"lastbit.{framework}_arrays"))
    except ImportError as error:
        raise UnavailableError(f"{framework} kernels cannot run here: {error}; install {framework}") from error


def framework_of(value: Any) -> str:
    """The framework that `value` is a tensor of: "torch", "numpy" or ""."""
    if isinstance(value, np.ndarray):
        return "numpy"
    torch = sys.modules.get("torch")
    return "torch" if torch is not None and isinstance(value, torch.Tensor) else ""


def itemsize(format: str) -> int:
    """Bytes of one bit pattern of `format`."""
    return ITEMSIZE.get(format, 1)


def code_dtype(format: str) -> "np.dtype[np.unsignedinteger[Any]]":
    """The NumPy type of bit patterns of `format`."""
    return np.dtype(f"u{itemsize(format)}")


def tensor(codes: NDArray[Any], format: str, framework: str, device: str = "cpu") -> Any:
    """A contiguous tensor of `format` that holds the bit patterns `codes`; no value is converted.

    Raises UnavailableError where the framework has no such dtype or device.
    """
    border = of(framework)
    placement = place("contiguous", codes.shape, codes.itemsize)
    content = np.zeros(placement.nbytes, np.uint8)
    placement.view(content, codes.dtype)[...] = codes
    buffer = border.allocate(placement.nbytes, device)
    border.load(buffer, content)
    return border.view(buffer, placement, format)
