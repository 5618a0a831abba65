"""What differs from the run before is in a run's own report."""

from pathlib import Path

import pytest

from lastbit.cli import main
from lastbit.verdict import Outcome

from .record_examples import record, store_run


def report(folder: Path, *words: str) -> tuple[str, str]:
    assert main(["report", str(folder), *words]) == 1
    return (folder / "report.md").read_text(), (folder / "index.html").read_text()


def test_report_tells_what_differs_from_the_run_before(tmp_path: Path) -> None:
    store_run(tmp_path, record(), record(case="gone"))
    store_run(tmp_path, record(outcome=Outcome.OVER_BUDGET))
    markdown, page = report(tmp_path)
    said = "B IS WORSE THAN A: 1 check fails that did not fail in A; 1 vanished."
    assert said in markdown
    assert said in page
    assert markdown.index(said) < markdown.index("## Failures")
    assert markdown.count("vanished: ") == 1


def test_pages_that_compare_are_valid_html(tmp_path: Path) -> None:
    html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed: .[dev]")
    store_run(tmp_path, record(), record(case="gone"))
    store_run(tmp_path, record(outcome=Outcome.OVER_BUDGET, reason="<b>\n&amp"), commit="fffffff")
    _, page = report(tmp_path)
    assert main(["report", *[str(tmp_path)] * 2, str(tmp_path / "run.previous.jsonl"), "--into", str(tmp_path)]) == 1
    for text in (page, (tmp_path / "fleet.html").read_text()):
        html5lib.HTMLParser(strict=True).parse(text)


def test_report_compares_with_the_run_that_is_named(tmp_path: Path) -> None:
    other = store_run(tmp_path / "other", record(outcome=Outcome.CRASHED))
    store_run(tmp_path / "run", record(outcome=Outcome.OVER_BUDGET))
    for text in report(tmp_path / "run", "--before", str(other)):
        assert "1 fail in another way" in text


@pytest.mark.parametrize("content", [None, "", "nothing that is a run\n"])
def test_report_of_a_first_run_compares_nothing(tmp_path: Path, content: str | None) -> None:
    store_run(tmp_path, record(outcome=Outcome.OVER_BUDGET))
    if content is not None:
        (tmp_path / "run.previous.jsonl").write_text(content)
    markdown, page = report(tmp_path)
    assert "## Since" not in markdown
    assert "NOTHING" not in markdown + page
