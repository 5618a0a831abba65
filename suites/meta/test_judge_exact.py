"""The exact judge against its rules written again for one element at a time, and what verdicts say in numbers."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import inf, isfinite, isinf, isnan, nan

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.judge import expected, judge, judge_exact
from lastbit.metrics import measure
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.verdict import Outcome

Array = NDArray[np.float64]
PLAIN = Contract(accumulator="f32")


def truth_of(hi: object, lo: object = 0.0, radius: object = 0.0) -> Truth:
    exact = np.asarray(hi, np.float64)
    zero = np.zeros(exact.shape)
    return Truth(exact, zero + lo, zero + radius, np.abs(np.where(np.isfinite(exact), exact, 0.0)), "given")


def budget_of(allowed: object, **fields: object) -> Budget:
    return Budget(np.asarray(allowed, np.float64), "a test's", "a test", **fields)  # type: ignore[arg-type]


# Rules -----------------------------------------------------------------------------------------------------------


def answers(x: float, fmt: Format, contract: Contract) -> list[float]:
    """The right results of an exact `x`, by rational arithmetic; NaN stands for every NaN."""
    if isnan(x):
        return [nan]
    policy = contract.overflow or ("inf" if fmt.has_inf else "nan" if fmt.has_nan else "saturate")
    if isinf(x):
        end = fmt.max if x > 0 else fmt.lowest
        return {"inf": [x], "nan": [nan], "saturate": [end, x]}[policy]
    modes = ("down", "up") if contract.output_rounding == "stochastic" else (contract.output_rounding,)
    found = [fmt.round_rational(Fraction(x), rounding=mode, overflow=contract.overflow) for mode in modes]
    flushes = contract.subnormals == "flush" and fmt.kind == "float" and fmt.bits >= 16
    return [*found, 0.0] if flushes and abs(x) < fmt.min_normal else found


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "e5m2", "e4m3fn", "e2m1fn", "i8"])
def test_exact_judge_obeys_the_rules_for_every_kind_of_truth_result_and_policy(name: str) -> None:
    fmt = Format.of(name)
    top, step, small = fmt.max, float(fmt.ulp(fmt.max)), fmt.min_normal
    sizes = (0.0, small / 4, small * 0.75, small, 1.0, 1.25, 1 + fmt.u, top, top + step / 4, top + 0.75 * step, inf)
    truths = [sign * x for x in sizes for sign in (1.0, -1.0)] + [nan]
    results = {sign * y for y in (0.0, small / 2, small, 1.0, 1 + 2 * fmt.u, top - step, top) for sign in (1.0, -1.0)}
    results = {float(y) for y in fmt.round(np.array(sorted(results)), overflow="saturate")}
    offered = [*results, *([nan] if fmt.has_nan else []), *([inf, -inf] if fmt.has_inf else [])]
    policies = [None, "saturate", *(["inf"] if fmt.has_inf else []), *(["nan"] if fmt.has_nan else [])]
    roundings = ["nearest-even", "toward-zero", "up", "stochastic"]
    for policy, rounding, subnormals in product(policies, roundings, ("keep", "flush")):
        contract = replace(PLAIN, overflow=policy, output_rounding=rounding, subnormals=subnormals)
        for x in truths:
            right = answers(x, fmt, contract)
            wrong = [] if isnan(x) and not fmt.has_nan else [i for i, y in enumerate(offered) if not among(y, right)]
            verdict = judge_exact(fmt.encode(offered), fmt, truth_of(np.full(len(offered), x)), contract)
            strange = any(not isfinite(offered[i]) or not isfinite(right[0]) for i in wrong)
            want = Outcome.WRONG_CLASS if strange else Outcome.OVER_BUDGET if wrong else Outcome.PASS
            assert verdict.outcome is want, (x, contract.text(), right, verdict.reason)
            assert (verdict.measured, verdict.allowed) == (len(wrong), 0.0), (x, contract.text(), right, verdict.reason)
            assert verdict.where == (f"({wrong[0]},)" if wrong else "")


def among(y: float, right: list[float]) -> bool:
    return any(y == r or (isnan(y) and isnan(r)) for r in right)


def test_exact_judge_takes_all_between_a_finite_end_and_a_nan_for_overflow() -> None:
    """A radius around the threshold of a format whose overflow is NaN: every value up to the largest, and NaN."""
    fmt = Format.of("e4m3fn")
    for sign in (1.0, -1.0):
        truth = truth_of(np.full(6, sign * 440.0), radius=40.0)
        offered = sign * np.array([384.0, 416.0, 448.0, nan, 352.0, -416.0])
        verdict = judge_exact(fmt.encode(offered), fmt, truth, PLAIN)
        assert (verdict.measured, verdict.where) == (2.0, "(4,)")


# Radius ----------------------------------------------------------------------------------------------------------

#: Ties of f16, whose even neighbour is below and above.
TIES = [(1 + 2.0**-11, 1.0, 1 + 2.0**-10), (1 + 3 * 2.0**-11, 1 + 2.0**-9, 1 + 2.0**-10)]


@pytest.mark.parametrize(("tie", "even", "odd"), TIES)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_truth_may_round_either_way_exactly_if_its_radius_reaches_the_tie(
    tie: float, even: float, odd: float, side: float
) -> None:
    fmt, distance = Format.of("f16"), 2.0**-30
    x = tie + side * distance
    near, far = (even, odd) if (side > 0) == (even > tie) else (odd, even)
    for share, both in ((0.0, False), (0.75, False), (1 - 2.0**-40, False), (1.0, True), (1.5, True)):
        truth = truth_of([x, 1.0], radius=[share * distance, 0.0])
        low, high = expected(fmt, truth, PLAIN)
        assert (low[0], high[0]) == ((min(near, far), max(near, far)) if both else (near, near)), share
        assert (low[1], high[1]) == (1.0, 1.0)
        for y, right in ((near, True), (far, both)):
            assert (judge_exact(fmt.encode([y, 1.0]), fmt, truth, PLAIN).outcome is Outcome.PASS) is right


@pytest.mark.parametrize(("tie", "even", "odd"), TIES)
def test_a_radius_of_one_spacing_of_lo_counts_as_none(tie: float, even: float, odd: float) -> None:
    """It is how a truth that was rounded to odd says that it is not exactly this one."""
    fmt = Format.of("f16")
    for lo in (0.0, 2.0**-60, -(2.0**-60), 5e-324, -5e-324):
        want = even if lo == 0 else max(even, odd) if lo > 0 else min(even, odd)
        for low in expected(fmt, truth_of([tie], lo, np.spacing(abs(lo))), PLAIN):
            assert low.tolist() == [want]
    for lo in (2.0**-60, -(2.0**-60)):  # a radius as large as lo is one
        low, high = expected(fmt, truth_of([tie], lo, 2.0**-60), PLAIN)
        assert {low[0], high[0]} == {even, odd}


def test_a_radius_moves_no_infinity_and_no_nan() -> None:
    fmt = Format.of("f16")
    truth = truth_of([inf, -inf, nan, 1.7e308, 1.0], radius=[1.0, 1.0, 1.0, 1e308, 0.25])
    low, high = expected(fmt, truth, PLAIN)
    assert (low[:2].tolist(), high[:2].tolist()) == ([inf, -inf], [inf, -inf])
    assert np.isnan([low[2], high[2]]).all()
    assert (low[3], high[3]) == (inf, inf)
    assert (low[4], high[4]) == (0.75, 1.25)


# What a verdict says ---------------------------------------------------------------------------------------------


def test_verdicts_give_their_measure_and_what_was_allowed() -> None:
    fmt = Format.of("f32")
    x = np.array([1.0, 2.0, 4.0])
    for y, outcome, measured, allowed in (
        ([1.0, 2.25, 4.0], Outcome.PASS, 0.5, 1.0),
        ([1.0, 2.0, 3.0], Outcome.OVER_BUDGET, 2.0, 1.0),
        ([nan, inf, 4.0], Outcome.WRONG_CLASS, 2.0, 0.0),
    ):
        verdict = judge(fmt.encode(y), fmt, truth_of(x), budget_of(0.5), PLAIN)
        assert (verdict.outcome, verdict.measured, verdict.allowed) == (outcome, measured, allowed)
        assert (verdict.formula, verdict.proof) == ("a test's [a test]", "given")
    assert judge(fmt.encode([nan, inf, 4.0]), fmt, truth_of(x), budget_of(0.5), PLAIN).where == "(0,)"


def test_elements_right_by_a_class_rule_are_left_out_of_rms_and_of_the_worst() -> None:
    fmt, contract = Format.of("e4m3fn"), replace(PLAIN, overflow="saturate")
    x, sigma = np.array([1e5, 1.0, 2.0, -1e5, 4.0]), np.array([0.1, 0.2, 0.4, 0.5, 0.8])
    codes = fmt.encode(np.array([448.0, 1.125, 2.25, -448.0, 5.0]))
    budget = budget_of(np.array([1.0, 1.0, 1.0, 1.0, 0.5]), overflow_slack=np.zeros(5), sigma=sigma)
    verdict = judge(codes, fmt, truth_of(x), budget, contract)
    kept = np.array([1, 2, 4])
    alone = measure(codes[kept], fmt, truth_of(x[kept]), budget.allowed[kept], sigma[kept]).stats
    assert verdict.stats == replace(alone, n=5)
    assert alone.rms > 0
    assert (verdict.outcome, verdict.where) == (Outcome.OVER_BUDGET, "(4,)")
    plain = judge(codes, fmt, truth_of(x), replace(budget, sigma=None), contract)
    assert plain.stats is not None
    assert plain.stats.rms == 0.0


@pytest.mark.parametrize(("got", "want", "said"), [
    (nan, 1.0, "NaN instead of a finite value"), (inf, 1.0, "infinity instead of a finite value"),
    (1.0, nan, "a finite value instead of NaN"), (1.0, inf, "a finite value instead of infinity"),
    (1.0, 1e6, "a finite value instead of overflow"), (0.0, 1e6, "zero instead of a finite value"),
])  # fmt: skip
def test_a_wrong_class_is_named(got: float, want: float, said: str) -> None:
    fmt = Format.of("f16")
    budget = budget_of([0.5, 0.5], overflow_slack=np.zeros(2))
    verdict = judge(fmt.encode([2.0, got]), fmt, truth_of([2.0, want]), budget, PLAIN)
    assert verdict.outcome is Outcome.WRONG_CLASS
    assert verdict.reason.startswith(f"{said} at (1,): ")
    assert "1 of 2 elements of the wrong class" in verdict.reason


def test_an_error_below_the_truth_is_as_large_as_one_above_and_counts_the_low_part() -> None:
    fmt = Format.of("f64")
    step = 2.0**-52
    for sign, lo, ulps in ((1, 0.0, 3), (-1, 0.0, 3), (1, step / 4, 2.75), (-1, step / 4, 3.25)):
        truth = truth_of([1.5], lo)
        verdict = judge(fmt.encode([1.5 + sign * 3 * step]), fmt, truth, budget_of([step / 2]), PLAIN)
        assert verdict.reason.startswith(f"max error {ulps} ulp at (0,): ")
        assert "budget 0.5 ulp" in verdict.reason


def test_reasons_of_every_verdict_say_where_the_wrong_elements_lie() -> None:
    fmt = Format.of("f32")
    x = np.arange(64.0).reshape(8, 8) ** 2
    for wrong in (100.5, nan):
        y = x.copy()
        y[2] = wrong
        reason = judge(fmt.encode(y), fmt, truth_of(x), budget_of(0.01), PLAIN).reason
        assert "only row 2 of 8 is wrong" in reason


def test_exact_reason_lists_the_first_four_and_mixes_of_classes_are_of_the_wrong_class() -> None:
    fmt = Format.of("f32")
    x = np.arange(1.0, 13.0)
    y = x + 0.5
    verdict = judge_exact(fmt.encode(y), fmt, truth_of(x), PLAIN)
    assert verdict.reason.count("want") == 4
    y[5] = nan
    mixed = judge_exact(fmt.encode(y), fmt, truth_of(x), PLAIN)
    assert (mixed.outcome, mixed.measured, mixed.where) == (Outcome.WRONG_CLASS, 12.0, "(0,)")
