"""How a measured speed stands to its baseline: kept, drifted, better, stale or new; each another answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from lastbit.golden.drift import STALE_DAYS
from lastbit.golden.perf_store import PerfGolden
from lastbit.perf.decide import golden_limits, percent
from lastbit.perf.speed import LEAST_RUNS, Speed
from lastbit.verdict import Outcome


class State(StrEnum):
    """The answers."""

    NEW = "new"  # no baseline of exactly this device
    KEPT = "kept"  # as fast as its baseline
    DRIFTED = "drifted"  # slower than allowed
    BETTER = "better"  # faster by as much: adopt it, for a slowdown would hide behind the old one
    STALE = "stale"  # older than STALE_DAYS, or of another yardstick
    UNKNOWN = "unknown"  # the measurement says nothing


@dataclass(frozen=True, slots=True)
class Standing:
    """A speed beside its baseline."""

    state: State
    #: SLOW where nothing but the kernel can be the cause; INCONCLUSIVE; another failure where the kernel is not right.
    outcome: Outcome
    reason: str = ""


def stand(speed: Speed, goldens: Mapping[str, PerfGolden], software: str, today: date | None = None) -> Standing:
    """How `speed` stands to the baseline of its key among `goldens`, which are of its own device.

    Drifted: the median over processes is slower by more than max(10 %, 4 sd), and every process by more than half of
    that; better likewise. Slower by its median alone is unknown: measure again. `software` is that of kernel and
    yardstick now; where the baseline's was another, a drift is reported and no failure.
    """
    if speed.outcome is not Outcome.PASS:
        return Standing(State.UNKNOWN, speed.outcome, speed.reason)
    if len(speed.ratios) < LEAST_RUNS:
        text = f"{len(speed.ratios)} of {speed.processes} processes could tell, expected {LEAST_RUNS}"
        return Standing(State.UNKNOWN, Outcome.INCONCLUSIVE, text)
    golden = goldens.get(speed.key)
    if golden is None:
        return Standing(State.NEW, Outcome.PASS, f"{speed.ratio:.4g} times {speed.yard}")
    if golden.yard != speed.yard:
        return Standing(State.STALE, Outcome.PASS, f"the baseline is of yardstick {golden.yard}, now {speed.yard}")
    return _beside(speed, golden, software, today or datetime.now(UTC).date())


def _beside(speed: Speed, golden: PerfGolden, software: str, today: date) -> Standing:
    limits = golden_limits(golden.sd)
    changed = [one / golden.ratio for one in speed.ratios]
    ratio = speed.ratio / golden.ratio
    text = f"{percent(ratio)} against golden ({golden.ratio:.4g} times {golden.yard}, allowed {limits.slower:+.0%})"
    if ratio > 1 + limits.slower:
        if min(changed) <= 1 + limits.sure:
            return Standing(State.UNKNOWN, Outcome.INCONCLUSIVE, f"{text}, but {percent(min(changed))} in one process")
        if software != golden.env:
            return Standing(State.DRIFTED, Outcome.PASS, f"{text}; software was {golden.env}, is {software}")
        return Standing(State.DRIFTED, Outcome.SLOW, f"{text}\nbaseline of {golden.date}: {golden.reason}")
    age = (today - date.fromisoformat(golden.date)).days
    if age > STALE_DAYS:
        return Standing(State.STALE, Outcome.PASS, f"the baseline is {age} days old; {text}")
    if 1 / ratio > 1 + limits.slower and 1 / max(changed) > 1 + limits.sure:
        return Standing(State.BETTER, Outcome.PASS, f"{text}: adopt it, or a slowdown hides behind the old number")
    return Standing(State.KEPT, Outcome.PASS, text)
