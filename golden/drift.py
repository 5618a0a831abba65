"""Drift: whether a passing record is like its baseline, with thresholds that follow from how far samples spread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from lastbit.environment import Environment
from lastbit.golden.match import Baselines, Level
from lastbit.golden.store import Golden, comparable, key, rounded
from lastbit.verdict import ErrorStats, Outcome, Record

#: Change that is always let pass: drift is about other arithmetic, which moves a statistic by a factor.
MARGIN = 1.25
#: Standard deviations of the sampling noise that are let pass on top, six: 2 in 10^9 if Gaussian. golden/README.md
#: derives the noise of each statistic and gives the largest seen over seeds.
SIGMAS = 6.0
#: Kurtosis of error / sigma that the noise of a root mean square allows for: 3 is Gaussian, 9 a mixture of scales.
KURTOSIS = 9.0
#: Probability that the largest of n sub-Gaussian errors exceeds its typical value by the factor let pass.
FALSE_ALARM = 1e-9
#: With other data, one element in this many is taken to hold all the large errors, as the few rows of outlier data do.
UNEVEN = 128
#: p99 in ulp (twice this for the maximum): one rounding to the output format makes steps of half an ulp.
ULP_FLOOR = 0.5
#: Above this ratio of max to p99 an output has elements near zero, whose error in ulp has no scale.
HEAVY_TAIL = 3.0
#: Statistics of fewer elements say nothing about drift; ten elements beyond p99 are needed to know a tail.
FEWEST, FEWEST_ULP = 64, 1000
#: Days after which a baseline says no more than that it should be adopted anew.
STALE_DAYS = 180


@dataclass(frozen=True, slots=True)
class Change:
    """One statistic whose magnitude moved beyond its threshold."""

    name: str
    old: float
    new: float
    #: The value from which on `new` counts as moved.
    limit: float

    @property
    def worse(self) -> bool:
        """Whether it moved away from zero."""
        return self.new > self.old

    def text(self) -> str:
        """ "rms 0.4 was 0.2 (limit 0.28)"."""
        return f"{self.name} {self.new:.4g} was {self.old:.4g} (limit {self.limit:.4g})"


@dataclass(frozen=True, slots=True)
class Drift:
    """A record beside its baseline."""

    #: "same", "drifted", "better" or "stale".
    state: str
    changes: tuple[Change, ...] = ()
    reason: str = ""


def judged(record: Record, baselines: Baselines, environment: Environment, today: date | None = None) -> Record:
    """`record` with its golden state, and REGRESSED if it passed but is worse than this device's own baseline.

    A device without baseline of its own is new; the nearest relative's baseline is quoted as advice.
    Only the same software (Environment.software: lastbit, the kernel's framework, thread count) and the same seed make
    a regression: where either is another, what moved is reported as drifted and the outcome stays.
    """
    if record.outcome is not Outcome.PASS or not comparable(record):
        return record
    match = baselines.match(key(record))
    if match.golden is None:
        return replace(record, golden="new")
    drift = compare(record, match.golden, today)
    if match.level is not Level.EXACT:
        advice = f"{drift.state}, {drift.reason}" if drift.reason else drift.state
        return replace(record, golden=f"new: on {match.slug} it would be {advice}")
    software = environment.software(record.kernel)
    other = [] if software == match.golden.env else [f"software was {match.golden.env}, is {software}"]
    other += [] if record.seed == match.golden.seed else [f"seed was {match.golden.seed}, is {record.seed}"]
    if drift.state == "drifted" and not other:
        reason = f"worse than golden: {drift.reason}\nbaseline of {match.golden.date}: {match.golden.reason}"
        worst = max(drift.changes, key=lambda change: change.new / change.limit if change.limit else math.inf)
        return replace(
            record, outcome=Outcome.REGRESSED, reason=reason, golden="drifted", measured=worst.new, allowed=worst.limit
        )
    said = [drift.reason, *(other if drift.state == "drifted" else [])]
    return replace(record, golden=": ".join(filter(None, (drift.state, "; ".join(filter(None, said))))))


def compare(record: Record, golden: Golden, today: date | None = None) -> Drift:
    """How the record's statistics stand to those of `golden`; the record has statistics.

    The same digest from the same seed is the same at once; without it the statistics decide, whatever the seed.
    """
    stats = record.stats or ErrorStats()
    if record.digest and record.digest == golden.digest and record.seed == golden.seed:
        moved: tuple[Change, ...] = ()
    elif stats.n != golden.n:
        return Drift("stale", (), f"the baseline is of {golden.n} elements, this case has {stats.n}")
    else:
        moved = tuple(changes(stats, golden, same_data=record.seed == golden.seed))
    worse = tuple(change for change in moved if change.worse)
    if worse:
        return Drift("drifted", worse, _text(worse))
    age = ((today or datetime.now(UTC).date()) - date.fromisoformat(golden.date)).days
    if age > STALE_DAYS:
        return Drift("stale", moved, f"the baseline is {age} days old")
    return Drift("better", moved, _text(moved)) if moved else Drift("same")


def changes(stats: ErrorStats, golden: Golden, *, same_data: bool = True) -> list[Change]:
    """The statistics that moved beyond the noise of two samples of n errors, either way; none below FEWEST elements.

    With other data (another seed) the noise is larger, and a baseline of no error has no scale to compare with.
    """
    if golden.n < FEWEST:
        return []
    n = golden.n if same_data else max(golden.n / UNEVEN, math.e)
    top = MARGIN * math.sqrt(1 + math.log(2 / FALSE_ALARM) / math.log(n))
    rms = MARGIN + SIGMAS * math.sqrt(2 * (KURTOSIS - 1) / (4 * n))
    bias = MARGIN - 1 + SIGMAS * 1.25 * math.sqrt(2 / n)
    found = [
        _change("rms", golden, stats, rms, 0.0),
        _change("utilisation", golden, stats, top, 0.0),
        _change("bias", golden, stats, 1.0, bias),
    ]
    if golden.n >= FEWEST_ULP and _has_scale(golden) and (same_data or _has_scale(stats)):
        found.append(_change("p99_ulp", golden, stats, top, ULP_FLOOR))
        found.append(_change("max_ulp", golden, stats, top, 2 * ULP_FLOOR))
    return [change for change in found if change is not None and (change.old or same_data)]


def _has_scale(stats: ErrorStats | Golden) -> bool:
    """Whether an error in ulp says something of the whole output, and not of its elements near zero."""
    return stats.max_ulp <= HEAVY_TAIL * max(stats.p99_ulp, ULP_FLOOR)


def _change(name: str, golden: Golden, stats: ErrorStats, factor: float, floor: float) -> Change | None:
    """The change of one magnitude, if it is by more than `factor` and by more than `floor`."""
    old, new = abs(getattr(golden, name)), abs(rounded(getattr(stats, name)))
    limit = max(old * factor, old + floor) if new > old else min(old / factor, old - floor)
    return Change(name, old, new, limit) if new > max(old, limit) or new < min(old, limit) else None


def _text(moved: Sequence[Change]) -> str:
    return ", ".join(change.text() for change in moved)
