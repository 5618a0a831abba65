"""Attention checks of memory: layouts of the operands, and a second call with other data or another scale."""

from dataclasses import replace

from lastbit.case import Trial
from lastbit.suites import comparison
from lastbit.suites.attention_proof import judge_result, judge_within
from lastbit.suites.attention_trial import Given, as_called, inputs, obtain
from lastbit.verdict import Verdict

#: Factor between the scales of two calls that differ in nothing else.
OTHER_SCALE = 0.25


def second_call(trial: Trial) -> Verdict:
    """Other data at the same addresses gives another answer, and so does another scale."""
    given = inputs(trial), inputs(trial, shift=1)
    verdict = comparison.second_call(trial, given, judge_result, called=as_called)
    if verdict.outcome.failed or "scale" not in trial.kernel.features:
        return verdict
    return _rescaled(trial, given[0])


def _rescaled(trial: Trial, given: Given) -> Verdict:
    """The same operands with another scale: a scale kept from the first call shows."""
    scale = OTHER_SCALE * float(given.operands["q"].values.shape[-1] ** -0.5)
    other = Given(given.operands, {**given.options, "scale": scale})
    verdict = judge_within(trial, other, obtain(trial, other))
    if verdict.outcome.failed:
        return replace(verdict, reason=f"call with scale {scale:.4g} after one with the default: {verdict.reason}")
    return verdict
