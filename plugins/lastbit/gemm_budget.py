"""What a contract allows a matrix product to be wrong by, element by element, and why."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output
from lastbit.budget_terms import Terms, add_epilogue
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
    accumulator = _accumulator(contract)
    fmt = Format.of(formats["out"])
    a, b = (_finite(operands[name].values) for name in ("a", "b"))
    addends = {name: _finite(operands[name].values) for name in ("c", "bias") if name in operands}
    if beta == 0.0:
        addends.pop("c", None)
    terms = _accumulation(contract, accumulator, a, b, truth.weight if alpha == 1.0 and not addends else None)
    largest = terms.weight
    add_epilogue(terms, accumulator, fmt, a.shape[-1], addends, alpha, beta)
    if contract.subnormals == "flush":
        scales = {name: abs(beta) if name == "c" else 1.0 for name in addends}
        _add_flushing(terms, accumulator, formats, a, b, abs(alpha), scales)
    if float(truth.radius.max(initial=0.0)) > 0:
        terms.add(truth.radius, "radius of the truth", "numerics 6")
    slack = terms.error * ROUND_UP
    window = overflow_window(np.maximum(largest, terms.weight), slack, terms.lost, accumulator, fmt, truth)
    allowed, sigma = round_output(terms, slack, contract, accumulator, fmt, truth)
    if sigma is not None:
        if not float(sigma.max(initial=0.0)) > 0:
            terms.no_statistics("every result is exact")
        sigma = np.maximum(sigma, TINY) if terms.sigma is not None else None
    flush = contract.subnormals == "flush" and _flushes(fmt.name)
    return Budget(
        allowed=allowed,
        formula=" + ".join(terms.formulas) or "exact",
        source="; ".join(terms.sources) or "integers are exact",
        sigma=sigma,
        unstatistical=terms.unstatistical,
        overflow_slack=window,
        flush_below=fmt.min_normal if flush else 0.0,
    )


class BudgetError(LastbitError):
    """A contract cannot be turned into a budget as it stands."""


def _accumulator(contract: "Contract") -> Accumulator:
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


def _accumulation(contract: "Contract", accumulator: Accumulator, a: Floats, b: Floats, weight: Floats | None) -> Terms:
    """The error of A B itself: rounded operands, then a sum in any order that the accumulator allows."""
    k = a.shape[-1]
    weight = _product(a, b) if weight is None else weight
    bound = accumulator.bound(a, b, weight=weight)
    name = accumulator.name
    terms = Terms(bound, weight, None)
    source = f"numerics {'1.1; Jeannerod and Rump 2013' if not accumulator.truncates else '1.3'}"
    if contract.input_rounding is None:
        terms.sigma = accumulator.sigma(a, b, weight=weight)
        if k and float(bound.max(initial=0.0)) > 0:
            terms.formulas.append(f"{k} terms in {name}: {accumulator.coefficient(k):.4g}*|A||B|")
            terms.sources.append(source)
        if terms.sigma is None:
            terms.no_statistics(f"{name} truncates or flushes: its errors have one sign (numerics 1.4)")
        elif k * accumulator.unit >= STAGNATION:
            terms.no_statistics(f"{k} terms may stagnate in {name} (numerics 1.4)")
        return terms
    rounding = INPUT_ROUNDINGS.get(contract.input_rounding)
    if rounding is None:
        known = ", ".join(INPUT_ROUNDINGS)
        raise BudgetError(f"input_rounding is {contract.input_rounding!r}, expected None or one of {known}")
    terms.no_statistics("an operand's rounding is shared by a whole row or column of results")
    count = rounding.products * k
    # Rounding can move a term over a power of two and so what a truncating engine aligns to: its running bound and the
    # closed one together cover that; a chain's bound is linear in the weight.
    closed = accumulator.coefficient(count) * weight * rounding.growth
    terms.error = (
        closed + bound * rounding.growth * rounding.products
        if accumulator.truncates or count > k
        else bound * rounding.growth
    )
    terms.formulas.append(f"{count} terms in {name}: {accumulator.coefficient(count):.4g}*|A||B|")
    terms.sources.append(source)
    target = Format.of(rounding.format)
    ones = np.abs(a).sum(axis=-1)[..., :, None] + np.abs(b).sum(axis=-2)[..., None, :] + k * target.eta
    terms.add(
        weight * rounding.product_error + target.eta * ones,
        f"operands in {contract.input_rounding}: {rounding.formula}",
        "numerics 1.6",
    )
    wide = [np.abs(a).max(axis=-1, initial=0.0)[..., :, None], np.abs(b).max(axis=-2, initial=0.0)[..., None, :]]
    terms.lost = np.maximum(*wide) > target.max
    terms.weight = weight * rounding.growth
    return terms


def _add_flushing(
    terms: Terms,
    accumulator: Accumulator,
    formats: Mapping[str, str],
    a: Floats,
    b: Floats,
    alpha: float,
    scales: Mapping[str, float],
) -> None:
    """Subnormal operands, addends, products, partial sums and results may become zero (numerics 1.1)."""
    k = a.shape[-1]
    least = 0.0 if accumulator.engine in ("integer", "exact") else 2.0**accumulator.emin
    lost = np.full((), 2 * k * least)
    for name, values, other in (("a", a, b), ("b", b, a)):
        small = np.where(np.abs(values) < Format.of(formats[name]).min_normal, values, 0.0)
        if _flushes(formats[name]) and small.any():
            lost = lost + (_product(small, other) if name == "a" else _product(other, small))
    addends = sum(scale * Format.of(formats.get(name, formats["out"])).min_normal for name, scale in scales.items())
    through = 1 + accumulator.coefficient(k) + 8 * accumulator.unit  # what is lost is missing in every later rounding
    terms.add(
        through * (alpha * lost + addends + (2 * len(scales) + 2) * least),
        f"flushed subnormals: |A||B| of them + {2 * k + 2 * len(scales) + 2}*{least:.4g}",
        "numerics 1.1",
    )
    terms.no_statistics("flushing to zero has one sign")


def _flushes(name: str) -> bool:
    """Whether arithmetic that flushes does so in this format: hardware flushes at 16 bits and more, never narrower."""
    return Format.of(name).kind == "float" and Format.of(name).bits >= 16
