"""The golden store: `<op>.<device slug>.jsonl`, one sorted, hashed record a line; read strictly, written whole."""

import hashlib
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from lastbit.environment import Fingerprint
from lastbit.errors import GoldenError
from lastbit.verdict import Record

#: Schema of a record. A reader refuses a newer one; a change of schema adds its migration to `_migrated`.
VERSION = 1
#: Floats are stored and compared at this many significant digits: printing must not make differences.
DIGITS = 4
_NAME = re.compile(r"(?P<op>[a-z_]+)\.(?P<slug>[a-z0-9_.+-]+)\.jsonl")
REMEDY = "take the line from git, or remove it and adopt it again with: lastbit golden accept RUN"


class Keyed(Protocol):
    """A record of a golden file."""

    @property
    def key(self) -> str:
        """What the file is sorted by."""


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Golden:
    """What was observed of one kernel, formats, check and case on one kind of device, and who adopted it why."""

    #: "<kernel> <formats> <check> <case>".
    key: str
    #: Elements compared.
    n: int
    max_ulp: float
    p99_ulp: float
    #: Root mean square of error / statistical budget.
    rms: float
    #: mean(error * sign) / mean |error|.
    bias: float
    #: Largest error / allowed error.
    utilisation: float
    #: Hash of the output, valid for `seed` and `env` only; "" where the kernel does not repeat its bits.
    digest: str
    seed: int
    #: Environment.software of the kernel.
    env: str
    #: Commit of the tree that the run came from, "" outside a repository.
    by: str
    #: Day of the run that it was adopted from, ISO 8601.
    date: str
    reason: str
    v: int = VERSION

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.key.partition(" ")[0]


#: The largest statistic that a file holds.
LARGEST = 1.797e308
_FLOATS = ("max_ulp", "p99_ulp", "rms", "bias", "utilisation")
_FIELDS = tuple(item.name for item in fields(Golden))


def key(record: Record) -> str:
    """The golden key of a record: kernel, formats, check and case; the device is the file's."""
    return " ".join((record.kernel, record.formats.replace(" ", ","), record.check, record.case))


def comparable(record: Record) -> bool:
    """Whether the record has statistics that can drift; where one answer is right (allowed 0) there is nothing to."""
    return record.stats is not None and record.stats.n > 0 and record.allowed != 0


def golden(record: Record, *, env: str, by: str, day: str, reason: str) -> Golden:
    """The golden record of a passing, comparable record; raises GoldenError for any other."""
    if record.outcome != "pass" or record.stats is None or not comparable(record):
        raise GoldenError(f"{key(record)}: outcome is {record.outcome.value}, only a pass with statistics is adopted")
    stats: dict[str, Any] = {name: rounded(getattr(record.stats, name)) for name in _FLOATS}
    odd = [name for name, value in stats.items() if not math.isfinite(value)]
    if odd:
        raise GoldenError(f"{key(record)}: {', '.join(odd)} is not finite; a baseline holds numbers only")
    return Golden(
        key=key(record), n=record.stats.n, **stats, digest=record.digest, seed=record.seed, env=env, by=by, date=day,
        reason=reason,
    )  # fmt: skip


def rounded(value: float) -> float:
    """`value` at DIGITS significant digits, as a golden file holds it; LARGEST stands for all that is larger, such as
    an error in ulp of a truth that is far below every number."""
    return float(f"{min(value, LARGEST):.{DIGITS - 1}e}")


def encode(record: Golden) -> str:
    """`record` as its line: key first, the other fields in order, its hash last."""
    body = {name: getattr(record, name) for name in _FIELDS}
    return msgspec.json.encode({**body, "h": _hash(body)}).decode()


def decode(line: bytes, where: str) -> Golden:
    """The record of one line; raises GoldenError, naming `where`, when anything is amiss."""
    try:
        data: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GoldenError(f"{where}: not a line of JSON in UTF-8 ({error}); {REMEDY}") from error
    if not isinstance(data, dict):
        raise GoldenError(f"{where}: {str(data)[:40]!r} is not a JSON object; {REMEDY}")
    data = _migrated(data, where)
    stored = data.pop("h", None)
    missing, unknown = [set(_FIELDS) - set(data), set(data) - set(_FIELDS)]
    if missing or unknown:
        what = f"lacks {', '.join(sorted(missing))}" if missing else f"has unknown {', '.join(sorted(unknown))}"
        raise GoldenError(f"{where}: the record {what}, expected {' '.join(_FIELDS)} h; {REMEDY}")
    for name in _FLOATS:
        if not isinstance(data[name], float | int) or isinstance(data[name], bool) or not math.isfinite(data[name]):
            raise GoldenError(f"{where}: {name} is {data[name]!r}, expected a finite number; {REMEDY}")
        if abs(data[name]) > 1 if name == "bias" else data[name] < 0:
            rule = "a number from -1 to 1" if name == "bias" else "no negative number"
            raise GoldenError(f"{where}: {name} is {data[name]!r}, expected {rule}; {REMEDY}")
    try:
        record = msgspec.convert(data, Golden)
        date.fromisoformat(record.date)
    except ValueError as error:  # msgspec's ValidationError is one
        raise GoldenError(f"{where}: {error}; {REMEDY}") from error
    if len(record.key.split(" ")) != 4 or record.n < 1:
        what = f"key is {record.key!r}, n is {record.n}, expected '<kernel> <formats> <check> <case>' and n >= 1"
        raise GoldenError(f"{where}: {what}; {REMEDY}")
    if stored != (expected := _hash({name: getattr(record, name) for name in _FIELDS})):
        raise GoldenError(f"{where}: h is {stored!r}, the line's content gives {expected!r}: it was edited; {REMEDY}")
    return record


def load(path: Path) -> dict[str, Golden]:
    """The records of one golden file by key.

    Raises GoldenError, naming file and line, when it is not UTF-8, cut off, unsorted, has a key twice, or holds a
    record that `decode` refuses: whatever a careless merge can leave.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GoldenError(f"{path}: cannot read ({error.strerror}); check the folder given as golden") from error
    return parsed(content, str(path), decode)


def find(op: str, folder: Path | None) -> dict[str, dict[str, Golden]]:
    """Every baseline of `op`, by device slug and key: those shipped with lastbit, overlaid by those of `folder`."""
    found: dict[str, dict[str, Golden]] = {}
    shipped = resources.files("lastbit.golden")
    for entry in sorted(shipped.iterdir(), key=lambda entry: entry.name):
        if (name := _NAME.fullmatch(entry.name)) and name["op"] == op:
            found[name["slug"]] = parsed(entry.read_bytes(), str(entry), decode)
    if folder is None or not folder.is_dir() or folder.resolve() == Path(str(shipped)).resolve():
        return found
    for path in files(folder):
        name = check_name(path)
        if name["op"] == op:
            found[name["slug"]] = found.get(name["slug"], {}) | load(path)
    return found


def files(folder: Path) -> list[Path]:
    """The golden files of a folder, by name; raises GoldenError for a *.jsonl that is not named as one."""
    paths = sorted(folder.glob("*.jsonl"))
    for path in paths:
        check_name(path)
    return paths


def check_name(path: Path) -> re.Match[str]:
    """The groups op and slug of a golden file's name; raises GoldenError when it is not named as one."""
    name = _NAME.fullmatch(path.name)
    try:
        if name is None:
            raise ValueError("no op and device slug")
        Fingerprint.parse(name["slug"])
    except ValueError as error:
        raise GoldenError(
            f"{path}: {error}; a golden file is named <op>.<device slug>.jsonl, move others away"
        ) from error
    return name


def path_of(folder: Path, op: str, slug: str) -> Path:
    """Where the baselines of `op` on the device `slug` are kept in `folder`."""
    return folder / f"{op}.{slug}.jsonl"


def save(path: Path, records: Mapping[str, Golden] | Iterable[Golden]) -> None:
    """`write` of numeric records."""
    write(path, {record.key: encode(record) for record in _values(records)})


def write(path: Path, lines: Mapping[str, str]) -> None:
    """Write a golden file whole, lines by key: to a temporary file beside it, then renamed, so that a reader sees the
    old or the new.

    No records at all removes the file. Raises GoldenError when the folder cannot be written; the old file then stays.
    """
    text = "".join(f"{lines[key]}\n" for key in sorted(lines))
    temporary = ""
    try:
        if not text:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's own 0600 would hide the file from the rest of a team
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise GoldenError(
            f"{path}: cannot write ({error.strerror}); nothing changed, free space or permit it"
        ) from error


def parsed(content: bytes, name: str, decode: Callable[[bytes, str], K]) -> dict[str, K]:
    """The records of a golden file's content by key, each line read by `decode`; raises GoldenError as `load` does."""
    lines = content.split(b"\n")
    if lines.pop() != b"":
        raise GoldenError(f"{name}:{len(lines) + 1}: the last line has no end, the file was cut off; {REMEDY}")
    records: dict[str, K] = {}
    last = ""
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}"
        if line.startswith((b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")):
            raise GoldenError(f"{where}: a merge conflict is not resolved; keep one line of each key, sorted by key")
        record = decode(line, where)
        if record.key in records:
            raise GoldenError(f"{where}: key {record.key!r} is there twice; keep one of the two lines")
        if record.key < last:
            raise GoldenError(f"{where}: key {record.key!r} comes after {last!r}, expected sorted lines; sort the file")
        records[record.key] = record
        last = record.key
    return records


def _values(records: Mapping[str, Golden] | Iterable[Golden]) -> Iterable[Golden]:
    return records.values() if isinstance(records, Mapping) else records


def _migrated(data: dict[str, Any], where: str) -> dict[str, Any]:
    """`data` in the current schema."""
    version = data.get("v")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise GoldenError(f"{where}: v is {version!r}, expected the schema's number, {VERSION}; {REMEDY}")
    if version > VERSION:
        raise GoldenError(f"{where}: v is {version}, this lastbit reads up to {VERSION}; update lastbit")
    return data


def _hash(body: Mapping[str, Any]) -> str:
    return hash_of([body[name] for name in _FIELDS])


def hash_of(values: list[Any]) -> str:
    """Eight hex digits over a record's fields in order; it finds edits and bad merges, it is no signature."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:8]
