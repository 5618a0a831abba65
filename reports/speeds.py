"""The records of speed in a run's reports: a table beside that of the kernels' results, and a sentence."""

from collections.abc import Sequence

from lastbit.reports import summary
from lastbit.reports.speed import duration
from lastbit.verdict import Outcome, Record, Timing

LEGEND = (
    "ratio: time / time of what it was timed beside; reached: share of what the device can do; checks: of the same "
    "run, that found its results right"
)
HEADS = ("", "kernel", "formats", "case", "beside", "ratio", "interval", "time", "reached", "checks", "speed")


def numbers(records: Sequence[Record]) -> list[Record]:
    """The records that are of results, not of speed."""
    return [record for record in records if record.timing is None]


def speeds(records: Sequence[Record]) -> list[Record]:
    """The records of speed."""
    return [record for record in records if record.timing is not None]


def table(records: Sequence[Record]) -> list[str]:
    """The timings of a run, those that need a look first; empty where nothing was to be timed."""
    from tabulate import tabulate

    rows = cells(records)
    return [line.rstrip() for line in tabulate(rows, HEADS, disable_numparse=True).splitlines()] if rows else []


def cells(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of HEADS, in the order of `table`."""
    rows = [(record, record.timing) for record in speeds(records) if record.timing is not None]
    rows.sort(key=lambda row: (not row[0].failed, summary.ORDER.index(row[0].outcome), row[0].key))
    return [_cells(record, timing) for record, timing in rows]


def notes(records: Sequence[Record]) -> list[str]:
    """Why speeds are not known, or what their baselines say; one line each. Failures are told with the others."""
    said = [
        (record, record.reason if record.outcome is not Outcome.PASS else record.golden)
        for record in speeds(records)
        if not record.failed
    ]
    return [
        f"{record.outcome.value} {record.kernel} [{summary.short_formats(record.formats)}] {record.case}: "
        + text.partition("\n")[0]
        for record, text in said
        if text and not text.startswith("kept")
    ]


def sentence(records: Sequence[Record]) -> str:
    """What came of all timings, to quote; "" where there is none."""
    timed = speeds(records)
    if not timed:
        return ""
    counts = [
        f"{count} {text}"
        for outcome, text in (
            (Outcome.PASS, "as fast as expected"),
            (Outcome.SLOW, "slow"),
            (Outcome.INCONCLUSIVE, "inconclusive"),
            (Outcome.NOT_TESTED, "without a speed"),
        )
        if (count := sum(record.outcome is outcome for record in timed))
    ]
    known = (Outcome.PASS, Outcome.SLOW, Outcome.INCONCLUSIVE, Outcome.NOT_TESTED)
    wrong = sum(record.outcome not in known for record in timed)
    return f"SPEED: {', '.join([*counts, *([f'{wrong} wrong'] if wrong else [])])}."


def _cells(record: Record, timing: Timing) -> tuple[str, ...]:
    measured = timing.ratio > 0
    return (
        "x" if record.failed else "",
        summary.clean(record.kernel, 40),
        summary.clean(summary.short_formats(record.formats), 24),
        summary.clean(record.case, 40),
        summary.clean(timing.against.rpartition("/")[2] if timing.against.startswith("/") else timing.against, 24),
        f"{timing.ratio:.3f}" if measured else "",
        f"{timing.low:.3f} to {timing.high:.3f}" if measured else "",
        duration(timing.ns) if timing.ns else "",
        f"{timing.reached:.0%} {timing.bound}" if timing.reached else "",
        f"{timing.passed} pass" + (f", {timing.failed} fail" if timing.failed else ""),
        record.golden.partition(":")[0] or record.outcome.value,
    )
