"""Checks of dequantizers: every code and scale is worth what it should be, whatever the layout, call after call."""

from dataclasses import replace

from lastbit.case import Trial
from lastbit.references.data import Operand
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
    """Other scales at the same addresses, but for the first; then all other scales, and all other codes but the first.

    None is remembered by address, shape or first element.
    """
    first, second = inputs(trial), inputs(trial, shift=1)
    scales = first.changed(
        **{name: _but_first(old, second.operands[name]) for name, old in first.operands.items() if name != "codes"}
    )
    rest = second.changed(codes=_but_first(first.operands["codes"], second.operands["codes"]))
    return comparison.second_call(trial, (first, scales, rest), judge)


def repeat(trial: Trial) -> Verdict:
    """The same codes at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge)


def _but_first(old: Operand, new: Operand) -> Operand:
    """The new operand with the old one's first element."""
    codes, values = new.codes.copy(), new.values.copy()
    codes.flat[:1], values.flat[:1] = old.codes.flat[:1], old.values.flat[:1]
    return Operand(new.format, codes, values)
