"""How a kernel's errors grow with the length of its sums, and the derived allowed error above them."""

from collections.abc import Sequence
from dataclasses import dataclass

from lastbit.reports.figure import Figure, nothing
from lastbit.reports.lanes import Lane, bounded, shown
from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Axis, number
from lastbit.reports.svg_plot import Plot, Series
from lastbit.verdict import Record

#: Lanes of this plot, each of which has two lines.
MOST = 4
#: How much longer the longest sum must be than the shortest, and how much the error must grow, for guides to help.
LONGER, GROWN = 8.0, 4.0
TITLE = "Error against the length of sums"


@dataclass(frozen=True, slots=True)
class Point:
    """The element that came nearest to its allowed error, of all sums of one length; errors in ulp."""

    terms: int
    error: float
    allowed: float
    record: Record


def figure(found: Sequence[Lane]) -> Figure:
    """Largest error / allowed error at each length, drawn as these two; a lane needs two lengths to make a line."""
    lines = [(lane, points) for lane in found if len(points := _points(lane)) > 1]
    if not lines:
        return nothing(TITLE, _why_not(found))
    drawn, rest = shown([lane for lane, _ in lines], MOST)
    points = [points for lane, points in lines if lane in drawn]
    says = "; ".join(_said(lane, line) for lane, line in zip(drawn, points, strict=True))
    plot = Plot(
        TITLE,
        f"{says}.",
        Axis("terms of the sum (products, numbers of a row, or keys)", "log"),
        Axis("ulp", "log"),
        (*_series(drawn, points), *_guides(points)),
    )
    rows = tuple(_row(lane, point) for lane, line in zip(drawn, points, strict=True) for point in line)
    text = (
        "At each length, over all checks with a bound, the element that came nearest to its allowed error: its error "
        f"(marked) and what it was allowed (fine line). Where they cross, the contract is broken. {rest}"
    )
    head = ("formats", "terms", "error, ulp", "allowed, ulp", "share", "check and case")
    return Figure(TITLE, text.strip(), plot, head, rows)


def _points(lane: Lane) -> list[Point]:
    """The record of largest utilisation at each length, by ascending length."""
    worst: dict[int, Record] = {}
    for record in lane.records:
        if bounded(record) and record.terms > 0 and record.allowed_ulp > 0:
            known = worst.get(record.terms)
            if known is None or _utilisation(record) > _utilisation(known):
                worst[record.terms] = record
    return [
        Point(terms, _utilisation(record) * record.allowed_ulp, record.allowed_ulp, record)
        for terms, record in sorted(worst.items())
    ]


def _said(lane: Lane, line: Sequence[Point]) -> str:
    ends = (
        f"{number(_short(point.error))} of {number(_short(point.allowed))} ulp at {point.terms} terms"
        for point in (line[0], line[-1])
    )
    return f"{lane.label}: {', '.join(ends)}"


def _utilisation(record: Record) -> float:
    return record.stats.utilisation if record.stats is not None else 0.0


def _why_not(found: Sequence[Lane]) -> str:
    records = [record for lane in found for record in lane.records]
    if not any(bounded(record) for record in records):
        return "Not drawn: every check of this kernel has one right result, so there is no allowed error to grow."
    if not any(record.terms and record.allowed_ulp for record in records):
        return "Not drawn: no record says how long its sums are (nothing is summed, or the run is older than that)."
    return "Not drawn: all sums that were judged by a bound are of one length; a larger tier has more."


def _series(drawn: Sequence[Lane], points: Sequence[Sequence[Point]]) -> list[Series]:
    made = []
    for style, (lane, line) in enumerate(zip(drawn, points, strict=True)):
        made.append(Series(f"{lane.label}: error", tuple((point.terms, point.error) for point in line), style=style))
        allowed = tuple((float(point.terms), point.allowed) for point in line)
        made.append(Series(f"{lane.label}: allowed", allowed, style=style, marked=False, thin=True))
    return made


def _guides(points: Sequence[Sequence[Point]]) -> list[Series]:
    """What grows as the root of the length, and as the length, from the first error: where one lane leaves room."""
    line = points[0]
    low, high = line[0], line[-1]
    grown = max(point.error for point in line) > GROWN * low.error > 0
    if len(points) > 1 or high.terms < LONGER * low.terms or not grown:
        return []
    return [
        Series(
            name,
            ((low.terms, low.error), (high.terms, low.error * (high.terms / low.terms) ** power)),
            style=style,
            marked=False,
            thin=True,
        )
        for name, power, style in (("as the root of the terms", 0.5, 3), ("as the terms", 1.0, 6))
    ]


def _row(lane: Lane, point: Point) -> tuple[str, ...]:
    return (
        lane.label,
        str(point.terms),
        number(_short(point.error)),
        number(_short(point.allowed)),
        f"{point.error / point.allowed:.3g}",
        clean(f"{point.record.check} {point.record.case}", 60),
    )


def _short(value: float) -> float:
    return float(f"{value:.3g}")
