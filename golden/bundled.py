"""The baselines that a stored run was compared with: taken along in a bundle, and compared again when it is checked."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lastbit.errors import GoldenError
from lastbit.golden import perf_store, store
from lastbit.golden.drift import compare
from lastbit.golden.store import Golden
from lastbit.verdict import Record

if TYPE_CHECKING:
    from lastbit.reports.run import Run

#: What a record says of a baseline of another device, between it and what the record would be beside it.
_NEW, _WOULD = "new: on ", " it would be "
_STATES = ("same", "drifted", "better", "stale")

#: Where the golden files of a bundle are.
FOLDER = Path("golden")

Baselines = dict[str, dict[str, Golden]]


def used(run: "Run", folder: Path) -> dict[str, bytes]:
    """Golden files by their names in a bundle: just the lines of `folder` and lastbit that `run` was compared with.

    Raises GoldenError where a record does not follow from them: the run had another folder, or it has changed since.
    """
    found: dict[tuple[str, str], dict[str, Golden]] = {}
    stored: dict[str, Baselines] = {}
    for record, slug, _ in _compared(run):
        op = record.op
        stored[op] = stored.get(op) or store.find(op, folder)
        if (golden := stored[op].get(slug, {}).get(store.key(record))) is not None:
            found.setdefault((op, slug), {})[golden.key] = golden
    files = {store.path_of(FOLDER, *names).as_posix(): _content(lines) for names, lines in found.items()}
    if wrong := unproved(run, files):
        rest = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise GoldenError(f"{folder}: {wrong[0]}{rest}; name the folder of the run with --golden DIR, or run it again")
    return files | _speeds(run, folder)


def unproved(run: "Run", files: Mapping[str, bytes]) -> list[str]:
    """A sentence for each record whose golden state does not follow from the golden `files`, and for each file that is
    none of them or holds what no record was compared with; no files and no states are no fault."""
    try:
        day = date.fromisoformat(run.header.started[:10])
    except ValueError:
        return [f"the run says that it was started {run.header.started[:40]!r}, which is no day"]
    wrong: list[str] = []
    baselines: dict[str, dict[str, Golden]] = {}
    for name, content in files.items():
        try:
            perf = perf_store.is_perf(Path(name))
            store.parsed(content, name, perf_store.decode) if perf else store.check_name(Path(name))
            baselines[name] = {} if perf else store.parsed(content, name, store.decode)
        except GoldenError as error:
            wrong.append(str(error))
    left = {(name, key) for name, lines in baselines.items() for key in lines}
    for record, slug, state in _compared(run):
        name, key = store.path_of(FOLDER, record.op, slug).as_posix(), store.key(record)
        left.discard((name, key))
        golden = baselines.get(name, {}).get(key)
        wrong += _wrong(record, state, golden, f"{name} has no baseline of it", day)
    return wrong + [f"{name}: no record was compared with its line of {key}" for name, key in sorted(left)]


def _wrong(record: Record, state: str, golden: Golden | None, missing: str, day: date) -> list[str]:
    """What is wrong with the golden state that a record says."""
    if golden is None:
        return [f"{store.key(record)} says golden {state}, but {missing}"]
    drift = compare(record, golden, day)
    if drift.state != state or drift.reason not in f"{record.golden}\n{record.reason}":
        return [
            f"{store.key(record)} says golden {state}, but by its baseline it is {drift.state} {drift.reason}".rstrip()
        ]
    return []


def _compared(run: "Run") -> Iterator[tuple[Record, str, str]]:
    """Each record of results that was compared with a baseline: of which device, and how it says that it stands."""
    devices = run.header.environment.devices
    for record in run.records:
        if record.timing is not None:
            continue
        if record.golden.startswith(_NEW) and _WOULD in record.golden:
            slug, _, state = record.golden.removeprefix(_NEW).partition(_WOULD)
            yield record, slug, state.partition(",")[0]
        elif (state := record.golden.partition(":")[0]) in _STATES:
            yield record, devices.get(record.device, ""), state


def _speeds(run: "Run", folder: Path) -> dict[str, bytes]:
    """The baselines of the kernels and cases that the run timed, by file name; how it compared is not proved again."""
    timed = {_timed(store.key(record)) for record in run.records if record.timing is not None and record.golden}
    files = {}
    for slug in sorted(set(run.header.environment.devices.values())) if timed else ():
        lines = {key: one for key, one in perf_store.find(slug, folder).items() if _timed(key) in timed}
        if lines:
            text = "".join(f"{perf_store.encode(lines[key])}\n" for key in sorted(lines))
            files[perf_store.path_of(FOLDER, slug).as_posix()] = text.encode()
    return files


def _timed(key: str) -> tuple[str, str, str]:
    kernel, formats, _, case = key.split(" ")[:4]
    return kernel, formats, case


def _content(lines: Mapping[str, Golden]) -> bytes:
    return "".join(f"{store.encode(lines[key])}\n" for key in sorted(lines)).encode()
