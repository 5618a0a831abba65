"""Limits, what a device can do at most, as measured on it once: copy bandwidth and the peak of matrix products."""

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from lastbit.environment import Environment, Fingerprint, environment
from lastbit.errors import RecordError
from lastbit.perf.threads import limited

#: Schema of a stored file.
VERSION = 2
#: Days after which limits are measured again: firmware, and what else changes without a version, get older.
STALE_DAYS = 180
#: A figure is uncertain where fewer of its samples were clean, or where it does not repeat: the machine was busy, or
#: its clock moved.
LEAST_CLEAN = 0.5
MOST_APART = 0.05
#: Or where others had more than this share of all CPUs meanwhile: they had caches and memory, too, which no sample of
#: this process shows. A machine that is left alone has 1 or 2 %.
MOST_OTHERS = 0.1


@dataclass(frozen=True, slots=True)
class Figure:
    """One rate, and how sure it is."""

    #: Bytes or operations a second.
    per_s: float
    #: Share of the samples that were clean.
    clean_share: float
    #: How far it is from repeating, relative: between the two best rounds of a limit, two halves of one round.
    apart: float
    #: Share of all CPUs that other processes had while all limits were measured.
    others: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether the machine was too busy for this to be its limit."""
        return self.clean_share < LEAST_CLEAN or self.apart > MOST_APART or self.others > MOST_OTHERS


@dataclass(frozen=True, slots=True)
class Limits:
    """What one device, with so many threads, can do at most."""

    #: Its slug.
    device: str
    threads: int
    #: CPU or GPU by its full name, and how many CPUs.
    machine: str
    #: Packages that it was measured with: "torch2.13.0".
    software: str
    #: Day of the measurement, ISO 8601.
    date: str
    #: Bytes a second, read and written, of a copy that goes round in so many bytes; in ascending order.
    copy: Mapping[int, Figure]
    #: Operations a second of square matrix products by the format of the operands.
    gemm: Mapping[str, Figure]
    v: int = VERSION

    @property
    def busy(self) -> tuple[str, ...]:
        """The figures that the machine was too busy for."""
        named = {f"copy in {size} bytes": one for size, one in self.copy.items()}
        named |= {f"gemm {fmt}": one for fmt, one in self.gemm.items()}
        return tuple(name for name, one in named.items() if one.busy)

    @property
    def guesses(self) -> str:
        """What is said of `busy` figures, or ""."""
        if not self.busy:
            return ""
        every = [*self.copy.values(), *self.gemm.values()]
        others = max(one.others for one in every)
        who = f" (others had {others:.0%} of its CPUs)" if others > MOST_OTHERS else ""
        which = "all of them" if len(self.busy) == len(every) else ", ".join(self.busy)
        return f"the machine was busy{who}, so these are guesses: {which}"

    def bandwidth(self, size: float = math.inf) -> float:
        """Bytes a second for data of `size` bytes that are used over and over; by default more than a cache holds.

        It is that of the largest copy that is not larger than `size`, or of the smallest one: never less than what
        the data's own size would have.
        """
        fits = [one.per_s for known, one in self.copy.items() if known <= size]
        return min(fits) if fits else max(one.per_s for one in self.copy.values())

    def peak(self, fmt: str) -> tuple[float, str]:
        """Operations a second of matrix products of operands in `fmt`, and the format that it was measured in.

        A kernel may widen its operands first: the fastest of all formats that hold each number of `fmt` is the limit.
        (0, "") where none was measured.
        """
        found = {name: one.per_s for name, one in self.gemm.items() if holds(name, fmt)}
        best = max(found, key=lambda name: found[name], default="")
        return found.get(best, 0.0), best


#: Formats that the same units multiply at the same rate as another.
SAME_RATE = {"e5m2": "e4m3fn", "e4m3fnuz": "e4m3fn", "e5m2fnuz": "e4m3fn", "u8": "i8"}


def holds(wide: str, fmt: str) -> bool:
    """Whether products of `fmt` can be made in `wide`: it has every number, or the same units multiply both."""
    from lastbit.references.formats import Format

    one, other = Format.of(fmt), Format.of(wide)
    if wide in (fmt, SAME_RATE.get(fmt)):
        return True
    if one.kind == "table":  # values of f32
        return other.kind == "float" and other.precision >= Format.of("f32").precision
    if other.kind == "integer":
        return one.kind == "integer" and other.lowest <= one.lowest and one.max <= other.max
    finest = one.emin - one.precision + 1 if one.kind == "float" else 0
    needed = one.precision - (one.kind == "integer" and one.signed)  # the most negative integer is a power of two
    return other.precision >= needed and other.max >= one.max and other.emin - other.precision + 1 <= finest


_FIELDS = tuple(item.name for item in fields(Limits))

Measure = Callable[[str, int], tuple[Mapping[int, Figure], Mapping[str, Figure]]]


def limits(
    device: str = "cpu",
    threads: int = 1,
    *,
    folder: Path | None = None,
    measure: Measure | None = None,
    here: Environment | None = None,
    today: date | None = None,
) -> Limits:
    """The limits of `device` ("cpu", "cuda:1"): those stored by an earlier call on this machine, else measured now.

    What was measured on a busy machine is returned, flagged by `busy`, and not stored. A stored file counts only for
    the same device, threads, machine and software, for STALE_DAYS; one that cannot be read is measured again.
    """
    here = here or environment((device,))
    now = today or datetime.now(UTC).date()
    wanted = _blank(device, threads, here, now)
    path = path_of(wanted.device, threads, folder)
    with contextlib.suppress(RecordError):
        found = read(path)
        if _same(found, wanted) and 0 <= (now - date.fromisoformat(found.date)).days <= STALE_DAYS:
            return found
    with limited(threads):
        copy, gemm = (measure or _measured)(device, threads)
    made = Limits(wanted.device, threads, wanted.machine, wanted.software, wanted.date, copy, gemm)
    if not made.busy:
        with contextlib.suppress(OSError):  # a folder that cannot be written costs a measurement the next time
            save(path, made)
    return made


def cache_folder() -> Path:
    """Where limits are kept: $XDG_CACHE_HOME/lastbit, or ~/.cache/lastbit."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"  # relative ones count as unset (XDG 0.8)
    return base / "lastbit"


def path_of(slug: str, threads: int, folder: Path | None = None) -> Path:
    """The file of a device's limits."""
    return (folder or cache_folder()) / f"limits.{slug}.threads{threads}.json"


def read(path: Path) -> Limits:
    """The limits stored in `path`.

    Raises RecordError where it is not there, not of this schema, or holds something that is no rate.
    """
    try:
        data: Any = msgspec.json.decode(path.read_bytes())
        if not isinstance(data, dict) or data.get("v") != VERSION or set(data) != set(_FIELDS):
            raise RecordError(f"{path}: expected the fields {' '.join(_FIELDS)} of version {VERSION}; remove the file")
        found = msgspec.convert(data, Limits, str_keys=True)
        Fingerprint.parse(found.device)
        date.fromisoformat(found.date)
    except OSError as error:
        raise RecordError(f"{path}: cannot read ({error.strerror})") from error
    except ValueError as error:  # msgspec's errors are some
        raise RecordError(f"{path}: {error}; remove the file, it will be measured again") from error
    figures = [*found.copy.values(), *found.gemm.values()]
    if not found.copy or found.threads < 1 or not all(_is_rate(one) for one in figures):
        raise RecordError(f"{path}: a figure is no rate above 0 with shares from 0 on; remove the file")
    return found


def save(path: Path, found: Limits) -> None:
    """Write the limits whole: a reader sees the old file or the new one.

    Raises OSError where the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _measured(device: str, threads: int) -> tuple[Mapping[int, Figure], Mapping[str, Figure]]:
    from lastbit.perf.calibrate import measured

    return measured(device, threads)


def _blank(device: str, threads: int, here: Environment, day: date) -> Limits:
    machine = f"{here.cpu or here.machine}, {here.cpus} CPUs" if device == "cpu" else " ".join(here.gpus)
    software = " ".join(f"{name}{here.packages[name]}" for name in ("torch", "numpy") if name in here.packages)
    switches = "".join(f" {name}={value}" for name, value in sorted(here.switches.items()))
    return Limits(here.devices[device], threads, machine, software + switches, day.isoformat(), {}, {})


def _same(one: Limits, other: Limits) -> bool:
    names = ("device", "threads", "machine", "software")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _is_rate(one: Figure) -> bool:
    return 0 < one.per_s < math.inf and 0 <= one.clean_share <= 1 and 0 <= one.apart < math.inf and 0 <= one.others <= 1
