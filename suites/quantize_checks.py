"""Checks of quantizers on single calls and on two at the same addresses: every code and every scale is right."""

from dataclasses import replace

from lastbit.case import Trial
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.comparison import with_note
from lastbit.suites.quantize_trial import format_error, inputs, judge, quantized, scaling, sizes, whole
from lastbit.suites.trials import obtain
from lastbit.verdict import Outcome, Verdict


def result(trial: Trial) -> Verdict:
    """Every code, scale, zero point and global scale."""
    given = inputs(trial)
    return judge(trial, given, obtain(trial, given))


def exact(trial: Trial) -> Verdict:
    """The same, with the format's own error noted."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    found = None if got.fault is not None else quantized(trial, given, got)[0]
    if found is None:
        return verdict
    return with_note(verdict, "format error", format_error(given.operands["x"].values, found, scaling(trial)))


def special(trial: Trial) -> Verdict:
    """NaN and infinities become what is promised; where nothing is promised of NaN, a kernel may refuse it."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    chosen = scaling(trial)
    is_open = chosen.nan is None and not Format.of(chosen.element).has_nan
    if is_open and verdict.outcome is Outcome.CRASHED and verdict.reason.startswith("raised "):
        return Verdict(Outcome.PASS, notes={**got.notes, "NaN": f"refused: {verdict.reason}"})
    return verdict


def tails(trial: Trial) -> Verdict:
    """Numbers that fill no group or no byte are quantized as others are; a kernel without "tails" may refuse them."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    short = any(size % whole(trial, name) for name, size in sizes(trial).items())
    if not short or "tails" in trial.kernel.features or not verdict.outcome.failed:
        return verdict
    if verdict.outcome is Outcome.CRASHED and verdict.reason.startswith("raised "):
        return Verdict(Outcome.PASS, notes={**got.notes, "short groups": f"refused: {verdict.reason}"})
    return replace(verdict, reason=f"neither refused nor right, of a short group: {verdict.reason}")


def second_call(trial: Trial) -> Verdict:
    """Other numbers at the same addresses have other scales: none is remembered by address or shape."""
    return comparison.second_call(trial, (inputs(trial), inputs(trial, shift=1)), judge)


def repeat(trial: Trial) -> Verdict:
    """The same numbers at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge)
