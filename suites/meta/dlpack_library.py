"""An array library of its own, neither NumPy nor PyTorch: memory of ctypes that it takes and gives through DLPack."""

import ctypes
from typing import Any


class DLDevice(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class DLDataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", DLDevice),
        ("ndim", ctypes.c_int32),
        ("dtype", DLDataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    _fields_ = (("dl_tensor", DLTensor), ("manager_ctx", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
#: DLPack's kDLCPU and kDLFloat.
CPU, FLOAT = 1, 2
NAME = b"dltensor"


class Grid:
    """A matrix of f32 in memory of its own."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.values = (ctypes.c_float * max(1, rows * columns))()
        self._shape = (ctypes.c_int64 * 2)(rows, columns)
        data = ctypes.cast(self.values, ctypes.c_void_p)
        tensor = DLTensor(data, DLDevice(CPU, 0), 2, DLDataType(FLOAT, 32, 1), self._shape, None, 0)
        # No deleter: the library keeps what it has given away, as long as the process lives.
        self._managed = DLManagedTensor(tensor, None, None)
        _GIVEN.append(self)

    def __dlpack__(self, **_options: Any) -> Any:
        return _new(ctypes.addressof(self._managed), NAME, None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CPU, 0)


_GIVEN: list[Grid] = []


def from_dlpack(array: Any) -> Grid:
    """A copy of a matrix of f32; raises NotImplementedError for anything else."""
    capsule = array.__dlpack__()
    tensor = DLManagedTensor.from_address(_pointer(capsule, NAME)).dl_tensor
    if (tensor.ndim, tensor.dtype.code, tensor.dtype.bits) != (2, FLOAT, 32):
        raise NotImplementedError("a Grid is a matrix of f32")
    rows, columns = tensor.shape[0], tensor.shape[1]
    down, right = (tensor.strides[0], tensor.strides[1]) if tensor.strides else (columns, 1)
    grid = Grid(rows, columns)
    start = (tensor.data or 0) + tensor.byte_offset
    for i in range(rows):
        for j in range(columns):
            grid.values[i * columns + j] = ctypes.c_float.from_address(start + 4 * (i * down + j * right)).value
    return grid


def multiply(a: Grid, b: Grid) -> Grid:
    """The product, summed in f64 and rounded once."""
    out = Grid(a.rows, b.columns)
    for i in range(a.rows):
        for j in range(b.columns):
            row = a.values[i * a.columns : (i + 1) * a.columns]
            out.values[i * b.columns + j] = sum(x * b.values[k * b.columns + j] for k, x in enumerate(row))
    return out


def multiply_flipped(a: Grid, b: Grid) -> Grid:
    """The product with its sign turned."""
    out = multiply(a, b)
    for index in range(len(out.values)):
        out.values[index] = -out.values[index]
    return out
