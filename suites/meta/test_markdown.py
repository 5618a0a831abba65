"""report.md and job summaries: short whatever the run, and text of strangers does nothing in them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lastbit.reports import job_summary, markdown, markdown_text
from lastbit.reports.run import Header, Run
from lastbit.reports.summary import clean
from lastbit.verdict import Outcome, Record, Timing

from .record_examples import environment, record

#: What a stranger would write to be more than text.
ACTIVE = (
    *("@torvalds", "#12", "GH-12", "pytorch/pytorch#1", "octo/cat@0123abc", "deadbeefdeadbeef", "https://evil.test/x"),
    *("www.evil.test", "a@evil.test", "[x](https://evil.test)", "![x](y)", "<img src=x onerror=y>", "</details>"),
    *(
        "<script>",
        "<!--",
        "|",
        "\\|",
        "\\",
        "`",
        "```",
        "~~~",
        "``` x",
        "***",
        "__x__",
        "~~x~~",
        "# owned",
        "\n# owned",
    ),
    *("- x", "1. x", "> x", "---", "===", "\n---\n", "    x", "$x$", "$`x`$", ":smile:", "&lt;b&gt;", "&#64;x", "[^1]"),
    *("[x]: y", "[ ] x", "\x1b[2J", "\u202eevil", "\u2066", "\ud800", "\u200b@x", "\r\n", "\x85# x", "\u2028# x"),
    *("", " ", "x" * 10_000, "| a | b |\n|---|---|", "@" * 400),
)
HOSTILE = st.lists(st.sampled_from(ACTIVE) | st.text(max_size=8), max_size=6).map(" ".join) | st.lists(
    st.sampled_from(ACTIVE) | st.text("`|\\@#<>[]() \n_*~-+=$&:1a", max_size=8), max_size=6
).map("".join)
#: What GitHub makes a link, a mention, a formula or an emoji of, in text that is no code, after it read the Markdown.
LATER = re.compile(r"[@#$&]\w|://|www\.|\bGH-\d|\b[0-9a-f]{7,40}\b|:\w+:", re.IGNORECASE)
TAGS = re.compile(r"<details><summary>[\w ,()]+(: \d+ of \d+, all in index.html)?</summary>\n?|</details>\n?")


def page(*records: Record, complete: bool = True, **given: object) -> str:
    run = Run(Header(environment(), started="2026-11-25T10:00:00+00:00"), records, complete)
    return markdown.text(run, **given)  # type: ignore[arg-type]


def stored(folder: Path, *records: Record) -> Path:
    """The report.md of a run."""
    path = folder / "report.md"
    path.write_text(page(*records), encoding="utf-8")
    return path


def tokens(text: str) -> list[Token]:
    """Every token of the page, those inside of lines too."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    blocks = parser.parse(text)
    return [token for one in blocks for token in (one, *(one.children or ()))]


def harmless(text: str) -> None:
    """Nothing of the page is active but what lastbit itself puts there."""
    found = tokens(text)
    allowed = {
        *("heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "text", "code_inline"),
        *("fence", "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "html_block"),
        *("strong_open", "strong_close", "softbreak", "table_open", "table_close", "thead_open", "thead_close"),
        *("tbody_open", "tbody_close", "tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close"),
    }
    assert {token.type for token in found} <= allowed
    heads = [found[i + 1].content for i, token in enumerate(found) if token.type == "heading_open"]
    headings = [re.sub(": \\d+ of \\d+, all in index.html$", "", head) for head in heads]
    ours = {"lastbit", "Failures", "Findings that no longer happen", "Moved against golden", "Kernels", "Speed"}
    assert {one for one in headings if not one.startswith("Since ")} <= ours
    assert len(headings) == len(set(headings))
    assert all(TAGS.fullmatch(token.content) for token in found if token.type == "html_block")
    shown = [token.content for token in found if token.type == "text"]
    assert not [one for one in shown if LATER.search(one)]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text)
    rows = "".join({"tr_open": "\n", "td_open": "|", "th_open": "|"}.get(token.type, "") for token in found)
    assert {len(row) for row in rows.split("\n")[1:]} <= {10, 11}, "ten cells of kernels, eleven of speeds"
    assert sum(token.type == "table_open" for token in found) <= 2, "kernels and speeds"


@given(st.lists(HOSTILE, min_size=8, max_size=8), st.sampled_from(list(Outcome)), HOSTILE)
def test_nothing_of_a_name_is_active(texts: list[str], outcome: Outcome, known: str) -> None:
    names = ("kernel", "formats", "device", "check", "case", "reason", "reproduce", "golden")
    bad = record(**dict(zip(names, texts, strict=True)), outcome=outcome, known=known)
    moved = replace(bad, golden=f"drifted: {texts[0]}", outcome=Outcome.PASS, known="")
    timed = replace(bad, timing=Timing(against=texts[1], check=texts[2], ratio=1.0))
    text = page(record(), bad, moved, timed, notes=texts, gone=texts, base=texts[3], changes=texts)
    harmless(text)
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    "text",
    [
        *("@torvalds", "#12", "GH-12", "octo/cat@0123abc", "deadbeefdeadbeef", "https://evil.test", "www.evil.test"),
        *("a@evil.test", "[x](https://evil.test)", "![x](y)", "<img src=x>", "</details>", "<!--", "***x***", "~~x~~"),
        *("# owned", "1. x", "> x", "x\n---\n", "$x$", ":smile:", "\x1b[2J", "\u202eevil", "\u2028"),
        *("| a | b |\n|---|---|\n| 1 | 2 |",),
    ],
)
def test_active_text_is_seen_by_these_tests(text: str) -> None:
    """What the reader above forbids it finds where nothing is escaped."""
    with pytest.raises(AssertionError):
        harmless(f"# lastbit\n\n{text}\n\n- x {text}\n")


@given(HOSTILE)
def test_code_shows_the_text_as_it_is(text: str) -> None:
    shown = [token.content for token in tokens(f"x {markdown_text.code(text)} y") if token.type == "code_inline"]
    assert "".join(shown) == clean(text, 300).strip()


CONTENT = ("text", "code_inline")


@given(HOSTILE)
def test_sentence_keeps_every_word(text: str) -> None:
    content = [token.content for token in tokens(f"- {markdown_text.sentence(text)}") if token.type in CONTENT]
    assert "".join("".join(content).split()) == "".join(clean(text, 300).split())


def crowded() -> str:
    """A page on which every section has far more than there is room for."""
    outcomes = (Outcome.OVER_BUDGET, Outcome.WRONG_CLASS, Outcome.PASS, Outcome.NOT_TESTED, Outcome.VACUOUS)
    many = [
        record(
            kernel=f"provider{i}/a_kernel_with_a_rather_long_name_{i}", formats=f"a:{f} b:{f} out:f32",
            check=f"check{j}", outcome=outcome, reason="why\n" * 9 + f"reason {i}", golden="drifted: rms 2 was 1",
            known="F1" if outcome.failed and i % 2 else "", reproduce="lastbit verify " + "x" * 900,
        )
        for i in range(120) for f in ("f32", "bf16") for j, outcome in enumerate(outcomes)
    ]  # fmt: skip
    timed = [record(case=f"t{i}", timing=Timing(f"beside {i}", "bound", ratio=1.0)) for i in range(90)]
    said = [f"sentence {i} " + "word " * 90 for i in range(90)]
    return page(*many, *timed, complete=False, notes=said, gone=said, base="main", changes=said)


def test_page_of_any_run_is_below_sixty_lines_and_fits_a_comment() -> None:
    text = crowded()
    harmless(text)
    assert len(text.splitlines()) < 60
    assert len(text) < 65_536
    for title in ("Since main", "Failures", "Findings that no longer", "Moved against golden", "Kernels", "Speed"):
        section = text.partition(f"## {title}")[2].partition("##")[0]
        assert re.search(r"^(- |\| |```)", section, re.MULTILINE), f"{title} shows something"
    assert len(re.findall(r"^## .*: \d+ of \d+, all in index.html$", text, re.MULTILINE)) == 6


def test_usual_page_is_whole_and_short() -> None:
    kernels = [record(kernel=f"k/{i}") for i in range(18)]
    bad = record(kernel="mine/bad", outcome=Outcome.OVER_BUDGET, reason="max error 18 ulp\nbudget 0.75 ulp")
    text = page(*kernels, bad, record(case="b", golden="better: rms 1 was 2"), gone=["finding F9 no longer happens"])
    assert len(text.splitlines()) < 60
    assert "<details>" not in text
    order = ["DOES NOT CONFORM", "## Failures", "OVER_BUDGET mine/bad", "## Findings that", "## Moved", "## Kernels"]
    assert sorted(order, key=text.index) == order


def test_differences_from_another_run_come_first() -> None:
    text = page(record(), base="abc/main", changes=["broken mine/gemm bound: over_budget was pass"])
    assert text.index("## Since abc/main\n\n- broken mine/gemm") < text.index("## Kernels")


def test_what_was_not_judged_is_counted_in_view() -> None:
    skipped = [record(case=str(i), outcome=Outcome.NOT_TESTED, reason=f"reason {i % 3}") for i in range(40)]
    text = page(record(), *skipped)
    assert "<details><summary>Not judged, which is no pass (40 checks), by reasons</summary>" in text
    assert "- not_tested, 14 in 1 kernel: reason 0\n" in text


@pytest.mark.parametrize("kernels", [17, 200, 5000])
def test_rows_without_room_are_counted_and_none_is_lost(kernels: int) -> None:
    text = page(*(record(kernel=f"k/{i}") for i in range(kernels)))
    shown = text.count("| k/")
    assert 10 < shown < 60
    assert f"## Kernels: {shown} of {kernels}, all in index.html\n" in text
    assert len(text.splitlines()) < 60


def test_each_kernel_that_fails_is_named_before_one_of_them_is_again() -> None:
    outcomes = {"a": Outcome.CRASHED, "b": Outcome.OVER_BUDGET, "c": Outcome.OVER_BUDGET}
    bad = [record(kernel=f"mine/{n}", check=f"check{i}", outcome=how) for n, how in outcomes.items() for i in range(9)]
    failures = page(*bad).partition("## Failures")[2].partition("##")[0]
    assert all(f"mine/{name} " in failures for name in outcomes)


# The summary of a job.


def test_no_summary_where_no_file_is_named(tmp_path: Path) -> None:
    assert job_summary.append(stored(tmp_path, record()), {}) == []
    assert job_summary.append(stored(tmp_path, record()), {"GITHUB_STEP_SUMMARY": ""}) == []


def test_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    assert job_summary.append(stored(tmp_path, record()), {"GITHUB_STEP_SUMMARY": str(path)}) == []
    assert path.read_text() == "before\n\n" + page(record())


def test_summary_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (said,) = job_summary.append(stored(tmp_path, record()), {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "file")})
    assert "No such file" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "before", [0, 1000, (1 << 20) - 9000, (1 << 20) - 2000, (1 << 20) - 600, (1 << 20) - 20, 1 << 20, 2 << 20]
)
def test_summary_stays_within_a_mebibyte(before: int, tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    before += 1 << 20
    path.write_bytes(b"x" * before)
    report = stored(tmp_path, *(record(kernel=f"k/{i}") for i in range(90)))
    text = report.read_text()
    assert job_summary.append(report, {"GITHUB_STEP_SUMMARY": str(path)}) == []
    assert path.stat().st_size <= max(1 << 20, before)
    written = path.read_bytes()[before:].decode()
    left = re.search(r"(\d+) lines left out", written)
    assert bool(left) == (600 <= (1 << 20) - before < 3000)
    if left:
        assert written.count("<details>") == written.count("</details>")
        assert len([line for line in written.splitlines() if line.startswith("```")]) % 2 == 0
        kept = written[: left.start()].rstrip().removesuffix("</details>").rstrip().removesuffix("```").rstrip()
        assert f"\n{text}".startswith(kept)
        assert kept.count("\n") + int(left[1]) - 2 <= text.count("\n") <= kept.count("\n") + int(left[1]) + 2


@given(st.integers(0, 4000))
def test_cut_summary_is_harmless_wherever_it_is_cut(room: int) -> None:
    bad = record(kernel="mine/bad", outcome=Outcome.CRASHED, reason="```\n<b>\n")
    kept = job_summary.shortened(page(*(record(kernel=f"k/{i}") for i in range(30)), bad), room)
    assert len(kept) <= room
    if kept:
        harmless(kept.decode())


@pytest.mark.parametrize("place", ["summary.md", "nowhere/summary.md"])
def test_run_adds_itself_to_the_summary_of_its_job(
    place: str, stranger: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where that cannot be written it is said, and the verdict and exit status are what they were."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / place))
    result = stranger(good="pass", bad="over_budget")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*DOES NOT CONFORM: 1 of 2 kernels*"])
    if "/" in place:
        assert re.search("GITHUB_STEP_SUMMARY: .*cannot be written", " ".join(result.stdout.lines))  # wrapped anywhere
    else:
        assert "**DOES NOT CONFORM: 1 of 2 kernels" in (tmp_path / place).read_text()
