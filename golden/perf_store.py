"""The speed part of the golden store: `perf.<device slug>.jsonl`, a kernel's time in terms of its yardstick's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from lastbit.errors import GoldenError
from lastbit.golden import store
from lastbit.golden.store import REMEDY, hash_of, parsed, rounded, write
from lastbit.perf.speed import LEAST_RUNS

#: What stands in the place of an op in the name of a file, so that no numeric file is mistaken for one.
NAME = "perf"
VERSION = 1
#: Words of a key: kernel, formats, check, case, and how it was timed.
WORDS = 5


@dataclass(frozen=True, slots=True)
class PerfGolden:
    """How long a kernel took beside its yardstick on one case and one device, and who adopted it why."""

    #: "<kernel> <formats> <check> <case> <threads1-warm>".
    key: str
    #: Kernel of the same op, formats and case that it was timed beside, in the same process.
    yard: str
    #: Time of the kernel / time of the yardstick, median over processes; never seconds.
    ratio: float
    #: Standard deviation of its logarithm between processes.
    sd: float
    #: Fresh processes.
    runs: int
    #: Software of the kernel and of the yardstick.
    env: str
    #: Commit of the tree that the run came from, "" outside a repository.
    by: str
    #: Day of the run, ISO 8601.
    date: str
    reason: str
    v: int = VERSION

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.key.partition(" ")[0]


_FIELDS = tuple(item.name for item in fields(PerfGolden))


def encode(record: PerfGolden) -> str:
    """`record` as its line: key first, the other fields in order, its hash last."""
    body = {name: getattr(record, name) for name in _FIELDS}
    body |= {name: rounded(body[name]) for name in ("ratio", "sd")}
    return msgspec.json.encode({**body, "h": hash_of(list(body.values()))}).decode()


def decode(line: bytes, where: str) -> PerfGolden:
    """The record of one line; raises GoldenError, naming `where`, when anything is amiss."""
    try:
        data: Any = msgspec.json.decode(line)
        if not isinstance(data, dict) or set(data) != {*_FIELDS, "h"} or data["v"] != VERSION:
            raise GoldenError(f"{where}: expected {' '.join(_FIELDS)} h of version {VERSION}; {REMEDY}")
        stored = data.pop("h")
        record = msgspec.convert(data, PerfGolden)
        date.fromisoformat(record.date)
    except ValueError as error:  # msgspec's errors, UnicodeDecodeError
        raise GoldenError(f"{where}: {error}; {REMEDY}") from error
    if not 0 < record.ratio < math.inf or not 0 <= record.sd < math.inf or record.runs < LEAST_RUNS:
        what = f"ratio is {record.ratio!r}, sd is {record.sd!r}, runs is {record.runs!r}"
        raise GoldenError(f"{where}: {what}; expected numbers above 0, from 0, and from {LEAST_RUNS} on; {REMEDY}")
    if len(record.key.split(" ")) != WORDS:
        raise GoldenError(f"{where}: key is {record.key!r}, expected {WORDS} words; {REMEDY}")
    if stored != (expected := hash_of([getattr(record, name) for name in _FIELDS])):
        raise GoldenError(f"{where}: h is {stored!r}, the line's content gives {expected!r}: it was edited; {REMEDY}")
    return record


def load(path: Path) -> dict[str, PerfGolden]:
    """The records of one file by key; raises GoldenError as store.load does."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GoldenError(f"{path}: cannot read ({error.strerror}); check the folder given as golden") from error
    return parsed(content, str(path), decode)


def save(path: Path, records: Mapping[str, PerfGolden]) -> None:
    """Write a file whole, as store.write does."""
    write(path, {record.key: encode(record) for record in records.values()})


def path_of(folder: Path, slug: str) -> Path:
    """Where the speed baselines of the device `slug` are kept in `folder`."""
    return store.path_of(folder, NAME, slug)


def is_perf(path: Path) -> bool:
    """Whether a golden file's name is that of speed baselines."""
    return path.name.startswith(f"{NAME}.")


def find(slug: str, folder: Path | None = None) -> dict[str, PerfGolden]:
    """The speed baselines of exactly the device `slug`: shipped ones, overlaid by those of `folder`.

    A relative's say nothing: a ratio of two kernels changes with the CPU model. An unknown device has none.
    Raises GoldenError when a file cannot be used.
    """
    if "unknown" in slug.split("-"):
        return {}
    shipped = Path(str(resources.files("lastbit.golden")))
    found: dict[str, PerfGolden] = {}
    for one in dict.fromkeys([shipped.resolve(), folder.resolve() if folder is not None else shipped.resolve()]):
        path = path_of(one, slug)
        if path.is_file():
            found |= load(path)
    return found
