"""Comparison, what came of timing two kernels on one case, as plain data."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lastbit.perf.decide import percent
from lastbit.verdict import Outcome

#: Exit statuses of a comparison: head is as fast, or not, or nothing can be said.
FAST, SLOW, UNKNOWN = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """How fast `head` is beside `base` on one case of one kernel."""

    kernel: str
    op: str
    formats: str
    device: str
    check: str
    case: str
    #: Where the two come from: "main" and "HEAD", or names of kernels.
    base: str
    head: str
    #: PASS, SLOW or INCONCLUSIVE; another failure where head's results are wrong; NOT_TESTED where one side lacks it.
    outcome: Outcome
    reason: str
    #: Time of head / time of base and its interval; 0 where nothing was measured.
    ratio: float = 0.0
    low: float = 0.0
    high: float = 0.0
    #: Pairs that count, and all that were taken.
    clean: int = 0
    taken: int = 0
    #: Median nanoseconds of a call in clean samples.
    base_ns: float = 0.0
    head_ns: float = 0.0
    #: Calls of one sample, and threads that libraries computed with.
    calls: int = 0
    threads: int = 1
    #: Whether operands came from memory (copies beyond the last cache), not from a cache.
    cold: bool = False
    #: Whether each side had a process of its own.
    apart: bool = False
    #: How much slower is too slow, as a fraction of the time.
    allowed: float = 0.0
    seconds: float = 0.0
    #: Verdicts of fresh processes that were asked whether SLOW is so there, too.
    confirmed: tuple[Outcome, ...] = field(default=())

    @property
    def asked(self) -> str:
        """The case as commands name it: "CHECK CASE FORMATS"."""
        return f"{self.check} {self.case} {self.formats.replace(' ', ',')}"

    @property
    def clean_share(self) -> float:
        """Share of the pairs that count."""
        return self.clean / self.taken if self.taken else 0.0


def exit_status(comparisons: Iterable[Comparison]) -> int:
    """1 where a head is slow or wrong, else 3 where something is inconclusive or nothing was compared, else 0."""
    outcomes = [one.outcome for one in comparisons]
    if any(outcome.failed for outcome in outcomes):
        return SLOW
    compared = [outcome for outcome in outcomes if outcome is not Outcome.NOT_TESTED]
    return FAST if compared and all(outcome is Outcome.PASS for outcome in compared) else UNKNOWN


def sentence(comparisons: Iterable[Comparison]) -> str:
    """What came of it all, in one sentence to quote."""
    listed = list(comparisons)
    timed = [one for one in listed if one.outcome in (Outcome.PASS, Outcome.SLOW)]
    slow = [one for one in timed if one.outcome is Outcome.SLOW]
    wrong = [one for one in listed if one.outcome.failed and one not in slow]
    unknown = [one for one in listed if one.outcome is Outcome.INCONCLUSIVE]
    parts = []
    if slow:
        worst = max(slow, key=lambda one: one.ratio)
        parts.append(f"{_cases(len(slow))} slower than {worst.base}, at worst {worst.kernel} ({percent(worst.ratio)})")
    if wrong:
        parts.append(f"{_cases(len(wrong))} wrong, so without a speed")
    if unknown:
        parts.append(f"{_cases(len(unknown))} inconclusive")
    if timed and not slow:
        worst = max(timed, key=lambda one: one.ratio)
        parts.insert(
            0, f"{_cases(len(timed))} as fast as {worst.base}, at worst {worst.kernel} at {percent(worst.ratio)}"
        )
    return ("; ".join(parts) or "nothing was compared") + "."


def _cases(count: int) -> str:
    return "1 case is" if count == 1 else f"{count} cases are"
