"""How long a kernel's calls take beside the time at the limit of the device (its roofline) and beside another's."""

from collections.abc import Sequence

from lastbit.reports.figure import Figure
from lastbit.reports.lanes import arrow
from lastbit.reports.speed import duration
from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Axis
from lastbit.reports.svg_plot import Plot, Series
from lastbit.verdict import Record, Timing

#: Rows that are drawn, those furthest from the limit; the rest is in the table of speed.
MOST = 12
#: Pixels of a row.
ROW = 19
TITLE = "Time of a call, and the limit of the device"
#: How to read the plot.
READING = (
    f"{TITLE}. The limit is the time that the device's peak, or its bandwidth, allows for the operations and bytes of "
    "the op (roofline.md); short calls carry the time that a framework needs to get to the kernel.",
)


def figures(records: Sequence[Record]) -> list[Figure]:
    """The times of one kernel's records by formats and case; none where nothing was timed."""
    timed = [(record, record.timing) for record in records if record.timing is not None and record.timing.ns > 0]
    if not timed:
        return []
    timed.sort(key=lambda pair: (pair[1].reached or 1.0, -pair[1].ns))
    kept = timed[:MOST]
    several = len({record.case for record, _ in kept}) > 1
    names = tuple(_name(record, several) for record, _ in kept)
    series = (
        Series("this kernel", _points([timing.ns for _, timing in kept]), "points", 0),
        Series("limit of the device", _points([timing.limit_ns for _, timing in kept]), "points", 1),
        Series("what it was timed beside", _points([timing.base_ns for _, timing in kept]), "points", 2),
    )
    drawn = tuple(one for one in series if one.points)
    height = max(ROW * len(kept), 3 * ROW)
    plot = Plot(TITLE, "", Axis("microseconds a call", "log"), Axis("", "rows", names=names), drawn, height=height)
    rows = tuple((name, *_cells(timing)) for name, (_, timing) in zip(names, kept, strict=True))
    rest = f" {len(timed) - MOST} more are in the table of speed." if len(timed) > MOST else ""
    head = ("formats and case", "a call", "limit", "reached", "beside")
    return [Figure(TITLE, _said(kept) + rest, plot, head, rows)]


def _said(kept: Sequence[tuple[Record, Timing]]) -> str:
    with_limit = [(record, timing) for record, timing in kept if timing.reached]
    if not with_limit:
        return "No limit of the device is known."
    record, timing = with_limit[0]
    return f"Furthest from the limit: {_name(record, True)}, which reaches {timing.reached:.0%} of it ({timing.bound})."


def _name(record: Record, with_case: bool) -> str:
    return clean(f"{arrow(record.formats)}{f' {record.case}' if with_case else ''}", 60)


def _points(times: Sequence[float]) -> tuple[tuple[float, float], ...]:
    return tuple((ns / 1e3, float(row)) for row, ns in enumerate(times) if ns > 0)


def _cells(timing: Timing) -> tuple[str, ...]:
    limit = duration(timing.limit_ns) if timing.limit_ns else "not known"
    reached = f"{timing.reached:.0%} {timing.bound}" if timing.reached else ""
    return duration(timing.ns), limit, reached, duration(timing.base_ns) if timing.base_ns else ""
