"""The benchmark of the speed gate: its slowdowns are real work, its rivals decide as they do, its rows are true."""

import importlib
import itertools
import sys
from fractions import Fraction
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))
gate_kernels, gate_log, gate_rivals, gate_rows = (
    importlib.import_module(f"bench.gate_{name}") for name in ("kernels", "log", "rivals", "rows")
)
gate = importlib.import_module("bench.gate")


def exact_p(base: list[float], head: list[float]) -> Fraction:
    """Two-sided p of the Mann-Whitney U test by every way to choose who is head."""

    def u(chosen: Any) -> Fraction:
        rest = [both[i] for i in range(len(both)) if i not in chosen]
        pairs = itertools.product((both[i] for i in chosen), rest)
        return sum((Fraction(one > other) + Fraction(one == other, 2) for one, other in pairs), Fraction(0))

    both = [*base, *head]
    middle = Fraction(len(base) * len(head), 2)
    seen = abs(u(range(len(base), len(both))) - middle)
    ways = [abs(u(chosen) - middle) >= seen for chosen in itertools.combinations(range(len(both)), len(head))]
    return Fraction(sum(ways), len(ways))


@pytest.mark.parametrize("seed", range(6))
def test_mann_whitney_is_near_the_exact_test(seed: int) -> None:
    random = Random(seed)
    base = [random.gauss(0, 1) for _ in range(7)]
    head = [random.gauss(0.3 * seed, 1) for _ in range(7)]
    assert gate_rivals.mann_whitney(base, head) == pytest.approx(float(exact_p(base, head)), abs=0.02)
    assert gate_rivals.mann_whitney(head, base) == pytest.approx(gate_rivals.mann_whitney(base, head))


def test_mann_whitney_of_ties() -> None:
    assert gate_rivals.mann_whitney([1.0] * 20, [1.0] * 20) == 1.0
    base, head = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 6.0, 6.0]
    assert gate_rivals.mann_whitney(base, head) == pytest.approx(float(exact_p(base, head)), abs=0.03)


@pytest.mark.parametrize(
    ("slower", "cry"),
    [
        (1.0, set()),
        (1.07, {"pytest-benchmark mean:5%", "pytest-benchmark median:5%", "pytest-benchmark min:5%", "benchstat"}),
        (1.2, set(gate_rivals.RULES)),
    ],
)
def test_rules_on_quiet_seconds(slower: float, cry: set[str]) -> None:
    random = Random(0)
    base = [100 + random.uniform(-1, 1) for _ in range(50)]
    head = [slower * value for value in reversed(base)]
    assert {name for name, rule in gate_rivals.RULES.items() if rule(base, head)} == cry
    assert not any(rule(head, base) for rule in gate_rivals.RULES.values()) or slower == 1.0


def test_slow_kernels_do_more_of_the_same_work_and_give_the_same() -> None:
    torch = pytest.importorskip("torch")
    done: list[int] = []

    def run(x: Any) -> tuple[Any, Any]:
        done.append(len(x))
        return 2 * x, x.sum(-1)

    x = torch.arange(40.0).reshape(20, 2)
    results = []
    for again in gate_kernels.AGAIN:
        done.clear()
        results.append(gate_kernels.Blocked(run, again)(x))
        assert sum(done) == 20 * (1 + again / 10)
    for doubled, sums in results:
        assert torch.equal(doubled, 2 * x)
        assert torch.equal(sums, x.sum(-1))


def test_a_fresh_process_finds_every_kernel_by_name() -> None:
    pytest.importorskip("torch")
    kernels = gate_kernels.KERNELS()
    assert len({kernel.name for kernel in kernels}) == len(kernels) == 9
    assert all(dict(kernel.formats)[next(iter(kernel.formats))] == "f32" for kernel in kernels)


def found(again: int, outcome: str, ratio: float) -> dict[str, Any]:
    base = [100.0 + i for i in range(20)]
    head = [value * ratio for value in base]
    return {
        "kernel": "k",
        "again": again,
        "outcome": outcome,
        "ratio": ratio,
        "seconds": 0.5,
        "with_confirmation": 2.0,
        "clean": 20,
        "taken": 25,
        "confirmed": int(again > 0),
        "load": 4.0,
        "base": base,
        "head": head,
    }


def rows(*all_found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in gate_rows.rows("quiet", [list(all_found), list(all_found)])}


def test_rows_count_verdicts() -> None:
    good = [found(0, "pass", 1.001), found(1, "slow", 1.1), found(2, "slow", 1.2)] * 10
    made = rows(*good)
    assert all(row["ok"] is not False for row in made.values())
    assert made["quiet: unchanged, FAIL of 20"]["value"] == 0
    assert made["quiet: 10 % slower, as measured"]["value"] == pytest.approx(10)
    assert made["quiet: clean pairs"]["value"] == 80
    assert made["quiet: benchstat, stored run"]["unit"] == "% false alarms; catches 100 % of 10 %, 100 % of 20 %"


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        (found(0, "slow", 1.06), "quiet: unchanged, FAIL of 22"),
        (found(1, "pass", 1.04), "quiet: 10 % slower, FAIL of 22"),
        (found(1, "pass", 1.04), "quiet: 10 % slower, PASS of 22"),
        (found(2, "inconclusive", 1.04), "quiet: 20 % slower, FAIL of 22"),
        (found(0, "wrong_structure", 0.0), "quiet: other verdicts"),
    ],
)
def test_rows_that_miss_a_goal(changed: dict[str, Any], missed: str) -> None:
    good = [found(0, "pass", 1.001), found(1, "slow", 1.1), found(2, "slow", 1.2)] * 10
    made = rows(*good, changed)
    assert made[missed]["ok"] is False
    inconclusive = rows(*good, *[found(0, "inconclusive", 1.03)] * 2)
    assert inconclusive["quiet: inconclusive of 64"]["ok"] is False


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "out" / "gate.jsonl"
    log = gate_log.Log(path, "this", 2, resume=False)
    log.add("loaded", 0, [found(0, "pass", 1.0)])
    log.add("loaded", 1, [found(1, "slow", 1.1)])
    path.write_text(path.read_text()[:-9])  # killed while it wrote
    again = gate_log.Log(path, "this", 2, resume=True)
    assert again.known("loaded", 0) == [found(0, "pass", 1.0)]
    assert again.known("loaded", 1) is None
    again.add("loaded", 1, [found(1, "slow", 1.2)])
    again.add("loaded", 2, [found(2, "slow", 1.2)])
    last = gate_log.Log(path, "this", 2, resume=True)
    assert [last.known("loaded", turn) is not None for turn in range(4)] == [True, True, True, False]
    assert gate_log.Log(path, "another", 2, resume=True).known("loaded", 0) is None
    assert gate_log.Log(path, "this", 3, resume=True).known("loaded", 0) is None
    assert last.known("as it is", 0) is None
    assert gate_log.Log(path, "this", 2, resume=False).known("loaded", 0) is None


def test_only_what_is_missing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(words: list[str], **_: Any) -> Any:
        asked.append(words[words.index("--round") + 1])
        return SimpleNamespace(stdout="[]")

    monkeypatch.setattr(gate.subprocess, "run", run)
    for resume in (False, True):
        log = gate_log.Log(tmp_path / "gate.jsonl", "this", 2, resume=resume)
        assert gate._rounds("as it is", 2 + resume, log) == [[]] * (2 + resume)
    assert asked == ["0", "1", "2"]
