"""Speeds: kernels timed beside their yardsticks in several fresh processes, for a golden baseline."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lastbit.errors import LastbitError
from lastbit.kernel import Kernel, formats_text
from lastbit.perf.comparison import Comparison
from lastbit.perf.decide import LEAST_GOLDEN
from lastbit.perf.sides import Side, side
from lastbit.perf.speed import LEAST_RUNS, Speed
from lastbit.perf.yardstick import yardstick
from lastbit.verdict import Outcome

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms

#: Half of a process's interval, relative, at most: a quarter of the smallest change that a baseline tells.
MOST_WIDE = LEAST_GOLDEN / 4
#: Share of a process's pairs that were clean, at least: with fewer, others had the machine, and its caches.
LEAST_CLEAN = 0.25

#: Compares base and head on one case in a fresh process; `found` names the case.
Again = Callable[[Side, Side, Comparison, "Terms"], Comparison]


def speeds(
    kernels: Iterable[Kernel],
    known: Iterable[Kernel],
    terms: "Terms",
    *,
    cases: Iterable[str] = (),
    processes: int = LEAST_RUNS,
    again: Again | None = None,
) -> Iterator[Speed]:
    """The speed of each kernel in each of its formats, on the op's own cases or on `cases`, one by one.

    `known` are the kernels that yardsticks are taken from. Raises UsageError where a case is none of the op's.
    """
    from lastbit.perf import again as fresh
    from lastbit.perf.compare import choices, usual_cases

    among = tuple(known)
    for kernel in kernels:
        for check, trial in choices(kernel, tuple(cases) or usual_cases(kernel.op), terms):
            yard = yardstick(kernel, trial.formats, among, terms.device)
            start = Speed(
                kernel.name, kernel.op, formats_text(trial.formats), terms.device, check.name, trial.case.id,
                yard.name if yard else "", threads=terms.threads, cold=terms.is_cold,
            )  # fmt: skip
            yield speed(start, side(yard) if yard else None, side(kernel), terms, processes, again or fresh.again)


def speed(start: Speed, base: Side | None, head: Side, terms: "Terms", processes: int, again: Again) -> Speed:
    """`start` with what `processes` fresh processes measured.

    PASS where each of them could tell. A process cannot where fewer than LEAST_CLEAN of its pairs, or fewer than
    Stop.least, were clean, or where its interval is wider than MOST_WIDE.
    """
    if base is None:
        return replace(start, reason=f"no yardstick of {start.op} has these formats: reported, not judged")
    asked = Comparison(
        start.kernel, start.op, start.formats, start.device, start.check, start.case, base.label, head.label,
        Outcome.NOT_TESTED, "",
    )  # fmt: skip
    ratios: list[float] = []
    shares: list[float] = []
    why: Counter[str] = Counter()
    for done in range(1, processes + 1):
        try:
            found = again(base, head, asked, terms)
        except LastbitError as error:
            return replace(start, processes=done, reason=str(error), ratios=tuple(ratios))
        if found.outcome.failed and found.outcome is not Outcome.SLOW:
            return replace(start, processes=done, outcome=found.outcome, reason=found.reason)
        shares.append(found.clean_share)
        if reason := _unsure(found, terms):
            why[reason] += 1
        else:
            ratios.append(found.ratio)
    share = min(shares, default=0.0)
    made = replace(start, ratios=tuple(ratios), processes=processes, clean_share=round(share, 4))
    if why:
        return replace(made, reason=f"{len(ratios)} of {processes} processes could tell: {why.most_common(1)[0][0]}")
    return replace(made, outcome=Outcome.PASS)


def _unsure(found: Comparison, terms: "Terms") -> str:
    """Why one process cannot tell, or ""."""
    if found.clean < terms.stop.least or found.ratio <= 0 or found.low <= 0:
        return found.reason or "too few clean pairs"
    if found.clean_share < LEAST_CLEAN:
        return f"only {found.clean_share:.0%} of its pairs were clean: others had the machine"
    wide = math.log(found.high / found.low) / 2
    return f"its interval is ±{wide:.1%}, expected ±{MOST_WIDE:.1%}" if wide > MOST_WIDE else ""
