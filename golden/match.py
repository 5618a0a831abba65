"""Which baseline speaks for a device: its own gives a verdict, a relative's gives advice, none means new."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lastbit.environment import Fingerprint
from lastbit.golden import store
from lastbit.golden.store import Golden


class Level(StrEnum):
    """How near the device of a baseline is to the device judged."""

    EXACT = "exact"  # the same slug: same instruction set, CPU family and model, or same GPU and multiprocessor count
    FAMILY = "family"  # same architecture and product family
    ARCH = "arch"  # same architecture
    NONE = "none"


_ORDER = (Level.EXACT, Level.FAMILY, Level.ARCH)


@dataclass(frozen=True, slots=True)
class Match:
    """The baseline found for a key, and whose it is."""

    level: Level
    golden: Golden | None = None
    #: Slug of the device that it was observed on.
    slug: str = ""


@dataclass(frozen=True, slots=True)
class Baselines:
    """The baselines of one op, seen from one device."""

    op: str
    #: The device's own slug.
    slug: str
    #: Records by key of every device of the same architecture, nearest first: (level, slug, records).
    files: tuple[tuple[Level, str, Mapping[str, Golden]], ...] = field(default=())

    def match(self, key: str) -> Match:
        """The nearest device's baseline for `key`."""
        for level, slug, records in self.files:
            if key in records:
                return Match(level, records[key], slug)
        return Match(Level.NONE)


def baselines(op: str, slug: str, folder: Path | None = None) -> Baselines:
    """The baselines of `op` for the device named by `slug`: shipped ones, overlaid by those of `folder`.

    Raises GoldenError when a golden file of `op` cannot be used.
    """
    mine = Fingerprint.parse(slug)
    found = [
        (near(mine, Fingerprint.parse(other)), other, records) for other, records in store.find(op, folder).items()
    ]
    kept = [entry for entry in found if entry[0] is not Level.NONE]
    return Baselines(op, slug, tuple(sorted(kept, key=lambda entry: (_ORDER.index(entry[0]), entry[1]))))


def near(mine: Fingerprint, other: Fingerprint) -> Level:
    """How near `other` is; an unknown device is near nothing, not even itself."""
    if "unknown" in (mine.arch, mine.product) or (mine.kind, mine.arch) != (other.kind, other.arch):
        return Level.NONE
    if mine == other:
        return Level.EXACT
    return Level.FAMILY if mine.product == other.product else Level.ARCH
