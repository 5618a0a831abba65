"""What a case calls a kernel with and what it rightly returns: the law's own call, listened to, and its own verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from lastbit.case import Check, Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained, series_here
from lastbit.session import Policy, judge
from lastbit.verdict import Outcome, Record

if TYPE_CHECKING:
    from lastbit.references.data import Operand

#: Data sets that a kernel is timed on: with two, a result that is remembered by address is wrong half of the time.
SETS = 2
#: Distance between the seeds of two data sets; prime, and none of the law's own.
SEEDS = 15_485_863

Codes = tuple[NDArray[Any] | None, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the law made, and what it obtained."""

    operands: "Mapping[str, Operand]"
    layouts: Mapping[str, str]
    scalars: Mapping[str, Any]
    #: Bit patterns of every result.
    codes: Codes


@dataclass(frozen=True, slots=True)
class Evidence:
    """A kernel's calls on the data sets of one case, each judged by the law."""

    check: Check
    #: The trial of each data set: they differ in the seed.
    trials: tuple[Trial, ...]
    calls: tuple[Call, ...]
    #: The law's record of the first data set that does not pass, else of the first.
    record: Record
    #: What the records are compared with.
    rules: Policy = field(default_factory=Policy)

    @property
    def passed(self) -> bool:
        """Whether the kernel is right on every data set, so that it has a speed."""
        return self.record.outcome is Outcome.PASS


def evidence(check: Check, trial: Trial, rules: Policy | None = None, sets: int = SETS) -> Evidence:
    """The calls that `check` makes of the trial's kernel on `sets` data sets, and what it says of them.

    Raises UsageError for a check that makes several calls, or none: it has no one call to time.
    """
    rules = rules or Policy()
    trials, calls, records = [], [], []
    for turn in range(sets):
        one = replace(trial, seed=trial.seed + SEEDS * turn)
        heard: list[Call] = []
        record = judge(check, replace(one, settings={**one.settings, "series": _listener(heard)}), rules)
        trials.append(one)
        records.append(record)
        if record.outcome is not Outcome.PASS:
            break
        if len(heard) != 1:
            text = f"check {check.name} of {trial.case.id} makes {len(heard)} calls, expected one call to time"
            raise UsageError(f"{text}; give a case of another check, for example bound")
        calls += heard
    worst = next((record for record in records if record.outcome is not Outcome.PASS), records[0])
    return Evidence(check, tuple(trials), tuple(calls), worst, rules)


def judged_again(found: Evidence, turn: int, codes: Codes) -> Record:
    """The law's record of `codes`, returned by a timed call on the data set `turn`."""
    assert codes[0] is not None
    answer = Obtained(codes[0], None, {}, codes[1:])

    def series(trial: Trial, data: Sequence[Any], **_: Any) -> tuple[Obtained, ...]:
        return (answer,) * len(data)

    trial = found.trials[turn]
    return judge(found.check, replace(trial, settings={**trial.settings, "series": series}), found.rules)


def _listener(heard: list[Call]) -> Any:
    """A stand-in for harness.series that also notes what it was called with."""

    def series(
        trial: Trial,
        data: "Sequence[Mapping[str, Operand]]",
        *,
        layouts: Mapping[str, str] | None = None,
        scalars: Mapping[str, Any] | None = None,
    ) -> tuple[Obtained, ...]:
        obtained = series_here(trial, data, layouts=layouts, scalars=scalars)
        heard.extend(
            Call(dict(operands), dict(layouts or {}), dict(scalars or {}), (got.codes, *got.others))
            for operands, got in zip(data, obtained, strict=True)
        )
        return obtained

    return series
