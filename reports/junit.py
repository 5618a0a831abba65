"""A record as JUnit properties: what a CI system can show of a test beside passed and failed."""

from lastbit.reports.summary import clean
from lastbit.verdict import ErrorStats, Record

_STATS = tuple(ErrorStats.__slots__)
_TEXTS = ("kernel", "op", "formats", "device", "check", "case", "outcome", "contract", "proof", "formula", "where")
_RUN = ("digest", "tier", "seed", "golden", "known", "reproduce")


def properties(record: Record) -> list[tuple[str, str]]:
    """(name, value) pairs for a test's `user_properties`, names under "lastbit."; empty values are left out.

    Values are single lines that XML can hold, whatever the kernel wrote; floats are Python's shortest exact text.
    """
    named = [(name, str(getattr(record, name))) for name in _TEXTS]
    named += [(name, repr(value)) for name in ("measured", "allowed") if (value := getattr(record, name)) is not None]
    if record.stats is not None and record.stats.n:
        named += [(name, repr(getattr(record.stats, name))) for name in _STATS]
    named += [(name, str(getattr(record, name))) for name in _RUN]
    named += [(f"note.{name}", value) for name, value in record.notes.items()]
    return [(clean(f"lastbit.{name}", 100), clean(value, 1000)) for name, value in named if value]
