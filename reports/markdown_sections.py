"""A page of Markdown in view at a glance: sections share its lines, and what has no room is folded, or counted."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Folded items to try until the page is short enough.
FOLDED = (300, 100, 30, 10, 3, 0)


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a page; an item is some lines that stay together: a row, a bullet, a block."""

    title: str
    items: Sequence[Sequence[str]]
    #: Items in view where there is room, and those that come before anything else has more; 0: all are folded.
    most: int
    least: int = 1
    #: Lines before the items, in view and in the fold: the head of a table.
    lead: Sequence[str] = ()
    #: Line after the items.
    foot: str = ""


def page(head: Sequence[str], sections: Sequence[Section], *, lines: int, characters: int) -> str:
    """`head` and the sections in order, at most `lines` lines of them in view and `characters` in all.

    A section without items is left out. The head and one item of each section have to fit.
    """
    kept = [section for section in sections if section.items]
    shown = _shares(kept, lines - len(head))
    text = ""
    for most in FOLDED:
        text = "\n".join([*head, *(line for s, n in zip(kept, shown, strict=True) for line in _lines(s, n, most))])
        if len(text) < characters:
            break
    return text + "\n"


def _shares(sections: Sequence[Section], room: int) -> list[int]:
    """Items of each section in view: first the least of each, then as many as there is room for, in order."""
    shares = [0] * len(sections)
    room -= sum(_overhead(section) for section in sections)
    for wanted in ("least", "most"):
        for number, section in enumerate(sections):
            goal = min(getattr(section, wanted), section.most, len(section.items))
            while shares[number] < goal and (cost := len(section.items[shares[number]])) <= room:
                shares[number] += 1
                room -= cost
    return shares


def _overhead(section: Section) -> int:
    """Lines in view of a section beside its items, those of a fold among them."""
    if not section.most:
        return 2
    return len(_opening(section)) + (2 if section.foot else 0) + 2


def _opening(section: Section) -> list[str]:
    return ["", f"## {section.title}", "", *section.lead]


def _lines(section: Section, shown: int, most: int) -> list[str]:
    items = [line for item in section.items[:shown] for line in item]
    foot = ["", section.foot] if section.foot else []
    view = [*_opening(section), *items, *foot] if section.most else []
    return [*view, *(_fold(section, shown, most) if shown < len(section.items) else [])]


def _fold(section: Section, shown: int, most: int) -> list[str]:
    """What has no room in view; what has none in the fold is counted."""
    rest = section.items[shown:]
    name = f"{len(rest)} more" if section.most else section.title
    left = f", {len(rest) - most} of them in run.jsonl only" if len(rest) > most else ""
    inside = [*section.lead, *(line for item in rest[:most] for line in item)] if most else []
    return ["", f"<details><summary>{name}{left}</summary>", "", *inside, "", "</details>"]
