"""Poison around every buffer, and what a kernel did to the bytes that it was not to touch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lastbit.arrays import Arrays, UnavailableError, code_dtype
from lastbit.errors import UsageError
from lastbit.layouts import Placement, place

if TYPE_CHECKING:
    from lastbit.references.data import Operand

#: Bit pattern around operands: NaN where the format has one, else the value furthest from 0, so that a read out of
#: bounds shows in the result. Where there is room, the NaN is one that no hardware makes: x86 makes ffc0.., Arm, RISC-V
#: and AMD 7fc0.., NVIDIA 7fff.., and a change of sign makes 7fc0.., ffc0.. or ffff.. of these.
POISON = {
    "f64": 0xFFFC_5AC3_A55A_3C69,
    "f32": 0xFFE5_5AC3,
    "tf32": 0xFFE5_5AC3,
    "f16": 0xFE5C,
    "bf16": 0xFFE5,
    "e4m3fnuz": 0x80,
    "e4m3b11fnuz": 0x80,
    "e5m2fnuz": 0x80,
    "p3109_8p3se": 0x80,
    "p3109_8p3sf": 0x80,
    "p3109_8p4se": 0x80,
    "p3109_8p4sf": 0x80,
    "p3109_4p2sf": 0x8,
    "e3m2fn": 0x3F,
    "e2m3fn": 0x3F,
    "e2m1fn": 0xF,
    "nf4": 0xF,
    "u4": 0xF,
    "i4": 0x8,
    "i8": 0x80,
    "i32": 0x8000_0000,
}
#: e4m3fn, e5m2, e4m3, e3m4, e8m0fnu, p3109_8p1uf: all ones is a NaN; u8: the largest value.
POISON_ELSE = 0xFF
#: Formats whose poison no kernel makes by itself: seen in a result, it was left there or read out of bounds.
TELLTALE = frozenset({"f64", "f32", "tf32", "f16", "bf16"})
#: Byte that malloc fills memory with during a call (ambient.wiped_memory): a NaN in f16 and e5m2, huge in the others.
#: All ones is not to be had.
WIPED = 0xFE
#: Formats in which no sum of products is likely to be that byte throughout.
WIPED_TELLTALE = frozenset({"f64", "f32", "tf32", "f16"})
#: Flipped in the bytes around a result, so that a NaN written out of bounds does not look like the guard.
CANARY = 0x5A


@dataclass(frozen=True, slots=True)
class Guarded:
    """One operand or result in the middle of a buffer whose every other byte is watched."""

    name: str
    format: str
    placement: Placement
    #: The framework's bytes.
    buffer: Any
    #: What they were before the call.
    before: NDArray[np.uint8]
    #: The tensor that the kernel is given.
    tensor: Any


@dataclass(frozen=True, slots=True)
class Damage:
    """The first byte of a guarded buffer that changed."""

    #: Logical index of the element, None if it lies outside the operand.
    index: tuple[int, ...] | None
    #: Bytes from the operand's first byte.
    offset: int
    #: Bytes that changed in the whole buffer.
    count: int


def poison(format: str) -> int:
    """The bit pattern that marks memory of `format` as not to be read."""
    return POISON.get(format, POISON_ELSE)


def guard(border: Arrays, name: str, operand: "Operand", layout: str, device: str) -> Guarded:
    """The operand as a tensor on `device`, laid out by `layout`, with poison around it.

    Raises UnavailableError where the framework has no such format, layout or device; UsageError for an unknown layout,
    or for "broadcast" of an operand that differs along the batch.
    """
    placement = place(layout, operand.codes.shape, operand.codes.itemsize)
    return _on_device(border, name, operand.format, placement, filled(name, operand, placement), device)


def guard_result(border: Arrays, shape: tuple[int, ...], format: str, layout: str, device: str) -> Guarded:
    """Memory for a result: poison where it belongs, canaries around.

    Raises UnavailableError as guard, UsageError for an unknown layout or where a batch of results would share memory.
    """
    dtype = code_dtype(format)
    placement = place(layout, shape, dtype.itemsize)
    shared = any(stride == 0 and size > 1 for stride, size in zip(placement.strides, shape, strict=True))
    if shared and 0 not in shape:
        raise UsageError(f"out cannot be laid out as {layout}: the results of a batch would share memory")
    content = np.empty(placement.nbytes, np.uint8)
    content.view(dtype)[:] = poison(format)
    content ^= CANARY
    placement.view(content, dtype)[...] = poison(format)
    return _on_device(border, "out", format, placement, content, device)


def filled(name: str, operand: "Operand", placement: Placement) -> NDArray[np.uint8]:
    """The bytes of a buffer that holds the operand at `placement` and poison everywhere else."""
    content = np.empty(placement.nbytes, np.uint8)
    codes = operand.codes
    content.view(codes.dtype)[:] = poison(operand.format)
    laid = placement.view(content, codes.dtype)
    laid[...] = codes
    if 0 in placement.strides and not np.array_equal(laid, codes):
        raise UsageError(f"operand {name} differs along the batch, so it cannot be laid out as broadcast (stride 0)")
    return content


def damage(guarded: Guarded, after: NDArray[np.uint8]) -> Damage | None:
    """Where the bytes `after` a call differ from those before; None if they do nowhere."""
    if np.array_equal(guarded.before.view(np.uint64), after.view(np.uint64)):
        return None
    placement = guarded.placement
    changed = np.flatnonzero(guarded.before != after)
    inside = int(_positions(placement)[int(changed[0]) // placement.itemsize])
    index = None if inside < 0 else tuple(int(i) for i in np.unravel_index(inside, placement.shape))
    return Damage(index, int(changed[0]) - placement.start * placement.itemsize, int(changed.size))


def canary_damage(guarded: Guarded, after: NDArray[np.uint8]) -> Damage | None:
    """Where a kernel wrote around its result; what it wrote inside is its own affair."""
    masked = after.copy()
    dtype = np.dtype(f"u{guarded.placement.itemsize}")
    guarded.placement.view(masked, dtype)[...] = guarded.placement.view(guarded.before, dtype)
    return damage(guarded, masked)


def _on_device(
    border: Arrays, name: str, format: str, placement: Placement, content: NDArray[np.uint8], device: str
) -> Guarded:
    if min(placement.strides, default=0) < 0 and not border.has_negative_strides():
        raise UnavailableError(f"{border.name} has no negative strides, which the layout of {name} needs")
    buffer = border.allocate(placement.nbytes, device)
    border.load(buffer, content)
    return Guarded(name, format, placement, buffer, content, border.view(buffer, placement, format))


def _positions(placement: Placement) -> NDArray[np.int64]:
    """For each element of the buffer, its flat logical index in the operand, or -1 outside."""
    wide = Placement(placement.shape, placement.strides, placement.start, placement.length, 8)
    positions = np.full(placement.length, -1, np.int64)
    count = int(np.prod(placement.shape))
    wide.view(positions.view(np.uint8), np.int64)[...] = np.arange(count).reshape(placement.shape)
    return positions
