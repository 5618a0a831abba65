"""What an argument of a native function can be: pointers, sizes, strides and scalars of a call, named as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

#: Bytes of the buffer that a function may write its message to, the final zero included.
CAPACITY = 256


@dataclass(frozen=True, slots=True)
class Size:
    """The number of elements along an axis of an operand or result; 1 where it has no such axis."""

    operand: str
    axis: int


@dataclass(frozen=True, slots=True)
class Stride:
    """The distance of neighbours along an axis, in "elements" or "bytes"; it may be 0 or negative."""

    operand: str
    axis: int
    unit: str = "elements"


@dataclass(frozen=True, slots=True)
class Leading:
    """The leading dimension of BLAS: the stride of rows in elements, at least a row's length and at least 1."""

    operand: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The number of rows: the product of all sizes but the last."""

    operand: str


@dataclass(frozen=True, slots=True)
class Count:
    """The number of all elements."""

    operand: str


@dataclass(frozen=True, slots=True)
class Rank:
    """The number of axes."""

    operand: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A pointer to the sizes of all axes, as int64."""

    operand: str


@dataclass(frozen=True, slots=True)
class Strides:
    """A pointer to the strides of all axes, as int64, in "elements" or "bytes"."""

    operand: str
    unit: str = "elements"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number that a case passes by keyword (alpha, scale, causal), and what stands for it otherwise."""

    name: str
    absent: float
    #: Which number of a keyword that is several, such as window: (left, right).
    part: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """PyTorch's current CUDA stream, a cudaStream_t."""


@dataclass(frozen=True, slots=True)
class Message:
    """A buffer of CAPACITY zeroed bytes, for a text that says why the status is not 0."""


#: An operand's or result's name: the address of its first element, NULL of one that a case does not give. A number:
#: itself.
Source = str | int | float | Size | Stride | Leading | Rows | Count | Rank | Shape | Strides | Scalar | Stream | Message
#: Sources that are addresses.
ADDRESSES = (str, Shape, Strides, Stream, Message)


@dataclass(frozen=True, slots=True)
class Laid:
    """Where an array lies: what a native function is told of it."""

    address: int
    shape: tuple[int, ...]
    #: In elements.
    strides: tuple[int, ...]
    itemsize: int

    def size(self, axis: int) -> int:
        """Elements along `axis` (negative: from the last), 1 where there is none."""
        return self.shape[axis] if -len(self.shape) <= axis < len(self.shape) else 1

    def stride(self, axis: int) -> int:
        """The stride of `axis` in elements; of one that is not there, the number of all elements."""
        return self.strides[axis] if -len(self.shape) <= axis < len(self.shape) else prod(self.shape)


#: An operand that a case does not give.
ABSENT = Laid(0, (), (), 0)


def is_array(item: Any) -> bool:
    """Whether a keyword of a call is an operand and no number."""
    return isinstance(item, np.ndarray) or hasattr(item, "data_ptr")


def laid(tensor: Any) -> Laid:
    """Where a NumPy array or a PyTorch tensor lies."""
    if isinstance(tensor, np.ndarray):
        size = tensor.itemsize
        return Laid(tensor.ctypes.data, tensor.shape, tuple(stride // size for stride in tensor.strides), size)
    return Laid(tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.element_size())


def operand_of(source: Source) -> str:
    """The operand or result that the source tells something of, "" if it is none."""
    if isinstance(source, str):
        return source
    return str(getattr(source, "operand", ""))


def told_axes(sources: tuple[Source, ...], operand: str, array: Laid) -> set[int]:
    """The axes of `operand`, counted from 0, whose strides the function is told."""
    rank = len(array.shape)
    told: set[int] = set()
    for source in sources:
        if operand_of(source) != operand:
            continue
        if isinstance(source, Strides):
            told |= set(range(rank))
        elif isinstance(source, Leading) and array.stride(-2) == leading(array):
            told.add(rank - 2)
        elif isinstance(source, Stride) and -rank <= source.axis < rank:
            told.add(source.axis % rank)
    return told


def untold(sources: tuple[Source, ...], operand: str, array: Laid) -> str:
    """Why the function cannot know where the elements of `array` lie, or "".

    An axis whose stride it is not told must be packed: as far apart as what one step of the next axis spans.
    """
    if 0 in array.shape:
        return ""
    told, packed = told_axes(sources, operand, array), 1
    for axis in reversed(range(len(array.shape))):
        if axis not in told and array.shape[axis] > 1 and array.strides[axis] != packed:
            return (
                f"{operand} of shape {array.shape} has strides {array.strides}, and the signature passes none of axis "
                f"{axis - len(array.shape)}: the function takes only packed ones there"
            )
        packed = array.shape[axis] * (array.strides[axis] if axis in told else packed)
    return ""


def leading(array: Laid) -> int:
    """The leading dimension that BLAS is given: that of a packed matrix where there is no second row."""
    return max(1, array.size(-1), array.stride(-2) if array.size(-2) > 1 else 1)


def value(source: Source, arrays: Mapping[str, Laid], scalars: Mapping[str, Any]) -> Any:
    """The argument that `source` is in a call: a number, an address, or a ctypes array to point to.

    Raises NotImplementedError where a keyword is no number.
    """
    if isinstance(source, int | float):
        return source
    if isinstance(source, Scalar):
        return _scalar(source, scalars)
    if isinstance(source, Stream):
        return _stream()
    if isinstance(source, str):
        return arrays[source].address if source in arrays else None
    if isinstance(source, Message):
        raise TypeError("a message is not of the call's data")
    return _of_array(source, arrays.get(source.operand, ABSENT))


def _of_array(source: Size | Stride | Leading | Rows | Count | Rank | Shape | Strides, array: Laid) -> Any:
    import ctypes

    match source:
        case Size():
            return array.size(source.axis)
        case Stride():
            return array.stride(source.axis) * _step(source.unit, array)
        case Leading():
            return leading(array)
        case Rows():
            return prod(array.shape[:-1])
        case Count():
            return prod(array.shape)
        case Rank():
            return len(array.shape)
        case Shape():
            return (ctypes.c_int64 * len(array.shape))(*array.shape)
        case Strides():
            step = _step(source.unit, array)
            return (ctypes.c_int64 * len(array.strides))(*(stride * step for stride in array.strides))


def _step(unit: str, array: Laid) -> int:
    return array.itemsize if unit == "bytes" else 1


def _scalar(source: Scalar, scalars: Mapping[str, Any]) -> float:
    given = scalars.get(source.name)
    if isinstance(given, tuple | list):
        given = given[source.part]
    if given is None:
        return source.absent
    if not isinstance(given, int | float):
        raise NotImplementedError(f"{source.name} is {given!r}, and the signature passes a number")
    return given


def _stream() -> int:
    import torch

    return int(torch.cuda.current_stream().cuda_stream)
