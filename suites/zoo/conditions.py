"""Kernels that are faulty under one condition, or in one call of several, and elsewhere the right one, bit for bit."""

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def where(applies: Callable[..., bool], faulty: Run, right: Run) -> Run:
    """The faulty kernel for calls to which `applies`, the right one for others."""
    return lambda *arrays, **options: (faulty if applies(*arrays) else right)(*arrays, **options)


class OneCallIn:
    """The faulty kernel in one call of `count`, the right one in the others."""

    def __init__(self, count: int, faulty: Run, right: Run) -> None:
        self.count, self.faulty, self.right = count, faulty, right
        self.calls = 0

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        self.calls += 1
        return (self.right if self.calls % self.count else self.faulty)(*arrays, **options)
