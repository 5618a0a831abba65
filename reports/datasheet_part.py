"""A device's datasheet, as `lastbit datasheet --json` wrote it, as part of a page."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lastbit.errors import ReportError
from lastbit.reports.page_parts import table
from lastbit.reports.summary import clean, short_formats

REMEDY = "write it with: lastbit datasheet --json FILE"
#: Rows of a table of facts.
MOST = 500


def html(datasheet: Any) -> Markup:
    """A table of what was measured of each kernel; a plain list of rows is one table.

    Raises ReportError where `datasheet` is neither.
    """
    if isinstance(datasheet, list) and all(isinstance(row, Mapping) for row in datasheet):
        return _rows(datasheet)
    try:
        return Markup("").join(_sheet(sheet) for sheet in datasheet["sheets"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ReportError(f"the datasheet lacks or mistakes {error}; {REMEDY}") from error


def _rows(rows: Sequence[Mapping[str, Any]]) -> Markup:
    heads = list(dict.fromkeys(str(name) for row in rows for name in row))
    cells = [[_text(row.get(name)) for name in heads] for row in rows]
    return table("Measured facts of the device", [clean(head, 60) for head in heads], cells, MOST)


def _sheet(sheet: Mapping[str, Any]) -> Markup:
    formats = short_formats(" ".join(f"{name}:{fmt}" for name, fmt in sheet["formats"].items()))
    title = clean(f"{sheet['kernel']} [{formats}] on {sheet['device']}, {sheet['shape']}", 200)
    answers = [
        (one["property"].replace("_", " "), _answer(one), one["probe"], one["evidence"]) for one in sheet["answers"]
    ]
    facts = table(f"What {title} does", ("property", "measured", "probe", "evidence"), answers, MOST)
    fold = Markup('<details class="kernel"><summary><h3>{} <span class="dim">{}</span></h3></summary>{}</details>')
    return fold.format(title, _confirmed(sheet), facts)


def _answer(one: Mapping[str, Any]) -> str:
    return f"not known: {one['indeterminate']}" if one["value"] is None else _text(one["value"])


def _confirmed(sheet: Mapping[str, Any]) -> str:
    """Whether the model that was made of the answers gives the bits of the device."""
    if "confirmed" not in sheet:
        return ""
    word = "confirmed" if sheet["confirmed"] else "not confirmed"
    return clean(f"model {word}: {sheet['sums_differing']} of {sheet['sums_compared']} sums differ", 200)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
