"""What a contract allows the gradients of attention to be wrong by, element by element: dQ, dK and dV."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_gradient_terms import Forward, Scores, scores
from lastbit.attention_terms import Working, exponents, power, working
from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output, settled
from lastbit.budget_terms import Terms
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import AttentionTruth, Rows, blocks
from lastbit.references.attention_backward import Gradients
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.special import finite_part
from lastbit.references.truth import Truth

if TYPE_CHECKING:
    from lastbit.contract import Contract

Floats = NDArray[np.float64]

SOURCE = "attention.md 6"
SHARED = "the errors of a score's gradient are shared by all columns and rows that it enters"
NAMES = ("q", "k", "v")
#: Where a bound of an element means nothing: finite, so that a judge can compute with it.
LARGEST = float(np.finfo(np.float64).max) / 8


@dataclass(frozen=True, slots=True)
class Parts:
    """One gradient before it is rounded, by query head: its error, the largest partial sum, itself, and what is lost.

    Arrays (b, hq, lq, d), (b, hq, lk, d) or (b, hq, lk, dv).
    """

    error: Floats
    reach: Floats
    level: Floats
    lost: NDArray[np.bool_]

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> "Parts":
        """Of this shape, nothing added yet."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, bool))


def gradient_budget(
    contract: "Contract",
    formats: Mapping[str, str],
    problem: Problem,
    upstream: Floats,
    truth: AttentionTruth,
    forward: tuple[Budget, Budget],
    gradients: Gradients,
) -> dict[str, Budget]:
    """The largest errors of dQ, dK and dV, by "q", "k" and "v", that `contract` allows for the upstream gradient.

    For any order of the sums, atomic additions in the working format among them; P recomputed from the log-sum-exp or
    kept; D from the kernel's own result or from P and dP. `forward` is attention_budget.budget of the same problem:
    the errors of the result and of the log-sum-exp that the backward pass starts from. `contract` is resolved;
    `contract.probabilities` is the format of P and dS in their products, `contract.head_gradients` that of a query
    head's part of dK and dV. The derivation of each term is in docs/attention.md 6.

    Raises BudgetError when `contract` names an unknown input rounding, or no accumulator.
    """
    parts = weigh(working(contract, formats), problem, upstream, truth, forward)
    return budget_of(contract, formats, problem, parts, gradients)


def budget_of(
    contract: "Contract",
    formats: Mapping[str, str],
    problem: Problem,
    parts: dict[str, Parts],
    gradients: Gradients,
) -> dict[str, Budget]:
    """`gradient_budget` from the bounds of every query head's part, which `contract.head_gradients` does not change."""
    work = working(contract, formats)
    truths = {"q": gradients.q, "k": gradients.k, "v": gradients.v}
    heads = problem.k.shape[1]
    return {
        name: _rounded(
            work, contract, formats, name, _grouped(contract, formats, name, parts[name], heads), truths[name], problem
        )
        for name in NAMES
    }


def weigh(
    work: Working, problem: Problem, upstream: Floats, truth: AttentionTruth, forward: tuple[Budget, Budget]
) -> dict[str, Parts]:
    """The error bounds of every query head's part of the gradients, a block of rows at a time."""
    batch, heads, lq, lk = problem.scores
    sizes = {"q": (lq, problem.q.shape[3]), "k": (lk, problem.k.shape[3]), "v": (lk, problem.v.shape[3])}
    parts = {name: Parts.zeros((batch, heads, *size)) for name, size in sizes.items()}
    allowed = [np.broadcast_to(of.allowed, at.hi.shape) for of, at in zip(forward, (truth.out, truth.lse), strict=True)]
    for rows in blocks(problem):
        place = (rows.batch, rows.head, rows.rows)
        left = Forward(
            finite_part(truth.out.hi[place]),
            np.minimum(allowed[0][place], LARGEST),
            finite_part(truth.lse.hi[place])[:, None],
            np.minimum(allowed[1][place], LARGEST)[:, None],
        )
        out = finite_part(upstream[place])
        found = scores(work, problem, rows, exponents(work, problem, rows), out, left)
        _weigh_rows(work, problem, rows, out, found, parts)
    return parts


def _weigh_rows(
    work: Working, problem: Problem, rows: Rows, out: Floats, found: Scores, parts: dict[str, Parts]
) -> None:
    """dQ of some rows, and what they add to dK and dV of their head."""
    scale, head = abs(problem.factor), (rows.batch, rows.head)
    group = problem.heads // problem.k.shape[1]
    q, k = finite_part(problem.q[(*head, rows.rows)]), finite_part(problem.k[rows.batch, problem.key_head(rows.head)])
    lk, lq = rows.keep.shape[1], problem.scores[2] * group
    for name, place, gradient, error, right, factor, terms in (
        ("q", (*head, rows.rows), found.gradient, found.gradient_error, k, scale, lk),
        ("k", head, found.gradient.T, found.gradient_error.T, q, scale, lq),
        ("v", head, found.weights.T, found.weight_error.T, out, 1.0, lq),
    ):
        part, size = parts[name], np.abs(right)
        computed = np.abs(gradient) + error
        reach = np.matmul(computed, size)
        off = np.matmul(error, size) + _sums(work, computed, size, reach, terms, work.flushed[name == "q"])
        part.error[place] += factor * off + (power(5, work.u) * factor * (reach + off) if name != "v" else 0.0)
        part.reach[place] += max(factor, 1.0) * reach
        part.level[place] += np.matmul(gradient, right) * (problem.factor if name != "v" else 1.0)
        part.lost[place] |= np.asarray((found.lost if name == "q" else found.lost.T).any(1))[:, None]


def _sums(work: Working, left: Floats, right: Floats, reach: Floats, terms: int, flushed: float) -> Floats:
    """Error of the products and sums of `left` (m, n) and `right` (n, c), not negative; `reach` is their product.

    `terms` are summed in all: with those of other rows and heads. Tiles, heads and atomic additions are f32 sums.
    """
    model, u = work.accumulator, work.u
    if model.engine == "chain":
        factor = float(power(terms + 4, max(model.unit, u)))
    elif model.engine in ("exact", "integer"):
        factor = float(power(4, u))
    else:
        factor = (1 + model.coefficient(terms)) * (1 + float(power(terms // max(model.terms, 1) + 4, u))) - 1
    some = left.max(1, initial=0.0)[:, None] > 0
    lost = np.zeros(reach.shape)
    if work.rounding is not None:
        eta = Format.of(work.rounding.format).eta
        factor = (1 + factor * work.rounding.growth * work.rounding.products) * (1 + work.rounding.product_error) - 1
        lost = work.rounding.growth * eta * (left.sum(1)[:, None] + right.sum(0) + left.shape[1] * eta)
    if model.engine not in ("exact", "integer"):
        step = 2.0**model.emin if work.flush or model.flush else 2.0 ** (model.emin - model.precision + 1)
        lost = lost + (4 * terms + 4) * step
        if model.engine != "chain" and work.probabilities is not None:
            lost = lost + model.coefficient(terms) * work.probabilities.min_normal * right.sum(0)
    lost = lost + 2 * flushed * left.sum(1)[:, None]
    total: Floats = factor * reach + np.where(some, lost, 0.0)
    return total


def _grouped(contract: "Contract", formats: Mapping[str, str], name: str, part: Parts, heads: int) -> Parts:
    """The parts of dK or dV of the query heads that share a key head, added: (b, heads, ..); dQ as it is."""
    if name == "q":
        return part
    shape, stored = part.error.shape, contract.head_gradients
    group = shape[1] // heads
    error, lost = part.error, part.lost
    if stored is not None and (group > 1 or stored != formats[name]):  # a single part of the result's format is it
        fmt = Format.of(stored)
        size = np.abs(part.level) + error
        error = error + np.where(part.reach > 0, fmt.u * size + fmt.eta / 2, 0.0) * (1 + 2.0**-20)
        lost = lost | (size >= fmt.max)
    grouped = (shape[0], heads, group, *shape[2:])
    sums = [array.reshape(grouped).sum(2) for array in (error, part.reach, part.level)]
    return Parts(sums[0], sums[1], sums[2], np.asarray(lost.reshape(grouped).any(2)))


def _rounded(
    work: Working,
    contract: "Contract",
    formats: Mapping[str, str],
    name: str,
    part: Parts,
    truth: Truth,
    problem: Problem,
) -> Budget:
    fmt = Format.of(formats[name])
    lq, lk, dv = problem.scores[2], problem.scores[3], problem.v.shape[3]
    terms = Terms(np.where(part.error < LARGEST, part.error, LARGEST), part.reach, None)
    terms.count = lk if name == "q" else lq * (problem.heads // problem.k.shape[1])
    if name == "v":
        terms.cite(f"sum_i (P_ij errors)*|dO_i| + ({lq} queries in {work.accumulator.name})*sum_i P_ij|dO_i|", SOURCE)
    else:
        summed = f"{lk} keys" if name == "q" else f"{lq} queries"
        terms.cite(f"scale*(P(rho|dP-D| + e_dP + e_D))|{'K' if name == 'q' else 'Q'}|, dP of {dv} terms", SOURCE)
        terms.cite(f"({summed} in {work.accumulator.name})*scale*|dX||{'K' if name == 'q' else 'Q'}|", SOURCE)
    if work.probabilities is not None:
        terms.cite(f"u_{work.probabilities.name} of {'P' if name == 'v' else 'dS'}", SOURCE)
    if contract.head_gradients is not None and name != "q":
        terms.cite(f"u_{contract.head_gradients} of each query head's part", SOURCE)
    terms.add(truth.radius, "radius of the truth", SOURCE)
    terms.no_statistics(SHARED)
    slack = terms.error * ROUND_UP
    lost = part.lost if part.lost.any() else None
    window = overflow_window(part.reach, slack, lost, work.accumulator, fmt, truth)
    rounded = round_output(terms, slack, contract, Accumulator.of(work.name), fmt, truth)
    return settled(terms, contract, fmt, rounded, window)
