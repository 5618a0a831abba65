"""The story of one fault class: what each check and each rival makes of its kernels, measured."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lastbit import session
from lastbit.case import Check
from lastbit.choices import Options
from lastbit.kernel import Kernel
from lastbit.suites.law import checks
from lastbit.suites.zoo.collection import faulty
from lastbit.suites.zoo.rival import Rival, accepts, answer
from lastbit.suites.zoo.rivals import RIVALS
from lastbit.suites.zoo.specimen import FaultClass, Faulty, room
from lastbit.verdict import Outcome, Record


@dataclass(frozen=True, slots=True)
class Seen:
    """What one check of the law made of a kernel, in all of its cases."""

    check: str
    failed: int
    judged: int
    #: The first failure: case and reason.
    case: str = ""
    reason: str = ""
    #: Where it passes: the largest part of its budget that an element used, 1 being all of it; None for checks of bits.
    used: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What one rival made of a kernel."""

    rival: str
    accepted: bool
    #: On the first of its data sets: elements that are not the right one, and the largest error in parts of the
    #: largest right value; of none, where the kernel gave no result.
    wrong: int = 0
    elements: int = 0
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Tale:
    """One kernel of the class."""

    kernel: Faulty
    checks: tuple[Seen, ...]
    rivals: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A fault class, and what is seen of each of its kernels."""

    fault: FaultClass
    tales: tuple[Tale, ...]
    tier: str
    seed: int


def story(
    fault: FaultClass, tier: str, seed: int, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Story:
    """The story of `fault`: the whole law walked over each of its kernels, and every rival asked."""
    kernels = [one for one in faulty() if one.fault == fault.id]
    tales = []
    for done, one in enumerate(kernels, 1):
        tales.append(Tale(one, _checks(one, tier, seed), tuple(_asked(rival, one, seed) for rival in _of(one))))
        progress(done, len(kernels))
    return Story(fault, tuple(tales), tier, seed)


def _checks(one: Faulty, tier: str, seed: int) -> tuple[Seen, ...]:
    kernel = one.build()
    records: dict[str, list[Record]] = {}
    for check, trial in session.select([kernel], Options(tier=tier, seed=seed)).choices:
        records.setdefault(check.name, []).append(session.judge(check, trial))
    return tuple(_seen(check, records[check.name]) for check in checks(kernel.op) if check.name in records)


def _seen(check: Check, records: list[Record]) -> Seen:
    failed = [record for record in records if record.outcome.failed]
    judged = sum(record.outcome is not Outcome.NOT_TESTED for record in records)
    if failed:
        return Seen(check.name, len(failed), judged, failed[0].case, failed[0].reason)
    used = [record.stats.utilisation for record in records if record.stats is not None]
    return Seen(check.name, 0, judged, used=max(used) if used and max(used) > 0 else None)


def _of(one: Faulty) -> list[Rival]:
    kernel = one.build()
    known = kernel.format_sets[0]["out"]
    asked = [rival for rival in RIVALS if room(kernel) in rival.draws and (not rival.formats or known in rival.formats)]
    return [rival for rival in asked if rival.draws[room(kernel)][0](np.random.default_rng(0), kernel) is not None]


def _asked(rival: Rival, one: Faulty, seed: int) -> Asked:
    accepted = bool(accepts(rival, one.build(), seed))
    return Asked(rival.name, accepted, *_error(rival, one.build(), seed))


def _error(rival: Rival, kernel: Kernel, seed: int) -> tuple[int, int, float]:
    question = rival.draws[room(kernel)][0](np.random.default_rng((seed, *rival.name.encode())), kernel)
    obtained = None if question is None else answer(kernel, question)
    if question is None or obtained is None:
        return 0, 0, 0.0
    wrong, elements, worst = 0, 0, 0.0
    for values, about in zip(obtained, (question, *question.others), strict=True):
        with np.errstate(invalid="ignore"):
            error = np.abs(values - about.expected)
        largest = np.abs(about.expected).max(initial=0.0) or 1.0
        wrong, elements = wrong + int((values != about.expected).sum()), elements + values.size
        worst = max(worst, float(error.max(initial=0.0) / largest))
    return wrong, elements, worst
