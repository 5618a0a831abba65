"""What a contract allows a matrix product to be wrong by, element by element, and why."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, flushes, overflow_window, round_output, settled
from lastbit.budget_terms import Terms, add_epilogue, working
from lastbit.errors import LastbitError
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]

#: k*u from which on an addend of a like-signed sum can be near the sum's half ulp, so that roundings are not random.
STAGNATION = 1 / 8
#: Scale of results that are exact among others that are not: any error of theirs is far too large.
TINY = float(np.finfo(np.float64).tiny)


class Values(Protocol):
    """An operand: its exact values."""

    @property
    def values(self) -> Floats:
        """Exact float64 values."""


def budget(
    contract: "Contract",
    formats: Mapping[str, str],
    operands: Mapping[str, Values],
    truth: "Truth",
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> Budget:
    """The largest error of alpha * A B + beta * c + bias that `contract` (resolved) allows, of the truth's shape.

    a (.., m, k), b (.., k, n), c and bias broadcasting to (.., m, n) are the exact values of `operands`; elements whose
    truth is not finite get a bound that is finite and means nothing. The derivation of each term is in docs/budgets.md.

    Raises BudgetError when `contract` names an unknown input rounding.
    """
    accumulator = accumulator_of(contract)
    fmt = Format.of(formats["out"])
    a, b = (_finite(operands[name].values) for name in ("a", "b"))
    addends = {name: _finite(operands[name].values) for name in ("c", "bias") if name in operands}
    if beta == 0.0:
        addends.pop("c", None)
    weight = truth.weight if alpha == 1.0 and not addends else _product(a, b)
    terms = sum_terms(contract.input_rounding, accumulator, a, b, weight)
    terms.count, largest = a.shape[-1], terms.weight
    add_epilogue(terms, accumulator, fmt, a.shape[-1], addends, alpha, beta)
    if contract.subnormals == "flush":
        scales = {name: abs(beta) if name == "c" else 1.0 for name in addends}
        _add_flushing(terms, accumulator, formats, a, b, abs(alpha), scales)
    if float(truth.radius.max(initial=0.0)) > 0:
        terms.add(truth.radius, "radius of the truth", "budgets.md 7")
    slack = terms.error * ROUND_UP
    window = overflow_window(np.maximum(largest, terms.weight), slack, terms.lost, accumulator, fmt, truth)
    # What an epilogue gives may be wider than the sum: it is rounded even to the sum's own format.
    has_epilogue = accumulator.engine != "integer" and (alpha != 1.0 or bool(addends))
    last = working(accumulator) if has_epilogue else accumulator
    allowed, sigma, before = round_output(terms, slack, contract, last, fmt, truth)
    if sigma is not None:
        if not float(sigma.max(initial=0.0)) > 0:
            terms.no_statistics("every result is exact")
        sigma = np.maximum(sigma, TINY) if terms.sigma is not None else None
    return settled(terms, contract, fmt, (allowed, sigma, before), window)


def sum_terms(input_rounding: str | None, accumulator: Accumulator, a: Floats, b: Floats, weight: Floats) -> Terms:
    """The error of the sum A B alone, operands rounded as told before it; finite a (.., m, k), b (.., k, n).

    Raises BudgetError for an unknown input rounding.
    """
    if input_rounding is None:
        return _sum(accumulator, a, b, weight)
    return _sum_of_rounded(input_rounding, accumulator, a, b, weight)


class BudgetError(LastbitError):
    """A contract cannot be turned into a budget as it stands."""


def accumulator_of(contract: "Contract") -> Accumulator:
    """The accumulator that a resolved contract promises; BudgetError where it is not filled in."""
    chosen = contract.accumulator
    if chosen is None:
        raise BudgetError("contract.accumulator is None; fill it in with lastbit.contract.resolved")
    return Accumulator.of(chosen) if isinstance(chosen, str) else chosen


def _finite(values: Floats) -> Floats:
    """`values` with 0 for NaN and infinities: whatever they touch has no finite truth and no bound."""
    finite: Floats = np.where(np.isfinite(values), values, 0.0)
    return finite


def _product(a: Floats, b: Floats) -> Floats:
    """|a| |b|, rounded up."""
    product: Floats = np.matmul(np.abs(a), np.abs(b)) * (1 + (a.shape[-1] + 4) * 2.0**-53)
    return product


def _sum(accumulator: Accumulator, a: Floats, b: Floats, weight: Floats) -> Terms:
    """The error of A B in any order that the accumulator allows."""
    k, name = a.shape[-1], accumulator.name
    terms = Terms(accumulator.bound(a, b, weight=weight), weight, accumulator.sigma(a, b, weight=weight))
    if float(terms.error.max(initial=0.0)) > 0:
        terms.cite(f"{k} terms in {name}: {accumulator.coefficient(k):.4g}*|A||B|", _source(accumulator))
    if terms.sigma is None:
        terms.no_statistics(f"{name} truncates or flushes, which leans to one side")
    elif k * accumulator.unit >= STAGNATION:
        terms.no_statistics(f"{k} terms may stagnate in {name}")
    return terms


def _sum_of_rounded(promise: str, accumulator: Accumulator, a: Floats, b: Floats, weight: Floats) -> Terms:
    """The same with operands rounded or split first."""
    if promise not in INPUT_ROUNDINGS:
        raise BudgetError(f"input_rounding is {promise!r}, expected None or one of {', '.join(INPUT_ROUNDINGS)}")
    rounding = INPUT_ROUNDINGS[promise]
    count = rounding.products * a.shape[-1]
    target, factor = Format.of(rounding.format), accumulator.coefficient(count)
    error = factor * rounding.growth * weight
    if accumulator.truncates:
        # Rounding can move a term over a power of two, and with it what a block is aligned to: the bound that knows the
        # operands and the closed one cover that together.
        error = error + accumulator.bound(a, b, weight=weight) * rounding.growth * rounding.products
    else:
        error = error + (1 + factor) * count * 2.0 ** (accumulator.emin - accumulator.precision)
    terms = Terms(error, rounding.growth * weight, None)
    terms.cite(f"{count} terms in {accumulator.name}: {factor:.4g}*|A||B|", _source(accumulator))
    sizes = np.abs(a).sum(axis=-1)[..., :, None] + np.abs(b).sum(axis=-2)[..., None, :]
    terms.add(
        rounding.product_error * weight + rounding.growth * target.eta * (sizes + a.shape[-1] * target.eta),
        f"operands in {promise}: {rounding.formula}",
        "budgets.md 4",
    )
    terms.no_statistics("an operand's rounding is shared by a whole row or column of results")
    rows, columns = np.abs(a).max(axis=-1, initial=0.0), np.abs(b).max(axis=-2, initial=0.0)
    terms.lost = np.maximum(rows[..., :, None], columns[..., None, :]) > target.max
    return terms


def _source(accumulator: Accumulator) -> str:
    return "budgets.md 3" if accumulator.truncates else "budgets.md 2; Jeannerod and Rump 2013"


def _add_flushing(
    terms: Terms,
    accumulator: Accumulator,
    formats: Mapping[str, str],
    a: Floats,
    b: Floats,
    alpha: float,
    scales: Mapping[str, float],
) -> None:
    """Subnormal operands, addends, products, partial sums and results may become zero."""
    k = a.shape[-1]
    least = 0.0 if accumulator.engine in ("integer", "exact") else 2.0**accumulator.emin
    lost = np.full((), 2 * k * least)
    for name, values, other in (("a", a, b), ("b", b, a)):
        small = np.where(np.abs(values) < Format.of(formats[name]).min_normal, values, 0.0)
        if flushes(Format.of(formats[name])) and small.any():
            lost = lost + (_product(small, other) if name == "a" else _product(other, small))
    addends = sum(scale * Format.of(formats.get(name, formats["out"])).min_normal for name, scale in scales.items())
    through = 1 + accumulator.coefficient(k) + 8 * accumulator.unit  # what is lost is missing in every later rounding
    terms.add(
        through * (alpha * lost + addends + (2 * len(scales) + 2) * least),
        f"flushed subnormals: |A||B| of them + {2 * k + 2 * len(scales) + 2}*{least:.4g}",
        "budgets.md 6",
    )
    terms.no_statistics("flushing to zero has one sign")
