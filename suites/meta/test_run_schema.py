"""The published schema of run.jsonl: it is what the types give, real lines are valid, and damaged ones are not."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.cli import main
from lastbit.errors import RecordError
from lastbit.reports import run_schema
from lastbit.reports.run import decode, encode, read
from lastbit.reports.run_data import NOT_NEGATIVE
from lastbit.verdict import ErrorStats, Outcome, Record, Timing

from .record_examples import environment, record, store_run

fastjsonschema = pytest.importorskip("fastjsonschema", reason="pip install fastjsonschema")
Line = dict[str, Any]


@pytest.fixture(scope="module")
def valid() -> Callable[[Any], Any]:
    return fastjsonschema.compile(json.loads(run_schema.FILE.read_text(encoding="utf-8")), use_default=False)  # type: ignore[no-any-return]


def lines(folder: Path) -> list[Line]:
    """A stored run with a record of every kind: passing, failing, timed, without statistics, known."""
    records = [
        record(histogram=((-3, 4), (0, 90), (12, 1)), terms=65, allowed_ulp=1.5),
        record(
            case="b", outcome=Outcome.OVER_BUDGET, reason="too far\x00\x1b[31m", got="1 (0x3f80)", want="2", known="F1"
        ),
        record(case="c", outcome=Outcome.NOT_TESTED, stats=None, measured=None, allowed=None, notes={"a": "b"}),
        record(case="d", check="speed", outcome=Outcome.SLOW, timing=Timing("main", "bound", 3, 0, 1.2, 1.1, 1.3)),
        *(record(case=outcome, outcome=outcome) for outcome in Outcome),
    ]
    text = (store_run(folder, *records) / "run.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_schema_is_what_the_types_give() -> None:
    published = run_schema.FILE.read_text(encoding="utf-8")
    assert published == run_schema.text(), "write it again: FILE.write_text(text()) of lastbit.reports.run_schema"
    made = json.loads(published)["definitions"]
    for kind, line in run_schema.LINES.items():
        assert set(made[kind]["properties"]) == {"type", *(item.name for item in fields(line))}
    assert made["Outcome"]["enum"] == sorted(Outcome)
    words = {name: part.get("description", "") for name, part in made["record"]["properties"].items()}
    assert words["terms"].startswith("How long the sum behind an element is at most")
    assert words["golden"].startswith('Drift against golden: "", "new", "same"')
    assert words["reproduce"] == "Command that runs just this case again."


def test_lines_of_a_run_are_valid(tmp_path: Path, valid: Callable[[Any], Any]) -> None:
    found = lines(tmp_path)
    assert {line["type"] for line in found} == set(run_schema.LINES)
    for line in found:
        valid(line)


@given(
    st.builds(Record, *[st.text(max_size=9)] * 6, st.sampled_from(Outcome), notes=st.dictionaries(st.text(), st.text()))
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_record_is_valid_as_it_is_stored(one: Record) -> None:
    fastjsonschema.validate(run_schema.schema(), json.loads(encode(one)), use_default=False)


#: A field of a record, and what it is damaged to; ... takes it away.
DAMAGED: list[tuple[str, Any]] = [
    *((name, ...) for name in ("type", "kernel", "op", "formats", "device", "check", "case", "outcome")),
    ("type", "Record"), ("type", "end"), ("type", "run"), ("outcome", "passed"), ("outcome", None), ("kernel", 3),
    ("measured", "0.2"), ("seconds", None), ("seed", "0"), ("seed", 0.5), ("notes", []), ("notes", {"a": 1}),
    ("stats", {"n": "4"}), ("stats", []), ("timing", {"against": "main"}), ("terms", 1.5), ("got", None),
    ("histogram", [[1]]), ("histogram", [[1, 2, 3]]), ("histogram", [[1, "2"]]), ("histogram", {"1": 2}),
    ("histogram", None), ("surprise", 1),
    *((name, -1) for name in NOT_NEGATIVE[Record]), ("seconds", -1e-300),
    *(("stats", {name: -1}) for name in NOT_NEGATIVE[ErrorStats]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), DAMAGED, ids=[f"{name} {value!r}" for name, value in DAMAGED])
def test_damaged_record_is_invalid_and_unreadable(
    tmp_path: Path, valid: Callable[[Any], Any], name: str, value: Any
) -> None:
    """The schema and the reader refuse the same."""
    found = lines(tmp_path)
    damaged = deepcopy(found[1])
    if value is ...:
        del damaged[name]
    else:
        damaged[name] = value
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        valid(damaged)
    text = "\n".join(json.dumps(line) for line in [found[0], damaged, *found[2:]]) + "\n"
    (tmp_path / "run.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError):
        read(tmp_path)


def test_head_and_end_are_held_too(tmp_path: Path, valid: Callable[[Any], Any]) -> None:
    head, *_, end = lines(tmp_path)
    for line in (
        head | {"v": 2},
        head | {"v": None},
        head | {"environment": 3},
        end | {"records": "5"},
        end | {"x": 1},
    ):
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            valid(line)
    for broken, name in ((head, "environment"), (head, "v"), (end, "records"), (end, "ended")):
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            valid({key: value for key, value in broken.items() if key != name})


def test_run_stored_before_there_were_histograms_is_read_and_is_valid(
    tmp_path: Path, valid: Callable[[Any], Any]
) -> None:
    """Its records have none of the later fields: a reader gives them their defaults."""
    later = ("histogram", "terms", "got", "want", "allowed_ulp", "source")
    found = lines(tmp_path)
    old = [{name: value for name, value in line.items() if name not in later} for line in found]
    for line in old:
        valid(line)
    (tmp_path / "run.jsonl").write_text("\n".join(map(json.dumps, old)) + "\n", encoding="utf-8")
    run = read(tmp_path)
    assert run.complete
    assert run.header.environment == environment()
    assert {(one.histogram, one.terms, one.got, one.want) for one in run.records} == {((), 0, "", "")}


@pytest.mark.parametrize("pairs", [[[73, 1]], [[0, 0]], [[2, 1], [1, 1]], [[1, 1], [1, 1]], [[0, -3]]])
def test_histogram_that_is_none_is_refused_with_its_line(tmp_path: Path, pairs: list[list[int]]) -> None:
    found = lines(tmp_path)
    found[1]["histogram"] = pairs
    (tmp_path / "run.jsonl").write_text("\n".join(map(json.dumps, found)) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"run.jsonl:2: histogram.*; the file is damaged, run it again"):
        read(tmp_path)


@pytest.mark.parametrize("name", [*NOT_NEGATIVE[Record], *NOT_NEGATIVE[ErrorStats]])
def test_number_below_zero_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    found = lines(tmp_path)
    (found[1] if name in NOT_NEGATIVE[Record] else found[1]["stats"])[name] = -3
    (tmp_path / "run.jsonl").write_text("\n".join(map(json.dumps, found)) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=rf"run.jsonl:2: {name} is -3(\.0)?, expected 0 or more; the file is damaged"):
        read(tmp_path)


@pytest.mark.parametrize("name", [*NOT_NEGATIVE[Record], *NOT_NEGATIVE[ErrorStats]])
def test_number_below_zero_is_stored_as_words(name: str) -> None:
    """A record that no check should make does not make its run unreadable."""
    back = decode(encode(record(**{name: -3})))
    if name in NOT_NEGATIVE[Record]:
        assert (getattr(back, name), float(back.notes[name])) == (0, -3)
    else:
        assert back.stats is None
        assert back.notes["stats"].startswith("below 0: ")
        assert f"{name}=-3" in back.notes["stats"]


@pytest.mark.parametrize("spaces", [False, True])
@pytest.mark.parametrize(
    ("kind", "old", "new", "told"),
    [
        ("run", '"tier":"smoke"', '"tier":"smoke","tier":"full"', "tier"),
        ("record", '"outcome":"pass"', '"outcome":"over_budget","outcome":"pass"', "outcome"),
        ("record", '"outcome":"pass"', '"outcome":"pass","outcome":"pass"', "outcome"),
        ("record", '"max_ulp":2.0', '"max_ulp":900.0,"max_ulp":2.0', "max_ulp"),
        ("record", '"type":"record"', '"type":"record","\\u0074ype":"record"', "type"),
        ("record", '"notes":{}', '"notes":{"a":"b","a":"c"}', "a"),
        ("end", '"exitstatus":0', '"exitstatus":1,"exitstatus":0', "exitstatus"),
    ],
)
def test_key_that_is_there_twice_is_refused_with_its_line(
    tmp_path: Path, kind: str, old: str, new: str, told: str, spaces: bool
) -> None:
    """Of two values the last one would hold, and a reader sees the first."""
    path = store_run(tmp_path, record()) / "run.jsonl"
    found = path.read_text(encoding="utf-8").splitlines()
    number = ("run", "record", "end").index(kind)
    assert old in found[number]
    found[number] = found[number].replace(old, new).replace(",", ", " if spaces else ",")
    path.write_text("\n".join(found) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=rf"run.jsonl:{number + 1}: has '{told}' twice"):
        read(tmp_path)


def test_spaces_and_order_of_keys_are_no_fault(tmp_path: Path) -> None:
    path = store_run(tmp_path, record(), record(case="b", kernel="k\u00e9 \u2028", notes={"a": "\x00"})) / "run.jsonl"
    before = read(path)
    loose = [json.dumps(json.loads(line), sort_keys=True, indent=None) for line in path.read_bytes().splitlines()]
    path.write_text("\n".join(loose) + "\n", encoding="utf-8")
    assert read(path).records == before.records


def test_command_prints_the_published_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--schema"]) == 0
    assert capsys.readouterr().out == run_schema.FILE.read_text(encoding="utf-8")
    assert main(["report", "--schema", "run.jsonl"]) == 2
    assert "takes nothing" in capsys.readouterr().err
