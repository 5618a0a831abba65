"""The check of quantizers that round stochastically: how often each neighbour is taken, and whether draws are apart."""

from dataclasses import replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.formats import Format
from lastbit.references.quantize import Scales, quantize_with, scales
from lastbit.references.quantize_draw import per_element
from lastbit.references.scaling import Scaling
from lastbit.statistics import FALSE_ALARM
from lastbit.suites.comparison import with_note
from lastbit.suites.quantize_draws import Draws, Tally, draws_of_two_calls, tallies, too_far
from lastbit.suites.quantize_trial import inputs, judge, known_scales, quantized, scaling
from lastbit.suites.trials import obtain
from lastbit.verdict import Outcome, Verdict

Array = NDArray[np.float64]


def frequencies(trial: Trial) -> Verdict:
    """A share of f between two elements goes to the upper one with probability f, whatever the other draws are.

    Numbers of one row have one share. Every tally of `quantize_draws.tallies` is of independent draws, and is further
    from what is expected of it with a probability of at most FALSE_ALARM over all of them.
    """
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    found = None if verdict.outcome.failed else quantized(trial, given, got)[0]
    if found is None:
        return verdict
    chosen, x = scaling(trial), given.operands["x"]
    known = known_scales(chosen, given.operands) or scales(x.values, chosen, x.format)
    lower, upper = (
        _values(quantize_with(x.values, known, replace(chosen, rounding=way), x.format).codes, chosen)
        for way in ("down", "up")
    )
    share = _shares(x.values, chosen, known, lower, upper)
    draws = Draws.of(share, _values(found.codes, chosen) == upper, (lower < upper) & np.isfinite(share), x.values < 0)
    counted = tallies(draws)
    if counted and not trial.contract.deterministic:
        again = obtain(trial, given)
        verdict = judge(trial, given, again)
        second = None if verdict.outcome.failed else quantized(trial, given, again)[0]
        if second is None:
            return replace(verdict, reason=f"second call: {verdict.reason}")
        counted.append(draws_of_two_calls(draws, _values(second.codes, chosen) == upper))
    if not counted:
        return Verdict(Outcome.VACUOUS, "no number lies between two elements", notes=verdict.notes)
    most = log(2 * len(counted) / FALSE_ALARM)
    worst = max(counted, key=too_far)
    if too_far(worst) > most:
        return _broken(worst, most, verdict)
    note = f"{len(counted)} tallies of {int(draws.between.sum())} draws, false alarm {FALSE_ALARM:g}, "
    return with_note(verdict, "stochastic", f"{note}{100 * too_far(worst) / most:.0f} % of a bound used")


def _shares(x: Array, chosen: Scaling, known: Scales, lower: Array, upper: Array) -> Array:
    """Where the quotient lies between its neighbours, from 0 to 1."""
    step, zero = per_element(known, chosen, x.shape)
    with np.errstate(all="ignore"):
        return np.asarray((x / step + zero - lower) / (upper - lower))


def _values(codes: NDArray[np.unsignedinteger], chosen: Scaling) -> Array:
    return Format.of(chosen.element).decode(codes)


def _broken(tally: Tally, most: float, verdict: Verdict) -> Verdict:
    reason = f"stochastic rounding: {tally.what} in {tally.seen:.4f} of {tally.draws} draws, expected "
    reason += f"{tally.expected:.4f}; right draws are as far off with a probability below {exp(-too_far(tally)):.2g} "
    reason += f"(Chernoff, false alarm {FALSE_ALARM:g} over all tallies)"
    return Verdict(Outcome.LAW_BROKEN, reason, too_far(tally), most, notes=verdict.notes)
