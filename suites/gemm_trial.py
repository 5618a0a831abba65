"""What the GEMM checks share: the guarded call, and the verdict on what it returned."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained, call
from lastbit.judge import judge, judge_exact
from lastbit.references.data import RECIPES, applicable
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.suites.gemm_proof import Given, exact_truth, proof, scalars, sizes
from lastbit.suites.trials import layouts, noted, unless_vacuous
from lastbit.verdict import Verdict

__all__ = ["has_data", "judge_result", "judge_rows", "judge_unique", "judge_within", "obtain", "sizes"]


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout and with its scalars, fully guarded."""
    return call(trial, given.operands, layouts=layouts(trial), scalars=scalars(trial))


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    if got.fault is not None:
        return got.fault
    proved = proof(trial, given)
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proved.truth, proved.budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), proved.hole)


def judge_rows(trial: Trial, given: Given, rows: NDArray[np.int64], got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only these rows of the product, in this order."""
    if got.fault is not None:
        return got.fault
    whole = proof(trial, given)

    def part(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.broadcast_to(array, whole.truth.hi.shape)[..., rows, :]

    exact, budget = whole.truth, whole.budget
    truth = Truth(part(exact.hi), part(exact.lo), part(exact.radius), part(exact.weight), exact.rung)
    slack = None if budget.overflow_slack is None else part(budget.overflow_slack)
    sigma = None if budget.sigma is None else part(budget.sigma)
    budget = replace(budget, allowed=part(budget.allowed), sigma=sigma, overflow_slack=slack)
    verdict = judge(got.codes, Format.of(trial.formats["out"]), truth, budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), whole.hole)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    if got.fault is not None:
        return got.fault
    proved = exact_truth(trial, given)
    verdict = judge_exact(got.codes, Format.of(trial.formats["out"]), proved, trial.contract)
    guessed = "the right answer is zero everywhere, whatever is done with the operands"
    return unless_vacuous(noted(trial, verdict, got), guessed if proved.weight.any() and not proved.hi.any() else "")


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique, else `judge_within`."""
    return (judge_unique if RECIPES[trial.case.recipe].exact else judge_within)(trial, given, got)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and options suit this kernel, else why they do not."""
    case, formats = trial.case, trial.formats
    if case.recipe not in RECIPES:
        raise UsageError(f"case {case.id}: recipe is {case.recipe!r}, expected one of {', '.join(RECIPES)}")
    if not applicable(case.recipe, formats):
        return f"the formats have no {case.recipe} data"
    wanted = {name for name, _ in case.options} | ({"batch"} if "batch" in dict(case.sizes) else set())
    wanted |= {"c"} if "beta" in wanted else set()
    missing = sorted(wanted - trial.kernel.features)
    if missing:
        return f"the kernel has no {', '.join(missing)}"
    if "reversed" in case.layout and trial.kernel.framework != "numpy":
        return f"{trial.kernel.framework} has no negative strides"
    return ""
