"""Which elements of a matrix product are NaN or infinite because an operand is."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def finite_part(x: Array) -> Array:
    """`x` with NaN and infinities replaced by 0."""
    return np.where(np.isfinite(x), x, 0.0)


def special_product(a: Array, b: Array) -> Array:
    """The class of each element of a @ b as +inf, -inf or NaN where an operand decides it, else 0.

    By IEEE 754-2019 section 6.1 and 7.2 on real operands, whatever the order: NaN for any NaN operand, 0 * inf and
    inf - inf. The classes are counted, not computed: no BLAS has to treat infinities well.
    """
    inf_a, inf_b = _sign(a, np.isinf(a)), _sign(b, np.isinf(b))
    sign_a, sign_b = np.sign(np.nan_to_num(a)), np.sign(np.nan_to_num(b))
    balance = inf_a @ sign_b + sign_a @ inf_b
    count = np.abs(inf_a) @ np.abs(sign_b) + np.abs(sign_a) @ np.abs(inf_b)
    invalid = np.abs(inf_a) @ (b == 0).astype(float) + (a == 0).astype(float) @ np.abs(inf_b)
    nan = np.isnan(a).any(axis=1, keepdims=True) | np.isnan(b).any(axis=0, keepdims=True)
    one_sign = np.where(np.abs(balance) == count, np.copysign(np.inf, balance), np.nan)
    touched = np.where(count > 0, one_sign, 0.0)
    return np.where(nan | (invalid > 0), np.nan, touched)


def special_addend(scale: float, x: Array) -> Array:
    """The class of scale * x as +inf, -inf or NaN where `x` decides it, else 0; `scale` is finite."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(x), 0.0, np.sign(scale) * x)


def _sign(x: Array, where: NDArray[np.bool_]) -> Array:
    """The sign of `x` where told, else 0."""
    return np.where(where, np.copysign(1.0, x), 0.0)
