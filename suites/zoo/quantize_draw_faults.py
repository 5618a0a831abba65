"""Quantizers whose stochastic rounding draws too few random bits, or one random number for several elements."""

from collections.abc import Callable

import numpy as np

from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import MXFP4, Array, but
from lastbit.suites.zoo.quantize_random_faults import STOCHASTIC, stochastic
from lastbit.suites.zoo.specimen import Faulty

Share = Callable[[Array, np.random.Generator], Array]


def paired(distance: int, *, antithetic: bool = False) -> Share:
    """Of each 2 * distance elements the second half has the draws of the first, or what they lack to 1."""

    def share(lost: Array, rng: np.random.Generator) -> Array:
        draws, index = rng.random(lost.size), np.arange(lost.size)
        second = index // distance % 2 == 1
        draws = draws[index - distance * second]
        return np.where(second & antithetic, 1 - draws, draws).reshape(lost.shape) < lost

    return share


def rows_in_pairs(lost: Array, rng: np.random.Generator) -> Array:
    """Rows 2i and 2i + 1 share their draws."""
    rows = np.arange(lost.shape[0])
    return rng.random(lost.shape)[rows - rows % 2] < lost


def one_for_all_rows(lost: Array, rng: np.random.Generator) -> Array:
    """Every row has the same draws."""
    return rng.random(lost.shape[1:]) < lost


def of_bits(bits: int, shift: float) -> Share:
    """Draws of so many bits; a shift of 0.5 centres them."""
    return lambda lost, rng: (rng.integers(0, 1 << bits, lost.shape) + shift) / (1 << bits) < lost


def _drawn(name: str, share: Share, story: str) -> Faulty:
    return wrong(
        "F087",
        name,
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(share)),
        story=story,
    )


#: Every quantizer with draws that are no independent, fine ones.
FAULTY: tuple[Faulty, ...] = (
    _drawn("antithetic", paired(3, antithetic=True), "Draws of numbers 3 apart add up to one."),
    _drawn("sixty_four_apart", paired(64), "Numbers 64 apart share a random number."),
    _drawn("rows_in_pairs", rows_in_pairs, "Rows 2i and 2i + 1 share their random numbers."),
    _drawn("one_for_all_rows", one_for_all_rows, "All rows share their random numbers."),
    _drawn("four_random_bits", of_bits(4, 0.0), "Random numbers of four bits."),
    _drawn("four_centred_bits", of_bits(4, 0.5), "Random numbers of four bits in the middle of their steps."),
)
