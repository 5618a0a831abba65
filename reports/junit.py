"""junit.xml of a run: one test case a record, and the numbers of those that fail as properties of the test."""

from collections import Counter
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from lastbit.reports import standing
from lastbit.reports.run_data import Run
from lastbit.reports.summary import clean, verdict
from lastbit.verdict import ErrorStats, Record

NAME = "junit.xml"

_STATS = tuple(ErrorStats.__slots__)
_TEXTS = ("kernel", "op", "formats", "device", "check", "case", "outcome", "contract", "proof", "formula", "where")
_RUN = ("digest", "tier", "seed", "golden", "known", "reproduce")


def properties(record: Record) -> list[tuple[str, str]]:
    """(name, value) pairs for a test's `user_properties`, names under "lastbit."; empty values are left out.

    Values are single lines that XML can hold, whatever the kernel wrote; floats are Python's shortest exact text.
    """
    named = [(name, str(getattr(record, name))) for name in _TEXTS]
    named += [(name, repr(value)) for name in ("measured", "allowed") if (value := getattr(record, name)) is not None]
    named += [(name, value) for name in ("got", "want") if (value := getattr(record, name))]
    if record.stats is not None and record.stats.n:
        named += [(name, repr(getattr(record.stats, name))) for name in _STATS]
    named += [(name, str(getattr(record, name))) for name in _RUN]
    named += [(f"note.{name}", value) for name, value in record.notes.items()]
    return [(clean(f"lastbit.{name}", 100), clean(value, 1000)) for name, value in named if value]


def text(run: Run) -> str:
    """junit.xml of `run`: pytest's own names for failures and skips, with everything that was left out as skipped.

    A failure that is a known finding is skipped with type pytest.xfail, as pytest has it. A run that is no success
    although none of its checks fails (killed, findings out of date) has a test case of its own, with an error.
    """
    found = list(standing.standings(run))
    tests = [_test(record, stands) for record, stands in found]
    counts = Counter(stands for _, stands in found)
    seconds = sum(_seconds(record) for record in run.records)
    if wrong := standing.trouble(run):
        tests.append(
            _case("lastbit", "the run", 0.0, f"<error {_attributes(message=_head(wrong))}>{escape(wrong)}</error>")
        )
    suite = _attributes(
        name="lastbit",
        errors=int(bool(wrong)),
        failures=counts["fail"],
        skipped=counts["known"] + counts["skip"],
        tests=len(tests),
        time=f"{seconds:.3f}",
        timestamp=clean(run.header.started, 40),
    )
    lines = ['<?xml version="1.0" encoding="utf-8"?>', '<testsuites name="lastbit">', f"<testsuite {suite}>"]
    return "\n".join([*lines, *_properties(_of_run(run)), *tests, "</testsuite>", "</testsuites>", ""])


def _test(record: Record, stands: str) -> str:
    # A run has tens of thousands of passes, whose numbers are in run.jsonl: with them, the file has 50 MB.
    body = "".join(_properties(properties(record))) if stands in ("fail", "known") else ""
    if stands != "pass":
        said = standing.told(record, stands)
        kind = {"fail": record.outcome.value, "known": "pytest.xfail"}.get(stands, "pytest.skip")
        tag = "failure" if stands == "fail" else "skipped"
        body += f"<{tag} {_attributes(type=kind, message=_head(said))}>{escape(said)}</{tag}>"
    return _case(f"lastbit.{record.op}", standing.name(record), _seconds(record), body)


def _case(group: str, name: str, seconds: float, body: str) -> str:
    return f"<testcase {_attributes(classname=clean(group, 100), name=name, time=f'{seconds:.3f}')}>{body}</testcase>"


def _of_run(run: Run) -> Iterator[tuple[str, str]]:
    header, environment = run.header, run.header.environment
    yield "lastbit.verdict", verdict(run.records, len(run.gone), run.complete)
    yield "lastbit.complete", str(run.complete).lower()
    yield "lastbit.tier", header.tier
    yield "lastbit.seed", str(header.seed)
    yield "lastbit.commit", environment.commit + (" (changed)" if environment.dirty else "")
    for kind, said in (("note", run.notes), ("gone", run.gone)):
        yield from ((f"lastbit.{kind}", line) for line in said)
    for kind, named in (("option", header.options), ("device", environment.devices), ("package", environment.packages)):
        yield from ((f"lastbit.{kind}.{name}", value) for name, value in sorted(named.items()))


def _properties(named: Iterable[tuple[str, str]]) -> list[str]:
    rows = [
        f"<property {_attributes(name=clean(name, 100), value=clean(value, 1000))}/>" for name, value in named if value
    ]
    return ["<properties>", *rows, "</properties>"] if rows else []


def _attributes(**named: object) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in named.items())


def _head(text: str) -> str:
    return text.partition("\n")[0]


def _seconds(record: Record) -> float:
    return min(max(record.seconds, 0.0), 1e9)  # a file may say anything
