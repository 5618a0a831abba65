"""Softmax kernels that are right when they are judged, and do something else when they are timed."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from lastbit import Contract, Kernel

Softmax = Callable[[Any], Any]
#: Calls by which the law has judged both data sets.
JUDGED = 2


def right(x: Any) -> Any:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


#: Calls of `slow`, by which an invented clock knows it.
slow_calls = 0


def slow(x: Any) -> Any:
    """Right; only its name is slow."""
    global slow_calls
    slow_calls += 1
    return right(x)


def after(cheat: Softmax) -> Softmax:
    """Right while it is judged, then `cheat`."""
    calls = 0

    def run(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return right(x) if calls <= JUDGED else cheat(x)

    return run


def by_address() -> Softmax:
    """Remembers the result by the operand's address, and gives a fresh copy of it."""
    known: dict[int, Any] = {}

    def run(x: Any) -> Any:
        return known.setdefault(x.ctypes.data, right(x)).copy()

    return after(run)


def by_shape() -> Softmax:
    """Remembers the last result of each shape once it was called a few times."""
    known: dict[Any, Any] = {}

    def run(x: Any) -> Any:
        return known.setdefault(x.shape, right(x)).copy()

    return after(run)


def by_content() -> Softmax:
    """Remembers whole operands, and computes only what it has never seen."""
    known: dict[bytes, Any] = {}

    def run(x: Any) -> Any:
        key = x.tobytes()
        if key not in known:
            known[key] = slow(x)
        return known[key].copy()

    return run


def same_memory() -> Softmax:
    """Writes every result into the same memory."""
    memory: dict[Any, Any] = {}

    def run(x: Any) -> Any:
        out = memory.setdefault(x.shape, np.empty_like(x))
        out[...] = right(x)
        return out

    return after(run)


def two_buffers() -> Softmax:
    """Writes results into two blocks by turns."""
    memory: list[Any] = []

    def run(x: Any) -> Any:
        if len(memory) < 2:
            memory.append(np.empty_like(x))
        memory.reverse()
        memory[0][...] = right(x)
        return memory[0]

    return after(run)


def unwritten(x: Any) -> Any:
    """Hopes that the memory still holds an earlier result."""
    return np.empty_like(x)


def into_operand(x: Any) -> Any:
    """Returns its operand's memory."""
    x[...] = right(x)
    return x


def spoils_operand(x: Any) -> Any:
    out = right(x)
    x[-1, -1] = 0
    return out


def raises(x: Any) -> Any:
    raise RuntimeError("out of luck")


def without_maximum(x: Any) -> Any:
    """Less work, and other bits: within the bound on these data."""
    weights = np.exp(x)
    return weights / weights.sum(axis=-1, keepdims=True)


def narrow(x: Any) -> Any:
    """Half the precision."""
    return right(x.astype(np.float16)).astype(x.dtype)


class Lazy(np.ndarray[Any, Any]):
    """Computes when somebody looks."""


def lazy(x: Any) -> Any:
    return right(x).view(Lazy)


class Late:
    """Lets another thread compute, which begins when it is told to: after the timed region."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, x: Any) -> Any:
        out = np.empty_like(x)

        def work() -> None:
            self.go.wait(10)
            out[...] = right(x)

        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()
        return out

    def finish(self) -> None:
        self.go.set()
        for thread in self.threads:
            thread.join()


#: What makes each cheat; all are right on the calls that the law judges.
CHEATS: dict[str, Callable[[], Softmax]] = {
    "by_address": by_address,
    "by_shape": by_shape,
    "same_memory": same_memory,
    "two_buffers": two_buffers,
    "into_operand": lambda: after(into_operand),
    "spoils_operand": lambda: after(spoils_operand),
    "raises": lambda: after(raises),
    "zeros": lambda: after(np.zeros_like),
    "narrow": lambda: after(narrow),
    "lazy": lambda: after(lazy),
    "nothing": lambda: after(lambda x: None),
    "short": lambda: after(lambda x: right(x)[:-1]),
    "without_maximum": lambda: after(without_maximum),
}


def kernel(run: Softmax, name: str = "cheat/softmax", **contract: Any) -> Kernel:
    promise = Contract(exp_ulp=4.0, masked_row="nan", **contract)
    formats = {"x": "f32", "out": "f32"}
    return Kernel(name, "softmax", run, formats, promise, framework="numpy", devices=("cpu",))
