"""Memory layouts as data: where the elements of an operand lie inside a larger guarded buffer."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.errors import UsageError

#: Buffer and operand start on a multiple of this many bytes, as PyTorch's CUDA allocator aligns; "offset" does not.
ALIGNMENT = 512
#: Least number of guard bytes on each side of an operand; two rows where these are longer.
MARGIN = 4096
#: Columns of padding that end each row under "strided_rows"; odd, so that rows are misaligned too.
ROW_PADDING = 5


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an operand lies in its buffer; offsets and strides in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    #: Position of element (0, 0, ..) in the buffer.
    start: int
    #: Elements of the whole buffer, guards included.
    length: int
    itemsize: int

    @property
    def nbytes(self) -> int:
        """Bytes of the whole buffer."""
        return self.length * self.itemsize

    def view(self, buffer: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
        """The operand inside `buffer`, as a strided array of `dtype`."""
        return np.ndarray(
            self.shape,
            dtype,
            buffer=buffer,
            offset=self.start * self.itemsize,
            strides=tuple(stride * self.itemsize for stride in self.strides),
        )


def _dense(shape: tuple[int, ...], row: int, column: int, matrix: int) -> tuple[int, ...]:
    """Strides whose last axis steps by `column`, the one before by `row`, and batches lie `matrix` elements apart."""
    strides = [row, column][-len(shape) :] if shape else []
    for size in reversed(shape[:-2]):
        strides.insert(0, matrix)
        matrix *= size
    return tuple(strides)


def _contiguous(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    return _dense(shape, columns, 1, rows * columns)


def _transposed(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    return _dense(shape, 1, rows, rows * columns) if len(shape) > 1 else _dense(shape, 1, 1, 1)


def _strided(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    return _dense(shape, 2 * columns, 2, 2 * rows * columns)


def _strided_rows(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    return _dense(shape, columns + ROW_PADDING, 1, rows * (columns + ROW_PADDING))


def _broadcast(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    return (0,) * (len(shape) - 2) + _dense(shape[-2:], columns, 1, rows * columns)


def _reversed(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    strides = _contiguous(shape, rows, columns)
    return strides[:-2] + tuple(-stride for stride in strides[-2:])


def _interleaved(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    """(.., h, l, d) as a view of memory (.., l, h, d), as a projection leaves the heads of attention."""
    if len(shape) < 3:
        return _contiguous(shape, rows, columns)
    heads = shape[-3]
    outer = _contiguous((*shape[:-3], rows, heads * columns), rows, heads * columns)[: len(shape) - 3]
    return (*outer, columns, heads * columns, 1)


#: Strides by layout name, from the shape and its last two sizes: row-major; column-major; every second column of a
#: wider matrix; rows followed by padding; row-major but one element off alignment; one matrix for the whole batch
#: (stride 0); rows and columns from last to first (negative strides); heads between rows and columns.
LAYOUTS: dict[str, Callable[[tuple[int, ...], int, int], tuple[int, ...]]] = {
    "contiguous": _contiguous,
    "transposed": _transposed,
    "strided": _strided,
    "strided_rows": _strided_rows,
    "offset": _contiguous,
    "broadcast": _broadcast,
    "reversed": _reversed,
    "interleaved": _interleaved,
}


def place(layout: str, shape: tuple[int, ...], itemsize: int) -> Placement:
    """Where an operand of `shape`, `itemsize` bytes an element, lies in its buffer under `layout`.

    Raises UsageError for a layout that LAYOUTS does not list.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    rows, columns = (1, 1, *shape)[-2:]
    strides = LAYOUTS[layout](shape, rows, columns)
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)] if prod(shape) else []
    margin = _aligned(max(MARGIN, 2 * columns * itemsize)) // itemsize
    before = -sum(step for step in reach if step < 0)
    after = sum(step for step in reach if step > 0) + 1
    start = margin + before + (layout == "offset")
    length = _aligned((start + after + margin) * itemsize) // itemsize
    return Placement(shape, strides, start, length, itemsize)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
