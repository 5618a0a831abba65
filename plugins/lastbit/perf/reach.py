"""Reach: a judged kernel's time on a case beside the limits of its device, in each of its formats and in others."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from lastbit.case import Check, Trial
from lastbit.kernel import Kernel, formats_text
from lastbit.perf import novelty
from lastbit.perf.calibrate import figure
from lastbit.perf.compare import MOST_RETURNED, choices, usual_cases
from lastbit.perf.cost import Given, given
from lastbit.perf.devices import clock, last_cache_of
from lastbit.perf.evidence import Evidence, evidence
from lastbit.perf.limits import MOST_APART, Limits
from lastbit.perf.memory import keep_memory
from lastbit.perf.ring import Ring, bytes_of, copies_for
from lastbit.perf.roofline import Row, narrower, rows
from lastbit.perf.samples import MOST_CALLS
from lastbit.perf.threads import limited
from lastbit.perf.workload import FaultyError, Workload
from lastbit.verdict import Outcome

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms


@dataclass(frozen=True, slots=True)
class Reach:
    """One kernel on one case: the cost model of each of its formats, and of narrower ones that it has not."""

    kernel: str
    op: str
    device: str
    check: str
    case: str
    #: The first formats are what gains are of.
    rows: tuple[Row, ...] = ()
    #: Formats that have no speed, and why: the law's outcome and reason, or the machine was too busy.
    without: tuple[tuple[str, Outcome, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Timed:
    """One call of one set of formats."""

    call: Given
    seconds: float = 0.0
    outcome: Outcome = Outcome.PASS
    reason: str = ""


def reach(kernels: Iterable[Kernel], limits: Limits, terms: "Terms", cases: Iterable[str] = ()) -> Iterator[Reach]:
    """Each kernel on the op's own cases, or on `cases`, one by one.

    Every formats' results are judged in the same run that is timed; those of formats that are wrong have no speed.
    Raises UsageError where a case is none of the op's.
    """
    asked = tuple(cases)
    for kernel in kernels:
        found: dict[tuple[str, str], list[tuple[Check, Trial]]] = defaultdict(list)
        for check, trial in choices(kernel, asked or usual_cases(kernel.op), terms):
            found[check.name, trial.case.id].append((check, trial))
        for (check_name, case), trials in found.items():
            start = Reach(kernel.name, kernel.op, terms.device, check_name, case)
            yield _reached(start, kernel, trials, limits, terms)


def _reached(start: Reach, kernel: Kernel, trials: list[tuple[Check, Trial]], limits: Limits, terms: "Terms") -> Reach:
    timed = [(trial.formats, _timed(check, trial, terms)) for check, trial in trials]
    known = [(formats, one) for formats, one in timed if one is not None]
    without = tuple(
        (formats_text(formats), one.outcome, one.reason) for formats, one in known if one.outcome is not Outcome.PASS
    )
    called = [(formats, one) for formats, one in known if one.call.operands]
    if not called:
        return replace(start, without=without)
    first, one = called[0]
    measured = {formats_text(formats): one.seconds for formats, one in called}
    others = [*(formats for formats, _ in called), *narrower(kernel.op, first)]
    made = rows(kernel, first, one.call, limits, others, cold=terms.is_cold, measured_s=measured)
    return replace(start, rows=made, without=without)


def _timed(check: Check, trial: Trial, terms: "Terms") -> _Timed:
    """Seconds of a call, warm or cold as the terms say: the decile of the clean samples, as the limits are."""
    keep_memory()
    with limited(terms.threads):
        found = evidence(check, trial)
        if not found.passed:
            return _Timed(Given({}), 0.0, found.record.outcome, found.record.reason.partition("\n")[0])
        call = given(trial, found.calls[0])
        work = workload(found, terms)
        most = max(1, min(MOST_CALLS, MOST_RETURNED // max(1, work.bytes_returned)))
        try:
            rate = figure(work.sample, 1.0, terms.threads, work.clock.target_ns, most=most)
            novelty.check(work, Random(terms.seed))
        except FaultyError as error:
            return _Timed(Given({}), 0.0, error.verdict.outcome, error.verdict.reason)
    if not rate.clean_share or rate.apart > MOST_APART:  # calls of over a millisecond are rarely clean, and yet known
        text = f"{rate.clean_share:.0%} of its samples were clean, its halves are {rate.apart:.1%} apart"
        return _Timed(call, 0.0, Outcome.INCONCLUSIVE, f"the machine was busy: {text}")
    return _Timed(call, 1.0 / rate.per_s)


def workload(found: Evidence, terms: "Terms") -> Workload:
    """A judged kernel as something to time under these terms."""
    copies = copies_for(bytes_of(found.calls[0]), last_cache_of(terms.device), cold=terms.is_cold)
    ring = Ring(found.trials[0], found.calls, copies, terms.seed)
    return Workload(found, ring, clock(terms.device, terms.threads), terms.threads)
