"""Checks of casts that need no truth: the same call gives the same bits, and a larger number no smaller code."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.references.cast import beyond
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.cast_trial import has_data, inputs, judge_codes, of_codes
from lastbit.suites.trials import noted, obtain
from lastbit.verdict import Outcome, Verdict


def repeat(trial: Trial) -> Verdict:
    """The same numbers at other addresses give the same bits."""
    return comparison.repeat(trial, inputs(trial), obtain, judge_codes)


def monotone(trial: Trial) -> Verdict:
    """Numbers in ascending order become numbers in ascending order; no reference is asked."""
    target = Format.of(trial.formats["out"])
    x = inputs(trial).operands["x"]
    kept = ~np.isnan(x.values)
    if trial.contract.overflow in ("nan", "wrap", "any") or not target.signed:
        kept &= ~beyond(x.values, target, trial.contract.output_rounding)
    order = np.argsort(x.values[kept], kind="stable")
    codes = x.codes[kept][order]
    given = of_codes(trial, codes)
    got = obtain(trial, given)
    if got.fault is not None:
        return got.fault
    y = target.decode(got.codes & np.array((1 << target.bits) - 1, got.codes.dtype) if target.bits < 8 else got.codes)
    seen = ~np.isnan(y)
    y, values = y[seen], given.operands["x"].values[seen]
    falls = np.flatnonzero(~(y[1:] >= y[:-1]))
    verdict = Verdict(Outcome.PASS, measured=float(falls.size), allowed=0.0, formula="x <= y: cast(x) <= cast(y)")
    if falls.size:
        i = int(falls[0])
        reason = f"monotonicity: {values[i]!r} becomes {y[i]:g}, the larger {values[i + 1]!r} becomes {y[i + 1]:g}; "
        reason += f"{falls.size} of {y.size - 1} steps fall"
        verdict = replace(verdict, outcome=Outcome.LAW_BROKEN, reason=reason, where=f"({i + 1},)")
    return noted(trial, verdict, got)


def has_repeats(trial: Trial) -> str:
    """Why the same call may give other bits, or ""."""
    return has_data(trial) or (
        "" if trial.contract.deterministic else "the contract does not promise repeatable results"
    )


def has_order(trial: Trial) -> str:
    """Why larger numbers may become smaller, or ""."""
    if trial.contract.output_rounding == "stochastic":
        return "stochastic rounding keeps no order"
    return has_data(trial)
