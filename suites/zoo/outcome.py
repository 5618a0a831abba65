"""ZooRun: the answers of every judge on the zoo, and their JSON form."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lastbit.suites.zoo.power import Power, false_alarms, powers
from lastbit.suites.zoo.score import Sighting
from lastbit.suites.zoo.specimen import FaultClass, Faulty, Variant, room

#: The judge that this suite is.
OURS = "lastbit"


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge said of the whole zoo."""

    judge: str
    sightings: tuple[Sighting, ...]
    #: Wall time, with the workers that it took.
    seconds: float
    #: Data and shapes that it looked at, in words.
    data: str = ""
    #: Where its rule is published.
    source: str = ""


@dataclass(frozen=True, slots=True)
class ZooRun:
    """What every judge said of the zoo: this suite first."""

    classes: tuple[FaultClass, ...]
    faulty: tuple[Faulty, ...]
    variants: tuple[Variant, ...]
    judges: tuple[Judged, ...]
    tier: str
    #: Seeds of the faulty kernels and of the correct variants, and further ones of the core of these.
    seeds: tuple[int, ...]
    more_seeds: tuple[int, ...] = ()
    #: False where the user stopped it: the sightings are those until then.
    complete: bool = True

    def powers(self, judged: Judged) -> list[Power]:
        """The judge's power over each class."""
        return powers(self.classes, self.faulty, judged.sightings)

    def false_alarms(self, judged: Judged) -> list[Sighting]:
        """The correct variants that the judge flagged, and under which seed."""
        return false_alarms(self.variants, judged.sightings)


def as_json(run: ZooRun) -> dict[str, Any]:
    """The run as JSON has it: "classes", "caught", "correct", "false_alarms", "faults", "rivals", and how it was made.

    Of a rival, "faults" has the answer and "counts" the pairs (kernel, seed) caught and tried, by class.
    "classes" counts the classes that a kernel of was judged, "caught" those of them caught always, "correct" the right
    kernels that were judged, "core" those of them that were judged under "more_seeds", too.
    """
    ours = run.judges[0]
    found = [power for power in run.powers(ours) if power.tried]
    alarms = run.false_alarms(ours)
    return {
        "complete": run.complete,
        "tier": run.tier,
        "seeds": list(run.seeds),
        "more_seeds": list(run.more_seeds),
        "classes": len(found),
        "caught": sum(power.answer == "always" for power in found),
        "correct": len({one.specimen for one in ours.sightings} & {one.name for one in run.variants}),
        "core": len({one.specimen for one in ours.sightings if one.seed in run.more_seeds}),
        "false_alarms": len({one.specimen for one in alarms}),
        "ops": {op: list(pair) for op, pair in by_op(run, ours).items()},
        "seconds": round(ours.seconds, 1),
        "faults": [{**asdict(power), "answer": power.answer} for power in run.powers(ours)],
        "escaped": [asdict(one) for one in escaped(run.faulty, ours.sightings)],
        "flagged": [asdict(one) for one in alarms],
        "rivals": {judged.judge: _rival(run, judged) for judged in run.judges[1:]},
    }


def escaped(faulty: Sequence[Faulty], sightings: Sequence[Sighting]) -> list[Sighting]:
    """The faulty kernels that were not caught, and under which seed."""
    names = {one.name for one in faulty}
    return [one for one in sightings if one.specimen in names and not one.caught]


def by_op(run: ZooRun, judged: Judged) -> dict[str, tuple[int, int]]:
    """Kernels caught under every seed, and kernels, by room: those that the judge has no rule for are not counted."""
    op = {one.name: room(one.build()) for one in run.faulty}
    missed = {one.specimen for one in judged.sightings if not one.caught}
    seen = {one.specimen for one in judged.sightings if one.specimen in op}
    total = Counter(op[name] for name in seen)
    caught = Counter(op[name] for name in seen - missed)
    return {name: (caught[name], total[name]) for name in total}


def _rival(run: ZooRun, judged: Judged) -> dict[str, Any]:
    found = [power for power in run.powers(judged) if power.tried]
    return {
        "caught": sum(power.answer == "always" for power in found),
        "sometimes": sum(power.answer == "sometimes" for power in found),
        "classes": len(found),
        "false_alarms": len({one.specimen for one in run.false_alarms(judged)}),
        "correct": len({one.specimen for one in judged.sightings} & {one.name for one in run.variants}),
        "ops": {op: list(pair) for op, pair in by_op(run, judged).items()},
        "seconds": round(judged.seconds, 1),
        "data": judged.data,
        "source": judged.source,
        "faults": {power.fault: power.answer for power in found},
        "counts": {power.fault: [power.caught, power.tried] for power in found},
        "flagged": sorted({one.specimen for one in run.false_alarms(judged)}),
    }
