"""The numbers of the statistical verdict against section 10 of docs/budgets.md, written again in plain Python."""

from dataclasses import replace
from fractions import Fraction
from math import frexp, inf, isfinite, log, nan, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit import statistics
from lastbit.budget import Budget
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.statistics import FEWEST, Statistic, judge_statistics
from lastbit.verdict import Outcome

Array = NDArray[np.float64]
#: Share of the false alarm that each of the three statistics has.
EACH = 1e-9 / 3


def elements(y: Array, fmt: Format, truth: Truth, budget: Budget, stride: int = 1) -> list[int]:
    """Finite, not zero, unable to overflow, and the first of their significand."""
    seen, found = set(), []
    slack = budget.overflow_slack
    for i in range(0, truth.hi.size, stride):
        x = float(truth.hi.flat[i])
        room = 0.0 if slack is None else float(np.broadcast_to(slack, truth.hi.shape).flat[i])
        end = fmt.max if not fmt.signed else min(fmt.max, -fmt.lowest)
        if not isfinite(x) or not isfinite(y.flat[i]) or x == 0 or (slack is not None and abs(x) + room >= end):
            continue
        if abs(frexp(x)[0]) not in seen:
            seen.add(abs(frexp(x)[0]))
            found.append(i)
    return found


def ratios(y: Array, fmt: Format, truth: Truth, budget: Budget, chosen: list[int]) -> dict[str, float]:
    """Each statistic in units of its bound."""

    def at(array: Array | None, i: int) -> Fraction:
        return Fraction(float(np.broadcast_to(array, truth.hi.shape).flat[i]))  # type: ignore[arg-type]

    def rounded(x: Fraction) -> Fraction:
        return Fraction(fmt.round_rational(x, overflow="saturate"))

    lean, scale, unsure, squares, signed = [], [], [], 0.0, 0.0
    for i in chosen:
        x, r, got = at(truth.hi, i) + at(truth.lo, i), at(truth.radius, i), Fraction(float(y.flat[i]))
        error = got - x
        squares += float(max(abs(error) - r, Fraction(0)) / at(budget.sigma, i)) ** 2
        if budget.before is None:
            lean.append(error)
            scale.append(at(budget.sigma, i))
            unsure.append(r)
        else:
            before = at(budget.before, i)
            lean.append(got - rounded(x))
            scale.append(rounded(x + before) - rounded(x - before))
            unsure.append(rounded(x + r) - rounded(x - r))
        signed += float(lean[-1]) * (1 if truth.hi.flat[i] > 0 else -1)
    bound = sqrt(2 * log(2 / EACH)) * sqrt(sum(float(c) ** 2 for c in scale)) + float(sum(unsure))
    n, t = len(chosen), log(1 / EACH)
    return {
        "signed bias": abs(signed) / bound,
        "bias": abs(float(sum(lean))) / bound,
        "mean square": squares / (n + 2 * sqrt(n * t) + 2 * t),
    }


def drawn(name: str, seed: int, size: int = 150) -> tuple[Format, Array, Truth, Budget]:
    """Truths with low parts and radii, results a few steps away, budgets that vary."""
    fmt, rng = Format.of(name), np.random.default_rng(seed)
    hi = rng.standard_normal(size) * 2.0 ** rng.integers(-3, 3, size)
    step = fmt.ulp(hi)
    truth = Truth(hi, np.spacing(hi) / 4, step * rng.choice([0.0, 0.3], size), np.abs(hi), "given")
    y = fmt.round(hi + step * rng.uniform(-2, 2.5, size))
    budget = Budget(
        3 * step, "", "", sigma=step * rng.choice([0.5, 0.7], size), before=step * rng.choice([0.1, 0.6], size)
    )
    return fmt, y, truth, budget


@pytest.mark.parametrize("name", ["bf16", "f16", "e5m2", "f64"])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("special", [True, False])
def test_statistics_are_those_of_the_formulas(name: str, before: bool, special: bool) -> None:
    for seed in range(4):
        fmt, y, truth, budget = drawn(name, seed)
        if not before:
            budget = replace(budget, before=None)
        if special:
            truth.hi[[0, 1, 2, 3]], truth.lo[[0, 1, 2, 3]] = [0.0, nan, inf, -inf], 0.0
            y[[5, 6]] = [nan, inf]
            truth.hi[40:60], truth.lo[40:60] = -2 * truth.hi[10:30], 0.0
            slack = np.zeros(150)
            slack[[7, 8, 9]] = [inf, fmt.max - abs(truth.hi[8]), (fmt.max - abs(truth.hi[9])) * 0.99]
            budget = replace(budget, overflow_slack=slack)
        chosen = elements(y, fmt, truth, budget)
        assert len(chosen) >= FEWEST
        verdict = judge_statistics(fmt.encode(y).reshape(10, 15), fmt, shaped(truth), shaped_budget(budget))
        want = ratios(y, fmt, truth, budget, chosen)
        assert {key: float(text.split()[0]) for key, text in verdict.notes.items()} == pytest.approx(want, rel=2e-3)
        assert verdict.measured == pytest.approx(max(want.values()), rel=1e-9)
        assert verdict.outcome is (Outcome.OVER_BUDGET if max(want.values()) > 1 else Outcome.PASS)
        assert verdict.allowed == 1.0
        assert (verdict.reason == "") is (verdict.outcome is Outcome.PASS)
        worst = max(want, key=lambda key: want[key])
        formula = {"signed bias": "|sum error*sign(x)| <= 6.71*sqrt", "bias": "|sum error| <= 6.71*sqrt"}
        assert verdict.formula.startswith(formula.get(worst, "sum (error/sigma)^2 <= n + 2*sqrt(21.8*n) + 43.6 ["))
        assert verdict.stats is not None
        assert verdict.stats.n == 150


def shaped(truth: Truth) -> Truth:
    return replace(truth, **{name: getattr(truth, name).reshape(10, 15) for name in ("hi", "lo", "radius", "weight")})


def shaped_budget(budget: Budget) -> Budget:
    arrays = {name: getattr(budget, name) for name in ("allowed", "sigma", "before", "overflow_slack")}
    return replace(budget, **{name: None if x is None else x.reshape(10, 15) for name, x in arrays.items()})


def test_a_large_output_is_looked_at_in_an_odd_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, stride in ((150, 1), (149, 3), (80, 3), (75, 3), (50, 3), (40, 5)):
        monkeypatch.setattr(statistics, "SAMPLE", most)
        monkeypatch.setattr(statistics, "FEWEST", 8)
        fmt, y, truth, budget = drawn("f16", 9)
        want = ratios(y, fmt, truth, budget, elements(y, fmt, truth, budget, stride))
        assert judge_statistics(fmt.encode(y), fmt, truth, budget).measured == pytest.approx(
            max(want.values()), rel=1e-9
        )


def test_sixty_four_independent_elements_are_enough() -> None:
    for size, tested in ((63, False), (64, True)):
        fmt, y, truth, budget = drawn("f16", 3, size)
        verdict = judge_statistics(fmt.encode(y), fmt, truth, budget)
        assert (verdict.outcome is not Outcome.NOT_TESTED) is tested
        if not tested:
            assert verdict.reason == "63 elements are independent of one another, fewer than 64"
    empty = Truth(*[np.zeros((0, 3))] * 4, "given")
    none = judge_statistics(fmt.encode(np.zeros((0, 3))), fmt, empty, Budget(np.zeros(1), "", "", sigma=np.ones(1)))
    assert none.outcome is Outcome.NOT_TESTED


def test_an_unsigned_output_has_one_end() -> None:
    fmt = Format.of("u8")
    hi = np.arange(101.0, 231.0, 2) + 0.25
    truth = Truth(hi, 0 * hi, 0 * hi, hi, "given")
    budget = Budget(np.ones(1), "", "", sigma=np.full(1, 0.5), overflow_slack=np.zeros(1))
    assert judge_statistics(fmt.encode(np.round(hi)), fmt, truth, budget).outcome is Outcome.PASS
    assert (
        judge_statistics(
            fmt.encode(np.round(hi)), fmt, truth, replace(budget, overflow_slack=np.full(1, 155.0))
        ).outcome
        is Outcome.NOT_TESTED
    )


def test_a_signed_output_ends_at_its_nearer_end() -> None:
    """i8 holds -128 and not 128."""
    fmt = Format.of("i8")
    hi = np.concatenate([np.arange(1.0, 127.0, 2), -np.arange(1.5, 127.0, 2)]) / 1.03125
    truth = Truth(hi, 0 * hi, 0 * hi, np.abs(hi), "given")
    budget = Budget(np.ones(1), "", "", sigma=np.full(1, 0.5))
    for reach, outcome in ((126.5, Outcome.PASS), (127.5, Outcome.NOT_TESTED)):
        bounded = replace(budget, overflow_slack=reach - np.abs(hi))
        assert judge_statistics(fmt.encode(np.round(hi)), fmt, truth, bounded).outcome is outcome


def test_a_budget_without_a_scale_says_why_nothing_is_tested() -> None:
    fmt, y, truth, budget = drawn("f16", 1)
    verdict = judge_statistics(fmt.encode(y), fmt, truth, replace(budget, sigma=None, unstatistical="it truncates"))
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_TESTED, "no statistical budget: it truncates")


def test_the_direction_of_a_bias_is_told() -> None:
    fmt, rng = Format.of("f32"), np.random.default_rng(4)
    x = rng.uniform(1, 2, 400) * rng.choice([1.0, 1.0, -1.0], 400)
    truth = Truth(x, 0 * x, 0 * x, np.abs(x), "given")
    step = fmt.ulp(x)
    for error, said, other in (
        (step * np.sign(x), "away from zero", "towards"), (-step * np.sign(x), "towards zero", "away"),
        (step, "lean upwards", "downwards"), (-step, "lean downwards", "upwards"),
    ):  # fmt: skip
        verdict = judge_statistics(fmt.encode(fmt.round(x) + error), fmt, truth, Budget(step, "", "", sigma=step))
        lines = [line for line in verdict.reason.splitlines() if "lean" in line]
        assert any(said in line and "their sum over 400 elements is " in line for line in lines)
        assert not any(other in line for line in lines)


def test_a_mean_square_is_told_as_a_root_beside_the_one_allowed() -> None:
    fmt, rng = Format.of("f32"), np.random.default_rng(5)
    x = rng.uniform(1, 2, 900)
    truth = Truth(x, 0 * x, 0 * x, x, "given")
    step = fmt.ulp(x)
    y = fmt.round(x) + 4 * step * rng.choice([1.0, -1.0], 900)
    verdict = judge_statistics(fmt.encode(y), fmt, truth, Budget(step, "", "", sigma=step))
    allowed = sqrt((900 + 2 * sqrt(900 * log(1 / EACH)) + 2 * log(1 / EACH)) / 900)
    assert "root mean square 4.0" in verdict.reason
    assert f"of the scale over 900 elements, allowed {allowed:.4g} (sum (error/sigma)^2" in verdict.reason


def test_a_bound_of_nothing_is_broken_by_anything_and_kept_by_nothing() -> None:
    assert Statistic("", 0.0, 0.0, "").ratio == 0
    assert Statistic("", 1e-300, 0.0, "").ratio > 1e7
    assert isfinite(Statistic("", 1e300, 0.0, "").ratio)
    assert Statistic("", -3.0, 2.0, "").ratio == 1.5
