"""P18: whether the same call gives the same bits: alone, beside other work, with more threads, on another stream."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import numpy as np

from lastbit.perf.threads import limited
from lastbit.suites.probes.answer import Answer
from lastbit.suites.probes.op_access import Array

#: Calls that must all give the same bits, at most, in each surrounding.
CALLS = 40
#: A slow kernel, an interpreter's, gets fewer: those of so many seconds, but not fewer than this.
SECONDS, FEWEST = 0.5, 3
#: Numbers of threads that PyTorch and OpenBLAS are given.
THREADS = (2, 4)

#: Where a call is repeated: its name, and what surrounds the calls.
Surrounding = tuple[str, Callable[[], AbstractContextManager[None]]]


def repeatable(run: Callable[[], Array], device: str) -> Answer:
    """Whether `run` gives the same bits again.

    With other numbers of threads or on another stream a call is compared with the first one there: whether bits
    depend on the number of threads is P20's question.
    """
    told, good = [], True
    first = run()
    for name, around in surroundings(device):
        with around():
            reference = run() if name.endswith("threads") else first
            other, calls = _repeat(run, reference)
        good &= not other
        told.append(f"{other} of {calls} {name}")
    return Answer("P18", "repeatable", good, f"calls that differ from the first: {', '.join(told)}")


def surroundings(device: str) -> list[Surrounding]:
    """Every surrounding that a device has."""
    found: list[Surrounding] = [("alone", nullcontext), ("beside a busy thread", _load)]
    if device.partition(":")[0] == "cpu":
        return [*found, *((f"of {count} threads", partial(limited, count)) for count in THREADS)]
    return [*found, ("on another stream", partial(_stream, device))]


def _repeat(run: Callable[[], Array], first: Array) -> tuple[int, int]:
    """How many calls of at most CALLS give other bits than the first, and how many there were time for."""
    start, differing = time.perf_counter(), 0
    for done in range(1, CALLS + 1):
        differing += not np.array_equal(run(), first, equal_nan=True)
        if done >= FEWEST and time.perf_counter() - start > SECONDS:
            return differing, done
    return differing, CALLS


@contextmanager
def _load() -> Iterator[None]:
    """Another thread that multiplies matrices meanwhile."""
    stop = threading.Event()

    def work() -> None:
        x = np.ones((64, 64))
        while not stop.is_set():
            x @ x

    busy = threading.Thread(target=work, daemon=True)
    busy.start()
    try:
        yield
    finally:
        stop.set()
        busy.join()


@contextmanager
def _stream(device: str) -> Iterator[None]:
    """A stream of PyTorch's other than the current one; the harness waits for the whole device after each call."""
    import torch

    with torch.cuda.stream(torch.cuda.Stream(device)):
        yield
