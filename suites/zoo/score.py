"""The suite run over the zoo: which check catches which kernel first, under each seed, in parallel."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

from lastbit import session
from lastbit.choices import Options
from lastbit.kernel import formats_text
from lastbit.suites.proofs import roomy
from lastbit.suites.zoo.specimen import Specimen

T = TypeVar("T")
R = TypeVar("R")
#: Specimens of one op and formats that a worker judges together: they share data and truth.
TOGETHER = 24
#: Proofs that are kept for them, in times of what one kernel after the other needs: hunts of 60 cases share theirs.
ROOM = 8


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the suite said of one specimen under one seed."""

    specimen: str
    seed: int
    #: The check that failed first, its case and reason; "" where none did.
    check: str = ""
    case: str = ""
    reason: str = ""
    #: Trials that were judged until then.
    judged: int = 0
    #: Seconds of those trials; the data and truth that specimens share are counted where they were made.
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        """Whether a check failed."""
        return bool(self.check)


class StoppedError(Exception):
    """Raised when the user stops a score; carries what was found until then."""

    def __init__(self, found: list[Any]) -> None:
        super().__init__("stopped")
        self.found = found


@dataclass(frozen=True, slots=True)
class Job:
    """Specimens that one worker judges under one seed."""

    names: tuple[str, ...]
    tier: str
    seed: int


def jobs(specimens: Iterable[Specimen], tier: str, seeds: Iterable[int]) -> list[Job]:
    """The specimens in groups that share data, one group for each seed."""
    groups: dict[tuple[str, str], list[str]] = {}
    for specimen in specimens:
        built = specimen.build()
        key = (built.op, " ".join(formats_text(formats) for formats in built.format_sets))
        groups.setdefault(key, []).append(specimen.name)
    return [
        Job(tuple(names[start : start + TOGETHER]), tier, seed)
        for seed in seeds
        for names in groups.values()
        for start in range(0, len(names), TOGETHER)
    ]


def sightings(job: Job, specimens: Sequence[Specimen]) -> list[Sighting]:
    """What the suite says of each specimen of the job: judged until the first failure, or to the end of the law."""
    kernels = {specimen.kernel_name: specimen.build() for specimen in specimens}
    options = Options(tier=job.tier, seed=job.seed)
    plan = session.select(kernels.values(), options)
    names = {specimen.kernel_name: specimen.name for specimen in specimens}
    found: dict[str, Sighting] = {}
    judged = dict.fromkeys(kernels, 0)
    spent = dict.fromkeys(kernels, 0.0)
    with roomy(ROOM):
        _judge(plan, names, job.seed, found, judged, spent)
    for name in kernels.keys() - found.keys():
        found[name] = Sighting(names[name], job.seed, judged=judged[name], seconds=spent[name])
    return [found[name] for name in kernels]


def _judge(
    plan: session.Plan,
    names: Mapping[str, str],
    seed: int,
    found: dict[str, Sighting],
    judged: dict[str, int],
    spent: dict[str, float],
) -> None:
    """Judge each kernel until it fails: that goes into `found`, trials and their seconds into the others."""
    # Most faults show in small cases: those of the smoke tier come first, and their kernels see no other.
    for check, trial in sorted(plan.choices, key=lambda choice: choice[1].case.tier != "smoke"):
        name = trial.kernel.name
        if name in found:
            continue
        record = session.judge(check, trial)
        judged[name] += 1
        spent[name] += record.seconds
        if record.outcome.failed:
            said = (check.name, trial.case.id, record.reason)
            found[name] = Sighting(names[name], seed, *said, judged[name], spent[name])


def score(
    specimens: Sequence[Specimen],
    tier: str,
    seeds: Sequence[int],
    *,
    workers: int,
    progress: Callable[[int, int, float], None] = lambda done, total, seconds: None,
) -> list[Sighting]:
    """Every specimen under every seed; `progress` hears (jobs done, jobs in all, seconds) as they end.

    Raises what a worker raised: a judge that fails has no score; and StoppedError, with what there is, where the user
    stops it.
    """
    start = time.perf_counter()
    todo = jobs(specimens, tier, seeds)
    found: list[Sighting] = []
    order = {specimen.name: place for place, specimen in enumerate(specimens)}
    try:
        for done, ended in enumerate(each(_by_name, todo, workers), 1):
            found += ended
            progress(done, len(todo), time.perf_counter() - start)
    except KeyboardInterrupt:
        raise StoppedError(sorted(found, key=lambda one: (order[one.specimen], one.seed))) from None
    return sorted(found, key=lambda one: (order[one.specimen], one.seed))


def each(function: Callable[[T], R], todo: Sequence[T], workers: int) -> Iterator[R]:
    """function(one) for each of `todo` as they end, in `workers` processes; one works here.

    The processes leave the user's interrupt to this one, which ends them.
    """
    if workers <= 1:
        yield from map(function, todo)
        return
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=ignoring) as pool:
        before = set(active_children())
        running = [pool.submit(function, one) for one in todo]
        try:
            for ended in as_completed(running):
                yield ended.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(active_children()) - before:
                worker.terminate()
            raise


def _by_name(job: Job) -> list[Sighting]:
    from lastbit.suites.zoo.collection import specimen

    return sightings(job, [specimen(name) for name in job.names])
