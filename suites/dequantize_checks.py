"""Checks of dequantizers: every code and scale is worth what it should be, whatever the layout, call after call."""

from dataclasses import replace

from lastbit.case import Trial
from lastbit.suites import comparison
from lastbit.suites.dequantize_trial import inputs, is_short, judge
from lastbit.suites.trials import obtain
from lastbit.verdict import Outcome, Verdict


def result(trial: Trial) -> Verdict:
    """Every number."""
    given = inputs(trial)
    return judge(trial, given, obtain(trial, given))


def tails(trial: Trial) -> Verdict:
    """Codes that fill no group are worth what others are; a kernel without "tails" may refuse them."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    if not is_short(trial) or "tails" in trial.kernel.features or not verdict.outcome.failed:
        return verdict
    if verdict.outcome is Outcome.CRASHED and verdict.reason.startswith("raised "):
        return Verdict(Outcome.PASS, notes={**got.notes, "short groups": f"refused: {verdict.reason}"})
    return replace(verdict, reason=f"neither refused nor right, of a short group: {verdict.reason}")


def second_call(trial: Trial) -> Verdict:
    """Other codes and scales at the same addresses: none is remembered by address or shape."""
    return comparison.second_call(trial, (inputs(trial), inputs(trial, shift=1)), judge)


def repeat(trial: Trial) -> Verdict:
    """The same codes at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge)
