"""ctrf.json of a run: the Common Test Report Format (https://ctrf.io), with the figures of failures under `extra`."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec

from lastbit.reports import standing
from lastbit.reports.run_data import Run
from lastbit.reports.summary import clean, verdict
from lastbit.verdict import Record

NAME = "ctrf.json"
#: Version of CTRF's specification whose fields are written.
SPECIFICATION = "1.0.0"
#: Statuses of CTRF, each of which its summary counts.
STATUSES = ("passed", "failed", "skipped", "pending", "other")

_EXTRA = ("where", "got", "want", "formula", "proof", "contract", "golden", "digest", "reproduce")
_NUMBERS = ("measured", "allowed")
_STATS = ("n", "max_ulp", "p99_ulp", "utilisation", "rms", "bias", "inexact")
_LATEST_MS = 2**53


def text(run: Run) -> str:
    """ctrf.json of `run`; only what was judged and conforms is passed.

    A failure that is a known finding is "other" with a tag that names it, and so is what says nothing about a kernel
    (vacuous, inconclusive); what was not tried is skipped. A run that is no success although none of its checks fails
    (killed, findings out of date) has a failed test of its own.
    """
    return msgspec.json.format(msgspec.json.encode(document(run)), indent=1).decode() + "\n"


def document(run: Run) -> dict[str, Any]:
    """The same as plain data."""
    tests = [_test(record, stands) for record, stands in standing.standings(run)]
    wrong = standing.trouble(run)
    if wrong:
        tests.append({"name": "the run", "status": "failed", "duration": 0, "suite": ["lastbit"], "message": wrong})
    counts = Counter(test["status"] for test in tests)
    start = _milliseconds(run.header.started)
    total = min(sum(test["duration"] for test in tests), _LATEST_MS)
    stop = max(_milliseconds(run.footer.ended) if run.footer else start + total, start)
    summary = {
        "tests": len(tests),
        **{status: counts[status] for status in STATUSES},
        "start": start,
        "stop": stop,
    }
    results = {"tool": _tool(run), "summary": summary, "tests": tests, "environment": _environment(run, not wrong)}
    return {
        "reportFormat": "CTRF",
        "specVersion": SPECIFICATION,
        "generatedBy": "lastbit",
        "results": results,
    }


def _test(record: Record, stands: str) -> dict[str, Any]:
    test: dict[str, Any] = {
        "name": standing.name(record),
        "status": _status(record, stands),
        "duration": _duration(record),
        "suite": [clean(name, 100) or "(no name)" for name in (record.op, record.kernel, record.check)],
        "rawStatus": record.outcome.value,
        "type": "conformance" if record.timing is None else "performance",
        "device": clean(record.device, 100),
        "parameters": {"formats": clean(record.formats), "case": clean(record.case)},
    }
    if stands in ("fail", "known"):  # those of tens of thousands of passes, 30 MB, are in run.jsonl
        test["extra"] = {"lastbit.record": _extra(record)}
    if stands != "pass":
        test["message"] = standing.told(record, stands)
    if record.known:
        test["tags"] = [f"known finding {clean(record.known, 100)}"]
    return test


def _status(record: Record, stands: str) -> str:
    plain = {"pass": "passed", "fail": "failed", "known": "other"}
    return plain.get(stands) or ("skipped" if standing.is_untested(record) else "other")


def _extra(record: Record) -> dict[str, Any]:
    extra: dict[str, Any] = {name: clean(value, 1000) for name in _EXTRA if (value := getattr(record, name))}
    extra |= {name: value for name in _NUMBERS if (value := getattr(record, name)) is not None}
    if record.stats is not None and record.stats.n:
        extra["stats"] = {name: getattr(record.stats, name) for name in _STATS}
    if record.timing is not None:
        timing = record.timing
        extra["speed"] = {"ratio": timing.ratio, "low": timing.low, "high": timing.high, "ns": timing.ns}
        extra["speed"]["against"] = clean(timing.against, 100)
    return extra


def _tool(run: Run) -> dict[str, str]:
    version = run.header.environment.packages.get("lastbit", "")
    return {"name": "lastbit", **({"version": clean(version, 60)} if version else {})}


def _environment(run: Run, whole: bool) -> dict[str, Any]:
    header, here = run.header, run.header.environment
    failed = any(stands == "fail" for _, stands in standing.standings(run))
    given = {
        "commit": here.commit,
        "osPlatform": here.os,
        "testEnvironment": ", ".join(here.devices.values()),
        "shardId": header.options.get("shard", ""),
    }
    extra = {
        "verdict": verdict(run.records, len(run.gone), run.complete),
        "tier": clean(header.tier, 40),
        "seed": header.seed,
        "complete": run.complete,
        "dirty": here.dirty,
        "python": clean(here.python, 40),
        "packages": _cleaned(here.packages),
        "options": _cleaned(header.options),
        "notes": [clean(note, 1000) for note in (*run.gone, *run.notes)],
    }
    named = {name: clean(value, 200) for name, value in given.items() if value}
    return {"reportName": "lastbit", **named, "healthy": whole and not failed, "extra": {"lastbit.run": extra}}


def _cleaned(named: dict[str, str]) -> dict[str, str]:
    return {clean(name, 100): clean(value, 400) for name, value in named.items()}


def _duration(record: Record) -> int:
    return round(min(max(record.seconds, 0.0) * 1000, float(_LATEST_MS)))


def _milliseconds(moment: str) -> int:
    """Milliseconds since 1970 of a time in ISO 8601, without a zone that of Greenwich; 0 for what is none."""
    try:
        read = datetime.fromisoformat(moment)
        read = read if read.tzinfo else read.replace(tzinfo=UTC)
        return max(round(read.timestamp() * 1000), 0)
    except (ValueError, OverflowError):
        return 0
