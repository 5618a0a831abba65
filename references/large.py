"""Truth for products too large to prove whole: proved tiles of them, and checksums that every element enters."""

from collections.abc import Iterator
from math import inf, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lastbit.references.eft import two_sum
from lastbit.references.gemm import truth
from lastbit.references.truth import Truth

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

U = 2.0**-53
#: Elements of an operand that are sliced at a time: keeps the temporaries of an 8192 x 8192 operand below 200 MiB.
PANEL = 1 << 22


class Checksum(NamedTuple):
    """Row sums of y - truth under random signs, and what they may be at most: arrays (m, vectors)."""

    #: (y - truth) @ x, its own error included in `bound`.
    residual: Array
    bound: Array

    @property
    def broken(self) -> Indices:
        """The rows where some residual exceeds its bound."""
        rows: Indices = np.nonzero((np.abs(self.residual) > self.bound).any(axis=1))[0]
        return rows


def truth_tile(
    a: Array,
    b: Array,
    rows: slice | Indices,
    columns: slice | Indices,
    *,
    c: Array | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array | None = None,
    resolution: float = 0.0,
) -> Truth:
    """The truth (see `gemm.truth`) of some rows and columns of alpha A @ B + beta C + bias.

    a (m, k), b (k, n), c (m, n), bias (n,); slice(None) means all: a tile, whole rows, whole columns. Costs as
    much as the tile alone.
    """
    return truth(
        a[rows],
        b[:, columns],
        c=None if c is None or beta == 0 else c[rows][:, columns],
        alpha=alpha,
        beta=beta,
        bias=None if bias is None else bias[columns],
        resolution=resolution,
    )


def checksum(
    a: Array,
    b: Array,
    y: Array,
    seed: int,
    *,
    allowed: ArrayLike,
    c: Array | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array | None = None,
    vectors: int = 8,
    false_alarm: float = 0.0,
) -> Checksum:
    """Freivalds' check with a tolerance: y @ x against alpha A @ (B @ x) + beta C @ x + bias @ x, in O(mk + kn + mn).

    a (m, k), b (k, n), y, c (m, n), bias (n,), all finite; x (n, vectors) random signs, drawn after y was computed.
    allowed: the largest |y - truth| of each element, broadcast to (m, n). The reference side is exact, or its radius is
    in the bound.

    bound: sum_j allowed_ij with false_alarm = 0: a y within `allowed` never exceeds it. false_alarm > 0: the smaller of
    that and lam * sqrt(sum_j allowed_ij^2), lam = sqrt(2 ln(2 m vectors / false_alarm)): Hoeffding's inequality over
    the signs, with no assumption about y's errors but that they do not depend on the seed; about sqrt(n) / lam times
    as sharp, and wrong about a y within `allowed` with at most that probability, over all rows and vectors together.

    Detection: let d be a row of y - truth. Each vector exceeds t * |d|_2 with probability at least (1 - t^2)^2 / 3
    (Paley-Zygmund with Khinchine's fourth moment, 3 |d|_2^4), so a row with |d|_2 > 2 bound is missed by all vectors
    with probability at most (13/16)^vectors (0.19 for 8). One wrong element, the others within `allowed`, is always
    found where it is off by more than bound + sum_j allowed_ij; with allowed = 0 a wrong row is missed with probability
    at most 2^-vectors (Freivalds 1977).

    Raises ValueError for operands or results that are not finite: their classes are judged element by element.
    """
    named = {"a": a, "b": b, "y": y, "c": c if beta != 0 else None, "bias": bias}
    for name, x in named.items():
        if x is not None and not np.isfinite(x).all():
            raise ValueError(
                f"{name} holds NaN or infinity; a checksum needs finite values: judge those elements alone"
            )
    m, n = y.shape
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (n, vectors))
    want, wants_radius = _reference(a, b, signs, c if beta != 0 else None, alpha, beta, bias)
    got = _applied(y, signs)
    high, low = two_sum(got.hi, -want.hi)
    rest = low + (got.lo - want.lo)
    size = np.abs(high) + 4 * (np.abs(low) + np.abs(got.lo) + np.abs(want.lo))
    own = (got.radius + want.radius + wants_radius + 2 * U * size) * (1 + 8 * U)
    return Checksum(high + rest, _permitted(np.asarray(allowed, np.float64), (m, n), vectors, false_alarm) + own)


def _reference(
    a: Array, b: Array, x: Array, c: Array | None, alpha: float, beta: float, bias: Array | None
) -> tuple[Truth, Array]:
    """alpha A (B x) + beta C x + bias x as truth, and what the radii of B x and C x add to its error, (m, vectors).

    B x enters as its hi and lo side by side, C x as its hi; bias and the lo of C x as further columns of A.
    """
    inner = _applied(b, x)
    left, right = [a, a], [inner.hi, inner.lo]
    extra = np.zeros((a.shape[0], x.shape[1]))
    if inner.radius.any():
        extra = _applied(np.abs(a), inner.radius).hi * abs(alpha) * (1 + 8 * U)
    if c is None and bias is None:
        return _applied(np.hstack(left), np.vstack(right), alpha=alpha), extra
    addend = np.zeros((a.shape[0], x.shape[1]))
    tail = addend
    if c is not None:
        outer = _applied(c, x, alpha=beta)
        addend, tail = outer.hi, outer.lo
        extra = extra + outer.radius
    shift = np.zeros(x.shape[1])
    if bias is not None:
        row = truth(bias[None, :], x)
        shift = row.hi[0]
        tail = tail + row.lo
        extra = extra + row.radius + U * np.abs(tail)
    found = _applied(np.hstack(left), np.vstack(right), alpha=alpha, c=addend, bias=shift)
    low, error = two_sum(found.lo, tail)
    return Truth(found.hi, low, found.radius, found.weight, found.rung), (extra + np.abs(error)) * (1 + 8 * U)


def _applied(
    matrix: Array, x: Array, *, alpha: float = 1.0, c: Array | None = None, bias: Array | None = None
) -> Truth:
    """The truth of alpha matrix @ x + c + bias, in panels of rows."""
    parts = [
        truth(matrix[rows], x, alpha=alpha, c=None if c is None else c[rows], beta=0.0 if c is None else 1.0, bias=bias)
        for rows in _panels(*matrix.shape)
    ]
    return Truth(
        hi=np.vstack([part.hi for part in parts]),
        lo=np.vstack([part.lo for part in parts]),
        radius=np.vstack([part.radius for part in parts]),
        weight=np.vstack([part.weight for part in parts]),
        rung=parts[0].rung,
    )


def _permitted(allowed: Array, shape: tuple[int, int], vectors: int, false_alarm: float) -> Array:
    """The bound of the sums of errors within `allowed` under `vectors` sign vectors, (m, 1), rounded up."""
    m, n = shape
    allowed = np.broadcast_to(allowed, shape)
    most = allowed.sum(axis=1, keepdims=True)
    lam = sqrt(2 * log(2 * m * vectors / false_alarm)) if 0 < false_alarm < 1 else inf
    if lam < inf:
        most = np.minimum(most, lam * np.sqrt(np.square(allowed).sum(axis=1, keepdims=True)))
    return np.asarray(most * (1 + (n + 8) * U))


def _panels(rows: int, width: int) -> Iterator[slice]:
    """Ranges of rows of at most PANEL elements, at least one range."""
    step = max(PANEL // max(width, 1), 1)
    return (slice(i, min(i + step, rows)) for i in range(0, max(rows, 1), step))
