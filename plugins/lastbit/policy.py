"""Policy files: suites/budgets.toml (budgets widened, each with its reason and end) and suites/findings.toml."""

import datetime
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lastbit.environment import Environment
from lastbit.errors import GoldenError
from lastbit.verdict import Outcome, Record

if TYPE_CHECKING:
    from lastbit.case import Trial

BUDGETS, FINDINGS = "budgets.toml", "findings.toml"
#: Widest factor: beyond it the contract, not the budget, is what has to change.
WIDEST = 8.0
#: Longest life of an override in days; then somebody looks again.
LONGEST_DAYS = 366

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Override:
    """One row of budgets.toml: a budget multiplied for the trials whose names match."""

    kernel: str
    check: str
    case: str
    #: The budget is this many times the derived one, more than 1.
    budget_factor: float
    why: str
    #: Largest error / derived budget seen, at most `budget_factor`.
    measured: float
    date: datetime.date
    #: Last day on which the row has effect.
    expires: datetime.date
    formats: str = "*"


@dataclass(frozen=True, slots=True)
class Known:
    """One row of findings.toml: a failure that is understood, reported, and expected to stay as it is."""

    #: Its name in FINDINGS.md; several rows may share it, as one cause shows in several checks.
    id: str
    kernel: str
    check: str
    case: str
    #: How it fails; a failure of another kind is not known.
    outcome: Outcome
    reason: str
    formats: str = "*"
    #: Globs of the devices it happens on, by name ("cuda:1") or golden slug ("cpu-*-avx512bf16-*"); one has to match.
    devices: tuple[str, ...] = ("*",)
    #: Version ranges (PEP 440) by package; the row says nothing about other versions.
    versions: dict[str, str] = field(default_factory=dict)
    #: True: each matching case fails. False: it depends on the data, and at least one of those judged fails.
    every: bool = True


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of both files, shipped ones first, then those of the project."""

    overrides: tuple[Override, ...] = ()
    findings: tuple[Known, ...] = ()


def load(folder: Path | None = None) -> Rows:
    """The rows shipped in lastbit.suites and those of `folder`, which may hold budgets.toml and findings.toml.

    Raises GoldenError, naming file, row and field, for anything that is not exactly as the dataclasses here say, and
    for two rows about the same thing.
    """
    shipped = resources.files("lastbit.suites")
    places = [shipped] if folder is None or folder.resolve() == Path(str(shipped)).resolve() else [shipped, folder]
    overrides: list[Override] = []
    findings: list[Known] = []
    for place in places:
        overrides += _rows(place / BUDGETS, "override", Override, _check_override)
        findings += _rows(place / FINDINGS, "finding", Known, _check_finding)
    _once(((row.kernel, row.formats, row.check, row.case) for row in overrides), BUDGETS, "override for")
    _once(
        ((row.id, row.kernel, row.formats, row.check, row.case, row.outcome) for row in findings), FINDINGS, "finding"
    )
    return Rows(tuple(overrides), tuple(findings))


def settings(
    overrides: Iterable[Override], check: str, trial: "Trial", today: datetime.date | None = None
) -> dict[str, Any]:
    """What budgets.toml sets for `trial` of `check`: {"budget_factor": 1.5, "budget_why": "..."}, or nothing.

    Raises GoldenError when several rows in force match: which of them is meant is not for lastbit to guess.
    """
    from lastbit.kernel import formats_text

    formats = formats_text(trial.formats).replace(" ", ",")
    found = [
        row
        for row in in_force(overrides, today)
        if fnmatchcase(trial.kernel.name, row.kernel)
        and fnmatchcase(formats, row.formats.replace(" ", ","))
        and fnmatchcase(check, row.check)
        and fnmatchcase(trial.case.id, row.case)
    ]
    if len(found) > 1:
        names = " and ".join(f"kernel={row.kernel!r} check={row.check!r} case={row.case!r}" for row in found)
        raise GoldenError(f"{BUDGETS}: {names} all match {trial.kernel.name} {check} {trial.case.id}; keep one of them")
    return {"budget_factor": found[0].budget_factor, "budget_why": found[0].why} if found else {}


def in_force(overrides: Iterable[Override], today: datetime.date | None = None) -> list[Override]:
    """The overrides that have effect."""
    return [row for row in overrides if row.expires >= (today or _today())]


def expired(overrides: Iterable[Override], today: datetime.date | None = None) -> list[str]:
    """One sentence for each override that has no effect any more."""
    return [
        f"{BUDGETS}: the override for {row.kernel} {row.check} {row.case} ended on {row.expires}, the derived budget "
        f"holds again; mend the kernel, or measure anew and give a new date"
        for row in overrides
        if row.expires < (today or _today())
    ]


def known(record: Record, findings: Iterable[Known], environment: Environment) -> str:
    """The id of the finding that `record` fails as, or ""; a failure of another kind than recorded is not known."""
    same = (row.id for row in findings if row.outcome is record.outcome and _about(row, record, environment))
    return next(same, "")


def annotated(record: Record, findings: Sequence[Known], environment: Environment) -> Record:
    """`record` with its finding's id: one that fails as recorded, or one that passes where each case should fail.

    The second fails the run (Record.failed): a finding that no longer happens is news.
    """
    if found := known(record, findings, environment):
        return replace(record, known=found)
    if record.outcome is not Outcome.PASS:
        return record
    gone = next((row for row in findings if row.every and _about(row, record, environment)), None)
    if gone is None:
        return record
    reason = f"finding {gone.id} no longer happens: expected {gone.outcome.value} ({gone.reason}), this case passes\n"
    return replace(record, known=gone.id, reason=f"{reason}end its version range in {FINDINGS}, or remove the row")


def unused(findings: Sequence[Known], records: Sequence[Record], environment: Environment) -> list[str]:
    """One sentence for each finding that judged cases contradict: some pass (`every`), or none fails as recorded.

    Rows with `every` = false that share an id are one finding: it is enough that a case of one of them fails. One that
    a search alone finds (check "hunt") is never said to be gone: a search that finds nothing proves nothing.
    """
    groups: dict[object, list[Known]] = {}
    for number, row in enumerate(findings):
        groups.setdefault(number if row.every else row.id, []).append(row)
    said = []
    for rows in groups.values():
        if all(row.check == "hunt" for row in rows):
            continue
        matching = [(row, i) for row in rows for i, record in enumerate(records) if _about(row, record, environment)]
        judged = {i for _, i in matching if records[i].outcome.judged}
        failed = {i for row, i in matching if records[i].outcome is row.outcome}
        if judged and len(failed) < (len(judged) if rows[0].every else 1):
            outcomes = " or ".join(dict.fromkeys(row.outcome.value for row in rows))
            share = f"{len(failed)} of {len(judged)} matching cases fail with {outcomes}"
            said.append(
                f"finding {rows[0].id} ({rows[0].reason}) no longer happens as recorded: {share}; update {FINDINGS}"
            )
    return said


def _about(row: Known, record: Record, environment: Environment) -> bool:
    """Whether the row speaks of this record, however that ended."""
    formats = record.formats.replace(" ", ",")
    names = (record.device, environment.devices.get(record.device, ""))
    return (
        fnmatchcase(record.kernel, row.kernel)
        and fnmatchcase(formats, row.formats.replace(" ", ","))
        and fnmatchcase(record.check, row.check)
        and fnmatchcase(record.case, row.case)
        and any(fnmatchcase(name, glob) for glob in row.devices for name in names)
        and all(_within(environment.packages.get(name, ""), versions) for name, versions in row.versions.items())
    )


def _within(version: str, versions: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return bool(version) and SpecifierSet(versions, prereleases=True).contains(version)


def _rows(path: Any, table: str, kind: type[T], check: Callable[[T], str]) -> list[T]:
    """The rows of one file; none if there is no file."""
    import msgspec

    if not path.is_file():
        return []
    try:
        data = tomllib.loads(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GoldenError(f"{path}: not a TOML file in UTF-8 ({error}); mend the file") from error
    entries = data.pop(table, [])
    if data or not isinstance(entries, list):
        raise GoldenError(
            f"{path}: has {', '.join(data) or table}, expected nothing but [[{table}]] rows; mend the file"
        )
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    rows = []
    for number, entry in enumerate(entries, 1):
        where = f"{path}: {table} {number}"
        unknown = sorted(set(entry) - names) if isinstance(entry, dict) else ["no table"]
        if unknown:
            raise GoldenError(f"{where}: has unknown {', '.join(unknown)}, expected {', '.join(sorted(names))}")
        try:
            row = msgspec.convert(entry, kind)
        except msgspec.ValidationError as error:
            raise GoldenError(f"{where}: {error}; mend the row") from error
        if wrong := check(row):
            raise GoldenError(f"{where}: {wrong}; mend the row")
        rows.append(row)
    return rows


def _check_override(row: Override) -> str:
    """What is wrong with a row beyond its types, or ""."""
    if not math.isfinite(row.budget_factor) or not 1 < row.budget_factor <= WIDEST:
        return f"budget_factor is {row.budget_factor}, expected more than 1 and at most {WIDEST:g}"
    if not math.isfinite(row.measured) or not 1 < row.measured <= row.budget_factor:
        return f"measured is {row.measured}, expected more than 1 and at most budget_factor {row.budget_factor:g}"
    if not 0 < (row.expires - row.date).days <= LONGEST_DAYS:
        return f"expires is {row.expires}, expected at most {LONGEST_DAYS} days after date {row.date}"
    return _check_texts({name: getattr(row, name) for name in ("kernel", "check", "case", "formats", "why")})


def _check_finding(row: Known) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not row.outcome.failed:
        return f"outcome is {row.outcome.value!r}, which is no failure"
    for name, versions in row.versions.items():
        try:
            SpecifierSet(versions)
        except InvalidSpecifier:
            return f"versions.{name} is {versions!r}, expected a range such as '>=2.13,<2.14'"
    names = ("id", "kernel", "check", "case", "reason", "formats")
    return _check_texts({name: getattr(row, name) for name in names} | {"devices": "".join(row.devices)})


def _check_texts(texts: Mapping[str, str]) -> str:
    empty = [name for name, value in texts.items() if not value.strip()]
    return f"{', '.join(empty)} is empty, expected a text" if empty else ""


def _once(keys: Iterable[tuple[str, ...]], file: str, what: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for key in keys:
        if key in seen:
            raise GoldenError(f"{file}: two rows are the {what} {' '.join(key)}; keep one of them")
        seen.add(key)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
