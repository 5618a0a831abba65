"""The section of a kernel: contracts and budgets in words, laws and special values in tables, small and harmless."""

import re
import time
from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.contract import Contract
from lastbit.references.accumulators import Accumulator
from lastbit.reports.contract_words import promises, reasons
from lastbit.reports.kernel_section import anchor, frontiers, guide, sections
from lastbit.reports.kernel_tables import LAWS, SPECIAL, Table, tables
from lastbit.reports.run import Header, Run
from lastbit.suites.law import OPS_WITH_LAW, checks
from lastbit.verdict import Outcome, Record, Timing

from .record_examples import environment, record

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)> \"'&\u202e\x1b[31m" + "x" * 10_000


class Tags(HTMLParser):
    """The names of all elements of a page, its attributes' names, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def run_of(*records: Record) -> Run:
    return Run(Header(environment(), started="2026-11-25T10:00:00+00:00"), records, complete=True)


def told(title: str, *records: Record) -> Table:
    return next(one for one in tables(records) if one.title == title)


def example(**changed: Any) -> Record:
    return record(**{"histogram": ((-3, 40), (0, 5), (4, 51)), "terms": 65, "allowed_ulp": 3.0, **changed})


def test_every_field_of_a_contract_has_words() -> None:
    """Each field that differs from the default is explained, whatever its value, and no field is missed."""
    changed: dict[str, Any] = {
        "accumulator": replace(Accumulator.of("h100", "bf16"), order="any"),
        "input_rounding": "tf32", "output_rounding": "toward-zero", "overflow": "saturate", "nan": "max", "zero": "nan",
        "subnormals": "flush", "probabilities": "bf16", "scores": "f16", "head_gradients": "bf16", "exp_ulp": 4.0,
        "masked_row": "nan", "masked_keys": "computed", "causal_alignment": "top-left", "scale_rule": "floor",
        "scale_arithmetic": "divide", "scaled": "sums", "deterministic": False, "deterministic_gradients": False,
        "batch_invariant": True,
    }  # fmt: skip
    assert set(changed) | {"source"} == {item.name for item in fields(Contract)}
    for name, value in changed.items():
        (promise,) = promises(Contract(**{name: value}).text())
        assert promise.name == name
        assert promise.words.endswith(".")
        assert len(promise.words.split()) > 3
    found = promises(Contract(**changed).text())
    assert [promise.name for promise in found] == list(changed)
    assert promises(Contract().text()) == []


@pytest.mark.parametrize("sums", ["f32", "i32", "exact", "f64"])
def test_sums_are_told_apart(sums: str) -> None:
    words = {promises(Contract(accumulator=other).text())[0].words for other in ("f32", "i32", "exact", "f64")}
    assert len(words) == 4
    assert promises(f"accumulator={sums}, exp_ulp=4.0")[0].value == sums


def test_names_with_commas_are_one_value() -> None:
    found = promises("accumulator=f32 pairwise, multiply, add, batch_invariant=True")
    assert [(one.name, one.value) for one in found] == [
        ("accumulator", "f32 pairwise, multiply, add"),
        ("batch_invariant", "True"),
    ]


def test_formulas_lose_their_brackets_and_sources_get_words() -> None:
    bare, why = reasons("8 terms in f16: 0.0039*|A||B| [budgets.md 2; Jeannerod and Rump 2013; budgets.md 8; new.md 1]")
    assert bare == "8 terms in f16: 0.0039*|A||B|"
    assert why[0].endswith("(budgets.md 2; Jeannerod and Rump 2013)")
    assert why[1] == "one rounding to the output format (budgets.md 8)"
    assert why[2] == "new.md 1"
    assert reasons("no sources") == ("no sources", [])


def test_laws_and_special_values_name_checks_that_exist() -> None:
    known = {check.name for op in OPS_WITH_LAW for check in checks(op)}
    assert set(LAWS) <= known
    assert set(SPECIAL) <= known


def test_tables_say_what_records_hold() -> None:
    members = (
        example(contract="accumulator=f32, exp_ulp=4.0", source="https://example.org/contract"),
        example(check="repeat", notes={"repeatability": "same bits for call 2, call 3"}),
        example(check="slices", notes={"batch invariance": "not promised; bits change for first 2 rows alone"}),
        example(check="permutation", outcome=Outcome.LAW_BROKEN, reason="row permutation: bits change\nmore"),
        example(check="special", outcome=Outcome.WRONG_CLASS, reason="NaN instead of infinity at (1, 2)"),
        example(check="special", outcome=Outcome.NOT_TESTED, reason="no NaN"),
        example(golden="drifted: rms 0.4 was 0.2 (limit 0.28)"),
        example(golden="same"),
    )
    (promise, *_) = told("What it promises", *members).rows
    assert "4.0 ulp" in promise[2]
    assert promise[3] == "https://example.org/contract"
    (allowed,) = told("What is allowed, and why", *members).rows
    assert allowed[1] == "n*u32*|A||B|"
    assert allowed[3] == "0.2"
    statistic = example(check="statistics", measured=0.04, utilisation=0.9)
    assert told("What is allowed, and why", statistic).rows[0][3] == "0.04"
    laws = {row[0]: row for row in told("Determinism and invariance", *members).rows}
    assert laws["repeat"][4] == "same bits for call 2, call 3"
    assert laws["slices"][4] == "not promised; bits change for first 2 rows alone"
    assert laws["permutation"][2:] == ("1 law broken", "bf16 → f32", "row permutation: bits change")
    special = told("Special values", *members)
    assert special.rows == (
        (
            "special",
            "NaN, infinities, zeros",
            "gauss",
            "1 wrong class",
            "bf16 → f32",
            "NaN instead of infinity at (1, 2)",
        ),
    )
    assert special.text == "Not judged: 1 not tested."
    drift = told("Drift against golden", *members).rows
    assert [row[:2] for row in drift] == [("drifted", "1"), ("same", "1")]
    assert drift[0][3] == "rms 0.4 was 0.2 (limit 0.28)"
    assert told("Speed", *members).text.startswith("Not timed in this run")


def test_tables_without_rows_say_why() -> None:
    for one in tables((record(outcome=Outcome.UNSUPPORTED, formula="", stats=None),)):
        assert one.rows or one.text


def test_rows_left_out_are_counted() -> None:
    members = [example(check="special", case=f"data{n}/m1", outcome=Outcome.PASS) for n in range(15)]
    special = told("Special values", *members)
    assert len(special.rows) == 10
    assert "5 more rows are in run.jsonl." in special.text


def test_sections_are_one_a_kernel_with_anchors_that_differ() -> None:
    names = ("mine/gemm", "mine/gemm ", "MINE/gemm", "mine-gemm", HOSTILE, HOSTILE + "y")
    found = sections(run_of(*(example(kernel=name) for name in names)))
    assert [one.anchor for one in found] == [anchor(name) for name in sorted(names)]
    assert len({one.anchor for one in found}) == len(names)
    assert all(one.anchor.isascii() and " " not in one.anchor and len(one.anchor) < 64 for one in found)
    assert all(len(one.title) <= 80 for one in found)
    (both,) = sections(run_of(example(), example(op="softmax")))
    assert both.op == "gemm, softmax"
    timed = example(check="speed", stats=None, timing=Timing("main", "bound", ns=1.0))
    assert {one.anchor for one in frontiers(run_of(example(kernel="gemm"), replace(timed, kernel="gemm")))} == {
        anchor("gemm", "frontier")
    }
    assert ("largest error / allowed", "0.2") in found[0].facts


def test_nothing_judged_is_said() -> None:
    (section,) = sections(run_of(record(outcome=Outcome.NOT_TESTED, stats=None, formula="", reason="no device")))
    assert "Nothing was judged" in section.body
    assert "<svg" not in section.body


def test_kernel_that_returns_nan_is_not_said_to_have_no_error() -> None:
    """None of its elements can be compared: no error is 0, and its budgets are there."""
    lost = example(
        outcome=Outcome.WRONG_CLASS, measured=4096.0, allowed=0.0, histogram=(), max_ulp=0.0, utilisation=0.0
    )
    (section,) = sections(run_of(lost))
    assert dict(section.facts) == {"checks": "1 judged, 1 failed, 0 without a verdict"}
    assert "Nothing was measured" in section.body
    assert "one right result: there is no allowed error" not in section.body
    assert [row[-1] for row in told("What is allowed, and why", lost).rows] == ["not measured"]
    (crashed,) = sections(run_of(record(outcome=Outcome.CRASHED, stats=None, formula="", measured=None)))
    assert "Every check has one right result" not in crashed.body


def test_share_used_of_a_wrong_class_is_of_the_elements_that_have_the_right_one() -> None:
    """Its measured number counts elements, and is no share."""
    wrong = example(outcome=Outcome.WRONG_CLASS, measured=17.0, allowed=0.0, utilisation=0.5)
    assert [row[-1] for row in told("What is allowed, and why", wrong).rows] == ["0.5"]
    (section,) = sections(run_of(wrong))
    assert dict(section.facts)["largest error / allowed"] == "0.5"


@pytest.mark.parametrize(
    "title",
    ["What it promises", "What is allowed, and why", "Special values", "Determinism and invariance",
     "Drift against golden", "Speed", "Errors: share of elements up to an error", "Errors: on which side",
     "Error against the length of sums", "Share of the allowed error, by data", "What the format loses",
     "Time of a call, and the limit of the device"],
)  # fmt: skip
def test_section_shows_every_table_and_plot(title: str) -> None:
    lossy = example(case="tails/m17-n33-k65", notes={"format error": "31.5 dB"})
    timed = example(check="speed", stats=None, timing=Timing("main", "bound", ns=2e4, limit_ns=1e4, reached=0.5))
    (section,) = sections(run_of(example(), example(terms=513, case="gauss/m17-n33-k513"), lossy, timed))
    assert f"<strong>{title}" in section.body or f"<caption>{title}" in section.body
    plots = {"What the format loses": lossy, "Time of a call, and the limit of the device": timed}
    if title in plots:
        (without,) = sections(run_of(example(), *(one for name, one in plots.items() if name != title)))
        assert title not in without.body, "it is of this record alone"
        figure = section.body[section.body.index(f"<strong>{title}") :].partition("</figure>")[0]
        assert figure.count("<svg") == 1


def test_largest_number_is_no_infinity() -> None:
    (section,) = sections(run_of(example(max_ulp=1.7976e308, utilisation=1.7976e308, outcome=Outcome.OVER_BUDGET)))
    assert dict(section.facts)["largest error"] == "1.8e308 ulp"
    assert not re.search(r"\binf\b", section.body)


def test_hostile_text_stays_text() -> None:
    """No element, attribute or invisible character comes of what a kernel can write into a record."""
    hostile = example(
        kernel=HOSTILE, op=HOSTILE, formats=f"a:{HOSTILE} out:f32", device=HOSTILE, case=f"{HOSTILE}/m1",
        contract=HOSTILE, source=HOSTILE, formula=HOSTILE, golden=f"drifted: {HOSTILE}", reason=HOSTILE,
        notes={"repeatability": HOSTILE, "scaling": HOSTILE, "format error": "3 dB"},
    )  # fmt: skip
    timing = Timing(HOSTILE, "bound", passed=1, ns=10.0, bound=HOSTILE, reached=0.5, limit_ns=5.0)
    records = [
        hostile,
        *(
            replace(hostile, check=name, outcome=one)
            for name in ("repeat", "special")
            for one in (Outcome.PASS, Outcome.CRASHED)
        ),
        replace(hostile, check="speed", stats=None, timing=timing),
    ]
    run = run_of(*records)
    body = "".join(one.body for one in (*sections(run), *frontiers(run)))
    page = Tags(body)
    assert not page.tags & {"script", "img", "a", "iframe", "style"}
    assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href")}
    assert "<script>alert(1)</script>" in page.text
    assert not set(body) & set("\u202e\x1b")
    assert not set("".join(one.title + one.op for one in sections(run))) & set("\u202e\x1b")
    assert len(body) < 60_000


NUMBERS = st.one_of(st.floats(0, 1e308), st.sampled_from((0.0, 1.0, 5e-324, 1.7e308)))
TIMES = st.floats(-1e308, 1e308)


@given(
    numbers=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    terms=st.integers(-(2**63), 2**63),
    bins=st.dictionaries(st.integers(-72, 72), st.integers(1, 2**63), max_size=6),
    times=st.tuples(TIMES, TIMES, TIMES, TIMES),
    texts=st.tuples(st.text(max_size=30), st.text(max_size=30)),
    outcome=st.sampled_from(list(Outcome)),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_numbers_make_sections(
    numbers: tuple[float, float, float],
    terms: int,
    bins: dict[int, int],
    times: tuple[float, float, float, float],
    texts: tuple[str, str],
    outcome: Outcome,
) -> None:
    """Whatever a stored record holds, there is a section, and no coordinate that is not a number."""
    utilisation, max_ulp, allowed = numbers
    ns, base, limit, reached = times
    odd = example(
        utilisation=utilisation, max_ulp=max_ulp, measured=utilisation, allowed_ulp=allowed, terms=terms,
        histogram=tuple(sorted(bins.items())), outcome=outcome, case=texts[0], contract=texts[1],
    )  # fmt: skip
    timing = Timing("main", "bound", ns=ns, base_ns=base, limit_ns=limit, reached=reached, ratio=reached)
    run = run_of(
        odd, example(terms=33), replace(odd, terms=65), replace(odd, check="speed", stats=None, timing=timing),
        replace(odd, notes={"format error": f"{max_ulp} dB"}),
    )  # fmt: skip
    body = "".join(one.body for one in (*sections(run), *frontiers(run)))
    assert body
    assert not re.search(r' d="[^"]*(nan|inf)', body)


def test_guide_explains_each_plot() -> None:
    page = Tags(guide())
    for title in ("share of elements", "on which side", "length of sums", "by data", "format loses", "against time"):
        assert title in page.text


def test_forty_kernels_of_fourteen_formats_stay_small_and_fast() -> None:
    """Under 800 kB, of 11 checks each, and in seconds: a page has other things to say too."""
    histogram = tuple((bin, 1000 - abs(bin)) for bin in range(-22, 23))
    recipes = ["normal", "uniform", "cancel", "outliers", "subnormals", "near_overflow", "ill_conditioned", "ordinary"]
    records = [
        example(
            kernel=f"mine/kernel-{kernel}",
            formats=f"a:f{fmt} b:f{fmt} out:f32",
            check=check,
            case=f"{recipe}/m17-n33-k{length}",
            histogram=tuple((bin, count + fmt * (bin % 7)) for bin, count in histogram),
            terms=length,
            allowed_ulp=0.03 * length,
            utilisation=0.9 / (fmt + index + 1),
            golden="same",
            contract="accumulator=f32, batch_invariant=True",
        )
        for kernel in range(40)
        for fmt in range(14)
        for index, (check, recipe, length) in enumerate(
            [("bound", recipe, 129) for recipe in recipes]
            + [("bound", "normal", length) for length in (17, 33, 65, 257, 1025)]
            + [(check, "normal", 65) for check in ("repeat", "slices", "second_call", "permutation", "special")]
        )
    ]
    start = time.process_time()
    found = sections(run_of(*records))
    assert time.process_time() - start < 5
    assert len(found) == 40
    assert sum(len(one.body.encode()) for one in found) < 800_000
