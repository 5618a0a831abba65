"""The check of stochastic rounding: how often numbers are rounded up, and whether the draws are independent."""

from dataclasses import replace
from math import exp, lgamma, log

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.cast_data import STEPS, fractions
from lastbit.references.formats import Format
from lastbit.statistics import FALSE_ALARM
from lastbit.suites.cast_trial import has_data, inputs, judge_all, obtain
from lastbit.verdict import Outcome, Verdict

#: Distances, in elements, at which draws could be shared: lanes of a vector, threads of a warp, a tile.
LAGS = (1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 128, 256, 512, 1024)
#: Fewest draws that a distance leaves to look at.
FEWEST = 100


def frequencies(trial: Trial) -> Verdict:
    """Each number goes to one of its two neighbours, up as often as it is far up, drawn anew for each element and call.

    A number k/16 of the way from one neighbour to the next goes up with probability k/16 exactly, whatever the variant,
    of a kernel with at least 4 random bits. The tests are exact binomial ones, of the count at each number, of all
    counts (Hoeffding's inequality), and of draws at half that agree with those a distance apart or of another call.
    Error: an honest kernel is flagged with a probability of at most 1e-9 (Bonferroni).
    """
    given = inputs(trial)
    calls = []
    for turn in ("first call", "second call"):
        got = obtain(trial, given)
        verdict = judge_all(trial, given, got)
        if verdict.outcome is not Outcome.PASS:
            return replace(verdict, reason=f"{turn}: {verdict.reason}")
        calls.append(got.codes.reshape(-1))
    source, target = Format.of(trial.formats["x"]), Format.of(trial.formats["out"])
    x, low, k = fractions(source, target)
    order = np.argsort(k == STEPS // 2, kind="stable")
    x, low, k = x[order], low[order], k[order]
    each = given.x.codes.size // x.size
    used = each * x.size
    ups = [(codes[:used] != np.repeat(target.encode(low), each)).reshape(x.size, each) for codes in calls]
    halves = [up[k == STEPS // 2].reshape(-1) for up in ups]
    p = k / STEPS
    counts = sum(up.sum(axis=1) for up in ups[: 1 if trial.contract.deterministic else 2])
    draws = each * (1 if trial.contract.deterministic else 2)
    lags = [lag for lag in LAGS if halves[0].size - lag >= FEWEST]
    tests = x.size + 1 + len(lags) + 1
    limit = FALSE_ALARM / tests
    for i in np.flatnonzero(p > 0):
        chance = binomial_tail(int(counts[i]), draws, float(p[i]))
        if chance < limit:
            return _wrong(
                f"{float(x[i])!r} lies {int(k[i])}/{STEPS} of the way up and is rounded up {int(counts[i])} of {draws} times",
                chance,
                limit,
            )
    total, mean = float(np.sum(counts)), float(np.sum(p) * draws)
    chance = min(1.0, 2 * exp(-2 * (total - mean) ** 2 / (draws * x.size)))
    if chance < limit:
        return _wrong(f"biased: {total:g} of {draws * x.size} are rounded up, {mean:g} are expected", chance, limit)
    for lag in lags:
        agree = int(np.count_nonzero(halves[0][lag:] == halves[0][:-lag]))
        chance = binomial_tail(agree, halves[0].size - lag, 0.5)
        if chance < limit:
            text = f"draws {lag} elements apart agree {agree} of {halves[0].size - lag} times, half are expected"
            return _wrong(text, chance, limit)
    if not trial.contract.deterministic and halves[0].size >= FEWEST:
        agree = int(np.count_nonzero(halves[0] == halves[1]))
        chance = binomial_tail(agree, halves[0].size, 0.5)
        if chance < limit:
            text = f"two calls agree in {agree} of {halves[0].size} draws, half are expected"
            return _wrong(text, chance, limit)
    note = f"{x.size} numbers, {draws} draws each, as often up as they are far up"
    return replace(verdict, notes={**verdict.notes, "stochastic rounding": note})


def is_stochastic(trial: Trial) -> str:
    """Why frequencies say nothing about this kernel, or ""."""
    if trial.contract.output_rounding != "stochastic":
        return f"the contract promises {trial.contract.output_rounding}"
    return has_data(trial)


def binomial_tail(count: int, draws: int, p: float) -> float:
    """Twice the smaller of P(X <= count) and P(X >= count), at most 1, X binomial; 0 < p < 1.

    Error: relative 1e-9 (lgamma, and sums of positive terms).
    """
    size = np.arange(draws + 1, dtype=np.float64)
    logs = _log_binomial(draws) + size * log(p) + (draws - size) * log(1 - p)
    mass = np.exp(logs)
    return min(1.0, 2 * float(min(mass[: count + 1].sum(), mass[count:].sum())))


def _log_binomial(draws: int) -> NDArray[np.float64]:
    """log of draws over i, for i from 0 to draws."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, draws + 1)))])
    return np.asarray(lgamma(draws + 1) - logs - logs[::-1])


def _wrong(text: str, chance: float, limit: float) -> Verdict:
    reason = f"stochastic rounding: {text}; an honest kernel does that with probability {chance:.2g}, below {limit:.2g}"
    formula = f"binomial, false alarm {FALSE_ALARM:g} in all"
    return Verdict(Outcome.OVER_BUDGET, reason, chance, limit, formula=formula)
