"""report.md: for a pull request, what differs first, then the table of kernels; below sixty lines, always."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lastbit.reports import speeds, summary, terminal
from lastbit.reports.markdown_sections import Section, page
from lastbit.reports.markdown_text import block, in_cell, sentence

if TYPE_CHECKING:
    from lastbit.reports.run import Run
    from lastbit.verdict import Record

#: Lines, folded ones counted, and characters of a comment on GitHub (65,536) with something left for who posts it.
LINES, CHARACTERS = 59, 65_000
#: Items of each section where the page has room; the last are those of one that unfolds.
CHANGES, FAILURES, GONE, MOVED, ROWS, SPEEDS, FOLDED = 12, 4, 4, 6, 16, 6, 8
#: Lines of a failure's reason.
REASON_LINES = 3


def text(
    run: "Run", notes: Sequence[str] = (), gone: Sequence[str] = (), *, base: str = "", changes: Sequence[str] = ()
) -> str:
    """The report of `run` in GitHub's Markdown, at most 65,000 characters and 59 lines; the rest is counted.

    `notes` are sentences that the session adds, `gone` those on findings that no longer happen, `changes` those on what
    differs from the run that is called `base`. All of them, and every text of a record, are shown as they are and do
    nothing: no mention, link, image, tag, heading or end of a cell.
    """
    found = speeds.numbers(run.records)
    sections = (
        Section(f"Since {sentence(base, 80) or 'the run before'}", _bullets(changes), CHANGES),
        Section("Failures", [_failure(group) for group in summary.failures(run.records)], FAILURES),
        Section("Findings that no longer happen", _bullets(gone), GONE),
        Section("Moved against golden", _bullets(_moved(run.records)), MOVED),
        Section("Kernels", _rows(terminal.cells(found)), ROWS, 4, _head(terminal.HEADS), terminal.LEGEND),
        _speed(run.records),
        _folded("Known findings", summary.known_lines(run.records)),
        _folded(f"Not judged, which is no pass ({_unjudged_count(found)}), by reasons", _unjudged(found)),
        _folded("Notes", [*notes, *speeds.notes(run.records)]),
    )
    return page(_top(run, len(gone)), sections, lines=LINES, characters=CHARACTERS)


def _top(run: "Run", gone: int) -> list[str]:
    environment = run.header.environment
    tree = f"commit {environment.commit}{' (dirty)' if environment.dirty else ''}" if environment.commit else ""
    facts = [f"tier {run.header.tier}", f"seed {run.header.seed}", run.header.started, tree]
    said = f"{sentence(environment.text(), 600)}; {sentence(', '.join(filter(None, facts)), 200)}"
    verdict = "  ".join(f"**{sentence(line, 1000)}**" for line in terminal.sentences(run.records, gone, run.complete))
    early = "**This run did not come to its end; what follows is what it had judged.**"
    return ["# lastbit", "", verdict, *([] if run.complete else ["", early]), "", said]


def _failure(group: summary.Group) -> list[str]:
    """One block: what failed, where and why, and the command that repeats it."""
    record = group.shown
    head = f"{terminal.outcome(record)} {_place(record)}{f' and {group.count - 1} more' if group.count > 1 else ''}"
    reason = record.reason.splitlines()
    more = ["    …"] if len(reason) > REASON_LINES else []
    again = [f"    {summary.clean(f'reproduce: {record.reproduce}', 1000)}"] if record.reproduce else []
    lines = [summary.clean(head, 360), *(f"    {line.strip()}" for line in reason[:REASON_LINES]), *more, *again]
    return block(lines, 1100)


def _place(record: "Record") -> str:
    formats = summary.short_formats(record.formats)
    return f"{record.kernel} [{formats}] on {record.device}: {record.check}, {record.case}"


def _moved(records: "Sequence[Record]") -> list[str]:
    moved = [record for record in records if record.golden.partition(":")[0] in ("drifted", "better")]
    return [f"{_place(record)}: {record.golden}" for record in moved]


def _unjudged(records: "Sequence[Record]") -> list[str]:
    return [
        f"{outcome.value}, {count} in {kernels} kernel{'' if kernels == 1 else 's'}: {reason}"
        for outcome, reason, count, kernels in summary.unjudged(records)
    ]


def _unjudged_count(records: "Sequence[Record]") -> str:
    count = sum(not record.outcome.judged for record in records)
    return f"{count} check{'' if count == 1 else 's'}"


def _folded(title: str, items: Sequence[str]) -> Section:
    return Section(title, _bullets(items), FOLDED, 0, folded=True)


def _speed(records: "Sequence[Record]") -> Section:
    return Section("Speed", _rows(speeds.cells(records)), SPEEDS, 1, _head(speeds.HEADS), speeds.LEGEND)


def _bullets(items: Sequence[str]) -> list[list[str]]:
    return [[f"- {sentence(item, 400)}"] for item in items]


def _rows(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[_row(in_cell(sentence(text)) for text in row)] for row in rows]


def _head(names: Sequence[str]) -> list[str]:
    return [_row(names), _row("---" for _ in names)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
