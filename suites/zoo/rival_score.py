"""The rivals run over the zoo, in parallel: what each accepts and rejects under each seed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lastbit.suites.zoo.collection import specimen
from lastbit.suites.zoo.outcome import Judged
from lastbit.suites.zoo.rival import Rival, accepts
from lastbit.suites.zoo.rivals import rival
from lastbit.suites.zoo.score import Sighting, StoppedError, each
from lastbit.suites.zoo.specimen import Specimen


@dataclass(frozen=True, slots=True)
class Round:
    """One rival's turn at the specimens under one seed."""

    rival: str
    names: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a round."""

    round: Round
    sightings: tuple[Sighting, ...]
    seconds: float


def answers(round: Round) -> Answers:
    """The rival's sightings of those specimens that are of its ops and formats; each is built anew."""
    start, one = time.perf_counter(), rival(round.rival)
    found = []
    for name in round.names:
        accepted = accepts(one, specimen(name).build(), round.seed)
        if accepted is not None:
            found.append(Sighting(name, round.seed, "" if accepted else one.name, judged=1))
    return Answers(round, tuple(found), time.perf_counter() - start)


def judged(
    rivals: Sequence[Rival],
    faulty: Sequence[Specimen],
    variants: Sequence[Specimen],
    seeds: tuple[Sequence[int], Sequence[int]],
    *,
    workers: int,
    progress: Callable[[int, int, float], None] = lambda done, total, seconds: None,
) -> list[Judged]:
    """What each rival says of faulty kernels and of right ones, under the seeds of each; progress as in score.

    Raises UsageError where a judge of the user's own fails, and StoppedError as score does.
    """
    start = time.perf_counter()
    todo = [
        Round(one.name, tuple(specimen.name for specimen in pool), seed)
        for one in rivals
        for pool, chosen in zip((faulty, variants), seeds, strict=True)
        for seed in chosen
    ]
    found: list[Answers] = []
    try:
        for ended in each(answers, todo, workers):
            found.append(ended)
            progress(len(found), len(todo), time.perf_counter() - start)
    except KeyboardInterrupt:
        raise StoppedError(_by_rival(rivals, todo, found)) from None
    return _by_rival(rivals, todo, found)


def _by_rival(rivals: Sequence[Rival], todo: list[Round], found: list[Answers]) -> list[Judged]:
    order = {round: place for place, round in enumerate(todo)}
    found = sorted(found, key=lambda ended: order[ended.round])
    return [
        Judged(
            one.name,
            tuple(seen for ended in found if ended.round.rival == one.name for seen in ended.sightings),
            sum(ended.seconds for ended in found if ended.round.rival == one.name),
            one.data,
            one.source,
        )
        for one in rivals
    ]
