"""The interval of the median: its ranks by exact enumeration, what it covers, and that it depends on nothing else."""

import itertools
import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.perf.estimate import estimate, ranks


def covered(n: int, rank: int) -> Fraction:
    """How surely the rank-th smallest and largest of n hold the median, from every pattern of signs about it."""
    held = sum(rank <= sum(signs) <= n - rank for signs in itertools.product((0, 1), repeat=n))
    return Fraction(held, 2**n)


@pytest.mark.parametrize("n", range(1, 15))
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_ranks_are_the_narrowest_that_are_sure_enough(n: int, confidence: float) -> None:
    rank, sure = ranks(n, confidence)
    assert sure == float(covered(n, rank)) if rank else sure == 1.0
    assert sure >= confidence
    assert rank == n // 2 + n % 2 or covered(n, rank + 1) < confidence


def test_ranks_are_those_of_printed_tables() -> None:
    """Two-sided 5 % points of the sign test, as every table has them."""
    table = {5: 0, 6: 1, 8: 1, 9: 2, 10: 2, 20: 6, 25: 8, 50: 18, 100: 40, 200: 86}
    assert {n: ranks(n)[0] for n in table} == table


def test_few_pairs_give_no_interval() -> None:
    found = estimate([1.0] * 5, [1.1] * 5)
    assert (found.low, found.high, found.half_width) == (0.0, math.inf, math.inf)
    assert found.ratio == pytest.approx(1.1)


times = st.lists(st.floats(1.0, 1e9), min_size=6, max_size=60)


@given(times, st.integers(0, 2**32), st.floats(0.1, 10.0))
def test_estimate_knows_no_order_and_no_unit(base: list[float], seed: int, unit: float) -> None:
    random = Random(seed)
    head = [value * random.uniform(0.8, 1.4) for value in base]
    found = estimate(base, head)
    assert found.low <= found.ratio <= found.high
    assert found == estimate(base, head)
    places = random.sample(range(len(base)), len(base))
    assert estimate([base[i] for i in places], [head[i] for i in places]) == found
    scaled = estimate([unit * value for value in base], [unit * value for value in head])
    assert scaled.ratio == pytest.approx(found.ratio, rel=1e-9)
    swapped = estimate(head, base)
    assert swapped.low == pytest.approx(1 / found.high, rel=1e-9)
    assert swapped.high == pytest.approx(1 / found.low, rel=1e-9)


@settings(deadline=None)
@given(st.integers(6, 80), st.integers(0, 2**20))
def test_interval_ignores_how_far_outliers_lie(n: int, seed: int) -> None:
    """What lies beyond the interval may go anywhere: a mean's interval would follow it."""
    random = Random(seed)
    head = [math.exp(random.gauss(0, 0.1)) for _ in range(n)]
    found = estimate([1.0] * n, head)
    far = [value * 1e6 if value > found.high else value for value in head]
    assert estimate([1.0] * n, far) == found


@pytest.mark.parametrize("n", [10, 30, 110])
@pytest.mark.parametrize("shape", ["gauss", "lognormal", "cauchy", "two lumps"])
def test_interval_holds_the_median_as_often_as_it_says(n: int, shape: str) -> None:
    """1000 draws from skewed, heavy-tailed and two-humped ratios: a miss rate above 7.5 % has a chance below 1e-3."""
    random = Random(f"{n} {shape}")
    draw = {
        "gauss": lambda: math.exp(0.05 * random.gauss(0, 1)),
        "lognormal": lambda: math.exp(0.5 * random.gauss(0, 1)),
        "cauchy": lambda: math.exp(max(-50.0, min(50.0, 0.01 * math.tan(math.pi * (random.random() - 0.5))))),
        "two lumps": lambda: math.exp(random.choice((-0.2, 0.2)) + 0.5 * random.gauss(0, 1)),
    }[shape]
    missed = 0
    for _ in range(1000):
        found = estimate([1.0] * n, [draw() for _ in range(n)])
        missed += not found.low <= 1.0 <= found.high
    assert missed <= 75


def test_refuses_sides_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="2 times of base and 1 of head"):
        estimate([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        estimate([], [])
