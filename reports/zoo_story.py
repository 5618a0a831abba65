"""The story of one fault class for people: what it does, where it was met, who sees it and who does not."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lastbit.suites.zoo.story import Asked, Seen, Story, Tale

WIDTH = 100
#: Characters of a failure's reason in view.
REASON = 300


def text(story: "Story") -> str:
    """The story as text."""
    fault = story.fault
    lines = [f"{fault.id}  {fault.where}", "", *_paragraph("What it does", fault.mechanism)]
    lines += _paragraph("What it takes", fault.trigger)
    lines += _paragraph("Where it was met", fault.seen or "a behaviour without a report")
    if fault.left_out:
        lines += _paragraph("Left out of the zoo", fault.left_out)
    elif not story.tales:
        lines += ["The zoo holds no kernel of this class.", ""]
    for tale in story.tales:
        lines += _told(tale)
    if story.tales:
        lines.append(f"Measured at tier {story.tier} under seed {story.seed}, each rival on its customary data.")
    return "\n".join(lines)


def _told(tale: "Tale") -> Iterator[str]:
    yield f"{tale.kernel.name}: {tale.kernel.story}"
    sees = [one for one in tale.checks if one.failed]
    seen = ", ".join(f"{one.check} ({one.failed} of {one.judged} cases)" for one in sees)
    yield from _wrapped(f"seen by {seen or 'no check'}", indent=2)
    for one in sees[:1]:
        yield from _wrapped(f"first in {one.case}: {' '.join(one.reason.split())[:REASON]}")
    blind = [one for one in tale.checks if not one.failed]
    if blind:
        yield from _wrapped("not seen by " + "; ".join(_why(one) for one in blind), indent=2)
    for asked in tale.rivals:
        yield from _wrapped(_rival(asked), indent=2)
    yield ""


def _why(one: "Seen") -> str:
    cases = f"{one.check}: {one.judged} case{'' if one.judged == 1 else 's'} right"
    return cases if one.used is None else f"{cases}, at most {one.used:.0%} of the budget used"


def _rival(asked: "Asked") -> str:
    verdict = "accepts" if asked.accepted else "rejects"
    if not asked.elements:
        return f"{asked.rival} {verdict} it: no result of the right shape and type"
    if not asked.wrong:
        return f"{asked.rival} {verdict} it: on its data every one of {asked.elements} elements is right"
    return (
        f"{asked.rival} {verdict} it: {asked.wrong} of {asked.elements} elements differ, the largest error is "
        f"{asked.error:.2g} of the largest value"
    )


def _paragraph(title: str, body: str) -> list[str]:
    return [title, *textwrap.wrap(body, WIDTH, initial_indent="  ", subsequent_indent="  "), ""]


def _wrapped(body: str, indent: int = 4) -> list[str]:
    return textwrap.wrap(body, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
