"""What the checks of softmax, log_softmax and logsumexp share: operands, truth, budget and verdict of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained, call
from lastbit.judge import judge, judge_exact
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.softmax import log_softmax_truth, logsumexp_truth, softmax_truth
from lastbit.references.softmax_data import RECIPES, applicable, operands
from lastbit.references.truth import Truth
from lastbit.softmax_budget import budget as softmax_budget
from lastbit.suites.trials import accumulator, layouts, noted, unless_vacuous
from lastbit.vacuity import vacuity
from lastbit.verdict import Verdict

#: Truths and operands kept for the next kernel that is judged on the same case: one format's smoke tier, some 20 MB.
KEPT = 96
#: A row is "long" as far as the rounding of its sum stays below this share, as for gemm.
LONG_SHARE = 0.005
FAIR, SHORTEST = 129, 4
LONGEST = {"smoke": 4096, "standard": 32768, "full": 131072}
#: Tile of a kernel that does not say what its is.
TILE = 32


@dataclass(frozen=True, slots=True)
class Proof:
    """What a result is judged by: the truth, the budget, and the counterfeit that the budget would accept, if any."""

    truth: Truth
    budget: Budget
    hole: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.softmax_data.operands, hashable."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Given:
    """The operand of one call, and the arguments that drew it, under which proofs are kept for the next kernel."""

    operands: Mapping[str, Operand]
    drawn: Drawn | None = None

    @property
    def x(self) -> Operand:
        """The logits."""
        return self.operands["x"]


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers, words resolved against the kernel's tile and contract."""
    return {name: _size(trial, name, size) for name, size in trial.case.sizes}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's logits; another `shift` draws other data of the same recipe and sizes."""
    resolved = tuple(sizes(trial).items())
    drawn = Drawn(trial.case.recipe, tuple(trial.formats.items()), resolved, trial.seed + 7919 * shift)
    return Given(_operands(drawn), drawn)


def of_values(given: Given, values: NDArray[np.float64]) -> Given:
    """Logits of the same format with other values, which it holds."""
    return Given({"x": Operand.of(values, given.x.format)})


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout, fully guarded."""
    return call(trial, given.operands, layouts=layouts(trial))


def truth_of(op: str, x: NDArray[np.float64], masked_row: str) -> Truth:
    """The exact result of `op` over the last axis of x."""
    if op == "logsumexp":
        return logsumexp_truth(x)
    return (softmax_truth if op == "softmax" else log_softmax_truth)(x, masked_row=masked_row)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`."""
    op, formats = trial.kernel.op, tuple(trial.formats.items())
    if given.drawn is None:
        proved = _weigh(op, trial.contract, formats, given.operands, _prove(trial, given))
    else:
        proved = _kept_proof(op, trial.contract, formats, given.drawn)
    return _widened(proved, trial) if "budget_factor" in trial.settings else proved


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    return judge_part(trial, proof(trial, given), got)


def judge_part(trial: Trial, proved: Proof, got: Obtained) -> Verdict:
    """The verdict on a result by what is proved about it."""
    if got.fault is not None:
        return got.fault
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proved.truth, proved.budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), proved.hole)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    if got.fault is not None:
        return got.fault
    verdict = judge_exact(got.codes, Format.of(trial.formats["out"]), _prove(trial, given), trial.contract)
    return noted(trial, verdict, got)


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for data whose answer is unique in this trial, else `judge_within`."""
    return (judge_unique if is_unique(trial) else judge_within)(trial, given, got)


def is_unique(trial: Trial) -> bool:
    """Whether one answer is right: the recipe says so for this op, and the accumulator counts a row's ones exactly."""
    exact = trial.kernel.op in RECIPES[trial.case.recipe].exact
    return exact and sizes(trial)["n"] <= 2 ** min(accumulator(trial).exact_bits, 62)


def taken(proved: Proof, op: str, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None) -> Proof:
    """What is proved about these rows, and of each row these columns, in this order."""
    shape = proved.truth.hi.shape

    def part(array: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.broadcast_to(array, shape)
        if op == "logsumexp":
            return whole[..., rows]
        return whole[..., rows, :] if columns is None else whole[..., rows, :][..., columns]

    exact, allowed = proved.truth, proved.budget
    truth = Truth(part(exact.hi), part(exact.lo), part(exact.radius), part(exact.weight), exact.rung)
    slack = None if allowed.overflow_slack is None else part(allowed.overflow_slack)
    before = None if allowed.before is None else part(allowed.before)
    budget = replace(allowed, allowed=part(allowed.allowed), before=before, overflow_slack=slack)
    return Proof(truth, budget, proved.hole)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe and layout suit this kernel, else why they do not."""
    case = trial.case
    if not applicable(case.recipe, trial.formats):
        return f"the formats have no {case.recipe} data"
    if "batch" in dict(case.sizes) and "batch" not in trial.kernel.features:
        return "the kernel has no batch"
    if "reversed" in case.layout and trial.kernel.framework != "numpy":
        return f"{trial.kernel.framework} has no negative strides"
    return ""


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or ("" if "out" in trial.kernel.features else "the kernel has no out")


def _widened(proved: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]
    formula = f"{factor:g} * ({proved.budget.formula}), since {why}"
    budget = replace(proved.budget, allowed=factor * proved.budget.allowed, formula=formula)
    hole = vacuity(Format.of(trial.formats["out"]), proved.truth, budget, trial.contract)
    return Proof(proved.truth, budget, hole)


def _prove(trial: Trial, given: Given) -> Truth:
    if given.drawn is None:
        return truth_of(trial.kernel.op, given.x.values, trial.contract.masked_row)
    return _kept_truth(trial.kernel.op, trial.contract.masked_row, given.drawn)


@lru_cache(maxsize=KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
    return operands(drawn.recipe, dict(drawn.formats), dict(drawn.sizes), drawn.seed)


@lru_cache(maxsize=KEPT)
def _kept_truth(op: str, masked_row: str, drawn: Drawn) -> Truth:
    return truth_of(op, _operands(drawn)["x"].values, masked_row)


def _weigh(
    op: str, contract: Contract, formats: tuple[tuple[str, str], ...], given: Mapping[str, Operand], truth: Truth
) -> Proof:
    budget = softmax_budget(op, contract, dict(formats), given, truth)
    return Proof(truth, budget, vacuity(Format.of(dict(formats)["out"]), truth, budget, contract))


@lru_cache(maxsize=KEPT)
def _kept_proof(op: str, contract: Contract, formats: tuple[tuple[str, str], ...], drawn: Drawn) -> Proof:
    return _weigh(op, contract, formats, _operands(drawn), _kept_truth(op, contract.masked_row, drawn))


def _size(trial: Trial, name: str, size: int | str) -> int:
    if isinstance(size, int):
        return size
    if size in ("long", "fair"):
        n = LONGEST[trial.tier] if size == "long" else FAIR
        while n > SHORTEST and accumulator(trial).coefficient(n) > LONG_SHARE:
            n //= 2
        return n
    tile = trial.kernel.tile.get(name, TILE)
    return {"tile": tile, "overtile": tile + 1, "undertile": tile - 1}[size]
