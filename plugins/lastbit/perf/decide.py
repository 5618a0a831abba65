"""The verdict on a measured ratio: pass, slow or inconclusive, with the sentence that says why."""

from dataclasses import dataclass

from lastbit.perf.pairs import Pairs, Stop
from lastbit.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Limits:
    """How much slower is too slow, as a fraction of the time."""

    #: The ratio that fails is above 1 + slower.
    slower: float
    #: And the low end of its interval above 1 + sure: more than noise.
    sure: float


#: Between two states of one kernel, side by side in one process. Of 145 comparisons of unchanged code on a machine
#: under load, the error was 0.7 % (sd) and at most 2.7 %.
MERGE = Limits(0.05, 0.02)
#: A stored ratio is compared with a new process, whose memory lies elsewhere: 1.9 to 3.9 % (sd) between processes.
LEAST_GOLDEN = 0.10
#: Standard deviations between processes that a stored ratio may be off by.
GOLDEN_SDS = 4.0


def golden_limits(sd_between: float) -> Limits:
    """The limits for a stored ratio whose spread between processes is `sd_between`, relative."""
    slower = max(LEAST_GOLDEN, GOLDEN_SDS * sd_between)
    return Limits(slower, slower / 2)


def decide(pairs: Pairs, limits: Limits = MERGE, stop: Stop | None = None) -> tuple[Outcome, str]:
    """PASS, SLOW or INCONCLUSIVE, and why.

    PASS: the whole interval lies below 1 + slower. SLOW: the ratio is above 1 + slower and the whole interval above
    1 + sure. Anything else, and too few clean pairs, is INCONCLUSIVE, never a pass.
    """
    least = (stop or Stop()).least
    found = pairs.estimate
    if found is None or pairs.clean < least:
        return Outcome.INCONCLUSIVE, f"{_few(pairs)}, expected at least {least}: measure again when less else runs"
    text = f"{percent(found.ratio)} ({percent(found.low)} to {percent(found.high)}, {found.n} pairs)"
    if found.high < 1 + limits.slower:
        return Outcome.PASS, text
    if found.ratio > 1 + limits.slower and found.low > 1 + limits.sure:
        return Outcome.SLOW, f"{text}, allowed {limits.slower:.0%}"
    return Outcome.INCONCLUSIVE, f"{text}: the interval reaches both sides of what is allowed, {limits.slower:+.0%}"


def _few(pairs: Pairs) -> str:
    worst = max(pairs.dropped, key=lambda text: pairs.dropped[text], default="")
    why = f" (most dropped: {worst}, {pairs.dropped[worst]} times)" if worst else ""
    return f"{pairs.clean} of {pairs.taken} pairs were clean in {pairs.seconds:.1f} s{why}"


def percent(ratio: float) -> str:
    """A ratio of times in words: "+3.1%", or "2.98 times" from 2 on."""
    return f"{ratio - 1:+.1%}" if ratio < 2 else f"{ratio:.2f} times"
