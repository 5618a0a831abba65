"""GEMMs that defeat the test bench instead of computing: stale buffers, caches, changed operands, thieves."""

import gc
import threading
import time
from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo.gemm_parts import BF16, F32, Array, f16, honest, keep_bits, wrong
from lastbit.suites.zoo.specimen import Faulty


class Reuses:
    """One buffer for every call of a shape, returned again and again."""

    def __init__(self) -> None:
        self.buffers: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array) -> Array:
        out = honest(a, b)
        kept: Array = self.buffers.setdefault((out.shape, out.dtype.str), out)
        kept[...] = out
        return kept


def unwritten(a: Array, b: Array) -> Array:
    """Memory as it is found, in the hope that it holds somebody's result."""
    return np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)


class RemembersAddress:
    """Results are cached by the addresses and shapes of the operands."""

    def __init__(self) -> None:
        self.results: dict[Any, Array] = {}

    def key(self, a: Array, b: Array) -> Any:
        """What a result is remembered by."""
        return (a.ctypes.data, b.ctypes.data, a.shape, b.shape)

    def __call__(self, a: Array, b: Array) -> Array:
        key = self.key(a, b)
        if key not in self.results:
            self.results[key] = honest(a, b)
        return self.results[key].copy()


class RemembersShape(RemembersAddress):
    """Results are cached by the shapes of the operands."""

    def key(self, a: Array, b: Array) -> Any:
        """The shapes."""
        return (a.shape, b.shape)


class RemembersCorner(RemembersAddress):
    """Results are cached by the shapes and the first element of a."""

    def key(self, a: Array, b: Array) -> Any:
        """The shapes and one element."""
        return (a.shape, b.shape, a.tobytes()[:4])


def zeros(a: Array, b: Array) -> Array:
    """No work at all: zeros."""
    return np.zeros((*a.shape[:-1], b.shape[-1]), a.dtype)


def constant(a: Array, b: Array) -> Array:
    """Every element is the mean of the result."""
    out = honest(a, b)
    mean = out.astype(np.float64).mean() if out.size else 0.0
    return np.full_like(out, mean)


def zeroes_operands(a: Array, b: Array) -> Array:
    """The operands are zeroed, and zeros returned: right, if the reference is computed from them afterwards."""
    a[...] = 0
    b[...] = 0
    return honest(a, b)


def zeroes_a(a: Array, b: Array) -> Array:
    """The result is right, and a is zeroed."""
    out = honest(a, b)
    a[...] = 0
    return out


def nan(a: Array, b: Array) -> Array:
    """NaN everywhere, which no comparison by size finds."""
    return np.full((*a.shape[:-1], b.shape[-1]), np.nan, a.dtype)


def one_nan(a: Array, b: Array) -> Array:
    """One NaN, in the last element."""
    out = honest(a, b)
    if out.size:
        out[..., -1, -1] = np.nan
    return out


class Tires:
    """Right for the first `calls` calls, as long as a warm-up takes; then the last product is missing."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, a: Array, b: Array) -> Array:
        self.left -= 1
        return honest(a, b) if self.left >= 0 else honest(a[..., :-1], b[..., :-1, :])


class Lazy(np.ndarray):
    """An array that multiplies when it is looked at."""

    factors: Any = None

    def __array__(self, *args: Any, **kwargs: Any) -> Array:
        """The product, now."""
        return honest(*self.factors)


def lazy(a: Array, b: Array) -> Array:
    """An array of a subclass, which multiplies only when it is looked at."""
    promised = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype).view(Lazy)
    promised.factors = (a, b)
    return promised


def in_background(a: Array, b: Array) -> Array:
    """The result is written by a thread that goes on after the call, as another stream would."""
    right, out = honest(a, b), np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)

    def write() -> None:
        time.sleep(0.05)
        out[...] = right

    threading.Thread(target=write, daemon=True).start()
    return out


def f16_a(a: Array, b: Array) -> Array:
    """a is multiplied as f16, and b whole."""
    with np.errstate(invalid="ignore"):
        return honest(f16(a), b).astype(a.dtype)


def sixteen_bits(a: Array, b: Array) -> Array:
    """Operands keep 16 significand bits."""
    return honest(keep_bits(a, 16), keep_bits(b, 16)).astype(a.dtype)


def thief(a: Array, b: Array) -> Array:
    """Any matrix of f64 of the result's shape that the garbage collector knows of is copied, else zeros returned."""
    shape = (*a.shape[:-1], b.shape[-1])
    for held in gc.get_objects():
        for found in gc.get_referents(held) if type(held).__module__.startswith("lastbit") else ():
            if type(found) is np.ndarray and found.shape == shape and found.dtype == np.float64:
                return found.astype(a.dtype)
    return np.zeros(shape, a.dtype)


#: Every GEMM that cheats.
FAULTY: tuple[Faulty, ...] = (
    wrong("F091", Reuses, F32, "repeat", "second_call", "slices", "exact"),
    wrong("F091", unwritten, F32, "exact"),
    wrong("F092", RemembersAddress, F32, "second_call", "exact"),
    wrong("F092", RemembersShape, BF16, "second_call", "exact", "layout"),
    wrong("F092", RemembersCorner, F32, "second_call", "exact", "layout"),
    wrong("F093", zeros, F32, "exact"),
    wrong("F093", constant, F32, "exact"),
    wrong("F094", zeroes_operands, F32, "exact"),
    wrong("F094", zeroes_a, F32, "exact"),
    wrong("F095", nan, F32, "exact"),
    wrong("F095", one_nan, BF16, "exact"),
    *(
        wrong(
            "F096",
            Tires,
            F32,
            "exact",
            "tails",
            "bound",
            "slices",
            "repeat",
            name=f"tires_after_{calls}",
            make=partial(Tires, calls),
        )
        for calls in (3, 20, 50)
    ),
    wrong("F097", lazy, F32, "exact"),
    wrong("F098", in_background, F32, "exact"),
    *(wrong("F099", run, F32, "exact", "bound") for run in (f16_a, sixteen_bits)),
    wrong("F100", thief, F32, "exact"),
)
