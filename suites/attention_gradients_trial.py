"""What the checks of attention's gradients share: the upstream gradient, proofs of dQ, dK and dV, and the verdict."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_gradient_budget import NAMES, Parts, budget_of, weigh
from lastbit.attention_terms import working
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.judge import judge, judge_exact
from lastbit.references.attention_backward import Gradients, attention_gradients
from lastbit.references.attention_data import problem_of
from lastbit.references.attention_gradient_data import upstream
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.suites import attention_proof, attention_trial
from lastbit.suites.attention_trial import has_data
from lastbit.suites.proofs import Formats, Proof, kept, part_of, proved, widened_budget
from lastbit.suites.trials import Given, noted, unless_vacuous
from lastbit.verdict import Outcome, Verdict

#: Proofs kept for the next kernel that is judged on the same case.
KEPT = 24
#: Recipes whose weights are 0 and 1, so that dV is a sum of the upstream gradients, bit for bit.
UNIQUE = frozenset({"selected"})

Codes = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Proofs:
    """What result and log-sum-exp, and dQ, dK and dV by "q", "k" and "v", are judged by."""

    forward: attention_proof.Proof
    gradients: dict[str, Proof]


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands with an upstream gradient; another `shift` draws other data."""
    given = attention_trial.inputs(trial, shift=shift)
    shape = (*given.operands["q"].values.shape[:3], given.operands["v"].values.shape[3])
    grad_out = upstream(trial.case.recipe, shape, trial.formats["q"], given.drawn.seed)
    return replace(given, operands={**given.operands, "grad_out": grad_out})


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, fully guarded: its results, then dq, dk and dv."""
    return attention_trial.obtain(trial, given)


def has_gradients(trial: Trial) -> str:
    """ "" if the kernel has a backward pass for the case, else why there is nothing to judge."""
    if "gradients" not in trial.kernel.features:
        return "the kernel has no gradients"
    if trial.contract.masked_row == "nan" and trial.case.options:
        return "the contract makes rows without keys NaN, and so what depends on them"
    return has_data(trial)


def has_ignored_keys(trial: Trial) -> str:
    """Why nothing can be said about the values of masked keys, or ""."""
    if trial.contract.masked_keys == "computed":
        return "the contract computes with masked keys, so that NaN among them may come through"
    return has_gradients(trial)


def gradients_of(got: Obtained) -> dict[str, Codes | None]:
    """The codes of dq, dk and dv among a call's results, by "q", "k" and "v"."""
    return dict(zip(NAMES, got.others[-len(NAMES) :], strict=True))


def forward_of(got: Obtained) -> Obtained:
    """The results of the forward pass alone."""
    return replace(got, others=got.others[: -len(NAMES)])


def proofs(trial: Trial, given: Given) -> Proofs:
    """Truth, budgets and vacuity of the case on `given`, of both passes."""
    forward = attention_proof.proof(trial, given)
    found = _proofs(given, trial.contract, tuple(trial.formats.items()))
    if "budget_factor" not in trial.settings:
        return Proofs(forward, found)
    wide = {
        name: proved(one.truth, widened_budget(one.budget, trial), _as_out(trial.formats, name), trial.contract)
        for name, one in found.items()
    }
    return Proofs(forward, wide)


def judge_gradients(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on both passes: each result within its own bound; dV bit for bit where one answer is right."""
    return got.fault or judge_against(trial, proofs(trial, given), got, trial.case.recipe in UNIQUE)


def judge_part(trial: Trial, given: Given, index: Any, got: Obtained) -> Verdict:
    """`judge_gradients` of a call that had only the sequences [index] of the case."""
    if got.fault is not None:
        return got.fault
    whole = proofs(trial, given)
    parts = {name: part_of(one, index) for name, one in whole.gradients.items()}
    return judge_against(trial, Proofs(attention_proof.taken(whole.forward, index), parts), got, False)


def judge_against(trial: Trial, proved: Proofs, got: Obtained, unique: bool) -> Verdict:
    """The worst verdict on the results of both passes by proofs at hand; of those that pass, the closest to failing.

    VACUOUS where a gradient's bound would also accept a wrong one.
    """
    if got.fault is not None:
        return got.fault
    forward = attention_proof.judge_against(trial, proved.forward, forward_of(got))
    if forward.outcome.failed:
        return forward
    codes, passed = gradients_of(got), {}
    for name, proof in proved.gradients.items():
        verdict = _judge(trial, name, codes[name], proof, unique)
        if verdict.outcome is not Outcome.PASS:
            return noted(trial, replace(verdict, reason=f"d{name}: {verdict.reason}"), got)
        passed[name] = verdict
    notes = {f"d{name}": f"{used(verdict):.3g} of its budget" for name, verdict in passed.items()}
    every = np.concatenate([one.reshape(-1).view(np.uint8) for one in codes.values() if one is not None])
    found = noted(trial, replace(max(passed.values(), key=used), notes=notes), replace(got, codes=every))
    holes = [f"d{name}: {proof.hole}" for name, proof in proved.gradients.items() if proof.hole]
    return unless_vacuous(found, "; ".join(holes))


def used(verdict: Verdict) -> float:
    """The share of its budget that a result used."""
    return verdict.measured or 0.0


def planted(given: Given, **changes: Callable[[NDArray[np.float64]], None]) -> Given:
    """`given` with operands whose values a function has changed in place."""
    changed = {}
    for name, change in changes.items():
        operand = given.operands[name]
        values = operand.values.copy()
        change(values)
        changed[name] = type(operand).of(values, operand.format)
    return given.changed(**changed)


def _judge(trial: Trial, name: str, codes: Codes | None, proof: Proof, unique: bool) -> Verdict:
    if codes is None:
        return Verdict(Outcome.WRONG_STRUCTURE, "it is no array")
    fmt = Format.of(trial.formats[name])
    verdict = judge(codes, fmt, proof.truth, proof.budget, trial.contract)
    if verdict.outcome is not Outcome.PASS or name != "v" or not unique:
        return verdict
    zero = np.zeros(proof.truth.hi.shape)
    return judge_exact(
        codes, fmt, Truth(np.rint(proof.truth.hi), zero, zero, proof.truth.weight, "closed form"), trial.contract
    )


@kept(KEPT)
def _truth(given: Given, alignment: str, masked_row: str) -> Gradients:
    policies = Contract(causal_alignment=alignment, masked_row=masked_row)
    return attention_gradients(problem_of(given.operands, given.options, policies), given.operands["grad_out"].values)


@kept(KEPT)
def _proofs(given: Given, contract: Contract, formats: Formats) -> dict[str, Proof]:
    named, truth = dict(formats), _truth(given, contract.causal_alignment, contract.masked_row)
    problem = problem_of(given.operands, given.options, contract)
    parts = _parts(given, replace(contract, head_gradients=None), formats)
    budgets = budget_of(contract, named, problem, parts, truth)
    return {
        name: proved(getattr(truth, name), budget, _as_out(named, name), contract) for name, budget in budgets.items()
    }


@kept(KEPT)
def _parts(given: Given, contract: Contract, formats: Formats) -> dict[str, Parts]:
    forward = attention_proof.proof_of(given, contract, formats)
    out, work = given.operands["grad_out"].values, working(contract, dict(formats))
    return weigh(work, forward.problem, out, forward.truth, (forward.out, forward.lse))


def _as_out(formats: Any, name: str) -> dict[str, str]:
    """The formats with that of a gradient in the result's place."""
    return {**formats, "out": formats[name]}
