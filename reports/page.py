"""index.html of a run: one file that reads without a script, and fetches nothing."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from lastbit.reports import page_failures, page_head, page_matrix, speeds, standing, summary, svg
from lastbit.reports.html import rendered
from lastbit.reports.kernel_section import KernelSection, frontiers, guide, sections
from lastbit.reports.page_parts import Part, table
from lastbit.reports.run_data import Run
from lastbit.reports.summary import clean

NAME = "index.html"
#: Characters of the kernels' sections; a browser opens what is below at once.
LARGEST = 2_000_000


@dataclass(frozen=True, slots=True)
class Beside:
    """What a page shows beside the run."""

    #: Where the records lie, from the page; "" where they do not lie beside it.
    records: str = ""
    #: What `lastbit zoo --json` wrote.
    zoo: Mapping[str, Any] | None = None
    #: What `lastbit datasheet --json` wrote.
    datasheet: Any = None
    #: An earlier run and its name.
    before: tuple[str, Run] | None = None


def text(run: Run, beside: Beside | None = None) -> str:
    """The whole page. Text of kernels is text in it, whatever it holds, and no element or attribute comes of it."""
    beside = beside or Beside()
    return framed(
        "page.html",
        "lastbit: " + page_head.verdicts(run)[0].text.partition(":")[0].lower(),
        script=_file("page.js"),
        data=_data(run),
        verdicts=page_head.verdicts(run),
        counts=page_head.counts(run),
        facts=page_head.facts(run, beside.records),
        notes=[clean(note, 1000) for note in (*run.gone, *run.notes)],
        parts=_parts(run, beside),
    )


def framed(template: str, title: str, *, script: str = "", data: Markup | str = "", **values: Any) -> str:
    """A whole document of a template that extends base.html, with the style of every page of lastbit."""
    style = Markup(_file("page.css") + svg.STYLE)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return rendered(
        template,
        title=title,
        style=style,
        script=Markup(script),
        script_hash=f"sha256-{digest}" if script else "",
        data=data,
        **values,
    )


def _parts(run: Run, beside: Beside) -> list[Part]:
    records, said = run.records, run.explained
    groups = summary.failures(records)
    numbers = speeds.numbers(records)
    known = any(record.known and record.outcome.failed for record in records)
    made: list[tuple[str, str, Callable[[], Markup] | None]] = [
        ("untested", "Not tested", lambda: page_head.untested(run)),
        (
            "failures",
            f"Failures ({len(groups)})" if groups else "Failures",
            lambda: page_failures.failures(groups, said.meanings, known, standing.strictly(run)),
        ),
        ("matrix", "Kernels by formats and device", (lambda: page_matrix.matrix(numbers)) if numbers else None),
        ("before", "Compared with an earlier run", (lambda: _before(run, beside)) if beside.before else None),
        (
            "known",
            "Known findings",
            (lambda: page_failures.known_table(records, said.findings)) if known else None,
        ),
        ("gone", "Findings that no longer happen", (lambda: _sentences(run.gone)) if run.gone else None),
        ("waivers", "Budgets widened for a while", (lambda: _sentences(said.waivers)) if said.waivers else None),
        ("speed", "Speed", (lambda: _speed(run)) if speeds.speeds(records) else None),
        ("frontiers", "Error against time", (lambda: _sections(drawn)) if (drawn := frontiers(run)) else None),
        ("kernels", "Kernels", (lambda: _kernels(sections(run, LARGEST))) if records else None),
        ("zoo", "The zoo: what the law catches", (lambda: _zoo(beside)) if beside.zoo else None),
        ("datasheet", "Datasheet of the device", (lambda: _datasheet(beside)) if beside.datasheet else None),
        ("environment", "Environment", lambda: page_head.environment(run)),
    ]
    return [Part(name, title, body()) for name, title, body in made if body is not None]


def _sections(found: Sequence[KernelSection]) -> Markup:
    return rendered("kernels.html", sections=[replace(one, op=clean(one.op, 60)) for one in found])


def _kernels(found: Sequence[KernelSection]) -> Markup:
    """The guide, the sections that have a body, and the names of the others, to which links lead too."""
    shown = [one for one in found if one.body]
    left = [one for one in found if not one.body]
    made = guide() + _sections(shown)
    if not left:
        return made
    told = Markup("<p>Left out: this page would be too large with more than {} of its {} kernels. {}</p>").format(
        len(shown), len(found), "Every record is in run.jsonl; a run of some, by --lastbit-only, shows them whole:"
    )
    names = Markup("\n").join(Markup('<li id="{}">{}</li>').format(one.anchor, one.title) for one in left)
    return made + told + Markup('<ul class="left">{}</ul>').format(names)


def _sentences(texts: Sequence[str]) -> Markup:
    items = Markup("").join(Markup("<li>{}</li>").format(clean(text, 1000)) for text in texts)
    return Markup("<ul>{}</ul>").format(items)


def _speed(run: Run) -> Markup:
    rows = [(*row[1:], row[0] and "fails") for row in speeds.cells(run.records)]
    heads = (*speeds.HEADS[1:], "verdict")
    made = table("Time of a call beside another's", heads, rows)
    return made + Markup("<p>{}</p>").format(speeds.LEGEND) + _sentences(speeds.notes(run.records)[:100])


def _before(run: Run, beside: Beside) -> Markup:
    from lastbit.reports import compare_part, compare_runs, compare_story

    assert beside.before is not None
    name, before = beside.before
    sides = (compare_story.side(name, before), compare_story.side("this run", run))
    return compare_part.html(compare_runs.compare(before, run), sides)


def _zoo(beside: Beside) -> Markup:
    from lastbit.reports.zoo_page import body

    return body(beside.zoo or {}, level=3)


def _datasheet(beside: Beside) -> Markup:
    from lastbit.reports.datasheet_part import html

    return html(beside.datasheet)


def _data(run: Run) -> Markup:
    """The summary for programs: nothing in it can end the element that holds it."""
    numbers = speeds.numbers(run.records)
    rows = [
        [row.kernel, row.formats, row.device, page_matrix.stands(row)[2], _short(row.utilisation), _short(row.max_ulp)]
        for row in summary.rows(numbers)
    ]
    data = {
        "verdict": page_head.verdicts(run)[0].text,
        "complete": run.complete,
        "exitstatus": run.footer.exitstatus if run.footer else None,
        "tier": run.header.tier,
        "seed": run.header.seed,
        "started": run.header.started,
        "devices": run.header.environment.devices,
        "packages": run.header.environment.packages,
        "commit": run.header.environment.commit,
        "sha256": run.sha256,
        "counts": {count.word: count.number for count in page_head.counts(run)},
        "columns": ["kernel", "formats", "device", "outcome", "error / allowed", "largest ulp"],
        "cells": rows,
    }
    text = json.dumps(data, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


@cache
def _file(name: str) -> str:
    return resources.files("lastbit.reports").joinpath("templates", name).read_text(encoding="utf-8")
