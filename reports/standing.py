"""How a run and its records stand, for the formats of other tools, which know passed, failed and skipped."""

from collections.abc import Iterator
from hashlib import sha256

from lastbit import settling
from lastbit.reports.run_data import Run
from lastbit.reports.summary import clean
from lastbit.verdict import Outcome, Record

#: Characters kept of a name, a line and a text, and lines of a text.
LONGEST_NAME, LONGEST_LINE, MOST_LINES = 300, 1000, 60


def standings(run: Run) -> Iterator[tuple[Record, str]]:
    """Each record with how its run took it: "pass", "fail", "known" or "skip"."""
    strict = bool(run.header.options.get("strict"))
    return ((record, settling.settles(record, strict)) for record in run.records)


def strictly(run: Run) -> list[Record]:
    """The records that fail the run only because it is strict: vacuous ones, and those that no golden is like."""
    return [record for record, stands in standings(run) if stands == "fail" and not record.failed]


def trouble(run: Run) -> str:
    """Why a run is no success although none of its checks fails, or ""; one line a reason."""
    if run.footer is None:
        return f"the run did not come to its end: what it had judged by then are {len(run.records)} checks"
    if run.footer.lost:
        return f"{run.footer.lost} records could not be written, and are not among these"
    if run.torn:
        return "the last line of the run's records is not whole"
    if not run.footer.exitstatus or any(stands == "fail" for _, stands in standings(run)):
        return ""
    said = [f"the run ended with exit status {run.footer.exitstatus}, though no check fails", *run.gone, *run.notes]
    return block("\n".join(said))


def name(record: Record) -> str:
    """What tells the record's test from all others, safe to print: its key, shortened names told apart by a hash."""
    key = record.key
    if len(key) <= LONGEST_NAME:
        return clean(key, 10 * LONGEST_NAME)
    digest = sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return f"{clean(key, LONGEST_NAME)} {digest}"


def told(record: Record, stands: str) -> str:
    """What a person reads about a record that is not a pass, each line safe to print."""
    if stands == "fail":
        return block(settling.failure(record))
    head = f"known finding {record.known}" if stands == "known" else record.outcome.value
    return block(f"{head}: {record.reason or 'no reason given'}")


def block(text: str) -> str:
    """`text` with its line ends, each line safe to print; long lines, and many, are cut."""
    lines = text[: MOST_LINES * LONGEST_LINE].split("\n")
    left = len(lines) - MOST_LINES
    return "\n".join(
        [clean(line, LONGEST_LINE) for line in lines[:MOST_LINES]] + ([f"({left} more lines)"] * (left > 0))
    )


def is_untested(record: Record) -> bool:
    """Whether nothing was tried: the kernel does not do this, or the run left it out."""
    return record.outcome in (Outcome.UNSUPPORTED, Outcome.NOT_TESTED)
