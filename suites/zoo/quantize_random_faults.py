"""Quantizers whose stochastic rounding is wrong: biased, correlated, or no rounding to a neighbour."""

from collections.abc import Callable

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import (
    MXFP4,
    Array,
    Step,
    but,
)
from lastbit.suites.zoo.specimen import Faulty

STOCHASTIC = Contract(output_rounding="stochastic", deterministic=False)


def stochastic(share: Callable[[Array, np.random.Generator], Array]) -> Step:
    """MXFP4's codes rounded up in magnitude where `share` of what is lost says so."""
    rng = np.random.default_rng(7)

    def code(quotient: Array) -> Array:
        size = np.abs(np.clip(quotient, -6, 6))
        levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        below = np.clip(np.searchsorted(levels, size, side="right") - 1, 0, 6)
        lost = (size - levels[below]) / (levels[below + 1] - levels[below])
        number = below + (share(lost, rng))
        return (number + np.where(np.signbit(quotient), 8, 0)).astype(np.uint8)

    return code


def fair(lost: Array, rng: np.random.Generator) -> Array:
    """Up as often as the part that is lost says."""
    return rng.random(lost.shape) < lost


def three_apart(lost: Array, rng: np.random.Generator) -> Array:
    """Draws of numbers 3 apart are one."""
    draws = rng.random((*lost.shape[:-1], lost.shape[-1] + 3))
    index = np.arange(lost.shape[-1])
    return np.take(draws, index // 6 * 3 + index % 3, axis=-1) < lost


def afresh(lost: Array, rng: np.random.Generator) -> Array:
    """The generator is seeded anew in every call."""
    return np.random.default_rng(7).random(lost.shape) < lost


#: Every faulty quantizer that rounds stochastically.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F087",
        "stochastic_up",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(lambda lost, rng: lost > 0)),
        story="What is not exact is always rounded up.",
    ),
    wrong(
        "F087",
        "stochastic_nearest",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(lambda lost, rng: lost > 0.5)),
        story="Rounded to nearest where random rounding is declared.",
    ),
    wrong(
        "F087",
        "stochastic_biased",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(lambda lost, rng: rng.random(lost.shape) < 0.8 * lost)),
        story="Rounded up with 0.8 of the right probability.",
    ),
    wrong(
        "F087",
        "one_draw_for_all",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(lambda lost, rng: rng.random() < lost)),
        story="One random number for all elements of a call.",
    ),
    wrong(
        "F087",
        "one_draw_for_four",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(
            MXFP4, code=stochastic(lambda lost, rng: np.repeat(rng.random((*lost.shape[:-1], 8)), 4, axis=-1) < lost)
        ),
        story="One random number for four elements.",
    ),
    wrong(
        "F087",
        "beyond_neighbours",
        None,
        "mxfp4",
        "f32",
        "exact",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(lambda lost, rng: 2 * (rng.random(lost.shape) < lost / 2))),
        story="Rounded up by two codes with half of the probability.",
    ),
    wrong(
        "F087",
        "three_apart",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(three_apart)),
        story="Numbers 3 apart share a random number.",
    ),
    wrong(
        "F087",
        "seeded_in_each_call",
        None,
        "mxfp4",
        "f32",
        "stochastic",
        contract=STOCHASTIC,
        make=lambda: but(MXFP4, code=stochastic(afresh)),
        story="Every call draws the same random numbers.",
    ),
)
