"""The options of one run, checked: what was asked for, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lastbit.case import TIERS
from lastbit.errors import UsageError
from lastbit.kernel import OPS


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one run, checked."""

    kernels: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    op: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    tier: str = "smoke"
    seed: int = 0
    golden: Path = field(default_factory=lambda: Path("golden"))
    #: Folder that may hold the project's own budgets.toml and findings.toml.
    policy: Path = field(default_factory=lambda: Path("suites"))
    report: Path = field(default_factory=lambda: Path("lastbit-report"))
    strict: bool = False
    #: Each kernel in a process of its own.
    isolate: bool = False
    #: (I, N) with 1 <= I <= N.
    shard: tuple[int, int] = (1, 1)
    #: "CHECK CASE FORMATS" texts; empty: every case of the tier.
    case: tuple[str, ...] = ()
    #: Speeds beside golden ones, and beside the limits of the device.
    perf: bool = False
    #: What kernels are timed beside: as `lastbit compare --perf BASE`; "" for nothing.
    perf_against: str = ""

    @property
    def timed(self) -> bool:
        """Whether speed is judged, too."""
        return self.perf or bool(self.perf_against)

    @property
    def partial(self) -> bool:
        """Whether only some of the cases of the chosen kernels are run."""
        return bool(self.case) or self.shard != (1, 1)


def options(given: Mapping[str, Any], root: Path) -> Options:
    """`given` (texts and lists by option name; None or absent: the default) checked; folders are relative to `root`.

    Raises UsageError, naming the option, when a value is not one that lastbit knows.
    """
    values = {name: value for name, value in given.items() if value not in (None, "", [], False)}
    chosen: dict[str, Any] = {
        name: tuple(values[name]) for name in ("kernels", "only", "op", "device", "case") if name in values
    }
    for op in chosen.get("op", ()):
        _one_of("op", op, OPS)
    chosen["tier"] = _one_of("tier", str(values.get("tier", "smoke")), TIERS)
    chosen["seed"] = _seed(values.get("seed", 0))
    chosen["shard"] = _shard(str(values.get("shard", "1/1")))
    chosen["golden"] = _folder("golden", root / str(values.get("golden", "golden")), given="golden" in values)
    chosen["policy"] = root / "suites"
    chosen["report"] = root / str(values.get("report", "lastbit-report"))
    chosen["strict"], chosen["isolate"] = (bool(values.get(name, False)) for name in ("strict", "isolate"))
    chosen["perf"], chosen["perf_against"] = bool(values.get("perf", False)), str(values.get("perf_against", ""))
    if (chosen["perf"] or chosen["perf_against"]) and chosen["shard"] != (1, 1):
        raise UsageError("--lastbit-perf times kernels whose every verdict this run has: leave out --lastbit-shard")
    return Options(**chosen)


def selection(options: Options) -> dict[str, str]:
    """The options that select what is run, and what of it fails, as text."""
    texts = {name: " ".join(getattr(options, name)) for name in ("kernels", "only", "op", "device", "case")}
    if options.shard != (1, 1):
        texts["shard"] = "{}/{}".format(*options.shard)
    if options.strict:
        texts["strict"] = "yes"
    return {name: text for name, text in texts.items() if text}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"--lastbit-{name} is {value!r}, expected one of {', '.join(known)}")
    return value


def _folder(name: str, folder: Path, *, given: bool) -> Path:
    """The folder of files to read; the default one may not be there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--lastbit-{name} is {folder}, which is a file; give the folder that it lies in")
    if given and not folder.exists():
        raise UsageError(f"--lastbit-{name} is {folder}, which is not there; create it, or leave the option out")
    return folder


def _seed(value: Any) -> int:
    text = str(value)
    if not text.isdecimal() or int(text) >= 2**32:
        raise UsageError(f"--lastbit-seed is {text!r}, expected a whole number from 0 to 4294967295")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--lastbit-shard is {text!r}, expected I/N with 1 <= I <= N, for example 1/4")
    return int(part), int(parts)
