"""The FP64 matrix product that every fast proof stands on, and the proof that this machine's is an honest one."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ArithmeticDoubtError(ArithmeticError):
    """This machine's FP64 arithmetic is not IEEE 754 binary64, so no truth can be built on it."""


def product(a: Array, b: Array) -> Array:
    """a @ b in FP64, after checking that this process computes in FP64 (first call, about 10 ms)."""
    check_product()
    result: Array = np.matmul(a, b)
    return result


def check_environment() -> None:
    """Raise unless this thread rounds to nearest and keeps subnormals; a microsecond, so every truth() calls it.

    A framework may switch either for a thread (torch.set_flush_denormal, an -Ofast library being loaded).
    """
    one, half_ulp, least = np.float64(1.0), np.float64(2.0**-53), np.float64(2.0**-1074)
    with np.errstate(under="ignore"):
        flushed = np.float64(2.0**-600) * np.float64(2.0**-470) == 0 or least + least == 0
    if flushed:
        raise ArithmeticDoubtError(
            "2^-600 * 2^-470 gave 0: subnormals are flushed in this thread, the truth needs gradual underflow; "
            "undo torch.set_flush_denormal(True), or whatever set FTZ/DAZ"
        )
    if one + half_ulp != one or one + 1.5 * half_ulp == one or -one - half_ulp != -one:
        raise ArithmeticDoubtError(
            "1 + 2^-53 did not round to nearest even: the rounding mode of this thread was changed, the truth needs "
            "round-to-nearest; undo the fesetround"
        )


@cache
def check_product() -> None:
    """Raise unless np.matmul multiplies float64 matrices in float64: no TF32, no FP32, no sliced emulation.

    The probe's products and sums need 52 of the 53 bits, so any leaner arithmetic shows; int64 knows the answer.
    Shapes go through the matrix-matrix, matrix-vector and dot kernels of the BLAS.
    """
    random = np.random.default_rng(53)
    for m, k, n in ((96, 256, 80), (64, 256, 1), (1, 256, 64), (1, 256, 1)):
        a = random.integers(-(2**22) + 1, 2**22, (m, k))
        b = random.integers(-(2**22) + 1, 2**22, (k, n))
        got = np.matmul(a.astype(np.float64), b.astype(np.float64))
        if not np.array_equal(got, np.matmul(a, b).astype(np.float64)):
            raise ArithmeticDoubtError(
                f"np.matmul of {m}x{k}x{n} float64 integers below 2^52 is not exact: this BLAS does not compute in "
                "FP64 (an emulated or reduced-precision DGEMM is switched on); use another BLAS or switch it off"
            )
    a = np.array([[1 + 2.0**-30, -1.0, 2.0**-600]])
    b = np.array([[1 + 2.0**-22], [1.0], [2.0**-400]])
    if np.matmul(a, b)[0, 0] != 2.0**-22 + 2.0**-30 + 2.0**-52:
        raise ArithmeticDoubtError("np.matmul lost low bits of (1 + 2^-30)(1 + 2^-22) - 1: this BLAS does not use FP64")
    if np.matmul(np.array([[2.0**-600]]), np.array([[2.0**-470]]))[0, 0] == 0:
        raise ArithmeticDoubtError("np.matmul flushed 2^-600 * 2^-470 to zero: this BLAS does not keep subnormals")
