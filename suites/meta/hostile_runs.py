"""Runs with the texts of a stranger who means harm, and runs of every state, for the tests of what reports write."""

import re
from dataclasses import fields, replace
from typing import Any

from hypothesis import strategies as st

from lastbit.environment import Environment
from lastbit.reports.run_data import Footer, Header, Run
from lastbit.verdict import Outcome, Record, Timing

from .record_examples import STATS, environment, record

ENDED = Footer("2026-11-25T10:01:30+00:00", 0)
#: What ends a document, a tag, an attribute, a section or a line, steers a terminal, or turns the reading order.
BARBS = (
    "]]>", "-->", "<!--", "</title>", "</svg>", "</failure>", "<script>alert(1)</script>", "<![CDATA[", "&amp;", "&#0;",
    "%lt;", "'\"><img src=x onerror=alert(1)>", "\x00", "\x07", "\x1b[2J", "\x1b]0;title\x07", "\r\n", "\x85",
    "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\ufeff", "\ud800", "\udfff", "\ufffe", "\uffff", "\U0010ffff",
    "\ue000", "{{ 7 * 7 }}", "{% raw %}", "${x}", "`", "|", "\\", "x" * 10_000, "https://example.com/?a=b&c",
)  # fmt: skip
#: Characters that no output may hold as they are; a line end is what ends a line.
RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\ufeff\ud800-\udfff\ufffe\uffff]"
)

texts = st.lists(st.sampled_from(BARBS) | st.text(st.characters(), max_size=20), max_size=4).map("".join)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
timings = st.builds(Timing, against=texts, check=texts, ratio=st.floats(0, 9), ns=st.floats(0, 1e12))
records = st.builds(
    Record, kernel=texts, op=texts, formats=texts, device=texts, check=texts, case=texts,
    outcome=st.sampled_from(Outcome), reason=texts, measured=numbers, allowed=numbers, where=texts, formula=texts,
    proof=texts, contract=texts, stats=st.none() | st.just(STATS), digest=texts, tier=texts,
    notes=st.dictionaries(texts, texts, max_size=2), seconds=st.floats(allow_nan=False, allow_infinity=False),
    reproduce=texts, golden=texts, known=st.just("") | texts, timing=st.none() | timings, got=texts, want=texts,
    seed=st.integers(0, 2**63),
)  # fmt: skip
environments = st.builds(
    Environment, os=texts, python=texts, commit=texts, packages=st.dictionaries(texts, texts, max_size=2),
    devices=st.dictionaries(texts, texts, max_size=2),
)  # fmt: skip
options = st.dictionaries(st.sampled_from(["only", "shard", "strict"]) | texts, texts, max_size=3)
headers = st.builds(Header, environments, texts, st.integers(0, 2**63), texts, options)
footers = st.builds(
    Footer, texts, st.integers(0, 9), st.integers(-9, 9), st.integers(0, 9), st.lists(texts, max_size=2).map(tuple),
    st.lists(texts, max_size=2).map(tuple),
)  # fmt: skip
runs = st.builds(
    lambda header, records, footer, torn: Run(header, tuple(records), footer is not None and not torn, footer, torn),
    headers, st.lists(records, max_size=3), st.none() | footers, st.integers(0, 2),
)  # fmt: skip


def run_of(*records: Record, footer: Footer | None = ENDED, strict: bool = False, **changed: Any) -> Run:
    """A run of `records` that came to its end with the status that they give, unless `footer` says something else."""
    header = Header(environment(), started="2026-11-25T10:00:00+00:00", options={"strict": "yes"} if strict else {})
    if footer is ENDED:
        footer = replace(ENDED, records=len(records), exitstatus=int(any(one.failed for one in records)))
    return replace(Run(header, records, footer is not None, footer), **changed)


def every_outcome() -> tuple[Record, ...]:
    """A record of each outcome, a known finding, one that no longer happens, and a speed that is too slow."""
    plain = tuple(record(case=f"case {outcome}", outcome=outcome, reason=f"why {outcome}") for outcome in Outcome)
    known = record(case="known", outcome=Outcome.OVER_BUDGET, reason="as ever", known="F7")
    fixed = record(case="fixed", known="F8")
    slow = record(
        case="timed", check="speed", outcome=Outcome.SLOW, reason="1.4 times main", timing=Timing("main", "bound")
    )
    return (*plain, known, fixed, slow)


def barbed(record: Record, barb: str) -> Record:
    """The record with `barb` at the end of every text."""
    changed = {
        item.name: getattr(record, item.name) + barb
        for item in fields(Record)
        if isinstance(getattr(record, item.name), str) and item.name not in ("outcome", "known")
    }
    return replace(record, **changed, notes={f"note{barb}": barb})
