"""What index.html says: head, what was not tested, failures, matrix, findings, and what lies beside the run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lastbit.reports import page, page_failures, page_head, page_matrix, summary
from lastbit.reports.kernel_tables import largest
from lastbit.reports.page_parts import number
from lastbit.reports.run import read
from lastbit.reports.run_data import Explained, Footer
from lastbit.verdict import Outcome, Record, Timing

from .page_runs import FAILED, FORMATS, Outline, beside, every_way, grid, run_of, shown
from .record_examples import record, store_run

STRICT = {"strict": "yes"}
FAILED_HERE = replace(FAILED, kernel="mine/gemm")


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


@pytest.mark.parametrize("outcome", page_failures.SILENT)
def test_check_without_a_result_is_not_explained_by_its_law(outcome: Outcome) -> None:
    told = Footer("2026-11-25T10:01:05+00:00", 1, explained=Explained({"gemm bound": "A product is lost."}))
    text = page.text(run_of(record(outcome=outcome), footer=told))
    assert "A product is lost." not in text
    assert page_failures.MEANS[outcome] in text


def test_run_that_was_cut_short_conforms_in_no_case() -> None:
    cut = replace(run_of(record()), complete=False, footer=None)
    text = page.text(cut)
    assert "<title>lastbit: incomplete, conforms so far</title>" in text
    assert 'verdict good">' not in text
    assert "✓ CONFORMS" not in text
    failing = replace(run_of(FAILED), complete=False, footer=None)
    assert page_head.verdicts(failing)[0].tone == "bad"


@pytest.mark.parametrize("name", ["untested", "failures", "matrix", "gone", "kernels", "environment"])
def test_page_has_every_part(name: str) -> None:
    footer = Footer("2026-11-25T10:01:05+00:00", 1, gone=("F1 no longer happens",))
    assert f'<h2 id="{name}">' in page.text(run_of(record(), footer=footer))


def test_page_shows_error_against_time_of_each_op() -> None:
    judged = [record(kernel=f"mine/{name}", op=op) for op in ("gemm", "softmax") for name in (f"{op}-a", f"{op}-b")]
    timing = Timing("main", "bound", passed=1, ns=100.0)
    timed = [replace(one, check="speed", stats=None, timing=timing) for one in judged]
    text = page.text(run_of(*judged, *timed))
    part = text[text.index('<h2 id="frontiers">Error against time</h2>') :].partition("</section>")[0]
    for op in ("gemm", "softmax"):
        assert f"Frontier of {op}" in part
        assert f"mine/{op}-a" in part
    assert part.count("<svg") == 2
    assert '<a href="#frontiers">' in text
    for silent in (judged, timed):
        assert 'id="frontiers"' not in page.text(run_of(*silent))


@pytest.mark.parametrize("name", ["before", "known", "speed", "waivers", "zoo", "datasheet"])
def test_page_has_a_part_for_what_there_is_to_say(name: str) -> None:
    said = Explained(findings={"F900": "sums"}, waivers=("mine/gemm [*] bound *: 1.5 times",))
    end = Footer("2026-11-25T10:01:05+00:00", 1, explained=said)
    part = f'<h2 id="{name}">'
    assert part in page.text(run_of(*every_way(), footer=end), beside())
    assert part not in page.text(run_of(record()))


def test_head_says_what_moved_against_golden() -> None:
    states = ("same", "drifted: rms 2 was 1", "same", "")
    text = shown(*(record(case=f"c{number}", golden=golden) for number, golden in enumerate(states)))
    assert "Against golden 1 drifted, 2 same" in text
    assert "Against golden" not in shown(record())


def test_list_explains_its_columns() -> None:
    sparse = [record(kernel=f"k/{i}", formats=f"a:i{i} b:i{i} out:i{i}") for i in range(30)]
    assert page_matrix.LIST_LEGEND in shown(*sparse)
    assert page_matrix.LIST_LEGEND not in shown(*grid())


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


def test_kernel_that_returns_nan_has_no_error_of_zero() -> None:
    """Nothing of it can be compared with the truth; and where one result is right, nothing is a share of it."""
    lost = record(outcome=Outcome.WRONG_CLASS, allowed=0.0, allowed_ulp=3.0, max_ulp=0.0, utilisation=0.0)
    (row,) = summary.rows([lost])
    assert (row.utilisation, row.max_ulp, row.bias) == (None, None, None)
    exact = record(outcome=Outcome.OVER_BUDGET, allowed=0.0, measured=7.0, max_ulp=5.0, utilisation=0.0)
    (row,) = summary.rows([exact])
    assert (row.utilisation, row.max_ulp) == (None, 5.0)
    (row,) = summary.rows([lost, record(case="b", utilisation=0.75)])
    assert (row.utilisation, row.max_ulp) == (0.75, 2.0)


def test_row_is_of_what_was_judged() -> None:
    """A check that was left out, or shows nothing, may have statistics; none of them is a result."""
    for silent in (Outcome.NOT_TESTED, Outcome.VACUOUS):
        vague = record(check="statistics", outcome=silent, utilisation=0.99, max_ulp=900.0, bias=-1.0)
        (row,) = summary.rows([record(), vague])
        assert (row.worst, row.utilisation, row.max_ulp, row.bias) == ("bound", 0.2, 2.0, 0.05)


def test_matrix_and_section_agree_on_the_largest_error() -> None:
    """Also where the largest share is of a record that fails for the class of its results."""
    wrong = record(outcome=Outcome.WRONG_CLASS, measured=1.0, allowed=0.0, allowed_ulp=0.5, utilisation=7600.0)
    members = [record(), replace(wrong, case="b")]
    (row,) = summary.rows(members)
    assert (number(row.utilisation), number(row.max_ulp)) == largest(members) == ("7600", "2")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ((record(), FAILED_HERE), "✗ over budget"),
        ((record(), replace(FAILED_HERE, known="F1")), "! known"),
        ((replace(FAILED_HERE, known="F1"), replace(FAILED_HERE, case="b")), "✗ over budget"),
        ((record(known="F1"),), "✗ finding gone"),
        ((record(), record(case="b", outcome=Outcome.NOT_TESTED)), "✓ pass"),
        ((record(outcome=Outcome.VACUOUS), record(case="b", outcome=Outcome.NOT_TESTED)), "? vacuous"),
        ((record(outcome=Outcome.UNSUPPORTED),), "– unsupported"),
        ((record(outcome=Outcome.CRASHED), FAILED_HERE), "✗ crashed"),
    ],
)
def test_cell_stands_as_the_worst_of_its_checks(records: tuple[Record, ...], said: str) -> None:
    (row,) = summary.rows(records)
    _, sign, word = page_matrix.stands(row)
    assert f"{sign} {word}" == said
    assert said in shown(*records)


def test_strict_run_says_what_fails_it() -> None:
    vague = record(case="vague", outcome=Outcome.VACUOUS)
    run = run_of(record(), vague, record(case="new", golden="new"))
    calm, strict = (page.text(one) for one in (run, replace(run, header=replace(run.header, options=STRICT))))
    assert 'verdict good">' in calm
    assert "STRICT" not in calm
    assert 'verdict good">' not in strict
    assert "STRICT: this run fails for 2 checks, vacuous or like no golden." in strict
    assert "Fails because the run is strict" in strict
    assert "No check fails" not in strict


def test_every_record_is_counted_once() -> None:
    for records in ((), every_way(), tuple(grid())):
        run = run_of(*records)
        assert sum(count.number for count in page_head.counts(run)) == len(run.records)


def test_largest_number_has_digits() -> None:
    assert "1.8e308" in shown(record(max_ulp=1.797e308))


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


def test_earlier_run_zoo_and_datasheet_are_parts_of_the_page() -> None:
    text = " ".join(" ".join(Outline(page.text(run_of(FAILED), beside())).text).split())
    for part in (
        "Compared with an earlier run",
        "The zoo: what the law catches",
        "torch/mm [f16] on cpu, 64x64x64",
        "model confirmed: 0 of 28672 sums differ",
        "precision 24 P4 <b>",
        "fma not known: nothing tells P10",
        "repeatable yes P18 60",
    ):
        assert part in text, part


def test_datasheet_may_be_a_plain_list() -> None:
    made = page.text(run_of(record()), page.Beside(datasheet=[{"name": "peak", "value": 3.5}, {"name": "<b>"}]))
    assert '<th scope="row">peak</th><td>3.5</td>' in made
    assert "&lt;b&gt;" in made


def test_run_that_was_killed_says_so(tmp_path: Path) -> None:
    text = page.text(read(store_run(tmp_path, record(), end=False)))
    assert "did not come to its end" in text
    assert page.text(run_of()).count("NOTHING JUDGED") >= 1
