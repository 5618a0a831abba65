"""The fleet's page, and a report that compares, in a real browser: no error, no violation, no sideways scroll."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lastbit.reports.fleet import fleet, page
from lastbit.reports.folder import write
from lastbit.reports.run import NAME, read
from lastbit.verdict import Outcome, Record

from .page_runs import every_way, grid
from .record_examples import store_run
from .test_page_browser import WIDTHS, Open, browser, opened

__all__ = ["browser", "opened"]


def worse(records: tuple[Record, ...]) -> list[Record]:
    """The records, with a failure, a drift and a check that is gone."""
    moved = [replace(one, stats=one.stats and replace(one.stats, rms=9.0), digest="") for one in records[2:]]
    return [replace(records[0], outcome=Outcome.CRASHED, reason="<b>it</b> died"), *moved]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The fleet's page of two runs, and the report of one that compares it with the other."""
    folder = tmp_path_factory.mktemp("compare")
    records = (*every_way(), *grid())
    store_run(folder, *records)
    store_run(folder, *worse(records), packages={"lastbit": "0.1.0", "torch": "9" * 60}, commit="fffffff")
    runs = {str(folder / name): read(folder / name) for name in (NAME, "run.previous.jsonl")}
    write(next(iter(runs.values())), folder)
    (folder / "fleet.html").write_text(
        page(fleet({f"{name}/{i}": run for i in range(6) for name, run in runs.items()}))
    )
    return {"fleet": folder / "fleet.html", "report": folder / "index.html"}


@pytest.mark.parametrize("name", ["fleet", "report"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_never_scrolls_sideways(opened: Open, pages: dict[str, Path], name: str, width: int) -> None:
    shown = opened(pages[name], viewport={"width": width, "height": 800})
    shown.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["fleet", "report"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_violation(opened: Open, pages: dict[str, Path], name: str, scheme: str) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: .[dev]")
    shown = opened(pages[name], color_scheme=scheme)
    shown.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = axe.Axe().run(shown).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


def test_report_shows_what_broke_and_folds_the_rest(opened: Open, pages: dict[str, Path]) -> None:
    shown = opened(pages["report"])
    part = shown.locator("section", has=shown.locator("h2#before"))
    assert "1 check fails that did not fail in A" in part.inner_text()
    assert "<b>it</b> died" in part.inner_text()
    titles = {one.inner_text().partition(":")[0]: one for one in part.locator("summary").all()}
    assert titles["fails in B, did not fail in A"].locator("xpath=..").get_attribute("open") is not None
    assert titles["vanished"].locator("xpath=..").get_attribute("open") is not None
    assert "larger errors" in titles
