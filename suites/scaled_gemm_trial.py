"""What the scaled GEMM checks share: the verdict on what a call returned, and which cases suit a kernel."""

from typing import Any

import numpy as np

from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained
from lastbit.references.scaled_gemm import integer_limit
from lastbit.references.scaled_gemm_data import applicable
from lastbit.references.scaled_gemm_recipes import RECIPES
from lastbit.suites.proofs import judge_by, judge_exactly, part_of
from lastbit.suites.scaled_gemm_proof import EXACT_BITS, Given, exact_truth, problem_of, proof, scalings, sizes
from lastbit.suites.trials import accumulator, lacking, layouts, obtain, unplaceable
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
    return got.fault or judge_exactly(trial, exact_truth(trial, given), got)


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique at this length, else `judge_within`."""
    unique = RECIPES[trial.case.recipe].exact and not _beyond(trial, given)
    return (judge_unique if unique else judge_within)(trial, given, got)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and options suit this kernel, else why they do not."""
    case, formats, chosen = trial.case, trial.formats, scalings(trial)
    if case.recipe not in RECIPES:
        raise UsageError(f"case {case.id}: recipe is {case.recipe!r}, expected one of {', '.join(RECIPES)}")
    if not applicable(case.recipe, formats, chosen):
        return f"the formats have no {case.recipe} data"
    unscaled = [f"scale_{name}" for name, one in zip("ab", chosen, strict=True) if one is None or not one.scale_format]
    if any(name in unscaled for name in layouts(trial)):
        return f"the kernel has no {' and no '.join(unscaled)}"
    if case.recipe == "opposite_scales" and "f16" in (trial.contract.accumulator, trial.contract.input_rounding):
        return "numbers in f16 have no such scales"
    if accumulator(trial).engine == "integer" and sizes(trial)["k"] > _longest(trial):
        return "the sum may leave i32"
    return lacking(trial, {name for name, _ in case.options}) or unplaceable(trial)


def _longest(trial: Trial) -> int:
    """The longest sum of the formats' integers, less zero points, that an i32 holds."""
    a, b = (one is not None and one.zero_point is not None for one in scalings(trial))
    return integer_limit(trial.formats["a"], trial.formats["b"], zeros=(a, b))


def _beyond(trial: Trial, given: Given) -> bool:
    """Whether full-range integers add up to more than the accumulator, or the f32 after it, holds exactly."""
    if not trial.case.recipe.startswith("full_range"):
        return False
    bits = min(accumulator(trial).exact_bits, EXACT_BITS)
    problem = problem_of(trial, given)
    steps = [1 if scaling is None else scaling.steps for scaling in scalings(trial)]
    a, b = np.abs(problem.a.steps) * steps[0], np.abs(problem.b.steps) * steps[1]
    return bool((a @ b.T).max(initial=0.0) > 2.0**bits)
