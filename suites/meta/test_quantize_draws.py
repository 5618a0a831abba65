"""What is counted of random draws: the bound is one, honest draws stay within it, and dependent ones do not."""

from collections.abc import Callable
from fractions import Fraction
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references.quantize_points import SHARES
from lastbit.statistics import FALSE_ALARM
from lastbit.suites.quantize_draws import SHARE_ERROR, Array, Draws, Tally, draws_of_two_calls, tallies, too_far

ROWS, COLUMNS = 40, 288


def drawn(draws: Array, shares: tuple[float, ...] = SHARES) -> Draws:
    """Draws from 0 to 1 of numbers of which each row has one share."""
    share = np.broadcast_to(np.resize(shares, draws.shape[0])[:, None], draws.shape)
    return Draws.of(share, draws < share, np.ones(draws.shape, bool), np.zeros(draws.shape, bool))


def worst(draws: Draws) -> float:
    """The share of the bound that the worst tally uses."""
    counted = tallies(draws)
    return max(map(too_far, counted)) / log(2 * len(counted) / FALSE_ALARM)


def tail(draws: int, p: Fraction, low: int, high: int) -> Fraction:
    """The probability that of so many draws from `low` to `high` happen."""
    return sum((comb(draws, k) * p**k * (1 - p) ** (draws - k) for k in range(low, high + 1)), Fraction(0))


@given(st.integers(1, 60), st.integers(1, 63), st.data())
@settings(max_examples=150, deadline=None)
def test_binomial_tails_are_below_the_bound(draws: int, share: int, data: st.DataObject) -> None:
    """The tail beyond what was seen, summed exactly, has a probability of at most exp(-too_far)."""
    seen, p = data.draw(st.integers(0, draws)), Fraction(share, 64)
    bound = exp(-too_far(Tally("any", draws, float(p), seen / draws)))
    beyond = tail(draws, p, seen, draws) if seen > p * draws else tail(draws, p, 0, seen)
    assert float(beyond) <= bound * (1 + 1e-9)


def test_what_a_generator_of_few_bits_may_be_off_is_no_fault() -> None:
    assert too_far(Tally("any", 10**6, 0.5, 0.5 + 2 * SHARE_ERROR)) == 0
    assert too_far(Tally("any", 10**6, 0.5, 0.5 + 16 * SHARE_ERROR)) > 20
    assert too_far(Tally("any", 100, 0.0, 0.5)) > 300


@pytest.mark.parametrize("seed", range(20))
def test_independent_draws_stay_within_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert worst(drawn(rng.random((ROWS, COLUMNS)))) < 0.8
    first, second = (drawn(rng.random((ROWS, COLUMNS))) for _ in range(2))
    assert too_far(draws_of_two_calls(first, second.went_up)) < 0.8 * log(2 / FALSE_ALARM)


def apart(distance: int, phase: int) -> Callable[[np.random.Generator], Array]:
    """Draws of which those so far apart along a row are one, from any of the two blocks on."""

    def draws(rng: np.random.Generator) -> Array:
        free, column = rng.random((ROWS, COLUMNS)), np.arange(COLUMNS)
        second = (column // distance % 2 == 1 - phase) & (column >= distance)
        return free[:, column - distance * second]

    return draws


@pytest.mark.parametrize("distance", [1, 2, 3, 5, 8, 11, 16, 32, 48, 64, 96, 128])
@pytest.mark.parametrize("phase", [0, 1])
def test_shared_draws_are_seen_at_every_distance(distance: int, phase: int) -> None:
    for seed in range(3):
        assert worst(drawn(apart(distance, phase)(np.random.default_rng(seed)))) > 1


@pytest.mark.parametrize("distance", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("phase", [0, 1])
def test_rows_that_share_draws_are_seen(distance: int, phase: int) -> None:
    row = np.arange(ROWS)
    second = (row // distance % 2 == 1 - phase) & (row >= distance)
    for seed in range(3):
        assert worst(drawn(np.random.default_rng(seed).random((ROWS, COLUMNS))[row - distance * second])) > 1


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_few_random_bits_are_seen(bits: int, shift: float) -> None:
    for seed in range(3):
        draws = np.random.default_rng(seed).integers(0, 1 << bits, (ROWS, COLUMNS))
        assert worst(drawn((draws + shift) / (1 << bits))) > 1


def test_calls_that_share_draws_are_seen() -> None:
    one = drawn(np.random.default_rng(0).random((ROWS, COLUMNS)))
    assert too_far(draws_of_two_calls(one, one.went_up)) > 100
