"""A comparison of two runs in the terminal and in Markdown."""

import textwrap
from collections.abc import Sequence

from lastbit.reports import compare_story, markdown_text
from lastbit.reports.compare_runs import Comparison
from lastbit.reports.compare_story import Entry, Section
from lastbit.reports.summary import clean
from lastbit.reports.terminal import WIDTH

#: Entries of a section that are shown, in the terminal and in Markdown; the rest is counted.
SHOWN, IN_MARKDOWN = 12, 6


def lines(comparison: Comparison, sides: Sequence[str]) -> list[str]:
    """The comparison for a terminal, a text a line; `sides` say which runs A and B are (`compare_story.side`)."""
    text = [line for name, side in zip("AB", sides, strict=True) for line in _wrapped(f"{name}  {side}", "", "   ")]
    text += [line for warning in comparison.warnings for line in _wrapped(f"note: {warning}", "", "      ")]
    for section in compare_story.sections(comparison):
        text += ["", *_wrapped(_title(section), "", "  ")]
        text += [line for entry in section.entries[:SHOWN] for line in _entry(entry)]
        text += _rest(section, SHOWN, "  ")
    differences = [difference.text() for difference in comparison.differences]
    for title, items in (("made otherwise", differences), ("not compared", compare_story.remarks(comparison))):
        text += ["", f"{title}:"] if items else []
        text += [line for item in items[:SHOWN] for line in _wrapped(item, "  ", "    ")]
        text += [f"  … and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return [*text, "", *_wrapped(compare_story.sentence(comparison), "", "")]


def markdown(comparison: Comparison, sides: Sequence[str] = ()) -> list[str]:
    """The comparison in GitHub's Markdown, a text a line, without a heading: the sentence, then what differs."""
    sentence = markdown_text.sentence(compare_story.sentence(comparison), 1000)
    text = [f"**{sentence}**", ""]
    text += [f"- {name}: {markdown_text.code(side, 400)}" for name, side in zip("AB", sides, strict=False)]
    text += [f"- note: {markdown_text.sentence(warning)}" for warning in comparison.warnings]
    for section in compare_story.sections(comparison):
        text += ["", f"**{section.title}** ({section.count})", ""]
        text += [
            f"- {markdown_text.code(entry.kernel)} {markdown_text.code(entry.where)}: {markdown_text.code(entry.what)}"
            for entry in section.entries[:IN_MARKDOWN]
        ]
        text += _rest(section, IN_MARKDOWN, "- ")
    said = [difference.text() for difference in comparison.differences] + compare_story.remarks(comparison)
    text += ["", *(f"- {markdown_text.code(item)}" for item in said[:SHOWN])] if said else []
    return text + ([f"- … and {len(said) - SHOWN} more"] if len(said) > SHOWN else [])


def _title(section: Section) -> str:
    return f"{section.title}, {section.count}{f' ({section.meaning})' if section.meaning else ''}:"


def _entry(entry: Entry) -> list[str]:
    head = _wrapped(f"{entry.kernel} {entry.where}: {entry.what}", "  ", "    ")
    details = [line for detail in entry.details for line in _wrapped(detail, "      ", "      ")]
    return [*head, *details, *([f"      reproduce: {entry.reproduce}"] if entry.reproduce else [])]


def _rest(section: Section, shown: int, lead: str) -> list[str]:
    rest = section.entries[shown:]
    count = sum(entry.count for entry in rest)
    return [f"{lead}… and {count} more checks, in {len(rest)} entries of --json"] if rest else []


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(clean(text, 1000), WIDTH, initial_indent=first, subsequent_indent=later)
