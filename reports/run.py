"""run.jsonl: a run's records as JSON lines, written as they happen and read back strictly."""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lastbit.errors import RecordError
from lastbit.histogram import flaw
from lastbit.reports.run_data import NOT_NEGATIVE, VERSION, Explained
from lastbit.reports.run_data import Footer as Footer
from lastbit.reports.run_data import Header as Header
from lastbit.reports.run_data import Part as Part
from lastbit.reports.run_data import Run as Run
from lastbit.verdict import ErrorStats, Record

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are then not told apart
    fcntl = None  # type: ignore[assignment]

NAME = "run.jsonl"
#: Longest text kept of a field that a kernel can write into (a reason, a note): it must not fill the disk.
LONGEST_TEXT = 20_000

T = TypeVar("T")


class RunWriter:
    """Appends a run's records to `folder`/run.jsonl, one write a record.

    A folder that cannot be written never stops the run: `problem` then says why, and the run must not exit with 0.
    A finished earlier run in the same folder is kept as run.previous.jsonl.
    """

    def __init__(self, folder: Path | str, header: Header | None = None, *, tier: str = "smoke", seed: int = 0) -> None:
        self.path = Path(folder) / NAME
        self.problem = ""
        self.written = 0
        self.lost = 0
        self._fd: int | None = None
        if header is None:
            from lastbit.environment import environment

            header = Header(environment(), tier, seed, _now())
        self.header = header if header.started else replace(header, started=_now())
        try:
            self._fd = _open(self.path)
        except OSError as error:
            self._fail(error)
        else:
            self._append(_line("run", self.header))

    def write(self, record: Record) -> None:
        """Store one record; on failure count it as lost and go on."""
        if self._append(encode(record).encode() + b"\n"):
            self.written += 1
        else:
            self.lost += 1

    def close(
        self,
        exitstatus: int = 0,
        notes: Sequence[str] = (),
        gone: Sequence[str] = (),
        explained: Explained | None = None,
    ) -> None:
        """Write the footer and let go of the file; more than once is once."""
        if self._fd is not None:
            said = (tuple(_text(note) for note in notes), tuple(_text(note) for note in gone))
            footer = Footer(_now(), self.written, exitstatus, self.lost, *said, explained or Explained())
            self._append(_line("end", footer))
            os.close(self._fd)
            self._fd = None

    def _append(self, line: bytes) -> bool:
        if self._fd is None:
            return False
        written = 0
        try:
            written = os.write(self._fd, line)
            if written == len(line):
                return True
            raise OSError("the disk is full")
        except OSError as error:
            self._fail(error)
        if written:  # half a line would make the next one unreadable
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        return False

    def _fail(self, error: OSError) -> None:
        if not self.problem:
            why = error.strerror or str(error)
            self.problem = (
                f"{self.path}: cannot write ({why}); records are missing from this run; "
                "free space or give another folder with --lastbit-report DIR"
            )


def unwritable(folder: Path) -> str:
    """Why no run can be stored in `folder`, or ""; it need not be there yet."""
    if folder.is_dir():
        return "" if os.access(folder, os.W_OK | os.X_OK) else "it may not be written"
    if folder.exists():
        return "it is a file"
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        return f"{above} is a file"
    return "" if os.access(above, os.W_OK | os.X_OK) else f"{above} may not be written"


def encode(record: Record) -> str:
    """`record` as one line of JSON without line end.

    Every record can be encoded: numbers that JSON has no name for become null or are moved, as text, into `notes`,
    long texts are cut at LONGEST_TEXT characters, lone surrogates replaced.
    """
    return _line("record", _storable(record)).decode().rstrip("\n")


def decode(text: str | bytes, where: str = "record") -> Record:
    """The record of one line; raises RecordError, naming `where`, when it is not exactly one."""
    kind, data = _object(text, where)
    if kind != "record":
        raise RecordError(f"{where}: type is {kind!r}, expected 'record'; only run.jsonl lines of lastbit are read")
    return _record(data, where)


def read(path: Path | str) -> Run:
    """The run in file or folder `path`.

    An unfinished last line (killed run) is left out and counted in `torn`; anything else amiss raises RecordError.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot read ({error.strerror}); give the folder or run.jsonl of a run") from error
    *lines, torn = content.split(b"\n")
    if not lines:
        raise RecordError(f"{path}: no complete line; the run was killed before it began, run it again")
    kind, data = _object(lines[0], f"{path}:1")
    if kind != "run":
        raise RecordError(f"{path}:1: type is {kind!r}, expected 'run'; the head of this file is missing, run it again")
    if data.get("v") != VERSION:
        raise RecordError(f"{path}:1: v is {data.get('v')!r}, expected {VERSION}; use the lastbit that wrote it")
    header = _convert(data, Header, f"{path}:1")
    footer: Footer | None = None
    records: list[Record] = []
    for number, line in enumerate(lines[1:], 2):
        where = f"{path}:{number}"
        if footer is not None:
            raise RecordError(f"{where}: a line after the end of the run; two runs were joined, use: lastbit merge")
        kind, data = _object(line, where)
        if kind == "end":
            footer = _convert(data, Footer, where)
        elif kind == "record":
            records.append(_record(data, where))
        else:
            raise RecordError(f"{where}: type is {kind!r}, expected 'record' or 'end'; run it again")
    if footer is not None and footer.records != len(records):
        raise RecordError(
            f"{path}: the end says {footer.records} records, there are {len(records)}; lines were removed, run it again"
        )
    complete = footer is not None and not footer.lost and not torn
    return Run(header, tuple(records), complete, footer, len(torn), hashlib.sha256(content).hexdigest())


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size:
        _locked(fd := os.open(path, os.O_RDWR), path)
        os.close(fd)
        path.replace(path.with_suffix(".previous.jsonl"))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    _locked(fd, path)
    return fd


def _locked(fd: int, path: Path) -> None:
    """Hold `fd` for this process alone; raises OSError when another run writes it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise OSError(f"another run is writing {path.name} there") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(kind: str, value: Any) -> bytes:
    return msgspec.json.encode({"type": kind, **msgspec.to_builtins(value)}) + b"\n"


def _object(line: str | bytes, where: str) -> tuple[str, dict[str, Any]]:
    line = line.encode(errors="surrogatepass") if isinstance(line, str) else line
    try:
        data = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{where}: not a line of JSON in UTF-8 ({error}); it is damaged, run it again") from error
    # What a dictionary gives byte for byte has no key twice, and every line that lastbit wrote is that.
    if msgspec.json.encode(data) != line and (twice := _twice(line)):
        raise RecordError(
            f"{where}: has {twice[:40]!r} twice, which of them holds is open; it was edited, run it again"
        )
    if not isinstance(data, dict):
        raise RecordError(f"{where}: {str(data)[:40]!r} is not a JSON object; the file is damaged, run it again")
    return str(data.pop("type", "")), data


def _twice(line: bytes) -> str:
    """A key that an object of the line has more than once, or ""."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    json.loads(line.decode(), object_pairs_hook=look, parse_int=str, parse_float=str)
    return next(iter(found), "")


def _convert(data: dict[str, Any], kind: type[T], where: str) -> T:
    unknown = sorted(set(data) - {item.name for item in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise RecordError(f"{where}: unknown field {', '.join(unknown)}; read it with the lastbit that wrote it")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise RecordError(f"{where}: {error}; the file is damaged or of another version, run it again") from error


def _record(data: dict[str, Any], where: str) -> Record:
    record = _convert(data, Record, where)
    if wrong := flaw(record.histogram) or next(_negative(record), ""):
        raise RecordError(f"{where}: {wrong}; the file is damaged, run it again")
    return record


def _negative(part: Record | ErrorStats | None) -> Iterator[str]:
    """What is below 0 and cannot be."""
    for name in NOT_NEGATIVE[type(part)] if part is not None else ():
        if (value := getattr(part, name)) < 0:
            yield f"{name} is {value!r}, expected 0 or more"
    if isinstance(part, Record):
        yield from _negative(part.stats)


def _storable(record: Record) -> Record:
    notes = {_text(str(name)): _text(str(value)) for name, value in record.notes.items()}
    changed: dict[str, Any] = {}
    for item in fields(Record):
        value = getattr(record, item.name)
        if item.name in ("measured", "allowed", "allowed_ulp", "seconds") and value is not None:
            changed[item.name] = float(value)
            if not math.isfinite(value) or (item.name in NOT_NEGATIVE[Record] and value < 0):
                changed[item.name] = 0.0 if item.name in NOT_NEGATIVE[Record] else None
                notes[item.name] = str(value)
        elif item.name == "terms" and value < 0:
            changed[item.name], notes[item.name] = 0, str(value)
        elif isinstance(value, str) and item.name != "outcome":
            changed[item.name] = _text(value)
    if record.stats is not None:
        numbers = {item.name: _number(getattr(record.stats, item.name)) for item in fields(ErrorStats)}
        stats = changed["stats"] = ErrorStats(**numbers)
        odd = {name: value for name, value in numbers.items() if not math.isfinite(value)}
        if odd or any(_negative(stats)):
            changed["stats"] = None
            found = " ".join(f"{name}={value}" for name, value in (odd or numbers).items())
            notes["stats"] = f"{'not finite' if odd else 'below 0'}: {found}"
    return replace(record, **changed, seed=int(record.seed), notes=notes)


def _number(value: Any) -> Any:
    """A plain int or float of a NumPy number."""
    return value.item() if hasattr(value, "item") else value


def _text(value: str) -> str:
    value = value.encode("utf-8", "backslashreplace").decode()
    return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}… ({len(value)} characters)"
