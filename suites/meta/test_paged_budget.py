"""The budget of paged attention: what dequantization adds, by its formula in plain Python, and budgets joined."""

from collections.abc import Iterator
from dataclasses import replace
from math import exp, expm1, inf
from typing import Any

import numpy as np
import pytest

from lastbit import paged_budget
from lastbit.attention_budget import budget as attention_budget
from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP
from lastbit.contract import Contract
from lastbit.paged_budget import _dequantizing, _joined, _perturbation, budget
from lastbit.references.attention import AttentionTruth, Rows, attention_truth, blocks
from lastbit.references.attention_data import operands, problem_of
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format

CONTRACT = Contract(accumulator="f32")
FORMATS = dict.fromkeys(("q", "k", "v", "out"), "f32")
CACHE = dict.fromkeys(("q", "k_cache", "v_cache", "out"), "f32")


def posed(recipe: str, seed: int, **sizes: int) -> tuple[Problem, AttentionTruth]:
    given = operands(recipe, FORMATS, {"hq": 4, "hkv": 2, "lq": 3, "lk": 7, "d": 5, "dv": 3} | sizes, seed)
    problem = problem_of(given, {})
    return problem, attention_truth(problem)


def moved_by_the_book(problem: Problem, head: int, row: int, column: int, unit: float) -> tuple[float, float]:
    """How far one element moves when keys and values are off by `unit`, and the largest move of a logit of its head."""
    k, v = (x[0, problem.key_head(head)] for x in (problem.k, problem.v))
    sizes = abs(problem.factor) * np.abs(problem.q[0, head]) @ np.abs(k).T
    most = unit * float(sizes.max())
    logits = problem.factor * (k @ problem.q[0, head, row])
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    out = float(weights @ v[:, column])
    far = sum(p * expm1(unit * w) * abs(x - out) for p, w, x in zip(weights, sizes[row], v[:, column], strict=True))
    size = float(weights @ np.abs(v[:, column]))
    return far * exp(most) + unit * exp(2 * most) * size, most


@pytest.mark.parametrize("recipe", ["normal", "sharp"])
@pytest.mark.parametrize("unit", [2.0**-5, 2.0**-24])
def test_dequantization_moves_results_by_the_documented_formula(
    recipe: str, unit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged_budget, "DEQUANTIZED", unit)
    problem, truth = posed(recipe, 1)
    moved, growth = _perturbation(problem, truth)
    most = 0.0
    for head, row, column in np.ndindex(4, 3, 3):
        want, largest = moved_by_the_book(problem, head, row, column, unit)
        assert moved[0, head, row, column] == pytest.approx(want, rel=1e-6, abs=0)
        most = max(most, largest)
    assert growth == pytest.approx(exp(16 * (most + unit)), rel=1e-7)


def test_what_the_truth_doubts_of_logits_and_weights_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits known to 1/4, and weights to a factor of 1.5, which move a result as larger weights do."""
    problem, truth = posed("normal", 1)

    def perturbed(**changes: Any) -> tuple[Any, float]:
        def changed(problem: Problem) -> Iterator[Rows]:
            for rows in blocks(problem):
                added = {name: change(getattr(rows, name)) for name, change in changes.items()}
                yield replace(rows, **added)

        monkeypatch.setattr(paged_budget, "blocks", changed)
        return _perturbation(problem, truth)

    def certain(_: Any) -> Any:
        return 0.0

    units = paged_budget.DEQUANTIZED
    doubted, more = (perturbed(doubt=lambda x: 1.5 * x)[0], perturbed(weights=lambda x: 1.5 * x)[0])
    assert doubted == pytest.approx(more, rel=1e-12, abs=0)
    known, growth = perturbed(products=certain, error=lambda x: x * 0 + 0.25)
    same, _ = perturbed(products=lambda x: x * 0 + 0.25 / units, error=certain)
    assert known == pytest.approx(same, rel=1e-12, abs=0)
    assert growth == pytest.approx(exp(16 * (0.25 + units)), rel=1e-12)


def test_dequantization_is_off_by_half_an_ulp_of_f32() -> None:
    assert paged_budget.DEQUANTIZED == 2.0**-24


def test_no_keys_move_nothing() -> None:
    problem, truth = posed("normal", 1, lk=0)
    moved, growth = _perturbation(problem, truth)
    assert not moved.any()
    assert growth == pytest.approx(exp(16 * 2.0**-24), rel=1e-12)


@pytest.mark.parametrize("out", ["f32", "bf16"])
def test_budget_is_attentions_grown_and_twice_what_dequantization_moves(out: str) -> None:
    problem, truth = posed("sharp", 2)
    formats = FORMATS | {"out": out}
    base, _ = attention_budget(CONTRACT, formats, problem, truth)
    moved, growth = _perturbation(problem, truth)
    found = _dequantizing(base, CONTRACT, formats, problem, truth)
    before = base.allowed if out == "f32" else base.before
    assert before is not None
    slack = (before * growth + 2 * moved) * ROUND_UP
    if out == "f32":
        assert found.before is None
        assert found.allowed == pytest.approx(slack, rel=2.0**-47, abs=0)
    else:
        half = Format.of(out).ulp(np.abs(truth.out.hi) + slack) / 2
        assert found.before == pytest.approx(slack, rel=2.0**-47, abs=0)
        assert found.allowed == pytest.approx(slack + half, rel=1e-12, abs=0)
    assert found.overflow_slack is None
    added = " + dequantization: u_f32*(sum_j P_j scale*|q||K_j|*|V_j - O| + sum_j P_j |V_j|)"
    assert (found.formula, found.source) == (base.formula + added, base.source + "; kv_cache.md 3")
    wide = replace(base, overflow_slack=np.full(base.allowed.shape, 0.5))
    window = _dequantizing(wide, CONTRACT, formats, problem, truth).overflow_slack
    assert window == pytest.approx(slack + 0.5, rel=1e-12)


def test_only_scales_that_are_no_powers_of_two_cost_a_rounding() -> None:
    several = [posed("normal", seed, lk=lk) for seed, lk in ((1, 5), (2, 7))]
    problems, truths = [p for p, _ in several], [t for _, t in several]
    plain, wider = (budget(CONTRACT, CACHE, problems, truths, quantized=quantized) for quantized in (False, True))
    for row, (problem, truth) in enumerate(several):
        single, _ = attention_budget(CONTRACT, FORMATS, problem, truth)
        both = _dequantizing(single, CONTRACT, FORMATS, problem, truth)
        assert np.array_equal(plain.allowed[row], single.allowed[0])
        assert np.array_equal(wider.allowed[row], both.allowed[0])
    assert plain.allowed.shape == (2, 4, 3, 3)
    mixed = CACHE | {"q": "bf16", "v_cache": "f16", "k_cache": "bf16"}
    flush = replace(CONTRACT, subnormals="flush", probabilities="f16")
    found = budget(flush, mixed, problems[:1], truths[:1], quantized=False)
    named = {"q": "bf16", "k": "bf16", "v": "f16", "out": "f32"}
    assert np.array_equal(found.allowed, attention_budget(flush, named, *several[0])[0].allowed)


def of(size: float, **fields: Any) -> Budget:
    return Budget(**{"allowed": np.full((1, 2), size), "formula": f"f{size}", "source": "s", "sigma": None, **fields})


def test_budgets_of_sequences_are_joined_along_the_batch() -> None:
    shapes: list[tuple[int, ...]] = [(1, 2), (1, 2)]
    ones, twos = np.ones((1, 2)), np.full((1, 2), 2.0)
    found = _joined([of(1.0), of(3.0), of(2.0)], [*shapes, (1, 2)])
    assert found.allowed.tolist() == [[1, 1], [3, 3], [2, 2]]
    assert (found.formula, found.before, found.overflow_slack, found.sigma) == ("f3.0", None, None, None)
    assert found.unstatistical == "sequences of different lengths have no common scale"
    half = _joined([of(1.0, before=ones), of(3.0)], shapes)
    assert half.before is None
    both = _joined([of(1.0, before=ones), of(3.0, before=twos)], shapes)
    assert both.before is not None
    assert both.before.tolist() == [[1, 1], [2, 2]]
    window = _joined([of(1.0, overflow_slack=ones), of(3.0)], shapes)
    assert window.overflow_slack is not None
    assert window.overflow_slack.tolist() == [[1, 1], [0, 0]]
    scaled = _joined([of(1.0, sigma=ones), of(3.0, sigma=ones)], shapes)
    assert scaled.sigma is None
    assert _joined([of(0.125), of(0.25)], shapes).formula == "f0.25"
    shared = _joined([of(1.0, allowed=np.array(inf)), of(3.0)], shapes)
    assert shared.allowed.tolist() == [[inf, inf], [3, 3]]
