"""The budget of softmax holds for the worst arithmetic that the contract allows, and is within a small factor of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.budget import Budget
from lastbit.contract import Contract, resolved
from lastbit.judge import judge
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.softmax import log_softmax_truth, logsumexp_truth, softmax_truth
from lastbit.references.truth import Truth
from lastbit.softmax_budget import SoftmaxBudgetError, budget, rescalings
from lastbit.vacuity import vacuity
from lastbit.verdict import Outcome

Array = np.ndarray
OPS = ("softmax", "log_softmax", "logsumexp")
TRUTHS = {"softmax": softmax_truth, "log_softmax": log_softmax_truth, "logsumexp": logsumexp_truth}
U = 2.0**-24
F32 = {"x": "f32", "out": "f32"}


def known(op: str, x: Array, formats: dict[str, str] = F32, contract: Contract | None = None) -> tuple[Truth, Budget]:
    chosen = resolved(contract or Contract(), formats)
    operands = {"x": Operand.of(np.asarray(x, np.float64), formats["x"])}
    truth = TRUTHS[op](operands["x"].values)
    return truth, budget(op, chosen, formats, operands, truth)


def worst(op: str, x: Array, i: int, side: int, exp_ulp: float = 2.0) -> float:
    """The result for column i of a row, every rounding of f32 arithmetic being the worst for it; computed in float64.

    side +1: the largest result. The weight of i errs one way, the others and the sum's additions the other way.
    """
    eps, n = exp_ulp * 2 * U, x.size
    top = x.max()
    turns = rescalings(x[None])[0]
    lean = np.full(n, -side)
    if op == "softmax":
        lean[i] = side
    if op == "logsumexp":
        lean = np.full(n, side)

    def grown(count: Array | float, by: float, sign: Array | int) -> Array:
        return (1 + np.sign(sign) * by) ** np.abs(count)

    argument = (top - x) * (1 - lean * 3 * U)
    weights = np.exp(-argument) * grown(1 + turns, eps, lean) * grown(turns, U, lean)
    others = -side if op != "logsumexp" else side
    total = weights.sum() * grown(n - 1, U, others)
    if op == "softmax":
        return float(weights[i] / total * grown(2, U, side))
    logarithm = (
        np.log(total) * grown(1, eps, others * np.sign(np.log(total))) * grown(2, U, others * np.sign(np.log(total)))
    )
    if op == "logsumexp":
        return float((top * (1 + side * np.sign(top) * U) + logarithm) * (1 + side * np.sign(top + logarithm) * U))
    below = (x[i] - top) * (1 - side * U)
    return float((below - logarithm) * (1 + side * np.sign(below - logarithm) * U))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(OPS),
    st.lists(st.integers(-640, 640), min_size=1, max_size=24),
    st.sampled_from([1 / 64, 1 / 8, 1.0]),
    st.sampled_from([0.0, 8192.0, -8192.0]),
)
def test_worst_arithmetic_is_allowed(op: str, values: list[int], step: float, offset: float) -> None:
    x = np.array(values) * step + offset
    if np.ptp(x) > 80:
        x = x / 16
    truth, allowed = known(op, x[None])
    for i in range(x.size):
        for side in (-1, 1):
            at = (0,) if op == "logsumexp" else (0, i)
            error = abs(worst(op, x, i, side) - truth.hi[at] - truth.lo[at])
            assert error <= allowed.allowed[at] + 1e-13 * abs(truth.hi[at])


@pytest.mark.parametrize("op", OPS)
def test_budget_is_near_the_worst_arithmetic(op: str) -> None:
    """Not twice what the contract's roundings can add up to, on rows where they all count."""
    rng = np.random.default_rng(0)
    x = Operand.of(rng.standard_normal((1, 20)) * 3 + 5, "f32").values
    truth, allowed = known(op, x)
    ratios = []
    for i in range(20):
        at = (0,) if op == "logsumexp" else (0, i)
        error = max(abs(worst(op, x[0], i, side) - truth.hi[at] - truth.lo[at]) for side in (-1, 1))
        ratios.append(error / allowed.allowed[at])
    assert min(ratios) > 0.5
    assert max(ratios) <= 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
    st.integers(1, 6),
)
def test_rescalings_bound_every_order_and_tile(values: list[int], random: "object", tile: int) -> None:
    """However the row is cut and ordered, no element's running maximum grows more often after it was seen."""
    x = np.array(values, float)
    allowed = rescalings(x[None])[0]
    order = list(range(x.size))
    random.shuffle(order)  # type: ignore[attr-defined]
    turns, high = np.zeros(x.size, int), -np.inf
    seen: list[int] = []
    for start in range(0, x.size, tile):
        part = order[start : start + tile]
        larger = max(high, *(x[j] for j in part))
        if larger > high:
            turns[seen] += 1
        seen += part
        high = larger
    assert (turns <= allowed).all()
    assert allowed[x == x.max()].tolist() == [0] * int((x == x.max()).sum())
    assert allowed.max() == np.unique(x).size - 1


def test_rounded_truth_is_always_allowed_and_counterfeits_are_not() -> None:
    rng = np.random.default_rng(1)
    for fmt in ("f64", "f32", "f16", "bf16"):
        formats, out = {"x": fmt, "out": fmt}, Format.of(fmt)
        for op in OPS:
            x = rng.standard_normal((9, 33)) * 4
            truth, allowed = known(op, x, formats)
            contract = resolved(Contract(), formats)
            assert judge(out.encode(truth.hi, truth.lo), out, truth, allowed, contract).outcome is Outcome.PASS
            assert vacuity(out, truth, allowed, contract) == ""
            off = out.round(truth.hi * (1 + 4 * out.u + (1e-4 if fmt == "f32" else 1e-12 if fmt == "f64" else 0)))
            assert judge(out.encode(off), out, truth, allowed, contract).outcome is Outcome.OVER_BUDGET


def test_narrow_output_adds_half_a_step_only() -> None:
    """f32 inside: 16-bit results are right to within half a step and little more, on rows of any sharpness."""
    rng = np.random.default_rng(2)
    for fmt in ("f16", "bf16"):
        for op in OPS:
            truth, allowed = known(op, rng.standard_normal((9, 33)), {"x": fmt, "out": fmt})
            step = Format.of(fmt).ulp(truth.hi, truth.lo)
            assert (allowed.allowed <= 0.55 * step).all()
            assert allowed.before is not None
            assert allowed.sigma is None
            assert "shared" in allowed.unstatistical


def test_offset_costs_nothing_but_where_it_is_part_of_the_result() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-32, 32, (4, 16)) / 8
    for op in OPS:
        plain, moved = known(op, x)[1].allowed, known(op, x + 4096)[1].allowed
        if op == "logsumexp":
            assert (moved > plain + 2 * U * 4000).all()
            assert (moved < plain + 2 * U * 4200).all()
        else:
            np.testing.assert_array_equal(moved, plain)


def test_underflow_is_allowed_for_where_it_can_happen() -> None:
    near, far = np.array([[0.0, -20.0]]), np.array([[0.0, -100.0]])
    assert known("softmax", near)[1].allowed[0, 1] < 80 * U * np.exp(-20)
    kept = known("softmax", far)[1].allowed[0, 1]
    assert 2.0**-149 <= kept < 16 * 2.0**-149
    flushed = known("softmax", far, contract=Contract(subnormals="flush"))[1]
    assert flushed.flush_below == 2.0**-126
    assert flushed.allowed[0, 1] >= 2.0**-126
    assert known("softmax", far)[1].flush_below == 0
    wide = known("softmax", far, {"x": "f64", "out": "f64"})[1].allowed[0, 1]
    assert wide < 1e-12 * np.exp(-100)


def test_more_ulp_of_exp_and_a_narrow_sum_allow_more() -> None:
    x = np.random.default_rng(4).standard_normal((3, 16))
    for op in OPS:
        base = known(op, x)[1].allowed
        assert (known(op, x, contract=Contract(exp_ulp=64.0))[1].allowed > 5 * base).all()
        formats = {"x": "bf16", "out": "bf16"}
        narrow = known(op, x, formats, Contract(accumulator="bf16"))[1].allowed
        assert (narrow > 4 * known(op, x, formats)[1].allowed).all()
        assert np.isfinite(known(op, np.zeros((1, 3000)), formats, Contract(accumulator="bf16"))[1].allowed).all()


def test_log_softmax_of_f16_may_and_must_overflow() -> None:
    x = np.array([[60000.0, -60000.0, 0.0]])
    formats, out = {"x": "f16", "out": "f16"}, Format.of("f16")
    truth, allowed = known("log_softmax", x, formats)
    contract = resolved(Contract(), formats)
    assert (
        judge(out.encode(np.array([[0.0, -np.inf, -60000.0]])), out, truth, allowed, contract).outcome is Outcome.PASS
    )
    wrong = judge(out.encode(np.array([[0.0, -65504.0, -60000.0]])), out, truth, allowed, contract)
    assert wrong.outcome is Outcome.WRONG_CLASS


def test_budget_says_how_many_numbers_a_row_has() -> None:
    assert [known(op, np.zeros((2, n)))[1].terms for op in OPS for n in (1, 9)] == [1, 9] * len(OPS)


def test_special_rows_leave_the_others_their_budget() -> None:
    x = np.array([[0.0, 1.0, 2.0], [np.nan, 1.0, 2.0], [np.inf, 1.0, 2.0], [-np.inf] * 3, [-np.inf, 1.0, 2.0]])
    for op in OPS:
        allowed = known(op, x)[1].allowed
        assert np.isfinite(allowed).all()
        assert (allowed >= 0).all()
        np.testing.assert_array_equal(np.atleast_1d(allowed)[0], known(op, x[:1])[1].allowed[0])
    tied = known("softmax", x[4:])[1].allowed[0]
    np.testing.assert_allclose(tied[1:], known("softmax", x[4:, 1:])[1].allowed[0], rtol=0.5)


def test_contracts_that_give_no_budget_are_refused() -> None:
    operands = {"x": Operand.of(np.zeros((1, 2)), "f32")}
    truth = softmax_truth(np.zeros((1, 2)))
    for contract, text in (
        (Contract(), "accumulator is None"),
        (Contract(accumulator="bf16"), "bf16 does not hold operands in f32"),
        (Contract(accumulator="i32"), "i32 does not hold operands in f32"),
    ):
        with pytest.raises(SoftmaxBudgetError, match=text):
            budget("softmax", contract, F32, operands, truth)
    pairwise = replace(Accumulator.of("f32"), order="pairwise")
    n = np.zeros((1, 1024))
    assert (
        known("softmax", n, contract=Contract(accumulator=pairwise))[1].allowed[0, 0]
        < 0.1 * known("softmax", n)[1].allowed[0, 0]
    )
