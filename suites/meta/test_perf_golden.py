"""Speed baselines on invented measurements: each answer, what is stored, what is adopted, and what never is."""

import json
import math
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest

from lastbit import cli, speed_command
from lastbit.environment import Environment
from lastbit.errors import GoldenError, RecordError, UsageError
from lastbit.golden import adopt, perf_adopt, perf_run, perf_store, store
from lastbit.golden.adopt import CI_VARIABLES
from lastbit.golden.perf_drift import Standing, State, stand
from lastbit.golden.perf_store import PerfGolden, decode, encode
from lastbit.perf.speed import Speed
from lastbit.verdict import Outcome

SLUG = "cpu-x86_64-avx2-amd_epyc-f25m1"
DAY = date(2026, 11, 25)
SOFTWARE = "lastbit0.1.0 torch2.13.0 threads1"
SPEED = Speed(
    "mine/softmax", "softmax", "x:f32 out:f32", "cpu", "bound", "normal/m64-n1024", "torch/softmax",
    ratios=(0.99, 1.0, 1.01), processes=3, outcome=Outcome.PASS, clean_share=0.9,
)  # fmt: skip
KEY = "mine/softmax x:f32,out:f32 bound normal/m64-n1024 threads1-warm"
GOLDEN = PerfGolden(KEY, "torch/softmax", 1.0, 0.01, 3, SOFTWARE, "abc", "2026-11-20", "seen")
HERE = Environment(
    packages={"lastbit": "0.1.0", "torch": "2.13.0"},
    threads={"OMP_NUM_THREADS": "1"},
    devices={"cpu": SLUG},
    commit="abc",
)


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def _stand(*ratios: float, golden: PerfGolden | None = GOLDEN, software: str = SOFTWARE, today: date = DAY) -> Standing:
    known = {golden.key: golden} if golden else {}
    return stand(replace(SPEED, ratios=ratios, processes=len(ratios)), known, software, today)


def test_the_key_says_how_it_was_timed() -> None:
    assert SPEED.key == KEY
    assert replace(SPEED, threads=4, cold=True).key.endswith(" threads4-cold")
    assert SPEED.ratio == 1.0
    assert SPEED.sd == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize(
    ("ratios", "state", "outcome"),
    [
        ((0.98, 1.0, 1.05), State.KEPT, Outcome.PASS),
        ((1.0, 1.09, 1.5), State.KEPT, Outcome.PASS),
        ((1.12, 1.12, 1.13), State.DRIFTED, Outcome.SLOW),
        ((1.06, 1.11, 1.2), State.DRIFTED, Outcome.SLOW),
        ((1.04, 1.12, 1.13), State.UNKNOWN, Outcome.INCONCLUSIVE),
        ((0.85, 0.86, 0.88), State.BETTER, Outcome.PASS),
        ((0.85, 0.86, 0.98), State.KEPT, Outcome.PASS),
        ((1.3, 1.3), State.UNKNOWN, Outcome.INCONCLUSIVE),
    ],
)
def test_each_answer(ratios: tuple[float, ...], state: State, outcome: Outcome) -> None:
    """10 % slower by the median and 5 % in every process is slow; by the median alone, nothing can be said."""
    found = _stand(*ratios)
    assert (found.state, found.outcome) == (state, outcome)


def test_a_spread_between_processes_widens_what_is_allowed() -> None:
    """4 standard deviations of 4 % are 16 %."""
    wide = replace(GOLDEN, sd=0.04)
    assert _stand(1.14, 1.15, 1.15, golden=wide).state is State.KEPT
    assert _stand(1.17, 1.18, 1.18, golden=wide).outcome is Outcome.SLOW


def test_nothing_is_said_of_a_device_without_baseline() -> None:
    found = _stand(5.0, 5.0, 5.0, golden=None)
    assert (found.state, found.outcome) == (State.NEW, Outcome.PASS)


def test_old_baselines_and_other_yardsticks_are_stale() -> None:
    assert _stand(1.0, 1.0, 1.0, today=date(2027, 5, 19)).state is State.KEPT
    assert _stand(1.0, 1.0, 1.0, today=date(2027, 5, 20)).state is State.STALE
    assert _stand(1.2, 1.2, 1.2, today=date(2027, 5, 20)).outcome is Outcome.SLOW
    assert _stand(9.0, 9.0, 9.0, golden=replace(GOLDEN, yard="numpy/softmax")).state is State.STALE


def test_with_other_software_a_drift_is_no_failure() -> None:
    found = _stand(1.3, 1.3, 1.3, software="lastbit0.1.0 torch2.14.0 threads1")
    assert (found.state, found.outcome) == (State.DRIFTED, Outcome.PASS)
    assert "software was" in found.reason


def test_a_kernel_that_is_not_right_has_no_speed() -> None:
    wrong = replace(SPEED, outcome=Outcome.OVER_BUDGET, reason="too far off")
    assert stand(wrong, {KEY: GOLDEN}, SOFTWARE, DAY) == Standing(State.UNKNOWN, Outcome.OVER_BUDGET, "too far off")


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.039])
def test_false_alarms_and_misses_over_many_machines(spread: float) -> None:
    """Unchanged kernels and a 20 % slowdown; the measured spread between processes is 1.9 to 3.9 %."""
    random = Random(7)

    def ratios(slower: float, count: int) -> tuple[float, ...]:
        return tuple((1 + slower) * math.exp(random.gauss(0, spread)) for _ in range(count))

    answers: dict[float, list[Outcome]] = {0.0: [], 0.2: []}
    for _ in range(1000):
        base = replace(SPEED, ratios=ratios(0.0, 5))
        golden = replace(GOLDEN, ratio=base.ratio, sd=base.sd)
        for slower, found in answers.items():
            found.append(_stand(*ratios(slower, 3), golden=golden).outcome)
    assert answers[0.0].count(Outcome.SLOW) <= 2
    assert answers[0.2].count(Outcome.SLOW) >= (990 if spread <= 0.02 else 800)


def test_a_line_is_read_as_it_was_written() -> None:
    line = encode(replace(GOLDEN, ratio=1.23456, sd=0.0123456))
    assert line.startswith('{"key":"mine/softmax')
    assert decode(line.encode(), "x") == replace(GOLDEN, ratio=1.235, sd=0.01235)
    assert encode(decode(line.encode(), "x")) == line


@pytest.mark.parametrize(
    ("name", "value"),
    [("ratio", 0.0), ("ratio", -1.0), ("sd", -0.1), ("runs", 2), ("key", "mine/softmax"), ("date", "today"), ("v", 2)],
)
def test_a_record_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    line = encode(replace(GOLDEN, **{name: value}))  # type: ignore[arg-type]
    with pytest.raises(GoldenError, match=r"perf\.jsonl:3"):
        decode(line.encode(), "perf.jsonl:3")


def test_an_edited_line_is_refused() -> None:
    line = encode(GOLDEN).replace('"ratio":1.0', '"ratio":2.0')
    with pytest.raises(GoldenError, match="edited"):
        decode(line.encode(), "x")
    for broken in (b"", b"[]", b"{}", b"\xff", encode(GOLDEN).replace('"runs"', '"rounds"').encode()):
        with pytest.raises(GoldenError, match="x:"):
            decode(broken, "x")


def test_files_are_sorted_and_whole(tmp_path: Path) -> None:
    other = replace(GOLDEN, key=KEY.replace("mine/", "a/"))
    path = perf_store.path_of(tmp_path, SLUG)
    perf_store.save(path, {GOLDEN.key: GOLDEN, other.key: other})
    assert path.name == f"perf.{SLUG}.jsonl"
    assert list(perf_store.load(path)) == [other.key, KEY]
    content = path.read_bytes()
    for spoilt, why in ((content[:-1], "cut off"), (content + content.splitlines(True)[0], "sorted|twice")):
        path.write_bytes(spoilt)
        with pytest.raises(GoldenError, match=why):
            perf_store.load(path)


def test_only_the_very_device_has_a_baseline(tmp_path: Path) -> None:
    perf_store.save(perf_store.path_of(tmp_path, SLUG), {KEY: GOLDEN})
    assert perf_store.find(SLUG, tmp_path) == {KEY: GOLDEN}
    assert perf_store.find("cpu-x86_64-avx2-amd_epyc-f25m2", tmp_path) == {}
    unknown = "cuda-unknown-unknown-0"
    perf_store.save(perf_store.path_of(tmp_path, unknown), {KEY: GOLDEN})
    assert perf_store.find(unknown, tmp_path) == {}  # two unknown devices are not the same one


def test_numeric_baselines_do_not_see_those_of_speed(tmp_path: Path) -> None:
    """A store of numbers reads, checks and lists its own files only; a file under the wrong name is refused."""
    path = perf_store.path_of(tmp_path, SLUG)
    perf_store.save(path, {KEY: GOLDEN})
    before = {op: store.find(op, None) for op in ("gemm", "softmax")}
    assert {op: store.find(op, tmp_path) for op in before} == before
    assert adopt.doctor(tmp_path, today=DAY) == []
    with pytest.raises(GoldenError):
        store.load(path)
    path.rename(tmp_path / f"softmax.{SLUG}.jsonl")
    with pytest.raises(GoldenError):
        store.find("softmax", tmp_path)


def test_doctor_tells_old_and_unusable_baselines_of_speed(tmp_path: Path) -> None:
    path = perf_store.path_of(tmp_path, SLUG)
    perf_store.save(path, {KEY: GOLDEN})
    assert adopt.doctor(tmp_path, today=date(2027, 5, 20))[0].startswith(f"stale    {KEY}: 181 days old")
    path.write_text("{}\n")
    assert adopt.doctor(tmp_path, today=DAY)[0].startswith("unusable ")


def _run(folder: Path, *speeds: Speed, here: Environment = HERE) -> Path:
    perf_run.write(folder / "run", perf_run.made(here, speeds or (SPEED,), DAY))
    return folder / "run"


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = perf_run.read(_run(tmp_path, SPEED, replace(SPEED, case="normal/m1-n9", ratios=())))
    assert run.speeds == (SPEED, replace(SPEED, case="normal/m1-n9", ratios=()))
    assert run.header.environment == HERE
    assert perf_run.software(HERE, SPEED) == SOFTWARE
    for spoilt in (b"", b"{}\n", b'{"date":"2026-11-25","environment":{},"v":2}\n', b"\xff\n"):
        (tmp_path / "run" / perf_run.NAME).write_bytes(spoilt)
        with pytest.raises(RecordError, match=r"speed\.jsonl"):
            perf_run.read(tmp_path / "run")
    with pytest.raises(RecordError, match="cannot read"):
        perf_run.read(tmp_path)


def test_adopting_writes_what_was_measured(tmp_path: Path) -> None:
    run, golden = _run(tmp_path), tmp_path / "golden"
    assert perf_adopt.diff(run, golden)[0] == f"new      {KEY}: 1 times torch/softmax"
    lines = perf_adopt.accept(run, golden, "mine/*", " a first look ")
    assert lines[-1].startswith("1 adopted, 0 removed")
    found = perf_store.load(perf_store.path_of(golden, SLUG))[KEY]
    assert (found.ratio, found.runs, found.yard, found.env) == (1.0, 3, "torch/softmax", SOFTWARE)
    assert (found.sd, found.date, found.reason, found.by) == (0.01, "2026-11-25", "a first look", "abc")
    assert stand(SPEED, {KEY: found}, SOFTWARE, DAY).state is State.KEPT


def test_a_baseline_does_not_follow_noise(tmp_path: Path) -> None:
    """Runs that are each 5 % slower than the one before are adopted again and again, and the third is slow."""
    golden = tmp_path / "golden"
    perf_adopt.accept(_run(tmp_path), golden, "mine/*", "first")
    for slower in (1.05, 1.09):
        ratios = (slower,) * 3
        assert perf_adopt.accept(_run(tmp_path, replace(SPEED, ratios=ratios)), golden, "mine/*", "again")[-1][0] == "0"
    with pytest.raises(GoldenError, match="worse than golden"):
        perf_adopt.accept(_run(tmp_path, replace(SPEED, ratios=(1.15,) * 3)), golden, "mine/*", "again")


REFUSED: dict[str, tuple[Speed, str]] = {
    "inconclusive": (replace(SPEED, outcome=Outcome.INCONCLUSIVE, reason="others had the machine"), "others had"),
    "contended": (replace(SPEED, ratios=(1.0, 1.0), outcome=Outcome.INCONCLUSIVE, reason="10% were clean"), "10% were"),
    "few processes": (replace(SPEED, ratios=(1.0, 1.0), processes=2), "2 of 2 processes"),
    "wrong": (replace(SPEED, outcome=Outcome.OVER_BUDGET, reason="too far off"), "over_budget: too far off"),
    "no yardstick": (
        replace(SPEED, yard="", ratios=(), outcome=Outcome.INCONCLUSIVE, reason="no yardstick"),
        "no yard",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_says_nothing_is_never_adopted(tmp_path: Path, what: str) -> None:
    """All or nothing: a good speed beside it is not adopted either, unless it is asked for alone."""
    bad, why = REFUSED[what]
    run, golden = _run(tmp_path, SPEED, replace(bad, kernel="mine/other")), tmp_path / "golden"
    with pytest.raises(GoldenError, match=why):
        perf_adopt.accept(run, golden, "mine/*", "why", allow_worse=True)
    assert not golden.exists()
    assert perf_adopt.accept(run, golden, "mine/softmax *", "why")[-1].startswith("1 adopted")


@pytest.mark.parametrize("variable", CI_VARIABLES)
def test_nothing_is_adopted_in_ci(tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(GoldenError, match=f"{variable} is set"):
        perf_adopt.accept(_run(tmp_path), tmp_path / "golden", "mine/*", "why")


def test_requests_that_are_too_wide_or_empty_are_refused(tmp_path: Path) -> None:
    run, golden = _run(tmp_path), tmp_path / "golden"
    for glob, reason, why in (
        ("*", "why", "selects everything"),
        ("mine/*", " ", "no reason"),
        ("a/*", "why", "no speed"),
    ):
        with pytest.raises(GoldenError, match=why):
            perf_adopt.accept(run, golden, glob, reason)
    with pytest.raises(GoldenError, match="dirty tree"):
        perf_adopt.accept(_run(tmp_path, here=replace(HERE, dirty=True)), golden, "mine/*", "why")
    for devices in ({}, {"cpu": "cuda-unknown-unknown-0"}):
        with pytest.raises(GoldenError, match="does not know what device"):
            perf_adopt.accept(_run(tmp_path, here=replace(HERE, devices=devices)), golden, "mine/*", "why")
    assert not golden.exists()


def test_worse_better_and_gone_speeds(tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    gone = replace(GOLDEN, key=KEY.replace("m64", "m1"))
    perf_store.save(perf_store.path_of(golden, SLUG), {KEY: GOLDEN, gone.key: gone})
    slow = _run(tmp_path, replace(SPEED, ratios=(1.3, 1.3, 1.3)))
    with pytest.raises(GoldenError, match="--allow-worse"):
        perf_adopt.accept(slow, golden, "mine/*", "why")
    assert perf_adopt.accept(slow, golden, "mine/*", "why", allow_worse=True)[-1].startswith("1 adopted, 0 removed")
    fast = _run(tmp_path, replace(SPEED, ratios=(0.8, 0.8, 0.8)))
    assert perf_adopt.diff(fast, golden)[-1] == "1 orphan, 1 better"
    assert perf_adopt.accept(fast, golden, "*", "why", all_keys=True, prune=True)[-1].startswith("1 adopted, 1 removed")
    assert [one.ratio for one in perf_store.load(perf_store.path_of(golden, SLUG)).values()] == [0.8]


def test_exit_statuses() -> None:
    kept, new = Standing(State.KEPT, Outcome.PASS), Standing(State.NEW, Outcome.PASS)
    unknown, slow = Standing(State.UNKNOWN, Outcome.INCONCLUSIVE), Standing(State.DRIFTED, Outcome.SLOW)
    assert speed_command.status([kept, new]) == 0
    assert speed_command.status([kept, unknown]) == 3
    assert speed_command.status([unknown, slow]) == 1
    assert speed_command.status([replace(unknown, outcome=Outcome.OVER_BUDGET)]) == 1


def test_the_command_adopts_a_run_of_speeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, golden = _run(tmp_path), tmp_path / "golden"
    given = [str(run), "mine/*", "--reason", "seen", "--golden", str(golden)]
    assert cli.main(["golden", "diff", str(run), "--golden", str(golden)]) == 0
    assert cli.main(["golden", "accept", *given]) == 0
    assert "1 adopted" in capsys.readouterr().out
    assert cli.main(["golden", "doctor", "--golden", str(golden)]) in (0, 1)
    assert perf_store.load(perf_store.path_of(golden, SLUG))[KEY].reason == "seen"
    (run / "run.jsonl").write_text("")
    with pytest.raises(UsageError, match="numbers and speeds"):
        speed_command.keeper(str(run))
    assert speed_command.keeper(str(run / "speed.jsonl")) is perf_adopt
    assert speed_command.keeper(str(run / "run.jsonl")) is adopt


def test_the_table_explains_what_is_not_kept() -> None:
    slow = Standing(State.DRIFTED, Outcome.SLOW, "+30%")
    shown = speed_command.text(
        [(SPEED, slow), (replace(SPEED, kernel="mine/other"), Standing(State.KEPT, Outcome.PASS))]
    )
    assert f"drifted {KEY}: slow: +30%" in shown
    assert shown.count("mine/other") == 1
    assert json.loads(encode(GOLDEN))["runs"] == 3
