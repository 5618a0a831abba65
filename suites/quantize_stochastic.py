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
#: What is counted, the probability of each, and whether it happened.
Claim = tuple[str, Array, NDArray[np.bool_]]

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
    claims = _claims(x.values, share, went_up, between)
    if not claims:
        return Verdict(Outcome.VACUOUS, "no number lies between two elements", notes=verdict.notes)
    used = 0.0
    for what, expected, seen in claims:
        allowed = sqrt(log(2 * len(claims) / FALSE_ALARM) / (2 * seen.size)) + 2 * SHARE_ERROR
        gap = abs(float(seen.mean()) - float(expected.mean()))
        used = max(used, gap / allowed)
        if gap > allowed:
            return _broken(what, seen, expected, allowed, verdict)
    note = f"{len(claims)} tests of {int(between.sum())} draws, false alarm {FALSE_ALARM:g}, "
    return with_note(verdict, "stochastic", f"{note}{100 * used:.0f} % of a bound used")


def _claims(x: Array, share: Array, went_up: NDArray[np.bool_], between: NDArray[np.bool_]) -> list[Claim]:
    """What is counted: of each row, and of all numbers of a sign, for a bias towards zero is none of both together."""
    found: list[Claim] = []
    pools: dict[str, list[tuple[Array, NDArray[np.bool_]]]] = {}
    for number, row in enumerate(np.ndindex(between.shape[:-1])):
        inside = between[row]
        if int(inside.sum()) <= max(STRIDES):
            continue
        shares, ups = share[row][inside], went_up[row][inside]
        found += [(f"row {number}: {what}", expected, seen) for what, expected, seen in _tests(shares, ups)]
        sign = "negative" if x[row][inside][0] < 0 else "positive"
        for pool in (f"{sign} numbers", "all numbers"):
            pools.setdefault(pool, []).append((shares, ups))
    for pool, parts in pools.items():
        whole = np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts])
        found.append((f"{pool}: rounded up", *whole))
    return found


def _tests(shares: Array, ups: NDArray[np.bool_]) -> list[Claim]:
    """What is counted in a row."""
    found: list[Claim] = [("rounded up", shares, ups)]
    for stride in STRIDES:
        # Pairs that share no number, so that what is counted is independent.
        first = np.flatnonzero(np.arange(ups.size - stride) % (2 * stride) < stride)
        one, other = shares[first], shares[first + stride]
        alike = one * other + (1 - one) * (1 - other)
        found.append((f"numbers {stride} apart rounded alike", alike, ups[first] == ups[first + stride]))
    return found


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
