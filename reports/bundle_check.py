"""Whether a submission bundle proves what it says: its hashes hold, and all of it follows from its records."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from lastbit import policy, settling
from lastbit.errors import BundleError, RecordError
from lastbit.reports import folder, summary
from lastbit.reports.bundle import MANIFEST, Manifest, encode, entries
from lastbit.reports.bundle_facts import facts, strange
from lastbit.reports.run import NAME, read
from lastbit.reports.run_data import Run
from lastbit.verdict import Outcome, Record

ENVIRONMENT, POLICY, GOLDEN = "environment.json", "policy.json", "golden/"


def contents(run: Run, records: bytes, rows: policy.Rows, goldens: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every file of the bundle of `run` by name: `records` is its run.jsonl, the rest is made of that here.

    `rows` are the policy files of the run, `goldens` the baselines that it was compared with. Raises BundleError where
    the run did not come to its end, or its records do not follow from those.
    """
    if not run.complete or run.footer is None:
        raise BundleError("the run did not come to its end, a bundle of it would prove nothing; run it again")
    files = {NAME: records, ENVIRONMENT: encode(run.header.environment), POLICY: encode(_relevant(run, rows))}
    files |= goldens
    files |= report(run, records)
    if wrong := [*_coherent(run), *_policy_faults(run, files)]:
        raise BundleError(f"{wrong[0]}; run it again")
    return files | {MANIFEST: encode(_manifest(run, files))}


def faults(files: Mapping[str, bytes], said: Manifest) -> tuple[Run | None, list[str]]:
    """The run in a bundle, and a sentence for each thing that does not follow; none: it is proved.

    Where hashes do not hold nothing else is looked at. Baselines are not looked at (golden/bundled.py).
    """
    if wrong := list(_changed(files, said)):
        return None, wrong
    try:
        run = _run(files)
    except RecordError as error:
        return None, [str(error)]
    if not run.complete or run.footer is None:
        return run, [f"{NAME}: the run did not come to its end"]
    wrong = [*_coherent(run), *_policy_faults(run, files)]
    if files.get(ENVIRONMENT) != encode(run.header.environment):
        wrong.append(f"{ENVIRONMENT}: is not the environment of {NAME}")
    head = _manifest(run, files)
    wrong += [
        f"{MANIFEST}: {name} is {getattr(said, name)!r}, by {NAME} it is {getattr(head, name)!r}"
        for name in ("commit", "dirty", "started", "verdict", "exitstatus")
        if getattr(said, name) != getattr(head, name)
    ]
    return run, wrong + list(_written(run, files, said.writer == head.writer))


def report(run: Run, records: bytes) -> dict[str, bytes]:
    """Every file of the report of `run` by name, as it is written beside `records`, the run.jsonl."""
    with tempfile.TemporaryDirectory(prefix="lastbit-") as place:
        (Path(place) / NAME).write_bytes(records)
        folder.write(run, Path(place))
        return {path.name: path.read_bytes() for path in Path(place).iterdir() if path.name != NAME}


def same_writer(said: Manifest) -> bool:
    """Whether the bundle's report was written by the code that is here."""
    return said.writer == _writer()


def _changed(files: Mapping[str, bytes], said: Manifest) -> Iterator[str]:
    there = {name: entry for name, entry in entries(files).items() if name != MANIFEST}
    for name in sorted(set(said.files) | set(there)):
        if name not in there:
            yield f"{name}: is missing, {MANIFEST} names it"
        elif name not in said.files:
            yield f"{name}: {MANIFEST} does not name it"
        elif there[name] != said.files[name]:
            hashes = (there[name].sha256[:16], said.files[name].sha256[:16])
            yield f"{name}: is not what was packed, its sha256 is {hashes[0]}…, {MANIFEST} says {hashes[1]}…"


def _run(files: Mapping[str, bytes]) -> Run:
    """The run of a bundle; raises RecordError."""
    with tempfile.TemporaryDirectory(prefix="lastbit-") as place:
        path = Path(place) / NAME
        path.write_bytes(files.get(NAME, b""))
        try:
            return read(path)
        except (RecordError, RecursionError) as error:
            raise RecordError(str(error).replace(str(path), NAME)) from error


def _manifest(run: Run, files: Mapping[str, bytes]) -> Manifest:
    here = run.header.environment
    verdict = summary.verdict([record for record in run.records if record.timing is None], len(run.gone))
    status = run.footer.exitstatus if run.footer else -1
    rest = {name: content for name, content in files.items() if name != MANIFEST}
    version = here.packages.get("lastbit", "")
    return Manifest(version, _writer(), here.commit, here.dirty, run.header.started, verdict, status, entries(rest))


@cache
def _writer() -> str:
    """A hash of the code and templates that write reports: what is the same writes the same bytes."""
    found = hashlib.sha256()
    package = resources.files("lastbit.reports")
    for place in (resources.files("lastbit"), package, package / "templates"):
        for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
            if entry.is_file() and not entry.name.endswith(".pyc"):
                found.update(entry.name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _coherent(run: Run) -> Iterator[str]:
    """What records say that cannot all be true."""
    seen: set[str] = set()
    for record in run.records:
        if record.key in seen:
            yield f"{NAME}: two records are of {record.key}"
        seen.add(record.key)
        if told := _contradiction(record):
            yield f"{NAME}: {record.key} {told}"
    strict = bool(run.header.options.get("strict"))
    if run.footer and not run.footer.exitstatus and (status := settling.exit_status(run.records, strict)):
        yield f"{NAME}: its end says exit status 0, by its records it is {status}"


def _contradiction(record: Record) -> str:
    if record.measured is None or record.allowed is None:
        return ""
    over = record.measured > record.allowed
    if over != (record.outcome is Outcome.OVER_BUDGET) and record.outcome in (Outcome.PASS, Outcome.OVER_BUDGET):
        return f"says {record.outcome.value}, but measured {record.measured!r} where {record.allowed!r} is allowed"
    return ""


def _relevant(run: Run, rows: policy.Rows) -> policy.Rows:
    """The rows that the run's records name or were judged by."""
    named = {record.known for record in run.records}
    budgets = policy.in_force(rows.overrides, date.fromisoformat(run.header.started[:10]))
    return policy.Rows(tuple(budgets), tuple(row for row in rows.findings if row.id in named))


def _policy_faults(run: Run, files: Mapping[str, bytes]) -> list[str]:
    """A sentence for each known finding that no row of the bundle's policy explains."""
    try:
        rows = msgspec.json.decode(files.get(POLICY, b""), type=policy.Rows)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        return [f"{POLICY}: {error}"]
    if encode(rows) != files.get(POLICY):
        return [f"{POLICY}: is not written as lastbit writes it"]
    here = run.header.environment
    known = [record for record in run.records if record.known and record.outcome.failed]
    try:
        wrong = [record for record in known if policy.known(record, rows.findings, here) != record.known]
    except ValueError as error:  # a range of versions that is none
        return [f"{POLICY}: {error}"]
    return [f"{NAME}: {one.key} fails as finding {one.known}, which no row of {POLICY} says" for one in wrong]


def _written(run: Run, files: Mapping[str, bytes], same: bool) -> Iterator[str]:
    """What of the report does not follow from the records; only its facts where another lastbit wrote it."""
    try:
        made = report(run, files[NAME])
    except Exception as error:  # no report can be made of records that no run leaves; they are a stranger's
        yield f"{NAME}: no report can be made of it: {type(error).__name__} {error}"
        return
    given = {
        name for name in files if name not in (MANIFEST, NAME, ENVIRONMENT, POLICY) and not name.startswith(GOLDEN)
    }
    for name in sorted(given | set(made)):
        if name not in made:
            yield f"{name}: is no file of a report"
        elif name not in files:
            if same:
                yield f"{name}: is missing"
        elif files[name] != made[name] and (same or facts(name, files[name]) != facts(name, made[name])):
            yield f"{name}: does not follow from {NAME}: {_difference(files[name], made[name])}"
        elif number := strange(name, files[name], made[name] + files[NAME]):
            yield f"{name}: does not follow from {NAME}: {number} is no number of it"


def _difference(given: bytes, made: bytes) -> str:
    """Where two texts part, in words."""
    pairs = enumerate(zip(given.split(b"\n"), made.split(b"\n"), strict=False), 1)
    number, one, other = next(((i, a, b) for i, (a, b) in pairs if a != b), (0, b"", b""))
    if not number:
        return f"it has {len(given)} bytes, by the records {len(made)}"
    start = max(next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0) - 20, 0)
    said, right = (summary.clean(text[start : start + 80].decode("utf-8", "replace"), 60) for text in (one, other))
    return f"line {number} is {said!r}, by the records {right!r}"
