"""Proved truth for GEMM: `truth` climbs from a bounded FP64 product to exact slicing to rational arithmetic."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.references import special
from lastbit.references.dgemm import check_environment
from lastbit.references.ladder import Problem, climb, joined_rungs
from lastbit.references.rational import rational_dot, referee
from lastbit.references.truth import Truth

__all__ = ["rational_dot", "referee", "truth"]

Array = NDArray[np.float64]


def truth(
    a: Array,
    b: Array,
    *,
    c: Array | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array | None = None,
    resolution: float = 0.0,
) -> Truth:
    """alpha * A @ B + beta * C + bias, proved: hi + lo, a radius, and the weight |alpha||A||B| + |beta||C| + |bias|.

    a (.., m, k), b (.., k, n) and c (.., m, n) hold exact values as float64; batch dimensions broadcast as in matmul;
    bias (n,). With beta = 0, c is not read. alpha and beta are exact float64 numbers, and finite.
    resolution: the largest radius / weight that the caller can use; 0 asks for the exact answer (rungs, docs/truth.md).

    Exact answers: radius 0 where the sum is a float64 pair; else hi = RN(sum), lo = the rest rounded to odd, radius one
    spacing of lo. Either way hi + lo rounds as the sum does, to every format of at most 53 bits, in every direction;
    except that below 2^-1020 a rest under 2^-1074 is dropped (radius 2^-1074; hi is still correctly rounded).
    NaN and infinities by IEEE 754 on real operands; |sum| >= 2^1024 - 2^970 gives an infinite hi.
    weight is never below the true one (but cut at the largest float64), and relatively at most (4k + 40) * 2^-53 above
    it, or 2^-1071 in all; always finite: NaN and infinite operands count 0 in it.

    Raises ValueError for shapes that do not fit or non-finite scalars, ArithmeticDoubtError if FP64 is not FP64 here.
    """
    check_environment()
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    shape = _shape(a, b)
    if not (np.isfinite(alpha) and np.isfinite(beta)):
        raise ValueError(f"alpha = {alpha!r}, beta = {beta!r}: the scalars of a GEMM must be finite")
    if beta != 0 and c is None:
        raise ValueError(f"beta = {beta!r} needs c: pass c of shape {shape}, or beta=0")
    addend = None if c is None or beta == 0 else _fitting("c", c, shape)
    row = None if bias is None else _fitting("bias", bias, shape[-1:])
    lead, (m, n), k = shape[:-2], shape[-2:], a.shape[-1]
    if b.ndim == 2 or b.shape[:-2] == (1,) * (b.ndim - 2):  # one b for all: the batch is more rows
        rows = int(np.prod(shape[:-1]))
        addend = None if addend is None else addend.reshape(rows, n)
        parts = [_matrix(a.reshape(rows, k), b.reshape(k, n), addend, alpha, beta, row, resolution)]
    else:
        a, b = np.broadcast_to(a, (*lead, m, k)), np.broadcast_to(b, (*lead, k, n))
        parts = [
            _matrix(a[i], b[i], None if addend is None else addend[i], alpha, beta, row, resolution)
            for i in np.ndindex(lead)
        ]
    return _joined(parts, shape)


def _matrix(
    a: Array, b: Array, c: Array | None, alpha: float, beta: float, bias: Array | None, resolution: float
) -> Truth:
    """`truth` of one matrix: specials set aside, the finite part proved, the specials' classes put back."""
    shape = (a.shape[0], b.shape[1])
    scaled = [] if c is None else [(beta, c)]
    scaled += [] if bias is None else [(1.0, np.broadcast_to(bias, shape))]
    operands = [a, b, *(x for _, x in scaled)]
    if all(np.isfinite(x).all() for x in operands):
        return climb(Problem(a, b, alpha, tuple(scaled)), resolution)
    zeroed = [(scale, special.finite_part(x)) for scale, x in scaled]
    problem = Problem(special.finite_part(a), special.finite_part(b), alpha, tuple(zeroed))
    part = climb(problem, resolution)
    with np.errstate(invalid="ignore"):
        classes = special.special_product(a, b)
        classes = np.where(classes == 0, 0.0, np.sign(alpha) * classes)
        for scale, x in scaled:
            classes = classes + special.special_addend(scale, x)
    touched = classes != 0
    return replace(
        part,
        hi=np.where(touched, classes, part.hi),
        lo=np.where(touched, 0.0, part.lo),
        radius=np.where(touched, 0.0, part.radius),
    )


def _shape(a: Array, b: Array) -> tuple[int, ...]:
    """The shape of a @ b; ValueError if there is none."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"a {a.shape} and b {b.shape} do not multiply: expected (.., m, k) and (.., k, n)")
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])


def _fitting(name: str, x: Array, shape: tuple[int, ...]) -> Array:
    """`x` as float64 of `shape`; ValueError if it is no such thing."""
    x = np.asarray(x, np.float64)
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {x.shape}, the result needs {shape}") from None


def _joined(parts: list[Truth], shape: tuple[int, ...]) -> Truth:
    """The truths of a batch as one of `shape`."""

    def stacked(arrays: list[Array]) -> Array:
        return arrays[0].reshape(shape) if len(arrays) == 1 else np.reshape(arrays, shape)

    return Truth(
        hi=stacked([part.hi for part in parts]),
        lo=stacked([part.lo for part in parts]),
        radius=stacked([part.radius for part in parts]),
        weight=stacked([part.weight for part in parts]),
        rung=joined_rungs(rung for part in parts for rung in part.rung.split("+")),
    )
