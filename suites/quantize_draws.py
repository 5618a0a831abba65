"""What is counted of random draws: how often they round up, and how often two of them round alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Distances, along rows and across them, of the draws that are compared: one random number for a vector, a block, a
#: warp's rows or a row shows.
STRIDES = (*range(1, 17), 32, 48, 64, 96, 128, 256)
#: Fewest draws that are counted.
FEWEST = 100
#: What the promised arithmetic may move a share by, and the 2^-12 that a generator of few bits may.
SHARE_ERROR = 2.0**-12


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of a tensor, as a matrix of its rows."""

    #: The probability of rounding up.
    share: Array
    went_up: Mask
    #: Where a number lies between two elements, so that something is drawn.
    between: Mask
    negative: Mask

    @staticmethod
    def of(share: Array, went_up: Mask, between: Mask, negative: Mask) -> "Draws":
        """The draws of a tensor of any shape."""
        rows = (-1, share.shape[-1])
        known = np.where(between, share, 0.0).reshape(rows)
        return Draws(known, went_up.reshape(rows), between.reshape(rows), negative.reshape(rows))

    def swapped(self) -> "Draws":
        """Columns as rows."""
        return Draws(self.share.T, self.went_up.T, self.between.T, self.negative.T)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something happened in so many independent draws, and how often it should."""

    what: str
    draws: int
    expected: float
    seen: float


def too_far(tally: Tally) -> float:
    """The exponent e of the bound: right draws are as far from `expected` with a probability of at most exp(-e).

    n independent draws of probabilities with the mean p have a mean of q or beyond with a probability of at most
    exp(-n D), D = q ln(q / p) + (1 - q) ln((1 - q) / (1 - p)). Source: Hoeffding 1963, theorem 1 (2.1).
    """
    seen = tally.seen
    low, high = max(tally.expected - 2 * SHARE_ERROR, 0.0), min(tally.expected + 2 * SHARE_ERROR, 1.0)
    if low <= seen <= high:
        return 0.0
    expected = low if seen < low else high
    parts = ((seen, expected), (1 - seen, 1 - expected))
    return tally.draws * sum(q * log(q / p) for q, p in parts if q)


def tallies(draws: Draws) -> list[Tally]:
    """All that is counted of one call: ups of each row, share and sign; pairs along rows and along columns.

    Pairs share no number, so that they are independent.
    """
    found = [*_ups(draws)]
    for stride in STRIDES:
        for phase in (0, 1):
            found += _apart("numbers", draws, stride, phase, each=1)
            found += _apart("rows", draws.swapped(), stride, phase, each=0)
    return found


def draws_of_two_calls(first: Draws, went_up: Mask) -> Tally:
    """How often a number is rounded alike by two calls."""
    again = went_up.reshape(first.went_up.shape)
    inside = first.between
    share = first.share[inside]
    alike = (first.went_up == again)[inside]
    return Tally("draws of two calls rounded alike", alike.size, _mean(_chance(share, share)), _mean(alike))


def _ups(draws: Draws) -> Iterator[Tally]:
    """How often each row, each share, each sign, and all numbers are rounded up."""
    for row, drawn in enumerate(draws.between):
        yield from _counted(f"row {row}: rounded up", draws.share[row][drawn], draws.went_up[row][drawn])
    inside = draws.between
    shares, ups, negative = draws.share[inside], draws.went_up[inside], draws.negative[inside]
    # Shares of one row differ by what rounding to the format of x moved them.
    for share in np.unique(np.round(shares, 3)):
        some = np.round(shares, 3) == share
        yield from _counted(f"shares of {share:g}: rounded up", shares[some], ups[some])
    yield from _counted("negative numbers: rounded up", shares[negative], ups[negative])
    yield from _counted("positive numbers: rounded up", shares[~negative], ups[~negative])
    yield from _counted("all numbers: rounded up", shares, ups)


def _apart(what: str, draws: Draws, stride: int, phase: int, each: int) -> Iterator[Tally]:
    """How often draws `stride` columns apart round alike, every other block of so many with the next: of all together,
    and along the axis `each` of each row, or of each pair of columns."""
    columns = np.arange(max(0, draws.share.shape[-1] - stride))
    one = columns[columns // stride % 2 == phase]
    other = one + stride
    inside = draws.between[:, one] & draws.between[:, other]
    chance = np.where(inside, _chance(draws.share[:, one], draws.share[:, other]), 0.0)
    alike = inside & (draws.went_up[:, one] == draws.went_up[:, other])
    counts, chances, seen = (np.sum(part, axis=each) for part in (inside, chance, alike))
    text = f"{what} {stride} apart rounded alike"
    if counts.sum() >= FEWEST:
        total = int(counts.sum())
        yield Tally(text, total, float(chances.sum()) / total, float(seen.sum()) / total)
    for place in np.flatnonzero(counts >= FEWEST):
        first = place if each else one[place]
        draws_of = int(counts[place])
        yield Tally(f"row {first}: {text}", draws_of, float(chances[place]) / draws_of, float(seen[place]) / draws_of)


def _counted(what: str, expected: Array, seen: Mask) -> Iterator[Tally]:
    """The tally of enough draws, or nothing."""
    if seen.size >= FEWEST:
        yield Tally(what, seen.size, _mean(expected), _mean(seen))


def _chance(one: Array, other: Array) -> Array:
    """The probability that independent draws of these shares round alike."""
    return np.asarray(one * other + (1 - one) * (1 - other))


def _mean(values: Array | Mask) -> float:
    return float(np.mean(values)) if values.size else 0.0
