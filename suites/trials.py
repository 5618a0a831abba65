"""What the trials of every law share: the promised accumulator, layouts by operand, and what a verdict notes."""

from dataclasses import replace
from hashlib import sha256

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.references.accumulators import Accumulator
from lastbit.verdict import Outcome, Verdict


def accumulator(trial: Trial) -> Accumulator:
    """The accumulator that the trial's contract promises."""
    return accumulator_of(trial.contract)


def accumulator_of(contract: Contract) -> Accumulator:
    """The accumulator that a resolved contract promises."""
    promised = contract.accumulator
    return promised if isinstance(promised, Accumulator) else Accumulator.of(str(promised))


def layouts(trial: Trial) -> dict[str, str]:
    """Memory layout of each operand, by name; those not named are contiguous."""
    if trial.case.layout == "contiguous":
        return {}
    pairs = (part.partition(":") for part in trial.case.layout.split("+"))
    return {name: layout for name, _, layout in pairs}


def noted(trial: Trial, verdict: Verdict, got: Obtained) -> Verdict:
    """`verdict` with what the harness noted about the call, and with the result's digest if it is to be repeatable."""
    digest = sha256(got.codes.tobytes()).hexdigest()[:16] if trial.contract.deterministic else ""
    return replace(verdict, notes={**got.notes, **verdict.notes}, digest=digest)


def unless_vacuous(verdict: Verdict, hole: str) -> Verdict:
    """`verdict`, or VACUOUS in place of PASS where the budget has a hole."""
    if verdict.outcome is Outcome.PASS and hole:
        return replace(verdict, outcome=Outcome.VACUOUS, reason=hole)
    return verdict
