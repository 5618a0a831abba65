"""The mutants that no test kills, each with the reason, as mutation/survivors.toml lists them."""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")

#: Module, function, line and mutant, as Mutant.key.
Key = tuple[str, str, str, str]


class Kind(StrEnum):
    """Why a mutant may live."""

    #: It gives the same result for every input: no test can kill it, and it does not count.
    EQUIVALENT = "equivalent"
    #: It changes how long something takes, or how much memory, and no result; it does not count either.
    COST = "cost"
    #: It gives another result, which is as good or which nobody relies on; it counts as a survivor.
    HARMLESS = "harmless"
    #: A test is wanted; it counts as a survivor.
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Survivor:
    """One listed mutant."""

    kind: Kind
    reason: str


class SurvivorsError(Exception):
    """The list of survivors cannot be used as it stands."""


def listed(path: Path = FILE) -> dict[Key, Survivor]:
    """All listed survivors; a row names the mutants of one line that live for one reason.

    Raises SurvivorsError for a row without a reason, and for a mutant that is listed twice.
    """
    found: dict[Key, Survivor] = {}
    for row in tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", []):
        survivor = Survivor(Kind(row["kind"]), row["reason"])
        if not survivor.reason.strip():
            raise SurvivorsError(f"{path.name}: a row of {row['module']} has no reason; say why no test kills it")
        for mutant in row["mutants"]:
            key = (row["module"], row["function"], row["line"], mutant)
            if key in found:
                raise SurvivorsError(f"{path.name}: {key} is listed twice; keep one of them")
            found[key] = survivor
    return found
