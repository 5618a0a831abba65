"""Six data sets in the manner of TOSA's dot-product check, after their published description."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.suites.zoo.rival_data import Draw, Rng, gemm_of

Array = NDArray[np.float64]
#: Outputs are 32 * 32, for the check wants a thousand; k is 128.
M, N, K = 32, 32, 128


def zeros(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
    """Set 0: half of each operand is zero, and where one is not the other often is."""
    a, b = _signed(rng, 1.0)
    return a * (rng.random((M, K)) < 0.5), b * (rng.random((K, N)) < 0.5)


def huge(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
    """Set 1: exponents as large as the sums may be."""
    top = Format.of(formats["out"]).emax // 2 - 4
    a, b = _signed(rng, 1.0)
    return np.ldexp(a, top - 3), np.ldexp(b, top - 3)


def small_on_one(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
    """Set 2: a sum that starts at 1 and gains many addends of like size, of either sign, around its last bit."""
    step = 2.0 ** -(Format.of(formats["a"]).precision // 2)
    a, b = rng.uniform(0.5, 1, (M, K)) * rng.choice((-step, step), (M, K)), rng.uniform(0.5, 1, (K, N)) * step
    a[:, 0], b[0] = 1.0, 1.0
    return a, b


def small_on_sixteen(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
    """Set 3: addends of many sizes between +16 and -16."""
    a, b = _signed(rng, 1.0)
    a = np.ldexp(a, -rng.integers(0, 8, (M, K)))
    a[:, 0], b[0] = 16.0, 1.0
    a[:, K // 2], b[K // 2] = -16.0, 1.0
    return a, b


def mixed(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
    """Set 4: zeros and values in turn by chance, of one in four."""
    a, b = _signed(rng, 1.0)
    return np.where(rng.random((M, K)) < 0.25, 0, a), np.where(rng.random((K, N)) < 0.25, 0, b)


def full(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
    """Set 5: the signed full range, scaled so that no sum overflows."""
    return _signed(rng, np.sqrt(Format.of(formats["out"]).max / 4 / np.sqrt(K + 1)))


def _signed(rng: Rng, size: float) -> tuple[Array, Array]:
    return rng.uniform(-size, size, (M, K)), rng.uniform(-size, size, (K, N))


#: Sets 0 to 5.
SETS: tuple[Draw, ...] = tuple(gemm_of(pair) for pair in (zeros, huge, small_on_one, small_on_sixteen, mixed, full))
