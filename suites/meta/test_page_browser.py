"""index.html in a real browser: no error, no violation, no sideways scroll; filter and cards work, and none is needed.

Needs Playwright's library and a Chromium of the system; it downloads no browser.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lastbit.reports.folder import write
from lastbit.reports.run import read

from .page_runs import FAILED, HOSTILE, beside, every_way, grid, real_run, stored

__all__ = ["real_run"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 390)

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    library = pytest.importorskip("playwright.sync_api", reason="Playwright's library is not installed: .[dev]")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    with library.sync_playwright() as playwright:
        # Without a sandbox: tests of CI run as root in containers, and open nothing but files that they wrote.
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a file; a message of the console, an error or a request beyond it fails the test."""
    troubles: list[str] = []
    contexts = []

    def open_file(path: Path, fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: _own(request.url, path) or troubles.append(f"fetches {request.url}"))
        page.goto(path.as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not troubles


def _own(url: str, path: Path) -> bool:
    return url.partition("#")[0] == path.as_uri()


@pytest.fixture(scope="module")
def grid_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    write(stored(folder, *grid()), folder)
    return folder / "index.html"


@pytest.fixture(scope="module")
def every_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every")
    write(stored(folder, *every_way(), *grid()), folder, beside())
    return folder / "index.html"


def cells(page: Any) -> list[str]:
    """The cells of results that a reader sees."""
    rows = page.locator("td.c:not(.off)")
    return [cell.inner_text() for cell in rows.all() if cell.is_visible()]


def test_page_opens_with_verdict_sections_and_no_error(opened: Open, real_run: Path) -> None:
    page = opened(real_run / "index.html")
    assert "DOES NOT CONFORM: 1 of 4 kernels fails" in page.locator(".verdict").first.inner_text()
    assert page.title() == "lastbit: does not conform"
    for name in ("good", "hasty", "known", "vague"):
        assert page.locator("details.op th", has_text=f"mine/{name}").count() == 1


def test_page_says_what_failed_where_and_why(opened: Open, real_run: Path) -> None:
    card = opened(real_run / "index.html").locator(".card").first
    text = card.inner_text()
    for part in ("mine/hasty", "Why it matters", "Where", "Got", "Want", "Measured / allowed", "Allowed because"):
        assert part in text
    assert "further from the truth than the promised arithmetic can bring it" in text
    command = card.locator("pre").last.inner_text()
    assert command.startswith("lastbit verify kernels.py --only mine/hasty --device cpu --seed 0 --tier smoke --case ")


def test_cards_fold_and_unfold(opened: Open, every_page: Path) -> None:
    page = opened(every_page)
    cards = page.locator(".card")
    assert cards.count() > 4
    last = cards.last
    assert not last.locator("dl").is_visible()
    last.locator("summary").click()
    assert last.locator("dl").is_visible()
    last.locator("summary").press("Enter")
    assert not last.locator("dl").is_visible()


def test_filter_finds_kernels_formats_ops_and_outcomes(opened: Open, grid_page: Path) -> None:
    page = opened(grid_page)
    assert len(cells(page)) == 32
    find, shown = page.get_by_label("Kernel, formats or device"), page.locator("#shown")
    find.fill("gemm-2")
    assert (len(cells(page)), shown.inner_text()) == (4, "4 of 32 cells")
    find.fill("GEMM-2 bf16")
    assert (len(cells(page)), shown.inner_text()) == (1, "1 of 32 cells")
    find.fill("no such kernel")
    assert (len(cells(page)), shown.inner_text()) == (0, "0 of 32 cells")
    find.fill("")
    page.locator("#op").select_option("softmax")
    assert (len(cells(page)), shown.inner_text()) == (16, "16 of 32 cells")
    page.locator("#op").select_option("")
    page.locator("#outcome").select_option("over_budget")
    (found,) = cells(page)
    assert found.startswith("✗ over budget")
    page.locator("#outcome").select_option("")
    assert (len(cells(page)), shown.inner_text()) == (32, "32 cells")


def test_cell_leads_to_the_kernels_section(opened: Open, grid_page: Path) -> None:
    page = opened(grid_page)
    page.locator("td.f a").click()
    kernel = page.locator("details.kernel[open]")
    assert kernel.count() == 1
    assert "mine/gemm-2" in kernel.locator("summary").first.inner_text()
    assert kernel.locator("> div").is_visible()


def test_page_reads_whole_without_scripts(opened: Open, real_run: Path) -> None:
    page = opened(real_run / "index.html", java_script_enabled=False)
    assert not page.locator("#tools").is_visible(), "a filter that cannot work is not shown"
    assert page.locator("td.c").count() == 4
    assert all(cell.is_visible() for cell in page.locator("td.c").all())
    page.locator("details.kernel summary").first.click()
    assert page.locator("details.kernel > div").first.is_visible()
    assert page.locator(".card dl").first.is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_page_never_scrolls_sideways(opened: Open, every_page: Path, width: int) -> None:
    page = opened(every_page, viewport={"width": width, "height": 800})
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator(".wide").evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth).length")
    assert wide or width > 1000, "wide tables scroll inside their own region"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_page_has_no_serious_violation(opened: Open, every_page: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: .[dev]")
    page = opened(every_page, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


def test_axe_sees_a_planted_violation(opened: Open, every_page: Path, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: .[dev]")
    planted = tmp_path / "planted.html"
    text = every_page.read_text(encoding="utf-8").replace('<html lang="en">', "<html>")
    planted.write_text(text.replace("--dim: #555d66", "--dim: #bbbbbb"), encoding="utf-8")
    found = axe.Axe().run(opened(planted)).response["violations"]
    assert {"html-has-lang", "color-contrast"} <= {one["id"] for one in found}


def test_policy_stops_a_planted_script(browser: Any, every_page: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted.html"
    attack = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    planted.write_text(every_page.read_text(encoding="utf-8").replace("</main>", attack + "</main>"), encoding="utf-8")
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(planted.as_uri())
    assert page.title() == "lastbit: does not conform"
    assert any("script" in text and "Content Security Policy" in text for text in refused)
    page.close()


def test_hostile_text_runs_nothing_and_keeps_the_width(opened: Open, tmp_path: Path) -> None:
    names = (
        "kernel",
        "op",
        "formats",
        "device",
        "check",
        "case",
        "reason",
        "where",
        "formula",
        "contract",
        "reproduce",
    )
    bad = [replace(FAILED, **dict.fromkeys(names, text)) for text in (*HOSTILE, "".join(HOSTILE))]
    write(stored(tmp_path, *bad), tmp_path)
    page = opened(tmp_path / "index.html", viewport={"width": 390, "height": 800})
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".card").count() == len(bad)
    assert page.locator("main script, main img, main svg[onload], main style").count() == 0


def test_print_shows_what_is_folded(opened: Open, every_page: Path) -> None:
    page = opened(every_page, java_script_enabled=False)
    page.emulate_media(media="print")
    boxes = page.locator("details.kernel > div").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert boxes
    assert min(boxes) > 0


def test_dark_page_is_printed_dark_on_white(opened: Open, every_page: Path) -> None:
    page = opened(every_page, color_scheme="dark")
    colours = "one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
    text, back = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in page.locator("body").evaluate(colours))
    assert text > 3 * 200 > 3 * 60 > back, "the screen is dark"
    page.emulate_media(media="print", color_scheme="dark")
    text, back = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in page.locator("body").evaluate(colours))
    assert text < 3 * 60 < 3 * 250 < back


def test_rows_keep_their_height_on_a_narrow_screen(opened: Open, real_run: Path) -> None:
    """Columns beyond the edge are not squeezed until a word is a line."""
    page = opened(real_run / "index.html", viewport={"width": 390, "height": 800})
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    heights = page.locator(".kernel .wide tr").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert len(heights) > 20
    assert max(heights) < 260


def test_printing_leaves_the_page_as_it_was(opened: Open, every_page: Path) -> None:
    page = opened(every_page)
    before = page.locator("details:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == before > 0


def test_keyboard_reaches_the_report_first(opened: Open, every_page: Path) -> None:
    page = opened(every_page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


def test_summary_for_programs_is_in_the_page(opened: Open, real_run: Path) -> None:
    data = opened(real_run / "index.html").evaluate("JSON.parse(document.getElementById('summary').textContent)")
    run = read(real_run)
    assert data["sha256"] == run.sha256
    assert sum(data["counts"].values()) == len(run.records)
    assert {cell[0]: cell[3] for cell in data["cells"]} == {
        "mine/hasty": "over budget",
        "mine/good": "pass",
        "mine/known": "known",
        "mine/vague": "pass",
    }
