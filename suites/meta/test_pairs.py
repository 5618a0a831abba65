"""Double-double arithmetic against rational arithmetic: the errors that its docstrings tell."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, log2

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.references import pairs

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
UNIT = Fraction(1, 2**53)


def drawn(seed: int, shape: tuple[int, ...] = (400,), spread: int = 60) -> Pair:
    """Pairs whose low part is up to half an ulp of the high one, often a power of two, sometimes 0 or a tie."""
    rng = np.random.default_rng(seed)
    hi = rng.standard_normal(shape) * 2.0 ** rng.integers(-spread, spread + 1, shape)
    hi = np.where(rng.random(shape) < 0.2, 2.0 ** np.round(np.log2(np.abs(hi))), hi)
    half = np.spacing(np.abs(hi)) / 4
    share = rng.choice([0.0, 1.0, -1.0, 2.0**-40], shape) * rng.uniform(0.5, 1, shape)
    return hi, share * half


def exact(x: Pair) -> list[Fraction]:
    return [Fraction(float(hi)) + Fraction(float(lo)) for hi, lo in zip(x[0].ravel(), x[1].ravel(), strict=True)]


def check(found: Pair, want: list[Fraction], units: Fraction | int) -> None:
    """Within `units` u^2 of `want`, and a pair: its high part is its sum rounded."""
    assert np.array_equal(found[0] + found[1], found[0])
    for got, exactly in zip(exact(found), want, strict=True):
        assert abs(got - exactly) <= units * UNIT**2 * abs(exactly)


@pytest.mark.parametrize(
    ("operation", "exactly", "units"),
    [
        (pairs.add, lambda a, b: a + b, 3 / (1 - 4 * UNIT)),
        (pairs.times, lambda a, b: a * b, 7),
        (pairs.over, lambda a, b: a / b, 15 + 56 * UNIT),
    ],
    ids=["add", "times", "over"],
)
def test_operations_err_by_what_their_theorems_say(
    operation: Callable[[Pair, Pair], Pair], exactly: Callable[[Fraction, Fraction], Fraction], units: Fraction
) -> None:
    for seed in range(4):
        x, y = drawn(seed, spread=60 if seed % 2 else 2), drawn(seed + 100, spread=2)
        want = [exactly(a, b) for a, b in zip(exact(x), exact(y), strict=True)]
        check(operation(x, y), want, units)


def test_sums_that_cancel_keep_the_relative_error() -> None:
    """Opposite high parts, near or equal: what is left is the low parts', or the last bits'."""
    x, other = drawn(7), drawn(8)
    for y in ((-x[0], other[1] * 0), (-x[0], x[1] / 3), (-np.nextafter(x[0], np.inf), x[1])):
        check(pairs.add(x, y), [a + b for a, b in zip(exact(x), exact(y), strict=True)], 3 / (1 - 4 * UNIT))
    assert pairs.add(x, (-x[0], -x[1]))[0].tolist() == [0.0] * 400


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 31])
def test_totals_err_by_the_levels_of_a_tree(count: int) -> None:
    x = drawn(count, (2, 3, count), 20)
    x = np.abs(x[0]), np.where(x[0] < 0, -x[1], x[1])
    hi, lo = pairs.total(x)
    assert hi.shape == lo.shape == (2, 3)
    want = [sum(exact((x[0][place], x[1][place])), Fraction(0)) for place in np.ndindex(2, 3)]
    levels = ceil(log2(count)) if count > 1 else 0
    check((hi, lo), want, levels * 3 / (1 - 4 * UNIT) * (1 + UNIT))


def test_a_total_is_that_of_a_tree_of_neighbours() -> None:
    """The order is promised: ((0 1) (2 3)) 4."""
    x = drawn(5, (5,), 3)
    x = np.abs(x[0]), np.where(x[0] < 0, -x[1], x[1])
    one = [(x[0][i : i + 1], x[1][i : i + 1]) for i in range(5)]
    want = pairs.add(pairs.add(pairs.add(one[0], one[1]), pairs.add(one[2], one[3])), one[4])
    found = pairs.total(x)
    assert (found[0].item(), found[1].item()) == (want[0].item(), want[1].item())


def test_the_unit_is_that_of_two_float64_numbers() -> None:
    assert Fraction(pairs.U2) == UNIT**2


def test_total_is_of_the_last_axis_whatever_the_others() -> None:
    """More rows than numbers in a row, and an odd number of these."""
    hi = np.arange(24.0).reshape(8, 3)
    found = pairs.total((hi, hi * 2.0**-60))
    assert found[0].tolist() == hi.sum(axis=-1).tolist()
    assert found[1].tolist() == (hi * 2.0**-60).sum(axis=-1).tolist()
