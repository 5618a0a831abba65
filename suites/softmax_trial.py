"""What the checks of softmax, log_softmax and logsumexp share: operands, truth, budget and verdict of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.references.data import Operand
from lastbit.references.softmax import log_softmax_truth, logsumexp_truth, softmax_truth
from lastbit.references.softmax_data import RECIPES, applicable, operands
from lastbit.references.truth import Truth
from lastbit.softmax_budget import budget as softmax_budget
from lastbit.suites import trial_sizes
from lastbit.suites.proofs import Formats, Proof, drawn_once, judge_by, judge_exactly, kept, part_of, proved, widened
from lastbit.suites.trials import Given, accumulator, as_broadcast, check_recipe, lacking, seed_of, unplaceable
from lastbit.verdict import Verdict

#: Truths and operands kept for the next kernel that is judged on the same case: one format's smoke tier, some 20 MB.
KEPT = 96
#: Largest row that is "long", by tier.
LONGEST = {"smoke": 4096, "standard": 32768, "full": 131072}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.softmax_data.operands, hashable."""

    recipe: str
    formats: Formats
    sizes: tuple[tuple[str, int], ...]
    seed: int


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers, words resolved against the kernel's tile and contract."""
    return trial_sizes.resolved(trial, LONGEST)


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's logits, as a broadcast layout shows them; another `shift` draws other data of recipe and sizes."""
    formats, resolved = tuple(trial.formats.items()), tuple(sizes(trial).items())
    drawn = Drawn(trial.case.recipe, formats, resolved, seed_of(trial, shift))
    return as_broadcast(trial, Given(_operands(drawn), drawn=drawn))


def logits(given: Given) -> NDArray[np.float64]:
    """The values of the logits."""
    return given.operands["x"].values


def of_values(given: Given, values: NDArray[np.float64]) -> Given:
    """Logits of the same format with other values, which it holds."""
    return given.changed(x=Operand.of(values, given.operands["x"].format))


def truth_of(op: str, x: NDArray[np.float64], masked_row: str) -> Truth:
    """The exact result of `op` over the last axis of x."""
    if op == "logsumexp":
        return logsumexp_truth(x)
    return (softmax_truth if op == "softmax" else log_softmax_truth)(x, masked_row=masked_row)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`."""
    return widened(_proof(given, trial.kernel.op, trial.contract, tuple(trial.formats.items())), trial)


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    return got.fault or judge_by(trial, proof(trial, given), got)


def judge_part(trial: Trial, given: Given, index: Any, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only the elements [index] of the case's."""
    return got.fault or judge_by(trial, part_of(proof(trial, given), index), got)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    return got.fault or judge_exactly(trial, _truth(given, trial.kernel.op, trial.contract.masked_row), got)


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for data whose answer is unique in this trial, else `judge_within`."""
    return (judge_unique if is_unique(trial) else judge_within)(trial, given, got)


def is_unique(trial: Trial) -> bool:
    """Whether one answer is right: the recipe says so for this op, and the accumulator counts a row's ones exactly."""
    exact = trial.kernel.op in RECIPES[trial.case.recipe].exact
    return exact and sizes(trial)["n"] <= 2 ** min(accumulator(trial).exact_bits, 62)


def index_of(op: str, rows: Any, columns: Any = None) -> Any:
    """Where these rows of the logits, and of each row these columns, lie in the result."""
    if op == "logsumexp":
        return (..., rows)
    return (..., rows, slice(None)) if columns is None else (..., columns)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and features suit this kernel, else why they do not."""
    case = trial.case
    check_recipe(trial, RECIPES)
    if not applicable(case.recipe, trial.formats):
        return f"the formats have no {case.recipe} data"
    return lacking(trial, {"batch"} & {name for name, _ in case.sizes}) or unplaceable(trial)


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or lacking(trial, {"out"})


@drawn_once(KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
    return operands(drawn.recipe, dict(drawn.formats), dict(drawn.sizes), drawn.seed)


@kept(KEPT)
def _truth(given: Given, op: str, masked_row: str) -> Truth:
    return truth_of(op, logits(given), masked_row)


@kept(KEPT)
def _proof(given: Given, op: str, contract: Contract, formats: Formats) -> Proof:
    truth = _truth(given, op, contract.masked_row)
    budget = softmax_budget(op, contract, dict(formats), given.operands, truth)
    return proved(truth, budget, dict(formats), contract)
