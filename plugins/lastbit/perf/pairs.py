"""Pairs: base and head timed by turns in one process, in random order, until their ratio is known well enough."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from lastbit.perf.estimate import Estimate, estimate
from lastbit.perf.samples import Sample, dirt_of_pair

#: Takes one sample.
Source = Callable[[], Sample]
Dirt = Callable[[Sample, Sample], str]
#: Pairs after a dirty one whose samples begin with a rest. At a load of 9 on two cores, 70 % of samples of 0.4 ms were
#: clean without a rest and 97 % with one, at the same time for a clean pair; of longer samples few were without.
RESTED = 10


@dataclass(frozen=True, slots=True)
class Stop:
    """When a comparison has enough pairs."""

    #: Half of the interval, relative, that is narrow enough: a quarter of the 5 % that is looked for.
    half_width: float = 0.012
    #: Clean pairs after which it is looked at, each time.
    step: int = 10
    #: Clean pairs at least, for a verdict; and at most.
    least: int = 20
    most: int = 200
    #: Seconds in all.
    budget_s: float = 4.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """What was measured: times of a call in the clean pairs, in the order of measurement, and what was dropped."""

    #: Nanoseconds a call.
    base: tuple[float, ...] = ()
    head: tuple[float, ...] = ()
    #: Pairs taken, dirty ones too.
    taken: int = 0
    #: How many pairs were dropped, by what spoilt them.
    dropped: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    estimate: Estimate | None = None

    @property
    def clean(self) -> int:
        """Pairs that count."""
        return len(self.base)

    @property
    def clean_share(self) -> float:
        """Share of the pairs that count."""
        return self.clean / self.taken if self.taken else 0.0


def measure(
    base: Source,
    head: Source,
    random: Random,
    stop: Stop | None = None,
    *,
    dirty: Dirt = dirt_of_pair,
    rest: Callable[[], object] = lambda: None,
    now: Callable[[], float] = time.monotonic,
) -> Pairs:
    """Pairs of samples of `base` and `head` until `stop` says enough; `random` draws which of the two goes first.

    A pair of which either sample is dirty is dropped whole: keeping its clean half would compare different moments.
    Then, for a while, `rest` is called before each sample: it lets waiting processes run first (os.sched_yield).
    """
    stop = stop or Stop()
    times: tuple[list[float], list[float]] = ([], [])
    dropped: Counter[str] = Counter()
    found: Estimate | None = None
    start, taken, resting = now(), 0, 0
    with no_collection():
        while len(times[0]) < stop.most and now() - start < stop.budget_s:
            one, other = _pair(base, head, random, rest if resting else lambda: None)
            taken, resting = taken + 1, max(0, resting - 1)
            spoilt = dirty(one, other)
            if spoilt:
                dropped[spoilt] += 1
                resting = RESTED
                continue
            times[0].append(one.ns_per_call)
            times[1].append(other.ns_per_call)
            if len(times[0]) % stop.step == 0 and len(times[0]) >= stop.least:
                found = estimate(*times)
                if found.half_width <= stop.half_width:
                    break
    if times[0] and (found is None or found.n != len(times[0])):
        found = estimate(*times)
    return Pairs(tuple(times[0]), tuple(times[1]), taken, dict(dropped), now() - start, found)


def _pair(base: Source, head: Source, random: Random, rest: Callable[[], object]) -> tuple[Sample, Sample]:
    base_first = random.random() < 0.5
    taken = []
    for source in (base, head) if base_first else (head, base):
        rest()
        taken.append(source())
    one, other = taken if base_first else reversed(taken)
    return one, other


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection meanwhile: it would fall on whichever side happens to allocate."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
