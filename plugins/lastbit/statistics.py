"""Statistics of an output's errors: bias and mean square, each against a bound with a stated false alarm."""

from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.metrics import measure
from lastbit.references.chains import two_sum
from lastbit.references.formats import Format
from lastbit.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]
Codes = NDArray[np.unsignedinteger]

#: Probability that a check flags a kernel whose roundings are independent with mean zero.
FALSE_ALARM = 1e-9
#: Statistics of one check that can flag it; the bias ones have two sides.
TESTS = 3
#: Elements looked at, at most: the power of a bias test on 2^18 is that of 512 standard deviations.
SAMPLE = 1 << 18
#: With fewer independent elements, no bias that the bound would not see can be told from chance.
FEWEST = 64

#: What a bound of 0, where nothing may move, counts as in a ratio.
TINY = float(np.finfo(np.float64).tiny)

SOURCE = "budgets.md 10; Hoeffding 1963; Hsu, Kakade and Zhang 2012"


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number made of all errors, and the bound that an honest kernel breaks with a probability of 1e-9 / 3."""

    name: str
    value: float
    bound: float
    formula: str

    @property
    def ratio(self) -> float:
        """|value| / bound."""
        return min(abs(self.value) / max(self.bound, TINY), 1 / TINY)


def judge_statistics(codes: Codes, fmt: "str | Format", truth: "Truth", budget: Budget) -> Verdict:
    """Whether the errors of `codes`, read as `fmt`, look like independent roundings with mean zero.

    Each error is sub-Gaussian with scale budget.sigma, and the errors of different elements are independent: that holds
    for data without repeated rows or columns, and is made likelier here by keeping one element of each distinct
    significand of the truth. NOT_TESTED where the budget has no sigma or too few elements remain, else OVER_BUDGET if a
    statistic exceeds its bound, else PASS. `measured` is the largest statistic / bound.
    Error: an honest kernel is flagged with a probability of at most 1e-9. Source: docs/budgets.md.
    """
    fmt = Format.of(fmt)
    if budget.sigma is None:
        return Verdict(Outcome.NOT_TESTED, reason=f"no statistical budget: {budget.unstatistical}", proof=truth.rung)
    index = _independent(codes, fmt, truth, budget)
    if index.size < FEWEST:
        reason = f"{index.size} elements are independent of one another, fewer than {FEWEST}"
        return Verdict(Outcome.NOT_TESTED, reason=reason, proof=truth.rung)
    places = np.unravel_index(index, truth.hi.shape)
    x, lo = truth.hi[places], truth.lo[places]
    radius, sigma = (np.broadcast_to(array, truth.hi.shape)[places] for array in (truth.radius, budget.sigma))
    y = fmt.decode(codes.reshape(-1)[index])
    error = (y - x) - lo
    if budget.before is None:
        lean, scale, unsure = error, sigma, radius
    else:
        lean = y - fmt.round(x, lo)
        scale = _reach(fmt, x, lo, np.broadcast_to(budget.before, truth.hi.shape)[places])
        unsure = _reach(fmt, x, lo, radius)
    found = (*biases(lean, x, scale, unsure), mean_square(error, sigma, radius))
    worst = max(found, key=lambda statistic: statistic.ratio)
    broken = [statistic for statistic in found if statistic.ratio > 1]
    return Verdict(
        Outcome.OVER_BUDGET if broken else Outcome.PASS,
        reason="\n".join(_explain(statistic, index.size) for statistic in broken),
        measured=worst.ratio,
        allowed=1.0,
        formula=f"{worst.formula} [{SOURCE}]",
        proof=truth.rung,
        stats=measure(codes, fmt, truth, budget.allowed, budget.sigma).stats,
        notes={statistic.name: f"{statistic.ratio:.4g} of its bound" for statistic in found},
    )


def biases(error: Floats, x: Floats, scale: Floats, radius: Floats) -> tuple[Statistic, Statistic]:
    """Bias towards zero or away from it, and up or down, of errors with sub-Gaussian scales `scale`, known to `radius`.

    P(|sum e_i| > t) <= 2 exp(-t^2 / (2 sum scale_i^2)) (Hoeffding).
    """
    factor = sqrt(2 * log(2 * TESTS / FALSE_ALARM))
    bound = factor * sqrt(float(np.sum(scale * scale))) + float(radius.sum())
    formula = f"{factor:.3g}*sqrt(sum scale^2)"
    return (
        Statistic("signed bias", float(np.sum(error * np.sign(x))), bound, f"|sum error*sign(x)| <= {formula}"),
        Statistic("bias", float(error.sum()), bound, f"|sum error| <= {formula}"),
    )


def mean_square(error: Floats, sigma: Floats, radius: Floats) -> Statistic:
    """The sum of squares of errors with sub-Gaussian scales `sigma`, known to `radius`.

    P(sum (e_i/sigma_i)^2 > n + 2 sqrt(n t) + 2 t) <= exp(-t) (Hsu, Kakade and Zhang).
    """
    n, t = error.size, log(TESTS / FALSE_ALARM)
    share = np.maximum(np.abs(error) - radius, 0.0) / sigma
    formula = f"sum (error/sigma)^2 <= n + 2*sqrt({t:.3g}*n) + {2 * t:.3g}"
    return Statistic("mean square", float(np.sum(share * share)), n + 2 * sqrt(n * t) + 2 * t, formula)


def _reach(fmt: Format, x: Floats, lo: Floats, distance: Floats) -> Floats:
    """How far apart x - distance and x + distance are when rounded: the scale of result - rounded truth.

    The rounding error of the truth itself is no chance: it is a function of the data, and leans where these gather on
    one side of a tie. What is left of a result's error is 0 unless a tie is within `distance`.
    """
    low, high = (fmt.round(*two_sum(x, lo + side * distance)) for side in (-1.0, 1.0))
    return high - low


def _independent(codes: Codes, fmt: Format, truth: "Truth", budget: Budget) -> NDArray[np.int64]:
    """Flat indices of at most SAMPLE elements to take statistics of.

    Left out: truths that are zero or not finite, results that are not finite, elements that may overflow; and, of each
    significand of the truth, all but the first element, because equal, negated or power-of-two multiples of rows and
    columns repeat the same roundings.
    """
    size = truth.hi.size
    index = np.arange(0, size, max(1, -(-size // SAMPLE)) | 1)
    places = np.unravel_index(index, truth.hi.shape)
    x = truth.hi[places]
    y = fmt.decode(codes.reshape(-1)[index])
    fit = np.isfinite(x) & np.isfinite(y) & (x != 0)
    if budget.overflow_slack is not None:
        slack = np.broadcast_to(budget.overflow_slack, truth.hi.shape)[places]
        fit &= np.abs(x) + slack < min(fmt.max, -fmt.lowest if fmt.signed else fmt.max)
    significand = np.abs(np.frexp(x[fit])[0])
    first = np.unique(significand, return_index=True)[1]
    kept: NDArray[np.int64] = index[fit][np.sort(first)]
    return kept


def _explain(statistic: Statistic, n: int) -> str:
    if statistic.name == "mean square":
        return (
            f"root mean square {sqrt(statistic.value / n):.4g} of the scale over {n} elements, "
            f"allowed {sqrt(statistic.bound / n):.4g} ({statistic.formula})"
        )
    direction = {
        ("signed bias", True): "away from zero",
        ("signed bias", False): "towards zero",
        ("bias", True): "upwards",
        ("bias", False): "downwards",
    }[statistic.name, statistic.value > 0]
    return (
        f"errors lean {direction}: their sum over {n} elements is {statistic.ratio:.4g} times "
        f"what chance allows ({statistic.formula})"
    )
