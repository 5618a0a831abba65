"""Sample, one timed run of a few calls on the CPU: how long it took, and whether anything else took its time."""

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns

#: How long a sample should last: a third of the shortest time that a Linux scheduler lets another process have the core
#: for, so that most samples lie between two interruptions even on a loaded machine.
TARGET_NS = 400_000
#: The same on a GPU, whose events tell 0.5 us apart.
GPU_TARGET_NS = 20_000
#: Most calls of one sample: each result is kept and looked at. Of a call of 1 us, 64 are a thousand ticks of the clock.
MOST_CALLS = 64
#: Share of a clean sample's time that the process was on a core for, at least; each of its threads, at most. The clocks
#: are read one after the other, which accounts for the rest.
LEAST_BUSY = 0.97
MOST_BUSY = 1.03
#: What reading the clocks may add to the CPU time, beside the share above.
READING_NS = 4_000
#: Share of its partner's SM clock that a GPU sample's must have.
LEAST_CLOCK = 0.95
#: Single calls that the length of a sample is chosen by; the shortest counts.
TRIES = 3

Timer = Callable[[int], "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """How long `calls` calls took, and what can spoil that number."""

    calls: int
    #: The duration that counts: by the host's clock on the CPU, between two events on a GPU.
    ns: int
    #: CPU time of all threads of this process meanwhile; None on a GPU.
    cpu_ns: int | None = None
    #: How often the scheduler took the core away meanwhile.
    switches: int = 0
    #: Time that the device went on working after the timed stream had finished, GPU only.
    trailing_ns: int = 0
    #: SM clock before and after, where NVML tells; 0: unknown.
    clocks_mhz: tuple[int, int] = (0, 0)
    #: What spoils a sample on a GPU, in words: its clock held down, another stream at work; or "".
    spoilt: str = ""

    @property
    def ns_per_call(self) -> float:
        """Nanoseconds of one call."""
        return self.ns / self.calls


def timed(run: Callable[[], object], calls: int, threads: int = 1) -> Sample:
    """The sample of `run`, which makes `calls` calls, on the CPU.

    Of a kernel that computes in the calling thread, that thread's interruptions count (RUSAGE_THREAD), and not those of
    an idle helper; of one with several threads, those of the whole process. CPU time is always the whole process': a
    kernel that lets another thread do the work is seen to use more than one core.
    """
    who = resource.RUSAGE_THREAD if threads == 1 and hasattr(resource, "RUSAGE_THREAD") else resource.RUSAGE_SELF
    before = resource.getrusage(who).ru_nivcsw
    cpu = process_time_ns()
    start = perf_counter_ns()
    run()
    end = perf_counter_ns()
    cpu = process_time_ns() - cpu
    switches = resource.getrusage(who).ru_nivcsw - before
    return Sample(calls, max(end - start, 1), cpu, switches)


def dirt(sample: Sample, threads: int = 1) -> str:
    """What took time from the sample, or gave it some, in a few words; "" of a clean one."""
    if sample.spoilt:
        return sample.spoilt
    if sample.switches:
        return "interrupted by another process"
    if sample.cpu_ns is None:
        return ""
    if sample.cpu_ns < LEAST_BUSY * sample.ns:
        return "waited off the core"
    if sample.cpu_ns > MOST_BUSY * threads * sample.ns + READING_NS:
        return f"more than {threads} thread{'s' if threads > 1 else ''} at work"
    return ""


def dirt_of_pair(one: Sample, other: Sample, threads: int = 1) -> str:
    """What spoils the comparison of two samples, or ""."""
    spoilt = dirt(one, threads) or dirt(other, threads)
    if spoilt or not all((*one.clocks_mhz, *other.clocks_mhz)):
        return spoilt
    low, high = sorted(min(sample.clocks_mhz) for sample in (one, other))
    return "clocks differ" if low < LEAST_CLOCK * high else ""


def calibrated(timers: Sequence[Timer], target_ns: int = TARGET_NS, most: int = MOST_CALLS) -> int:
    """How many calls a sample has, the same for all `timers`, so that the slowest one's lasts about `target_ns`.

    The count never changes the time of a call, so a kernel gains nothing by being slow here.
    """
    slowest = max(min(timer(1).ns for _ in range(TRIES)) for timer in timers)
    first = _count(slowest, target_ns, most)
    # A single call is warmed up by nothing; a few in a row tell better.
    again = max(min(timer(first).ns_per_call for _ in range(TRIES)) for timer in timers)
    return _count(again, target_ns, most)


def _count(ns_per_call: float, target_ns: int, most: int) -> int:
    return max(1, min(most, round(target_ns / max(ns_per_call, 1.0))))
