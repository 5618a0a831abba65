"""Error against time of every kernel of an op that has both, and which of them none other beats in both."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lastbit.references.format_table import FormatError
from lastbit.references.formats import Format
from lastbit.reports.figure import Figure
from lastbit.reports.lanes import arrow
from lastbit.reports.speed import duration
from lastbit.reports.summary import clean
from lastbit.reports.svg_axes import Axis, short
from lastbit.reports.svg_plot import Plot, Series
from lastbit.verdict import Record

#: How to read the plot.
READING = (
    "Error against time. A kernel is on the frontier when none is as fast and as accurate, and better in one of the "
    "two. The error is the largest one of the kernel's records of the timed check and kind of data, in units of the "
    "power of two at or below the exact value, so that formats can be compared. Kernels that fail have no speed.",
)
#: How much further than the errors their axis goes.
ROOM = 4.0
#: Rows of the table; the rest is counted.
MOST = 40


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel with one set of formats, and what it costs in time and in accuracy."""

    name: str
    ns: float
    #: Largest error over the judged records of the timed check and data, in units of the power of two at or below the
    #: exact value: ulp of the output format times 2^(1 - precision), so that formats can be compared.
    error: float
    max_ulp: float


def figures(records: Sequence[Record]) -> list[Figure]:
    """A figure for each case and device that some kernel of these records, all of one op, was timed on."""
    found = candidates(records)
    return [_figure(case, device, members) for (case, device), members in sorted(found.items())]


def candidates(records: Sequence[Record]) -> dict[tuple[str, str], list[Candidate]]:
    """By timed case and device, the kernels that have a time and a judged error; one that fails has no speed."""
    errors: dict[tuple[str, ...], float] = {}
    for record in records:
        if record.timing is None and record.outcome.judged and record.stats is not None and record.stats.n:
            key = _judged(record, record.check)
            errors[key] = max(errors.get(key, 0.0), record.stats.max_ulp)
    found: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for record in records:
        timing = record.timing
        if timing is not None and timing.ns > 0 and not timing.failed:
            ulp, unit = errors.get(_judged(record, timing.check)), _unit(record.formats)
            if ulp is not None and unit is not None:
                name = f"{clean(record.kernel, 40)} {arrow(record.formats)}"
                found[record.case, record.device].append(Candidate(name, timing.ns, ulp * unit, ulp))
    return dict(found)


def frontier(members: Iterable[Candidate]) -> list[Candidate]:
    """Those than which none is as fast and as accurate, and better in one of them; by ascending time."""
    best: list[Candidate] = []
    for one in sorted(members, key=lambda member: (member.ns, member.error)):
        if not best or one.error < best[-1].error or (one.ns, one.error) == (best[-1].ns, best[-1].error):
            best.append(one)
    return best


def _judged(record: Record, check: str) -> tuple[str, ...]:
    """What a record's error is of: kernel, formats, device, check and recipe of data."""
    return record.kernel, record.formats, record.device, check, record.case.partition("/")[0]


def _unit(formats: str) -> float | None:
    """2^(1 - precision) of the output's format; None where that is not known, or has no precision."""
    parts = dict(part.partition(":")[::2] for part in formats.split())
    try:
        fmt = Format.of(parts.get("out", ""))
    except FormatError:
        return None
    return 2.0 ** (1 - fmt.precision) if fmt.kind == "float" else None


def _figure(case: str, device: str, members: Sequence[Candidate]) -> Figure:
    best = frontier(members)
    others = [one for one in members if one not in best]
    title = f"Error against time: {clean(case, 60)} on {clean(device, 40)}"
    best_names = ", ".join(one.name for one in best[:6]) + (f" and {len(best) - 6} more" if len(best) > 6 else "")
    text = f"{len(members)} kernels and formats were timed and are right. On the frontier: {best_names}."
    series = [Series("on the frontier", _points(best), names=tuple(one.name for one in best))]
    if others:
        series.append(Series("others, in the table", _points(others), "points", 4))
    plot = Plot(
        title,
        "",
        Axis("microseconds a call", "log"),
        Axis("largest error", "log", *_room(members)),
        tuple(series),
        height=260,
    )
    ordered = sorted(members, key=lambda one: one.ns)[:MOST]
    rows = tuple(_row(one, one in best) for one in ordered)
    left = f" {len(members) - MOST} slower ones are in run.jsonl." if len(members) > MOST else ""
    return Figure(title, text + left, plot, ("kernel", "a call", "error", "in ulp", "on the frontier"), rows)


def _room(members: Sequence[Candidate]) -> tuple[float | None, float | None]:
    """Ends of the axis of errors that leave room for names above and below the points."""
    errors = [one.error for one in members if one.error > 0]
    return (min(errors) / ROOM, max(errors) * ROOM) if errors else (None, None)


def _row(one: Candidate, best: bool) -> tuple[str, ...]:
    ulp = short(one.max_ulp)
    return one.name, duration(one.ns), f"{one.error:.2e}", ulp, "yes" if best else ""


def _points(members: Iterable[Candidate]) -> tuple[tuple[float, float], ...]:
    return tuple((one.ns / 1e3, one.error) for one in members)
