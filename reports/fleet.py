"""A fleet: many runs side by side, device by kernel, with the worst outcome and utilisation in each cell."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lastbit.reports import compare_sides, summary
from lastbit.reports.lanes import utilisation
from lastbit.reports.page import framed
from lastbit.reports.page_parts import FAILS, KNOWN, NOTHING, PASSES
from lastbit.reports.run import Header, Run
from lastbit.reports.summary import bounded, clean, counted, measured
from lastbit.verdict import Outcome, Record

NAME = "fleet.html"
#: The class of its colours and the sign of each state of a cell.
STANDING = {"fail": FAILS, "known": KNOWN, "pass": PASSES, "none": NOTHING}


@dataclass(frozen=True, slots=True)
class Column:
    """One device of one run."""

    #: The run as it was given, the device's name in it, and its fingerprint.
    run: str
    device: str
    slug: str
    #: What it was judged with: versions that the other columns do not share, and commit, tier and seed.
    software: str
    made: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """What a kernel came to on a device."""

    #: "fail", "known", "pass" or "none".
    state: str
    #: The worst outcome; "not run" where there is no record.
    outcome: str
    #: Records that make the run fail, and all that were judged.
    failed: int = 0
    judged: int = 0
    utilisation: float | None = None

    @property
    def standing(self) -> tuple[str, str]:
        """The class of its colours, and the sign that says the same without them."""
        return STANDING[self.state]

    @property
    def said(self) -> str:
        """The outcome as people write it."""
        return self.outcome.replace("_", " ")

    @property
    def detail(self) -> str:
        """How many checks were judged, and the largest error as a share of what is allowed."""
        share = f"{self.failed} of " if self.failed else ""
        error = f", error {self.utilisation:.3g}" if self.utilisation is not None else ""
        return f"{share}{counted(self.judged, 'check')}{error}" if self.judged else ""


@dataclass(frozen=True, slots=True)
class Row:
    """A kernel on every device."""

    kernel: str
    op: str
    #: In order of the columns.
    cells: tuple[Cell, ...]

    @property
    def differs(self) -> bool:
        """Whether its outcome is not the same on all devices that it was judged on."""
        return len({cell.outcome for cell in self.cells if cell.state != "none"}) > 1


@dataclass(frozen=True, slots=True)
class Fleet:
    """The table."""

    columns: tuple[Column, ...]
    #: Versions that all columns share.
    software: str
    #: Kernels whose outcome differs first, then by op and name.
    rows: tuple[Row, ...]
    #: What is not the same of all columns: its name, and the value of each.
    differences: tuple[tuple[str, tuple[str, ...]], ...]


def fleet(runs: Mapping[str, Run]) -> Fleet:
    """The runs, given by name, as a table: a column for each device of each, a row for each kernel."""
    placed = [(name, run, device) for name, run in runs.items() for device in _devices(run)]
    cells: dict[tuple[str, str], dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for number, (_, run, device) in enumerate(placed):
        here = _devices(run)
        for record in run.records:
            # A kernel that was left out whole, for want of a device, say, was left out on every device of the run.
            if record.timing is None and (record.device == device or record.device not in here):
                cells[record.op, record.kernel][number].append(record)
    rows = [
        Row(kernel, op, tuple(_cell(by_column.get(number, [])) for number in range(len(placed))))
        for (op, kernel), by_column in cells.items()
    ]
    rows.sort(key=lambda row: (not row.differs, row.op, row.kernel))
    headers = [_header(run, device) for _, run, device in placed]
    versions = [set(header.environment.packages.items()) for header in headers]
    shared = set.intersection(*versions)
    columns = tuple(
        _column(name, run, device, header, shared) for (name, run, device), header in zip(placed, headers, strict=True)
    )
    return Fleet(columns, _versions(shared), tuple(rows), _differences(headers))


def page(table: Fleet) -> str:
    """The table as a page of its own, which needs no other file and no script."""
    parts = (
        ("Kernels whose outcome differs", [row for row in table.rows if row.differs]),
        ("Kernels that are alike wherever they were judged", [row for row in table.rows if not row.differs]),
    )
    return framed(
        "fleet.html",
        "lastbit: fleet",
        columns=table.columns,
        parts=[(title, [_shown(row) for row in rows]) for title, rows in parts if rows],
        differences=[(clean(name), [clean(value, 200) for value in values]) for name, values in table.differences],
        sentence=sentence(table),
        tone=tone(table),
        software=table.software,
    )


def tone(table: Fleet) -> str:
    """The class of the sentence's colours: "good" only where whole runs judged, and nothing fails."""
    states = {cell.state for row in table.rows for cell in row.cells}
    if "fail" in states:
        return "bad"
    return "good" if "pass" in states and all(column.complete for column in table.columns) else "note"


def sentence(table: Fleet) -> str:
    """What came of all runs, to quote."""
    if not any(cell.judged for row in table.rows for cell in row.cells):
        return f"Nothing was judged on {counted(len(table.columns), 'device')}."
    failing = sum(any(cell.state == "fail" for cell in row.cells) for row in table.rows)
    differing = sum(row.differs for row in table.rows)
    share = f"{failing} of {counted(len(table.rows), 'kernel')} {'fails' if failing == 1 else 'fail'} somewhere"
    apart = f"{differing} {'comes' if differing == 1 else 'come'} to another outcome on another device"
    broken_off = sum(not column.complete for column in table.columns)
    so_far = f" On {broken_off} the run did not come to its end." if broken_off else ""
    return (
        f"{share if failing else 'No kernel fails'} on {counted(len(table.columns), 'device')}; "
        f"{apart if differing else 'all come to the same wherever they were judged'}.{so_far}"
    )


def _devices(run: Run) -> list[str]:
    """The devices that the run says it ran on, or else those of its records."""
    known = sorted(run.header.environment.devices)
    judged = {record.device for record in run.records if record.case != "*"}
    return [device for device in known if device in judged] + sorted(judged - set(known)) or known[:1] or [""]


def _header(run: Run, device: str) -> Header:
    """The run's head, of the machine that the device is of."""
    slug = run.header.environment.devices.get(device, "")
    environments = [part.environment for part in run.header.parts if slug in part.environment.devices.values()]
    return replace(run.header, environment=environments[0]) if environments else run.header


def _versions(packages: Iterable[tuple[str, str]]) -> str:
    return clean(", ".join(f"{package} {version}" for package, version in sorted(packages)), 600)


def _column(name: str, run: Run, device: str, header: Header, shared: set[tuple[str, str]]) -> Column:
    environment = header.environment
    commit = f"commit {environment.commit}{' with changes' if environment.dirty else ''}, " * bool(environment.commit)
    return Column(
        run=clean(name, 120),
        device=clean(device, 60),
        slug=clean(run.header.environment.devices.get(device, "unknown"), 80),
        software=_versions(set(environment.packages.items()) - shared),
        made=clean(f"{commit}tier {header.tier}, seed {header.seed}, {header.started}", 200),
        complete=run.complete,
    )


def _cell(records: Sequence[Record]) -> Cell:
    failing = [record for record in records if record.failed]
    judged = [record for record in records if record.outcome.judged]
    compared = [one for one in judged if bounded(one) and measured(one)]
    used = utilisation(compared) if compared else None
    if failing:
        worst = min((record.outcome for record in failing), key=summary.ORDER.index)
        outcome = worst.value if worst.failed else "finding gone"
        return Cell("fail", outcome, len(failing), len(judged), used)
    if any(record.outcome.failed for record in judged):
        return Cell("known", "known finding", 0, len(judged), used)
    if judged:
        return Cell("pass", Outcome.PASS.value, 0, len(judged), used)
    counts = Counter(record.outcome.value for record in records)
    return Cell("none", counts.most_common(1)[0][0] if counts else "not run")


def _differences(headers: Sequence[Header]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    facts = [compare_sides.facts(header) for header in headers]
    names = dict.fromkeys(name for one in facts for name in one if not name.startswith("device "))
    found = ((name, tuple(one.get(name, "") for one in facts)) for name in names)
    return tuple((name, values) for name, values in found if len(set(values)) > 1)


def _shown(row: Row) -> Row:
    return replace(row, kernel=clean(row.kernel, 80), op=clean(row.op, 40))
