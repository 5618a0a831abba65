"""Truth, budgets and verdict of an attention trial: what its result and its log-sum-exp are judged by."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_budget import budget as attention_budget
from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.judge import judge
from lastbit.references.attention import AttentionTruth, attention_truth
from lastbit.references.attention_data import problem_of
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.results import lse_format
from lastbit.suites.attention_trial import Given
from lastbit.suites.proofs import Formats, judge_exactly, kept, part_of_budget, part_of_truth, proved, widened_budget
from lastbit.suites.trials import noted, unless_vacuous
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


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budgets and vacuity of the case on `given`."""
    # The forward pass adds no gradients.
    found = proof_of(given, replace(trial.contract, head_gradients=None), tuple(trial.formats.items()))
    if "budget_factor" not in trial.settings:
        return found
    wide = proved(found.truth.out, widened_budget(found.out, trial), trial.formats, trial.contract)
    return replace(found, out=wide.budget, lse=widened_budget(found.lse, trial), hole=wide.hole)


@kept(KEPT)
def proof_of(given: Given, contract: Contract, formats: Formats) -> Proof:
    """Truth, budgets and vacuity of drawn operands, kept for the next kernel."""
    truth = _truth(given, contract.causal_alignment, contract.masked_row)
    return weighed(contract, formats, problem_of(given.operands, given.options, contract), truth)


def weighed(contract: Contract, formats: Formats, posed: Problem, truth: AttentionTruth) -> Proof:
    """Budgets and vacuity of a problem whose truth is at hand."""
    out, lse = attention_budget(contract, dict(formats), posed, truth)
    return Proof(posed, truth, out, lse, proved(truth.out, out, dict(formats), contract).hole)


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


def judge_part(trial: Trial, given: Given, index: Any, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only the elements [index] of the case's, an index of (b, hq, lq)."""
    return got.fault or judge_against(trial, taken(proof(trial, given), index), got)


def taken(whole: Proof, index: Any) -> Proof:
    """The part of a proof that holds for the elements [index] of (b, hq, lq)."""
    truths = (whole.truth.out, whole.truth.lse)
    out, lse = (
        part_of_budget(budget, truth.hi.shape, index)
        for budget, truth in zip((whole.out, whole.lse), truths, strict=True)
    )
    both = AttentionTruth(*(part_of_truth(truth, index) for truth in truths))
    return replace(whole, truth=both, out=out, lse=lse)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that one answer alone is right for; the log-sum-exp is held by its bound."""
    if got.fault is not None:
        return got.fault
    found = proof(trial, given).truth.out
    # The recipe's weights are 0 and 1 in FP64, so that its answer is a value of V.
    zero = np.zeros(found.hi.shape)
    exact = Truth(found.hi, zero, zero, found.weight, "closed form")
    verdict = judge_exactly(trial, exact, got)
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


@kept(KEPT)
def _truth(given: Given, alignment: str, masked_row: str) -> AttentionTruth:
    policies = Contract(causal_alignment=alignment, masked_row=masked_row)
    return attention_truth(problem_of(given.operands, given.options, policies))
