"""What a quantizer's format loses of each distribution of data: no verdict, and no fault of the kernel."""

import re
from collections.abc import Iterable, Sequence

from lastbit.reports.figure import Figure
from lastbit.reports.lanes import MOST, arrow
from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Axis, number
from lastbit.reports.svg_plot import Plot, Series
from lastbit.verdict import Record

#: Pixels of a row.
ROW = 20
TITLE = "What the format loses"
#: How to read the plot.
READING = (
    f"{TITLE}. Signal to quantization noise of the right result in dB, the worst case of each kind of data; more is "
    "better, 6 dB are a bit. This is the format's doing, not the kernel's.",
)
_DECIBELS = re.compile(r"(-?\d+(?:\.\d+)?) dB$")


def figures(records: Sequence[Record]) -> list[Figure]:
    """Signal to quantization noise by data, of the checks that note it; none where no check does."""
    found = noise(records)
    if not found:
        return []
    recipes = sorted({recipe for one in found.values() for recipe in one})
    shown = dict(list(found.items())[:MOST])
    text = "No verdict depends on it."
    if len(found) > MOST:
        text += f" Not drawn: {len(found) - MOST} more formats."
    series = tuple(
        Series(
            label,
            tuple((one[recipe], float(row)) for row, recipe in enumerate(recipes) if recipe in one),
            "points",
            style,
        )
        for style, (label, one) in enumerate(shown.items())
    )
    names = tuple(clean(recipe, 24) for recipe in recipes)
    plot = Plot(
        TITLE, "", Axis("SQNR, dB"), Axis("", "rows", names=names), series, height=max(ROW * len(recipes), 3 * ROW)
    )
    rows = tuple(
        (clean(recipe, 60), *(number(one[recipe]) if recipe in one else "" for one in shown.values()))
        for recipe in recipes
    )
    return [Figure(TITLE, text, plot, ("data", *shown), rows)]


def noise(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The smallest SQNR in dB by formats and recipe, as the notes "format error" of the records say it."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        match = _DECIBELS.search(record.notes.get("format error", ""))
        if match is not None:
            label = clean(" ".join(filter(None, (record.notes.get("scaling", ""), arrow(record.formats)))), 60)
            recipe = record.case.partition("/")[0]
            one = found.setdefault(label, {})
            one[recipe] = min(one.get(recipe, float(match[1])), float(match[1]))
    return found
