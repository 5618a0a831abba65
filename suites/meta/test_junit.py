"""junit.xml: well-formed for every text, failures seen as failures, and in counts what pytest's own is."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from lastbit.reports import junit, terminal
from lastbit.reports.folder import write
from lastbit.reports.run import read
from lastbit.reports.run_data import Run
from lastbit.verdict import Outcome

from .conftest import Stranger
from .hostile_runs import BARBS, ENDED, RAW, barbed, every_outcome, run_of, runs
from .record_examples import record


def suite(run: Run) -> ET.Element:
    """The one suite of junit.xml, whose own counts are those of what it holds."""
    text = junit.text(run)
    assert not RAW.search(text)
    assert "]]>" not in text
    found = ET.fromstring(text.encode()).find("testsuite")
    assert found is not None
    tags = Counter(part.tag for case in found.iter("testcase") for part in case if part.tag != "properties")
    assert int(found.get("tests", "")) == len(found.findall("testcase"))
    assert (found.get("failures"), found.get("errors"), found.get("skipped")) == tuple(
        str(tags[tag]) for tag in ("failure", "error", "skipped")
    )
    return found


@given(runs)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_run_is_well_formed_and_has_a_case_for_every_record(run: Run) -> None:
    found = suite(run)
    names = [case.get("name", "") for case in found.findall("testcase")]
    assert all(names)
    assert len(names) - names.count("the run") == len(run.records)
    failed = {one.key for one in run.records if one.failed}
    assert not failed or int(found.get("failures", "")) > 0


@pytest.mark.parametrize("barb", BARBS, ids=range(len(BARBS)))
@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.OVER_BUDGET, Outcome.UNSUPPORTED])
def test_one_hostile_text_in_every_field_breaks_nothing(barb: str, outcome: Outcome) -> None:
    hostile = barbed(record(outcome=outcome, reason="why"), barb)
    (case,) = suite(run_of(hostile)).findall("testcase")
    assert (case.find("failure") is not None) == (outcome is Outcome.OVER_BUDGET)
    assert (case.find("skipped") is not None) == (outcome is Outcome.UNSUPPORTED)


def test_every_outcome_is_told_as_what_it_is() -> None:
    found = {case.get("name", ""): case for case in suite(run_of(*every_outcome())).iter("testcase")}
    for one in every_outcome():
        (case,) = (case for name, case in found.items() if f" {one.case} " in name)
        failure, skipped = case.find("failure"), case.find("skipped")
        if one.failed:
            assert failure is not None
            assert failure.get("type") == one.outcome
            assert "reproduce: lastbit verify" in (failure.text or "")
            assert (one.reason if one.outcome is not Outcome.PASS else "") in (failure.text or "")
        elif one.outcome is Outcome.PASS:
            assert failure is skipped is None
        else:
            assert failure is None
            assert skipped is not None
            said = f"known finding {one.known}: " if one.known else f"{one.outcome}: "
            assert skipped.get("message") == said + one.reason
            assert skipped.get("type") == ("pytest.xfail" if one.known else "pytest.skip")
        named = {row.get("name"): row.get("value") for row in case.iter("property")}
        assert named == (dict(junit.properties(one)) if one.failed or one.known else {})


def test_speed_that_is_too_slow_is_a_failure() -> None:
    (slow,) = (one for one in every_outcome() if one.timing is not None)
    (case,) = suite(run_of(record(), slow)).findall("testcase[failure]")
    assert "speed" in case.get("name", "")
    assert "1.4 times main" in (case.findtext("failure") or "")


def test_strict_run_fails_for_what_is_vacuous_or_drifted_as_pytest_does() -> None:
    given_records = (record(outcome=Outcome.VACUOUS, reason="no test"), record(case="b", golden="drifted: rms"))
    plain, strict = (suite(run_of(*given_records, strict=strict)) for strict in (False, True))
    assert (plain.get("failures"), plain.get("skipped")) == ("0", "1")
    assert (strict.get("failures"), strict.get("skipped")) == ("2", "0")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (run_of(record(), footer=None), "did not come to its end"),
        (run_of(record(), footer=replace(ENDED, lost=3)), "3 records could not be written"),
        (run_of(record(), torn=5, complete=False), "not whole"),
        (run_of(record(), footer=replace(ENDED, exitstatus=1, gone=("F9 no longer happens",))), "F9 no longer happens"),
        (run_of(footer=replace(ENDED, exitstatus=2, notes=("nothing was judged",))), "nothing was judged"),
    ],
)
def test_run_that_is_no_success_has_an_error_though_no_check_fails(run: Run, said: str) -> None:
    found = suite(run)
    assert found.get("errors") == "1"
    assert said in (found.findtext("testcase/error") or "")
    whole = suite(run_of(record()))
    assert (whole.get("errors"), whole.get("failures"), whole.get("tests")) == ("0", "0", "1")


def test_long_names_that_differ_at_their_end_stay_apart() -> None:
    twins = [record(case="x" * 10_000 + end) for end in "ab"]
    names = [case.get("name", "") for case in suite(run_of(*twins)).iter("testcase")]
    assert len(set(names)) == 2
    assert all(len(name) < 400 for name in names)


@pytest.mark.parametrize("options", [(), ("--lastbit-strict",)])
def test_counts_are_those_of_pytests_own_junit_xml(
    stranger: Stranger, pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """Passed and failed are the same; skipped are also the records that pytest has no test for."""
    stranger(
        "--junitxml=own.xml", *options, good="pass", bad="over_budget", broken="error", empty="vacuous",
        unable="unsupported", unsure="inconclusive", kernels="kernel('mine/late', lambda case: 'pass', tier='full')",
    )  # fmt: skip
    theirs, ours = (
        found
        for name in ("own.xml", "lastbit-report/junit.xml")
        if (found := ET.parse(pytester.path / name).find("testsuite")) is not None
    )
    counts = [
        {name: int(part.get(name, "")) for name in ("tests", "failures", "errors", "skipped")}
        for part in (theirs, ours)
    ]
    run = read(pytester.path / "lastbit-report")
    untested = sum(one.outcome is Outcome.NOT_TESTED for one in run.records)
    assert untested == 7  # mine/late is of another tier, and no kernel takes a batch
    more = {"tests": counts[0]["tests"] + untested, "skipped": counts[0]["skipped"] + untested}
    assert counts[1] == counts[0] | more
    assert (counts[0]["failures"], counts[0]["skipped"]) == ((8, 4) if options else (4, 6))
    assert junit.text(run) == (pytester.path / "lastbit-report" / junit.NAME).read_text(encoding="utf-8")
    commands = {
        row.get("value")
        for case in theirs.iter("testcase")
        for row in case.iter("property")
        if row.get("name") == "lastbit.reproduce" and case.find("failure") is not None
    }
    assert len(commands) == counts[0]["failures"]
    assert commands < {row.get("value") for row in ours.iter("property")}


@pytest.mark.parametrize("whole", [True, False])
def test_run_that_was_cut_short_conforms_nowhere(whole: bool, tmp_path: Path) -> None:
    """No file of its folder, and not the terminal, says of what is missing that it conforms."""
    run = run_of(record(), **({} if whole else {"complete": False, "footer": None}))
    write(run, tmp_path)
    said = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    said["terminal"] = "\n".join(terminal.lines(run.records, complete=run.complete))
    assert set(said) == {"index.html", "report.md", "junit.xml", "ctrf.json", "badge.svg", "terminal"}
    for name, text in said.items():
        assert bool(re.search(r"\bCONFORMS:|conforms\b(?! so far)", text)) == whole, name
        assert bool(re.search("incomplete", text, re.IGNORECASE)) != whole, name
