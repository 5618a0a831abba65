"""What the scaled GEMM checks share: the guarded call, and the verdict on what it returned."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained, call
from lastbit.judge import judge, judge_exact
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import integer_limit
from lastbit.references.scaled_gemm_data import applicable
from lastbit.references.scaled_gemm_recipes import RECIPES
from lastbit.references.truth import Truth
from lastbit.suites.scaled_gemm_proof import EXACT_BITS, Given, exact_truth, proof, scalings, sizes
from lastbit.suites.trials import accumulator, layouts, noted, unless_vacuous
from lastbit.verdict import Verdict

__all__ = ["has_data", "judge_result", "judge_rows", "judge_unique", "judge_within", "obtain", "sizes"]


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout, fully guarded."""
    return call(trial, given.operands, layouts=layouts(trial))


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    if got.fault is not None:
        return got.fault
    proved = proof(trial, given)
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proved.truth, proved.budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), proved.hole)


def judge_rows(trial: Trial, given: Given, rows: NDArray[np.int64], got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only these rows of the product."""
    if got.fault is not None:
        return got.fault
    whole = proof(trial, given)

    def part(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.broadcast_to(array, whole.truth.hi.shape)[rows]

    exact, budget = whole.truth, whole.budget
    truth = Truth(part(exact.hi), part(exact.lo), part(exact.radius), part(exact.weight), exact.rung)
    slack = None if budget.overflow_slack is None else part(budget.overflow_slack)
    budget = replace(budget, allowed=part(budget.allowed), overflow_slack=slack)
    verdict = judge(got.codes, Format.of(trial.formats["out"]), truth, budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), whole.hole)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    if got.fault is not None:
        return got.fault
    proved = exact_truth(given)
    verdict = judge_exact(got.codes, Format.of(trial.formats["out"]), proved, trial.contract)
    guessed = "the right answer is zero everywhere, whatever is done with the operands"
    return unless_vacuous(noted(trial, verdict, got), guessed if proved.weight.any() and not proved.hi.any() else "")


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique at this length, else `judge_within`."""
    unique = RECIPES[trial.case.recipe].exact and not _beyond(trial, given)
    return (judge_unique if unique else judge_within)(trial, given, got)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and options suit this kernel, else why they do not."""
    case, formats = trial.case, trial.formats
    if case.recipe not in RECIPES:
        raise UsageError(f"case {case.id}: recipe is {case.recipe!r}, expected one of {', '.join(RECIPES)}")
    if not applicable(case.recipe, formats, scalings(trial)):
        return f"the formats have no {case.recipe} data"
    missing = sorted({name for name, _ in case.options} - trial.kernel.features)
    if missing:
        return f"the kernel has no {', '.join(missing)}"
    if "reversed" in case.layout and trial.kernel.framework != "numpy":
        return f"{trial.kernel.framework} has no negative strides"
    plain = [f"scale_{name}" for name, one in zip("ab", scalings(trial), strict=True) if one is None]
    if any(name in plain for name in layouts(trial)):
        return f"the kernel has no {' and no '.join(plain)}"
    if accumulator(trial).engine == "integer" and sizes(trial)["k"] > integer_limit(formats["a"], formats["b"]):
        return "the sum may leave i32"
    return ""


def _beyond(trial: Trial, given: Given) -> bool:
    """Whether full-range integers add up to more than the accumulator, or the f32 after it, holds exactly."""
    if trial.case.recipe != "full_range":
        return False
    bits = min(accumulator(trial).exact_bits, EXACT_BITS)
    a, b = (
        np.abs(part.steps) * steps
        for part, steps in zip((given.problem.a, given.problem.b), _steps(trial), strict=True)
    )
    return bool((a @ b.T).max(initial=0.0) > 2.0**bits)


def _steps(trial: Trial) -> list[int]:
    return [1 if scaling is None else scaling.steps for scaling in scalings(trial)]
