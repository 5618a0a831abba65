"""Detection power: what one judge caught of each fault class, and which correct variants it flagged."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lastbit.suites.zoo.score import Sighting
from lastbit.suites.zoo.specimen import FaultClass, Faulty, Variant


@dataclass(frozen=True, slots=True)
class Power:
    """How often a judge caught the kernels of one fault class."""

    fault: str
    #: Pairs of a kernel and a seed, and those that were caught.
    tried: int
    caught: int
    #: Kernels, and those caught under every seed.
    kernels: int
    always: int
    #: The check that failed first most often; "" where none did.
    check: str = ""

    @property
    def answer(self) -> str:
        """ "always", "sometimes" or "never"; "no kernel" for a class that the zoo holds none of."""
        if not self.tried:
            return "no kernel"
        return "always" if self.caught == self.tried else "sometimes" if self.caught else "never"


def powers(classes: Sequence[FaultClass], faulty: Sequence[Faulty], sightings: Iterable[Sighting]) -> list[Power]:
    """The power over each class that the zoo holds a kernel of, in the order of the classes."""
    fault = {one.name: one.fault for one in faulty}
    by_class: dict[str, list[Sighting]] = {}
    for one in sightings:
        if one.specimen in fault:
            by_class.setdefault(fault[one.specimen], []).append(one)
    return [_power(one.id, by_class.get(one.id, [])) for one in classes if not one.left_out]


def false_alarms(variants: Sequence[Variant], sightings: Iterable[Sighting]) -> list[Sighting]:
    """The sightings of correct variants that a judge flagged."""
    names = {one.name for one in variants}
    return [one for one in sightings if one.specimen in names and one.caught]


def _power(fault: str, seen: list[Sighting]) -> Power:
    kernels = {one.specimen for one in seen}
    missed = {one.specimen for one in seen if not one.caught}
    checks = Counter(one.check for one in seen if one.caught)
    first = min(checks, key=lambda check: (-checks[check], check)) if checks else ""
    return Power(fault, len(seen), sum(checks.values()), len(kernels), len(kernels - missed), first)
