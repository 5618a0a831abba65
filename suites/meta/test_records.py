"""run.jsonl: nothing judged is lost, and nothing damaged is read as if it were whole."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.errors import RecordError
from lastbit.reports.run import LONGEST_TEXT, Header, RunWriter, decode, encode, read
from lastbit.verdict import ErrorStats, Outcome, Record

from .record_examples import STATS, environment, record, store_run

finite = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.floats(0, allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
stats = st.builds(
    ErrorStats, n=st.integers(0, 2**40), max_ulp=sizes, p99_ulp=sizes, bias=finite, max_kappa=st.integers(0, 2**62)
)
records = st.builds(
    Record, kernel=texts, op=texts, formats=texts, device=texts, check=texts, case=texts,
    outcome=st.sampled_from(Outcome), reason=texts, measured=st.none() | finite, allowed=st.none() | finite,
    stats=st.none() | stats, notes=st.dictionaries(texts, texts, max_size=3), seed=st.integers(0, 2**63),
    seconds=sizes,
)  # fmt: skip


@given(records)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_record_survives_encoding_unchanged(one: Record) -> None:
    line = encode(one)
    assert "\n" not in line
    assert decode(line) == one


def test_run_read_back_equals_what_was_written(tmp_path: Path) -> None:
    written = [record(case=f"gauss/m{i}-n3-k4") for i in range(5)]
    run = read(store_run(tmp_path, *written))
    assert run.records == tuple(written)
    assert run.header.environment == environment()
    assert run.complete
    assert not run.torn


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_record_with_a_number_that_json_lacks_is_kept_and_says_so(value: float) -> None:
    back = decode(encode(record(measured=value, max_ulp=value)))
    assert back.measured is None
    assert back.stats is None
    assert back.notes == {"measured": str(value), "stats": f"not finite: max_ulp={value}"}


def test_record_of_numpy_numbers_is_stored_as_plain_ones() -> None:
    odd = replace(STATS, n=np.int64(7), max_ulp=np.float64(1.5))
    back = decode(encode(record(stats=odd, measured=np.float32(0.5), seed=np.int32(3))))
    assert back.stats == replace(STATS, n=7, max_ulp=1.5)
    assert (back.measured, back.seed) == (0.5, 3)


def test_record_with_hostile_text_is_stored_in_one_line() -> None:
    back = decode(encode(record(reason="\ud800\x00\x1b[31m\n" + "x" * 10**6, notes={"a\nb": "\udfff"})))
    assert back.reason.startswith("\\ud800\x00\x1b[31m\nxxx")
    assert len(back.reason) < LONGEST_TEXT + 50
    assert back.notes == {"a\nb": "\\udfff"}


def test_run_killed_while_writing_keeps_every_record_before(tmp_path: Path) -> None:
    """kill -9 in the middle of a run: what was written is read back, and the run is told incomplete."""
    script = (
        "import sys, time\n"
        "from lastbit.environment import Environment\n"
        "from lastbit.reports.run import Header, RunWriter\n"
        "from lastbit.verdict import Outcome, Record\n"
        "writer = RunWriter(sys.argv[1], Header(Environment()))\n"
        "for i in range(50):\n"
        "    writer.write(Record('mine/gemm', 'gemm', 'a:f32', 'cpu', 'bound', f'case{i}', Outcome.PASS))\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    import lastbit

    here, parts = str(Path(lastbit.__file__).parents[1]), list(lastbit.__path__)
    head = f"import sys\nsys.path.insert(0, {here!r})\nimport lastbit\nlastbit.__path__[:] = {parts!r}\n"
    with subprocess.Popen([sys.executable, "-c", head + script, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    run = read(tmp_path)
    assert [one.case for one in run.records] == [f"case{i}" for i in range(50)]
    assert not run.complete


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_run_with_a_torn_last_line_keeps_the_rest(tmp_path: Path, cut: int) -> None:
    file = store_run(tmp_path, record(case="a"), record(case="b"), end=False) / "run.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    run = read(file)
    assert [one.case for one in run.records] == ["a"]
    assert run.torn
    assert not run.complete


def test_run_cut_between_lines_is_told_incomplete(tmp_path: Path) -> None:
    file = store_run(tmp_path, record(case="a"), record(case="b")) / "run.jsonl"
    file.write_bytes(b"\n".join(file.read_bytes().split(b"\n")[:2]) + b"\n")
    assert not read(file).complete


def damaged(edit: str) -> "tuple[int, bytes, bytes, str]":
    return {
        "not json": (2, b'{"type"', b'{type"', "not a line of JSON"),
        "not utf-8": (2, b"mine/gemm", b"mine/\xff\xfe", "UTF-8"),
        "nan": (2, b'"measured":0.2', b'"measured":NaN', "not a line of JSON"),
        "null statistic": (
            2,
            b'"max_ulp":2.0',
            b'"max_ulp":null',
            "Expected `float`, got `null` - at `$.stats.max_ulp`",
        ),
        "wrong type": (2, b'"max_ulp":2.0', b'"max_ulp":"2"', "Expected `float`, got `str` - at `$.stats.max_ulp`"),
        "unknown outcome": (2, b'"outcome":"pass"', b'"outcome":"fine"', "Invalid enum value 'fine'"),
        "unknown field": (2, b'"op":"gemm"', b'"op":"gemm","speed":1', "unknown field speed"),
        "unknown line": (2, b'"type":"record"', b'"type":"remark"', "type is 'remark'"),
        "no object": (2, b"", b"", "is not a JSON object"),
        "newer": (1, b'"v":1', b'"v":2', "v is 2, expected 1"),
        "no head": (1, b'"type":"run"', b'"type":"record"', "type is 'record', expected 'run'"),
        "line gone": (2, b"", b"", "the end says 2 records, there are 1"),
        "joined": (4, b"", b"", "a line after the end of the run"),
    }[edit]


@pytest.mark.parametrize(
    "edit",
    [
        "not json", "not utf-8", "nan", "null statistic", "wrong type", "unknown outcome", "unknown field",
        "unknown line", "no object", "newer", "no head", "line gone", "joined",
    ],
)  # fmt: skip
def test_damaged_run_is_refused_naming_line_value_and_remedy(tmp_path: Path, edit: str) -> None:
    file = store_run(tmp_path, record(case="a"), record(case="b")) / "run.jsonl"
    number, old, new, said = damaged(edit)
    lines = file.read_bytes().splitlines(keepends=True)
    if edit == "line gone":
        del lines[1]
    elif edit == "joined":
        lines *= 2
    elif edit == "no object":
        lines[1] = b"[1, 2]\n"
    else:
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new)
    file.write_bytes(b"".join(lines))
    with pytest.raises(RecordError) as error:
        read(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)
    assert edit == "line gone" or f"run.jsonl:{5 if edit == 'joined' else number}:" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no line end"])
def test_run_without_a_line_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.jsonl").write_bytes(content)
    with pytest.raises(RecordError, match="no complete line"):
        read(tmp_path)


def test_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot read"):
        read(tmp_path / "nowhere")


def test_second_writer_of_a_folder_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    first = RunWriter(tmp_path, Header(environment()))
    first.write(record(case="a"))
    second = RunWriter(tmp_path, Header(environment()))
    second.write(record(case="x"))
    second.close()
    first.write(record(case="b"))
    first.close()
    assert "another run is writing" in second.problem
    assert second.lost == 1
    assert [one.case for one in read(tmp_path).records] == ["a", "b"]


def test_earlier_run_of_a_folder_is_kept(tmp_path: Path) -> None:
    store_run(tmp_path, record(case="a"))
    store_run(tmp_path, record(case="b"))
    assert [one.case for one in read(tmp_path).records] == ["b"]
    assert [one.case for one in read(tmp_path / "run.previous.jsonl").records] == ["a"]


def test_folder_that_cannot_be_made_is_told_and_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writer = RunWriter(tmp_path / "file", Header(environment()))
    writer.write(record())
    writer.close()
    assert "cannot write" in writer.problem
    assert "--lastbit-report DIR" in writer.problem
    assert writer.lost == 1


def test_full_disk_is_told_and_the_file_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes half a line, then nothing, then has room again."""
    writer = RunWriter(tmp_path, Header(environment()))
    writer.write(record(case="a"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, line: write(fd, line[: len(line) // 2]))
    writer.write(record(case="b"))
    monkeypatch.setattr(os, "write", write)
    writer.write(record(case="c"))
    writer.close(1)
    run = read(tmp_path)
    assert [one.case for one in run.records] == ["a", "c"]
    assert "disk is full" in writer.problem
    assert run.footer is not None
    assert run.footer.lost == 1
    assert not run.complete


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_device_without_space_is_told(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, Header(environment()))
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._fd)
    os.close(full)
    writer.write(record())
    writer.close()
    assert "No space left on device" in writer.problem
    assert writer.lost == 1
