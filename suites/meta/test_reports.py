"""The summary, report.md and JUnit properties: complete, readable, and harmless whatever a kernel wrote."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from lastbit.reports import junit, markdown, summary, terminal
from lastbit.reports.run import Header, Run, read
from lastbit.verdict import Outcome, Record

from .record_examples import environment, record, store_run

FAILED = record(
    kernel="mine/leaky",
    outcome=Outcome.OVER_BUDGET,
    measured=24.6,
    reason="max error 18.45 ulp at (1, 1): got 0.0390625, want 0.03455829620361328\n"
    "budget 0.75 ulp (one rounding to bf16 plus f32 accumulation)",
    rms=8.0,
    utilisation=24.6,
)
HOSTILE = "\x1b[2J\x07\r\u202eevil\ud800\x00|`]<script>alert(1)</script>" + "x" * 5000


def shown(*records: Record) -> str:
    return "\n".join(terminal.lines(records, environment()))


def report(*records: Record, complete: bool = True) -> str:
    return markdown.text(Run(Header(environment(), started="2026-11-25T10:00:00+00:00"), records, complete))


def cells(text: str, kernel: str) -> list[str]:
    """The words of the kernel's row of the terminal's table."""
    return next(line for line in text.splitlines() if f"{kernel} " in line).split()


def test_row_shows_outcomes_worst_figures_golden_and_worst_check() -> None:
    text = shown(
        record(golden="same"),
        record(case="b", check="tails", utilisation=0.9, max_ulp=33.0, bias=-0.5, golden="new"),
        record(case="c", golden="drifted: rms 2 was 1"),
    )
    row = "mine/gemm bf16 -> f32 3 pass 0.9 33 -0.50 1 drifted, 1 new, 1 same tails"
    assert " ".join(cells(text, "mine/gemm")) == row
    assert "CONFORMS: 1 kernel, 3 checks passed." in text
    assert "golden: 1 drifted, 1 new, 1 same" in text
    assert "mine/gemm [bf16 -> f32] bound, c: drifted: rms 2 was 1" in text


def test_failure_shows_what_where_got_want_allowed_and_command() -> None:
    text = shown(record(), FAILED)
    assert (
        "OVER_BUDGET mine/leaky [bf16 -> f32] on cpu: bound, gauss/m17-n33-k65\n"
        "    max error 18.45 ulp at (1, 1): got 0.0390625, want 0.03455829620361328\n"
        "    budget 0.75 ulp (one rounding to bf16 plus f32 accumulation)\n"
        "    reproduce: lastbit verify mine.py --case 'bound gauss/m17-n33-k65'\n"
    ) in text
    assert cells(text, "mine/leaky")[0] == "x"
    assert text.index("mine/leaky") < text.index("mine/gemm"), "failing kernels come first"
    assert text.endswith("DOES NOT CONFORM: 1 of 2 kernels fails 1 of 2 checks: mine/leaky.")


def test_like_failures_are_one_block_that_shows_the_worst() -> None:
    many = [replace(FAILED, case=f"c{i}", measured=float(i), reason=f"reason {i}") for i in range(30)]
    text = shown(*many)
    assert "bound, c29 and 29 more like it" in text
    assert "reason 29" in text
    assert "reason 28" not in text


def test_failures_are_capped_and_the_rest_counted() -> None:
    text = shown(*(replace(FAILED, check=f"check{i}") for i in range(50)))
    assert text.count("OVER_BUDGET") == terminal.FAILURES
    assert f"… and {50 - terminal.FAILURES} more failing checks; every one is in run.jsonl" in text
    assert "1 of 1 kernel fails 50 of 50 checks" in " ".join(text.split())


def test_every_outcome_that_is_no_pass_is_told_and_never_counted_as_one() -> None:
    for outcome in Outcome:
        text = shown(record(), record(case="b", outcome=outcome, reason="because"))
        if outcome is Outcome.PASS:
            continue
        assert "2 checks passed" not in text
        assert f"1 {outcome.value}" in text or outcome in (Outcome.NOT_TESTED, Outcome.UNSUPPORTED), "in the table"
        assert f"{outcome.value}" in text
        assert "because" in text
        assert ("DOES NOT CONFORM" in text) == outcome.failed


def test_what_was_not_judged_is_grouped_by_reason() -> None:
    skipped = [
        record(kernel=f"k/{i % 3}", case=f"c{i}", outcome=Outcome.NOT_TESTED, reason="no bias") for i in range(9)
    ]
    text = shown(record(), *skipped, record(case="v", outcome=Outcome.VACUOUS, reason="would accept zeros"))
    assert "not judged (none of this is a pass):\n  vacuous, 1 in 1 kernel: would accept zeros\n" in text
    assert "  not_tested, 9 in 3 kernels: no bias\n" in text


def test_run_that_judged_nothing_says_so() -> None:
    assert shown(record(outcome=Outcome.UNSUPPORTED)).splitlines()[-1].startswith("NOTHING JUDGED: 1 records")
    assert shown().splitlines()[-1].startswith("NOTHING JUDGED")


def test_known_finding_is_listed_and_does_not_fail_the_run() -> None:
    text = shown(record(), replace(FAILED, known="torch-x"))
    assert "  torch-x: 1 check of mine/leaky\n" in text
    assert "1 known" in text
    assert text.endswith("CONFORMS: 2 kernels, 1 check passed (1 failure known as findings).")


def test_finding_that_no_longer_happens_fails_the_run() -> None:
    text = shown(record(known="torch-x", reason="finding torch-x no longer happens"))
    assert "FINDING NO LONGER HAPPENS mine/gemm" in text
    assert "DOES NOT CONFORM" in text


@pytest.mark.parametrize(
    ("formats", "short"),
    [
        ("a:bf16 b:bf16 out:f32", "bf16 -> f32"),
        ("a:f32 b:f32 out:f32", "f32"),
        ("a:i8 b:u8 out:i32", "i8*u8 -> i32"),
        ("x:f16 out:f16", "f16"),
        ("", ""),
    ],
)
def test_short_formats(formats: str, short: str) -> None:
    assert summary.short_formats(formats) == short


@pytest.mark.parametrize("known", ["", "F1"])
def test_hostile_text_reaches_no_report_raw(known: str, tmp_path: Path) -> None:
    """Control, bidirectional and surrogate characters are escaped everywhere, by way of the stored run too."""
    names = ("kernel", "formats", "device", "check", "case", "reason", "reproduce", "golden")
    bad = record(**dict.fromkeys(names, HOSTILE), outcome=Outcome.CRASHED, known=known, notes={HOSTILE: HOSTILE})
    skipped = replace(bad, outcome=Outcome.NOT_TESTED, known="")
    stored = read(store_run(tmp_path, bad, skipped)).records
    for records in ((bad, skipped), stored):
        text = shown(*records) + report(*records) + repr(junit.properties(records[0]))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
        assert "evil" in text
        assert len(text) < 40_000


@pytest.mark.parametrize("count", [1, 12])
def test_terminal_table_keeps_to_120_columns(count: int) -> None:
    outcomes = [Outcome.PASS, Outcome.OVER_BUDGET, Outcome.WRONG_CLASS, Outcome.NOT_TESTED, Outcome.VACUOUS]
    records = [
        record(
            kernel=f"provider{i}/a_kernel_with_a_rather_long_name", formats="a:e4m3b11fnuz b:e4m3b11fnuz out:bf16",
            check="hypothesis_hunt_layouts", case=f"c{j}", outcome=outcomes[j % 5],
            golden=("new", "same", "drifted")[j % 3],
        )
        for i in range(count) for j in range(400)
    ]  # fmt: skip
    lines = terminal.lines(records, environment())
    assert max(len(line) for line in lines if "reproduce:" not in line) <= terminal.WIDTH


def test_report_of_a_killed_run_says_so() -> None:
    assert "did not come to its end" in report(record(), complete=False)
    assert "did not come to its end" not in report(record())


def test_report_names_commit_tier_seed_and_environment() -> None:
    assert (
        "AMD EPYC (2 CPUs), no GPU, Linux 6.1, Python 3.11.7, numpy 2.4.6 torch 2.13.0; tier smoke, seed 0, "
        in report(record())
    )
    assert "`2026-11-25T10:00:00+00:00`, commit `abc1234`\n" in report(record())
    assert "commit `abc1234` (dirty)\n" in markdown.text(Run(Header(environment(dirty=True)), (record(),), True))


def test_junit_properties_hold_the_record_exactly() -> None:
    found = dict(junit.properties(record(measured=1 / 3, notes={"batch invariance": "breaks at m=1"}, golden="new")))
    assert float(found["lastbit.measured"]) == 1 / 3
    assert found["lastbit.max_ulp"] == "2.0"
    assert found["lastbit.golden"] == "new"
    assert found["lastbit.note.batch invariance"] == "breaks at m=1"
    assert "lastbit.known" not in found


def test_junit_properties_are_xml_whatever_the_kernel_wrote() -> None:
    root = ET.Element("properties")
    for name, value in junit.properties(record(reason=HOSTILE, notes={HOSTILE: HOSTILE}, where=HOSTILE)):
        ET.SubElement(root, "property", name=name, value=value)
    assert len(ET.fromstring(ET.tostring(root))) == len(root)
