"""What a contract allows paged attention to be wrong by: attention's budget, and the roundings of dequantization."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_budget import budget as attention_budget
from lastbit.attention_terms import working
from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, round_output
from lastbit.budget_terms import Terms
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import AttentionTruth, blocks
from lastbit.references.formats import Format

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.attention_mask import Problem

Floats = NDArray[np.float64]

#: Unit roundoff of the product of a code and its scale, or of a logit or a result and the scale.
DEQUANTIZED = 2.0**-24


def budget(
    contract: "Contract",
    formats: Mapping[str, str],
    problems: "Sequence[Problem]",
    truths: Sequence[AttentionTruth],
    *,
    quantized: bool,
) -> Budget:
    """The largest errors of the results of all sequences, (b, hq, lq, dv), that `contract` (resolved) allows.

    `problems` hold the cache's dequantized values. `quantized`: these are a code times a scale that is no power of two,
    so that each key and value may be rounded once, in f32, when it is dequantized. docs/kv_cache.md 3.
    """
    named = {"q": formats["q"], "k": formats["k_cache"], "v": formats["v_cache"], "out": formats["out"]}
    parts = []
    for problem, truth in zip(problems, truths, strict=True):
        part, _ = attention_budget(contract, named, problem, truth)
        parts.append(_dequantizing(part, contract, named, problem, truth) if quantized else part)
    return _joined(parts, [truth.out.hi.shape for truth in truths])


def _dequantizing(
    base: Budget, contract: "Contract", formats: Mapping[str, str], problem: "Problem", truth: AttentionTruth
) -> Budget:
    """The budget of one sequence with the roundings of its keys and values."""
    extra, growth = _perturbation(problem, truth)
    slack = base.allowed if base.before is None else base.before
    # Twice, for the kernel's own errors (at most 100 %) of what these roundings move.
    terms = Terms(slack * growth + 2 * extra, truth.out.weight, None)
    slack = terms.error * ROUND_UP
    fmt = Format.of(formats["out"])
    allowed, _, before = round_output(
        terms, slack, contract, Accumulator.of(working(contract, formats).name), fmt, truth.out
    )
    window = None if base.overflow_slack is None else base.overflow_slack + slack
    formula = f"{base.formula} + dequantization: u_f32*(sum_j P_j scale*|q||K_j|*|V_j - O| + sum_j P_j |V_j|)"
    source = f"{base.source}; kv_cache.md 3"
    return replace(base, allowed=allowed, before=before, overflow_slack=window, formula=formula, source=source)


def _perturbation(problem: "Problem", truth: AttentionTruth) -> tuple[Floats, float]:
    """How far keys and values that are off by DEQUANTIZED move the exact result, and the factor for other errors."""
    moved, most = np.zeros(problem.shape), 0.0
    for part in blocks(problem):
        values = problem.v[part.batch, problem.key_head(part.head)]
        place = (part.batch, part.head, part.rows)
        away = np.abs(values[None] - truth.out.hi[place][:, None, :])
        shift = DEQUANTIZED * part.products + part.error
        lean = part.weights * part.doubt * np.expm1(shift)
        largest = float(shift.max(initial=0.0))
        moved[place] = np.einsum("mn,mnd->md", lean, away) * np.exp(largest)
        moved[place] += DEQUANTIZED * np.exp(2 * largest) * truth.out.weight[place]
        most = max(most, largest)
    return moved, float(np.exp(16 * (most + DEQUANTIZED)))


def _joined(parts: list[Budget], shapes: list[tuple[int, ...]]) -> Budget:
    """The budgets of single sequences as that of the batch."""

    def whole(name: str) -> Floats | None:
        arrays = [getattr(part, name) for part in parts]
        if all(array is None for array in arrays):
            return None
        empty = 0.0 if name == "overflow_slack" else np.inf
        filled = [empty if array is None else array for array in arrays]
        return np.concatenate([np.broadcast_to(array, shape) for array, shape in zip(filled, shapes, strict=True)])

    longest = max(parts, key=lambda part: float(np.max(part.allowed, initial=0.0)))
    allowed = whole("allowed")
    assert allowed is not None
    before = None if any(part.before is None for part in parts) else whole("before")
    return replace(
        longest,
        allowed=allowed,
        before=before,
        overflow_slack=whole("overflow_slack"),
        sigma=None,
        terms=max(part.terms for part in parts),
        unstatistical="sequences of different lengths have no common scale",
    )
