"""The output of a budget: its rounding, and the window in which it may overflow."""

from dataclasses import replace
from math import inf, isinf

import numpy as np
import pytest
from gemm_formulas import NEAR, Array, Product, before_output

from lastbit.budget_output import ROUND_UP, overflow_window, round_output
from lastbit.budget_terms import Terms
from lastbit.contract import Contract
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.truth import Truth


@pytest.mark.parametrize("out", ["f16", "e4m3fn", "i32", "bf16"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_overflow_is_possible_exactly_where_weight_and_error_reach_the_end(out: str, sign: float) -> None:
    """None below the largest value of the output, the error from there on, infinite where the sum itself overflows."""
    fmt = Format.of(out)
    accumulator = Accumulator.of("i32" if out == "i32" else "f32")
    for share in (0.25, 0.99, 1.0, 1.01, 3.0):
        size = fmt.max * share
        a, b = np.array([[size / 4]]), np.array([[sign * 4.0]])
        case = Product(a, b, "f32" if out != "i32" else "i32", out, Contract(accumulator=accumulator))
        truth = case.truth()
        found = case.budget(truth).overflow_slack
        error, _, weight = before_output(case, truth)
        if weight + error >= accumulator.max:
            assert found is not None
            assert isinf(found[0, 0])
        elif weight + error < fmt.max:
            assert found is None, share
        else:
            assert found is not None, share
            assert found[0, 0] == pytest.approx(error, rel=NEAR, abs=0)


def test_a_sum_that_may_overflow_before_it_is_scaled_down_is_excused() -> None:
    """65504 is reached by |A||B| + B though alpha makes the result small; by an addend though the product is small."""
    contract = Contract(accumulator="f16")
    a, b = np.array([[300.0, 250.0]]), np.array([[200.0], [-200.0]])
    for case, excused in (
        (Product(a, b, "f16", "f16", contract, alpha=1 / 1024), True),
        (Product(a / 8, b, "f16", "f16", contract, alpha=1 / 1024), False),
        (Product(a / 8, b, "f16", "f16", contract, beta=1.0, c=60000.0), True),
    ):
        slack = case.budget(case.truth()).overflow_slack
        assert (slack is not None and isinf(slack[0, 0])) is excused
    unlimited = replace(case, contract=Contract(accumulator="exact"), out="f32")
    assert unlimited.budget(unlimited.truth()).overflow_slack is None


def test_an_infinite_truth_always_has_a_window() -> None:
    case = Product(np.array([[1.0]]), np.array([[1.0]]), "f32", "f32", Contract(accumulator="f32"))
    truth = case.truth()
    assert case.budget(truth).overflow_slack is None
    endless = replace(truth, hi=np.array([[inf]]))
    slack = case.budget(endless).overflow_slack
    assert slack is not None
    assert np.isfinite(slack).all()


def test_round_up_covers_forty_operations() -> None:
    assert 1 + 44 * 2.0**-53 < ROUND_UP < 1 + 2.0**-45


def given(x: Array) -> Truth:
    return Truth(x, 0 * x, 0 * x, np.abs(x), "given")


@pytest.mark.parametrize(("out", "end"), [("f16", 65504.0), ("e4m3fn", 448.0), ("i8", 127.0), ("u8", 255.0)])
def test_the_window_opens_at_the_nearer_end_of_the_output(out: str, end: float) -> None:
    """Of i8, 127 and not 128; an unsigned format has no lower end that a magnitude could reach."""
    exact, fmt, x = Accumulator.of("exact"), Format.of(out), given(np.ones(2))
    slack = np.array([0.0, 0.5])
    for largest, opens in ((end - 0.51, False), (end - 0.5, True), (end, True)):
        found = overflow_window(np.array([0.0, largest]), slack, None, exact, fmt, x)
        assert (found is not None) is opens, largest
        if found is not None:
            assert found.tolist() == slack.tolist()


def test_a_sum_overflows_from_the_accumulators_largest_value_on() -> None:
    half, wide, x = Accumulator.of("f16"), Format.of("f32"), given(np.ones(3))
    top = half.max
    assert overflow_window(np.array([0.0, top - 1, 1.0]), np.array(0.5), None, half, wide, x) is None
    for reach in (top, top + 1):
        found = overflow_window(np.array([1.0, reach - 0.5, top - 1]), np.array(0.5), None, half, wide, x)
        assert found is not None
        assert found.tolist() == [0.5, inf, 0.5]


def test_lost_operands_open_the_window_of_their_elements_alone() -> None:
    f32, x, slack = Accumulator.of("f32"), given(np.ones(3)), np.array([0.5, 0.25, 0.125])
    for lost, want in (([False, True, False], [0.5, inf, 0.125]), ([True] * 3, [inf] * 3)):
        found = overflow_window(np.ones(3), slack, np.array(lost), f32, Format.of("f32"), x)
        assert found is not None
        assert found.tolist() == want
    assert overflow_window(np.ones(3), slack, np.zeros(3, bool), f32, Format.of("f32"), x) is None
    assert slack.tolist() == [0.5, 0.25, 0.125]


def test_an_output_within_the_safety_factor_of_a_power_of_two_has_the_larger_step() -> None:
    contract, exact, fmt = Contract(accumulator="exact"), Accumulator.of("exact"), Format.of("f16")
    for x, step in ((2 * (1 - 2.0**-44), 2.0**-10), (2 * (1 - 2.0**-47), 2.0**-9), (2.0, 2.0**-9)):
        for value in (x, -x):
            truth = given(np.array([value]))
            terms = Terms(np.zeros(1), truth.weight, None)
            assert terms.count == 0
            allowed, _, _ = round_output(terms, terms.error, contract, exact, fmt, truth)
            assert allowed[0] == step / 2 * ROUND_UP


def test_an_integer_output_that_is_not_exact_is_rounded_everywhere() -> None:
    model, truth = Accumulator.of("i32"), given(np.array([5.0, 7.0]))
    for error, allowed in (([0.0, 0.0], [0.0, 0.0]), ([0.0, 0.25], [0.5, 0.75])):
        terms = Terms(np.array(error), truth.weight, None)
        found, _, _ = round_output(terms, terms.error, Contract(accumulator="i32"), model, Format.of("i32"), truth)
        assert found.tolist() == pytest.approx(allowed, rel=NEAR, abs=0)
