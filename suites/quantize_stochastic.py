"""The check of quantizers that round stochastically: how often each neighbour is taken, and whether draws are apart."""

from dataclasses import replace
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.formats import Format
from lastbit.references.quantize import Scales, quantize_with, scales
from lastbit.references.quantize_draw import per_element
from lastbit.references.scaling import Scaling
from lastbit.statistics import FALSE_ALARM
from lastbit.suites.comparison import with_note
from lastbit.suites.quantize_trial import inputs, judge, known_scales, quantized, scaling
from lastbit.suites.trials import obtain
from lastbit.verdict import Outcome, Verdict

Array = NDArray[np.float64]

#: Distances of the numbers whose draws are compared: a random number shared by a vector or a block shows.
STRIDES = (1, 2, 4, 8, 16, 32)
#: What the promised arithmetic may move a share by, and the 2^-12 that a generator of few bits may.
SHARE_ERROR = 2.0**-12


def frequencies(trial: Trial) -> Verdict:
    """A share of f between two elements goes to the upper one with probability f, independently of its neighbours.

    Numbers of one row have one share. By Hoeffding's inequality the frequency of n draws is further from f than
    sqrt(ln(2 tests / FALSE_ALARM) / 2n) with a probability of at most FALSE_ALARM / tests.
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
    between = (lower < upper) & np.isfinite(share)
    went_up = _values(found.codes, chosen) == upper
    rows = [(share[row][between[row]], went_up[row][between[row]]) for row in np.ndindex(between.shape[:-1])]
    rows = [(shares, ups) for shares, ups in rows if shares.size > max(STRIDES)]
    if not rows:
        return Verdict(Outcome.VACUOUS, "no number lies between two elements", notes=verdict.notes)
    tests = len(rows) * (1 + len(STRIDES)) + 1
    worst = 0.0
    for number, (shares, ups) in enumerate(rows):
        for what, expected, seen in _tests(shares, ups):
            allowed = _bound(seen.size, tests)
            gap = abs(float(seen.mean()) - float(expected.mean()))
            worst = max(worst, gap / allowed)
            if gap > allowed:
                return _broken(f"row {number}: {what}", seen, expected, allowed, verdict)
    every = np.concatenate([shares for shares, _ in rows]), np.concatenate([ups for _, ups in rows])
    gap, allowed = abs(float(every[1].mean() - every[0].mean())), _bound(every[0].size, tests)
    if gap > allowed:
        return _broken("all rows: rounded up", every[1], every[0], allowed, verdict)
    used = 100 * max(worst, gap / allowed)
    note = f"{tests} tests of {every[0].size} draws, false alarm {FALSE_ALARM:g}, {used:.0f} % of a bound used"
    return with_note(verdict, "stochastic", note)


def _tests(shares: Array, ups: NDArray[np.bool_]) -> "list[tuple[str, Array, NDArray[np.bool_]]]":
    """What is counted in a row: the text, the probability of each, and whether it happened."""
    found = [("rounded up", shares, ups)]
    for stride in STRIDES:
        # Pairs that share no number, so that what is counted is independent.
        first = np.flatnonzero(np.arange(ups.size - stride) % (2 * stride) < stride)
        one, other = shares[first], shares[first + stride]
        alike = one * other + (1 - one) * (1 - other)
        found.append((f"numbers {stride} apart rounded alike", alike, ups[first] == ups[first + stride]))
    return found


def _bound(count: int, tests: int) -> float:
    return sqrt(log(2 * tests / FALSE_ALARM) / (2 * count)) + 2 * SHARE_ERROR


def _shares(x: Array, chosen: Scaling, known: Scales, lower: Array, upper: Array) -> Array:
    """Where the quotient lies between its neighbours, from 0 to 1."""
    step, zero = per_element(known, chosen, x.shape)
    with np.errstate(all="ignore"):
        return np.asarray((x / step + zero - lower) / (upper - lower))


def _values(codes: NDArray[np.unsignedinteger], chosen: Scaling) -> Array:
    return Format.of(chosen.element).decode(codes)


def _broken(what: str, seen: NDArray[np.bool_], expected: Array, allowed: float, verdict: Verdict) -> Verdict:
    often, wanted = float(seen.mean()), float(expected.mean())
    reason = f"stochastic rounding: {what} in {often:.4f} of {seen.size} draws, expected {wanted:.4f} +- {allowed:.4f} "
    reason += f"(Hoeffding, false alarm {FALSE_ALARM:g} over all tests)"
    return Verdict(Outcome.LAW_BROKEN, reason, abs(often - wanted), allowed, notes=verdict.notes)
