"""Timed kernels in pytest-benchmark: its table and JSON have what was judged, and every round is looked at."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cheating_softmaxes as cheats
import pytest
from fake_law import ROOT

from lastbit.kernel import Kernel
from lastbit.perf import phase, shown
from lastbit.perf.compare import Terms, choices
from lastbit.perf.sides import side
from lastbit.perf.workload import FaultyError
from lastbit.session import blank
from lastbit.verdict import Outcome, Record, Timing

#: Real kernels and the real law on one small case; what is measured is invented.
CONFTEST = """
import importlib.util, sys
if importlib.util.find_spec("lastbit") is None:
    sys.path.insert(0, {plugins!r})
    import lastbit
    lastbit.__path__.append({root!r})
    pytest_plugins = ["lastbit.plugin"]
from lastbit.suites import speed
from lastbit.perf import compare
from lastbit.perf.comparison import Comparison
speed.CASES["softmax"] = ("bound normal/m6-n40",)

def walk(base, head, cases, terms, **given):
    check, case, formats = cases[0].split()
    yield Comparison(head.kernel.name, "softmax", formats.replace(",", " "), "cpu", check, case, base.label,
                     head.label, compare.Outcome("pass"), "as fast", 1.01, 0.99, 1.02, 30, 40, 1e6, 1e6)

compare.walk = walk
"""
KERNELS = """
import numpy as np
from lastbit import Contract, Kernel

calls = 0

def run(x):
    global calls
    calls += 1
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) + (calls > {right})

KERNELS = [Kernel("mine/softmax", "softmax", run, {{"x": "f32", "out": "f32"}}, Contract(exp_ulp=4.0),
                  framework="numpy", devices=("cpu",))]
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs below are no workers of pytest-xdist, even if this one is: pytest-benchmark shows nothing in those."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def run(pytester: pytest.Pytester, *options: str, right: int = 10**9) -> pytest.RunResult:
    pytester.makeconftest(CONFTEST.format(plugins=str(ROOT / "plugins"), root=str(ROOT)))
    pytester.makepyfile(head=KERNELS.format(right=right), base=KERNELS.format(right=10**9))
    words = ("--lastbit-kernels=head.py", "--lastbit-only=mine/*", "--lastbit-case=bound normal/m6-n40")
    given = ("--lastbit-perf-against=base.py", "-p", "no:cacheprovider", "--junitxml=junit.xml", *words)
    return pytester.runpytest_subprocess("--pyargs", "lastbit.suites", *given, *options)


def test_table_json_and_storage_have_the_verdict(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--benchmark-json=seen.json", "--benchmark-save=kept")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*benchmark 'softmax bound normal/m6-n40*", "speed*mine/softmax*"])
    (stored,) = Path(pytester.path / ".benchmarks").rglob("*_kept.json")
    for path in (pytester.path / "seen.json", stored):
        (one,) = json.loads(path.read_text())["benchmarks"]
        assert one["stats"]["rounds"] == shown.ROUNDS
        assert one["name"] == "speed[bound-mine/softmax-f32-normal/m6-n40]"
        assert one["extra_info"] == {
            "verdict": "pass",
            "against": str(pytester.path / "base.py"),
            "ratio": 1.01,
            "interval": [0.99, 1.02],
            "clean_pairs": 30,
            "results_passed": 1,
            "golden": "",
        }


@pytest.mark.parametrize("option", ["--benchmark-disable", "--benchmark-skip", "-pno:benchmark"])
def test_speed_is_judged_without_the_table(pytester: pytest.Pytester, option: str) -> None:
    result = run(pytester, option)
    assert result.ret == 0
    assert "benchmark 'softmax" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*SPEED: 1 as fast as expected."])


def test_a_round_that_is_wrong_fails_the_kernel(pytester: pytest.Pytester) -> None:
    """Right for the law and its own two data sets, wrong in one of the rounds that are shown."""
    result = run(pytester, right=12)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*FAILED lastbit-speed::speed*mine/softmax*"])


class Fixture:
    """Does with `pedantic` what pytest-benchmark does."""

    def __init__(self) -> None:
        self.group, self.extra_info, self.rounds = "", dict[str, Any](), 0

    def pedantic(
        self, target: Callable[..., Any], *, setup: Any, teardown: Any, rounds: int, warmup_rounds: int
    ) -> None:
        for _ in range(rounds + warmup_rounds):
            positional, keywords = setup()
            target(*positional, **keywords)
            teardown(*positional, **keywords)
            self.rounds += 1


def timed(kernel: Kernel) -> tuple[phase.Timed, Record]:
    ((check, trial),) = choices(kernel, ("bound normal/m6-n40",), Terms())
    record = replace(blank("speed", trial), outcome=Outcome.PASS, timing=Timing("main", "bound", ratio=1.5, passed=7))
    return phase.Timed(side(kernel), check, trial, Terms(), side(kernel)), record


def test_every_round_has_its_own_turn_which_is_looked_at() -> None:
    fixture = Fixture()
    shown.show(fixture, *timed(cheats.kernel(cheats.right, "mine/right")))
    assert fixture.rounds == shown.ROUNDS + 1
    assert fixture.group == "softmax bound normal/m6-n40 x:f32,out:f32"
    assert (fixture.extra_info["ratio"], fixture.extra_info["results_passed"]) == (1.5, 7)
    assert fixture.extra_info["clean_pairs"] is None  # a golden speed is of several processes


@pytest.mark.parametrize("cheat", [cheats.by_address, cheats.same_memory, lambda: cheats.after(cheats.spoils_operand)])
def test_a_cheat_is_seen_in_the_rounds(cheat: Callable[[], cheats.Softmax]) -> None:
    with pytest.raises(FaultyError):
        shown.show(Fixture(), *timed(cheats.kernel(cheat(), "mine/cheat")))


def test_what_is_wrong_is_not_shown() -> None:
    fixture = Fixture()
    shown.show(fixture, *timed(cheats.kernel(lambda x: 2 * cheats.right(x), "mine/wrong")))
    assert fixture.rounds == 0
