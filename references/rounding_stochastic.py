"""The decision of stochastic rounding with a limited number of random bits."""

import numpy as np
from numpy.typing import NDArray

#: Random bits as non-negative integers, where the mode is stochastic.
Random = NDArray[np.int64] | None


def carries(fraction: NDArray[np.float64], random: Random, random_bits: int) -> NDArray[np.bool_]:
    """Whether a magnitude is rounded up: fraction + random >= 2^random_bits.

    `fraction` is floor(f * 2^random_bits) of the discarded part f in [0, 1), so exact values never move.
    Source: StochasticA of the IEEE P3109 interim report 4.0 (gfloat: StochasticFastest).
    """
    assert random is not None, "rounding.random_array gives random bits whenever the mode is stochastic"
    up: NDArray[np.bool_] = fraction.astype(np.int64) + random >= (1 << random_bits)
    return up
