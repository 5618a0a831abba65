"""The head of a report's page: verdict, counts, what ran where with which software, and all that was not tested."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from markupsafe import Markup

from lastbit.environment import Environment
from lastbit.reports import speeds, standing, summary
from lastbit.reports.page_parts import FAILS, KNOWN, ODD, PASSES, table, word
from lastbit.reports.page_parts import standing as stands
from lastbit.reports.run_data import Run
from lastbit.reports.summary import clean, counted

#: Rows of what was not tested before the rest is folded, and rows that are folded.
REASONS, FOLDED = 12, 100


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence with its tone: "good", "bad" or "note"."""

    tone: str
    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many checks ended so."""

    tone: str
    sign: str
    number: int
    word: str


def verdicts(run: Run) -> list[Line]:
    """The verdict on results, the one on speed, and why the run as a whole is no success."""
    said = summary.verdict(speeds.numbers(run.records), len(run.gone), run.complete)
    good = said.startswith("CONFORMS:")
    bad = said.startswith("DOES NOT")
    lines = [Line("good" if good else "bad" if bad else "note", (PASSES if good else FAILS if bad else ODD)[1], said)]
    if speed := speeds.sentence(run.records):
        slow = any(record.failed for record in speeds.speeds(run.records))
        lines.append(Line("bad" if slow else "note", (FAILS if slow else KNOWN)[1], speed))
    if strict := len(standing.strictly(run)):
        lines[0] = replace(lines[0], tone="note", sign=KNOWN[1]) if good else lines[0]
        told = f"STRICT: this run fails for {counted(strict, 'check')}, vacuous or like no golden."
        lines.append(Line("bad", FAILS[1], told))
    lines += [Line("note", KNOWN[1], line) for line in standing.trouble(run).splitlines()[:20]]
    return lines


def counts(run: Run) -> list[Count]:
    """Records by outcome, worst first; failures that are known findings apart."""
    known = sum(bool(record.known) and record.outcome.failed for record in run.records)
    found = Counter(record.outcome for record in run.records if not (record.known and record.outcome.failed))
    made = [Count(*stands(outcome), found[outcome], word(outcome)) for outcome in summary.ORDER if found[outcome]]
    return [*([Count(*KNOWN, known, "known")] if known else []), *made]


def facts(run: Run, records: str) -> list[tuple[str, Any]]:
    """What was run, where, with what, when and for how long; `records` is where run.jsonl lies, or ""."""
    header, here = run.header, run.header.environment
    devices = ", ".join(f"{name} ({slug})" for name, slug in here.devices.items())
    commit = f"{here.commit}{', with changes that are not committed' if here.dirty else ''}" if here.commit else ""
    stored = Markup('<a href="{}">run.jsonl</a>').format(records) if records else "run.jsonl"
    given = (
        ("Device", devices),
        ("Processor", f"{here.cpu or here.machine}, {here.cpus} CPUs" if here.cpu or here.machine else ""),
        ("GPUs", ", ".join(here.gpus)),
        ("Software", _named({"Python": here.python, **here.packages})),
        ("System", here.os),
        ("Commit", commit),
        ("Tier and seed", f"{header.tier}, seed {header.seed}"),
        ("Asked for", _named(header.options)),
        ("Began", f"{header.started}{_took(run)}"),
        ("Against golden", _golden(run)),
        ("Records", Markup("{} in {}").format(len(run.records), stored)),
        ("sha256 of the records", Markup("<code>{}</code>").format(run.sha256) if run.sha256 else ""),
    )
    return [(name, value if isinstance(value, Markup) else clean(value, 1500)) for name, value in given if value]


def _golden(run: Run) -> str:
    """How many records stand how beside their baselines, what moved first."""
    found = Counter(record.golden.partition(":")[0] for record in run.records)
    return ", ".join(f"{found[state]} {state}" for state in summary.GOLDEN_STATES if found[state])


def untested(run: Run) -> Markup:
    """What was not judged, with reasons and counts."""
    found = summary.unjudged(speeds.numbers(run.records))
    if not found:
        return Markup("<p>Everything that was asked for was judged.</p>")
    rows = [(word(outcome), reason, count, kernels) for outcome, reason, count, kernels in found]
    total = sum(count for _, _, count, _ in found)
    head = Markup("<p>{} checks were not judged. None of them counts as a pass.</p>").format(total)
    heads = ("state", "reason", "checks", "kernels")
    if len(rows) <= REASONS:
        return head + table("Not judged, and why", heads, rows)
    more = table("Other reasons", heads, rows[REASONS:], FOLDED)
    fold = Markup("<details><summary>{} other reasons</summary>{}</details>").format(len(rows) - REASONS, more)
    return head + table("Not judged, and why", heads, rows[:REASONS]) + fold


def environment(run: Run) -> Markup:
    """The whole environment of the run, and of each part of a merged one."""
    heads = ("what", "value")
    made = table("Machine and software", heads, _rows(run.header.environment))
    for number, part in enumerate(run.header.parts, 1):
        rows = [("began", part.started), ("asked for", _named(part.options)), *_rows(part.environment)]
        made += table(f"Machine and software of part {number} of {len(run.header.parts)}", heads, rows)
    return made


def _rows(here: Environment) -> list[tuple[str, str]]:
    return [(item.name.replace("_", " "), text) for item in fields(here) if (text := _text(getattr(here, item.name)))]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return _named(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _named(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs.items() if value)


def _took(run: Run) -> str:
    if run.footer is None:
        return ", did not come to its end"
    try:
        seconds = (
            datetime.fromisoformat(run.footer.ended) - datetime.fromisoformat(run.header.started)
        ).total_seconds()
    except (ValueError, TypeError):  # somebody wrote another time there, or one without a zone
        return ""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f", took {minutes} min {rest} s" if minutes else f", took {rest} s"
