"""What a kernel's plots say of errors: shares follow from counts, planted faults show where a reader looks for them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lastbit
from lastbit.histogram import LAST, histogram
from lastbit.reports import plot_distribution, plot_frontier, plot_quality, plot_speed, plot_terms, plot_utilisation
from lastbit.reports.figure import Figure
from lastbit.reports.lanes import Lane, lanes, percent
from lastbit.reports.plot_frontier import Candidate, candidates, frontier
from lastbit.reports.svg import render
from lastbit.verdict import Outcome, Record, Timing

from .record_examples import record

F32 = {"a": "f32", "b": "f32", "out": "f32"}
LENGTHS = (33, 129, 513)
BOUND = tuple(f"bound normal/m8-n12-k{length}" for length in LENGTHS)
STEPS = settings(max_examples=60, deadline=None, derandomize=True)
PAIRS = st.dictionaries(st.integers(-LAST, LAST), st.integers(1, 1000), min_size=1, max_size=12).map(
    lambda counts: tuple(sorted(counts.items()))
)


def right(a: Any, b: Any) -> Any:
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)


def truncating(a: Any, b: Any) -> Any:
    """Rounded towards zero."""
    exact = a.astype(np.float64) @ b.astype(np.float64)
    result = exact.astype(np.float32)
    return np.where(np.abs(result) > np.abs(exact), np.nextafter(result, np.float32(0)), result)


def f16_sum(a: Any, b: Any) -> Any:
    out = np.zeros((a.shape[0], b.shape[1]), np.float16)
    for k in range(a.shape[1]):
        out += (a[:, k : k + 1] * b[k : k + 1, :]).astype(np.float16)
    return out.astype(np.float32)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No golden, budgets or findings of this repository."""
    monkeypatch.chdir(tmp_path)


def judged(run: Callable[..., Any]) -> list[Lane]:
    """The lanes of a kernel's records over sums of three lengths."""
    return lanes(lastbit.verify(run, formats=F32, framework="numpy", tier="smoke", case=BOUND).records)


def table(figure: Figure) -> list[dict[str, str]]:
    return [dict(zip(figure.head, row, strict=True)) for row in figure.rows]


def test_truncation_is_seen_on_one_side_and_right_results_on_both() -> None:
    _, signed = plot_distribution.figures(judged(truncating))
    (row,) = table(signed)
    assert float(row["lean"]) == -1.0
    assert row["too large"] == "0.0%"
    _, signed = plot_distribution.figures(judged(right))
    (row,) = table(signed)
    assert abs(float(row["lean"])) < 0.4
    assert row["too large"] != "0.0%" != row["too small"]


def test_narrow_accumulator_crosses_the_allowed_line_and_a_right_kernel_stays_below() -> None:
    """The lines are drawn from real records: error of the worst element, and what that element was allowed."""
    for run, over in ((f16_sum, True), (right, False)):
        (lane,) = judged(run)
        points = plot_terms.points(lane, "normal")
        assert [point.terms for point in points] == list(LENGTHS)
        assert [point.error > point.allowed for point in points] == [over] * len(LENGTHS)
        assert all(a.allowed < b.allowed for a, b in pairwise(points)) or over
        figure = plot_terms.figure([lane])
        assert figure.plot is not None
        assert {one.label for one in figure.plot.series} >= {lane.label, "fine: allowed"}
        (shares,) = table(plot_utilisation.figure([lane]))
        assert (float(shares[lane.label]) > 1) is over


def test_allowed_error_of_a_record_is_that_of_its_worst_element() -> None:
    """Recomputed from the record's reason, which names both in ulp."""
    failed = next(one for lane in judged(f16_sum) for one in lane.records if one.outcome is Outcome.OVER_BUDGET)
    error, budget = (float(line.split()[at]) for line, at in zip(failed.reason.splitlines()[:2], (2, 1), strict=True))
    assert failed.allowed_ulp == pytest.approx(budget, rel=1e-3)
    assert failed.stats is not None
    assert failed.stats.utilisation * failed.allowed_ulp == pytest.approx(error, rel=1e-3)
    passed = [one for lane in judged(right) for one in lane.records if one.stats is not None]
    assert len(passed) == len(LENGTHS)
    for one in passed:
        assert one.stats is not None
        assert 0 < one.stats.utilisation * one.allowed_ulp <= one.stats.max_ulp * (1 + 1e-9)


@STEPS
@given(PAIRS, PAIRS)
def test_shares_follow_from_counts(first: Any, second: Any) -> None:
    """A step at x says how many elements are certainly no further off than x; merged records count as one."""
    members = [
        record(histogram=pairs, terms=65, max_ulp=2.0**31, allowed_ulp=1.0, case=f"gauss/m{size}-n33-k65")
        for size, pairs in ((17, first), (18, second))
    ]
    found = plot_distribution.figures(lanes(members))
    counts = [*first, *second]
    total = sum(count for _, count in counts)
    if all(bin == 0 for bin, _ in counts):
        assert found[0].plot is None
        return
    cumulative, signed = found
    assert cumulative.plot is not None
    (line,) = cumulative.plot.series
    assert line.points[0][1] == 0.0
    assert line.points[-1][1] == 1.0
    for x, share in line.points[1:-1]:
        size = next(k for k in range(LAST + 1) if k == LAST or 2.0 ** (k / 2 - 6) >= x * (1 - 1e-12))
        below = sum(count for bin, count in counts if abs(bin) <= size)
        assert share == pytest.approx(float(Fraction(below, total)), rel=1e-12)
    (row,) = table(cumulative)
    assert row["elements"] == str(total)
    (row,) = table(signed)
    shares = [float(row[name].split()[-1].rstrip("%")) for name in ("too small", "up to 1/64 ulp", "too large")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert shares[0] == pytest.approx(100 * sum(count for bin, count in counts if bin < 0) / total, abs=0.1)


@pytest.mark.parametrize(
    ("share", "whole", "digits"),
    [(0.0, "0%", "0.0%"), (1e-9, "under 1%", "under 0.1%"), (0.004, "under 1%", "0.4%"), (0.5, "50%", "50.0%"),
     (0.998, "over 99%", "99.8%"), (1 - 1e-9, "over 99%", "over 99.9%"), (1.0, "100%", "100.0%")],
)  # fmt: skip
def test_nearly_all_is_not_all_and_nearly_none_is_not_none(share: float, whole: str, digits: str) -> None:
    assert (percent(share), percent(share, 1)) == (whole, digits)


def test_one_wrong_element_among_thousands_is_seen() -> None:
    """It is in words, and as a bar of a pixel at least."""
    wrong = record(histogram=((0, 50_000), (5, 50_000), (40, 1)), terms=65, max_ulp=1720.0, utilisation=3370.0)
    cumulative, signed = plot_distribution.figures(lanes([wrong]))
    assert "over 99% within half an ulp, largest 1720, at most 3370 of what its element is allowed." in cumulative.text
    assert signed.plot is not None
    outline = re.findall(r'class="b s0" d="([^"]*)"', str(render(signed.plot)))[0]
    rise = re.findall(r"M\d+ \d+v(-?\d+)", outline)[-1]
    assert int(rise) <= -1


def test_errors_far_beyond_what_is_allowed_leave_room_for_the_allowed_line() -> None:
    """A linear axis to 100 would put the line at the edge."""
    figure = plot_utilisation.figure(lanes([record(utilisation=3370.0)]))
    assert figure.plot is not None
    assert figure.plot.x.kind == "log"


def test_only_comparable_records_are_added_up() -> None:
    """Another check, other data, options or lengths of sums are not in the same histogram."""
    one = histogram(np.linspace(-1, 1, 100))
    same = record(histogram=one, terms=65)
    others = [
        replace(same, check="epilogue"),
        replace(same, case="cancel/m17-n33-k65"),
        replace(same, case="gauss/m17-n33-k65/bias=1"),
        replace(same, terms=64, case="gauss/m17-n33-k64"),
        replace(same, outcome=Outcome.VACUOUS),
    ]
    alike = [replace(same, case="gauss/m9-n33-k65"), same]
    (row,) = table(plot_distribution.figures(lanes([*alike, *others]))[0])
    assert (row["elements"], row["terms"]) == ("200", "65")
    assert "m9-n33-k65, m17-n33-k65" in plot_distribution.figures(lanes([*alike, *others]))[0].text


def test_old_and_exact_runs_say_why_nothing_is_drawn() -> None:
    old = lanes([record()])
    assert "older" in plot_distribution.figures(old)[0].text
    assert "older" in plot_terms.figure(old).text
    exact = lanes([record(allowed=0.0, measured=0.0, formula="exact [one rounding]", histogram=((0, 561),))])
    (figure,) = plot_distribution.figures(exact)
    assert (figure.plot, "at most 1/64 ulp" in figure.text) == (None, True)
    for figure in (plot_terms.figure(exact), plot_utilisation.figure(exact)):
        assert figure.plot is None
        assert "one right result" in figure.text or "one result is right" in figure.text


def test_lanes_left_out_are_counted_and_named() -> None:
    found = lanes(
        [record(formats=f"a:bf16 b:bf16 out:{n}", utilisation=1 / (n + 1), histogram=((3, n + 1),)) for n in range(9)]
    )
    cumulative = plot_distribution.figures(found)[0]
    assert len(cumulative.rows) == 6
    assert "3 more, further from their budgets, are not drawn: bf16 → 6, bf16 → 7, bf16 → 8." in cumulative.text


def timed(kernel: str, ns: float, ulp: float, out: str = "f32", **changed: Any) -> list[Record]:
    """A judged record and the timing of the same data."""
    formats = f"a:{out} b:{out} out:{out}"
    timing = Timing("main", "bound", passed=1, ns=ns, **changed)
    judged = record(kernel=kernel, formats=formats, max_ulp=ulp)
    return [judged, replace(judged, check="speed", stats=None, timing=timing, case="gauss/m128-n128-k256")]


def test_frontier_has_those_that_none_beats_in_both() -> None:
    records = [
        *timed("mine/fast", 10.0, 8.0),
        *timed("mine/right", 100.0, 0.5),
        *timed("mine/worse", 50.0, 9.0),
        *timed("mine/between", 50.0, 2.0),
        *timed("mine/wide", 200.0, 4.0, "f64"),
        *timed("mine/wrong", 1.0, 1e9, failed=1),
    ]
    ((_, found),) = candidates(records).items()
    assert "mine/wrong f32" not in {one.name for one in found}
    best = [one.name for one in frontier(found)]
    assert best == ["mine/fast f32", "mine/between f32", "mine/right f32", "mine/wide f64"]
    assert next(one for one in found if one.name == "mine/wide f64").error == 4.0 * 2.0**-52
    (figure,) = plot_frontier.figures(records)
    assert {row["kernel"] for row in table(figure) if row["on the frontier"]} == set(best)
    assert figure.plot is not None
    assert figure.plot.series[0].names == tuple(best)
    assert plot_frontier.figures([one for one in records if one.timing is None]) == []


@STEPS
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_frontier_is_what_its_definition_says(pairs: Sequence[tuple[int, int]]) -> None:
    members = [Candidate(str(i), float(ns), float(error), 0.0) for i, (ns, error) in enumerate(pairs)]
    undominated = {
        one.name
        for one in members
        if not any(
            other.ns <= one.ns and other.error <= one.error and (other.ns, other.error) != (one.ns, one.error)
            for other in members
        )
    }
    assert {one.name for one in frontier(members)} == undominated


def test_speed_and_quality_are_drawn_of_what_records_hold() -> None:
    records = timed("mine/fast", 2000.0, 1.0, limit_ns=500.0, reached=0.25, bound="memory", base_ns=3000.0)
    (figure,) = plot_speed.figures(records)
    assert figure.rows == (("f32", "2 us", "500 ns", "25% memory", "3 us"),)
    assert "reaches 25% of it (memory)" in figure.text
    assert plot_speed.figures([record()]) == []
    noisy = [
        record(case=f"{data}/m16", notes={"format error": f"{decibels} dB", "scaling": "mxfp4"})
        for data, decibels in (("normal", "18.6"), ("normal", "17.0"), ("heavy", "12.5"))
    ]
    (figure,) = plot_quality.figures(noisy)
    assert figure.rows == (("heavy", "12.5"), ("normal", "17"))
    assert plot_quality.figures([record(notes={"format error": "infinite"})]) == []
