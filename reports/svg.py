"""Plots as inline SVG, a few kilobytes each: lines, steps, points and ridges on linear, logarithmic or named axes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from markupsafe import Markup, escape

from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Axis, Scale, fit, position, ticks

#: Width of a plot; a page shows it at about this size, down to a phone's 390 pixels.
WIDTH = 440
#: Pixels a character of a label, at 11 pixels a line, on average; and between the lines of a legend.
CHARACTER = 6.0
LINE = 15
TOP, BOTTOM, RIGHT = 12, 36, 12
#: Characters kept of a label.
LONGEST_LABEL = 34
#: Lines that differ: dash and marker repeat after as many.
STYLES = 8
#: Points of a line that have their marker drawn.
MARKED = 8

#: What the page's style has to say of plots; colours are those that people with any colour vision tell apart
#: (Okabe and Ito 2008), darkened or lightened until they contrast with the page by 3 at least.
STYLE = """
.plot { --s0:#0060a0; --s1:#b34700; --s2:#007a58; --s3:#a3478b; --s4:#1a1a1a; --s5:#8a6100; --s6:#2f7fb0; --s7:#7a3b00;
  display:block; width:100%; max-width:560px; height:auto; font:11px system-ui,sans-serif; }
.plot text { fill:currentColor; } .plot .g { stroke:currentColor; stroke-opacity:.16; fill:none; }
.plot .a, .plot .r { stroke:currentColor; fill:none; } .plot .r { stroke-dasharray:2 3; }
.plot .e { text-anchor:end; } .plot .m { text-anchor:middle; } .plot .l { fill:none; stroke-width:1.6; }
.plot .b { stroke-width:0; }
.s0 { stroke:var(--s0); fill:var(--s0); } .s1 { stroke:var(--s1); fill:var(--s1); }
.s2 { stroke:var(--s2); fill:var(--s2); } .s3 { stroke:var(--s3); fill:var(--s3); }
.s4 { stroke:var(--s4); fill:var(--s4); } .s5 { stroke:var(--s5); fill:var(--s5); }
.s6 { stroke:var(--s6); fill:var(--s6); } .s7 { stroke:var(--s7); fill:var(--s7); }
.l.s1 { stroke-dasharray:7 3; } .l.s2 { stroke-dasharray:2 2; } .l.s3 { stroke-dasharray:8 3 2 3; }
.l.s4 { stroke-dasharray:12 3; } .l.s5 { stroke-dasharray:4 2; } .l.s6 { stroke-dasharray:8 2 2 2 2 2; }
.l.s7 { stroke-dasharray:1 3; } .l.thin { stroke-width:1; stroke-opacity:.75; }
@media (prefers-color-scheme: dark) { .plot { --s0:#6cb8f0; --s1:#ff9a5c; --s2:#4fd0a5; --s3:#eba0d4; --s4:#f0f0f0;
  --s5:#e8b93c; --s6:#9fd3f5; --s7:#d9a06b; } }
@media print { .plot { --s0:#0060a0; --s1:#b34700; --s2:#007a58; --s3:#a3478b; --s4:#1a1a1a; --s5:#8a6100;
  --s6:#2f7fb0; --s7:#7a3b00; } }
"""

_MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "m-3-3h6v6h-6z",
    "m0-4l4 7h-8z",
    "m0-4l4 4-4 4-4-4z",
    "m0 4l4-7h-8z",
    "m-4 0h8m-4-4v8",
    "m-3-3l6 6m0-6l-6 6",
    "m-1.5-4h3v8h-3z",
)


@dataclass(frozen=True, slots=True)
class Series:
    """Data of one name; points that are not finite are left out."""

    #: Its name in the legend; "" for none.
    label: str
    points: tuple[tuple[float, float], ...]
    #: "line", "step" (the value holds from its point on), "points", or "ridge" (bars on row y, see `heights`).
    kind: str = "line"
    #: Which of STYLES dashes, markers and colours.
    style: int = 0
    #: Whether points have markers.
    marked: bool = True
    #: Whether the line is a fine one, for what belongs to another series.
    thin: bool = False
    #: Of "ridge": the width of each bar's end, in the measure of x, and its height as a share of the row.
    bars: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that the data are to be seen against."""

    value: float
    label: str
    #: The axis that it is a value of.
    axis: str = "x"


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: what it shows in words, axes, data."""

    title: str
    #: What a reader who does not see it is told.
    description: str
    x: Axis
    y: Axis
    series: tuple[Series, ...] = ()
    references: tuple[Reference, ...] = ()
    #: Pixels of the data's area, downwards.
    height: int = 200


def render(plot: Plot) -> Markup:
    """`plot` as an SVG element whose texts are escaped; every coordinate lies inside its viewBox."""
    series = [_finite(one) for one in plot.series]
    references = [one for one in plot.references if isfinite(one.value)]
    left = _left(plot.y)
    x = fit(plot.x, _values(series, references, "x"), left, WIDTH - RIGHT)
    y = _vertical(plot.y, _values(series, references, "y"), TOP, TOP + plot.height)
    legend, below = _legend(series, TOP + plot.height + BOTTOM)
    parts = [
        _grid(x, y, plot),
        *(_reference(one, x, y) for one in references),
        *(_series(one, x, y) for one in series),
        legend,
    ]
    return Markup(
        '<svg class="plot" role="img" viewBox="0 0 {width} {height}">'
        "<title>{title}</title><desc>{text}</desc>{body}</svg>"
    ).format(
        width=WIDTH,
        height=below,
        title=clean(plot.title, 200),
        text=clean(plot.description, 1000),
        body=Markup("").join(parts),
    )


def _finite(series: Series) -> Series:
    kept = [all(map(isfinite, point)) for point in series.points]
    points = tuple(point for point, keep in zip(series.points, kept, strict=True) if keep)
    bars = tuple(bar for bar, keep in zip(series.bars, kept, strict=True) if keep) if series.bars else ()
    return Series(series.label, points, series.kind, series.style % STYLES, series.marked, series.thin, bars)


def _values(series: Iterable[Series], references: Iterable[Reference], axis: str) -> list[float]:
    index = "xy".index(axis)
    ends = [end for one in series for end, _ in one.bars if axis == "x"]
    data = [point[index] for one in series for point in one.points]
    return [*data, *ends, *(one.value for one in references if one.axis == axis)]


def _left(axis: Axis) -> float:
    """Pixels left of the data: the names of rows, or numbers and the axis's label."""
    longest = max((len(clean(name, LONGEST_LABEL)) for name in axis.names), default=0)
    return min(longest * CHARACTER + 10, WIDTH * 0.45) if axis.kind == "rows" else 56.0


def _vertical(axis: Axis, values: list[float], top: float, bottom: float) -> Scale:
    """The scale of y: values grow upwards, rows follow each other downwards."""
    return fit(axis, values, top, bottom) if axis.kind == "rows" else fit(axis, values, bottom, top)


def _grid(x: Scale, y: Scale, plot: Plot) -> Markup:
    left, right, top, bottom = x.begin, x.end, min(y.begin, y.end), max(y.begin, y.end)
    across, down = ticks(x), ticks(y)
    lines = "".join(f"M{_n(at)} {_n(top)}V{_n(bottom)}" for at, _ in across)
    lines += "".join(f"M{_n(left)} {_n(at)}H{_n(right)}" for at, _ in down)
    texts = [_text(at, bottom + 14, label, "m") for at, label in across]
    texts += [_text(left - 5, at + 4, clean(label, LONGEST_LABEL), "e") for at, label in down]
    texts.append(_text((left + right) / 2, bottom + 29, plot.x.label, "m"))
    if plot.y.kind != "rows":
        middle = (top + bottom) / 2
        turned = Markup('<text class="m" transform="translate(12 {})rotate(-90)">{}</text>')
        texts.append(turned.format(_n(middle), clean(plot.y.label, 60)))
    frame = f"M{_n(left)} {_n(top)}V{_n(bottom)}H{_n(right)}"
    return Markup('<path class="g" d="{}"/><path class="a" d="{}"/>{}').format(lines, frame, Markup("").join(texts))


def _reference(reference: Reference, x: Scale, y: Scale) -> Markup:
    top, bottom = min(y.begin, y.end), max(y.begin, y.end)
    label = clean(reference.label, 40)
    if reference.axis == "x":
        at = position(x, reference.value)
        right = at + len(label) * CHARACTER < x.end
        text = _text(at + 3 if right else at - 3, top + 9, label, "" if right else "e")
        return Markup('<path class="r" d="M{} {}V{}"/>{}').format(_n(at), _n(top), _n(bottom), text)
    at = position(y, reference.value)
    text = _text(x.end - 3, at - 4 if at - top > 14 else at + 12, label, "e")
    return Markup('<path class="r" d="M{} {}H{}"/>{}').format(_n(x.begin), _n(at), _n(x.end), text)


def _series(series: Series, x: Scale, y: Scale) -> Markup:
    if series.kind == "ridge":
        return _ridge(series, x, y)
    places = [(position(x, a), position(y, b)) for a, b in series.points]
    if not places:
        return Markup("")
    marks = "".join(f"M{_n(a)} {_n(b)}{_MARKERS[series.style]}" for a, b in _chosen(places)) if series.marked else ""
    drawn = [Markup('<path class="s{}" d="{}"/>').format(series.style, marks)] if marks else []
    if series.kind != "points":
        thin = " thin" if series.thin else ""
        line = Markup('<path class="l s{}{}" d="{}"/>').format(series.style, thin, _path(places, series.kind))
        drawn.append(line)
    return Markup("").join(drawn)


def _path(places: Sequence[tuple[float, float]], kind: str) -> str:
    (a, b), *rest = places
    if kind == "step":
        return f"M{_n(a)} {_n(b)}" + "".join(f"H{_n(a)}V{_n(b)}" for a, b in rest)
    return f"M{_n(a)} {_n(b)}" + "".join(f"L{_n(a)} {_n(b)}" for a, b in rest)


def _chosen(places: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most so many places, evenly taken, the last one among them; points that are no line are all taken."""
    every = -(-len(places) // MARKED)
    return places[::-1][::every][::-1]


def _ridge(series: Series, x: Scale, y: Scale) -> Markup:
    """Bars that stand on the middle of row y, each from x to its end."""
    room = abs(y.end - y.begin) / (y.high - y.low) * 0.8
    bars = []
    for (begin, row), (end, height) in zip(series.points, series.bars, strict=True):
        base = position(y, row) + room / 2
        left, right = position(x, begin), position(x, end)
        up = min(max(height, 0.0), 1.0) * room
        bars.append(f"M{_n(left)} {_n(base)}V{_n(base - up)}H{_n(right)}V{_n(base)}z")
    return Markup('<path class="b s{}" d="{}"/>').format(series.style, "".join(bars))


def _legend(series: Sequence[Series], top: float) -> tuple[Markup, int]:
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
        sample = f"M{_n(left + 12)} {_n(middle)}{_MARKERS[one.style]}" if one.marked else ""
        line = f"M{_n(left)} {_n(middle)}h24" if one.kind != "points" else ""
        thin = " thin" if one.thin else ""
        drawn.append(Markup('<path class="l s{}{}" d="{}"/>').format(one.style, thin, line) if line else Markup(""))
        drawn.append(Markup('<path class="s{}" d="{}"/>').format(one.style, sample) if sample else Markup(""))
        drawn.append(_text(left + 30, middle + 4, label))
    return Markup("").join(drawn), int(top + 6 + -(-len(named) // columns) * LINE)


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    cut = clean(text, 60)
    if kind:
        return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, _n(x), _n(y), escape(cut))
    return Markup('<text x="{}" y="{}">{}</text>').format(_n(x), _n(y), escape(cut))


def _n(value: float) -> str:
    """A coordinate to a tenth of a pixel, as short as can be."""
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )
