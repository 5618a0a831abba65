"""The section a report has of each kernel: promise, budgets, errors drawn, laws, drift and speed."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TypeVar
from zlib import crc32

from markupsafe import Markup

from lastbit.reports import plot_distribution, plot_frontier, plot_quality, plot_speed, plot_terms, plot_utilisation
from lastbit.reports.figure import Figure
from lastbit.reports.html import rendered
from lastbit.reports.kernel_tables import Table, largest, tables
from lastbit.reports.lanes import lanes
from lastbit.reports.run import Run
from lastbit.reports.summary import bounded, clean
from lastbit.verdict import Record

Shown = TypeVar("Shown", Figure, Table)


@dataclass(frozen=True, slots=True)
class KernelSection:
    """What a page shows of one kernel, or of one op, under a heading of its own."""

    #: The id of the section's element; `anchor` makes it of the name.
    anchor: str
    #: The name, cleaned but not escaped.
    title: str
    op: str
    #: Safe HTML; empty where it is left out.
    body: Markup
    #: What a heading may say beside the name: (name, value), plain text.
    facts: tuple[tuple[str, str], ...] = ()


def anchor(kernel: str, kind: str = "kernel") -> str:
    """The id of the kernel's section: letters, digits and hyphens, different for different names."""
    slug = re.sub(r"[^a-z0-9]+", "-", kernel.lower()).strip("-")[:40]
    return f"{kind}-{slug}-{crc32(kernel.encode(errors='surrogatepass')):08x}"


def sections(run: Run, largest: float = inf) -> list[KernelSection]:
    """A section of each kernel that the run has records of, by op and name; a kernel of several ops is one section.

    Those of kernels that fail are made first; from the one on with which they have more than `largest` characters, the
    bodies are empty.
    """
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        grouped[record.kernel].append(record)
    ordered = sorted(grouped, key=lambda kernel: (grouped[kernel][0].op, kernel))
    made: dict[str, KernelSection] = {}
    for kernel in sorted(ordered, key=lambda kernel: not any(record.failed for record in grouped[kernel])):
        body = _body(figures(grouped[kernel]), tables(grouped[kernel])) if largest >= 0 else Markup("")
        largest -= len(body)
        made[kernel] = _section(kernel, grouped[kernel], body if largest >= 0 else Markup(""))
    return [made[kernel] for kernel in ordered]


def frontiers(run: Run) -> list[KernelSection]:
    """A section of each op of which kernels have both an error and a time."""
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        grouped[record.op].append(record)
    made = []
    for op, members in sorted(grouped.items()):
        if figures := plot_frontier.figures(members):
            body = _body(figures, ())
            made.append(KernelSection(anchor(op, "frontier"), f"Frontier of {clean(op, 40)}", clean(op, 40), body))
    return made


def guide() -> Markup:
    """How the plots are to be read: once a page, for all kernels."""
    plots = (plot_distribution, plot_terms, plot_utilisation, plot_quality, plot_speed, plot_frontier)
    return rendered("kernel_guide.html", readings=[text for plot in plots for text in plot.READING])


def _section(kernel: str, members: Sequence[Record], body: Markup) -> KernelSection:
    ops = ", ".join(dict.fromkeys(record.op for record in members))
    return KernelSection(anchor(kernel), clean(kernel, 80), clean(ops, 40), body, _facts(members))


def figures(members: Sequence[Record]) -> list[Figure]:
    """The plots of one kernel's records; one sentence where nothing of it was judged."""
    judged = [record for record in members if record.outcome.judged and record.timing is None]
    if not judged:
        return [Figure("Nothing was judged", "There are no errors to draw: every check ended without a verdict.")]
    found = lanes(members)
    if not found and any(record.outcome.failed for record in judged):
        why = "No error was measured: what was judged failed otherwise, or has one right result."
        return [Figure("Nothing was measured", why)]
    other = [*plot_quality.figures(members), *plot_speed.figures(members)]
    if any(bounded(record) for lane in found for record in lane.records):
        return [*plot_distribution.figures(found), plot_terms.figure(found), plot_utilisation.figure(found), *other]
    errors = plot_distribution.figures(found) if any(_inexact(record) for record in judged) else []
    return [
        *errors,
        Figure("Allowed error", "Every check has one right result: there is no allowed error to draw."),
        *other,
    ]


def _inexact(record: Record) -> bool:
    """Whether an error of more than 1/64 ulp was counted."""
    return any(bin for bin, _ in record.histogram)


def _facts(members: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    judged = sum(record.outcome.judged for record in members)
    failed = sum(record.outcome.failed for record in members)
    known = sorted({clean(record.known, 20) for record in members if record.known and record.outcome.failed})
    so = f" (known: {', '.join(known)})" if known else ""
    share, ulp = largest(members)
    facts = (
        ("checks", f"{judged} judged, {failed} failed{so}, {len(members) - judged} without a verdict"),
        ("largest error / allowed", share),
        ("largest error", f"{ulp} ulp" if ulp else ""),
    )
    return tuple((name, value) for name, value in facts if value)


def _body(drawn: Iterable[Figure], told: Iterable[Table]) -> Markup:
    return rendered("kernel.html", figures=[_clean(one) for one in drawn], tables=[_clean(one) for one in told])


def _clean(one: Shown) -> Shown:
    """The same with every text on one line, and without invisible characters."""
    rows = tuple(tuple(clean(cell, 800) for cell in row) for row in one.rows)
    return replace(one, head=tuple(clean(name, 80) for name in one.head), rows=rows, text=clean(one.text, 1500))
