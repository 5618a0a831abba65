"""One operation of a format's arithmetic: the exact quotient, product, sum or square rounded once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Array = NDArray[np.float64]

#: Operands of p significant bits, computed in P bits and then rounded to p: as rounded once if P >= 2p + 2 (Figueroa,
#: When is double rounding innocuous, SIGNUM 30(3), 1995). float64 has 53. Results below the normal range have fewer
#: bits, which only helps: a quotient x / y that is no tie m, m of q <= p + 1 bits, is off it by 2^-(p + q) of itself.
WIDEST = 25


def divide(x: Array, y: Array | float, fmt: str) -> Array:
    """x / y rounded to `fmt` (nearest even, infinities on overflow, gradual underflow); x and y are of that format.

    Division by zero and by infinity is IEEE 754's. `y` may also be any float64 of 25 bits: it is not rounded first.
    """
    return _rounded(np.divide, x, y, fmt)


def multiply(x: Array, y: Array | float, fmt: str) -> Array:
    """x * y rounded to `fmt`, as `divide`."""
    return _rounded(np.multiply, x, y, fmt)


def add(x: Array, y: Array | float, fmt: str) -> Array:
    """x + y rounded to `fmt`, as `divide`."""
    return _rounded(np.add, x, y, fmt)


def _rounded(operation: Callable[..., Array], x: Array, y: Array | float, fmt: str) -> Array:
    with np.errstate(all="ignore"):
        result = operation(np.asarray(x, np.float64), y)
    if fmt == "f64":
        return result
    rounded = Format.of(fmt)
    if rounded.precision > WIDEST or rounded.kind != "float":
        raise ValueError(f"arithmetic in {fmt}: expected f64 or a float format of at most {WIDEST} significant bits")
    if fmt == "f32":
        # numpy's conversion of one float64 to float32 is the processor's: one rounding.
        with np.errstate(all="ignore"):
            return result.astype(np.float32).astype(np.float64)
    return rounded.round(result)
