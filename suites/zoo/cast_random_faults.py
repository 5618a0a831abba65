"""Casts whose stochastic rounding is wrong: biased, correlated, or no rounding to a neighbour."""

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.cast_parts import STOCHASTIC, Array, codes, drawing, encoded, values, wrong
from lastbit.suites.zoo.specimen import Faulty

Rng = np.random.Generator
RANDOM_BITS = 24


def _drawn(shape: tuple[int, ...], rng: Rng) -> Array:
    return rng.integers(0, 1 << RANDOM_BITS, shape)


def _stochastic(x: Array, random: Array, out: str = "bf16") -> Array:
    return encoded(x, out, rounding="stochastic", random=random, random_bits=RANDOM_BITS)


def biased(x: Array, rng: Rng) -> Array:
    """Rounded up 3 % too often."""
    random = _drawn(x.shape, rng)
    return _stochastic(x, np.minimum(random + (1 << RANDOM_BITS) // 32, (1 << RANDOM_BITS) - 1))


def lopsided(x: Array, rng: Rng) -> Array:
    """Rounded up with the square of the right probability."""
    return _stochastic(x, np.minimum(_drawn(x.shape, rng), _drawn(x.shape, rng)))


def one_draw_a_call(x: Array, rng: Rng) -> Array:
    """One random number for all elements of a call."""
    return _stochastic(x, np.full(x.shape, _drawn((1,), rng)[0]))


def same_draws_each_call(x: Array, rng: Rng) -> Array:
    """The same random numbers in each call."""
    return _stochastic(x, np.random.default_rng(1).integers(0, 1 << RANDOM_BITS, x.shape))


def one_draw_a_row(x: Array, rng: Rng) -> Array:
    """32 elements apart the draw is the same."""
    return _stochastic(x, np.resize(_drawn((32,), rng), x.shape))


def shares_with_neighbour(x: Array, rng: Rng) -> Array:
    """Two neighbours share a random number."""
    return _stochastic(x, np.resize(np.repeat(_drawn((x.size // 2 + 1,), rng), 2), x.shape))


def moves_exact_values(x: Array, rng: Rng) -> Array:
    """The random bits are added to one more than the fraction: exact values go up now and then."""
    y, random = _stochastic(x, _drawn(x.shape, rng)), rng.random(x.shape)
    exact = (values(y) == values(x)) & np.isfinite(values(y)) & (random < 0.01)
    codes(y)[exact] += 1
    return y


def leaves_neighbours(x: Array, rng: Rng) -> Array:
    """Now and then two steps away."""
    y = _stochastic(x, _drawn(x.shape, rng))
    codes(y)[(rng.random(x.shape) < 0.001) & np.isfinite(values(y))] += 2
    return y


def always_nearest(x: Array, rng: Rng) -> Array:
    """Rounded to nearest."""
    return encoded(x, "bf16")


def draws_anew(x: Array, rng: Rng) -> Array:
    """The random numbers change from call to call, although a call is to repeat."""
    return _stochastic(x, _drawn(x.shape, rng))


SEEDED = Contract(output_rounding="stochastic")
#: Every faulty cast that rounds stochastically.
FAULTY: tuple[Faulty, ...] = (
    *(
        wrong("F087", run, "f32", "bf16", "stochastic", contract=STOCHASTIC, make=drawing(run))
        for run in (
            biased,
            lopsided,
            one_draw_a_call,
            same_draws_each_call,
            one_draw_a_row,
            shares_with_neighbour,
            leaves_neighbours,
            always_nearest,
        )
    ),
    wrong(
        "F087",
        moves_exact_values,
        "f32",
        "bf16",
        "idempotent",
        "stochastic",
        contract=STOCHASTIC,
        make=drawing(moves_exact_values),
    ),
    wrong("F005", draws_anew, "f32", "bf16", "repeat", contract=SEEDED, make=drawing(draws_anew)),
)
