"""Proved truth for softmax, log_softmax and logsumexp over an axis, in double-double arithmetic."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.references import exponential, pairs
from lastbit.references.dgemm import check_environment
from lastbit.references.eft import two_sum
from lastbit.references.pairs import Pair
from lastbit.references.truth import Truth

if TYPE_CHECKING:
    import mpmath

Array = NDArray[np.float64]

RUNG = "double-double"
#: Relative error of a quotient: that of exp (2^-96) twice, of the sum's tree (3 u^2 * 40 levels) and of the division.
QUOTIENT_ERROR = 2.0**-94
#: Absolute error of the logarithm of the sum: that of log, and the relative error of the sum.
LOG_SUM_ERROR = 2.0**-92
#: Relative error of adding two pairs.
ADD_ERROR = 2.0**-104


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the three functions share: rows of at least one finite maximum, all others replaced by zeros."""

    #: x - max as pairs (.., n), and -inf as LOWEST, where `absent`.
    below: Pair
    #: The maximum (.., 1), 0 where it is not finite.
    top: Array
    #: exp(x - max) = (hi + lo) 2^k (.., n); 0 where `absent`.
    powers: tuple[Array, Array, NDArray[np.int64]]
    #: sum of them (.., 1), at least 1.
    sum: Pair
    #: Elements that are -inf (.., n); rows (.., 1) without a finite maximum, with a NaN, with +inf, with one element.
    absent: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    nan: NDArray[np.bool_]
    infinite: NDArray[np.bool_]
    lone: NDArray[np.bool_]


def softmax_truth(x: Array, axis: int = -1, *, masked_row: str = "nan") -> Truth:
    """exp(x_i) / sum_j exp(x_j) over `axis`; x holds exact values as float64; the result has x's shape.

    A row with a NaN or +inf is NaN throughout. -inf gives 0, and a row of nothing else zeros or NaN (`masked_row`).
    Error: radius, relative 2^-94, and 2^-1073 where the result is below 2^-960. weight: the result itself.
    """
    x, rows = _prepared(x, axis)
    quotient = pairs.over((rows.powers[0], rows.powers[1]), _spread(rows.sum, x.shape))
    hi, lo = np.ldexp(quotient[0], rows.powers[2]), np.ldexp(quotient[1], rows.powers[2])
    radius = QUOTIENT_ERROR * hi + np.where(hi < 2.0**-960, 2.0**-1073, 0.0)
    radius = np.where(rows.absent | rows.lone, 0.0, radius)
    hi, lo = np.where(rows.absent, 0.0, hi), np.where(rows.absent, 0.0, lo)
    return _finished(rows, (hi, lo, radius, hi), 0.0 if masked_row == "zero" else np.nan, np.nan, axis)


def log_softmax_truth(x: Array, axis: int = -1, *, masked_row: str = "nan") -> Truth:
    """x_i - log sum_j exp(x_j) over `axis`; the result has x's shape.

    A row with a NaN or +inf is NaN throughout. -inf gives -inf, and a row of nothing else -inf (`masked_row` "zero",
    the logarithm of zero) or NaN. Error: radius, at most 2^-92 + 2^-104 |result|.
    weight: (max - x_i) + log sum_j exp(x_j - max), the magnitudes that are added.
    """
    x, rows = _prepared(x, axis)
    log_sum = exponential.log(rows.sum)
    hi, lo = pairs.add(rows.below, _spread((-log_sum[0], -log_sum[1]), x.shape))
    radius = np.where(rows.lone, 0.0, LOG_SUM_ERROR + ADD_ERROR * np.abs(hi))
    weight = np.abs(rows.below[0]) + log_sum[0]
    with np.errstate(over="ignore", invalid="ignore"):
        gone = np.isneginf(x - rows.top)  # -inf itself, and what is further below than float64 reaches
    hi, lo = np.where(gone, -np.inf, hi), np.where(gone, 0.0, lo)
    radius, weight = np.where(gone, 0.0, radius), np.where(gone, 0.0, weight)
    return _finished(rows, (hi, lo, radius, weight), -np.inf if masked_row == "zero" else np.nan, np.nan, axis)


def logsumexp_truth(x: Array, axis: int = -1) -> Truth:
    """log sum_j exp(x_j) over `axis`, which the result lacks.

    A row with a NaN is NaN, else one with +inf is +inf, and one of nothing but -inf (or of nothing) is -inf.
    Error: radius, at most 2^-92 + 2^-104 |result|. weight: |max| + log sum_j exp(x_j - max).
    """
    x, rows = _prepared(x, axis)
    log_sum = exponential.log(rows.sum)
    hi, lo = pairs.add((rows.top, np.zeros_like(rows.top)), log_sum)
    radius = np.where(rows.lone, 0.0, LOG_SUM_ERROR + ADD_ERROR * np.abs(hi))
    truth = _finished(rows, (hi, lo, radius, np.abs(rows.top) + log_sum[0]), -np.inf, np.inf, -1)
    return Truth(truth.hi[..., 0], truth.lo[..., 0], truth.radius[..., 0], truth.weight[..., 0], RUNG)


def softmax_referee(x: Array, op: str = "softmax", digits: int = 60) -> "list[mpmath.mpf] | mpmath.mpf":
    """The same of one row of finite numbers and -inf by mpmath: slow, and independent of all that is above."""
    import mpmath

    with mpmath.workdps(digits + 400):  # 400 digits hold the sum of the largest and the smallest weight
        row = [mpmath.mpf(float(value)) for value in x]
        top = max(row)
        total = mpmath.fsum(mpmath.exp(value - top) for value in row)
        if op == "logsumexp":
            return top + mpmath.log(total)
        if op == "log_softmax":
            return [value - top - mpmath.log(total) for value in row]
        return [mpmath.exp(value - top) / total for value in row]


def _prepared(x: Array, axis: int) -> tuple[Array, _Rows]:
    check_environment()
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    with np.errstate(all="ignore"):
        peak = x.max(axis=-1, keepdims=True, initial=-np.inf)
        nan, infinite = np.isnan(peak), peak == np.inf
        top = np.where(np.isfinite(peak), peak, 0.0)
        absent = np.isneginf(x)
        usable = np.isfinite(x) & np.isfinite(peak)
        hi, lo = two_sum(np.where(usable, x, top), np.broadcast_to(-top, x.shape))
        below = np.maximum(hi, -np.finfo(np.float64).max), np.where(np.isfinite(hi) & np.isfinite(lo), lo, 0.0)
        high, low, k = exponential.exp(below)
        high, low = np.where(usable, high, 0.0), np.where(usable, low, 0.0)
        total = pairs.total((np.ldexp(high, k), np.ldexp(low, k)))
    none = ~usable.any(axis=-1, keepdims=True)
    sum_hi = np.where(none, 1.0, total[0][..., None])
    sum_lo = np.where(none, 0.0, total[1][..., None])
    empty = np.isneginf(peak)
    lone = (~absent).sum(axis=-1, keepdims=True) == 1
    return x, _Rows(below, top, (high, low, k), (sum_hi, sum_lo), absent, empty, nan, infinite, lone)


def _spread(x: Pair, shape: tuple[int, ...]) -> Pair:
    return np.broadcast_to(x[0], shape), np.broadcast_to(x[1], shape)


def _finished(
    rows: _Rows, parts: tuple[Array, Array, Array, Array], of_empty: float, of_infinite: float, axis: int
) -> Truth:
    """The truth with the rows that have no finite maximum filled in."""
    fills = ((rows.empty, of_empty), (rows.infinite, of_infinite), (rows.nan, np.nan))
    hi = parts[0]
    special = rows.empty | rows.infinite | rows.nan
    for where, value in fills:
        hi = np.where(where, value, hi)
    rest = [np.where(special, 0.0, part) for part in parts[1:]]
    # lo is nothing beside an infinity, and weights of nothing are 0.
    hi, lo, radius, weight = (np.moveaxis(part, -1, axis) for part in (hi, *rest))
    return Truth(hi, lo, radius, weight, RUNG)
