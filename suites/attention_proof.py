"""Truth, budgets and verdict of an attention trial: what its result and its log-sum-exp are judged by."""

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_budget import budget as attention_budget
from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.judge import judge, judge_exact
from lastbit.references.attention import AttentionTruth, attention_truth
from lastbit.references.attention_data import problem_of
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.results import lse_format
from lastbit.suites.attention_trial import Drawn, Given, drawn_operands, problem
from lastbit.vacuity import vacuity
from lastbit.verdict import Outcome, Verdict

#: Proofs kept for the next kernel that is judged on the same case.
KEPT = 48
#: Recipes of which one answer is right whatever the kernel does. Of equal weights the sums are exact, but keys that are
#: split and combined by their log-sum-exps are weighted by roundings of 2^-n.
UNIQUE = frozenset({"one_hot"})

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a result is judged by: truths, budgets, and the counterfeits that the budgets would accept, if any."""

    problem: Problem
    truth: AttentionTruth
    out: Budget
    lse: Budget
    hole: str


def posed_by(drawn: Drawn, options: tuple[tuple[str, Any], ...], contract: Contract) -> Problem:
    """`problem` of drawn operands."""
    return problem_of(drawn_operands(drawn), dict(options), contract)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budgets and vacuity of the case on `given`."""
    formats = tuple(trial.formats.items())
    if given.drawn is None:
        proved = prove(trial.contract, formats, problem(trial, given))
    else:
        options = tuple(given.options.items())
        proved = _kept_proof(trial.contract, formats, given.drawn, options)
    return _widened(proved, trial) if "budget_factor" in trial.settings else proved


def prove(contract: Contract, formats: tuple[tuple[str, str], ...], posed: Problem) -> Proof:
    """Truth, budgets and vacuity of a problem."""
    truth = attention_truth(posed)
    out, lse = attention_budget(contract, dict(formats), posed, truth)
    return Proof(posed, truth, out, lse, vacuity(Format.of(dict(formats)["out"]), truth.out, out, contract))


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on result and log-sum-exp by the derived bounds; VACUOUS where they would accept a wrong result."""
    if got.fault is not None:
        return got.fault
    return judge_against(trial, proof(trial, given), got)


def judge_against(trial: Trial, proved: Proof, got: Obtained) -> Verdict:
    """`judge_within` by a proof at hand."""
    if got.fault is not None:
        return got.fault
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proved.truth.out, proved.out, trial.contract)
    verdict = noted(trial, verdict, got)
    if verdict.outcome is not Outcome.PASS or got.lse is None:
        return unless_vacuous(verdict, proved.hole)
    lse = judge(got.lse, lse_format(trial.formats), proved.truth.lse, proved.lse, lse_contract(trial.contract))
    if lse.outcome is not Outcome.PASS:
        return noted(trial, replace(lse, reason=f"log-sum-exp: {lse.reason}"), got)
    used = f"{lse.measured:.3g} of its budget" if lse.measured is not None else "within its budget"
    return unless_vacuous(replace(verdict, notes={**verdict.notes, "log-sum-exp": used}), proved.hole)


def judge_rows(trial: Trial, given: Given, rows: Any, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only the elements [rows] of the case's, rows indexing (b, hq, lq)."""
    if got.fault is not None:
        return got.fault
    return judge_against(trial, taken(proof(trial, given), rows), got)


def taken(proved: Proof, rows: Any) -> Proof:
    """The part of a proof that holds for the elements [rows] of (b, hq, lq)."""

    def part(array: Floats, like: Floats) -> Floats:
        cut: Floats = np.broadcast_to(array, like.shape)[rows]
        return cut

    def some(array: Floats | None, like: Floats) -> Floats | None:
        return None if array is None else part(array, like)

    def truth(of: Truth) -> Truth:
        return Truth(of.hi[rows], part(of.lo, of.hi), part(of.radius, of.hi), part(of.weight, of.hi), of.rung)

    def budget(of: Budget, like: Floats) -> Budget:
        sigma, before, slack = some(of.sigma, like), some(of.before, like), some(of.overflow_slack, like)
        return replace(of, allowed=part(of.allowed, like), sigma=sigma, before=before, overflow_slack=slack)

    both = AttentionTruth(truth(proved.truth.out), truth(proved.truth.lse))
    out, lse = budget(proved.out, proved.truth.out.hi), budget(proved.lse, proved.truth.lse.hi)
    return replace(proved, truth=both, out=out, lse=lse)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that one answer alone is right for; the log-sum-exp is held by its bound."""
    if got.fault is not None:
        return got.fault
    found = proof(trial, given).truth.out
    # The recipe's weights are 0 and 1 in FP64, so that its answer is a value of V.
    zero = np.zeros(found.hi.shape)
    exact = Truth(found.hi, zero, zero, found.weight, "closed form")
    verdict = noted(trial, judge_exact(got.codes, Format.of(trial.formats["out"]), exact, trial.contract), got)
    if verdict.outcome is not Outcome.PASS or got.lse is None:
        return verdict
    within = judge_within(trial, given, got)
    return within if within.outcome.failed else verdict


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique, else `judge_within`."""
    return (judge_unique if trial.case.recipe in UNIQUE else judge_within)(trial, given, got)


def lse_contract(contract: Contract) -> Contract:
    """The contract of the log-sum-exp, which is rounded to nearest."""
    return replace(contract, output_rounding="nearest-even", overflow=None)


def noted(trial: Trial, verdict: Verdict, got: Obtained) -> Verdict:
    """`verdict` with what the harness noted about the call, and with the result's digest if it is to be repeatable."""
    digest = sha256(got.codes.tobytes()).hexdigest()[:16] if trial.contract.deterministic else ""
    return replace(verdict, notes={**got.notes, **verdict.notes}, digest=digest)


def unless_vacuous(verdict: Verdict, hole: str) -> Verdict:
    """`verdict`, or VACUOUS in place of PASS where the budget has a hole."""
    if verdict.outcome is Outcome.PASS and hole:
        return replace(verdict, outcome=Outcome.VACUOUS, reason=hole)
    return verdict


def _widened(proved: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]

    def wide(budget: Budget) -> Budget:
        formula = f"{factor:g} * ({budget.formula}), since {why}"
        return replace(budget, allowed=factor * budget.allowed, formula=formula)

    out, lse = wide(proved.out), wide(proved.lse)
    hole = vacuity(Format.of(trial.formats["out"]), proved.truth.out, out, trial.contract)
    return replace(proved, out=out, lse=lse, hole=hole)


@lru_cache(maxsize=KEPT)
def _kept_truth(drawn: Drawn, options: tuple[tuple[str, Any], ...], alignment: str, masked_row: str) -> AttentionTruth:
    policies = Contract(causal_alignment=alignment, masked_row=masked_row)
    return attention_truth(posed_by(drawn, options, policies))


@lru_cache(maxsize=KEPT)
def _kept_proof(
    contract: Contract, formats: tuple[tuple[str, str], ...], drawn: Drawn, options: tuple[tuple[str, Any], ...]
) -> Proof:
    posed = posed_by(drawn, options, contract)
    truth = _kept_truth(drawn, options, contract.causal_alignment, contract.masked_row)
    out, lse = attention_budget(contract, dict(formats), posed, truth)
    return Proof(posed, truth, out, lse, vacuity(Format.of(dict(formats)["out"]), truth.out, out, contract))
