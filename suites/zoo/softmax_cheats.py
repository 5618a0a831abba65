"""Softmaxes that defeat the test bench instead of computing."""

from typing import Any

import numpy as np

from lastbit.suites.zoo.softmax_parts import ALL, F32, SOFTMAX, Array, honest, wrong
from lastbit.suites.zoo.specimen import Faulty


def no_work(op: str, x: Array) -> Array:
    """Zeros."""
    return np.zeros(x.shape[:-1] if op == "logsumexp" else x.shape, x.dtype)


def uniform(op: str, x: Array) -> Array:
    """1/n for every column."""
    return np.full(x.shape, 1 / max(1, x.shape[-1]), np.float32).astype(x.dtype)


class Remembers:
    """Results are cached by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Array] = {}

    def __call__(self, op: str, x: Array) -> Array:
        key = (op, x.ctypes.data, x.shape)
        if key not in self.results:
            self.results[key] = honest(op, x)
        return self.results[key].copy()


#: Every softmax, log_softmax and logsumexp that cheats.
FAULTY: tuple[Faulty, ...] = (
    *wrong("F039", no_work, ALL, F32, "exact", "bound"),
    *wrong("F039", uniform, SOFTMAX, F32, "bound"),
    *wrong("F092", Remembers, ALL, F32, "second_call"),
)
