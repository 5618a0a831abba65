"""A background load on one core: it spins or streams through memory, on and off for a while each, at random."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

#: Mean seconds of work and of rest.
MEAN_S = 1.5
#: Bytes that it streams through.
STREAMED = 2**26


@contextmanager
def load() -> Iterator[None]:
    """The load, on the last core that this process may use, for as long as the block runs."""
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(os.getpid(),), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _work(parent: int) -> None:
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    random = Random(1)
    block = bytearray(STREAMED)
    while os.getppid() == parent:
        end = time.monotonic() + random.expovariate(1 / MEAN_S)
        stream = random.random() < 0.5
        while time.monotonic() < end:
            if stream:
                block = bytearray(block)
            else:
                sum(range(20_000))
        time.sleep(random.expovariate(1 / MEAN_S))
