"""What a contract allows a scaled matrix product to be wrong by, element by element, and why."""

from collections.abc import Mapping
from math import frexp
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output, settled
from lastbit.budget_terms import Terms
from lastbit.gemm_budget import TINY, accumulator_of
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Part, Problem
from lastbit.scaled_gemm_terms import (
    DOCS,
    HALF_LEAST32,
    NORMAL32,
    U32,
    Arithmetic,
    ScaleFormats,
    grown_of,
    operands,
    products,
    sums,
    weight_of,
)

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]


def budget(
    contract: "Contract",
    formats: Mapping[str, str],
    scale_formats: ScaleFormats,
    problem: Problem,
    truth: "Truth",
) -> Budget:
    """The largest error of global_scale * A B + bias that `contract` (resolved) allows, of the truth's shape.

    `scale_formats`: formats of the scales of a and b, None where there are none. Elements whose truth is not finite get
    a bound that is finite and means nothing. The derivation of each term is in docs/scaled_gemm.md.

    Raises BudgetError when `contract` names an unknown input rounding.
    """
    accumulator = accumulator_of(contract)
    fmt = Format.of(formats["out"])
    factor = problem.global_scale if np.isfinite(problem.global_scale) else 0.0
    finite = Problem(_finite(problem.a), _finite(problem.b), factor, problem.bias)
    terms = _widest(
        [make(contract, accumulator, scale_formats, finite) for make in _arithmetics(contract, accumulator)]
    )
    working = accumulator
    if accumulator.truncates or (accumulator.engine == "integer" and not _stays_integer(fmt, scale_formats, problem)):
        working = Accumulator.of("f32")
    u = 0.0 if working.engine == "exact" else working.unit
    terms.count, largest = problem.k, terms.weight
    if working.engine != "integer":
        _add_epilogue(terms, contract, accumulator, u, scale_formats, finite)
    if contract.subnormals == "flush":
        _add_flushing(terms, finite)
    if float(truth.radius.max(initial=0.0)) > 0:
        terms.add(truth.radius, "radius of the truth", "budgets.md 7")
    slack = terms.error * ROUND_UP
    window = overflow_window(np.maximum(largest, terms.weight), slack, terms.lost, working, fmt, truth)
    if window is None and not fmt.signed:  # what is below zero is beyond the range, too
        window = np.broadcast_to(slack, truth.hi.shape)
    allowed, sigma, before = round_output(terms, slack, contract, working, fmt, truth)
    return settled(terms, contract, fmt, (allowed, _scale(terms, sigma), before), window)


def _scale(terms: Terms, sigma: Floats | None) -> Floats | None:
    """The statistical scale of the result, None where there is none or every result is exact."""
    if sigma is not None and not float(sigma.max(initial=0.0)) > 0:
        terms.no_statistics("every result is exact")
    return None if sigma is None or terms.sigma is None else np.maximum(sigma, TINY)


def _arithmetics(contract: "Contract", accumulator: Accumulator) -> list[Arithmetic]:
    """The ways of `scaled` that the contract allows."""
    known: dict[str, Arithmetic] = {"sums": sums, "operands": operands, "products": products}
    if contract.scaled is not None:
        return [known[contract.scaled]]
    if accumulator.engine == "integer":
        return [sums]
    return [sums, products] if accumulator.truncates else [sums, operands]


def _stays_integer(fmt: Format, scale_formats: ScaleFormats, problem: Problem) -> bool:
    """Whether an integer sum is the result: nothing scales it, and nothing is added."""
    return fmt.kind == "integer" and not any(scale_formats) and problem.bias is None and problem.global_scale == 1.0


def _widest(several: list[Terms]) -> Terms:
    """What any of `several` allows."""
    first = several[0]
    for other in several[1:]:
        first.error, first.weight = np.maximum(first.error, other.error), np.maximum(first.weight, other.weight)
        if first.sigma is not None and other.sigma is not None:
            first.sigma = np.maximum(first.sigma, other.sigma)
        elif other.sigma is None:
            first.no_statistics(other.unstatistical)
        lost = [one.lost for one in (first, other) if one.lost is not None]
        first.lost = np.logical_or.reduce(lost) if lost else None
        first.formulas = [f"the larger of [{' + '.join(first.formulas)}] and [{' + '.join(other.formulas)}]"]
        first.sources = list(dict.fromkeys(first.sources + other.sources))
    return first


def _add_epilogue(
    terms: Terms,
    contract: "Contract",
    accumulator: Accumulator,
    u: float,
    scale_formats: ScaleFormats,
    problem: Problem,
) -> None:
    """global_scale times the sum, plus bias: each a rounding; a bias may start a sum of operands instead.

    A sum of integers that no scale has turned into f32 is turned here.
    """
    if accumulator.engine == "integer" and not any(scale_formats):
        converted = np.where(terms.weight > 2.0**24, U32 * terms.weight, 0.0)
        terms.add_scale(converted)
        terms.add(converted, "conversion: u_f32*|s|", "budgets.md 5")
    factor = abs(problem.global_scale)
    terms.weight, terms.error = terms.weight * factor, terms.error * factor
    terms.sigma = None if terms.sigma is None else terms.sigma * factor
    if abs(frexp(problem.global_scale)[0]) != 0.5:
        terms.add_scale(u * terms.weight)
        terms.add(u * (1 + u) * (terms.weight + terms.error), "u*|global_scale x|", f"{DOCS} 6")
    if factor and u and not 2.0**-60 <= factor <= 2.0**60:
        _add_far(terms, problem)
    if problem.bias is not None:
        size = np.abs(_zeroed(problem.bias))
        starts = (
            accumulator.coefficient(problem.k) if contract.scaled != "sums" and accumulator.engine == "chain" else 0
        )
        total = terms.weight + terms.error + size
        terms.add_scale(u * np.sqrt(problem.k + 4.0) * total)
        terms.add(u * total + starts * size, "u*(|A||B|+|bias|)", f"{DOCS} 6")
        terms.weight = terms.weight + size


def _add_far(terms: Terms, problem: Problem) -> None:
    """What a global scale that is tiny loses below the normal range of f32, whatever it is multiplied with first; one
    that is huge may pass its end on the way."""
    terms.add(HALF_LEAST32 * grown_of(problem), "2^-150 of each product with global_scale", f"{DOCS} 6")
    terms.no_statistics("products with global_scale may be subnormal")
    if grown_of(problem).max(initial=0.0) >= 2.0**127:
        lost = grown_of(problem) >= 2.0**127
        terms.lost = lost if terms.lost is None else terms.lost | lost


def _add_flushing(terms: Terms, problem: Problem) -> None:
    """Subnormal scales, scaled operands and partial sums may become zero."""
    a, b = problem.a, problem.b
    small = [np.where(np.abs(one.scale) < NORMAL32, np.abs(one.values), 0.0) for one in (a, b)]
    lost = weight_of(small[0], b.values.T) + weight_of(a.values, small[1].T)
    if 0 < abs(problem.global_scale) < NORMAL32:
        lost = weight_of(a.values, b.values.T)
    terms.add(
        (lost * abs(problem.global_scale) + 4 * NORMAL32 * grown_of(problem)) * (1 + 2.0**-10),
        "flushed subnormals: |A||B| of subnormal scales, and 2^-126 of each operand, product and sum",
        f"{DOCS} 6",
    )
    terms.no_statistics("flushing to zero has one sign")


def _finite(part: Part) -> Part:
    """`part` with 0 for what is NaN or infinite: whatever that touches has no finite truth and no bound."""
    return Part(_zeroed(part.steps), _zeroed(part.scale), part.run)


def _zeroed(values: Floats) -> Floats:
    finite: Floats = np.where(np.isfinite(values), values, 0.0)
    return finite
