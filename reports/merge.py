"""Merging runs: shards of one run, and runs of several machines, as one run whatever their order and how often."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from lastbit.environment import Environment
from lastbit.errors import RecordError
from lastbit.reports import merge_parts
from lastbit.reports.run import NAME, Header, Part, Run, encode
from lastbit.reports.summary import clean
from lastbit.verdict import Record

#: Conflicts that an error names; the rest is counted.
SHOWN = 20
#: A record's key, and the slug of the device that it was judged on.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged run, and what keeps it from being whole."""

    run: Run
    #: Missing shards and parts that did not come to their end, one sentence each; with one the run is not complete.
    lacks: tuple[str, ...] = ()


def merge(runs: Mapping[str, Run]) -> Merged:
    """The one run of `runs`, which are given by name (their paths): every part and every record once, sorted.

    A record that several runs have is kept once if they agree. Where a device's name ("cpu") stands for several
    machines, it gets what tells the machines apart: "cpu@avx2-intel_xeon-f6m85".

    Raises RecordError, naming the runs, where their lastbit, tier or seed differ, where software or commit differ on
    the same device, or where records of the same check on the same device have another outcome or digest.
    """
    _check_alike(runs)
    parts = merge_parts.parts(runs.values())
    names = merge_parts.device_names(parts)
    lacks = (*merge_parts.unfinished(parts), *merge_parts.missing(parts))
    records = tuple(sorted((_placed(record, slug, names) for (_, slug), record in _records(runs).items()), key=_order))
    first = next(iter(runs.values())).header
    header = Header(
        environment=merge_parts.environment(parts, names),
        tier=first.tier,
        seed=first.seed,
        started=min(part.started for part in parts),
        options=merge_parts.options(parts, whole=not lacks),
        parts=parts,
    )
    return Merged(Run(header, records, not lacks, None if lacks else merge_parts.footer(parts, records)), lacks)


def content(run: Run) -> bytes:
    """The bytes of run.jsonl that are read back as `run`."""
    lines = [("run", msgspec.json.encode(run.header))]
    ends = [] if run.footer is None else [("end", msgspec.json.encode(run.footer))]
    typed = [b'{"type":"%b",%b' % (kind.encode(), text[1:]) for kind, text in (*lines, *ends)]
    return b"".join(line + b"\n" for line in (typed[0], *(encode(one).encode() for one in run.records), *typed[1:]))


def write(run: Run, folder: Path) -> Path:
    """Store `run` as `folder`/run.jsonl: to a file beside it, then renamed, so that a reader sees the old or the new.

    Another run that was there is kept as run.previous.jsonl; the same one stays as it is.
    """
    path, text = folder / NAME, content(run)
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == text:
        return path
    handle, temporary = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's own 0600 would hide the file from the rest of a team
        if path.exists():
            path.replace(path.with_suffix(".previous.jsonl"))
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _check_alike(runs: Mapping[str, Run]) -> None:
    """Raise RecordError where what decides a verdict differs: of all runs, or of those on one device."""
    facts: dict[str, dict[str, str]] = {}
    for name, run in runs.items():
        header = run.header
        facts.setdefault("tier", {})[name] = header.tier
        facts.setdefault("seed", {})[name] = str(header.seed)
        for part in header.parts or (Part(header.environment),):
            facts.setdefault("lastbit", {})[name] = part.environment.packages.get("lastbit", "unknown")
            for slug in part.environment.devices.values():
                for what, value in _software(part.environment).items():
                    facts.setdefault(f"{what} on {slug}", {})[name] = value
    for what, values in facts.items():
        if len(set(values.values())) > 1:
            said = ", ".join(f"{clean(value, 200) or 'none'} in {clean(name, 100)}" for name, value in _firsts(values))
            raise RecordError(
                f"merge: {clean(what, 100)} is {said}, expected one; these are runs to be compared: lastbit compare A B"
            )


def _firsts(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """(name, value) of each value, by the first name that has it."""
    found: dict[str, str] = {}
    for name, value in sorted(values.items()):
        found.setdefault(value, name)
    return [(name, value) for value, name in found.items()]


def _software(environment: Environment) -> dict[str, str]:
    """What must be the same of all parts on one device, by name: it decides the bits that a kernel gives."""
    packages = " ".join(f"{name} {version}" for name, version in sorted(environment.packages.items()))
    switches = " ".join(f"{name}={value}" for name, value in sorted(environment.switches.items()))
    given = " ".join(f"{name}={value}" for name, value in sorted(environment.threads.items()))
    threads = given or f"{environment.cpus} CPUs"
    commit = environment.commit + (" (dirty)" if environment.dirty else "")
    return {
        "software": packages,
        "switches": switches,
        "threads": threads,
        "commit": commit,
    }


def _records(runs: Mapping[str, Run]) -> dict[Place, Record]:
    """Every record once, under its own device's name; raises RecordError where two contradict each other."""
    found: dict[Place, tuple[Record, str]] = {}
    conflicts: dict[Place, str] = {}
    for name, run in sorted(runs.items()):
        for record, slug in _own(run):
            place = record.key, slug
            other, of = found.setdefault(place, (record, name))
            if what := _contradiction(other, record):
                conflicts.setdefault(place, f"{clean(record.key, 300)}: {what[0]} in {of}, {what[1]} in {name}")
            elif _preference(record) < _preference(other):
                found[place] = record, name
    if conflicts:
        raise RecordError(_conflict(list(conflicts.values())))
    there = {record.kernel for record, _ in found.values() if record.case != "*"}
    # A kernel that one machine has no device for was judged on another.
    return {place: record for place, (record, _) in found.items() if record.case != "*" or record.kernel not in there}


def _own(run: Run) -> list[tuple[Record, str]]:
    """Each record under the name that its device had on its machine, and the device's slug."""
    devices = run.header.environment.devices
    if not run.header.parts:
        return [(record, devices.get(record.device, "")) for record in run.records]
    owns = {name: own for own, name in merge_parts.device_names(run.header.parts).items()}
    places = [owns.get(record.device, (record.device, "")) for record in run.records]
    return [(replace(record, device=device), slug) for record, (device, slug) in zip(run.records, places, strict=True)]


def _contradiction(one: Record, other: Record) -> tuple[str, str] | None:
    """In what the two differ that must be the same, or None."""
    if one.outcome is not other.outcome:
        return one.outcome.value, other.outcome.value
    if one.digest and other.digest and one.digest != other.digest:
        return f"digest {clean(one.digest, 20)}", f"digest {clean(other.digest, 20)}"
    return None


def _preference(record: Record) -> tuple[bool, str]:
    """Sort key of records that agree: one with a digest, for a later run to be held against; then any fixed order."""
    return not record.digest, encode(record)


def _conflict(lines: list[str]) -> str:
    head = (
        f"merge: {len(lines)} records of the same check on the same device contradict each other, nothing was written; "
        "the kernel does not repeat itself, or one run is of something else: judge again, or leave one of them out"
    )
    rest = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join([head, *lines[:SHOWN], *rest])


def _placed(record: Record, slug: str, names: merge_parts.Names) -> Record:
    return replace(record, device=names.get((record.device, slug), record.device))


def _order(record: Record) -> tuple[str, str]:
    return record.key, encode(record)
