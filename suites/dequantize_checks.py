"""Checks of dequantizers: every code and scale is worth what it should be, whatever the layout, call after call."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.harness import series
from lastbit.suites.dequantize_trial import inputs, is_short, judge, obtain
from lastbit.suites.trials import layouts
from lastbit.verdict import Outcome, Verdict

REPEATS = 3


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
    given = inputs(trial), inputs(trial, shift=1)
    results = series(trial, [one.operands for one in given], layouts=layouts(trial))
    for name, one, got in zip(("first call", "second call, same addresses"), given, results, strict=True):
        verdict = judge(trial, one, got)
        if verdict.outcome.failed:
            return replace(verdict, reason=f"{name}: {verdict.reason}")
    return verdict


def repeat(trial: Trial) -> Verdict:
    """The same codes at other addresses give the same bits, if the contract says deterministic."""
    given = inputs(trial)
    first = obtain(trial, given)
    verdict = judge(trial, given, first)
    for turn in range(2, REPEATS + 1):
        if verdict.outcome.failed:
            return verdict
        again = obtain(trial, given)
        if again.fault is not None:
            return again.fault
        if not np.array_equal(first.codes, again.codes):
            text = f"call {turn} differs from call 1"
            if trial.contract.deterministic:
                return Verdict(Outcome.LAW_BROKEN, f"repeatability: {text}", 1.0, 0.0, notes=verdict.notes)
            return replace(verdict, notes={**verdict.notes, "repeatability": f"not promised; {text}"})
    return replace(verdict, notes={**verdict.notes, "repeatability": f"{REPEATS} calls, same bits"})
