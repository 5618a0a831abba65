"""Casts whose numbers are right and in the wrong place: tails, strides, batches, packed pairs, remembered results."""

from typing import Any

import numpy as np

from lastbit.suites.zoo.cast_parts import ZEROING, Array, codes, encoded, wrong
from lastbit.suites.zoo.specimen import Faulty


def drops_last_of_odd(x: Array) -> Array:
    """The last of an odd number of elements is not converted."""
    y = encoded(x, "e4m3fn")
    if y.size % 2:
        y.reshape(-1)[-1] = 0
    return y


def drops_tail(x: Array) -> Array:
    """Whole vectors of eight alone are converted."""
    y = encoded(x, "bf16")
    y.reshape(-1)[y.size // 8 * 8 :] = 0
    return y


def rereads_tail(x: Array) -> Array:
    """The remainder of a vector of 16 is that of the vector before."""
    y = encoded(x, "e5m2")
    flat = y.reshape(-1)
    rest = flat.size % 16
    if rest and flat.size > 16:
        flat[-rest:] = flat[-rest - 16 : -16][:rest] if flat.size >= rest + 16 else flat[-rest:]
    return y


def ignores_strides(x: Array) -> Array:
    """The operand is read as if it lay row after row."""
    steps = tuple(int(np.prod(x.shape[i + 1 :])) * x.itemsize for i in range(x.ndim))
    return encoded(np.lib.stride_tricks.as_strided(x, x.shape, steps) if x.size else x, "bf16")


def swaps_pairs(x: Array) -> Array:
    """The two nibbles of a byte are exchanged."""
    y = encoded(x, "e2m1fn", nan="zero")
    flat, even = y.reshape(-1), y.size // 2 * 2
    flat[:even] = flat[:even].reshape(-1, 2)[:, ::-1].reshape(-1)
    return y


def smears(x: Array) -> Array:
    """A number is written to the next place too, if zero belongs there."""
    y = encoded(x, "bf16")
    held = codes(y).reshape(-1)
    if held.size > 1:
        held[1:] = np.where(held[1:] == 0, held[:-1], held[1:])
    return y


def transposes(x: Array) -> Array:
    """The result is transposed."""
    y = encoded(x, "f16")
    return np.ascontiguousarray(y.T).reshape(y.shape) if y.ndim == 2 else y


def one_row_for_all(x: Array) -> Array:
    """The first matrix is returned for all of the batch."""
    y = encoded(x, "f16")
    if y.ndim == 3:
        y[...] = y[:1]
    return y


def tail_away(x: Array) -> Array:
    """The remainder of a vector of eight rounds ties away from zero."""
    y = encoded(x, "bf16")
    held, source = codes(y).reshape(-1), np.ascontiguousarray(x).reshape(-1).view(np.uint32)
    rest = np.arange(held.size) >= held.size // 8 * 8
    tie = rest & (source & 0xFFFF == 0x8000)
    held[tie] = ((source[tie] >> 16) + 1).astype(held.dtype)
    return y


class Remembers:
    """Results are kept by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Array] = {}

    def __call__(self, x: Array) -> Array:
        key = (x.ctypes.data, x.shape)
        if key not in self.results:
            self.results[key] = encoded(x, "bf16")
        return self.results[key].copy()


#: Every faulty cast that puts numbers in the wrong place.
FAULTY: tuple[Faulty, ...] = (
    wrong("F008", drops_last_of_odd, "f32", "e4m3fn", "structure"),
    wrong("F008", drops_tail, "f32", "bf16", "structure"),
    wrong("F008", rereads_tail, "f32", "e5m2", "structure"),
    wrong("F023", ignores_strides, "f32", "bf16", "layout"),
    wrong("F092", Remembers, "f32", "bf16", "second_call"),
    wrong("F082", swaps_pairs, "f32", "e2m1fn", "structure", "placed", contract=ZEROING),
    wrong("F008", tail_away, "f32", "bf16", "structure"),
    wrong("F089", smears, "f32", "bf16", "placed"),
    wrong("F022", transposes, "f32", "f16", "structure"),
    wrong("F023", one_row_for_all, "f32", "f16", "structure"),
)
