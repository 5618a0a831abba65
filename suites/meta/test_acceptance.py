"""Which results an element may have: the edges of each rule, one at a time."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from lastbit.acceptance import OVER, RIGHT, WRONG_CLASS, classify, elements_at, overflow_value
from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.judge import judge
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.verdict import Outcome

PLAIN = Contract(accumulator="f32")
F16 = Format.of("f16")


def kind(
    y: float,
    x: float,
    *,
    lo: float = 0.0,
    allowed: float = 0.0,
    slack: float | None = 0.0,
    flush_below: float = 0.0,
    fmt: Format = F16,
    contract: Contract = PLAIN,
) -> int:
    """The class of one result."""
    row = [np.array([value]) for value in (y, x, lo, allowed)]
    window = None if slack is None else np.array([slack])
    return int(classify(row[0], row[1], row[2], row[3], window, flush_below, fmt, contract)[0])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_bound_is_met_by_hi_and_lo_together(sign: float) -> None:
    step = 2.0**-10
    for lo, allowed, want in ((step / 4, step * 0.75, RIGHT), (step / 4, step * 0.74, OVER), (-step / 4, step, OVER)):
        assert kind(sign * (1 + step), sign, lo=sign * lo, allowed=allowed) == want
    assert kind(sign, sign, lo=sign * step / 4, allowed=step / 4) == RIGHT


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_zero_is_right_up_to_the_flush_threshold_and_the_bound_and_no_further(sign: float) -> None:
    least = F16.min_normal
    for x, want in ((least / 2, RIGHT), (least, RIGHT), (1.5 * least, RIGHT), (1.51 * least, OVER), (8.0, OVER)):
        assert kind(0.0, sign * x, allowed=least / 2, flush_below=least) == want, x
        assert kind(-0.0, sign * x, allowed=least / 2, flush_below=least) == want, x
    assert kind(0.0, sign * least, allowed=least / 2) == OVER
    assert kind(2.0**-24, sign * 8.0, flush_below=least) == OVER


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("slack", [0.0, 0.25])
def test_directed_rounding_may_overflow_from_the_largest_value_on(sign: float, slack: float) -> None:
    """And must from the next step on; to nearest, both are half a step beyond."""
    top, step = F16.max, 32.0
    outwards = replace(PLAIN, output_rounding="up" if sign > 0 else "down")
    for x, finite, infinite in (
        (top - slack - 0.25, RIGHT, WRONG_CLASS),
        (top - slack, RIGHT, RIGHT),
        (top + step + slack, RIGHT, RIGHT),
        (top + step + slack + 0.25, WRONG_CLASS, RIGHT),
    ):
        assert kind(sign * top, sign * x, allowed=99.0, slack=slack, contract=outwards) == finite, x
        assert kind(sign * inf, sign * x, allowed=99.0, slack=slack, contract=outwards) == infinite, x
    for x, finite, infinite in (
        (top + step / 2 - slack - 0.25, RIGHT, WRONG_CLASS),
        (top + step / 2 - slack, RIGHT, RIGHT),
        (top + step / 2 + slack, RIGHT, RIGHT),
        (top + step / 2 + slack + 0.25, WRONG_CLASS, RIGHT),
    ):
        assert kind(sign * top, sign * x, allowed=99.0, slack=slack) == finite, x
        assert kind(sign * inf, sign * x, allowed=99.0, slack=slack) == infinite, x


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_low_part_decides_at_the_threshold(sign: float) -> None:
    edge = F16.max + 16
    for lo, finite, infinite in ((-1e-9, RIGHT, WRONG_CLASS), (1e-9, WRONG_CLASS, RIGHT)):
        assert kind(sign * F16.max, sign * edge, lo=sign * lo, allowed=99.0) == finite
        assert kind(sign * inf, sign * edge, lo=sign * lo, allowed=99.0) == infinite


@pytest.mark.parametrize("overflow", [None, "saturate"])
def test_a_sum_that_may_overflow_may_end_at_either_end(overflow: str | None) -> None:
    contract = replace(PLAIN, overflow=overflow)
    ends = (F16.max, -F16.max) if overflow else (inf, -inf)
    for x in (3.0, -3.0):
        for y in (*ends, nan, inf, -inf):
            assert kind(y, x, slack=inf, contract=contract) == RIGHT
        assert kind(-x, x, slack=inf, contract=contract) == OVER
        for y in (F16.max, -F16.max):
            assert (kind(y, x, slack=inf, contract=contract) == RIGHT) is (overflow == "saturate")
    assert kind(7.0, 3.0, slack=inf, fmt=Format.of("i8"), contract=contract) == RIGHT
    assert kind(7.0, 3.0, slack=1.0, fmt=Format.of("i8"), contract=contract) == OVER


@pytest.mark.parametrize("infinity", [inf, -inf])
def test_an_infinity_stays_one_whatever_the_rounding(infinity: float) -> None:
    """It is exact; a finite value that overflows is rounded inwards to the largest."""
    inwards = replace(PLAIN, output_rounding="toward-zero")
    top = np.copysign(F16.max, infinity)
    assert kind(infinity, infinity, contract=inwards) == RIGHT
    assert kind(float(top), infinity, contract=inwards) == WRONG_CLASS
    assert kind(infinity, infinity, slack=None) == RIGHT
    assert kind(-infinity, infinity) == WRONG_CLASS
    assert kind(nan, infinity) == WRONG_CLASS
    assert overflow_value(F16, inwards, negative=infinity < 0) == top
    assert overflow_value(F16, inwards, negative=infinity < 0, infinite=True) == infinity
    saturating = replace(PLAIN, overflow="saturate")
    assert [kind(y, infinity, contract=saturating) for y in (float(top), infinity, -infinity)] == [0, 0, WRONG_CLASS]
    many = classify(
        np.array([1.0, infinity, 2.0]),
        np.array([1.0, infinity, infinity]),
        np.zeros(3),
        np.zeros(3),
        None,
        0.0,
        F16,
        PLAIN,
    )
    assert many.tolist() == [RIGHT, RIGHT, WRONG_CLASS]


def test_overflow_is_what_the_format_makes_of_it_and_nothing_else() -> None:
    """f16 overflows to infinity, e4m3fn to NaN, and each to the other under a contract that says so."""
    nothing, e4m3 = replace(PLAIN, overflow="nan"), Format.of("e4m3fn")
    for fmt, contract, right, wrong in (
        (F16, PLAIN, inf, (nan, -inf, 65504.0)),
        (F16, nothing, nan, (inf, -inf, 65504.0)),
        (e4m3, PLAIN, nan, (448.0, -448.0)),
    ):
        for x in (1e6, inf):
            assert kind(right, x, contract=contract, fmt=fmt, allowed=1e9) == RIGHT
            assert {kind(y, x, contract=contract, fmt=fmt, allowed=1e9) for y in wrong} == {WRONG_CLASS}


def test_each_rule_judges_its_own_elements_among_others() -> None:
    """A NaN, an infinity, a lost sum and a plain number in one row; too far is not the wrong class."""
    x = np.array([nan, inf, 1.0, 1.0, 1.0, nan])
    y = np.array([nan, inf, nan, nan, 3.0, 1.0])
    slack = np.array([0.0, 0.0, inf, 0.0, 0.0, 0.0])
    found = classify(y, x, np.zeros(6), np.ones(6), slack, 0.0, F16, PLAIN)
    assert found.tolist() == [RIGHT, RIGHT, RIGHT, WRONG_CLASS, OVER, WRONG_CLASS]
    assert len({RIGHT, OVER, WRONG_CLASS}) == 3


def test_a_nan_is_right_for_a_nan_and_anything_where_there_is_none() -> None:
    assert [kind(y, nan) for y in (nan, 0.0, inf)] == [RIGHT, WRONG_CLASS, WRONG_CLASS]
    assert [kind(y, nan, fmt=Format.of("e2m1fn")) for y in (0.0, 6.0, -1.0)] == [RIGHT] * 3
    assert kind(nan, 1.0, allowed=inf) == WRONG_CLASS


def test_elements_are_taken_at_their_places() -> None:
    x = np.arange(6.0).reshape(2, 3)
    truth = Truth(x, x / 8, 0 * x, x, "given")
    for slack in (None, np.array([[1.0], [2.0]])):
        budget = Budget(np.array([10.0, 20.0, 30.0]), "", "", overflow_slack=slack)
        hi, lo, allowed, window = elements_at(np.array([1, 5]), truth, budget)
        assert (hi.tolist(), lo.tolist(), allowed.tolist()) == ([1.0, 5.0], [0.125, 0.625], [20.0, 30.0])
        assert (None if window is None else window.tolist()) == (None if slack is None else [1.0, 2.0])
    scalar = Truth(np.array(3.0), np.array(0.0), np.array(0.0), np.array(3.0), "given")
    assert [part.tolist() for part in elements_at(np.array([0]), scalar, Budget(np.array(1.0), "", ""))[:3]] == [
        [3.0], [0.0], [1.0],
    ]  # fmt: skip


def test_a_budget_flushes_and_overflows_nothing_unless_it_says_so() -> None:
    plain = Budget(np.zeros(1), "", "")
    assert plain.terms == 0
    assert (plain.flush_below, plain.overflow_slack, plain.sigma, plain.before) == (0.0, None, None, None)
    truth = Truth(np.array([0.5]), np.zeros(1), np.zeros(1), np.array([0.5]), "given")
    assert judge(F16.encode([0.0]), F16, truth, plain, PLAIN).outcome is Outcome.OVER_BUDGET
