"""What a stored run consists of beside its records: head, end, and the parts of a merged one."""

from dataclasses import dataclass, field

from lastbit.environment import Environment
from lastbit.verdict import ErrorStats, Record

VERSION = 1
#: Numbers that are counts, sizes and times: none is below 0.
NOT_NEGATIVE: dict[type, tuple[str, ...]] = {
    Record: ("terms", "allowed_ulp", "seconds"),
    ErrorStats: ("n", "max_ulp", "p50_ulp", "p99_ulp", "max_kappa", "max_rel", "utilisation", "rms", "inexact"),
}


@dataclass(frozen=True, slots=True)
class Explained:
    """What the records of a run do not say themselves, as it was when they were judged."""

    #: What a failure of a check means, by "op check", of the checks that failed.
    meanings: dict[str, str] = field(default_factory=dict)
    #: What each known finding is, by its id, of those that the records name.
    findings: dict[str, str] = field(default_factory=dict)
    #: Overrides of budgets that were in force for a judged case, a sentence each, with their end.
    waivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Footer:
    """Last line of a run that came to its end."""

    ended: str
    records: int
    exitstatus: int = 0
    #: Records that could not be written (full disk).
    lost: int = 0
    #: Sentences that the session adds: providers that are absent, overrides that have ended.
    notes: tuple[str, ...] = ()
    #: Sentences on known findings that no longer happen.
    gone: tuple[str, ...] = ()
    explained: Explained = field(default_factory=Explained)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the runs, of a shard or a machine, that a merged run is made of (reports/merge.py)."""

    environment: Environment
    options: dict[str, str] = field(default_factory=dict)
    started: str = ""
    #: None where it did not come to its end.
    footer: Footer | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """First line of a run: what holds for all its records."""

    environment: Environment
    tier: str = "smoke"
    seed: int = 0
    #: UTC, ISO 8601.
    started: str = ""
    #: Options that selected what was run, by name, as text.
    options: dict[str, str] = field(default_factory=dict)
    v: int = VERSION
    #: Of a merged run, the runs that it is made of; a run as it was made has none.
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run as read back."""

    header: Header
    records: tuple[Record, ...]
    #: Whether the footer was there and nothing was lost.
    complete: bool
    footer: Footer | None = None
    #: Bytes of an unfinished last line, which a killed run may leave; they are not read.
    torn: int = 0
    #: Of the file that was read, in hex.
    sha256: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that the session added."""
        return self.footer.notes if self.footer else ()

    @property
    def gone(self) -> tuple[str, ...]:
        """Sentences on known findings that no longer happen."""
        return self.footer.gone if self.footer else ()

    @property
    def explained(self) -> Explained:
        """What the records do not say themselves; nothing of a run that did not come to its end."""
        return self.footer.explained if self.footer else Explained()
