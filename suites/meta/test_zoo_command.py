"""`lastbit zoo` as people call it: score, own judge, story, and mistakes told in a line."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastbit.cli import main
from lastbit.suites.zoo import own_judge

JUDGE = """
import numpy as np

class Rules:
    @staticmethod
    def strict(obtained, expected):
        np.testing.assert_array_equal(obtained, expected)

def anything(obtained, expected):
    assert obtained.dtype == expected.dtype == np.float32 and obtained.shape == expected.shape
    return True

def large(obtained, expected):
    return np.abs(obtained - expected).max() < 1

def confused(obtained, expected):
    return obtained - expected

def broken(obtained, expected):
    raise RuntimeError("no GPU")

number = 3
"""


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the working directory with comparison functions."""
    (tmp_path / "their_judge.py").write_text(JUDGE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own_judge.load.cache_clear()
    yield "their_judge"
    sys.modules.pop("their_judge", None)
    own_judge.load.cache_clear()


def test_score_of_a_few_kernels_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["gemm-zeros-f32", "F012", "gemm-in_f64-f32"]
    files = [word for kind in ("json", "markdown", "html") for word in (f"--{kind}", str(tmp_path / f"zoo.{kind}"))]
    assert main(["zoo", *names, "--jobs", "1", "--seeds", "1", *files]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("lastbit caught 2 of 2 fault classes always and flagged 0 of 1 correct variants")
    assert "faulty kernels: " in said.err
    score = json.loads((tmp_path / "zoo.json").read_text(encoding="utf-8"))
    assert (score["classes"], score["caught"], score["correct"], score["false_alarms"]) == (2, 2, 1, 0)
    assert score["rivals"]["TOSA"]["faults"] == {"F012": "always", "F093": "always"}
    assert score["rivals"]["CUTLASS profiler"]["faults"]["F012"] == "never"
    assert score["rivals"]["ONNX"]["source"].startswith("onnx/onnx:")
    assert "<h1>lastbit zoo</h1>" in (tmp_path / "zoo.html").read_text(encoding="utf-8")
    assert "# lastbit zoo" in (tmp_path / "zoo.markdown").read_text(encoding="utf-8")


def test_json_goes_to_standard_output_for_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "gemm-zeros-f32", "--jobs", "1", "--no-rivals", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["caught"] == 1


def test_own_judge_is_scored_beside_the_others(judge: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["gemm-zeros-f32", "gemm-tf32_cut-f32", "gemm-honest-f32"]
    texts = [f"{judge}:anything", f"{judge}:large", f"{judge}:Rules.strict"]
    options = [word for text in texts for word in ("--judge", text)]
    assert main(["zoo", *names, "--jobs", "1", "--seeds", "1", "--no-rivals", *options, "--json", "-"]) == 0
    rivals = json.loads(capsys.readouterr().out)["rivals"]
    assert [rivals[text]["faults"] for text in texts] == [
        {"F012": "never", "F093": "never"},
        {"F012": "never", "F093": "always"},
        {"F012": "always", "F093": "always"},
    ]
    assert [rivals[text]["false_alarms"] for text in texts] == [0, 0, 1], "no f32 sum is the rounded answer everywhere"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("their_judge", "--judge is 'their_judge', expected MODULE:FUNCTION"),
        ("no_such_module:judge", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("their_judge:nobody", "their_judge has no function nobody"),
        ("their_judge:number", "their_judge has no function number"),
        (
            "their_judge:broken",
            "--judge their_judge:broken raised RuntimeError: no GPU; it is given two arrays of float32",
        ),
        ("their_judge:confused", "expected True, False or None, or an AssertionError"),
    ],
)
def test_judge_that_cannot_be_used_is_told_in_a_line(
    text: str, said: str, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "gemm-zeros-f32", "--jobs", "1", "--no-rivals", "--judge", text]) == 2
    assert said in capsys.readouterr().err


def test_story_tells_what_sees_a_fault_and_what_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--explain", "f097"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in ("F097 harness", "Lazy tensor subclass", "reference-kernels#162", "gemm-lazy-f32", "seen by exact"):
        assert part in told
    assert "cosine accepts it: " in told
    assert "expected a numpy.ndarray" in told


def test_name_or_class_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "gemm-nothing*"]) == 2
    assert "no kernel or fault class matches gemm-nothing*" in capsys.readouterr().err
    assert main(["zoo", "--explain", "F101"]) == 2
    assert "no fault class 'F101'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--seeds", "--jobs"])
def test_number_that_is_none_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["zoo", option, "0"])
    assert ended.value.code == 2
    assert "0 is not a number from 1 on" in capsys.readouterr().err


def test_status_is_one_where_a_fault_escapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A right kernel that is listed as faulty escapes."""
    from dataclasses import replace

    from lastbit.suites.zoo import collection

    right = collection.specimen("gemm-in_f64-f32")
    impostor = replace(collection.faulty()[0], name=right.name, build=right.build)
    monkeypatch.setattr(collection, "faulty", lambda: (impostor,))
    monkeypatch.setattr(collection, "variants", lambda: ())
    assert main(["zoo", "--jobs", "1", "--no-rivals"]) == 1
    assert f"{right.name} under seed 0 passed" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["score", "rival_score"])
def test_interrupt_prints_what_was_judged_until_then(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import import_module

    module = import_module(f"lastbit.suites.zoo.{where}")
    each = module.each

    def stopping(*given: object) -> Iterator[object]:
        yield next(iter(each(*given)))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "each", stopping)
    names = ["gemm-zeros-f32", "softmax-uniform-f32"]
    assert main(["zoo", *names, "--jobs", "1", "--seeds", "1", "--json", "-"]) == 130
    said = capsys.readouterr()
    score = json.loads(said.out)
    assert score["complete"] is False
    assert score["caught"] == score["classes"] >= 1
    assert "stopped by the user" in said.err
    assert bool(score["rivals"]) is (where == "rival_score")


def test_half_of_the_right_kernels_see_more_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["log_softmax-honest-f32", "log_softmax-with_exp2-f32", "log_softmax-lanes-f32"]
    assert main(["zoo", *names, "--jobs", "1", "--no-rivals", "--json", "-"]) == 0
    told = capsys.readouterr()
    score = json.loads(told.out)
    assert (score["seeds"], score["more_seeds"], score["correct"], score["core"]) == ([0], [1], 3, 2)
    assert "flagged 0 of 3 correct variants; tier smoke, 1 seed (2 of 2 variants)" in told.err
