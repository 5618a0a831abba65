"""What a contract allows softmax, log_softmax and logsumexp to be wrong by, element by element, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, log1p
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output, settled
from lastbit.budget_terms import Terms
from lastbit.errors import LastbitError
from lastbit.gemm_budget import Values
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]

#: Roundings of an exponent's argument: the subtraction of the maximum, log2(e), and the product with it (exp2).
ARGUMENT_ROUNDINGS = 3
#: Roundings of the sum's logarithm beside log's own: ln 2, and the product with it (log2).
LOGARITHM_ROUNDINGS = 2
#: Roundings of a quotient: the reciprocal of the sum and the product with it.
QUOTIENT_ROUNDINGS = 2
#: Exponents and logarithms beyond this count as this: whatever is that far off, the bound says nothing.
LARGEST_EXPONENT = 600.0
#: Covers float64's own rounding of an argument of up to 2^10 units, 2^-43, which the exponential multiplies.
OWN_ROUNDING = 1 + 2.0**-40
SOURCE = "softmax.md 2; Blanchard, Higham and Higham 2021"
SHARED = "the error of the sum is shared by a whole row, and exp's is a function of its argument"


class SoftmaxBudgetError(LastbitError):
    """A contract cannot be turned into a budget of softmax as it stands."""


@dataclass(frozen=True, slots=True)
class _Errors:
    """Bounds that the three results share, of rows (.., n); the last axis of row quantities is 1."""

    #: max - x_i, and 0 where it is not finite.
    below: Floats
    #: Bound of |log(computed weight / exact weight)|.
    weight: Floats
    #: sum_j exp(x_j - max), at least 1.
    sum: Floats
    #: Bound of |log(computed sum / exact sum)|.
    of_sum: Floats
    #: What a weight may lose to underflow, absolutely.
    lost: Floats
    #: Unit roundoff of the working format; relative error of exp and log.
    u: float
    eps: float


def budget(
    op: str, contract: "Contract", formats: Mapping[str, str], operands: Mapping[str, Values], truth: "Truth"
) -> Budget:
    """The largest error of `op` over the last axis of x that `contract` (resolved) allows, of the truth's shape.

    x (.., n) holds the exact values of `operands`; elements whose truth is not finite, and those of rows with a NaN or
    +inf, get a bound that is finite and means nothing. The derivation of each term is in docs/softmax.md.

    Raises SoftmaxBudgetError when the accumulator cannot hold the operands or is one of integers.
    """
    accumulator = _accumulator(contract, formats["x"])
    fmt = Format.of(formats["out"])
    x = operands["x"].values
    with np.errstate(all="ignore"):
        shared = _errors(contract, accumulator, Format.of(formats["x"]), x)
        error, formula = _OPS[op](shared, x, truth, accumulator)
    terms = Terms(np.minimum(error * OWN_ROUNDING, fmt.max / 4), np.abs(np.nan_to_num(truth.weight)), None)
    terms.count = x.shape[-1]
    terms.cite(formula, SOURCE)
    terms.no_statistics(SHARED)
    if contract.subnormals == "flush":
        terms.cite("flushed subnormals", "softmax.md 4")
    if float(truth.radius.max(initial=0.0)) > 0:
        terms.error = terms.error + truth.radius
    slack = terms.error * ROUND_UP
    window = overflow_window(terms.weight, slack, None, accumulator, fmt, truth)
    rounded = round_output(terms, slack, contract, accumulator, fmt, truth)
    return settled(terms, contract, fmt, rounded, window)


def rescalings(x: Floats) -> NDArray[np.int64]:
    """How often the weight of each element of x (.., n) can be rescaled: the number of distinct larger ones in its row.

    Whatever the order and the tiles, the running maximum that an element is under only grows, to other elements; a
    rescaling by exp(0) = 1 is exact.
    """
    order = np.argsort(-x, axis=-1, kind="stable")
    ranked = np.take_along_axis(x, order, axis=-1)
    steps = np.zeros(x.shape, np.int64)
    steps[..., 1:] = np.cumsum(ranked[..., 1:] < ranked[..., :-1], axis=-1)
    found = np.empty_like(steps)
    np.put_along_axis(found, order, steps, axis=-1)
    return found


def _accumulator(contract: "Contract", format: str) -> Accumulator:
    chosen = contract.accumulator
    if chosen is None:
        raise SoftmaxBudgetError("contract.accumulator is None; fill it in with lastbit.contract.resolved")
    found = Accumulator.of(chosen) if isinstance(chosen, str) else chosen
    fmt = Format.of(format)
    if found.engine == "integer" or fmt.precision > found.precision or fmt.emax > found.emax:
        raise SoftmaxBudgetError(f"accumulator {found.name} does not hold operands in {format}")
    return found


def _errors(contract: "Contract", accumulator: Accumulator, fmt: Format, x: Floats) -> _Errors:
    """Bounds of the weights and of their sum. The logarithm of a ratio is bounded, where all factors simply add up."""
    u = accumulator.unit
    eps = min(2 * u * contract.exp_ulp, 0.5)  # an ulp is at most 2u of the value
    usable = np.isfinite(x)
    top = np.where(usable, x, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0.0)
    below = np.where(usable, top - x, np.inf)
    finite = np.where(usable, below, 0.0)
    turns = np.where(usable, rescalings(np.where(usable, x, -np.inf)), 0)
    flushes = contract.subnormals == "flush"
    shift = 2 * fmt.min_normal if flushes and fmt.bits >= 16 else 0.0  # of x and of the maximum
    argument = -ARGUMENT_ROUNDINGS * log1p(-u) * finite + shift
    weight = np.minimum(argument - (1 + turns) * log1p(-eps) - turns * log1p(-u), LARGEST_EXPONENT)
    total = np.maximum(np.exp(-below).sum(axis=-1, keepdims=True), 1.0)
    growth = (np.exp(weight - below) * -np.expm1(-weight)).sum(axis=-1, keepdims=True) / total
    lost, of_all = _underflow(contract, accumulator, usable, finite, turns)
    of_sum = np.log1p(growth) - np.log1p(-np.minimum(of_all / total, 0.5))
    coefficient = accumulator.coefficient(x.shape[-1])
    of_sum = of_sum + (-log1p(-coefficient) if coefficient < 1 else LARGEST_EXPONENT)
    return _Errors(finite, weight, total, of_sum, lost, u, eps)


def _underflow(
    contract: "Contract",
    accumulator: Accumulator,
    usable: NDArray[np.bool_],
    below: Floats,
    turns: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """What each weight and what the sum of a row may lose to underflow, where the row's range has room for that.

    A weight loses `tiny`, a rescaling the same of a partial sum of at most n and of the product.
    """
    tiny = 2.0**accumulator.emin
    if contract.subnormals != "flush":
        tiny *= max(1.0, contract.exp_ulp) * 2 * accumulator.unit
    reach = below.max(axis=-1, keepdims=True, initial=0.0)
    tiny_here: Floats = np.where(reach > -(accumulator.emin + 2) * log(2.0), tiny, 0.0)
    count = usable.sum(axis=-1, keepdims=True)
    largest = turns.max(axis=-1, keepdims=True, initial=0)
    weights: Floats = (1 + turns) * tiny_here
    return weights, count * tiny_here + largest * (count + 1) * tiny_here


def _softmax(shared: _Errors, x: Floats, truth: "Truth", accumulator: Accumulator) -> tuple[Floats, str]:
    common = shared.of_sum - QUOTIENT_ROUNDINGS * log1p(-shared.u)
    ratio = np.minimum(shared.weight + common, LARGEST_EXPONENT)
    relative = np.where(np.isfinite(x), np.exp(ratio - shared.below) * -np.expm1(-ratio), 0.0) / shared.sum
    lost = np.exp(np.minimum(common, LARGEST_EXPONENT)) * shared.lost / shared.sum
    error = relative + np.where(np.isfinite(x), lost + 2.0**accumulator.emin * shared.u, 0.0)
    return error, f"g*expm1(3u*d_i + (1+r_i)*eps + r_i*u + sum + 2u), u of {accumulator.name}, eps = {shared.eps:.3g}"


def _log_softmax(shared: _Errors, x: Floats, truth: "Truth", accumulator: Accumulator) -> tuple[Floats, str]:
    before = shared.u * shared.below + shared.of_sum + _logarithm(shared)
    size = shared.below + np.log(shared.sum)
    return before + shared.u * (size + before), f"2u*d_i + sum + log, u of {accumulator.name}, eps = {shared.eps:.3g}"


def _logsumexp(shared: _Errors, x: Floats, truth: "Truth", accumulator: Accumulator) -> tuple[Floats, str]:
    top = np.where(np.isfinite(x), x, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    size = np.where(np.isfinite(top), np.abs(top), 0.0)
    # exp2(x*c - fl(max*c)) in one FMA: the rounding of max*c is common to all weights, and the sum's logarithm has it.
    before = shared.of_sum + _logarithm(shared) + shared.u * size
    result = np.abs(np.where(np.isfinite(truth.hi), truth.hi, 0.0))
    error = (before + shared.u * (result[..., None] + before))[..., 0]
    return error, f"sum + log + u*|max| + u*|lse|, u of {accumulator.name}, eps = {shared.eps:.3g}"


def _logarithm(shared: _Errors) -> Floats:
    """Error of the logarithm of the computed sum."""
    share = shared.eps - LOGARITHM_ROUNDINGS * log1p(-shared.u) * (1 + shared.eps)
    return share * (np.log(shared.sum) + shared.of_sum)


_OPS = {"softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp}
