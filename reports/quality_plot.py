"""The plot of what quantized formats lose: signal to noise of each scaling, a mark for each family of tensors."""

from collections.abc import Sequence
from pathlib import Path

from lastbit.errors import UsageError
from lastbit.references.quality import Quality
from lastbit.reports.svg import document
from lastbit.reports.svg_axes import Axis
from lastbit.reports.svg_plot import Plot, Series

#: Pixels of a row.
ROW = 15


def plot(rows: Sequence[Quality], path: Path) -> None:
    """Draw `rows` (references.quality.compare) to `path`, an SVG.

    Raises UsageError where `path` has another suffix or cannot be written.
    """
    if path.suffix != ".svg":
        raise UsageError(f"a plot cannot be written to {path}: it is an SVG; give a file that ends in .svg")
    try:
        path.write_text(document(drawn(rows)), encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"a plot cannot be written to {path}: {why}; give another file") from error


def drawn(rows: Sequence[Quality]) -> Plot:
    """A row a scaling, cheapest first, with its bits a number; what loses nothing has no mark, for it has no noise."""
    names = {row.scaling: f"{row.scaling} ({row.bits:.3g})" for row in sorted(rows, key=lambda row: row.bits)}
    places = {scaling: float(place) for place, scaling in enumerate(names)}
    families = list(dict.fromkeys(row.family for row in rows))
    series = tuple(
        Series(
            family.replace("_", " "),
            tuple((row.sqnr_db, places[row.scaling]) for row in rows if row.family == family),
            "points",
            style,
        )
        for style, family in enumerate(families)
    )
    title = "Signal to quantization noise in dB, by scaling (bits a number) and family of tensors"
    return Plot(
        title, "", Axis("SQNR, dB"), Axis("", "rows", names=tuple(names.values())), series, height=ROW * len(names)
    )
