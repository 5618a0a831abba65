"""What the GEMM checks share: the verdict on what a call returned, and which cases suit a kernel."""

from typing import Any

from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained
from lastbit.references.data import RECIPES, applicable
from lastbit.suites.gemm_proof import Given, exact_truth, proof, sizes
from lastbit.suites.proofs import judge_by, judge_exactly, part_of
from lastbit.suites.trials import lacking, obtain, unplaceable
from lastbit.verdict import Verdict

__all__ = ["has_data", "judge_part", "judge_result", "judge_unique", "judge_within", "obtain", "sizes"]


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    return got.fault or judge_by(trial, proof(trial, given), got)


def judge_part(trial: Trial, given: Given, index: Any, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only the elements [index] of the case's."""
    return got.fault or judge_by(trial, part_of(proof(trial, given), index), got)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    return got.fault or judge_exactly(trial, exact_truth(given), got)


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique, else `judge_within`."""
    return (judge_unique if RECIPES[trial.case.recipe].exact else judge_within)(trial, given, got)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and options suit this kernel, else why they do not."""
    case = trial.case
    if case.recipe not in RECIPES:
        raise UsageError(f"case {case.id}: recipe is {case.recipe!r}, expected one of {', '.join(RECIPES)}")
    if not applicable(case.recipe, trial.formats):
        return f"the formats have no {case.recipe} data"
    wanted = {name for name, _ in case.options} | ({"batch"} if "batch" in dict(case.sizes) else set())
    wanted |= {"c"} if "beta" in wanted else set()
    return lacking(trial, wanted) or unplaceable(trial)
