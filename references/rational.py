"""The slow referees: dot products in rational and in multiple-precision arithmetic, independent of every fast rung."""

from collections.abc import Sequence
from fractions import Fraction
from math import frexp, ldexp
from operator import mul
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Exponent of the least positive float64.
LEAST = -1074


def rational_dot(a: Sequence[float] | Array, b: Sequence[float] | Array) -> Fraction:
    """sum_i a_i b_i in rational arithmetic: exact, no rounding anywhere; operands finite. 0 for empty operands."""
    return sum((Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True)), Fraction(0))


def referee(
    a: Array,
    b: Array,
    index: tuple[int, ...],
    *,
    c: Array | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array | None = None,
) -> Any:
    """Element `index` of alpha A@B + beta C + bias by mpmath's fdot: an mpf that holds the exact value.

    a (.., m, k), b (.., k, n), finite. The working precision covers the whole exponent range of the data
    (at most 4 * 2200 bits), so no operation rounds. About 50 ms for k = 16384.
    """
    *batch, i, j = index
    row, column = _batched(a, batch)[i], _batched(b, batch)[:, j]
    with mpmath.workprec(4 * 2200):
        total = mpmath.mpf(alpha) * mpmath.fdot([float(x) for x in row], [float(x) for x in column])
        if c is not None and beta != 0:
            total += mpmath.mpf(beta) * mpmath.mpf(float(_batched(c, batch)[i, j]))
        if bias is not None:
            total += mpmath.mpf(float(bias[j]))
        return total


class Integers:
    """Rows of float64 numbers as Python integers times one power of two a row, made when first asked for."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows
        self.made: dict[int, tuple[list[int], int]] = {}

    def __getitem__(self, i: int) -> tuple[list[int], int]:
        """Row `i` as (integers, exponent): value = integer * 2^exponent."""
        if i not in self.made:
            parts = [_integer(float(x)) for x in self.rows[i]]
            low = min((e for n, e in parts if n), default=0)
            self.made[i] = [n << (e - low) if n else 0 for n, e in parts], low
        return self.made[i]


def exact_element(
    a: tuple[list[int], int],
    b: tuple[list[int], int],
    *,
    alpha: float = 1.0,
    addends: Sequence[tuple[float, float]] = (),
) -> tuple[int, int]:
    """alpha * sum a_i b_i + sum of the addends' products, exactly, as (integer, exponent); see `Integers`."""
    n, e = _integer(alpha)
    terms = [(n * sum(map(mul, a[0], b[0])), e + a[1] + b[1])]
    for x, y in addends:
        (p, s), (q, t) = _integer(x), _integer(y)
        terms.append((p * q, s + t))
    low = min((e for n, e in terms if n), default=0)
    return sum(n << (e - low) for n, e in terms if n), low


def rounded_pair(n: int, e: int) -> tuple[float, float, float]:
    """n * 2^e as hi, lo, radius: hi = RN, lo the rest, exact or rounded to odd, as `eft.rounded_once` has them.

    hi is infinite (lo, radius 0) where rounding to float64 overflows: |value| >= 2^1024 - 2^970. Where hi has no room
    for a lo above 2^-1074 (|hi| < 2^-1020), lo is 0 and radius at most 2^-1074.
    """
    hi = _nearest(n, e)
    if hi in (float("inf"), float("-inf")):
        return hi, 0.0, 0.0
    m, t = _integer(hi)
    low = min(e, t)
    rest = (n << (e - low)) - (m << (t - low))
    if rest == 0:
        return hi, 0.0, 0.0
    if abs(hi) < 2.0**-1020 and low < LEAST:
        return hi, 0.0, 2.0**LEAST
    size = abs(rest)
    drop = max(size.bit_length() - 53, LEAST - low, 0)
    kept = size >> drop
    inexact = kept << drop != size
    if inexact:
        kept |= 1
    lo = ldexp(kept if rest > 0 else -kept, low + drop)
    return hi, lo, ldexp(1.0, low + drop) if inexact else 0.0


def _nearest(n: int, e: int) -> float:
    """n * 2^e rounded to nearest even: Python's integer division rounds once, subnormals included."""
    try:
        return float(n << e) if e >= 0 else n / (1 << -e)
    except OverflowError:
        return float("inf") if n > 0 else float("-inf")


def _integer(x: float) -> tuple[int, int]:
    """A finite `x` as (integer, exponent)."""
    m, e = frexp(x)
    return int(ldexp(m, 53)), e - 53


def _batched(x: Array, batch: Sequence[int]) -> Array:
    """The matrix of `x` that the batch index picks, by broadcasting from the right."""
    lead = x.ndim - 2
    picked = batch[len(batch) - lead :] if lead else []
    matrix: Array = x[tuple(0 if size == 1 else i for i, size in zip(picked, x.shape[:lead], strict=True))]
    return matrix
