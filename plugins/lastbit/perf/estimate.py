"""Estimate: how much slower one side is, as the median of paired ratios with an interval that assumes nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

#: How sure the interval is, at least.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time of head / time of base."""

    ratio: float
    #: Ends of the interval that holds the true median with at least `confidence`; 0 and inf where there are too few.
    low: float
    high: float
    #: Pairs.
    n: int
    #: The probability that the interval really has, by exact enumeration: 95 % or a little more.
    confidence: float

    @property
    def half_width(self) -> float:
        """Half of the interval in logarithms: about the relative uncertainty of the ratio."""
        return (math.log(self.high) - math.log(self.low)) / 2 if self.low > 0 else math.inf


def estimate(base: Sequence[float], head: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The median ratio of `head` to `base`, times of the two sides of each pair, and its interval.

    The interval lies between two of the ordered ratios, and holds for whatever distribution the ratios have, as long as
    the pairs are independent; nothing is drawn at random, so the same times give the same answer.
    Source: the sign test's interval, David and Nagaraja, Order Statistics (2003), section 7.1.

    Raises ValueError for no pairs, or sides of different lengths.
    """
    if not base or len(base) != len(head):
        raise ValueError(f"{len(base)} times of base and {len(head)} of head: expected as many, and at least one")
    logs = sorted(math.log(b) - math.log(a) for a, b in zip(base, head, strict=True))
    rank, covered = ranks(len(logs), confidence)
    low, high = (math.exp(logs[rank - 1]), math.exp(logs[-rank])) if rank else (0.0, math.inf)
    return Estimate(math.exp(median(logs)), low, high, len(logs), covered)


@cache
def ranks(n: int, confidence: float = CONFIDENCE) -> tuple[int, float]:
    """The largest r for which the r-th smallest and the r-th largest of n values hold the median, and how surely.

    The number of values below the median is binomial(n, 1/2), so they miss it with 2 P(B < r). (0, 1) where even the
    smallest and the largest are not sure enough: below 6 values at 95 %.
    """
    below, rank = 0, 0  # 2^n P(B < rank)
    while 2 * (below + math.comb(n, rank)) <= (1 - confidence) * 2**n:
        below += math.comb(n, rank)
        rank += 1
    return rank, 1 - 2 * below / 2**n
