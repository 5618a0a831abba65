"""Budgets of softmax against the formulas of docs/softmax.md, written again for one row in plain Python."""

from dataclasses import replace
from math import exp, expm1, inf, isfinite, log, log1p, nan, nextafter

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.budget_output import ROUND_UP
from lastbit.contract import Contract, resolved
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.softmax import log_softmax_truth, logsumexp_truth, softmax_truth
from lastbit.softmax_budget import SoftmaxBudgetError, budget

Array = NDArray[np.float64]
TRUTHS = {"softmax": softmax_truth, "log_softmax": log_softmax_truth, "logsumexp": logsumexp_truth}
#: What the bound is rounded up by, and the float64 roundings of both sides.
RAISED, NEAR = 1 + 2.0**-40, 2.0**-43


def row_bounds(op: str, row: list[float], contract: Contract, fmt: Format, size_of_lse: float) -> list[float]:
    """The errors of one row before the output is rounded: sections 2 to 4. One number for logsumexp."""
    chosen = contract.accumulator
    acc = Accumulator.of(chosen) if isinstance(chosen, str) else chosen
    assert acc is not None
    u = acc.unit
    eps = min(2 * u * contract.exp_ulp, 0.5)
    finite = [x for x in row if isfinite(x)]
    top = max(finite, default=0.0)
    flush = contract.subnormals == "flush"
    shift = 2 * fmt.min_normal if flush and fmt.bits >= 16 else 0.0
    gap = [top - x if isfinite(x) else 0.0 for x in row]
    turns = [len({y for y in finite if y > x}) if isfinite(x) else 0 for x in row]
    weight = [
        min(-3 * log1p(-u) * d + shift - (1 + r) * log1p(-eps) - r * log1p(-u), 600.0)
        for d, r in zip(gap, turns, strict=True)
    ]
    total = max(sum(exp(x - top) for x in finite), 1.0)
    grown = sum(exp(x - top) / total * expm1(w) for x, w in zip(row, weight, strict=True) if isfinite(x))
    tiny = 2.0**acc.emin * (1 if flush else max(1.0, contract.exp_ulp) * 2 * u)
    if max(gap) <= -(acc.emin + 2) * log(2):
        tiny = 0.0
    lost = [(1 + r) * tiny for r in turns]
    all_lost = len(finite) * tiny + max(turns) * (len(finite) + 1) * tiny
    c = acc.coefficient(len(row))
    of_sum = log1p(grown) - log1p(-min(all_lost / total, 0.5)) + (-log1p(-c) if c < 1 else 600.0)
    of_log = (eps - 2 * log1p(-u) * (1 + eps)) * (log(total) + of_sum)
    if op == "logsumexp":
        before = of_sum + of_log + u * abs(top)
        return [before + u * (size_of_lse + before)]
    if op == "log_softmax":
        found = [u * d + of_sum + of_log for d in gap]
        return [b + u * (d + log(total) + b) for b, d in zip(found, gap, strict=True)]
    common = of_sum - 2 * log1p(-u)
    return [
        exp(x - top) / total * expm1(min(w + common, 600.0))
        + exp(min(common, 600.0)) * gone / total
        + 2.0**acc.emin * u
        if isfinite(x)
        else 0.0
        for x, w, gone in zip(row, weight, lost, strict=True)
    ]


ROWS = {
    "normal": [0.5, -1.25, 2.0, 0.75, -0.5, 2.0],
    "equal": [1.5] * 5,
    "far": [0.0, -20.0, -80.0, -87.0, -101.0],
    "offset": [100.0, 99.0, 96.5, 100.5],
    "masked": [-inf, 1.0, -inf, 2.0],
    "one": [3.0],
    "two": [-2.0, -60.0],
    "edge": [0.0, -85.5, -86.0],
    "beyond": [0.0, -85.5, -86.5],
    "within": [0.0, -85.5],
    "paired": [1.0, 2.0, 1.0, -1.5, 1.0],
    "many": [-i / 16 for i in range(200)],
}
CONTRACTS = [
    Contract(), Contract(exp_ulp=0.5), Contract(exp_ulp=7.0), Contract(subnormals="flush"), Contract(accumulator="f64"),
    Contract(accumulator="bf16"), Contract(accumulator="f16", subnormals="flush"),
]  # fmt: skip


@pytest.mark.parametrize("op", TRUTHS)
@pytest.mark.parametrize("contract", CONTRACTS, ids=Contract.text)
@pytest.mark.parametrize("name", ROWS)
def test_budgets_are_what_the_formulas_give(op: str, contract: Contract, name: str) -> None:
    """In f64, where no output rounding hides a term; two rows at once, of which the second is the first reversed."""
    fmt = "bf16" if contract.accumulator == "bf16" else "f16"
    formats = {"x": fmt, "out": "f64"}
    contract = resolved(contract, formats)
    rows = np.array([[ROWS[name], ROWS[name][::-1]]])
    truth = TRUTHS[op](rows)
    found = budget(op, contract, formats, {"x": Operand.of(rows, fmt)}, truth)
    want = row_bounds(
        op, ROWS[name], contract, Format.of(fmt), abs(float(truth.hi[0, 0])) if op == "logsumexp" else 0.0
    )
    radius = np.broadcast_to(truth.radius, truth.hi.shape)
    for line, order in ((0, 1), (1, -1)):
        got, off = np.atleast_1d(found.allowed[0, line])[::order], np.atleast_1d(radius[0, line])[::order]
        finite = np.isfinite(np.atleast_1d(truth.hi[0, line])[::order])
        for bound, wanted, r, judged in zip(got, want, off, finite, strict=True):
            if judged:
                assert bound == pytest.approx(wanted * RAISED + r, rel=NEAR, abs=0)
    assert found.sigma is None
    assert (
        found.unstatistical == "the error of the sum is shared by a whole row, and exp's is a function of its argument"
    )
    assert ("flushed subnormals" in found.formula) is (contract.subnormals == "flush")
    assert found.source.startswith("softmax.md 2; Blanchard, Higham and Higham 2021")


@pytest.mark.parametrize("op", TRUTHS)
def test_a_radius_of_the_truth_is_allowed_where_it_is(op: str) -> None:
    formats = {"x": "f32", "out": "f64"}
    contract, x = resolved(Contract(), formats), np.array([[0.5, 1.0], [2.0, -1.0]])
    truth = TRUTHS[op](x)
    operands = {"x": Operand.of(x, "f32")}
    plain = budget(op, contract, formats, operands, replace(truth, radius=np.zeros(truth.hi.shape))).allowed
    wide = np.zeros(truth.hi.shape)
    wide.flat[0] = 2.0**-12
    found = budget(op, contract, formats, operands, replace(truth, radius=wide)).allowed
    assert (found - plain).ravel().tolist() == pytest.approx([2.0**-12] + [0.0] * (plain.size - 1), rel=1e-9)


def test_rows_with_nan_and_infinity_have_a_bound_that_is_finite() -> None:
    formats = {"x": "f32", "out": "f32"}
    x = np.array([[nan, 1.0], [inf, 1.0], [-inf, -inf], [1.0, 2.0]])
    for op, truth in TRUTHS.items():
        found = budget(op, resolved(Contract(), formats), formats, {"x": Operand.of(x, "f32")}, truth(x))
        alone = budget(op, resolved(Contract(), formats), formats, {"x": Operand.of(x[3:], "f32")}, truth(x[3:]))
        assert np.isfinite(found.allowed).all()
        assert np.array_equal(found.allowed[3], alone.allowed[0])


def test_a_hopeless_accumulator_bounds_nothing_and_stays_finite() -> None:
    """A sum of 300 in bf16 may be off by all of itself; what is allowed is a quarter of the output's range."""
    formats = {"x": "bf16", "out": "f16"}
    x = np.zeros((1, 300))
    for op, truth in TRUTHS.items():
        contract = resolved(Contract(accumulator="bf16", exp_ulp=200.0), formats)
        found = budget(op, contract, formats, {"x": Operand.of(x, "bf16")}, truth(x))
        assert np.isfinite(found.allowed).all()
        if op != "softmax":
            assert 0 < found.allowed.max() <= 65504 / 4 * 1.001
    with pytest.raises(SoftmaxBudgetError, match="fill it in with"):
        budget("softmax", Contract(), formats, {"x": Operand.of(x, "bf16")}, softmax_truth(x))
    for accumulator, operand in (("i32", "bf16"), ("f16", "f32"), ("bf16", "f16"), ("f16", "bf16")):
        with pytest.raises(SoftmaxBudgetError, match=f"does not hold operands in {operand}"):
            budget("softmax", Contract(accumulator=accumulator), {"x": operand, "out": "f32"},
                   {"x": Operand.of(x, operand)}, softmax_truth(x))  # fmt: skip


def test_an_error_is_at_most_a_quarter_of_the_outputs_range() -> None:
    """Rounded up as every bound."""
    formats = {"x": "bf16", "out": "e4m3fn"}
    contract, x = resolved(Contract(accumulator="bf16", exp_ulp=200.0), formats), np.zeros((1, 300))
    found = budget("logsumexp", contract, formats, {"x": Operand.of(x, "bf16")}, logsumexp_truth(x))
    assert found.before is not None
    assert found.before[0] == 448 / 4 * ROUND_UP


def test_a_sum_that_may_be_lost_altogether_has_the_largest_exponent() -> None:
    """n u = 1: log(1 - 1) is no number."""
    formats = {"x": "bf16", "out": "f64"}
    count = next(n for n in range(2, 600) if Accumulator.of("bf16").coefficient(n) >= 1)
    assert Accumulator.of("bf16").coefficient(count) == 1
    contract, x = resolved(Contract(accumulator="bf16"), formats), np.zeros((1, count))
    truth = logsumexp_truth(x)
    found = budget("logsumexp", contract, formats, {"x": Operand.of(x, "bf16")}, truth)
    (want,) = row_bounds("logsumexp", [0.0] * count, contract, Format.of("bf16"), float(truth.hi[0]))
    assert want > 600
    assert found.allowed[0] == pytest.approx(want * RAISED + truth.radius[0], rel=NEAR, abs=0)


def test_nothing_underflows_at_the_last_exponent_that_has_room() -> None:
    """A gap of 1020 ln 2 in f64, and the next larger one."""
    formats = {"x": "f64", "out": "f64"}
    contract, last = resolved(Contract(accumulator="f64", subnormals="flush"), formats), 1020 * log(2)
    for gap, loses in ((last, False), (nextafter(last, inf), True)):
        row = [0.0, -gap]
        x = np.array([row])
        found = budget("softmax", contract, formats, {"x": Operand.of(x, "f64")}, softmax_truth(x)).allowed[0]
        want = row_bounds("softmax", row, contract, Format.of("f64"), 0.0)
        assert found[1] == pytest.approx(want[1] * RAISED, rel=NEAR, abs=2.0**-1070)
        assert bool(found[1] > 2.0**-1023) is loses


def test_a_sum_that_underflow_may_take_altogether_has_a_finite_bound() -> None:
    """9000 weights below 2^-14, each of which f16 may flush: more than half of a sum of 1 is lost."""
    formats = {"x": "f16", "out": "f32"}
    contract = resolved(Contract(accumulator="f16", subnormals="flush"), formats)
    x = np.full((1, 9000), -30.0)
    x[0, 0] = 0.0
    for op, truth in TRUTHS.items():
        found = budget(op, contract, formats, {"x": Operand.of(x, "f16")}, truth(x)).allowed
        assert np.isfinite(found).all()
        assert (found > 0).all()
