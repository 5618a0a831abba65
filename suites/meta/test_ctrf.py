"""ctrf.json: what CTRF's schema asks for, honest statuses, and harmless whatever a kernel wrote."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from lastbit.reports import ctrf
from lastbit.reports.run_data import Run
from lastbit.verdict import Outcome

from .hostile_runs import BARBS, ENDED, RAW, barbed, every_outcome, run_of, runs
from .record_examples import record

fastjsonschema = pytest.importorskip("fastjsonschema", reason="pip install fastjsonschema")

STATUS = {"enum": ["passed", "failed", "skipped", "pending", "other"]}
TEXT, WORD, COUNT, EXTRA = (
    {"type": "string"},
    {"type": "string", "minLength": 1},
    {"type": "integer", "minimum": 0},
    {"type": "object"},
)


def strict(required: str, **properties: Any) -> dict[str, Any]:
    """An object of CTRF, which has no other properties than these."""
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


#: What https://ctrf.io asks of the part of a document that lastbit writes: names, types, and what is required.
SCHEMA = strict(
    "reportFormat specVersion results",
    reportFormat={"const": "CTRF"},
    specVersion={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
    generatedBy=TEXT,
    results=strict(
        "tool summary tests",
        tool=strict("name", name=WORD, version=TEXT),
        summary=strict(
            "tests passed failed skipped pending other start stop",
            **dict.fromkeys(["tests", "passed", "failed", "skipped", "pending", "other", "start", "stop"], COUNT),
        ),
        tests={
            "type": "array",
            "items": strict(
                "name status duration",
                name=WORD,
                status=STATUS,
                duration=COUNT,
                suite={"type": "array", "minItems": 1, "items": TEXT},
                **dict.fromkeys(["message", "rawStatus", "type", "device"], TEXT),
                tags={"type": "array", "items": TEXT},
                parameters=EXTRA,
                extra=EXTRA,
            ),
        },
        environment=strict(
            "",
            **dict.fromkeys(["reportName", "commit", "osPlatform", "testEnvironment"], TEXT),
            shardId=WORD,
            healthy={"type": "boolean"},
            extra=EXTRA,
        ),
    ),
)
VALID = fastjsonschema.compile(SCHEMA)


def strings(part: Any) -> Iterator[str]:
    """Every text of a document, names too."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for one in [*part, *part.values()] if isinstance(part, dict) else part:
            yield from strings(one)


def results(run: Run) -> dict[str, Any]:
    """The results of a valid document, whose summary counts its tests."""
    text = ctrf.text(run)
    assert not RAW.search(text)
    document = json.loads(text)
    VALID(document)
    assert not any(RAW.search(part) for part in strings(document))  # what reads it prints it
    found: dict[str, Any] = document["results"]
    statuses = [test["status"] for test in found["tests"]]
    assert {name: found["summary"][name] for name in ctrf.STATUSES} == {
        name: statuses.count(name) for name in ctrf.STATUSES
    }
    assert found["summary"]["tests"] == len(statuses)
    assert 0 <= found["summary"]["start"] <= found["summary"]["stop"]
    return found


@given(runs)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_run_is_a_valid_document_in_which_only_passes_are_passed(run: Run) -> None:
    found = results(run)
    assert found["summary"]["passed"] <= sum(one.outcome is Outcome.PASS and not one.known for one in run.records)
    if any(one.failed for one in run.records):
        assert found["summary"]["failed"] > 0
        assert not found["environment"]["healthy"]


@pytest.mark.parametrize("barb", BARBS, ids=range(len(BARBS)))
def test_one_hostile_text_in_every_field_breaks_nothing(barb: str) -> None:
    passed, failed = (barbed(record(outcome=outcome), barb) for outcome in (Outcome.PASS, Outcome.OVER_BUDGET))
    found = results(run_of(passed, failed))
    assert [test["status"] for test in found["tests"]] == ["passed", "failed"]


def test_every_outcome_is_told_as_what_it_is() -> None:
    found = {test["parameters"]["case"]: test for test in results(run_of(*every_outcome()))["tests"]}
    other = {Outcome.VACUOUS, Outcome.INCONCLUSIVE}
    for one in every_outcome():
        test = found[one.case]
        assert test["rawStatus"] == one.outcome
        if one.failed:
            assert test["status"] == "failed"
        elif one.outcome is Outcome.PASS:
            assert test["status"] == "passed"
            assert "message" not in test
        else:
            assert test["status"] == ("other" if one.known or one.outcome in other else "skipped")
            assert one.reason in test["message"]
        assert test.get("tags") == ([f"known finding {one.known}"] if one.known else None)
    assert found["timed"]["type"] == "performance"
    assert "1.4 times main" in found["timed"]["message"]
    assert found["known"]["message"] == "known finding F7: as ever"
    assert found["known"]["extra"]["lastbit.record"]["stats"]["max_ulp"] == 2.0
    assert {case for case, test in found.items() if "extra" in test} == {
        case for case, test in found.items() if test["status"] == "failed" or "tags" in test
    }


def test_time_is_that_of_the_run_in_milliseconds() -> None:
    found = results(run_of(record(seconds=1.2346), record(case="b", seconds=0.0004)))
    assert [test["duration"] for test in found["tests"]] == [1235, 0]
    assert (found["summary"]["start"], found["summary"]["stop"]) == (1795600800000, 1795600890000)
    killed = results(run_of(record(seconds=2.0), footer=None))
    assert killed["summary"]["stop"] == 1795600802000


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        ("", 0),
        ("yesterday", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("9999-12-31T23:59:59+00:00", 253402300799000),
        ("2026-11-25", 1795564800000),
    ],
)
def test_a_time_that_is_none_is_1970(moment: str, start: int) -> None:
    run = run_of(record())
    found = results(replace(run, header=replace(run.header, started=moment), footer=replace(ENDED, ended=moment)))
    assert (found["summary"]["start"], found["summary"]["stop"]) == (start, start)


def test_run_that_is_no_success_has_a_failed_test_though_no_check_fails() -> None:
    for run, said in (
        (run_of(record(), footer=None), "did not come to its end"),
        (run_of(record(), footer=replace(ENDED, exitstatus=1, gone=("F9 no longer happens",))), "F9 no longer happens"),
    ):
        found = results(run)
        assert [test["status"] for test in found["tests"]] == ["passed", "failed"]
        assert said in found["tests"][1]["message"]
        assert not found["environment"]["healthy"]
    assert results(run_of(record()))["environment"]["healthy"]


def test_the_tests_schema_refuses_what_ctrf_does() -> None:
    document = json.loads(ctrf.text(run_of(record())))
    for damage in (
        lambda one: one.pop("specVersion"),
        lambda one: one["results"]["summary"].pop("start"),
        lambda one: one["results"]["tests"][0].update(status="pass"),
        lambda one: one["results"]["tests"][0].update(name=""),
        lambda one: one["results"]["tests"][0].update(kernel="x"),
        lambda one: one.update(extra2={}),
    ):
        damaged = json.loads(json.dumps(document))
        damage(damaged)
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            VALID(damaged)
