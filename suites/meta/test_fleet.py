"""The fleet's page: the worst of each kernel on each device, what differs first, and nothing of strangers runs."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lastbit.cli import main
from lastbit.reports.fleet import Cell, Fleet, fleet, page, sentence, tone
from lastbit.reports.merge import content, merge
from lastbit.reports.run import NAME, Footer, Header, Run
from lastbit.verdict import Outcome, Record

from .record_examples import SLUG, environment, record

OTHER = "cpu-x86_64-avx2-intel_xeon-f6m85"
#: Elements of HTML that have no end.
_VOID = {"meta", "br", "link"}


def run(*records: Record, end: bool = True, **changed: object) -> Run:
    """A run in memory; keywords change its environment."""
    footer = Footer("2026-11-25T11:00:00", len(records)) if end else None
    return Run(Header(environment(**changed), started="2026-11-25T10:00:00"), records, end, footer)


def cells(table: Fleet, kernel: str) -> tuple[Cell, ...]:
    return next(row.cells for row in table.rows if row.kernel == kernel)


class Balance(HTMLParser):
    """Tells elements that are not closed where they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_cell_has_the_worst_outcome_and_the_largest_utilisation() -> None:
    table = fleet(
        {
            "a": run(
                record(utilisation=0.2), record(case="x", utilisation=0.7), record(case="y", outcome=Outcome.VACUOUS)
            ),
            "b": run(record(outcome=Outcome.OVER_BUDGET), record(case="x", outcome=Outcome.CRASHED), record(case="y")),
            "c": run(record(outcome=Outcome.OVER_BUDGET, known="F1"), record(case="x")),
            "d": run(record(outcome=Outcome.NOT_TESTED)),
            "e": run(record(kernel="mine/other")),
            "f": run(record(known="F1")),
        }
    )
    assert cells(table, "mine/gemm") == (
        Cell("pass", "pass", 0, 2, 0.7),
        Cell("fail", "crashed", 2, 3, 0.2),
        Cell("known", "known finding", 0, 2, 0.2),
        Cell("none", "not_tested"),
        Cell("none", "not run"),
        Cell("fail", "finding gone", 1, 1, 0.2),
    )
    assert (
        sentence(table) == "1 of 2 kernels fails somewhere on 6 devices; 1 comes to another outcome on another device."
    )


def test_kernels_that_differ_come_first_and_not_run_is_no_difference() -> None:
    both = [record(kernel=name) for name in ("mine/a", "mine/b")]
    table = fleet(
        {"x": run(*both, record(kernel="mine/c")), "y": run(both[0], replace(both[1], outcome=Outcome.CRASHED))}
    )
    assert [(row.kernel, row.differs) for row in table.rows] == [("mine/b", True), ("mine/a", False), ("mine/c", False)]
    assert (
        sentence(fleet({"x": run(*both)}))
        == "No kernel fails on 1 device; all come to the same wherever they were judged."
    )


def test_silence_is_no_success() -> None:
    """Nothing judged, and a run that did not come to its end, are no good news, in words and in colour."""
    silent = fleet({"a": run(record(outcome=Outcome.NOT_TESTED)), "b": run()})
    assert (sentence(silent), tone(silent)) == ("Nothing was judged on 2 devices.", "note")
    cut = fleet({"a": run(record()), "b": run(record(), end=False)})
    assert sentence(cut).endswith(" On 1 the run did not come to its end.")
    assert tone(cut) == "note"
    assert tone(fleet({"a": run(record())})) == "good"
    assert tone(fleet({"a": run(record(outcome=Outcome.CRASHED)), "b": run(record(), end=False)})) == "bad"
    assert 'class="verdict note"' in page(silent)


def test_kernel_that_returns_nan_has_no_error_of_zero() -> None:
    lost = record(outcome=Outcome.WRONG_CLASS, allowed=0.0, allowed_ulp=3.0, max_ulp=0.0, utilisation=0.0)
    (cell,) = cells(fleet({"a": run(lost)}), "mine/gemm")
    assert cell.detail == "1 of 1 check"


def test_kernel_left_out_for_want_of_a_device_is_no_pass() -> None:
    star = record(kernel="mine/gpu", check="*", case="*", device="cuda", outcome=Outcome.UNSUPPORTED, stats=None)
    table = fleet({"a": run(record(), star)})
    assert [column.device for column in table.columns] == ["cpu"]
    assert cells(table, "mine/gpu") == (Cell("none", "unsupported"),)


def test_versions_head_the_columns_where_they_are_not_shared() -> None:
    table = fleet({"a": run(record()), "b": run(record(), packages={"lastbit": "0.1.0", "torch": "2.14.0"})})
    assert table.software == "lastbit 0.1.0"
    assert [column.software for column in table.columns] == ["numpy 2.4.6, torch 2.13.0", "torch 2.14.0"]
    assert table.differences == (("numpy", ("2.4.6", "")), ("torch", ("2.13.0", "2.14.0")))


def test_merged_run_has_a_column_for_each_machine_with_its_own_software() -> None:
    parts = {
        "a": run(record()),
        "b": run(record(), devices={"cpu": OTHER}, packages={"lastbit": "0.1.0", "torch": "9"}),
    }
    table = fleet({"all": merge(parts).run})
    assert [(column.slug, column.software) for column in table.columns] == [
        (OTHER, "torch 9"),
        (SLUG, "numpy 2.4.6, torch 2.13.0"),
    ]


def test_page_is_whole_html_without_script_or_network() -> None:
    text = str(
        page(fleet({"a": run(record(), end=False), "b": run(record(outcome=Outcome.CRASHED), commit="fffffff")}))
    )
    balance = Balance()
    balance.feed(text)
    assert (balance.faults, balance.open) == ([], [])
    assert balance.names >= {"caption", "scope", "lang"}
    assert not {"script", "src", "onclick", "onerror"} & balance.names
    assert "default-src 'none'" in text
    assert re.findall(r"href=\S*", text) == ['href="#main">Skip']
    assert "NOT COMPLETE" in text
    assert "✗ crashed" in text
    assert "✓ pass" in text


HOSTILE = "<script>alert(1)</script>\" onclick='x' \x1b[31m\u202e&" + "x" * 10_000


@pytest.mark.parametrize("field", ["kernel", "op", "device", "reason", "formats"])
def test_hostile_text_is_shown_and_never_markup(field: str) -> None:
    runs = {
        HOSTILE: run(
            record(**{field: HOSTILE}), packages={HOSTILE: HOSTILE}, devices={HOSTILE: HOSTILE}, commit=HOSTILE
        ),
        "b": run(record(**{field: HOSTILE, "outcome": Outcome.CRASHED})),
    }
    text = page(fleet(runs))
    balance = Balance()
    balance.feed(text)
    assert (balance.faults, balance.open) == ([], [])
    assert not {"script", "onclick"} & balance.names
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    assert len(text) < 60_000


def test_command_writes_the_page_and_ends_as_the_worst_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, one in (("a", run(record())), ("b", run(record(outcome=Outcome.CRASHED))), ("c", run(record(case="x")))):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_bytes(content(one))
    words = [str(tmp_path / name) for name in "abc"]
    assert main(["report", *words, "--into", str(tmp_path / "all")]) == 1
    assert "1 of 1 kernel fails somewhere on 3 devices" in capsys.readouterr().out
    assert "crashed" in (tmp_path / "all" / "fleet.html").read_text()
    assert main(["report", words[0], words[2], "--into", str(tmp_path / "all")]) == 0
    capsys.readouterr()
    assert main(["report", *words]) == 2
    assert "give a folder with --into DIR" in capsys.readouterr().err
