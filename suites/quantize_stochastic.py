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

#: Distances of the numbers whose draws are compared: a random number shared by a vector, a block or a row shows.
STRIDES = (*range(1, 17), 32, 48, 64, 128)
#: Fewest draws that are counted.
FEWEST = 100
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
    claims = [*_claims(x.values, share, went_up, between), *_rows(share, went_up, between)]
    if claims and not trial.contract.deterministic:
        again = obtain(trial, given)
        verdict = judge(trial, given, again)
        second = None if verdict.outcome.failed else quantized(trial, given, again)[0]
        if second is None:
            return replace(verdict, reason=f"second call: {verdict.reason}")
        other = _values(second.codes, chosen) == upper
        claims.append(_alike("draws of two calls", share[between], share[between], went_up[between], other[between]))
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
        if int(inside.sum()) < FEWEST:
            continue
        shares, ups = share[row][inside], went_up[row][inside]
        found += [(f"row {number}: {what}", expected, seen) for what, expected, seen in _tests(shares, ups)]
        sign = "negative" if x[row][inside][0] < 0 else "positive"
        for pool in (f"{sign} numbers: rounded up", "all numbers: rounded up"):
            pools.setdefault(pool, []).append((shares, ups))
        for what, expected, seen in _distances(shares, ups, fewest=1):
            pools.setdefault(f"all rows: {what}", []).append((expected, seen))
    for pool, parts in pools.items():
        whole = np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts])
        found.append((pool, *whole))
    return found


def _tests(shares: Array, ups: NDArray[np.bool_]) -> list[Claim]:
    """What is counted in a row."""
    return [("rounded up", shares, ups), *_distances(shares, ups, FEWEST)]


def _distances(shares: Array, ups: NDArray[np.bool_], fewest: int) -> list[Claim]:
    """Of the distances that leave so many pairs, which draws that far apart round alike."""
    found: list[Claim] = []
    for stride in STRIDES:
        # Pairs that share no number, so that what is counted is independent.
        first = np.flatnonzero(np.arange(max(0, ups.size - stride)) % (2 * stride) < stride)
        if first.size >= fewest:
            then = first + stride
            found.append(_alike(f"numbers {stride} apart", shares[first], shares[then], ups[first], ups[then]))
    return found


def _rows(share: Array, went_up: NDArray[np.bool_], between: NDArray[np.bool_]) -> list[Claim]:
    """What is counted of numbers of one column in neighbouring rows, for draws that rows share; every pair apart."""
    shares, ups, inside = (part.reshape(-1, part.shape[-1]) for part in (share, went_up, between))
    found = []
    for row in range(len(shares) - 1):
        both = inside[row] & inside[row + 1]
        if int(both.sum()) >= FEWEST:
            what = f"rows {row} and {row + 1}: numbers of a column"
            found.append(_alike(what, shares[row][both], shares[row + 1][both], ups[row][both], ups[row + 1][both]))
    return found


def _alike(what: str, one: Array, other: Array, ups: NDArray[np.bool_], others: NDArray[np.bool_]) -> Claim:
    """Independent draws with these shares round alike with probability one * other + (1 - one) * (1 - other)."""
    return f"{what} rounded alike", one * other + (1 - one) * (1 - other), ups == others


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
