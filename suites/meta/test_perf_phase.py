"""Speed within a pytest run: after results, in the controller, seen by JUnit and exit status; and the devices' lock."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import cheating_softmaxes as cheats
import pytest
from fake_law import FAKE_LAW, ROOT

from lastbit import cli, speed_phase
from lastbit.environment import Environment
from lastbit.errors import LastbitError
from lastbit.golden import perf_run
from lastbit.perf import lock, phase
from lastbit.perf.compare import Terms, choices
from lastbit.perf.limits import Limits
from lastbit.perf.sides import TREE, Side, side
from lastbit.perf.speed import Speed
from lastbit.reports import speeds
from lastbit.session import blank
from lastbit.verdict import Outcome, Record, Timing

#: What replaces measuring: as slow as a kernel's name says.
INVENTED = """
from dataclasses import replace
from lastbit.suites import speed
from lastbit.perf import compare
from lastbit.perf.comparison import Comparison
speed.CASES["gemm"] = ("one first/m2-n3-k4",)

def walk(base, head, cases, terms, **given):
    check, case, formats = cases[0].split()
    ratio = {"slow": 1.2, "unsure": 1.04}.get(head.kernel.name.partition("/")[2], 1.0)
    outcome = {1.2: "slow", 1.04: "inconclusive"}.get(ratio, "pass")
    yield Comparison(head.kernel.name, "gemm", formats.replace(",", " "), "cpu", check, case, base.label,
                     head.label, compare.Outcome(outcome), f"it is {outcome}", ratio, ratio, ratio, 30, 40, 1e6, 1e6)

compare.walk = walk
"""

BEFORE = """
import lastbit

def kernel(name, run):
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    return lastbit.Kernel(name=name, op="gemm", run=run, formats=formats, framework="numpy", devices=("cpu",))

"""


def run(pytester: pytest.Pytester, *options: str, **outcomes: str) -> pytest.RunResult:
    rows = ", ".join(f"kernel('mine/{name}', lambda case: {outcome!r})" for name, outcome in outcomes.items())
    law = FAKE_LAW.format(plugins=str(ROOT / "plugins"), root=str(ROOT))
    hook = f"\ndef pytest_lastbit_kernels(config):\n    return [{rows}]\n"
    pytester.makeconftest(law + INVENTED + hook)
    pytester.makepyfile(before=BEFORE + f"KERNELS = [{rows}]\n")
    given = ("--lastbit-perf-against=before.py", "-p", "no:cacheprovider", "--junitxml=junit.xml", *options)
    return pytester.runpytest_subprocess("--pyargs", "lastbit.suites", *given)


def spoken(folder: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "lastbit-report" / "run.jsonl").read_text().splitlines()]
    return {line["kernel"]: line for line in lines if line.get("timing")}


def test_slow_kernel_fails_everywhere_under_xdist_too(pytester: pytest.Pytester) -> None:
    result = run(pytester, "-n", "1", good="pass", slow="pass", wrong="over_budget")
    assert result.ret == 1
    records = spoken(pytester.path)
    assert {name: one["outcome"] for name, one in records.items()} == {
        "mine/good": "pass",
        "mine/slow": "slow",
        "mine/wrong": "not_tested",
    }
    timing = records["mine/slow"]["timing"]
    assert isinstance(timing, dict)
    assert (timing["ratio"], timing["passed"], timing["failed"], timing["check"]) == (1.2, 2, 0, "one")
    assert "over_budget" in str(records["mine/wrong"]["reason"])
    failed = [case.get("name") for case in ElementTree.parse(pytester.path / "junit.xml").iter("testcase") if len(case)]
    assert any("speed" in str(name) and "mine/slow" in str(name) for name in failed)
    result.stdout.fnmatch_lines(["*SPEED: 1 as fast as expected, 1 slow, 1 without a speed."])
    assert "## Speed" in (pytester.path / "lastbit-report" / "report.md").read_text()


def test_inconclusive_alone_is_3_and_disabled_benchmarks_gate_all_the_same(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--benchmark-disable", good="pass", unsure="pass")
    assert result.ret == 3
    assert spoken(pytester.path)["mine/unsure"]["outcome"] == "inconclusive"


def test_benchmark_only_is_usage(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--benchmark-only", good="pass")
    assert result.ret == 2
    result.stderr.fnmatch_lines(["*lastbit: --benchmark-only leaves out what must be right*"])


def timed_one() -> phase.Timed:
    kernel = cheats.kernel(cheats.right, "mine/right")
    ((check, trial),) = choices(kernel, ("bound normal/m6-n40",), Terms())
    return phase.Timed(side(kernel), check, trial, Terms(), side(kernel))


def own(one: phase.Timed, outcome: Outcome, known: str = "") -> Record:
    return replace(blank("bound", one.trial), outcome=outcome, known=known)


@pytest.mark.parametrize("known", ["", "F9"])
def test_what_fails_has_no_speed_known_or_not(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = timed_one()

    def never(*given: object, **named: object) -> None:
        raise AssertionError("a wrong kernel was timed")

    monkeypatch.setattr(phase, "_compared", never)
    made = phase.timed(one, [own(one, Outcome.PASS), own(one, Outcome.OVER_BUDGET, known)])
    assert (made.outcome, made.measured) == (Outcome.NOT_TESTED, None)
    assert "results are wrong (over_budget" in made.reason
    assert made.timing is not None
    assert (made.timing.passed, made.timing.failed, made.timing.ratio) == (1, 1, 0.0)
    assert phase.timed(one, []).reason.startswith("no speed: no check of this run")


def test_a_mistake_of_ours_is_an_error_not_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    one = timed_one()
    monkeypatch.setattr(phase, "_compared", lambda base, one: 1 / 0)
    made = phase.timed(one, [own(one, Outcome.PASS)])
    assert made.outcome is Outcome.ERROR
    assert "ZeroDivisionError" in made.reason


def test_the_command_finds_the_kernels_again(tmp_path: Path) -> None:
    one = timed_one()
    tree = ((TREE, (str(tmp_path), "old.py", "mine/right")),)
    own, beside, commit = replace(one, base=None), one, replace(one, base=Side(one.head.kernel, "main", tree))
    shipped = replace(own, head=replace(one.head, ways=(("provider", ("lastbit.providers.torch", "mine/right")),)))
    file = str(Path(cheats.__file__))
    told = [phase.timed(each, []).reproduce for each in (own, beside, commit, shipped)]
    case = "--case 'bound normal/m6-n40 x:f32,out:f32' --device cpu"
    assert told == [
        f"lastbit golden speed mine/right --kernels {file} {case}",
        f"lastbit compare --perf mine/right {file} --kernel mine/right {case}",
        f"lastbit compare --perf main {file} --kernel mine/right --kernels old.py {case}",
        f"lastbit golden speed mine/right {case}",
    ]


def test_a_run_without_base_leaves_speeds_that_can_be_adopted(tmp_path: Path) -> None:
    here = Environment(devices={"cpu": "cpu-x86_64-avx2-invented"})
    given = phase.Standards(here, {}, (), Limits("cpu", 1, "", "", "2026-11-25", {}, {}))
    assert phase.write(tmp_path, {"cpu": given}) is None
    assert not list(tmp_path.iterdir())
    given.speeds.append(
        Speed("mine/right", "softmax", "x:f32 out:f32", "cpu", "bound", "normal/m6-n40", "torch/softmax")
    )
    path = phase.write(tmp_path, {"cpu": given})
    assert path is not None
    assert perf_run.read(path).speeds == tuple(given.speeds)
    assert perf_run.read(path).header.environment.devices == here.devices


def kept(records: list[Record], monkeypatch: pytest.MonkeyPatch, failed: OSError | None = None) -> tuple[Any, Any]:
    """Problems and remarks of a run whose speeds are written, or cannot be."""

    def write(folder: Path, given: object) -> Path:
        if failed:
            raise failed
        return folder / "speed.jsonl"

    monkeypatch.setattr(phase, "write", write)
    walk: Any = SimpleNamespace(
        options=SimpleNamespace(report=Path("out")), records=dict(enumerate(records)), problems=[], remarks=[]
    )
    speed_phase._keep(walk, {})
    return walk.problems, walk.remarks


@pytest.mark.parametrize(("golden", "told"), [("", 0), ("kept: +1%", 0), ("new: 1.7 times", 1), ("better: -30%", 1)])
def test_what_can_be_adopted_is_told(golden: str, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    record = replace(blank("speed", timed_one().trial), timing=Timing("torch/softmax", "bound"), golden=golden)
    problems, remarks = kept([record], monkeypatch)
    assert (problems, len(remarks)) == ([], told)
    assert all("lastbit golden accept out/speed.jsonl KEY-GLOB --reason WHY" in text for text in remarks)


def test_speeds_that_cannot_be_written_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    problems, remarks = kept([], monkeypatch, PermissionError("read-only"))
    assert (problems, remarks) == (["speeds cannot be written: read-only"], [])


def test_status_of_speeds_alone() -> None:
    one = timed_one()

    def spoken_of(outcome: Outcome) -> Record:
        return replace(blank("speed", one.trial), outcome=outcome, timing=Timing("main", "bound"))

    fast, unsure, untold = (spoken_of(one) for one in (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.NOT_TESTED))
    assert phase.status([fast, untold]) == 0
    assert phase.status([fast, unsure]) == 3
    assert phase.status([untold]) == phase.status([]) == 3  # nothing was timed: never green
    assert [bool(phase.unheard(records)) for records in ([untold], [], [fast])] == [True, True, False]
    assert speeds.sentence([fast, unsure]) == "SPEED: 1 as fast as expected, 1 inconclusive."
    assert len(speeds.table([fast, untold])) == 4
    assert speeds.numbers([fast, own(one, Outcome.PASS)]) == [own(one, Outcome.PASS)]


def test_lock_lets_one_time_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lock.held("cpu", folder=tmp_path):
        with pytest.raises(LastbitError, match="another run has been timing on cpu"), lock.held("cpu", 0.1, tmp_path):
            pass
        with lock.held("other", 0.0, tmp_path):
            pass
    with lock.held("cpu", 0.0, tmp_path):
        assert os.listdir(tmp_path)
    assert capsys.readouterr().err.count("another run is timing on cpu: waiting for its end, 0 s at most") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--perf", "torch/softmax", "numpy/softmax"],
        ["golden", "speed", "numpy/softmax"],
        ["roofline", "numpy/softmax"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_times_waits_for_the_others(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(device: str) -> None:
        raise LastbitError(f"another run has {device}")

    monkeypatch.setattr(lock, "held", refused)
    assert cli.main([*words, "--case", "bound normal/m6-n40"]) == 2
    assert "another run has cpu" in capsys.readouterr().err
