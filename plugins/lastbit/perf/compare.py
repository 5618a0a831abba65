"""Two kernels on the same cases: judged first, then timed in interleaved pairs, and slow only if it is so twice."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from statistics import median

from lastbit import policy
from lastbit.case import Check, Trial
from lastbit.choices import Options
from lastbit.errors import UsageError
from lastbit.kernel import Kernel, formats_text
from lastbit.perf import novelty, trees
from lastbit.perf.comparison import Comparison
from lastbit.perf.decide import MERGE, Limits, decide
from lastbit.perf.devices import clock, last_cache_of
from lastbit.perf.evidence import Evidence, evidence
from lastbit.perf.memory import keep_memory
from lastbit.perf.pairs import Dirt, Pairs, Stop, measure
from lastbit.perf.ring import Ring, bytes_of, copies_for, same_data, same_shapes
from lastbit.perf.samples import MOST_CALLS, Sample, Timer, calibrated, dirt_of_pair
from lastbit.perf.sides import Side, side
from lastbit.perf.threads import limited
from lastbit.perf.workload import FaultyError, Workload
from lastbit.session import Choice, Plan, Policy, blank, select
from lastbit.verdict import Outcome, Record

#: Bytes of the results of one sample, at most.
MOST_RETURNED = 2**26

Confirm = Callable[[Side, Side, "Comparison", "Terms"], Comparison]
#: Hears every pair, dirty or not: base's sample and head's.
Watch = Callable[[Sample, Sample], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a comparison is made."""

    device: str = "cpu"
    seed: int = 0
    threads: int = 1
    #: Operands from memory, not from a cache; None: as the device's kernels are used, warm on a CPU and cold on a GPU.
    cold: bool | None = None
    limits: Limits = MERGE
    stop: Stop = field(default_factory=Stop)

    @property
    def is_cold(self) -> bool:
        """Whether operands come from memory."""
        return self.device != "cpu" if self.cold is None else self.cold


def compare_kernels(
    base: Kernel | Side,
    head: Kernel | Side,
    cases: Iterable[str] = (),
    terms: Terms | None = None,
    *,
    confirm: Confirm | None = None,
    rules: Policy | None = None,
) -> tuple[Comparison, ...]:
    """`head` beside `base` on each case ("CHECK CASE" or "CHECK CASE FORMATS") and each of head's formats.

    Without cases, on those that lastbit.suites.speed has for the op. Without `confirm`, SLOW is confirmed in fresh
    processes (perf.again).

    Raises UsageError where the kernels are of different ops, or a case is none.
    """
    return tuple(walk(base, head, cases, terms, confirm=confirm, rules=rules))


def walk(
    base: Kernel | Side,
    head: Kernel | Side,
    cases: Iterable[str] = (),
    terms: Terms | None = None,
    *,
    confirm: Confirm | None = None,
    rules: Policy | None = None,
    watch: Watch | None = None,
) -> Iterator[Comparison]:
    """`compare_kernels`, one by one."""
    from lastbit.perf import apart
    from lastbit.perf.again import confirmed

    old, new = (one if isinstance(one, Side) else side(one) for one in (base, head))
    if old.kernel.op != new.kernel.op:
        raise UsageError(f"{old.kernel.name} is {old.kernel.op} and {new.kernel.name} {new.kernel.op}: compare one op")
    terms, rules = terms or Terms(), rules or overrides()
    asked = tuple(cases) or usual_cases(new.kernel.op)
    before = {key(choice): choice for choice in choices(old.kernel, asked, terms)}
    plan = _plan(new.kernel, asked, terms)
    for record in plan.untested:
        yield replace(_of_record(record, old.label, new.label), reason=record.reason)
    for check, trial in plan.choices:
        partner = before.get(key((check, trial)))
        start = _of_record(blank(check.name, trial), old.label, new.label)
        if partner is None:
            yield replace(start, reason=f"{old.label} has no such formats or case: nothing to compare with")
            continue
        if old.apart or new.apart:
            found = apart.compared(old, new, start, terms, watch)
        else:
            with limited(terms.threads):
                found = compared((old, partner[1]), (new, trial), check, start, terms, rules, watch)
        if found.outcome is Outcome.SLOW:
            found = (confirm or confirmed)(old, new, found, terms)
        yield found


def usual_cases(op: str) -> tuple[str, ...]:
    """The cases that an op's kernels are timed on."""
    from lastbit.suites.speed import CASES

    return CASES[op]


def compared(
    base: tuple[Side, Trial],
    head: tuple[Side, Trial],
    check: Check,
    start: Comparison,
    terms: Terms,
    rules: Policy | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """One case, in this process alone: SLOW is what this process found, confirmed by nobody."""
    keep_memory()
    begun = time.perf_counter()
    start = replace(start, threads=terms.threads, cold=terms.is_cold)
    found = _compared(base, head, check, start, terms, rules, watch)
    trees.leave()
    return replace(found, seconds=round(time.perf_counter() - begun, 3))


def _compared(
    base: tuple[Side, Trial],
    head: tuple[Side, Trial],
    check: Check,
    start: Comparison,
    terms: Terms,
    rules: Policy | None,
    watch: Watch | None,
) -> Comparison:
    judged: list[Evidence] = []
    for (one, trial), who in ((head, "head"), (base, "base")):
        one.enter()
        found = evidence(check, trial, rules)
        if not found.passed:
            return without_speed(start, found.record.outcome, found.record.reason, who)
        judged.append(found)
    new, old = judged
    if not same_shapes(old.calls[0], new.calls[0]):
        return replace(start, reason="the case has other sizes for base than for head: give its sizes as numbers")
    works = _workloads(old, new, terms)
    most = max(1, min(MOST_CALLS, MOST_RETURNED // max(1, *(work.bytes_returned for work in works))))
    turn: list[str] = []

    def source(one: Side, work: Workload, who: str) -> Timer:
        def take(calls: int) -> Sample:
            turn[:] = [who]
            one.enter()
            return work.sample(calls)

        return take

    sources = source(base[0], works[0], "base"), source(head[0], works[1], "head")
    try:
        calls = calibrated(sources, works[0].clock.target_ns, most)
        pairs = measure(
            lambda: sources[0](calls),
            lambda: sources[1](calls),
            Random(terms.seed),
            terms.stop,
            dirty=noticed(watch, terms.threads),
            rest=os.sched_yield if terms.device == "cpu" and hasattr(os, "sched_yield") else lambda: None,
        )
        for (one, _), work, who in zip((base, head), works, ("base", "head"), strict=True):
            turn[:] = [who]
            novelty.check(work, Random(terms.seed), one.enter)
    except FaultyError as error:
        return without_speed(start, error.verdict.outcome, error.verdict.reason, turn[0])
    return measured(replace(start, calls=calls), pairs, terms)


def _workloads(base: Evidence, head: Evidence, terms: Terms) -> list[Workload]:
    """The two workloads, on one ring where both are called with the same data."""
    rings: list[Ring] = []
    for found in (base, head):
        if rings and same_data(base.calls, head.calls) and rings[0].trial.kernel.framework == _framework(found):
            rings.append(rings[0])
        else:
            copies = copies_for(bytes_of(found.calls[0]), last_cache_of(terms.device), cold=terms.is_cold)
            rings.append(Ring(found.trials[0], found.calls, copies, terms.seed))
    timer = clock(terms.device, terms.threads)
    return [Workload(found, ring, timer, terms.threads) for found, ring in zip((base, head), rings, strict=True)]


def _framework(found: Evidence) -> str:
    return found.trials[0].kernel.framework


def without_speed(start: Comparison, outcome: Outcome, reason: str, who: str) -> Comparison:
    """What is said of a case that one side is wrong on: a head that fails fails, all else leaves it open."""
    first = reason.splitlines()[0] if reason else outcome.value
    text = f"{who} is not right, so it has no speed ({outcome.value}): {first}"
    return replace(start, outcome=outcome if who == "head" and outcome.failed else Outcome.INCONCLUSIVE, reason=text)


def noticed(watch: Watch | None, threads: int) -> Dirt:
    """dirt_of_pair, of pairs that `watch` hears of, too."""

    def dirty(one: Sample, other: Sample) -> str:
        if watch is not None:
            watch(one, other)
        return dirt_of_pair(one, other, threads)

    return dirty


def measured(start: Comparison, pairs: Pairs, terms: Terms) -> Comparison:
    """The comparison that these pairs make."""
    outcome, reason = decide(pairs, terms.limits, terms.stop)
    found = pairs.estimate
    return replace(
        start,
        outcome=outcome,
        reason=reason,
        allowed=terms.limits.slower,
        ratio=found.ratio if found else 0.0,
        low=found.low if found else 0.0,
        high=found.high if found else 0.0,
        clean=pairs.clean,
        taken=pairs.taken,
        base_ns=median(pairs.base) if pairs.base else 0.0,
        head_ns=median(pairs.head) if pairs.head else 0.0,
    )


def overrides() -> Policy:
    """The budgets' overrides, as every run has them; golden baselines and known findings say nothing of speed."""
    rows = policy.load(Options().policy)
    return Policy(settings=lambda check, trial: policy.settings(rows.overrides, check.name, trial))


def choices(kernel: Kernel, cases: tuple[str, ...], terms: Terms) -> tuple[Choice, ...]:
    """The kernel's trials of the cases, on the device."""
    return _plan(kernel, cases, terms).choices


def _plan(kernel: Kernel, cases: tuple[str, ...], terms: Terms) -> Plan:
    options = Options(case=cases, device=(terms.device,), seed=terms.seed, tier="full")
    return select([kernel], options, (), (terms.device,))


def key(choice: Choice) -> tuple[str, str, str]:
    """What two kernels' choices have in common that are compared."""
    check, trial = choice
    return check.name, trial.case.id, formats_text(trial.formats)


def _of_record(one: Record, base: str, head: str) -> Comparison:
    """The comparison that a record is of, before anything is measured."""
    return Comparison(
        one.kernel, one.op, one.formats, one.device, one.check, one.case, base, head, Outcome.NOT_TESTED, ""
    )
