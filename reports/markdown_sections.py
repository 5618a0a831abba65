"""A short page of Markdown: sections share its lines, and what has no room is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Lines of a fold with items beside these and its first two: an empty one on both sides, and its end.
FOLD = 3


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a page; an item is some lines that stay together: a row, a bullet, a block."""

    title: str
    items: Sequence[Sequence[str]]
    #: Items where there is room, and those that come before anything else has more.
    most: int
    least: int = 1
    #: Lines before the items: the head of a table.
    lead: Sequence[str] = ()
    #: Line after the items.
    foot: str = ""
    #: Whether the items unfold under the title.
    folded: bool = False


def page(head: Sequence[str], sections: Sequence[Section], *, lines: int, characters: int) -> str:
    """`head` and the sections in order, at most `lines` lines and `characters` characters; folded ones count.

    A section without items is left out; a folded one without room is its title. The head and all titles have to fit.
    """
    kept = [section for section in sections if section.items]
    room = lines - len(head)
    while True:
        shown = _shares(kept, room)
        text = "\n".join([*head, *(line for s, n in zip(kept, shown, strict=True) for line in _lines(s, n))])
        if len(text) < characters or not any(shown):
            return text + "\n"
        room -= 1


def _shares(sections: Sequence[Section], room: int) -> list[int]:
    """Items of each section: first the least of each, then as many as there is room for, in order."""
    shares = [0] * len(sections)
    room -= sum(_overhead(section) for section in sections)
    for wanted in ("least", "most"):
        for number, section in enumerate(sections):
            goal = min(getattr(section, wanted), section.most, len(section.items))
            while shares[number] < goal and (cost := _cost(section, shares[number])) <= room:
                shares[number] += 1
                room -= cost
    return shares


def _overhead(section: Section) -> int:
    """Lines of a section beside its items."""
    return 2 if section.folded else 3 + len(section.lead) + (2 if section.foot else 0)


def _cost(section: Section, number: int) -> int:
    """Lines that item `number` adds."""
    return len(section.items[number]) + (FOLD if section.folded and number == 0 else 0)


def _lines(section: Section, shown: int) -> list[str]:
    items = [line for item in section.items[:shown] for line in item]
    counted = f": {shown} of {len(section.items)}, all in index.html" if shown < len(section.items) else ""
    if section.folded:
        fold = [f"<details><summary>{section.title}{counted}</summary>", "", *items, "", "</details>"]
        return ["", *(fold if shown else [f"{section.title}{counted}"])]
    foot = ["", section.foot] if section.foot else []
    return ["", f"## {section.title}{counted}", "", *section.lead, *items, *foot]
