"""report.md: failures and differences first, then the table of kernels; a usual run is in view in sixty lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lastbit.reports import speeds, summary, terminal

if TYPE_CHECKING:
    from lastbit.reports.run import Run
    from lastbit.verdict import Record

#: What is shown of each kind; the rest is counted, and is in run.jsonl.
FAILURES, KNOWN, MOVED, UNJUDGED = 3, 12, 8, 5
#: Rows of the table in view, and with those that unfold.
ROWS, MOST_ROWS = 24, 300


def text(run: "Run", notes: Sequence[str] = (), gone: Sequence[str] = ()) -> str:
    """The report of `run` in GitHub's Markdown; `notes` are sentences that the session adds, `gone` those on findings
    that no longer happen.

    Text of kernels is escaped: it can neither close a table cell or code block nor place a link, image or tag.
    """
    header = run.header
    commit = f"commit {header.environment.commit}{' (dirty)' if header.environment.dirty else ''}, "
    started = f"{commit if header.environment.commit else ''}tier {header.tier}, seed {header.seed}, {header.started}"
    lines = ["# lastbit", "", *_verdict(run.records, len(gone)), ""]
    lines += [_plain(header.environment.text(), 600) + ". " + _plain(started, 200) + "."]
    if not run.complete:
        lines += ["", "**This run did not come to its end; what follows is what it had judged.**"]
    lines += [line for note in (*notes, *gone) for line in ("", _plain(note, 1000))]
    lines += _failures(run.records)
    lines += _listed("Moved against golden", [_moved(record) for record in run.records if _moved(record)], MOVED)
    lines += _listed("Known findings", [_plain(text) for text in summary.known_lines(run.records)], KNOWN)
    found = speeds.numbers(run.records)
    lines += ["", "## Kernels", "", *_table(terminal.table(found, "github", _escaped)), "", terminal.LEGEND]
    lines += _speeds(run.records)
    unjudged = [
        _plain(f"{outcome.value}, {count} in {kernels} kernel{'' if kernels == 1 else 's'}: {reason}")
        for outcome, reason, count, kernels in summary.unjudged(found)
    ]
    lines += _listed("Not judged (none of this is a pass)", unjudged, UNJUDGED)
    return "\n".join(lines) + "\n"


def _failures(records: "Sequence[Record]") -> list[str]:
    groups = summary.failures(records)
    lines = ["", "## Failures", ""] if groups else []
    for group in groups[:FAILURES]:
        lines += ["```text", *[line.replace("```", "'''") for line in terminal.block(group.shown, group.count)], "```"]
    rest = [group.shown for group in groups[FAILURES:]]
    shown = [f"{r.kernel} [{summary.short_formats(r.formats)}] {r.check}: {r.outcome.value}" for r in rest]
    return lines + (_bullets([_plain(line) for line in shown], KNOWN) if rest else [])


def _verdict(records: "Sequence[Record]", gone: int) -> list[str]:
    return ["  ".join(f"**{_plain(line, 1000)}**" for line in terminal.sentences(records, gone))]


def _speeds(records: "Sequence[Record]") -> list[str]:
    rows = speeds.table(records, "github", _escaped)
    if not rows:
        return []
    said = [f"- {_plain(note)}" for note in speeds.notes(records)[:UNJUDGED]]
    return ["", "## Speed", "", *_table(rows), "", speeds.LEGEND, *([""] if said else []), *said]


def _table(table: list[str]) -> list[str]:
    head, rule, *rows = table or ["", ""]
    rest = rows[ROWS:MOST_ROWS]
    left = f"; {len(rows) - MOST_ROWS} others are in run.jsonl" if len(rows) > MOST_ROWS else ""
    folded = ["", f"<details><summary>{len(rest)} more{left}</summary>", "", head, rule, *rest, "", "</details>"]
    return [head, rule, *rows[:ROWS], *(folded if rest else [])]


def _moved(record: "Record") -> str:
    """One line for a record that is no longer like its baseline, "" for any other."""
    if record.golden.partition(":")[0] not in ("drifted", "better"):
        return ""
    where = f"{record.kernel} [{summary.short_formats(record.formats)}] {record.check} {record.case}"
    return _plain(f"{where}: {record.golden}")


def _listed(title: str, items: list[str], most: int) -> list[str]:
    return ["", f"## {title}", "", *_bullets(items, most)] if items else []


def _bullets(items: list[str], most: int) -> list[str]:
    more = [f"- … and {len(items) - most} more, in run.jsonl"] if len(items) > most else []
    return [*(f"- {item}" for item in items[:most]), *more]


def _plain(value: str, width: int = 300) -> str:
    return _escaped(summary.clean(value, width))


def _escaped(value: str) -> str:
    """`value` with Markdown's and HTML's active characters escaped."""
    for char in "\\`*_[]|":
        value = value.replace(char, f"\\{char}")
    return value.replace("&", "&amp;").replace("<", "&lt;")
