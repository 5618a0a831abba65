"""Comparing runs: what is planted between two runs is told as what it is, from both sides, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.cli import main
from lastbit.reports import compare_part, compare_story, compare_text
from lastbit.reports.compare_runs import MIRROR, Comparison, Kind, compare, exit_status
from lastbit.reports.merge import content, merge
from lastbit.reports.run import NAME, Footer, Header, Run
from lastbit.verdict import ErrorStats, Outcome, Record, Timing

from .record_examples import SLUG, environment, record

OTHER = "cpu-x86_64-avx2-intel_xeon-f6m85"
GPU = "cuda-sm90-h100-132"
CASES = [f"gauss/m{i}-n3-k4" for i in range(6)]


def run(*records: Record, end: bool = True, tier: str = "smoke", seed: int = 0, **changed: object) -> Run:
    """A run in memory; `options` of the head, or fields of its environment."""
    options: dict[str, str] = changed.pop("options", {})  # type: ignore[assignment]
    header = Header(environment(**changed), tier, seed, "2026-11-25T10:00:00", options)
    return Run(header, records, end, Footer("2026-11-25T11:00:00", len(records)) if end else None)


def timing(ratio: float, **changed: object) -> Record:
    given = Timing("torch/matmul", "bound", 3, 0, ratio, ratio * 0.98, ratio * 1.02, 90, 100, 1e6, 1e6)
    return record(check="speed", stats=None, digest="", timing=replace(given, **changed))  # type: ignore[arg-type]


def kinds(a: Run, b: Run) -> list[Kind]:
    return [change.kind for change in compare(a, b).changes]


def mirrored(comparison: Comparison) -> set[tuple[Kind, str, tuple[tuple[str, float, float, float], ...]]]:
    return {
        (MIRROR[one.kind], one.shown.case, tuple(sorted((m.name, m.b, m.a, m.chance) for m in one.moves)))
        for one in comparison.changes
    }


def told(comparison: Comparison) -> set[tuple[Kind, str, tuple[tuple[str, float, float, float], ...]]]:
    return {
        (one.kind, one.shown.case, tuple(sorted((m.name, m.a, m.b, m.chance) for m in one.moves)))
        for one in comparison.changes
    }


numbers = st.floats(0, 1e6)
records = st.builds(
    record,
    case=st.sampled_from(CASES),
    outcome=st.sampled_from(Outcome),
    contract=st.sampled_from(["defaults", "subnormals=flush"]),
    known=st.sampled_from(["", "", "F1", "F2"]),
    digest=st.sampled_from(["", "0" * 16, "1" * 16]),
    seed=st.sampled_from([0, 0, 1]),
    stats=st.none()
    | st.builds(
        ErrorStats,
        n=st.sampled_from([0, 16, 4096]), max_ulp=numbers, p99_ulp=numbers, rms=numbers, bias=st.floats(-1, 1),
        utilisation=numbers,
    ),
    timing=st.none() | st.builds(lambda ratio: timing(ratio).timing, st.sampled_from([0.0, 1.0, 1.02, 2.0])),
)  # fmt: skip
some_runs = st.builds(
    lambda found, end, options: run(*found, end=end, options=options),
    st.lists(records, max_size=6, unique_by=lambda one: one.case),
    st.booleans(),
    st.sampled_from([{}, {"only": "other/*"}, {"shard": "1/2"}, {"case": "bound x"}]),
)


@given(some_runs)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_run_beside_itself_does_not_differ(a: Run) -> None:
    found = compare(a, a)
    assert found.changes == ()
    assert (found.differences, found.devices, found.not_run_a, found.not_run_b) == ((), (), (), ())
    assert found.same == len(a.records)
    assert exit_status(found) == (0 if any(one.outcome.judged for one in a.records) else 2)


@given(some_runs, some_runs)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_both_directions_say_the_same(a: Run, b: Run) -> None:
    there, back = compare(a, b), compare(b, a)
    assert told(there) == mirrored(back)
    assert (there.same, there.other_bits, there.not_compared) == (back.same, back.other_bits, back.not_compared)
    assert (there.not_run_a, there.not_run_b) == (back.not_run_b, back.not_run_a)
    assert [(one.name, one.a, one.b) for one in there.differences] == [
        (one.name, one.b, one.a) for one in sorted(back.differences, key=lambda one: names(there).index(one.name))
    ]


def names(comparison: Comparison) -> list[str]:
    return [one.name for one in comparison.differences]


@pytest.mark.parametrize(
    ("before", "after", "kind", "status"),
    [
        ({}, {"outcome": Outcome.OVER_BUDGET}, Kind.BROKEN, 1),
        ({"outcome": Outcome.OVER_BUDGET}, {}, Kind.FIXED, 0),
        ({"outcome": Outcome.OVER_BUDGET}, {"outcome": Outcome.CRASHED}, Kind.FAILS_OTHERWISE, 0),
        ({}, {"outcome": Outcome.OVER_BUDGET, "known": "F7"}, Kind.FINDING_BEGAN, 0),
        ({"outcome": Outcome.OVER_BUDGET, "known": "F7"}, {}, Kind.FINDING_ENDED, 0),
        ({"outcome": Outcome.OVER_BUDGET, "known": "F7"}, {"outcome": Outcome.CRASHED}, Kind.FAILS_OTHERWISE, 1),
        ({"outcome": Outcome.OVER_BUDGET, "known": "F7"}, {"outcome": Outcome.OVER_BUDGET}, Kind.FAILS_OTHERWISE, 1),
        ({}, {"outcome": Outcome.VACUOUS}, Kind.UNJUDGED, 0),
        ({"outcome": Outcome.NOT_TESTED}, {}, Kind.JUDGED, 0),
        ({"outcome": Outcome.NOT_TESTED}, {"outcome": Outcome.OVER_BUDGET}, Kind.JUDGED, 1),
        ({"contract": "defaults"}, {"contract": "accumulator=f16"}, Kind.PROMISE, 0),
        ({}, {"rms": 0.75}, Kind.WORSE, 1),
        ({"rms": 0.75}, {}, Kind.BETTER, 0),
        ({"rms": 0.75, "bias": 0.0}, {"bias": 0.9}, Kind.MOVED, 1),
    ],
)  # fmt: skip
def test_planted_change_is_told_as_what_it_is(
    before: dict[str, object], after: dict[str, object], kind: Kind, status: int
) -> None:
    beside = record(case="beside")
    found = compare(run(beside, record(digest="", **before)), run(beside, record(digest="", **after)))
    assert [change.kind for change in found.changes] == [kind]
    assert exit_status(found) == status
    assert (status == 1) == compare_story.sentence(found).startswith("B IS WORSE")


def test_drift_of_three_times_the_rms_says_how_significant_it_is() -> None:
    (change,) = compare(run(record(rms=0.25)), run(record(rms=0.75, digest="f" * 16))).changes
    (move,) = change.moves
    assert (move.name, move.a, move.b) == ("rms", 0.25, 0.75)
    assert move.chance == pytest.approx(0.25 * (1.25 + 12 / 64))
    assert move.text() == "rms 0.25 -> 0.75, chance explains up to 0.3594"


def test_drift_within_chance_is_none() -> None:
    found = compare(run(record(rms=0.25)), run(record(rms=0.35, digest="f" * 16)))
    assert found.changes == ()
    assert (found.same, found.other_bits) == (1, 1)


def test_same_bits_are_the_same_whatever_the_statistics_say() -> None:
    assert kinds(run(record(rms=0.25)), run(record(rms=0.75))) == []


def test_other_seed_moves_only_what_other_data_would_not() -> None:
    a, b = run(record(rms=0.25), seed=0), run(record(rms=0.375, seed=1), seed=1)
    found = compare(a, b)
    assert found.changes == ()
    assert any("seed is 0 in A, 1 in B" in text for text in found.warnings)
    drifted = compare(a, run(record(rms=2.5, seed=1), seed=1))
    assert [change.kind for change in drifted.changes] == [Kind.WORSE]
    assert exit_status(drifted) == 0


def test_drift_between_devices_is_told_with_both_and_is_no_failure() -> None:
    a = run(record(rms=0.25), record(case="x", digest=""))
    b = run(
        record(rms=0.75, device="cuda", digest=""),
        record(case="x", device="cuda", outcome=Outcome.CRASHED),
        devices={"cuda": GPU},
    )
    found = compare(a, b)
    assert found.devices == (("cpu", "cuda"),)
    assert [(change.kind, change.devices) for change in found.changes] == [
        (Kind.BROKEN, "cpu -> cuda"),
        (Kind.WORSE, "cpu -> cuda"),
    ]
    assert any(f"cpu of A is {SLUG}, cuda of B is {GPU}" in text for text in found.warnings)
    assert exit_status(found) == 1
    assert exit_status(replace(found, changes=found.changes[1:])) == 0


def test_contract_that_follows_from_the_device_is_no_other_promise() -> None:
    b = run(record(rms=0.75, device="cuda", digest="", contract="accumulator=h100"), devices={"cuda": GPU})
    found = compare(run(record()), b)
    assert found.changes == ()
    assert found.not_compared == (("by another contract, of another device", 1),)


def test_machine_is_found_in_a_merged_run() -> None:
    here, there = run(record(rms=0.25, digest="")), run(record(rms=0.75, digest=""), devices={"cpu": OTHER})
    both = merge({"a": here, "b": there}).run
    for one in (here, there):
        found = compare(one, both)
        assert (found.changes, found.devices, found.same) == ((), (), 1)
        assert [(reason.partition("@")[0], count) for reason, count in found.not_run_a] == [("cpu", 1)]
    assert kinds(run(record(rms=0.25, digest=""), devices={"cpu": OTHER}), both) == [Kind.WORSE]


def test_device_that_the_other_run_did_not_judge_on_is_not_run() -> None:
    a = run(record(), record(device="cuda"), devices={"cpu": SLUG, "cuda": GPU})
    found = compare(a, run(record()))
    assert found.changes == ()
    assert found.not_run_b == (("cuda was not judged on", 1),)
    assert compare_story.sentence(found) == "NOTHING BROKE IN WHAT BOTH JUDGED: 1 not run in B, 1 check alike."


def test_vanished_check_is_told_and_fails_a_strict_comparison() -> None:
    found = compare(run(record(), record(case="gone")), run(record()))
    assert [(change.kind, change.shown.case) for change in found.changes] == [(Kind.VANISHED, "gone")]
    assert (exit_status(found), exit_status(found, strict=True)) == (0, 1)
    assert "1 vanished" in compare_story.sentence(found)


def test_new_check_that_fails_is_a_failure_and_a_new_one_that_passes_is_none() -> None:
    assert exit_status(compare(run(record()), run(record(), record(case="new")))) == 0
    found = compare(run(record()), run(record(), record(case="new", outcome=Outcome.CRASHED)))
    assert [change.kind for change in found.changes] == [Kind.APPEARED]
    assert exit_status(found) == 1
    assert compare_story.sections(found)[0].title == "fails in B, did not fail in A"


@pytest.mark.parametrize(
    ("b", "reason"),
    [
        (run(end=False), "the run did not come to its end"),
        (run(tier="full"), "the run's tier is full"),
        (run(seed=3), "the run's seed is 3"),
        (run(options={"shard": "1/2"}), "the run is shard 1/2"),
        (run(options={"only": "other/*"}), "the run was asked for other/* only"),
        (run(options={"op": "softmax"}), "the run was asked for softmax only"),
        (run(options={"case": "bound x"}), "the run was asked for single cases"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_check_that_a_run_was_not_asked_for_is_not_run_rather_than_vanished(b: Run, reason: str) -> None:
    found = compare(run(record()), replace(b, records=(record(case="else"),)))
    assert found.of(Kind.VANISHED) == []
    assert found.not_run_b == ((reason, 1),)


def test_other_place_of_the_kernels_is_no_reason_to_lack_a_check() -> None:
    a, b = run(record(), options={"kernels": "base.py"}), run(options={"kernels": "head.py"})
    assert kinds(a, b) == [Kind.VANISHED]


def test_runs_of_nothing_in_common_are_no_success() -> None:
    for a, b in ((run(record()), run()), (run(record()), run(record(outcome=Outcome.NOT_TESTED)))):
        found = compare(a, b)
        assert exit_status(found) == 2
        assert compare_story.sentence(found).startswith("NOTHING COMPARED, no check is judged in both: 1 ")


def test_run_that_did_not_end_fails_a_strict_comparison() -> None:
    found = compare(run(record()), run(record(), end=False))
    assert (exit_status(found), exit_status(found, strict=True)) == (0, 1)
    assert found.warnings == ("B did not come to its end: what it lacks counts as not run",)


def test_kernel_that_is_left_out_whole_is_no_longer_judged_for_its_reason() -> None:
    star = record(check="*", case="*", outcome=Outcome.NOT_TESTED, reason="runs from tier full on", stats=None)
    found = compare(run(record(), record(case="x")), run(star))
    assert [change.kind for change in found.changes] == [Kind.UNJUDGED, Kind.UNJUDGED]
    assert exit_status(found, strict=True) == 1
    (section,) = compare_story.sections(found)
    (entry,) = section.entries
    assert (entry.count, entry.details) == (2, ("runs from tier full on",))
    assert entry.what == "2 checks (bound 2), pass -> not_tested"


def test_case_of_another_size_is_not_compared() -> None:
    found = compare(run(record()), run(record(n=999, rms=9.0, digest="")))
    assert found.changes == ()
    assert found.not_compared == (("of another number of elements", 1),)


@pytest.mark.parametrize(
    ("b", "said"),
    [
        (timing(1.5), [Kind.SLOWER]),
        (timing(0.5), [Kind.FASTER]),
        (timing(1.03), []),
        (timing(1.09, low=1.08, high=1.1), []),
        (timing(1.11, low=1.06, high=1.2), []),
        (timing(1.11, low=1.08, high=1.2), [Kind.SLOWER]),
        (timing(1 / 1.11, low=0.85, high=0.98 / 1.06), [Kind.FASTER]),
        (timing(1.5, against="numpy/dot"), []),
        (timing(1.5, threads=2), []),
        (timing(0.0), []),
        (replace(timing(1.5), outcome=Outcome.SLOW), [Kind.BROKEN]),
        (replace(timing(0.0), outcome=Outcome.INCONCLUSIVE), []),
    ],
)
def test_speed_moved_only_where_intervals_lie_apart(b: Record, said: list[Kind]) -> None:
    found = compare(run(record(), timing(1.0)), run(record(), b))
    assert [change.kind for change in found.changes] == said
    assert exit_status(found) == (said in ([Kind.SLOWER], [Kind.BROKEN]))


def test_speeds_of_other_devices_are_not_compared() -> None:
    found = compare(run(timing(1.0)), run(timing(9.0), devices={"cpu": OTHER}))
    assert found.changes == ()


def test_run_without_speeds_lacks_none() -> None:
    found = compare(run(record(), timing(1.0)), run(record()))
    assert found.not_run_b == (("no speed was measured", 1),)


def test_environment_that_differs_is_listed() -> None:
    packages = {"lastbit": "0.2.0", "numpy": "2.4.6", "jax": "0.10.2"}
    found = compare(run(), run(packages=packages, commit="fffffff", dirty=True))
    assert [(one.name, one.a, one.b) for one in found.differences] == [
        ("lastbit", "0.1.0", "0.2.0"), ("torch", "2.13.0", ""), ("commit", "abc1234", "fffffff"),
        ("uncommitted changes", "no", "yes"), ("jax", "", "0.10.2"),
    ]  # fmt: skip
    assert [text.partition(":")[0] for text in found.warnings] == [
        "another lastbit judged B",
        "software or its settings differ",
    ]


def test_check_that_is_there_twice_counts_by_its_worse_record() -> None:
    twice = (record(), record(outcome=Outcome.CRASHED))
    assert kinds(run(record()), run(*twice)) == [Kind.BROKEN]
    assert kinds(run(record()), run(*reversed(twice))) == [Kind.BROKEN]


HOSTILE = "<script>alert(1)</script>\x1b[31m|`\u202e](http://x)@everyone\n# h" + "x" * 10_000


@pytest.mark.parametrize("field", ["kernel", "formats", "device", "check", "case", "reason", "contract", "known"])
def test_hostile_text_is_harmless_in_every_output(field: str) -> None:
    bad = {field: HOSTILE, "outcome": Outcome.OVER_BUDGET}
    a = run(record(), record(**{"case": "gone", field: HOSTILE}))
    b = run(record(**bad), record(**{"case": "x", **bad}))
    b = replace(b, header=replace(b.header, options={HOSTILE: HOSTILE}, started=HOSTILE))
    found = compare(a, b)
    sides = [compare_story.side(HOSTILE, one) for one in (a, b)]
    page = str(compare_part.html(found, sides))
    assert "<script>" not in page
    plain = "\n".join(compare_text.lines(found, sides))
    for text in (plain, page, "\n".join(compare_text.markdown(found, sides))):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 20_000
    assert "\n# h" not in plain


def test_changes_are_one_line_each_for_the_report_of_a_run() -> None:
    found = compare(run(record(), seed=1), run(record(outcome=Outcome.CRASHED), end=False, commit="fffffff"))
    assert compare_story.changes(found) == [
        "B IS WORSE THAN A: 1 check fails that did not fail in A.",
        "B did not come to its end: what it lacks counts as not run",
        "seed is 1 in A, 0 in B: what only one of them has counts as not run",
        "the data may differ, so statistics count as moved only where other data would not explain it",
        "fails in B, did not fail in A: mine/gemm [bf16 -> f32] on cpu, bound, gauss/m17-n33-k65: pass -> crashed",
        "made otherwise: seed: 1 -> 0",
        "made otherwise: commit: abc1234 -> fffffff",
    ]


def test_markdown_shows_hostile_text_as_code() -> None:
    found = compare(run(), run(record(kernel="`a`<b>@c|d", outcome=Outcome.CRASHED)))
    assert "- ```` `a`<b>@c|d ````" not in compare_text.markdown(found)
    (line,) = [text for text in compare_text.markdown(found) if "@c" in text]
    assert line.startswith("- `` `a`<b>@c|d `` `[bf16 -> f32] on cpu, bound, gauss/m17-n33-k65`: ")


def stored(folder: Path, one: Run) -> str:
    folder.mkdir()
    (folder / NAME).write_bytes(content(one))
    return str(folder)


@pytest.fixture
def lastbit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command on stored runs a, b and same."""
    stored(tmp_path / "a", run(record(), record(case="old")))
    stored(
        tmp_path / "b", run(record(outcome=Outcome.OVER_BUDGET, reason="max error 9 ulp at (0, 1)"), record(case="old"))
    )
    stored(tmp_path / "less", run(record()))

    (tmp_path / "kernels.py").write_text("KERNELS = []")
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        status = main(["compare", *words])
        return status, *capsys.readouterr()

    return command


def test_command_tells_what_broke(lastbit: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = lastbit("a", "b")
    assert status == 1
    assert "mine/gemm [bf16 -> f32] on cpu, bound, gauss/m17-n33-k65: pass -> over_budget" in " ".join(out.split())
    assert "max error 9 ulp at (0, 1)" in out
    assert "reproduce: lastbit verify mine.py" in out
    assert out.splitlines()[-1].startswith("B IS WORSE THAN A: 1 check fails that did not fail in A; 1 check alike.")
    status, out, _ = lastbit("b", "a")
    assert status == 0
    assert "fixed, 1" in out


def test_command_is_strict_on_request(lastbit: Callable[..., tuple[int, str, str]]) -> None:
    assert lastbit("a", "less")[0] == 0
    assert lastbit("a", "less", "--strict")[0] == 1


def test_command_writes_json_that_has_all(lastbit: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = lastbit("a", "b", "--json", "-")
    found = json.loads(out)
    assert (status, found["status"]) == (1, 1)
    assert [(one["kind"], one["a"]["outcome"], one["b"]["outcome"]) for one in found["changes"]] == [
        ("broken", "pass", "over_budget")
    ]
    assert (found["same"], found["not_run_b"], found["warnings"]) == (1, [], [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "kernels.py"), "kernels.py is a file that is no run; give"),
        (("a", "nowhere"), "is not there; give the folders of two runs"),
        (("a", "b", "--threads", "2"), "--threads is of --perf"),
        (("a", "b", "--case", "bound x"), "--case is of --perf"),
        (("a", "b", "--perf", "--strict"), "--strict is of runs"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    lastbit: Callable[..., tuple[int, str, str]], words: tuple[str, ...], said: str
) -> None:
    status, out, err = lastbit(*words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert said in line
