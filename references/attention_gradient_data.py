"""Upstream gradients for attention's backward pass, by the recipe of the operands that they meet."""

import zlib

import numpy as np

from lastbit.references.data import Operand

#: Largest number of an exact recipe's upstream gradients: 30 of them add up to less than 2^8, what bf16 holds.
LARGEST = 8


def upstream(recipe: str, shape: tuple[int, ...], fmt: str, seed: int) -> Operand:
    """The gradient of a loss by attention's result, of that shape (b, hq, lq, dv) and this format.

    N(0, 1), its magnitude for "one_sided", so that what a sum loses adds up; integers of -8 to 8 without 0 for
    "selected", where dV is a sum of a few of them and exact.
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"grad_out {recipe} {fmt} {shape}".encode())])
    if recipe == "selected":
        whole = rng.integers(1, LARGEST + 1, shape) * rng.choice([-1, 1], shape)
        return Operand.of(whole.astype(np.float64), fmt)
    values = rng.standard_normal(shape)
    return Operand.of(np.abs(values) if recipe == "one_sided" else values, fmt)
