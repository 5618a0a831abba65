"""What the parts of a report's page are made of: text made harmless, tables, and the sign of each way of standing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from markupsafe import Markup

from lastbit.reports import svg_axes
from lastbit.reports.html import rendered
from lastbit.reports.summary import clean
from lastbit.verdict import Outcome

#: How a check or kernel stands: the class of its colours and the sign that says the same without them.
FAILS, KNOWN, ODD, PASSES, NOTHING = ("f", "✗"), ("k", "!"), ("v", "?"), ("p", "✓"), ("n", "–")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page, under a heading of its own."""

    anchor: str
    title: str
    body: Markup


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose cells are text; the first of each row heads it."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    #: What was left out, as a sentence.
    left: str = ""

    @property
    def html(self) -> Markup:
        """The table in a region of its own that scrolls."""
        return rendered("one_table.html", one=self)


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]], most: int = 200) -> Markup:
    """At most `most` rows as a table, every text cleaned; the rest is counted below it."""
    every = list(rows)
    shown = [[_cell(cell) for cell in row] for row in every[:most]]
    left = f"{len(every) - most} more rows are not shown; run.jsonl has every record" if len(every) > most else ""
    return Table(title, heads, shown, left).html


def _cell(value: Any) -> Any:
    return value if isinstance(value, Markup | int) else clean(str(value), 600)


def standing(outcome: Outcome) -> tuple[str, str]:
    """Class and sign of an outcome that is no known finding."""
    if outcome.failed:
        return FAILS
    if outcome in (Outcome.VACUOUS, Outcome.INCONCLUSIVE):
        return ODD
    return PASSES if outcome is Outcome.PASS else NOTHING


def word(outcome: Outcome) -> str:
    """The outcome as people write it."""
    return outcome.value.replace("_", " ")


def number(value: float | None) -> str:
    """Three digits of the number as text; nothing where there is none."""
    if value is None:
        return ""
    rounded = float(f"{value:.3g}")
    # The largest number of float64, to three digits, is infinite.
    return svg_axes.number(rounded) if isfinite(rounded) else f"{value:.2g}".replace("e+", "e")
