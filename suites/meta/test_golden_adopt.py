"""Adopting goldens: what is proposed, what is refused, and that a refusal changes nothing."""

from datetime import date
from pathlib import Path

import pytest

from lastbit.errors import GoldenError, RecordError
from lastbit.golden import store
from lastbit.golden.adopt import CI_VARIABLES, accept, diff, doctor
from lastbit.golden.store import Golden, load
from lastbit.verdict import Outcome, Record

from .record_examples import SLUG, record, store_run

DAY = date(2026, 11, 25)


@pytest.fixture(autouse=True)
def _outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Goldens of three cases: a, b and gone."""
    run = store_run(tmp_path / "first", *(record(case=case) for case in ("a", "b", "gone")))
    accept(run, tmp_path / "golden", "mine/*", "first")
    return tmp_path / "golden"


def goldens(folder: Path) -> dict[str, Golden]:
    """The stored records by case."""
    path = store.path_of(folder, "gemm", SLUG)
    return {key.rpartition(" ")[2]: one for key, one in load(path).items()} if path.exists() else {}


def run_of(folder: Path, *records: Record, **changed: object) -> Path:
    return store_run(folder.parent / "run", *records, **changed)  # type: ignore[arg-type]


def test_accepted_record_is_stored_with_its_provenance(folder: Path) -> None:
    one = goldens(folder)["a"]
    assert (one.by, one.date, one.reason, one.seed) == ("abc1234", "2026-11-25", "first", 0)
    assert one.env == "lastbit0.1.0 numpy2.4.6 torch2.13.0 threads2"
    assert (one.n, one.max_ulp, one.p99_ulp, one.rms, one.bias, one.utilisation) == (4096, 2.0, 1.0, 0.25, 0.05, 0.2)
    assert sorted(goldens(folder)) == ["a", "b", "gone"]


def test_diff_names_every_kind_of_change(folder: Path) -> None:
    run = run_of(
        folder,
        record(case="a", rms=0.6, digest="e"),
        record(case="b", rms=0.26, digest="e"),
        record(case="new"),
        record(case="c", check="exact", allowed=0.0),
        record(kernel="bad/gemm", case="x"),
        record(kernel="bad/gemm", case="y", outcome=Outcome.OVER_BUDGET),
    )
    key = "mine/gemm a:bf16,b:bf16,out:f32 bound"
    assert diff(run, folder) == [
        "refused  bad/gemm a:bf16,b:bf16,out:f32 bound x: bad/gemm is over_budget in bound y",
        "refused  bad/gemm a:bf16,b:bf16,out:f32 bound y: bad/gemm is over_budget in bound y",
        f"worse    {key} a: rms 0.6 was 0.25 (limit 0.3594)",
        f"changed  {key} b",
        f"orphan   {key} gone",
        f"new      {key} new",
        "2 refused, 1 worse, 1 changed, 1 new, 1 orphan",
    ]
    assert sorted(goldens(folder)) == ["a", "b", "gone"]


def test_diff_of_the_same_run_is_all_same(folder: Path) -> None:
    assert diff(folder.parent / "first", folder) == ["3 same"]
    assert accept(folder.parent / "first", folder, "mine/*", "again") == ["no change"]


def test_diff_of_a_run_of_another_kernel_only_counts_orphans(folder: Path) -> None:
    run = run_of(folder, record(kernel="other/gemm"))
    assert diff(run, folder) == ["new      other/gemm a:bf16,b:bf16,out:f32 bound gauss/m17-n33-k65", "1 new, 3 orphan"]


def test_accept_takes_only_what_the_glob_names(folder: Path) -> None:
    run = run_of(folder, record(case="a", rms=0.1, digest="e"), record(case="b", rms=0.1, digest="e"))
    said = accept(run, folder, "* a", "the epilogue now rounds once")
    assert said[0].startswith("better   mine/gemm a:bf16,b:bf16,out:f32 bound a: rms 0.1 was 0.25")
    assert (goldens(folder)["a"].rms, goldens(folder)["b"].rms) == (0.1, 0.25)
    assert goldens(folder)["a"].reason == "the epilogue now rounds once"


def refused(folder: Path, run: Path, said: str, glob: str = "mine/*", reason: str = "why", **options: bool) -> None:
    """Accepting is refused with `said`, and not a byte of the store changes."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises((GoldenError, RecordError)) as error:
        accept(run, folder, glob, reason, **options)
    assert said in str(error.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", CI_VARIABLES)
def test_accept_refuses_in_ci(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "true")
    refused(folder, run_of(folder, record(case="new")), f"{name} is set")
    monkeypatch.setenv(name, "false")
    assert accept(run_of(folder, record(case="new")), folder, "mine/*", "why")[-1].startswith("1 adopted")


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.failed and o is not Outcome.REGRESSED])
def test_accept_refuses_a_kernel_that_failed_anywhere(folder: Path, outcome: Outcome) -> None:
    run = run_of(folder, record(case="new"), record(check="special", case="x", outcome=outcome, stats=None))
    refused(folder, run, f"mine/gemm is {outcome.value} in special x", glob="* new")


def test_accept_refuses_an_inconclusive_kernel(folder: Path) -> None:
    run = run_of(folder, record(case="new"), record(case="x", outcome=Outcome.INCONCLUSIVE))
    refused(folder, run, "is inconclusive")


def test_accept_refuses_an_over_budget_record_itself(folder: Path) -> None:
    run = run_of(folder, record(case="x", outcome=Outcome.OVER_BUDGET))
    refused(folder, run, "1 selected records cannot be adopted, nothing was written", glob="* x")


def test_accept_never_adopts_a_known_finding_but_takes_the_rest(folder: Path) -> None:
    run = run_of(folder, record(case="new"), record(case="x", outcome=Outcome.WRONG_CLASS, known="F1"))
    accept(run, folder, "mine/*", "why")
    assert sorted(goldens(folder)) == ["a", "b", "gone", "new"]


def test_accept_refuses_a_finding_that_no_longer_happens(folder: Path) -> None:
    refused(folder, run_of(folder, record(case="new"), record(case="x", known="F1")), "cannot be adopted")


def test_accept_takes_a_kernel_beside_one_that_failed(folder: Path) -> None:
    run = run_of(folder, record(case="new"), record(kernel="bad/gemm", outcome=Outcome.CRASHED, stats=None))
    assert accept(run, folder, "mine/*", "why")[-1].startswith("1 adopted")


def test_accept_refuses_a_dirty_tree(folder: Path) -> None:
    refused(folder, run_of(folder, record(case="new"), dirty=True), "dirty tree on abc1234")


def test_accept_refuses_a_run_that_was_killed(folder: Path) -> None:
    refused(folder, run_of(folder, record(case="new"), end=False), "did not come to its end")


@pytest.mark.parametrize("reason", ["", "  "])
def test_accept_refuses_without_reason(folder: Path, reason: str) -> None:
    refused(folder, run_of(folder, record(case="new")), "no reason given", reason=reason)


@pytest.mark.parametrize("glob", ["", "*", "**"])
def test_accept_refuses_a_bare_glob_unless_all_is_meant(folder: Path, glob: str) -> None:
    run = run_of(folder, record(case="new"))
    refused(folder, run, "selects everything", glob=glob)
    assert accept(run, folder, glob, "why", all_keys=True)[-1].startswith("1 adopted")


@pytest.mark.parametrize("outcome", [Outcome.REGRESSED, Outcome.PASS])
def test_accept_refuses_worse_numbers_unless_allowed(folder: Path, outcome: Outcome) -> None:
    """REGRESSED on this software; a PASS that drifted under other software is worse, too."""
    run = run_of(folder, record(case="a", rms=0.6, digest="e", outcome=outcome))
    refused(folder, run, "1 records are worse than golden")
    said = accept(run, folder, "mine/*", "f16 accumulation, by contract", allow_worse=True)
    assert said[0].startswith("worse    mine/gemm")
    assert goldens(folder)["a"].rms == 0.6


def test_accept_refuses_records_of_one_key_that_differ(folder: Path) -> None:
    run = run_of(folder, record(case="new"), record(case="new", rms=0.26))
    refused(folder, run, "has 2 records of this key that differ")


def test_accept_refuses_a_glob_that_matches_nothing(folder: Path) -> None:
    refused(folder, run_of(folder, record(case="new")), "no record of the run has a key like 'other/*'", glob="other/*")


def test_accept_refuses_when_a_golden_file_is_damaged(folder: Path) -> None:
    path = store.path_of(folder, "gemm", SLUG)
    path.write_bytes(path.read_bytes().replace(b'"rms":0.25', b'"rms":0.15', 1))
    refused(folder, run_of(folder, record(case="new")), "it was edited")


def test_orphans_are_removed_by_prune_only(folder: Path) -> None:
    run = run_of(folder, record(case="a"), record(case="b"))
    assert (
        "kept     mine/gemm a:bf16,b:bf16,out:f32 bound gone: not in the run" in accept(run, folder, "mine/*", "why")[0]
    )
    assert "gone" in goldens(folder)
    said = accept(run, folder, "* gone", "the case is no more", prune=True)
    assert said[-1].startswith("0 adopted, 1 removed")
    assert sorted(goldens(folder)) == ["a", "b"]


def test_pruning_the_last_record_removes_the_file(folder: Path) -> None:
    run = run_of(folder, record(case="new", outcome=Outcome.UNSUPPORTED, stats=None))
    accept(run, folder, "mine/*", "why", prune=True)
    assert list(folder.iterdir()) == []


def test_record_not_judged_in_this_run_is_left_alone(folder: Path) -> None:
    run = run_of(folder, record(case="a", outcome=Outcome.NOT_TESTED, stats=None), record(case="b"))
    assert diff(run, folder)[-1] == "1 orphan, 2 same"


def test_run_on_a_device_it_does_not_describe_is_refused(folder: Path) -> None:
    refused(folder, run_of(folder, record(device="cuda")), "does not say what device 'cuda' is")


def test_kernel_that_was_left_out_whole_stands_in_nobodys_way(folder: Path) -> None:
    absent = record(device="cuda", check="*", case="*", outcome=Outcome.UNSUPPORTED, stats=None)
    assert any("case" in line or "new" in line for line in diff(run_of(folder, record(case="new"), absent), folder))


def test_doctor_finds_a_healthy_store_healthy(folder: Path) -> None:
    assert doctor(folder, today=DAY) == []
    assert doctor(folder, folder.parent / "first", DAY) == []


def test_doctor_names_orphans_and_missing_records(folder: Path) -> None:
    run = run_of(folder, record(case="a"), record(case="b"), record(case="new"))
    key = "mine/gemm a:bf16,b:bf16,out:f32 bound"
    name = f"gemm.{SLUG}.jsonl"
    assert doctor(folder, run, DAY) == [
        f"orphan   {key} gone: not in the run, in {name}; accept --prune removes it",
        f"missing  {key} new: the run has it, {name} does not; accept adopts it",
    ]


def test_doctor_names_stale_records(folder: Path) -> None:
    assert doctor(folder, today=date(2027, 5, 24)) == []
    said = doctor(folder, today=date(2027, 5, 25))
    assert len(said) == 3
    assert said[0].startswith("stale    mine/gemm a:bf16,b:bf16,out:f32 bound a: 181 days old")


def test_doctor_names_every_unusable_file(folder: Path) -> None:
    path = store.path_of(folder, "gemm", SLUG)
    path.write_bytes(path.read_bytes().replace(b'"rms":0.25', b'"rms":0.15', 1))
    (folder / "notes.jsonl").write_text("")
    said = doctor(folder, folder.parent / "first", DAY)
    assert [line.split()[0] for line in said] == ["unusable", "unusable"]
    assert "it was edited" in said[0]
    assert "is named <op>.<device slug>.jsonl" in said[1]
