"""The check of stochastic rounding: how often numbers are rounded up, and whether the draws are independent."""

from dataclasses import dataclass, replace
from math import exp, lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.cast_points import STEPS, fractions
from lastbit.references.formats import Format
from lastbit.statistics import FALSE_ALARM
from lastbit.suites.cast_trial import has_data, inputs, judge_all
from lastbit.suites.comparison import with_note
from lastbit.suites.trials import obtain
from lastbit.verdict import Outcome, Verdict

Floats = NDArray[np.float64]

#: Distances, in elements, at which draws could be shared: lanes of a vector, threads of a warp, a tile.
LAGS = (1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 128, 256, 512, 1024)
#: Fewest draws that a distance leaves to look at.
FEWEST = 100


@dataclass(frozen=True, slots=True)
class Draws:
    """Which elements of two calls went up, by number."""

    #: The numbers, and how many sixteenths of the way up each lies.
    x: Floats
    steps: Floats
    #: (number, draw) of each call.
    ups: tuple[NDArray[np.bool_], ...]

    @property
    def halves(self) -> list[NDArray[np.bool_]]:
        """The draws of each call at numbers halfway up, in the order of the elements."""
        return [up[self.steps == STEPS // 2].reshape(-1) for up in self.ups]


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
    anew = not trial.contract.deterministic
    draws = _draws(trial, calls)
    claims = [*_counts(draws, calls=2 if anew else 1), *_distances(draws), *(_calls(draws) if anew else ())]
    limit = FALSE_ALARM / len(claims)
    for text, chance in claims:
        if chance < limit:
            return _wrong(text, chance, limit)
    note = f"{draws.x.size} numbers, {draws.ups[0].shape[1]} draws each, as often up as they are far up"
    return with_note(verdict, "stochastic rounding", note)


def _draws(trial: Trial, calls: list[NDArray[Any]]) -> Draws:
    source, target = Format.of(trial.formats["x"]), Format.of(trial.formats["out"])
    x, low, steps = fractions(source, target)
    order = np.argsort(steps == STEPS // 2, kind="stable")
    each = calls[0].size // x.size
    down = np.repeat(target.encode(low[order]), each)
    ups = tuple((codes[: down.size] != down).reshape(x.size, each) for codes in calls)
    return Draws(x[order], steps[order], ups)


def _counts(draws: Draws, calls: int) -> list[tuple[str, float]]:
    """How likely the count of each number, and that of all, is."""
    up = np.concatenate(draws.ups[:calls], axis=1)
    counts, each = up.sum(axis=1), up.shape[1]
    found = []
    for x, k, count in zip(draws.x, draws.steps, counts, strict=True):
        if k:
            text = f"{float(x)!r}, {int(k)}/{STEPS} of the way up, is rounded up {count} of {each} times"
            found.append((text, binomial_tail(int(count), each, k / STEPS)))
    total, mean = float(counts.sum()), float(draws.steps.sum()) / STEPS * each
    text = f"biased: {total:g} of {up.size} are rounded up, {mean:g} are expected"
    return [*found, (text, min(1.0, 2 * exp(-2 * (total - mean) ** 2 / up.size)))]


def _distances(draws: Draws) -> list[tuple[str, float]]:
    """How likely it is that so many draws agree with those a distance apart; fair coins agree in half of all."""
    first = draws.halves[0]
    found = []
    for lag in LAGS:
        size = first.size - lag
        if size >= FEWEST:
            agree = int(np.count_nonzero(first[lag:] == first[:-lag]))
            text = f"draws {lag} elements apart agree {agree} of {size} times, half are expected"
            found.append((text, binomial_tail(agree, size, 0.5)))
    return found


def _calls(draws: Draws) -> list[tuple[str, float]]:
    """How likely it is that so many draws of one call agree with those of the other."""
    first, second = draws.halves
    agree = int(np.count_nonzero(first == second))
    text = f"two calls agree in {agree} of {first.size} draws, half are expected"
    return [(text, binomial_tail(agree, first.size, 0.5))]


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
