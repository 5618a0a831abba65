"""Whether a kernel is faster on data that it has seen: one that remembers whole operands answers without computing."""

from collections.abc import Callable
from random import Random
from statistics import median

from lastbit.perf.samples import Sample, dirt_of_pair
from lastbit.perf.workload import FaultyError, Workload
from lastbit.verdict import Outcome, Verdict

#: Pairs of a sample on data seen before and one on data never seen, at most; and clean ones at least, to say anything.
PAIRS = 12
LEAST = 5
#: Calls of one sample at most, each on a copy of its own: the second call on new data would find it seen.
CALLS = 4
#: Time on new data / time on seen data from which a kernel remembers. The data are the same numbers in other places, so
#: that honest kernels take about as long: up to 1.2 times, for new data come from memory.
REMEMBERS = 1.5


def check(work: Workload, random: Random, enter: Callable[[], None] = lambda: None) -> float | None:
    """Time on data never seen / time on seen data; None where too few pairs are clean, or it takes no such data.

    Raises FaultyError where that is REMEMBERS or more.
    """
    calls = min(len(work.ring.copies), CALLS)
    ratios = []
    for _ in range(PAIRS):
        enter()
        try:
            seen, new = _pair(work, calls, random)
        except FaultyError as error:
            if error.verdict.outcome is Outcome.CRASHED:  # new data need not make sense to it
                return None
            raise
        if not dirt_of_pair(seen, new, work.threads):
            ratios.append(new.ns / seen.ns)
    if len(ratios) < LEAST:
        return None
    ratio = median(ratios)
    if ratio >= REMEMBERS:
        text = f"it remembers: on data never seen a timed call takes {ratio:.1f} times as long as on data seen before"
        raise FaultyError(Verdict(Outcome.WRONG_STRUCTURE, text))
    return ratio


def _pair(work: Workload, calls: int, random: Random) -> tuple[Sample, Sample]:
    if random.random() < 0.5:
        seen = work.sample(calls)
        return seen, work.sample_unseen(calls)
    new = work.sample_unseen(calls)
    return work.sample(calls), new
