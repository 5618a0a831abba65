"""Statistics of errors: honest roundings are never flagged, one-sided ones are."""

from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.gemm_budget import budget
from lastbit.references import gemm
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.statistics import FALSE_ALARM, FEWEST, TESTS, biases, judge_statistics, mean_square
from lastbit.verdict import Outcome, Verdict

Array = NDArray[np.float64]
F32 = Accumulator.of("f32")
SEEDS = range(10)


def case(
    fmt: str, out: str, seed: int, kind: str, k: int = 96, size: int = 48, accumulator: str = "f32"
) -> tuple[Operand, Operand, Truth, Budget]:
    rng = np.random.default_rng(seed)
    draw: Callable[[tuple[int, int]], Array] = rng.standard_normal if kind == "normal" else rng.random
    a, b = (Operand.of(draw(shape), fmt) for shape in ((size, k), (k, size)))
    truth = gemm.truth(a.values, b.values)
    contract = Contract(accumulator=accumulator)
    return a, b, truth, budget(contract, {"a": fmt, "b": fmt, "out": out}, {"a": a, "b": b}, truth)


def in_f32(a: Array, b: Array, order: str) -> Array:
    """The product in f32: NumPy's own, a sequential chain, pairwise, or einsum's order."""
    if order in ("sequential", "pairwise"):
        return replace(F32, order=order, fma=False).matmul(a, b)
    x, y = a.astype(np.float32), b.astype(np.float32)
    return (np.einsum("mk,kn->mn", x, y) if order == "einsum" else x @ y).astype(np.float64)


@pytest.mark.parametrize("kind", ["normal", "same sign"])
@pytest.mark.parametrize("order", ["sequential", "pairwise", "einsum", "numpy"])
@pytest.mark.parametrize(
    ("fmt", "out"), [("f16", "f16"), ("bf16", "bf16"), ("bf16", "f32"), ("f32", "f32"), ("e4m3fn", "bf16")]
)
def test_honest_sums_are_never_flagged(fmt: str, out: str, order: str, kind: str) -> None:
    for seed in SEEDS:
        a, b, truth, allowed = case(fmt, out, seed, kind)
        y = Format.of(out).encode(in_f32(a.values, b.values, order))
        verdict = judge_statistics(y, out, truth, allowed)
        assert verdict.outcome is Outcome.PASS, verdict.reason
        assert verdict.measured is not None
        assert verdict.measured < 0.8  # far from the bound, as 1e-9 asks


@pytest.mark.parametrize(("fmt", "out"), [("f64", "f64"), ("f16", "f16")])
def test_honest_sums_in_other_accumulators_are_never_flagged(fmt: str, out: str) -> None:
    for seed in SEEDS:
        a, b, truth, allowed = case(fmt, out, seed, "same sign", 64, accumulator=fmt)
        y = replace(Accumulator.of(fmt), order="sequential").matmul(a.values, b.values)
        assert judge_statistics(Format.of(out).encode(y), out, truth, allowed).outcome is Outcome.PASS


@pytest.mark.parametrize("kind", ["normal", "same sign"])
@pytest.mark.parametrize("k", [1, 2, 5, 16])
@pytest.mark.parametrize("out", ["e5m2", "e4m3fn", "f16"])
def test_truths_that_gather_beside_ties_are_no_bias(out: str, k: int, kind: str) -> None:
    """Sums of 16 products of U(0,1) are 4 +- 0.9, a few steps of e5m2: the right roundings themselves lean."""
    for fmt in ("bf16", "f32", "e4m3fn"):
        for seed in range(3):
            a, b, truth, allowed = case(fmt, out, seed, kind, k, 200)
            y = Format.of(out).encode(in_f32(a.values, b.values, "numpy"))
            verdict = judge_statistics(y, out, truth, allowed)
            assert not verdict.outcome.failed, verdict.reason
            assert verdict.outcome is Outcome.NOT_TESTED or ratio(verdict, "signed bias") < 0.8


def flagged(y: Array, out: str, truth: Truth, allowed: Budget, rounding: str = "nearest-even") -> Verdict:
    verdict = judge_statistics(Format.of(out).encode(y, rounding=rounding), out, truth, allowed)
    assert verdict.outcome is Outcome.OVER_BUDGET, verdict.notes
    return verdict


@pytest.mark.parametrize("kind", ["normal", "same sign"])
@pytest.mark.parametrize("out", ["bf16", "f16", "e4m3fn"])
def test_truncated_output_leans_towards_zero(out: str, kind: str) -> None:
    a, b, truth, allowed = case("bf16", out, 1, kind)
    assert "towards zero" in flagged(in_f32(a.values, b.values, "numpy"), out, truth, allowed, "toward-zero").reason


def test_output_rounded_up_leans_upwards() -> None:
    a, b, truth, allowed = case("bf16", "bf16", 2, "normal")
    reason = flagged(in_f32(a.values, b.values, "numpy"), "bf16", truth, allowed, "up").reason
    assert "lean upwards" in reason
    assert "zero" not in reason.splitlines()[0]


@pytest.mark.parametrize("used", [
    replace(F32, name="f32 cut", engine="fused", fraction_bits=24, rounding="toward-zero", order="sequential"),
    Accumulator.of("v100", "f16"),
    Accumulator.of("a100", "f16"),
], ids=lambda model: model.name)  # fmt: skip
def test_truncating_accumulator_under_an_f32_contract_is_flagged(used: Accumulator) -> None:
    """Each is within the hard bound of an f32 sum, or nearly, and leans towards zero on same-sign data."""
    a, b, truth, allowed = case("f16", "f32", 3, "same sign", 512)
    y = used.matmul(a.values, b.values)
    assert "towards zero" in flagged(y, "f32", truth, allowed).reason


def test_rounding_half_away_is_flagged_where_every_second_result_is_a_tie() -> None:
    fmt = Format.of("bf16")
    x = np.arange(256.0, 512.0)  # nine bits, of which bf16 keeps eight
    truth = Truth(x, 0 * x, 0 * x, x, "given")
    allowed = Budget(fmt.ulp(x) / 2, "", "", sigma=fmt.ulp(x) / 2)
    assert judge_statistics(fmt.encode(x), fmt, truth, allowed).outcome is Outcome.PASS
    away = judge_statistics(fmt.encode(x, rounding="nearest-away"), fmt, truth, allowed)
    assert away.outcome is Outcome.OVER_BUDGET
    assert "away from zero" in away.reason


def ratio(verdict: Verdict, name: str) -> float:
    return float(verdict.notes[name].split()[0])


def test_noise_without_bias_is_flagged_by_its_mean_square() -> None:
    _, _, truth, allowed = case("bf16", "bf16", 5, "normal", size=96)
    noise = np.random.default_rng(6).choice([-1.0, 1.0], truth.hi.shape) * Format.of("bf16").ulp(truth.hi)
    verdict = flagged(truth.hi + noise, "bf16", truth, allowed)
    assert verdict.reason.startswith("root mean square")
    assert ratio(verdict, "bias") < 1


def test_false_alarm_of_the_three_bounds_is_what_they_say() -> None:
    """Random signs, the widest errors of scale 1, and normal ones against bounds for 1e-2: close, and not broken."""
    rng = np.random.default_rng(7)
    n, trials, each = 400, 4000, 1e-2
    error = rng.choice([-1.0, 1.0], (trials, n))
    linear, t = sqrt(2 * log(2 / each) * n), log(1 / each)
    assert np.mean(np.abs(error.sum(axis=1)) > linear) <= each
    assert np.mean(np.abs(error.sum(axis=1)) > linear / 2) > each  # within a factor two of the best bound
    normal = rng.standard_normal((trials, n))
    assert np.mean((normal**2).sum(axis=1) > n + 2 * sqrt(n * t) + 2 * t) <= each
    assert np.mean((normal**2).sum(axis=1) > n + sqrt(n * t)) > each


def test_bounds_are_those_of_the_stated_false_alarm() -> None:
    one = np.ones(1000)
    (signed, plain), square = biases(0 * one, one, one, 0 * one), mean_square(0 * one, one, 0 * one)
    tail = 2 * np.exp(-(signed.bound**2) / (2 * 1000))
    assert TESTS * tail == pytest.approx(FALSE_ALARM)
    assert plain.bound == signed.bound
    t = log(TESTS / FALSE_ALARM)
    assert square.bound == pytest.approx(1000 + 2 * sqrt(1000 * t) + 2 * t)


def test_radius_of_the_truth_excuses_an_error_of_its_size() -> None:
    a, b, truth, allowed = case("f32", "f32", 8, "same sign")
    y = Format.of("f32").encode(in_f32(a.values, b.values, "numpy"))
    shifted = replace(truth, hi=truth.hi + allowed.allowed, radius=allowed.allowed)
    assert judge_statistics(y, "f32", shifted, allowed).outcome is Outcome.PASS
    sure = replace(shifted, radius=truth.radius)
    assert judge_statistics(y, "f32", sure, allowed).outcome is Outcome.OVER_BUDGET


def test_radius_of_the_truth_excuses_a_moved_rounding() -> None:
    """The budget of an output that is rounded holds the radius: within it a tie may be on either side."""
    a, b, truth, _ = case("bf16", "bf16", 8, "normal")
    y = Format.of("bf16").encode(in_f32(a.values, b.values, "numpy"))
    step = Format.of("bf16").ulp(truth.hi)
    for radius, outcome in ((step, Outcome.PASS), (truth.radius, Outcome.OVER_BUDGET)):
        shifted = replace(truth, hi=truth.hi + step, radius=radius)
        operands = {"a": a, "b": b}
        allowed = budget(Contract(accumulator="f32"), {"a": "bf16", "b": "bf16", "out": "bf16"}, operands, shifted)
        assert judge_statistics(y, "bf16", shifted, allowed).outcome is outcome


def test_repeated_rows_do_not_count_twice() -> None:
    """Equal, negated and doubled rows share their roundings: one odd row, repeated, is no evidence of bias."""
    fmt = Format.of("bf16")
    rng = np.random.default_rng(9)
    row = (128.0 + np.arange(80)) * 2.0 ** rng.integers(-9, 0, 80) * (1 + 0.45 * 2.0**-8)
    x = np.concatenate([sign * scale * row for sign in (1, -1) for scale in (1.0, 2.0, 0.5)] * 40).reshape(240, 80)
    truth = Truth(x, 0 * x, 0 * x, np.abs(x), "given")
    allowed = Budget(fmt.ulp(x) / 2, "", "", sigma=fmt.ulp(x) / 2)
    verdict = judge_statistics(fmt.encode(x), fmt, truth, allowed)
    assert verdict.outcome is Outcome.PASS
    assert ratio(verdict, "signed bias") > 0.5  # 80 elements that agree are odd, but not one in 1e9


@pytest.mark.parametrize(("contract", "reason"), [
    (Contract(accumulator=Accumulator.of("a100", "f16")), "truncates"),
    (Contract(accumulator="f32", output_rounding="toward-zero"), "one sign"),
    (Contract(accumulator="f32", input_rounding="bf16"), "shared by a whole row"),
    (Contract(accumulator="f32", subnormals="flush"), "flushing"),
    (Contract(accumulator="f16"), "stagnate"),
])  # fmt: skip
def test_what_is_not_random_is_not_tested(contract: Contract, reason: str) -> None:
    a, b, truth, _ = case("f16", "f16", 10, "normal", 512)
    allowed = budget(contract, {"a": "f16", "b": "f16", "out": "f16"}, {"a": a, "b": b}, truth)
    verdict = judge_statistics(Format.of("f16").encode(truth.hi), "f16", truth, allowed)
    assert verdict.outcome is Outcome.NOT_TESTED
    assert reason in verdict.reason


def test_too_few_elements_are_not_tested() -> None:
    _, _, truth, allowed = case("f16", "f16", 11, "normal", size=7)
    verdict = judge_statistics(Format.of("f16").encode(truth.hi), "f16", truth, allowed)
    assert verdict.outcome is Outcome.NOT_TESTED
    assert f"49 elements are independent of one another, fewer than {FEWEST}" in verdict.reason


def test_integer_results_are_not_tested() -> None:
    a, b = (Operand.of(np.random.default_rng(12).integers(-9, 9, (12, 12)).astype(float), "i8") for _ in range(2))
    truth = gemm.truth(a.values, b.values)
    allowed = budget(Contract(accumulator="i32"), {"a": "i8", "b": "i8", "out": "i32"}, {"a": a, "b": b}, truth)
    assert judge_statistics(Format.of("i32").encode(truth.hi), "i32", truth, allowed).outcome is Outcome.NOT_TESTED


def test_elements_that_may_overflow_on_their_way_do_not_count() -> None:
    """An f16 sum that saturated at a prefix is excused by the judge, and no evidence of bias."""
    _, _, truth, allowed = case("f16", "f16", 13, "normal")
    y = truth.hi.copy()
    y[:8] = np.copysign(65504.0, truth.hi[:8])
    slack = np.zeros(y.shape)
    slack[:8] = np.inf
    excused = replace(allowed, overflow_slack=slack)
    assert judge_statistics(Format.of("f16").encode(y), "f16", truth, excused).outcome is Outcome.PASS
    assert judge_statistics(Format.of("f16").encode(y), "f16", truth, allowed).outcome is Outcome.OVER_BUDGET
