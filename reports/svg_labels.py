"""The texts of a plot: labels, names of points that do not lie on each other, the legend with dashes and markers."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Scale, position
from lastbit.reports.svg_plot import Series

#: Width of a plot; a page shows it at about this size, down to a phone's 390 pixels.
WIDTH = 440
#: Pixels a character of a label takes, at 11 pixels a line, on average; and between the lines of a legend.
CHARACTER, LINE = 6.0, 15
#: Characters kept of a label.
LONGEST_LABEL = 34
#: Markers by style, as paths about a point.
MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "m-3-3h6v6h-6z",
    "m0-4l4 7h-8z",
    "m0-4l4 4-4 4-4-4z",
    "m0 4l4-7h-8z",
    "m-4 0h8m-4-4v8",
    "m-3-3l6 6m0-6l-6 6",
    "m-1.5-4h3v8h-3z",
)


def text(x: float, y: float, said: str, kind: str = "") -> Markup:
    """A line of text whose baseline is at y; `kind` are classes of svg.STYLE."""
    at = Markup('x="{}" y="{}"').format(coordinate(x), coordinate(y))
    classes = Markup('class="{}" ').format(kind) if kind else Markup("")
    return Markup("<text {}{}>{}</text>").format(classes, at, clean(said, 60))


def coordinate(value: float) -> str:
    """A coordinate to a tenth of a pixel, as short as can be."""
    return f"{round(value, 1) + 0.0:g}" if abs(value) < 1e5 else f"{value:.0f}"


def names(series: Iterable[Series], x: Scale, y: Scale) -> Markup:
    """The names of points, each beside its own, and as far down or up as leaves it free of the others."""
    taken: list[tuple[float, float, float]] = []
    drawn = []
    for one in series:
        for (a, b), name in zip(one.points, one.names, strict=False):
            if name:
                label = clean(name, LONGEST_LABEL)
                wide = len(label) * CHARACTER
                left = position(x, a) + 7
                left = left if left + wide <= x.end else max(left - 14 - wide, 0.0)
                down = _free(taken, left, wide, position(y, b) + 4, y)
                taken.append((left, down, wide))
                drawn.append(text(left, down, label, "h"))
    return Markup("").join(drawn)


def _free(taken: Sequence[tuple[float, float, float]], left: float, wide: float, wanted: float, y: Scale) -> float:
    """The height nearest to `wanted` at which a text lies on no other; `wanted` where none is free."""
    highest, lowest = min(y.begin, y.end) + 8, max(y.begin, y.end)
    for step in range(2 * len(taken) + 1):
        down = wanted + (step + 1) // 2 * 12 * (-1) ** step
        if all(
            abs(down - other) >= 11 or left + wide < start or start + room < left for start, other, room in taken
        ) and (highest <= down <= lowest):
            return down
    return min(max(wanted, highest), lowest)


def legend(series: Sequence[Series], top: float) -> tuple[Markup, int]:
    """The names under the plot, in as many columns as fit, and where the picture ends."""
    named = [one for one in series if one.label and one.kind != "ridge"]
    if not named:
        return Markup(""), int(top)
    labels = [clean(one.label, LONGEST_LABEL) for one in named]
    wide = max(map(len, labels)) * CHARACTER + 40
    columns = max(int((WIDTH - 16) // wide), 1)
    drawn = []
    for index, (one, label) in enumerate(zip(named, labels, strict=True)):
        left, middle = 8 + index % columns * wide, top + 6 + index // columns * LINE
        sample = f"M{coordinate(left + 12)} {coordinate(middle)}{MARKERS[one.style]}" if one.marked else ""
        line = f"M{coordinate(left)} {coordinate(middle)}h24" if one.kind != "points" else ""
        thin = " thin" if one.thin else ""
        drawn.append(Markup('<path class="l s{}{}" d="{}"/>').format(one.style, thin, line) if line else Markup(""))
        drawn.append(Markup('<path class="s{}" d="{}"/>').format(one.style, sample) if sample else Markup(""))
        drawn.append(text(left + 30, middle + 4, label))
    return Markup("").join(drawn), int(top + 6 + -(-len(named) // columns) * LINE)
