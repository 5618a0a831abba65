"""How a kernel's errors grow with the length of its sums, and the derived allowed error above them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2

from lastbit.reports.figure import Figure, nothing
from lastbit.reports.lanes import Lane, shown, utilisation
from lastbit.reports.summary import bounded, clean
from lastbit.reports.svg_axes import Axis, short
from lastbit.reports.svg_plot import Plot, Series
from lastbit.verdict import Record

#: Lanes of this plot, each of which has two lines.
MOST = 4
#: How much longer the longest sum must be than the shortest, and how much the error must grow, for guides to help.
LONGER, GROWN = 8.0, 4.0
TITLE = "Error against the length of sums"
#: How to read the plot.
READING = (
    f"{TITLE}. Of one kind of data, over all checks with a bound, a point an octave of lengths: the error of the "
    "element that came nearest to its allowed error (marked), and what that element was allowed (fine line). Where the "
    "lines cross, the contract is broken.",
)


@dataclass(frozen=True, slots=True)
class Point:
    """The element that came nearest to its allowed error, of sums of about one length; errors in ulp."""

    terms: int
    error: float
    allowed: float


def figure(found: Sequence[Lane]) -> Figure:
    """Error and allowed error at each length of one recipe of data; a lane needs two lengths to make a line."""
    recipe = _recipe(found)
    lines = {lane.label: line for lane in found if len(line := points(lane, recipe)) > 1}
    if not lines:
        return nothing(TITLE, _why_not(found))
    drawn, rest = shown([lane for lane in found if lane.label in lines], MOST)
    kept = {lane.label: lines[lane.label] for lane in drawn}
    plot = Plot(
        TITLE,
        "",
        Axis("terms of the sum (products, numbers of a row, or keys)", "log"),
        Axis("ulp", "log"),
        (*_series(kept), *_guides(list(kept.values()))),
    )
    at = {label: {point.terms: point for point in line} for label, line in kept.items()}
    lengths = sorted({terms for line in at.values() for terms in line})
    rows = tuple((str(terms), *(_cell(line.get(terms)) for line in at.values())) for terms in lengths)
    text = f"Data {clean(recipe, 40)}. {_said(*next(iter(kept.items())))}. {rest}"
    return Figure(TITLE, text.strip(), plot, ("terms", *(f"{label}: ulp of allowed" for label in kept)), rows)


def points(lane: Lane, recipe: str) -> list[Point]:
    """Of this recipe, the record of largest utilisation in each octave of lengths, by ascending length."""
    worst: dict[int, Record] = {}
    for record in _records(lane):
        if record.case.partition("/")[0] == recipe:
            octave = round(log2(record.terms))
            if octave not in worst or utilisation([record]) > utilisation([worst[octave]]):
                worst[octave] = record
    return [
        Point(record.terms, utilisation([record]) * record.allowed_ulp, record.allowed_ulp)
        for _, record in sorted(worst.items())
    ]


def _records(lane: Lane) -> list[Record]:
    """Those that say how long their sums are, and what their worst element was allowed."""
    return [record for record in lane.records if bounded(record) and record.terms > 0 and record.allowed_ulp > 0]


def _recipe(found: Sequence[Lane]) -> str:
    """The recipe of data that most lanes have several lengths of, and of these that of most lengths."""
    lengths: dict[str, Counter[str]] = defaultdict(Counter)
    for lane in found:
        pairs = {(record.case.partition("/")[0], record.terms) for record in _records(lane)}
        for recipe, count in Counter(recipe for recipe, _ in pairs).items():
            lengths[recipe][lane.label] = count
    several = {recipe: sum(count > 1 for count in counts.values()) for recipe, counts in lengths.items()}
    return max(lengths, key=lambda recipe: (several[recipe], lengths[recipe].total(), recipe), default="")


def _said(label: str, line: Sequence[Point]) -> str:
    ends = (
        f"{short(point.error)} of {short(point.allowed)} ulp at {point.terms} terms" for point in (line[0], line[-1])
    )
    return f"{label}: {', '.join(ends)}"


def _why_not(found: Sequence[Lane]) -> str:
    records = [record for lane in found for record in lane.records]
    if not any(bounded(record) for record in records):
        return "Not drawn: every check of this kernel has one right result, so there is no allowed error to grow."
    if not any(record.terms and record.allowed_ulp for record in records):
        return "Not drawn: no record says how long its sums are (nothing is summed, or the run is older than that)."
    return "Not drawn: no kind of data was judged by a bound with sums of two lengths; a larger tier has more."


def _series(lines: Mapping[str, Sequence[Point]]) -> list[Series]:
    made = []
    for style, (label, line) in enumerate(lines.items()):
        made.append(Series(label, tuple((float(point.terms), point.error) for point in line), style=style))
    for style, line in enumerate(lines.values()):
        allowed = tuple((float(point.terms), point.allowed) for point in line)
        made.append(Series("" if style else "fine: allowed", allowed, style=style, marked=False, thin=True))
    return made


def _guides(lines: Sequence[Sequence[Point]]) -> list[Series]:
    """What grows as the root of the length, and as the length, from the first error: where one lane leaves room."""
    low, high = lines[0][0], lines[0][-1]
    grown = max(point.error for point in lines[0]) > GROWN * low.error > 0
    if len(lines) > 1 or high.terms < LONGER * low.terms or not grown:
        return []
    longer = high.terms / low.terms
    return [
        Series(name, ((low.terms, low.error), (high.terms, low.error * longer**power)), "line", style, False, True)
        for name, power, style in (("as the root of the terms", 0.5, 3), ("as the terms", 1.0, 6))
    ]


def _cell(point: Point | None) -> str:
    return "" if point is None else f"{short(point.error)} of {short(point.allowed)}"
