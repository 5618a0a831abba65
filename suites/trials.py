"""What the trials of every law share: the operands of a call, the guarded call itself, and what a verdict notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained, call
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand
from lastbit.verdict import Outcome, Verdict

#: Distance between the seeds of data that differ in `shift` alone; prime, so that few shifts meet another seed.
SHIFT = 7919


@dataclass(frozen=True, slots=True)
class Given:
    """The operands of one call, its options, and what drew them, under which proofs are kept for the next kernel."""

    operands: Mapping[str, Operand]
    #: Keywords that the kernel is called with besides: alpha, causal, scale.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Arguments of the op's data recipe, hashable; None of operands that a check has changed.
    drawn: Any = None

    def changed(self, **operands: Operand) -> "Given":
        """The same call with some other operands."""
        return Given({**self.operands, **operands}, self.options)


def accumulator(trial: Trial) -> Accumulator:
    """The accumulator that the trial's contract promises."""
    return accumulator_of(trial.contract)


def accumulator_of(contract: Contract) -> Accumulator:
    """The accumulator that a resolved contract promises."""
    promised = contract.accumulator
    return promised if isinstance(promised, Accumulator) else Accumulator.of(str(promised))


def seed_of(trial: Trial, shift: int) -> int:
    """The seed of the trial's data; another `shift` gives other data."""
    return trial.seed + SHIFT * shift


def layouts(trial: Trial) -> dict[str, str]:
    """Memory layout of each operand, by name; those not named are contiguous."""
    if trial.case.layout == "contiguous":
        return {}
    pairs = (part.partition(":") for part in trial.case.layout.split("+"))
    return {name: layout for name, _, layout in pairs}


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout, fully guarded."""
    return call(trial, given.operands, layouts=layouts(trial), scalars=given.options)


def window_of(text: Any) -> tuple[int, int]:
    """The option "4:0" as the pair (left, right) that kernels take."""
    left, _, right = str(text).partition(":")
    return int(left), int(right)


def lacking(trial: Trial, wanted: set[str]) -> str:
    """Which of the features that a case wants the kernel has not, as a sentence, or ""."""
    missing = sorted(wanted - trial.kernel.features)
    return f"the kernel has no {', '.join(missing)}" if missing else ""


def unplaceable(trial: Trial) -> str:
    """Why the case's layout does not exist for the kernel's arrays, or ""."""
    if "reversed" in trial.case.layout and trial.kernel.framework != "numpy":
        return f"{trial.kernel.framework} has no negative strides"
    return ""


def noted(trial: Trial, verdict: Verdict, got: Obtained) -> Verdict:
    """`verdict` with what the harness noted about the call, and with the result's digest if it is to be repeatable."""
    digest = sha256(got.codes.tobytes()).hexdigest()[:16] if trial.contract.deterministic else ""
    return replace(verdict, notes={**got.notes, **verdict.notes}, digest=digest)


def unless_vacuous(verdict: Verdict, hole: str) -> Verdict:
    """`verdict`, or VACUOUS in place of PASS where the budget has a hole."""
    if verdict.outcome is Outcome.PASS and hole:
        return replace(verdict, outcome=Outcome.VACUOUS, reason=hole)
    return verdict
