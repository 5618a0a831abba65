"""What a result is judged by: truth, budget and the counterfeits that it would accept; kept, cut, and applied."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.judge import judge, judge_exact
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.statistics import judge_statistics
from lastbit.suites.trials import Given, noted, unless_vacuous
from lastbit.vacuity import vacuity
from lastbit.verdict import Verdict

P = ParamSpec("P")
R = TypeVar("R")
#: Operand formats by name, hashable.
Formats = tuple[tuple[str, str], ...]
#: Why an exact result of zeros proves nothing.
ZEROS = "the right answer is zero everywhere, whatever is done with the operands"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a result is judged by: the truth, the budget, and the counterfeit that the budget would accept, if any."""

    truth: Truth
    budget: Budget
    hole: str


@contextmanager
def roomy(times: int) -> Iterator[None]:
    """Keep so many times as many results of each function that is `kept`, and forget them all at the end.

    For many kernels of one op: their hunts draw the same cases, more than are kept for one kernel after the other.
    """
    global _times
    before, _times = _times, times
    try:
        yield
    finally:
        _times = before
        for found in _KEPT:
            found.clear()


#: What `roomy` multiplies, and what it forgets.
_times = 1
_KEPT: list[dict[Any, Any]] = []


def kept(most: int) -> Callable[[Callable[Concatenate[Given, P], R]], Callable[Concatenate[Given, P], R]]:
    """Keep the last `most` results of a function of a Given and hashable arguments, for the next kernel.

    They are known by what drew the operands; for operands that nothing drew the function is called each time. Of a
    contract the function sees what is `promised_of_values`: kernels that differ in the rest of it share a result.
    """

    def decorate(function: Callable[Concatenate[Given, P], R]) -> Callable[Concatenate[Given, P], R]:
        found: dict[Any, R] = {}
        _KEPT.append(found)

        @wraps(function)
        def known(given: Given, /, *args: P.args, **kwargs: P.kwargs) -> R:
            seen: Any = tuple(promised_of_values(arg) if isinstance(arg, Contract) else arg for arg in args)
            if given.drawn is None:
                return function(given, *seen, **kwargs)
            key = (given.drawn, tuple(given.options.items()), seen, tuple(kwargs.items()))
            return _kept_last(found, key, most, lambda: function(given, *seen, **kwargs))

        return known

    return decorate


def drawn_once(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep the last `most` results of a function of hashable arguments that draws operands, for the next kernel."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        found: dict[Any, R] = {}
        _KEPT.append(found)

        @wraps(function)
        def known(*args: P.args, **kwargs: P.kwargs) -> R:
            key = (args, tuple(kwargs.items()))
            return _kept_last(found, key, most, lambda: function(*args, **kwargs))

        return known

    return decorate


def _kept_last(found: dict[Any, R], key: Any, most: int, make: Callable[[], R]) -> R:
    result = found.pop(key) if key in found else make()
    found[key] = result  # the latest last
    if len(found) > most * _times:
        del found[next(iter(found))]
    return result


def promised_of_values(contract: Contract) -> Contract:
    """The contract without its source, and without the promises that say what is asked of a kernel, not what is right.

    No truth, budget or counterfeit of a call depends on those.
    """
    return replace(
        contract,
        deterministic=True,
        deterministic_gradients=True,
        batch_invariant=False,
        masked_keys="ignored",
        source="",
    )


def proved(truth: Truth, budget: Budget, formats: Mapping[str, str], contract: Contract) -> Proof:
    """The proof of a result of formats["out"], its hole found."""
    return Proof(truth, budget, vacuity(Format.of(formats["out"]), truth, budget, contract))


def widened(proof: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial, if one does."""
    if "budget_factor" not in trial.settings:
        return proof
    return proved(proof.truth, widened_budget(proof.budget, trial), trial.formats, trial.contract)


def widened_budget(budget: Budget, trial: Trial) -> Budget:
    """The budget with the trial's override of budgets.toml."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]
    return replace(budget, allowed=factor * budget.allowed, formula=f"{factor:g} * ({budget.formula}), since {why}")


def part_of(whole: Proof, index: Any) -> Proof:
    """The part of a proof that holds for the elements [index] of the result."""
    shape = whole.truth.hi.shape
    return replace(whole, truth=part_of_truth(whole.truth, index), budget=part_of_budget(whole.budget, shape, index))


def part_of_truth(whole: Truth, index: Any) -> Truth:
    """The truth of the elements [index]."""
    hi, lo, radius, weight = (
        _cut(array, whole.hi.shape, index) for array in (whole.hi, whole.lo, whole.radius, whole.weight)
    )
    return Truth(hi, lo, radius, weight, whole.rung)


def part_of_budget(whole: Budget, shape: tuple[int, ...], index: Any) -> Budget:
    """The budget of the elements [index] of a result of this shape."""
    sigma, before, slack = (
        None if array is None else _cut(array, shape, index)
        for array in (whole.sigma, whole.before, whole.overflow_slack)
    )
    allowed = _cut(whole.allowed, shape, index)
    return replace(whole, allowed=allowed, sigma=sigma, before=before, overflow_slack=slack)


def judge_by(trial: Trial, proof: Proof, got: Obtained) -> Verdict:
    """The verdict on a result that a derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    if got.fault is not None:
        return got.fault
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proof.truth, proof.budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), proof.hole)


def judge_exactly(trial: Trial, truth: Truth, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right.

    VACUOUS where that answer is zero everywhere although the operands are not, as a kernel that does nothing has it.
    """
    if got.fault is not None:
        return got.fault
    verdict = judge_exact(got.codes, Format.of(trial.formats["out"]), truth, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), ZEROS if truth.weight.any() and not truth.hi.any() else "")


def _cut(array: NDArray[np.float64], shape: tuple[int, ...], index: Any) -> NDArray[np.float64]:
    cut: NDArray[np.float64] = np.broadcast_to(array, shape)[index]
    return cut


def judge_by_statistics(trial: Trial, proved: Proof, within: Verdict, got: Obtained) -> Verdict:
    """Mean signed error and root mean square within what independent mean-zero roundings give.

    `within` is the verdict by the derived bound, which comes first: it is returned where it fails.
    """
    if within.outcome.failed or got.fault is not None:
        return within
    verdict = judge_statistics(got.codes, Format.of(trial.formats["out"]), proved.truth, proved.budget)
    return with_numbers_of(within, verdict)


def with_numbers_of(within: Verdict, verdict: Verdict) -> Verdict:
    """A verdict on statistics with the numbers of that on the same elements, one by one."""
    return replace(
        verdict,
        stats=within.stats,
        digest=within.digest,
        proof=within.proof,
        histogram=within.histogram,
        terms=within.terms,
        allowed_ulp=within.allowed_ulp,
    )
