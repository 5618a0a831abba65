"""Plots as inline SVG, a few kilobytes each: lines, steps, points and ridges on linear, logarithmic or named axes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import compress
from math import isfinite

from markupsafe import Markup

from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import DIGIT, Axis, Scale, fit, position, ticks
from lastbit.reports.svg_labels import (
    CHARACTER,
    LINE,
    LONGEST_LABEL,
    MARKERS,
    WIDTH,
    coordinate,
    fitted,
    legend,
    names,
    text,
    whole,
    width,
)
from lastbit.reports.svg_plot import Plot, Reference, Series

#: Pixels around the data.
TOP, BOTTOM, RIGHT = 15, 38, 14
#: Lines that differ: dash and marker repeat after as many.
STYLES = 8
#: Points of a line that have their marker drawn.
MARKED = 3
#: Pixels of the lowest step that is drawn.
SEEN = 0.25

#: What the page's style has to say of plots; colours are those that people with any colour vision tell apart
#: (Okabe and Ito 2008), darkened or lightened until they contrast with the page by 3 at least.
STYLE = """
.plot { --s0:#0060a0; --s1:#b34700; --s2:#007a58; --s3:#a3478b; --s4:#1a1a1a; --s5:#8a6100; --s6:#2f7fb0; --s7:#7a3b00;
  display:block; width:100%; max-width:560px; height:auto; font:11px system-ui,sans-serif; }
.plot text { fill:currentColor; } .plot .g { stroke:currentColor; stroke-opacity:.16; fill:none; }
.plot .a, .plot .r { stroke:currentColor; fill:none; } .plot .r { stroke-dasharray:2 3; }
.plot .e { text-anchor:end; } .plot .m { text-anchor:middle; } .plot .l { fill:none; stroke-width:1.6; }
.plot .b { stroke-width:0; } .plot .h { paint-order:stroke; stroke:var(--back,Canvas); stroke-width:3px; }
.s0 { stroke:var(--s0); fill:var(--s0); } .s1 { stroke:var(--s1); fill:var(--s1); }
.s2 { stroke:var(--s2); fill:var(--s2); } .s3 { stroke:var(--s3); fill:var(--s3); }
.s4 { stroke:var(--s4); fill:var(--s4); } .s5 { stroke:var(--s5); fill:var(--s5); }
.s6 { stroke:var(--s6); fill:var(--s6); } .s7 { stroke:var(--s7); fill:var(--s7); }
.l.s1 { stroke-dasharray:7 3; } .l.s2 { stroke-dasharray:2 2; } .l.s3 { stroke-dasharray:8 3 2 3; }
.l.s4 { stroke-dasharray:12 3; } .l.s5 { stroke-dasharray:4 2; } .l.s6 { stroke-dasharray:8 2 2 2 2 2; }
.l.s7 { stroke-dasharray:1 3; }
.k0 { stroke-width:6; stroke-linecap:round; } .k1 { stroke-width:6; stroke-linecap:square; }
.l.thin { stroke-width:1; stroke-opacity:.75; }
@media screen and (prefers-color-scheme: dark) { .plot { --s0:#6cb8f0; --s1:#ff9a5c; --s2:#4fd0a5; --s3:#eba0d4;
  --s4:#f0f0f0; --s5:#e8b93c; --s6:#9fd3f5; --s7:#d9a06b; } }
"""


def render(plot: Plot) -> Markup:
    """`plot` as an SVG element whose texts are escaped; every coordinate lies inside its viewBox."""
    series = [_finite(one) for one in plot.series]
    references = [one for one in plot.references if isfinite(one.value)]
    y = _vertical(plot.y, _values(series, references, "y"), TOP, TOP + plot.height)
    x = fit(plot.x, _values(series, references, "x"), _left(y), WIDTH - RIGHT)
    named, below = legend(series, TOP + plot.height + BOTTOM)
    parts = [
        _grid(x, y, plot),
        *(_series(one, x, y) for one in series),
        *(_reference(one, x, y, row, len(references) - 1 - row) for row, one in enumerate(references)),
        names(series, x, y),
        named,
    ]
    return Markup(
        '<svg class="plot" role="img" viewBox="0 0 {width} {height}"><title>{title}</title>{told}{body}</svg>'
    ).format(
        width=WIDTH,
        height=below,
        title=clean(plot.title, 200),
        told=Markup("<desc>{}</desc>").format(told) if (told := clean(plot.description, 1000)) else Markup(""),
        body=Markup("").join(parts),
    )


def document(plot: Plot) -> str:
    """`plot` as a file of its own, in the colours of light and dark pages."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="color-scheme:light dark;color:CanvasText" class="plot"'
    drawn = str(render(plot)).replace('<svg class="plot"', head, 1)
    return drawn.replace("<title>", f"<style>{STYLE}</style><title>", 1) + "\n"


def _finite(series: Series) -> Series:
    bars = series.bars or ((0.0, 0.0),) * len(series.points)
    kept = [all(map(isfinite, (*point, *bar))) for point, bar in zip(series.points, bars, strict=True)]
    return replace(
        series,
        points=tuple(compress(series.points, kept)),
        bars=tuple(compress(series.bars, kept)),
        names=tuple(compress(series.names, kept)),
        style=series.style % STYLES,
    )


def _values(series: Iterable[Series], references: Iterable[Reference], axis: str) -> list[float]:
    index = "xy".index(axis)
    ends = [end for one in series for end, _ in one.bars if axis == "x"]
    data = [point[index] for one in series for point in one.points]
    return [*data, *ends, *(one.value for one in references if one.axis == axis)]


def _left(y: Scale) -> float:
    """Pixels left of the data: the names of rows, or numbers and the axis's label."""
    labels = [clean(label, LONGEST_LABEL) for _, label in ticks(y)]
    if y.axis.kind == "rows":
        return min(max(map(width, labels), default=0.0) + 10, WIDTH * 0.45)
    return max(map(len, labels), default=0) * DIGIT + 26


def _vertical(axis: Axis, values: list[float], top: float, bottom: float) -> Scale:
    """The scale of y: values grow upwards, rows follow each other downwards."""
    return fit(axis, values, top, bottom) if axis.kind == "rows" else fit(axis, values, bottom, top)


def _grid(x: Scale, y: Scale, plot: Plot) -> Markup:
    left, right, top, bottom = x.begin, x.end, min(y.begin, y.end), max(y.begin, y.end)
    across, down = ticks(x), ticks(y)
    lines = "".join(f"M{whole(at)} {whole(top)}V{whole(bottom)}" for at, _ in across)
    lines += "".join(f"M{whole(left)} {whole(at)}H{whole(right)}" for at, _ in down)
    under = [_tick("x", min(at, WIDTH - len(label) * DIGIT / 2 - 2), label) for at, label in across]
    beside = [_tick("y", at, fitted(label, left - 5)) for at, label in down]
    group = Markup('<g class="{}" transform="translate({} {})">{}</g>')
    texts = [
        group.format("m", 0, whole(bottom + 16), Markup("").join(under)),
        group.format("e", whole(left - 5), 4, Markup("").join(beside)),
        text((left + right) / 2, bottom + 31, clean(plot.x.label, int((right - left) / CHARACTER)), "m"),
    ]
    if plot.y.kind != "rows":
        turned = Markup('<text class="m" transform="translate(12 {})rotate(-90)">{}</text>')
        texts.append(
            turned.format(whole((top + bottom) / 2), clean(plot.y.label, max(int((bottom - top) / CHARACTER), 8)))
        )
    frame = f"M{whole(left)} {whole(top)}V{whole(bottom)}H{whole(right)}"
    return Markup('<path class="g" d="{}"/><path class="a" d="{}"/>{}').format(lines, frame, Markup("").join(texts))


def _tick(axis: str, at: float, label: str) -> Markup:
    return Markup('<text {}="{}">{}</text>').format(axis, whole(at), clean(label, 60))


def _reference(reference: Reference, x: Scale, y: Scale, row: int, below: int) -> Markup:
    """The line of a reference; the label of the first one is above the data, the others are stacked at the bottom."""
    top, bottom = min(y.begin, y.end), max(y.begin, y.end)
    label = clean(reference.label, 40)
    if reference.axis == "x":
        at = position(x, reference.value)
        right = at + len(label) * CHARACTER < x.end
        height = bottom - 6 - below * 0.8 * LINE if row else top - 4
        said = text(at + 3 if right else at - 3, height, label, "h" if right else "h e")
        return Markup('<path class="r" d="M{} {}V{}"/>{}').format(whole(at), whole(top), whole(bottom), said)
    at = position(y, reference.value)
    said = text(x.end - 3, at - 4 if at - top > 14 else at + 12, label, "h e")
    return Markup('<path class="r" d="M{} {}H{}"/>{}').format(whole(x.begin), whole(at), whole(x.end), said)


def _series(series: Series, x: Scale, y: Scale) -> Markup:
    if series.kind == "ridge":
        return _ridge(series, x, y)
    places = [(position(x, a), position(y, b)) for a, b in series.points]
    if not places:
        return Markup("")
    line = Markup("")
    if series.kind != "points":
        classes = f"l s{series.style}{' thin' if series.thin else ''}"
        line = Markup('<path class="{}" d="{}"/>').format(classes, _path(places, series.kind))
    marked = _chosen(places) if series.kind != "points" else places
    marks = "".join(f"M{whole(a)} {whole(b)}{MARKERS[series.style]}" for a, b in marked)
    return line + Markup('<path class="k{0} s{0}" d="{1}"/>').format(series.style, marks) if series.marked else line


def _path(places: Sequence[tuple[float, float]], kind: str) -> str:
    (a, b), *rest = places
    if kind == "step":
        path, height, at = f"M{whole(a)} {whole(b)}", b, (whole(a), whole(b))
        for place, (a, b) in enumerate(rest, 1):
            if abs(b - height) >= SEEN or place == len(rest):  # a step that nobody sees is taken with the next
                path, height = f"{path}h{whole(a) - at[0]}v{whole(b) - at[1]}", b
                at = whole(a), whole(b)
        return path
    texts = [(coordinate(a), coordinate(b)) for a, b in places]
    level = {place for place in range(1, len(rest)) if len({height for _, height in texts[place - 1 : place + 2]}) == 1}
    return "M" + "L".join(f"{a} {b}" for place, (a, b) in enumerate(texts) if place not in level)


def _chosen(places: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most so many places, evenly taken, the last one among them."""
    every = -(-len(places) // MARKED)
    return places[::-1][::every][::-1]


def _ridge(series: Series, x: Scale, y: Scale) -> Markup:
    """Bars that stand on the middle of row y, each from x to its end; those that touch share an outline."""
    room = abs(y.end - y.begin) / (y.high - y.low) * 0.8
    outline, at, high = "", (0, 0), 0
    for (begin, row), (end, height) in zip(series.points, series.bars, strict=True):
        foot = position(y, row) + room / 2
        left, base, top = whole(position(x, begin)), whole(foot), whole(foot - min(max(height, 0.0), 1.0) * room)
        if (left, base) != at:
            outline, high = f"{_closed(outline, at[1])}M{left} {base}", base
        at = whole(position(x, end)), base
        outline, high = f"{outline}v{top - high}h{at[0] - left}", top
    return Markup('<path class="b s{}" d="{}"/>').format(series.style, _closed(outline, at[1]))


def _closed(outline: str, base: int) -> str:
    return f"{outline}V{base}z" if outline else ""
