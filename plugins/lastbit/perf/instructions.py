"""Instructions of a call, counted by valgrind: a check of CPU kernels that no load disturbs, blind to caches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from lastbit.errors import LastbitError, UsageError
from lastbit.kernel import formats_text
from lastbit.perf import callgrind, fresh, trees
from lastbit.perf.callgrind import Count, Job
from lastbit.perf.decide import MERGE, percent
from lastbit.perf.evidence import Call, evidence
from lastbit.perf.sides import Side, reached
from lastbit.perf.threads import limited
from lastbit.verdict import Outcome
from lastbit.worker import Way

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms
    from lastbit.session import Choice

#: Processes of each side. Addresses differ between them, and with them the work of hash tables and allocators.
RUNS = 2
#: More instructions than this are more: half a percent, or ten times the measured spread of one side, relative.
LEAST_MARGIN = 0.005
SPREADS = 10.0


@dataclass(frozen=True, slots=True)
class Counted:
    """Instructions of one call of two kernels on one case; 0 where nothing was counted."""

    kernel: str
    formats: str
    check: str
    case: str
    base: str
    head: str
    outcome: Outcome = Outcome.NOT_TESTED
    reason: str = ""
    base_count: int = 0
    head_count: int = 0
    #: Largest relative difference of two processes of one side, and how much more than base is allowed.
    spread: float = 0.0
    margin: float = 0.0


def count(pairs: Iterable[tuple[Side, Side]], cases: Iterable[str], terms: "Terms") -> tuple[Counted, ...]:
    """Each base and head on each case in each of head's formats; all are judged first, then counted together.

    Raises UsageError where valgrind is missing, the device is no CPU, or a case is none of the op's.
    """
    program = callgrind.valgrind()
    if terms.device != "cpu":
        raise UsageError(f"--instructions counts those of a CPU; {terms.device} has none that valgrind sees")
    made = [one for base, head in pairs for one in _asked(base, head, tuple(cases), terms)]
    wanted = [jobs for _, jobs in made if jobs]
    old, new = (_of_side([jobs[place] for jobs in wanted], program) for place in range(2))
    counts = iter(zip(old, new, strict=True))
    return tuple(_compared(start, *next(counts)) if jobs else start for start, jobs in made)


def decide(base: list[int], head: list[int]) -> tuple[Outcome, str, float, float]:
    """The verdict, why, spread and margin; of the counts of each side's processes, the smallest is the kernel's.

    INCONCLUSIVE where the counts of one side are so far apart that what MERGE calls slow would pass.
    """
    spread = max((max(counts) - min(counts)) / min(counts) for counts in (base, head))
    margin = max(LEAST_MARGIN, SPREADS * spread)
    ratio = min(head) / min(base)
    text = f"{percent(ratio)} instructions ({min(base)} to {min(head)} a call, allowed {margin:+.2%})"
    if ratio > 1 + margin:
        return Outcome.SLOW, text, spread, margin
    if margin > MERGE.slower:
        text = (
            f"{text}: two processes of one side are {spread:.2%} apart, expected {MERGE.slower / SPREADS:.2%} at most"
        )
        return Outcome.INCONCLUSIVE, text, spread, margin
    return Outcome.PASS, text, spread, margin


def exit_status(counted: Iterable[Counted]) -> int:
    """1 where a head takes more or is wrong, else 3 where nothing is known of a case, or of any, else 0."""
    outcomes = [one.outcome for one in counted]
    if any(outcome.failed for outcome in outcomes):
        return 1
    compared = [outcome for outcome in outcomes if outcome is not Outcome.NOT_TESTED]
    return 0 if compared and all(outcome is Outcome.PASS for outcome in compared) else 3


def _asked(
    base: Side, head: Side, cases: tuple[str, ...], terms: "Terms"
) -> Iterator[tuple[Counted, tuple[Job, Job] | None]]:
    """Each case, and what is to be counted of base and head; None where there is nothing, and the case says why."""
    from lastbit.perf.compare import choices, key, usual_cases

    if base.kernel.op != head.kernel.op:
        raise UsageError(
            f"{base.kernel.name} is {base.kernel.op} and {head.kernel.name} {head.kernel.op}: compare one op"
        )
    asked = cases or usual_cases(head.kernel.op)
    before = {key(choice): choice for choice in choices(base.kernel, asked, terms)}
    for choice in choices(head.kernel, asked, terms):
        check, trial = choice
        start = Counted(
            head.kernel.name, formats_text(trial.formats), check.name, trial.case.id, base.label, head.label
        )
        partner = before.get(key(choice))
        if partner is None:
            yield replace(start, reason=f"{base.label} has no such formats or case: nothing to compare with"), None
            continue
        new, start = _judged(start, "head", head, choice, terms)
        old, start = _judged(start, "base", base, partner, terms) if new else (None, start)
        yield start, (old, new) if old and new else None


def _judged(start: Counted, who: str, one: Side, choice: "Choice", terms: "Terms") -> tuple[Job | None, Counted]:
    """What is to be counted of one side, which the law finds right; else None, and what is said instead."""
    check, trial = choice
    try:
        if not one.ways:
            raise LastbitError(f"{one.label} cannot be found by another process: define it at the top level of a file")
        found = _found(one, choice, terms)
    except LastbitError as error:
        return None, replace(start, outcome=Outcome.INCONCLUSIVE, reason=f"{who}: {error}")
    if found.call is None:
        text = f"{who} is not right ({found.outcome.value}): {found.reason}"
        fails = who == "head" and found.outcome.failed
        return None, replace(start, outcome=found.outcome if fails else Outcome.INCONCLUSIVE, reason=text)
    return Job(
        one.label, one.ways, dict(trial.formats), trial.contract, trial.device, check.name, trial.case, found.call
    ), start


@dataclass(frozen=True, slots=True)
class _Found:
    """The law's verdict of a side, and the call that it is of, if it passes."""

    outcome: Outcome
    reason: str
    call: Call | None


def _found(one: Side, choice: "Choice", terms: "Terms") -> _Found:
    """Judge a side: here, or where its libraries may be loaded."""
    check, trial = choice
    if one.apart:
        case = f"{check.name} {trial.case.id} {formats_text(trial.formats).replace(' ', ',')}"
        with fresh.started(_serve, one.ways, one.label, case, terms) as connection:
            found: _Found = fresh.answer(connection, callgrind.LIMIT_S)
        return found
    one.enter()
    try:
        return _here(choice, terms)
    finally:
        trees.leave()


def _here(choice: "Choice", terms: "Terms") -> _Found:
    with limited(terms.threads):
        found = evidence(*choice, sets=1)
    reason = found.record.reason.partition("\n")[0]
    return _Found(found.record.outcome, reason, found.calls[0] if found.passed else None)


def _serve(connection: Connection, ways: tuple[Way, ...], label: str, case: str, terms: "Terms") -> None:
    from lastbit.perf.compare import choices

    one = reached(ways, label)
    (choice,) = choices(one.kernel, (case,), terms)
    one.enter()
    connection.send(_here(choice, terms))


def _of_side(jobs: Sequence[Job], program: str) -> list[list[Count]]:
    """The counts of one side's jobs, one of each of its RUNS processes."""
    if not jobs:
        return []
    try:
        runs = [callgrind.counts(jobs, program) for _ in range(RUNS)]
    except LastbitError as error:
        runs = [(Count(0, str(error)),) * len(jobs)]
    return [list(counts) for counts in zip(*runs, strict=True)]


def _compared(start: Counted, base: list[Count], head: list[Count]) -> Counted:
    for who, counts in (("head", head), ("base", base)):
        if why := next((one.why for one in counts if one.why), ""):
            return replace(start, outcome=Outcome.INCONCLUSIVE, reason=f"{who}: {why}")
    old, new = ([one.instructions for one in counts] for counts in (base, head))
    outcome, reason, spread, margin = decide(old, new)
    return replace(
        start, outcome=outcome, reason=reason, base_count=min(old), head_count=min(new), spread=spread, margin=margin
    )
