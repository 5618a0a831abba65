"""The lines of a kernel's plots: one a set of formats and a device, those nearest their budgets first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lastbit.reports.summary import clean, measured, short_formats
from lastbit.verdict import Record

#: Lines that one plot can show and a reader tell apart.
MOST = 6
#: Lanes that are named where they are left out.
NAMED = 6


@dataclass(frozen=True, slots=True)
class Lane:
    """The judged records of one set of formats on one device."""

    label: str
    records: tuple[Record, ...]


def lanes(records: Iterable[Record]) -> list[Lane]:
    """The lanes of a kernel's records of which errors were measured, the largest error / allowed first."""
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.outcome.judged and record.timing is None and measured(record):
            grouped[record.formats, record.device].append(record)
    labels = _labels(list(grouped))
    made = [Lane(labels[key], tuple(members)) for key, members in grouped.items()]
    return sorted(made, key=lambda lane: (-utilisation(lane.records), lane.label))


def utilisation(records: Iterable[Record]) -> float:
    """The largest error / allowed of the records."""
    return max((record.stats.utilisation for record in records if record.stats is not None), default=0.0)


def percent(share: float, digits: int = 0) -> str:
    """The share as text, which says neither all of it nor none of it where that is only nearly so."""
    text, least = f"{share:.{digits}%}", 10.0 ** -(digits + 2)
    if share < 1 and float(text[:-1]) == 100:
        return f"over {1 - least:.{digits}%}"
    return f"under {least:.{digits}%}" if share > 0 and float(text[:-1]) == 0 else text


def shown(found: Sequence[Lane], most: int = MOST, named: int = 0) -> tuple[Sequence[Lane], str]:
    """The first lanes, and a sentence that counts the others and names so many of them; "" if there is none."""
    rest = [lane.label for lane in found[most:]]
    names = ", ".join(rest[:named]) + (f" and {len(rest) - named} more" if len(rest) > named else "")
    said = f"{len(rest)} more, further from their budgets, are not drawn{f': {names}' if named else ''}."
    return found[:most], said if rest else ""


def data_of(record: Record) -> tuple[str, str, str]:
    """What makes errors comparable: the check, the data's recipe, and the case's options and layout, not its sizes."""
    recipe, _, rest = record.case.partition("/")
    return record.check, recipe, rest.partition("/")[2]


def arrow(formats: str) -> str:
    """The short name of formats with an arrow: "bf16 → f32"."""
    return short_formats(formats).replace("->", "→")


def _labels(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Short names of (formats, device): the device where there are several, all formats where short ones collide."""
    devices = len({device for _, device in keys}) > 1
    texts = {(formats, device): f"{arrow(formats)}{f' {device}' if devices else ''}" for formats, device in keys}
    counts = Counter(texts.values())
    return {
        key: clean(text if counts[text] == 1 else f"{key[0]}{f' {key[1]}' if devices else ''}", 80)
        for key, text in texts.items()
    }
