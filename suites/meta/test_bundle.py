"""Submission bundles: what follows from the records is proved, and all else is told."""

import io
import zipfile
from dataclasses import replace
from datetime import date
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.cli import main
from lastbit.errors import GoldenError
from lastbit.golden import drift, match, store
from lastbit.golden.bundled import unproved, used
from lastbit.reports import bundle
from lastbit.reports.bundle_facts import facts
from lastbit.reports.run import read

from .bundle_examples import (
    REPORT,
    Change,
    Files,
    added,
    baseline,
    bundled,
    checked,
    repacked,
    with_a_failure_passed,
    with_line,
    without,
    without_a_record,
)
from .record_examples import SLUG, environment, record, store_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return bundled(tmp_path_factory.mktemp("run"))


# What is proved.


def test_bundle_of_a_run_is_proved(good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = checked(bundle.packed(good), tmp_path / "b.zip", capsys)
    assert status == 0, told
    assert "DOES NOT CONFORM: 1 of 2 kernels fails 1 of 4 checks: mine/bad" in told
    assert f"hashes of {len(good) - 1} files hold, and its report follows from its records, commit abc1234." in told
    names = {"run.jsonl", "environment.json", "policy.json", "MANIFEST.json", f"golden/gemm.{SLUG}.jsonl", *REPORT}
    assert set(good) == names


def test_same_run_gives_the_same_bytes(good: Files) -> None:
    content = bundle.packed(good)
    assert bundle.packed(dict(reversed(good.items()))) == content
    assert bundle.unpacked(content, "b") == good
    infos = zipfile.ZipFile(io.BytesIO(content)).infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_command_packs_what_it_proves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, target = store_run(tmp_path / "run", record()), tmp_path / "b.zip"
    assert main(["report", str(folder), "--bundle", str(target), "--golden", str(tmp_path / "golden")]) == 0
    assert f"prove it with: lastbit report --check {target}" in capsys.readouterr().out
    assert main(["report", "--check", str(target)]) == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("report.md", with_line("report.md", b"24.6", b"0.46")),
        ("report.md", with_line("report.md", b"18.5 ulp", b"81.5 ulp")),
        ("report.md", with_line("report.md", b"DOES NOT CONFORM", b"CONFORMS")),
        ("ctrf.json", with_line("ctrf.json", b'"failed": 1', b'"failed": 0')),
        ("junit.xml", with_line("junit.xml", b'failures="1"', b'failures="0"')),
        ("badge.svg", with_line("badge.svg", b"</text>", b"!</text>")),
        ("index.html", with_line("index.html", b"mine/bad", b"mine/god")),
        ("environment.json", with_line("environment.json", b"AMD EPYC", b"AMD EPIC")),
        ("ctrf.json", with_line("run.jsonl", b'"measured":24.6', b'"measured":3.5')),
        ("report.md", without_a_record),
        ("run.jsonl", with_line("run.jsonl", b'{"type":"record"', b'{"type":"recard"')),
        ("run.jsonl", with_line("run.jsonl", b'"max_ulp":2.0', b'"max_ulp":"2"')),
        ("run.jsonl", with_line("run.jsonl", b'"records":4', b'"records":5')),
        ("run.jsonl", with_line("run.jsonl", b'"lost":0', b'"lost":1')),
        ("run.jsonl", with_line("run.jsonl", b'"exitstatus":1', b'"exitstatus":0')),
        ("run.jsonl", with_a_failure_passed),
        ("run.jsonl", with_line("policy.json", b'"id": "F1"', b'"id": "F2"')),
        ("policy.json", with_line("policy.json", b'"id": "F1"', b'"id":  "F1"')),
        ("policy.json", with_line("policy.json", b"{", b"[")),
        ("no baseline", without(f"golden/gemm.{SLUG}.jsonl")),
        ("golden/x.jsonl", added("golden/x.jsonl")),
        ("h is", with_line(f"golden/gemm.{SLUG}.jsonl", b'"rms":0.25', b'"rms":0.5')),
        ("is missing", without("badge.svg")),
        ("is no file of a report", added("notes.txt")),
    ],
    ids=map(str, count()),
)
def test_what_does_not_follow_is_told_though_its_hashes_hold(
    name: str, change: Change, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = dict(good)
    change(changed)
    status, told = checked(repacked(changed), tmp_path / "b.zip", capsys)
    assert status == 1, told
    assert name in told
    assert "NOT PROVED" in told


@pytest.mark.parametrize("name", [*REPORT, "run.jsonl", "policy.json", f"golden/gemm.{SLUG}.jsonl"])
def test_file_that_is_not_what_was_packed_is_named(
    name: str, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = checked(bundle.packed(good | {name: good[name] + b" "}), tmp_path / "b.zip", capsys)
    assert (status, told.count("\n")) == (1, 2)
    assert f"{name}: is not what was packed" in told
    status, told = checked(bundle.packed({key: good[key] for key in good if key != name}), tmp_path / "b.zip", capsys)
    assert (status, f"{name}: is missing" in told) == (1, True)
    status, told = checked(bundle.packed(good | {"more.txt": b""}), tmp_path / "b.zip", capsys)
    assert (status, "more.txt: MANIFEST.json does not name it" in told) == (1, True)


@pytest.mark.parametrize(
    ("name", "value"), [("verdict", "CONFORMS"), ("commit", "f00"), ("dirty", True), ("exitstatus", 0), ("started", "")]
)
def test_manifest_says_nothing_that_the_records_do_not(
    name: str, value: object, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = checked(repacked(good, **{name: value}), tmp_path / "b.zip", capsys)
    assert (status, f"MANIFEST.json: {name} is {value!r}" in told) == (1, True)


def test_number_of_another_lastbit_has_to_follow_and_its_words_do_not(
    good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = good | {"report.md": good["report.md"].replace(b"none: not judged", b"none: nothing was judged")}
    status, told = checked(repacked(words), tmp_path / "b.zip", capsys)
    assert (status, "report.md" in told) == (1, True)
    status, told = checked(repacked(words, writer="another"), tmp_path / "b.zip", capsys)
    assert (status, "written by another lastbit" in told) == (0, True)
    status, told = checked(repacked(words | {"more.txt": b""}, writer="another"), tmp_path / "b.zip", capsys)
    assert (status, "more.txt: is no file of a report" in told) == (1, True)
    for name, old, new in (
        ("report.md", b"max error 18.5 ulp", b"max error 0.85 ulp"),
        ("report.md", b"| 24.6 |", b"| 0.6 |"), ("report.md", b"**DOES NOT CONFORM", b"**CONFORMS"),
        ("ctrf.json", b'"status": "failed"', b'"status": "passed"'), ("junit.xml", b'failures="1"', b'failures="0"'),
        ("ctrf.json", b'"failed": 1', b'"failed": 0'), ("badge.svg", b"</text>", b"!</text>"),
        ("junit.xml", b"<?xml", b"<!DOCTYPE x><?xml"), ("ctrf.json", b"{", b""), ("badge.svg", b"<svg", b"<sv"),
    ):  # fmt: skip
        changed = dict(words)
        with_line(name, old, new)(changed)
        status, told = checked(repacked(changed, writer="another"), tmp_path / "b.zip", capsys)
        assert (status, f"{name}: does not follow" in told) == (1, True), (name, old)


def test_facts_of_every_file_of_a_report_are_read(good: Files) -> None:
    for name in REPORT:
        found = facts(name, good[name])
        assert found
        assert "cannot be read" not in str(found)[:60], name
        assert facts(name, b"\xff") != found


# What cannot be packed.


def test_run_that_was_killed_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = store_run(tmp_path / "run", record(), end=False)
    assert main(["report", str(folder), "--bundle", str(tmp_path / "b.zip"), "--golden", str(tmp_path / "golden")]) == 2
    assert "did not come to its end" in capsys.readouterr().err
    assert not (tmp_path / "b.zip").exists()


def test_run_whose_baselines_changed_since_is_no_bundle(tmp_path: Path) -> None:
    path = store.path_of(tmp_path, "gemm", SLUG)
    run = read(store_run(tmp_path / "run", record(golden="same")))
    with pytest.raises(GoldenError, match="has no baseline of it; name the folder of the run with --golden DIR"):
        used(run, tmp_path)
    store.save(path, [baseline(record(rms=0.001, digest=""))])
    with pytest.raises(GoldenError, match=r"says golden same, but by its baseline it is drifted rms 0\.25 was 0\.001"):
        used(run, tmp_path)
    store.save(path, [baseline(record()), baseline(record(case="another"))])
    (content,) = used(run, tmp_path).values()
    assert content.count(b"\n") == 1, "only the line that was used"
    assert unproved(run, {f"golden/{path.name}": path.read_bytes()}) == [
        f"golden/{path.name}: no record was compared with its line of mine/gemm a:bf16,b:bf16,out:f32 bound another"
    ]


def test_baseline_of_another_device_that_a_record_quotes_is_taken_along(tmp_path: Path) -> None:
    slug = SLUG.replace("f26m2", "f26m9")
    store.save(store.path_of(tmp_path, "gemm", slug), [baseline(record(rms=0.001, digest=""))])
    moved = "rms 0.25 was 0.001 (limit 0.001437)"
    run = read(store_run(tmp_path / "run", record(golden=f"new: on {slug} it would be drifted, {moved}")))
    assert list(used(run, tmp_path)) == [f"golden/gemm.{slug}.jsonl"]
    new = read(store_run(tmp_path / "other", record(golden="new")))
    assert used(new, tmp_path) == {}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([0.001, 0.1, 1.0, 3.0, 50.0]),
    st.sampled_from(["", "0123456789abcdef"]),
    st.sampled_from([0, 7]),
    st.sampled_from([40, 4096]),
    st.sampled_from(["2026-11-20", "2025-01-01"]),
    st.sampled_from([SLUG, SLUG.replace("f26m2", "f26m9")]),
    st.booleans(),
)
def test_whatever_a_run_says_of_its_baselines_follows_from_them(
    factor: float, digest: str, seed: int, n: int, day: str, slug: str, same_software: bool
) -> None:
    """Same, drifted, better, stale, regressed, and new with advice of another device."""
    with TemporaryDirectory() as place:
        folder, here = Path(place), environment()
        old = record(rms=0.25 / factor, utilisation=min(0.2 / factor, 1.0), digest=digest, n=n)
        software = here.software("mine/gemm") if same_software else "older"
        adopted = store.golden(old, env=software, by="abc", day=day, reason="seen")
        store.save(store.path_of(folder / "golden", "gemm", slug), [adopted])
        baselines = match.baselines("gemm", SLUG, folder / "golden")
        judged = drift.judged(record(seed=seed), baselines, here, date(2026, 11, 25))
        assert judged.golden
        run = read(store_run(folder / "run", judged, record(case="untold", golden="new")))
        files = used(run, folder / "golden")
        assert len(files) == 1
        assert unproved(run, files) == []
        other = replace(judged, golden=judged.golden.replace("same", "better").replace("drifted", "same"))
        if other != judged:
            assert unproved(replace(run, records=(other,)), files)


def test_arguments_that_do_not_go_together_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["run", "--check", "b"], ["--bundle", "b"], ["a", "b", "--bundle", "c"], []):
        assert main(["report", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    folder = store_run(tmp_path / "run", record())
    assert main(["report", str(folder), "--bundle", str(tmp_path / "no" / "b.zip")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert main(["report", "--check", str(tmp_path / "none.zip")]) == 2
    assert "cannot read" in capsys.readouterr().err
