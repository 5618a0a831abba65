"""How other tools decide that something became slower, on the seconds of two runs."""

from collections.abc import Callable, Sequence
from math import erfc, sqrt
from statistics import mean, median

Times = Sequence[float]
Rule = Callable[[Times, Times], bool]


def mann_whitney(base: Times, head: Times) -> float:
    """Two-sided p of the Mann-Whitney U test, by the normal approximation with ties and continuity corrected.

    Samples here have 20 values and more, where it is within 1e-3 of the exact one.
    """
    n, m = len(base), len(head)
    ordered = sorted([(value, 0) for value in base] + [(value, 1) for value in head])
    ranks, ties, start = 0.0, 0.0, 0
    while start < n + m:
        end = start
        while end < n + m and ordered[end][0] == ordered[start][0]:
            end += 1
        shared = (start + 1 + end) / 2
        ranks += shared * sum(side for _, side in ordered[start:end])
        ties += (end - start) ** 3 - (end - start)
        start = end
    u = ranks - m * (m + 1) / 2
    spread = sqrt(n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1))))
    distance = max(0.0, abs(u - n * m / 2) - 0.5)
    return erfc(distance / spread / sqrt(2)) if spread else 1.0


def _slower_by(statistic: Callable[[Times], float], percent: int) -> Rule:
    return lambda base, head: statistic(head) > (1 + percent / 100) * statistic(base)


#: pytest-benchmark: --benchmark-compare-fail=STATISTIC:PERCENT%. benchstat: p < 0.05. asv continuous: p < 0.002 and a
#: factor of 1.1, its defaults.
RULES: dict[str, Rule] = {
    "pytest-benchmark mean:5%": _slower_by(mean, 5),
    "pytest-benchmark median:5%": _slower_by(median, 5),
    "pytest-benchmark min:5%": _slower_by(min, 5),
    "pytest-benchmark mean:10%": _slower_by(mean, 10),
    "pytest-benchmark min:10%": _slower_by(min, 10),
    "benchstat": lambda base, head: mann_whitney(base, head) < 0.05 and median(head) > median(base),
    "asv continuous": lambda base, head: mann_whitney(base, head) < 0.002 and median(head) > 1.1 * median(base),
}
