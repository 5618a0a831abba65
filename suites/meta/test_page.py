"""index.html without a browser: what it says, and that it is valid, small, quick, legible and harmless."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.errors import ReportError
from lastbit.reports import folder, page, page_failures, page_head, page_matrix
from lastbit.reports.run import Header, Run, read
from lastbit.reports.run_data import Explained, Footer
from lastbit.verdict import Outcome, Record

from .page_runs import FAILED, FORMATS, every_way, grid, real_run, stored
from .record_examples import environment, record, store_run

__all__ = ["real_run"]

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)", "]]>", "-->", "<!--",
    "</style></title></textarea>", "</script>", "javascript:alert(1)", "[x](javascript:alert(1))", "{{ 7 * 7 }}",
    "{% raw %}", "\u202eevil\u2066", "\x1b[2J\x07", "\x00", "\ud800", "&lt;b&gt;", "<svg onload=alert(1)>", "`|*_",
    "x" * 10_000,
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), min_size=1, max_size=4).map("".join)


class Outline(HTMLParser):
    """The elements of a page and their attributes, its headings, and the text of its body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple((name, value or "") for name, value in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def run_of(*records: Record, footer: Footer | None = None, **changed: Any) -> Run:
    end = footer or Footer("2026-11-25T10:01:05+00:00", len(records))
    return Run(Header(environment(**changed), started="2026-11-25T10:00:00+00:00"), records, True, end, 0, "ab12")


def shown(*records: Record, **changed: Any) -> str:
    """The page's text, without its markup."""
    return " ".join(" ".join(Outline(page.text(run_of(*records, **changed))).text).split())


def test_head_says_verdict_device_software_seed_and_time() -> None:
    text = shown(*every_way())
    for part in (
        "DOES NOT CONFORM: 3 of 4 kernels fail",
        "cpu (cpu-x86_64-avx512bf16-amd_epyc-f26m2)",
        "Python 3.11.7, lastbit 0.1.0, numpy 2.4.6, torch 2.13.0",
        "smoke, seed 0",
        "took 1 min 5 s",
        "abc1234",
        "sha256 of the records ab12",
    ):
        assert part in text, part


def test_head_says_what_was_not_tested_and_why() -> None:
    skipped = [
        record(kernel=f"k/{i % 3}", case=f"c{i}", outcome=Outcome.NOT_TESTED, reason="no bias") for i in range(9)
    ]
    text = shown(record(), *skipped)
    assert "9 checks were not judged. None of them counts as a pass." in text
    assert "not tested no bias 9 3" in text
    assert "Everything that was asked for was judged." in shown(record())


def test_many_reasons_are_folded_not_lost() -> None:
    skipped = [record(case=f"c{i}", outcome=Outcome.NOT_TESTED, reason=f"reason {i}") for i in range(40)]
    text = shown(record(), *skipped)
    assert f"{40 - page_head.REASONS} other reasons" in text
    assert all(f"reason {i} " in text for i in range(40))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_its_sign_and_word(outcome: Outcome) -> None:
    text = shown(record(outcome=outcome))
    sign = "✓" if outcome is Outcome.PASS else "✗" if outcome.failed else "[?–]"
    assert re.search(f"{sign} {outcome.value.replace('_', ' ')}", text)
    assert (f"✓ 1 {outcome.value}" in text) == (outcome is Outcome.PASS)


def test_every_way_to_fail_says_why_it_matters() -> None:
    assert {outcome for outcome in Outcome if outcome.failed} == set(page_failures.MEANS)
    for outcome, means in page_failures.MEANS.items():
        assert means in shown(record(outcome=outcome))
    told = Footer("2026-11-25T10:01:05+00:00", 1, explained=Explained({"gemm bound": "The law's own words."}))
    text = page.text(run_of(FAILED, footer=told))
    assert "The law&#39;s own words." in text
    assert page_failures.GONE in shown(record(known="F1"))


def test_card_shows_what_where_got_want_allowed_and_command() -> None:
    text = shown(FAILED)
    for part in (
        "✗ over budget: mine/leaky, bound bf16 -> f32 on cpu",
        "Where (1, 1)",
        "Got 0.0390625 (0x2900)",
        "Want 0.03455829620361328",
        "Measured / allowed 24.6 / 1",
        "Allowed because n*u32*|A||B|",
        "Reproduce: lastbit verify mine.py --case 'bound gauss/m17-n33-k65'",
    ):
        assert part in text, part


def test_cards_are_capped_and_the_rest_listed() -> None:
    many = [replace(FAILED, check=f"check{i}") for i in range(page_failures.CARDS + 7)]
    made = page.text(run_of(*many))
    assert made.count('class="card"') == page_failures.CARDS
    assert "7 more kinds of failure" in made
    most = [replace(FAILED, check=f"check{i}") for i in range(page_failures.CARDS + page_failures.LISTED + 5)]
    assert "5 more rows are not shown; run.jsonl has every record" in page.text(run_of(*most))


def test_grid_has_a_column_for_each_format_and_a_list_has_rows() -> None:
    dense = Outline(str(page_matrix.matrix(tuple(grid()))))
    heads = [text for text in dense.text if text in FORMATS]
    assert heads == [*FORMATS, *FORMATS], "wide formats first"
    assert sum(("class", "c p") in attrs or ("class", "c f") in attrs for _, attrs in dense.elements) == 32
    sparse = [record(kernel=f"k/{i}", formats=f"a:i{i} b:i{i} out:i{i}") for i in range(30)]
    assert "a row for each kernel, formats and device" in shown(*sparse)


def test_cell_shows_the_worst_case_and_what_says_nothing() -> None:
    first, second = (replace(record(), formats=f"a:{f} b:{f} out:{f}") for f in ("f32", "f16"))
    worse = replace(record(case="b", utilisation=0.75, max_ulp=1234.0), formats=first.formats)
    vague = replace(record(case="c", outcome=Outcome.VACUOUS), formats=first.formats)
    assert "✓ pass 0.75 · 1230 ulp · 1 vacuous" in shown(first, worse, vague, second)


def test_two_devices_have_columns_of_their_own() -> None:
    records = [replace(one, device=device) for one in grid() for device in ("cpu", "cuda")]
    assert "bf16 @cuda" in shown(*records)


def test_findings_waivers_notes_and_gone_are_told() -> None:
    said = Explained(findings={"F900": "sums are kept in f16"}, waivers=("mine/gemm [*] bound *: 1.5 times",))
    end = Footer("2026-11-25T10:01:05+00:00", 1, 1, 0, ("no kernels from jax",), ("finding F3 is gone",), said)
    made = " ".join(Outline(page.text(run_of(*every_way(), footer=end))).text)
    for part in ("sums are kept in f16", "1.5 times", "no kernels from jax", "finding F3 is gone"):
        assert part in made


def test_speeds_are_a_table_and_never_a_cell_of_results() -> None:
    text = shown(*every_way())
    assert "Time of a call beside another's" in text
    assert "1.000 to 1.200" in text


def test_earlier_run_zoo_and_datasheet_are_parts_of_the_page(tmp_path: Path) -> None:
    before = stored(tmp_path, record(), record(case="b"))
    sheet = [{"name": "peak", "value": 3.5, "unit": "TFLOP/s"}, {"name": "<b>", "note": None}]
    made = page.text(run_of(replace(FAILED, kernel="mine/gemm")), page.Beside(before=("old", before), datasheet=sheet))
    assert "Compared with an earlier run" in made
    assert '<th scope="row">peak</th><td>3.5</td><td>TFLOP/s</td>' in made
    assert "&lt;b&gt;" in made


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


def test_run_that_was_killed_says_so(tmp_path: Path) -> None:
    text = page.text(read(store_run(tmp_path, record(), end=False)))
    assert "did not come to its end" in text
    assert page.text(run_of()).count("NOTHING JUDGED") >= 1


def test_headings_go_down_one_level_at_a_time() -> None:
    levels = [int(tag[1]) for tag, _ in Outline(page.text(run_of(*every_way(), *grid()))).elements if tag in HEADINGS]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def test_ids_are_there_once_and_links_lead_somewhere() -> None:
    elements = Outline(page.text(run_of(*every_way(), *grid()))).elements
    ids = [value for _, attrs in elements for name, value in attrs if name == "id"]
    links = {value for tag, attrs in elements for name, value in attrs if tag == "a" and name == "href"}
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_tables_have_captions_and_their_heads_scopes() -> None:
    elements = Outline(page.text(run_of(*every_way(), *grid()))).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("caption") == tags.count("table") > 3
    assert all(dict(attrs).get("scope") in ("col", "row") for tag, attrs in elements if tag == "th")


def test_page_is_valid_html() -> None:
    html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed: .[dev]")
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(page.text(run_of(*every_way(), *grid())))
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!doctype html><title>x</title><p></b>")


def test_page_fetches_nothing() -> None:
    for tag, attrs in Outline(page.text(run_of(*every_way(), *grid()))).elements:
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


FIELDS = ("kernel", "op", "formats", "device", "check", "case", "reason", "where", "got", "want", "formula", "contract",
          "proof", "reproduce", "golden", "digest")  # fmt: skip


@given(texts=st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXTS)), note=TEXTS, outcome=st.sampled_from(list(Outcome)))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_hostile_text_makes_no_element_and_no_attribute(texts: dict[str, str], note: str, outcome: Outcome) -> None:
    made = page.text(hostile(texts, note, outcome))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", made)
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
    assert len(made.encode()) < 1_000_000
    assert made.count('data-o="') == 560
    assert time.process_time() - start < 10, "20,000 records in ten seconds"


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
