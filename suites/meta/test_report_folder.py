"""The folder of a report: every file, from the records alone, and one line where it cannot be written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lastbit.errors import ReportError
from lastbit.reports import folder
from lastbit.verdict import Outcome

from .page_runs import DATASHEET, every_way, real_run, score, stored
from .record_examples import record, store_run

__all__ = ["real_run"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [folder.ZOO, folder.DATASHEET])
@pytest.mark.parametrize("content", ["{", "3", '{"classes": 1}', '[{"a": 1}]', "\x00", "[" * 100_000])
def test_files_beside_are_refused_in_one_line(tmp_path: Path, name: str, content: str) -> None:
    run = stored(tmp_path, record())
    (tmp_path / name).write_text(content, encoding="utf-8")
    if name == folder.DATASHEET and content.startswith('[{"a"'):
        folder.write(run, tmp_path)
        assert "Measured facts of the device" in (tmp_path / folder.PAGE).read_text(encoding="utf-8")
        return
    with pytest.raises(ReportError, match=r"write it with: lastbit (zoo|datasheet) --json FILE") as caught:
        folder.write(run, tmp_path)
    assert "\n" not in str(caught.value)[:200]


def test_folder_has_every_file_and_the_page_links_the_records(tmp_path: Path) -> None:
    run = stored(tmp_path, *every_way())
    before = (tmp_path / "run.jsonl").read_bytes()
    folder.write(run, tmp_path)
    names = {"run.jsonl", "index.html", "report.md", "junit.xml", "ctrf.json", "badge.svg"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "run.jsonl").read_bytes() == before
    assert '<a href="run.jsonl">' in (tmp_path / "index.html").read_text(encoding="utf-8")
    folder.write(run, tmp_path / "elsewhere")
    assert '<a href="run.jsonl">' not in (tmp_path / "elsewhere" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the command where no kernel library can be imported."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        program = (
            "import sys\n"
            "class Absent:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.partition('.')[0] in ('torch', 'triton', 'jax', 'transformers', 'onnxruntime', 'gmpy2'):\n"
            "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
            "sys.meta_path.insert(0, Absent())\n"
            f"sys.path.insert(0, {str(ROOT / 'plugins')!r})\n"
            f"import lastbit; lastbit.__path__.append({str(ROOT)!r})\n"
            "from lastbit.cli import main; sys.exit(main())"
        )
        return subprocess.run(
            [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def test_report_is_made_from_the_records_alone(
    alone: "Callable[..., subprocess.CompletedProcess[str]]", real_run: Path, tmp_path: Path
) -> None:
    first = {path.name: path.read_bytes() for path in real_run.iterdir()}
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "run.jsonl").write_bytes(first["run.jsonl"])
    done = alone("report", "again")
    assert done.returncode == 1, done.stderr
    assert "DOES NOT CONFORM: 1 of 4 kernels fails" in done.stdout
    assert done.stdout.endswith("report: again/index.html and report.md\n")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


@pytest.mark.skipif(os.name == "nt", reason="a folder is made a file's in POSIX's way")
def test_folder_that_cannot_be_written_is_one_line_and_the_records_stay(
    alone: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    store_run(tmp_path / "run", record())
    before = (tmp_path / "run" / "run.jsonl").read_bytes()
    (tmp_path / "run" / "index.html").mkdir()
    done = alone("report", "run")
    assert done.returncode == 2
    assert "CONFORMS: 1 kernel, 1 check passed." in done.stdout
    assert done.stderr.count("\n") == 1
    assert "run/index.html: cannot write (Is a directory); the records are as they were" in done.stderr
    assert (tmp_path / "run" / "run.jsonl").read_bytes() == before
    assert alone("report", "run", "--into", "other").returncode == 0
    assert (tmp_path / "other" / "index.html").is_file()


def test_page_shows_what_the_command_is_given(
    alone: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    store_run(tmp_path / "run", record(outcome=Outcome.OVER_BUDGET))
    store_run(tmp_path / "old", record())
    (tmp_path / "zoo").write_text(json.dumps(score()), encoding="utf-8")
    (tmp_path / "sheet").write_text(json.dumps(DATASHEET), encoding="utf-8")
    done = alone("report", "run", "--before", "old", "--zoo", "zoo", "--datasheet", "sheet")
    assert done.returncode == 1, done.stderr
    made = (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    for part in ('id="before"', 'id="zoo"', 'id="datasheet"'):
        assert part in made
    plain = alone("report", "run")
    assert plain.returncode == 1
    made = (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    assert 'id="zoo"' not in made


@pytest.mark.parametrize("option", ["--before", "--zoo", "--datasheet"])
def test_file_that_is_not_there_is_one_line(
    alone: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path: Path, option: str
) -> None:
    store_run(tmp_path / "run", record())
    done = alone("report", "run", option, "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("lastbit: nowhere")
