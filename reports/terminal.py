"""The summary that a person reads at the end of a run, at most 120 columns wide."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from tabulate import tabulate

from lastbit.environment import Environment
from lastbit.reports import speeds, summary
from lastbit.verdict import Outcome, Record

WIDTH = 120
#: Column limits of the table to try until it is no wider than WIDTH.
LIMITS = (
    (None, 40, None, None, None, None, None, None, None, None),
    (None, 32, None, 26, None, None, None, None, 16, 18),
    (None, 32, None, 20, None, None, None, None, 10, 16),
    (None, 25, 14, 17, None, None, None, None, 8, 13),
)
#: Blocks of failures, lines of known findings and of what was not judged; the rest is counted and is in run.jsonl.
FAILURES, KNOWN, UNJUDGED = 20, 12, 12
#: The columns of the table of kernels, and what they say.
HEADS = ("", "kernel", "formats", "outcomes", "none", "util", "ulp", "bias", "golden", "worst")
LEGEND = (
    "none: not judged; util: largest error / allowed; ulp: largest error, large where sums cancel; bias -1: toward 0"
)
#: Outcomes that are counted together in a column of their own: nothing was judged.
_NONE = (Outcome.NOT_TESTED, Outcome.UNSUPPORTED)
#: Lines of a reason that are shown.
REASON_LINES = 6


def lines(
    records: Sequence[Record],
    environment: Environment | None = None,
    notes: Sequence[str] = (),
    gone: Sequence[str] = (),
    *,
    complete: bool = True,
) -> list[str]:
    """The summary of `records`, one text a line.

    `gone` are sentences on findings that no longer happen, `notes` others that the run adds: golden files used, a
    report folder that cannot be written. Text of kernels (names, reasons) is printed harmlessly whatever it holds.
    """
    text: list[str] = []
    if environment is not None:
        text += textwrap.wrap(summary.clean(environment.text(), 600), WIDTH)
    found = speeds.numbers(records)
    text += ["", *table(found), LEGEND] if found else []
    text += _failures(records)
    text += _known(found)
    text += _unjudged(found)
    text += _golden(found)
    text += _speeds(records)
    text += [line for note in (*notes, *gone) for line in textwrap.wrap(summary.clean(note, 1000), WIDTH)]
    verdicts = sentences(records, len(gone), complete)
    return [*text, "", *(part for line in verdicts for part in textwrap.wrap(line, WIDTH))]


def sentences(records: Sequence[Record], gone: int = 0, complete: bool = True) -> list[str]:
    """The verdict on results, and the one on speed where there is one."""
    speed = speeds.sentence(records)
    return [summary.verdict(speeds.numbers(records), gone, complete), *([speed] if speed else [])]


def table(records: Sequence[Record]) -> list[str]:
    """Kernel x formats as a table, no wider than WIDTH where the cells allow it."""
    rows = cells(records)
    aligned = ("left", "left", "left", "left", "right", "right", "right", "right", "left", "left")
    made: list[str] = []
    for limits in LIMITS:
        text = tabulate(rows, HEADS, "simple", colalign=aligned, disable_numparse=True, maxcolwidths=limits)
        made = [line.rstrip() for line in text.splitlines()]
        if max(map(len, made)) <= WIDTH:
            break
    return made


def cells(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of HEADS: outcomes, worst utilisation, ulp and bias, golden state and worst check of a kernel with formats.

    Kernels of which nothing was judged have no row: they are counted with their reasons below the table.
    """
    rows = [row for row in summary.rows(records) if row.known or any(told not in _NONE for told, _ in row.counts)]
    several = len({row.device for row in rows}) > 1
    return [_cells(row, several) for row in rows]


def _cells(row: summary.Row, several: bool) -> tuple[str, ...]:
    counts = [f"{count} {told.value}" for told, count in row.counts if told not in _NONE]
    return (
        "x" if row.failed else "",
        summary.clean(f"{row.kernel} @{row.device}" if several else row.kernel, 48),
        summary.clean(summary.short_formats(row.formats), 24),
        ", ".join(([f"{row.known} known"] if row.known else []) + counts),
        str(sum(count for told, count in row.counts if told in _NONE) or ""),
        _figure(row.utilisation, ".3g"),
        _figure(row.max_ulp, ".3g"),
        _figure(row.bias, "+.2f"),
        ", ".join(f"{count} {state}" if len(row.golden) > 1 else state for state, count in row.golden),
        summary.clean(row.worst, 24),
    )


def block(record: Record, count: int = 1) -> list[str]:
    """One failure: head, the reason's first lines, and the command that reproduces it."""
    more = f" and {count - 1} more like it" if count > 1 else ""
    head = f"{outcome(record)} {record.kernel} [{summary.short_formats(record.formats)}] on {record.device}"
    text = textwrap.wrap(summary.clean(f"{head}: {record.check}, {record.case}{more}", 360), WIDTH)
    reason = [part for line in record.reason.splitlines() for part in _wrapped(line)]
    text += reason[:REASON_LINES] + (["    …"] if len(reason) > REASON_LINES else [])
    return [*text, f"    reproduce: {summary.clean(record.reproduce, 1000)}"] if record.reproduce else text


def outcome(record: Record) -> str:
    """What is wrong with a failing record, in capitals."""
    return (record.outcome.value if record.outcome.failed else "finding no longer happens").upper()


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(summary.clean(line, 600), WIDTH, initial_indent="    ", subsequent_indent="    ")


def _speeds(records: Sequence[Record]) -> list[str]:
    rows = speeds.table(records)
    if not rows:
        return []
    said = [line for note in speeds.notes(records)[:UNJUDGED] for line in _wrapped(note)]
    return ["", *rows, *textwrap.wrap(speeds.LEGEND, WIDTH), *said]


def _figure(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def _failures(records: Sequence[Record]) -> list[str]:
    groups = summary.failures(records)
    text = [line for group in groups[:FAILURES] for line in ["", *block(group.shown, group.count)]]
    if len(groups) > FAILURES:
        text += ["", f"… and {len(groups) - FAILURES} more failing checks; every one is in run.jsonl"]
    return text


def _known(records: Sequence[Record]) -> list[str]:
    found = summary.known_lines(records)
    text = ["", "known findings (FINDINGS.md; they fail the run if they change):"] if found else []
    for line in found[:KNOWN]:
        text += textwrap.wrap(summary.clean(line, 300), WIDTH, initial_indent="  ", subsequent_indent="    ")
    return text + ([f"  … and {len(found) - KNOWN} more"] if len(found) > KNOWN else [])


def _unjudged(records: Sequence[Record]) -> list[str]:
    found = summary.unjudged(records)
    text = ["", "not judged (none of this is a pass):"] if found else []
    for what, reason, count, kernels in found[:UNJUDGED]:
        where = f"{count} in {kernels} kernel{'' if kernels == 1 else 's'}"
        text += textwrap.wrap(f"{what.value}, {where}: {reason}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    rest = sum(count for _, _, count, _ in found[UNJUDGED:])
    return text + ([f"  … and {rest} more for {len(found) - UNJUDGED} other reasons"] if rest else [])


def _golden(records: Sequence[Record]) -> list[str]:
    states = Counter(record.golden.partition(":")[0] for record in records if record.golden)
    if not states:
        return []
    counts = ", ".join(f"{states[state]} {state}" for state in summary.GOLDEN_STATES if states[state])
    text = ["", f"golden: {counts}"]
    moved = [r for r in records if r.golden.startswith("drifted") and r.outcome is not Outcome.REGRESSED]
    for record in moved[:KNOWN]:
        line = (
            f"{record.kernel} [{summary.short_formats(record.formats)}] {record.check}, {record.case}: {record.golden}"
        )
        text += textwrap.wrap(summary.clean(line, 360), WIDTH, initial_indent="  ", subsequent_indent="    ")
    return text + ([f"  … and {len(moved) - KNOWN} more drifted"] if len(moved) > KNOWN else [])
