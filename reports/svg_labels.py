"""The texts of a plot: labels, names of points that do not lie on each other, the legend with dashes and markers."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Scale, position
from lastbit.reports.svg_plot import Series

#: Width of a plot; a page shows it at about this size, down to a phone's 390 pixels.
WIDTH = 440
#: Pixels a character of a label takes, at 11 pixels a line, on average; and between the lines of a legend.
CHARACTER, LINE = 6.4, 15
#: Characters kept of a label.
LONGEST_LABEL = 34
#: Pixels of the characters of a name in a wide font (DejaVu Sans), by what is wide or narrow in most fonts.
_WIDE, _NARROW, _OTHER = (frozenset("mwMW@%→"), 11.0), (frozenset("fijlrtI .,:;|'()[]-/"), 4.6), 7.1
#: Markers by style, as paths about a point; the first two are the round and the square end of a line without length.
MARKERS = (
    "h0",
    "h0",
    "m0-4l4 7h-8z",
    "m0-4l4 4-4 4-4-4z",
    "m0 4l4-7h-8z",
    "m-4 0h8m-4-4v8",
    "m-3-3l6 6m0-6l-6 6",
    "m-1.5-4h3v8h-3z",
)


def width(label: str) -> float:
    """Pixels that a name takes at most, nearly."""
    return sum(next((size for chars, size in (_WIDE, _NARROW) if char in chars), _OTHER) for char in label)


def fitted(label: str, room: float) -> str:
    """The name, cut to what `room` pixels hold."""
    cuts = (clean(label, most) for most in range(LONGEST_LABEL, 1, -1))
    return next((cut for cut in cuts if width(cut) <= room), clean(label, 1))


def text(x: float, y: float, said: str, kind: str = "") -> Markup:
    """A line of text whose baseline is at y; `kind` are classes of svg.STYLE."""
    at = Markup('x="{}" y="{}"').format(whole(x), whole(y))
    classes = Markup('class="{}" ').format(kind) if kind else Markup("")
    return Markup("<text {}{}>{}</text>").format(classes, at, clean(said, 60))


def coordinate(value: float) -> str:
    """A coordinate to a tenth of a pixel, as short as can be."""
    return f"{round(value, 1) + 0.0:g}"


def whole(value: float) -> int:
    """A coordinate of what is placed to the pixel: texts, ticks and markers."""
    return round(value)


def names(series: Iterable[Series], x: Scale, y: Scale) -> Markup:
    """The names of points, each beside its own, and as far down or up as leaves it free of others and of points."""
    places = [(position(x, a), position(y, b), name) for one in series for (a, b), name in _named(one)]
    taken = [(down + 4, across - 4, 8.0) for across, down, _ in places]
    drawn = []
    for across, down, name in places:
        if name:
            label = clean(name, LONGEST_LABEL)
            wide = len(label) * CHARACTER
            left = across + 7 if across + 7 + wide <= x.end else max(across - 7 - wide, 0.0)
            height = _free(taken, left, wide, down - 5, y)
            taken.append((height, left, wide))
            drawn.append(text(left, height, label, "h"))
    return Markup("").join(drawn)


def _named(series: Series) -> Iterable[tuple[tuple[float, float], str]]:
    """The points that no label may cover, with their names, "" for none: those with names, and those without a line."""
    if not series.names and series.kind != "points":
        return ()
    return zip(series.points, series.names or ("",) * len(series.points), strict=False)


def _free(taken: Sequence[tuple[float, float, float]], left: float, wide: float, wanted: float, y: Scale) -> float:
    """The height nearest to `wanted` at which a text lies on no other; `wanted` where none is free."""
    highest, lowest = min(y.begin, y.end) + 8, max(y.begin, y.end)
    beside = [down for down, start, room in taken if start <= left + wide and left <= start + room]
    for step in range(2 * len(taken) + 1):
        down = wanted + (step + 1) // 2 * 12 * (-1 if step % 2 else 1)
        if highest <= down <= lowest and all(abs(down - other) >= 11 for other in beside):
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
        sample = f"M{whole(left + 12)} {whole(middle)}{MARKERS[one.style]}" if one.marked else ""
        line = f"M{whole(left)} {whole(middle)}h24" if one.kind != "points" else ""
        thin = " thin" if one.thin else ""
        drawn.append(Markup('<path class="l s{}{}" d="{}"/>').format(one.style, thin, line) if line else Markup(""))
        drawn.append(Markup('<path class="k{0} s{0}" d="{1}"/>').format(one.style, sample) if sample else Markup(""))
        drawn.append(text(left + 30, middle + 4, label))
    return Markup("").join(drawn), int(top + 6 + -(-len(named) // columns) * LINE)
