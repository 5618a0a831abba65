"""Histograms of errors: every bin by its definition, edges included, and what a damaged one is called."""

from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from math import copysign, inf, nan, nextafter, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.histogram import LAST, away_from_zero, cumulative, edges, flaw, histogram, merged, quantile
from lastbit.judge import judge, judge_exact
from lastbit.metrics import measure
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.verdict import Outcome

#: 2^(k/2 - 6) for k from 0 to 72, as the docstring of the module says.
UPPER = [2.0 ** (k // 2 - 6) * (sqrt(2) if k % 2 else 1.0) for k in range(73)]
errors = st.lists(st.floats(allow_nan=False) | st.sampled_from([sign * edge for edge in UPPER for sign in (1, -1)]))


def by_definition(signed: list[float]) -> dict[int, int]:
    sizes = [(min(bisect_left(UPPER, abs(x)), 72), x) for x in signed]
    return Counter(-size if copysign(1, x) < 0 else size for size, x in sizes)


@given(errors)
@example([0.0, -0.0, inf, -inf, 5e-324, -1e308, 0.5, -0.5, 1.0, nextafter(1.0, 0), nextafter(1.0, inf)])
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_error_is_counted_in_the_bin_that_has_it(signed: list[float]) -> None:
    found = histogram(np.array(signed, np.float64))
    assert dict(found) == by_definition(signed)
    assert flaw(found) == ""
    assert all(type(number) is int for pair in found for number in pair)  # JSON knows no NumPy


def test_edges_meet_and_an_upper_edge_belongs_to_its_bin() -> None:
    assert [edges(10)[1], edges(12)[1], edges(0)] == [0.5, 1.0, (-(2.0**-6), 2.0**-6)]
    assert edges(72) == (pytest.approx(2.0**29.5), inf)
    for size in range(1, LAST + 1):
        low, high = edges(size)
        assert low == edges(size - 1)[1]
        assert edges(-size) == (-high, -low)
        assert histogram(np.array([nextafter(low, inf), min(high, 1e300)])) == ((size, 2),)
        assert histogram(np.array([low])) == ((size - 1, 1),)
        assert histogram(np.array([-nextafter(low, inf)])) == ((-size, 1),)
    for beyond in (73, -73):
        with pytest.raises(ValueError, match="expected a number from -72 to 72"):
            edges(beyond)


def test_what_is_no_number_is_counted_outermost_like_the_largest_error() -> None:
    assert histogram(np.array([nan])) == ((72, 1),)
    assert histogram(np.empty(0)) == ()


@given(errors, errors)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_merged_histograms_are_that_of_all_errors(a: list[float], b: list[float]) -> None:
    both = [histogram(np.array(one, np.float64)) for one in (a, b)]
    assert merged(both) == histogram(np.array(a + b, np.float64))
    steps = cumulative(merged(both))
    assert [edge for edge, _ in steps] == sorted({edge for edge, _ in steps})
    if a or b:
        assert steps[-1][1] == 1.0
        assert quantile(merged(both), 1.0) == steps[-1][0]
        assert all(sum(abs(x) <= edge for x in a + b) == round(share * len(a + b)) for edge, share in steps)


def test_quantile_is_the_edge_up_to_which_that_share_lies() -> None:
    pairs = ((-12, 1), (0, 5), (10, 3), (12, 1))
    assert cumulative(pairs) == ((2.0**-6, 0.5), (0.5, 0.8), (1.0, 1.0))
    assert [quantile(pairs, share) for share in (0.5, 0.51, 0.8, 0.81, 1.0)] == [2.0**-6, 0.5, 0.5, 1.0, 1.0]
    assert quantile((), 0.5) == 0.0


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (((73, 1),), "beyond 72"),
        (((-73, 1),), "beyond 72"),
        (((1, 0),), "below 1"),
        (((1, -4),), "below 1"),
        (((2, 1), (1, 1)), "ascend"),
        (((1, 1), (1, 1)), "ascend"),
    ],
)
def test_flaw_names_what_no_histogram_has(pairs: tuple[tuple[int, int], ...], why: str) -> None:
    assert why in flaw(pairs)


def test_minus_is_towards_zero_whatever_the_sign_of_the_truth() -> None:
    """Errors of +1 and -1 of truths above, below and at zero; a product beyond float64 has a sign, too."""
    one = np.ones(2)
    error = np.array([1.0, -1.0])
    for x, signs in ((3.0, [1, -1]), (-3.0, [-1, 1]), (0.0, [1, -1]), (5e-324, [1, -1]), (-1e308, [-1, 1])):
        assert away_from_zero(one, error, np.full(2, x)).tolist() == signs
    with np.errstate(over="ignore"):
        assert away_from_zero(one, error * 1e308, np.full(2, -1e308)).tolist() == [-1, 1]


def truth_of(hi: object) -> Truth:
    exact = np.asarray(hi, np.float64)
    zero = np.zeros(exact.shape)
    return Truth(exact, zero, zero, np.abs(np.where(np.isfinite(exact), exact, 0.0)), "given")


def test_measure_counts_elements_with_a_finite_error() -> None:
    """f32 at 1 and -1, in steps of an ulp, one half of it away; a NaN and an infinity count nowhere."""
    fmt, ulp = Format.of("f32"), 2.0**-23
    hi = np.array([1.0, 1.0 + ulp / 2, -1.0 - ulp / 2, -1.0, 1.0, inf])
    y = np.array([1.0, 1.0, -1.0, -1.0 - 2 * ulp, nan, 1.0])
    assert measure(fmt.encode(y), fmt, truth_of(hi)).histogram == ((-10, 2), (0, 1), (14, 1))


@pytest.mark.parametrize("name", ["f16", "f32", "f64", "e4m3fn"])
def test_histogram_of_an_output_agrees_with_its_statistics(name: str) -> None:
    fmt, rng = Format.of(name), np.random.default_rng(3)
    x = fmt.round(rng.uniform(1, 100, 3000))
    y = fmt.round(x * (1 + 4 * fmt.u * rng.standard_normal(3000)))
    found = measure(fmt.encode(y), fmt, truth_of(x))
    assert sum(count for _, count in found.histogram) == 3000
    low, high = edges(max(abs(bin) for bin, _ in found.histogram))
    assert low < found.stats.max_ulp <= high
    assert quantile(found.histogram, 0.5) >= found.stats.p50_ulp
    lean = sum(count * copysign(1, bin) for bin, count in found.histogram if bin)
    assert abs(lean) < 300  # about as many on either side
    truncated = measure(fmt.encode(np.nextafter(y, 0)), fmt, truth_of(y)) if name == "f64" else None
    assert truncated is None or truncated.histogram == ((-12, 3000),)


def test_an_output_without_elements_has_an_empty_histogram() -> None:
    fmt = Format.of("f32")
    empty = measure(fmt.encode(np.zeros(0)), fmt, truth_of(np.zeros(0)))
    assert (empty.histogram, empty.stats.n) == ((), 0)


def budget_of(allowed: object, terms: int) -> Budget:
    return Budget(np.asarray(allowed, np.float64), "a test's", "a test", terms=terms)


def test_verdict_has_histogram_terms_and_for_a_failure_the_deciding_element() -> None:
    fmt, contract = Format.of("f16"), Contract(accumulator="f32")
    x = np.array([[1.0, 2.0], [4.0, 8.0]])
    budget = budget_of(np.full(x.shape, 2.0**-10), 129)
    right = judge(fmt.encode(x), fmt, truth_of(x), budget, contract)
    assert (right.outcome, right.histogram, right.terms, right.got, right.want) == (
        Outcome.PASS,
        ((0, 4),),
        129,
        "",
        "",
    )
    off = x + np.array([[0.0, 0.0], [0.0, 2.0**-5]])
    over = judge(fmt.encode(off), fmt, truth_of(x + 2.0**-20), budget, contract)
    assert (over.outcome, over.where, over.terms) == (Outcome.OVER_BUDGET, "(1, 1)", 129)
    assert (over.got, over.want) == ("8.03125 (0x4804)", "8.000000953674316 (nearest 0x4800)")
    assert over.histogram == ((0, 3), (16, 1))
    assert (over.allowed_ulp, over.measured) == (0.125, pytest.approx(31.999))
    lost = judge(fmt.encode([[1.0, inf], [4.0, nan]]), fmt, truth_of(x), budget, contract)
    assert (lost.outcome, lost.where, lost.got, lost.want) == (
        Outcome.WRONG_CLASS,
        "(0, 1)",
        "inf (0x7c00)",
        "2 (nearest 0x4000)",
    )
    assert lost.histogram == ((0, 2),)


def test_allowed_error_in_ulp_is_that_of_the_worst_element_where_it_is_a_number() -> None:
    contract, x = Contract(accumulator="f32"), np.array([1.0, 4.0])
    for name, steps in (("f16", 2.0**10), ("e4m3fn", 8.0), ("i8", 1.0)):
        fmt = Format.of(name)
        found = judge(fmt.encode(x), fmt, truth_of(x + np.array([0.25, 0.0])), budget_of([0.5], 1), contract)
        assert (found.measured, found.allowed_ulp) == (0.5, 0.5 * steps)
        whole = judge(fmt.encode(x), fmt, truth_of(x + np.array([0.0, 0.25])), budget_of([4.0, 0.5], 1), contract)
        assert whole.allowed_ulp == max(0.125 * steps, 0.5)
    fmt = Format.of("f64")
    assert judge(fmt.encode(x * 0), fmt, truth_of(x * 0), budget_of([1e300], 1), contract).allowed_ulp == 0.0
    none = judge(fmt.encode([nan]), fmt, truth_of([nan]), budget_of([1.0], 1), contract)
    assert (none.outcome, none.allowed_ulp) == (Outcome.PASS, 0.0)


def test_deciding_element_of_an_overflow_is_what_the_contract_asks_for() -> None:
    fmt, x = Format.of("f16"), np.array([1e9])
    for overflow, bits in (("inf", "0x7c00"), ("saturate", "0x7bff"), ("nan", "0x7e00")):
        contract = Contract(accumulator="f32", overflow=overflow)
        budget = replace(budget_of([1.0], 1), overflow_slack=np.zeros(1))
        found = judge(fmt.encode([1.0]), fmt, truth_of(x), budget, contract)
        assert (found.outcome, found.want) == (Outcome.WRONG_CLASS, f"1000000000 (nearest {bits})")


def test_exact_verdict_has_histogram_and_the_first_wrong_element() -> None:
    fmt, contract = Format.of("bf16"), Contract(accumulator="f32")
    x = np.array([1.0, 2.0, 3.0])
    right = judge_exact(fmt.encode(x), fmt, truth_of(x), contract)
    assert (right.outcome, right.histogram, right.got, right.want) == (Outcome.PASS, ((0, 3),), "", "")
    wrong = judge_exact(fmt.encode([1.0, 2.03125, 5.0]), fmt, truth_of([1.0, 2.0, 3.0]), contract)
    assert (wrong.where, wrong.got, wrong.want) == ("(1,)", "2.03125 (0x4002)", "2 (0x4000)")
    assert wrong.histogram == ((0, 1), (14, 1), (26, 1))
