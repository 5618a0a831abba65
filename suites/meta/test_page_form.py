"""The form of index.html: valid, legible, small, quick, and harmless whatever a kernel writes."""

import json
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.reports import kernel_section, page, page_failures
from lastbit.reports.kernel_section import sections
from lastbit.reports.run import Run
from lastbit.reports.run_data import Explained, Footer
from lastbit.reports.zoo_page import page as zoo_page
from lastbit.verdict import Outcome, Record, Timing

from .page_runs import DATASHEET, FAILED, HOSTILE, Outline, beside, every_way, grid, run_of, score
from .record_examples import record

TEXTS = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), min_size=1, max_size=4).map("".join)

RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")

FIELDS = ("kernel", "op", "formats", "device", "check", "case", "reason", "where", "got", "want", "formula", "contract",
          "proof", "reproduce", "golden", "digest")  # fmt: skip


def whole() -> str:
    """A page with every part."""
    return page.text(run_of(*every_way(), *grid()), beside())


def test_headings_go_down_one_level_at_a_time() -> None:
    levels = [int(tag[1]) for tag, _ in Outline(whole()).elements if tag in HEADINGS]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_ids_are_there_once_and_links_lead_somewhere() -> None:
    elements = Outline(whole()).elements
    ids = [value for _, attrs in elements for name, value in attrs if name == "id"]
    links = {value for tag, attrs in elements for name, value in attrs if tag == "a" and name == "href"}
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links} <= {*ids, "run.jsonl"}


def test_kernel_of_two_ops_has_one_section(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = Timing("main", "bound", ns=100.0)
    both = [replace(one, op=op) for op in ("gemm", "softmax") for one in (record(), FAILED)]
    timed = [replace(one, check="speed", stats=None, timing=timing) for one in both]
    for largest in (page.LARGEST, 0):
        monkeypatch.setattr(page, "LARGEST", largest)
        found = re.findall(r' id="([^"]+)"', page.text(run_of(*both, *timed)))
        assert len(found) == len(set(found))
        assert kernel_section.anchor("mine/gemm") in found


def test_tables_have_captions_and_their_heads_scopes() -> None:
    elements = Outline(whole()).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("caption") == tags.count("table") > 3
    assert all(dict(attrs).get("scope") in ("col", "row") for tag, attrs in elements if tag == "th")


def test_dev_extra_brings_what_tests_of_pages_skip_without() -> None:
    """What `pytest.importorskip` asks for here is what the extra installs."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {re.split(r"[^\w-]", one)[0].replace("-", "_") for one in project["optional-dependencies"]["dev"]}
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    needed = {
        name for text in tests for name in re.findall(r'importorskip\("([^".]+)[^"]*", reason="[^"]*\[dev\]"', text)
    }
    assert {"html5lib", "playwright", "axe_playwright_python"} <= needed & extra


def test_page_is_valid_html() -> None:
    html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed: .[dev]")
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(whole())
    html5lib.HTMLParser(strict=True).parse(zoo_page(score()))
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!doctype html><title>x</title><p></b>")


def test_page_fetches_nothing() -> None:
    for tag, attrs in Outline(whole()).elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "form", "base", "video", "audio")
        assert not [name for name, _ in attrs if name in ("src", "srcset", "action", "style") or name.startswith("on")]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_in_both_themes(theme: int) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") < 4.5
    css = resources.files("lastbit.reports").joinpath("templates", "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[theme]))
    assert len(colours) == 14
    pairs = [(name, f"{name}back") for name in ("good", "bad", "note", "none")]
    pairs += [(ink, back) for ink in ("ink", "dim", "link") for back in ("back", "head")]
    pairs += [("ink", f"{name}back") for name in ("good", "bad", "note", "none")]
    assert {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs if
            contrast(colours[pair[0]], colours[pair[1]]) < 4.5} == {}  # fmt: skip


def skeleton(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Elements with the names of their attributes: what no text of a kernel may change."""
    return [(tag, tuple(name for name, _ in attrs)) for tag, attrs in Outline(text).elements]


@given(texts=st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXTS)), note=TEXTS, outcome=st.sampled_from(list(Outcome)))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_hostile_text_makes_no_element_and_no_attribute(texts: dict[str, str], note: str, outcome: Outcome) -> None:
    made = page.text(hostile(texts, note, outcome))
    assert not RAW.search(made)
    calm = page.text(hostile(dict.fromkeys(texts, "calm"), "calm", outcome))
    assert set(skeleton(made)) <= set(skeleton(calm))
    for tag, attrs in Outline(made).elements:
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "style", "srcdoc")
            assert name != "href" or value.startswith("#")
            assert tag != "script" or name in ("type", "id")
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", made, flags=re.DOTALL)
    assert len(scripts) == 2
    json.loads(scripts[0])
    assert len(made) < 400_000


@given(text=TEXTS)
@settings(max_examples=20, deadline=None)
def test_hostile_text_of_zoo_and_datasheet_makes_no_element_either(text: str) -> None:
    calm, bad = (page.text(run_of(record()), page.Beside(zoo=bent(score(), t), datasheet=bent(DATASHEET, t)))
                 for t in ("calm", text))  # fmt: skip
    assert set(skeleton(bad)) <= set(skeleton(calm))
    assert not RAW.search(bad)


def bent(value: Any, text: str) -> Any:
    """`value` with `text` put before each text that is not a key or an answer."""
    if isinstance(value, Mapping):
        return {name: one if name in ("answer", "faults") else bent(one, text) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [bent(one, text) for one in value]
    return text + value if isinstance(value, str) else value


def hostile(texts: dict[str, str], note: str, outcome: Outcome) -> Run:
    one = replace(record(), outcome=outcome, notes={note: note}, **texts)
    said = Explained({f"{one.op} {one.check}": note}, {"F1": note}, (note,))
    end = Footer(note, 2, 1, 0, (note,), (note,), said)
    return run_of(one, replace(FAILED, known="F1"), footer=end, cpu=note, packages={note: note}, commit=note)


def test_planted_raw_text_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hostile test's own eyes: a page that does not escape has more elements."""
    from markupsafe import Markup

    plain = skeleton(page.text(run_of(replace(FAILED, reason="calm"))))
    monkeypatch.setattr(page_failures.standing, "block", Markup)
    assert skeleton(page.text(run_of(replace(FAILED, reason="<b onclick=x>")))) != plain


def test_page_of_forty_kernels_and_fourteen_formats_is_small() -> None:
    formats = ("f64", "f32", "tf32", "f16", "bf16", "e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e4m3", "e3m4",
               "e2m3fn", "e3m2fn", "e2m1fn")  # fmt: skip
    start = time.process_time()
    run = run_of(*(one for number in range(40) for fmt in formats for one in judged(number, fmt)))
    made = page.text(run)
    assert len(run.records) == 40 * 14 * 36
    assert len(made.encode()) < 900_000
    assert made.count('data-o="') == 560
    assert time.process_time() - start < 10, "20,000 records in ten seconds"


def test_page_that_would_be_too_large_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(*grid())
    assert "Left out" not in page.text(run)
    monkeypatch.setattr(page, "LARGEST", sum(len(one.body) for one in sections(run)) // 2)
    made = page.text(run)
    left = re.findall(r'<li id="kernel-[\w-]+">([^<]+)</li>', made)
    assert 0 < len(left) < 8
    assert f"more than {8 - len(left)} of its 8 kernels" in made
    assert "<h3>mine/gemm-2" in made, "what fails is shown"
    links = set(re.findall(r'href="#([^"]+)"', made))
    assert links <= set(re.findall(r' id="([^"]+)"', made)), "the matrix leads to those too"


def test_sections_that_are_left_out_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    figures = kernel_section.figures
    monkeypatch.setattr(kernel_section, "figures", lambda members: made.append(members[0].kernel) or figures(members))
    run = run_of(*(record(kernel=f"many/k{number}") for number in range(2000)), replace(FAILED, kernel="many/z"))
    monkeypatch.setattr(page, "LARGEST", 50_000)
    text = page.text(run)
    assert made[0] == "many/z"
    assert 3 < len(made) < 40
    assert text.count('<details class="kernel">') == len(made) - 1
    assert len(text) < 1_000_000


def judged(number: int, fmt: str) -> list[Record]:
    """36 records of a kernel in a format: checks, lengths and data, with histograms that differ."""
    op = ("gemm", "softmax", "attention", "quantize")[number % 4]
    made = []
    for i in range(36):
        size = 64 << i % 5
        peak = (number * 7 + i * 3) % 20
        bins = tuple((k, 1 + abs(peak * 9 - k * k) % 97) for k in range(-peak - 4, peak + 5))
        one = record(
            kernel=f"library{number % 5}/{op}-kernel-{number}",
            op=op,
            formats=f"a:{fmt} b:{fmt} out:{fmt}",
            check=("bound", "exact", "statistics", "special", "layout", "slices")[i % 6],
            case=f"{('normal', 'uniform', 'cancelling')[i % 3]}/m24-n40-k{size}",
            formula=f"{size} terms in f32: {size * 6e-8:.3e}*|A||B| + radius of the truth [budgets.md 2]",
            utilisation=0.1 + 0.8 * ((i * 7 + number) % 10) / 10,
            max_ulp=0.5 + i,
        )
        made.append(replace(one, histogram=bins, terms=size))
    return made
