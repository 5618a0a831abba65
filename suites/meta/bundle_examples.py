"""A bundle that the tests of bundles start from, and what they do to it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lastbit import policy
from lastbit.cli import main
from lastbit.golden import store
from lastbit.golden.bundled import used
from lastbit.reports import bundle, bundle_check
from lastbit.reports.run import read
from lastbit.verdict import Outcome

from .record_examples import SLUG, record, store_run

FAILED = record(
    kernel="mine/bad", outcome=Outcome.OVER_BUDGET, measured=24.6, reason="max error 18.5 ulp", utilisation=24.6
)
REPORT = ("index.html", "report.md", "junit.xml", "ctrf.json", "badge.svg")
KNOWN = policy.Known("F1", "mine/bad", "bound", "*", Outcome.OVER_BUDGET, "sums in f16")
Files = dict[str, bytes]
Change = Callable[[Files], None]


def bundled(folder: Path) -> Files:
    """The files of the bundle of a run with a failure, a known one, and a baseline."""
    same = record(case="same/m8-n8-k8", golden="same")
    store.save(store.path_of(folder / "golden", "gemm", SLUG), [baseline(same)])
    store_run(folder, record(), FAILED, replace(FAILED, case="known", known="F1"), same)
    path = folder / "run.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"exitstatus":0', b'"exitstatus":1'))
    run = read(path)
    rows = policy.Rows(findings=(KNOWN,))
    return bundle_check.contents(run, path.read_bytes(), rows, used(run, folder / "golden"))


def baseline(like: object) -> store.Golden:
    return store.golden(like, env="lastbit0.1.0", by="abc", day="2026-11-20", reason="seen")  # type: ignore[arg-type]


def repacked(files: Mapping[str, bytes], **said: object) -> bytes:
    """The bundle of files that somebody changed, hashes and all."""
    rest = {name: content for name, content in files.items() if name != bundle.MANIFEST}
    head = replace(bundle.manifest(files), files=bundle.entries(rest), **said)  # type: ignore[arg-type]
    return bundle.packed(rest | {bundle.MANIFEST: bundle.encode(head)})


def checked(content: bytes, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and output of the command."""
    path.write_bytes(content)
    status = main(["report", "--check", str(path)])
    told = capsys.readouterr()
    return status, told.out + told.err


def with_line(name: str, old: bytes, new: bytes) -> Change:
    def change(files: Files) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def without(name: str) -> Change:
    return lambda files: files.pop(name) and None


def added(name: str) -> Change:
    return lambda files: files.update({name: b"x\n"})


def without_a_record(files: Files) -> None:
    lines = files["run.jsonl"].splitlines(keepends=True)
    files["run.jsonl"] = b"".join([lines[0], *lines[2:-1], lines[-1].replace(b'"records":4', b'"records":3')])


def with_a_failure_passed(files: Files) -> None:
    """The whole of the bundle made anew of records with one outcome changed."""
    text = files["run.jsonl"].replace(b'"over_budget"', b'"pass"', 1).replace(b'"exitstatus":1', b'"exitstatus":0')
    files["run.jsonl"] = text
    files |= bundle_check.report(bundle_check._run(files), text)
