"""A run of speeds as a file, speed.jsonl: the environment, then one measured speed a line; written whole."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from lastbit.environment import Environment
from lastbit.errors import RecordError
from lastbit.perf.speed import Speed

NAME = "speed.jsonl"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Header:
    """The first line."""

    #: Day of the run, ISO 8601.
    date: str
    environment: Environment
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class PerfRun:
    """What one run measured, and where."""

    header: Header
    speeds: tuple[Speed, ...]


def made(environment: Environment, speeds: Iterable[Speed], today: date | None = None) -> PerfRun:
    """A run of today."""
    day = today or datetime.now(UTC).date()
    return PerfRun(Header(day.isoformat(), environment), tuple(speeds))


def software(environment: Environment, speed: Speed) -> str:
    """The software that a speed depends on: the kernel's and the yardstick's."""
    words = [*environment.software(speed.kernel).split(), *environment.software(speed.yard).split()]
    return " ".join(dict.fromkeys(words))


def write(folder: Path, run: PerfRun) -> Path:
    """Write the run into `folder` and return its file; raises OSError where that is impossible."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(msgspec.json.encode(line) + b"\n" for line in (run.header, *run.speeds))
        os.replace(temporary, folder / NAME)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return folder / NAME


def read(path: Path) -> PerfRun:
    """The run in a folder, or in a file; raises RecordError where there is none, or a line is not as it was written."""
    path = path / NAME if path.is_dir() else path
    try:
        first, *lines = path.read_bytes().splitlines() or [b""]
        header = msgspec.json.decode(first, type=Header)
        date.fromisoformat(header.date)
        run = PerfRun(header, tuple(msgspec.json.decode(line, type=Speed) for line in lines))
    except OSError as error:
        raise RecordError(f"{path}: cannot read ({error.strerror}); give the folder or {NAME} of a run") from error
    except ValueError as error:  # msgspec's errors are some
        raise RecordError(f"{path}: {error}; make the run again: lastbit golden speed") from error
    if header.v != VERSION:
        raise RecordError(f"{path}: v is {header.v}, expected {VERSION}; make the run again: lastbit golden speed")
    return run


def is_there(path: Path) -> bool:
    """Whether `path` is a run of speeds: its file, or a folder that has it."""
    return path.name == NAME if not path.is_dir() else (path / NAME).is_file()
