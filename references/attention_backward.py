"""Proved truth for the gradients of attention: dQ, dK and dV in FP64 with a bound, and an mpmath referee."""

from dataclasses import dataclass

import mpmath
import numpy as np
from numpy.typing import NDArray

from lastbit.references.attention import BLOCK, LIBM, Rows, U, attention_referee, blocks
from lastbit.references.attention_mask import Problem, addends, kept
from lastbit.references.dgemm import check_environment, product
from lastbit.references.special import finite_part
from lastbit.references.truth import Truth

__all__ = ["Gradients", "attention_gradients", "gradients_referee"]

Array = NDArray[np.float64]

#: Relative slack of the bound's own arithmetic.
SLACK = 1 + 2.0**-20


@dataclass(frozen=True, slots=True)
class Gradients:
    """d loss / d q (b, hq, lq, d), d k (b, hkv, lk, d) and d v (b, hkv, lk, dv).

    Weights: scale sum_j |dX_ij||K_j|, scale sum_i |dX_ij||Q_i|, sum_i P_ij |dO_i|, over all query heads of a key head.
    """

    q: Truth
    k: Truth
    v: Truth


@dataclass(frozen=True, slots=True)
class _Sums:
    """hi, radius and weight of one gradient while they are summed."""

    hi: Array
    radius: Array
    weight: Array

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> "_Sums":
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def add(self, place: tuple[int, ...] | tuple[int, int, slice], hi: Array, radius: Array, weight: Array) -> None:
        """Add a block's part; the roundings of these additions are counted when the sums are done."""
        self.hi[place] += hi
        self.radius[place] += radius
        self.weight[place] += weight

    def truth(self, additions: int) -> Truth:
        """The sums as a truth, after at most so many additions."""
        radius = (self.radius + additions * U * self.weight) * SLACK
        return Truth(self.hi, np.zeros(self.hi.shape), radius, self.weight, "fp64 bound")


def attention_gradients(problem: Problem, upstream: Array, *, block: int = BLOCK) -> Gradients:
    """The gradients of sum(out * upstream) by q, k and v, proved; upstream (b, hq, lq, dv) like the result.

    With dP = dO V^T, D_i = sum_j P_ij dP_ij, dS = P (dP - D), dX = dS (1 - tanh^2(x / softcap)):
    dQ = scale dX K, dK = scale dX^T Q, dV = P^T dO. Rows without keys contribute nothing. Keys that are left out have
    gradients of 0, whatever their K and V hold; everything that takes part must be finite.

    Radius: docs/attention.md 6. P is exact, not recomputed.
    Raises ValueError where upstream does not fit, ArithmeticDoubtError if FP64 is not FP64 here.
    """
    check_environment()
    upstream = np.asarray(upstream, np.float64)
    if upstream.shape != problem.shape:
        raise ValueError(f"upstream has shape {upstream.shape}, the result has {problem.shape}")
    sums = {name: _Sums.zeros(getattr(problem, name).shape) for name in ("q", "k", "v")}
    count = 0
    for rows in blocks(problem, block=block):
        _add_rows(problem, upstream, rows, sums)
        count += 1
    return Gradients(**{name: found.truth(count + 2) for name, found in sums.items()})


def _add_rows(problem: Problem, upstream: Array, rows: Rows, sums: dict[str, _Sums]) -> None:
    """What some rows of a head add to the gradients, with error and weight."""
    group, place = problem.key_head(rows.head), (rows.batch, rows.head, rows.rows)
    there = (rows.batch, group)
    out, q = upstream[place], finite_part(problem.q[place])
    k, v = finite_part(problem.k[there]), finite_part(problem.v[there])
    weights, off = rows.weights, rows.doubt - 1
    scores, error = _score_gradients(problem, rows, product(out, v.T), np.matmul(np.abs(out), np.abs(v).T), v.shape[1])
    scale, keys, count = problem.factor, rows.keep.shape[1], out.shape[0]
    size = np.abs(scores) + error
    reach = np.matmul(size, np.abs(k)) * abs(scale)
    sums["q"].add(
        place, product(scores, k) * scale, np.matmul(error, np.abs(k)) * abs(scale) + (keys + 4) * U * reach, reach
    )
    reach = np.matmul(size.T, np.abs(q)) * abs(scale)
    sums["k"].add(
        there, product(scores.T, q) * scale, np.matmul(error.T, np.abs(q)) * abs(scale) + (count + 4) * U * reach, reach
    )
    reach = np.matmul(weights.T, np.abs(out))
    lean = np.matmul((weights * off).T, np.abs(out))
    sums["v"].add(there, product(weights.T, out), lean * SLACK + (count + 4) * U * reach, reach)


def _score_gradients(problem: Problem, rows: Rows, gained: Array, reach: Array, terms: int) -> tuple[Array, Array]:
    """dX of some rows and the bound of its error: `gained` is dO V^T, `reach` |dO||V|^T over `terms` products."""
    weights, off = rows.weights, rows.doubt - 1
    gained_error = (terms + 4) * U * reach
    mean = (weights * gained).sum(1, keepdims=True)
    keys = rows.count + 4
    mean_error = (weights * (off * np.abs(gained) + (1 + off) * gained_error + keys * U * np.abs(gained))).sum(
        1, keepdims=True
    )
    away = np.abs(gained - mean)
    scores = weights * (gained - mean)
    error = weights * (off * away + (1 + off) * (gained_error + mean_error + 2 * U * (away + np.abs(mean))))
    if not problem.softcap:
        return scores, error * SLACK
    slope = 1 - np.square(np.tanh(rows.raw / problem.softcap))
    # The slope of 1 - tanh^2 is below 0.77; the FP64 error of x is d + 4 roundings of its products.
    raw_error = (problem.q.shape[3] + 6) * U * rows.products / problem.softcap
    slope_error = 0.77 * raw_error + 2 * LIBM + 4 * U
    return scores * slope, (error * (slope + slope_error) + np.abs(scores) * (slope_error + 2 * U)) * SLACK


def gradients_referee(problem: Problem, upstream: Array, batch: int) -> dict[str, list[list[list[mpmath.mpf]]]]:
    """The gradients "q" [hq][lq][d], "k" [hkv][lk][d] and "v" [hkv][lk][dv] of one batch entry in 60 digits, slowly."""
    hq, lq, lk = problem.scores[1:]
    hkv, d, dv = problem.k.shape[1], problem.q.shape[3], problem.v.shape[3]
    with mpmath.workdps(60):
        found = {
            "q": [[[mpmath.mpf(0)] * d for _ in range(lq)] for _ in range(hq)],
            "k": [[[mpmath.mpf(0)] * d for _ in range(lk)] for _ in range(hkv)],
            "v": [[[mpmath.mpf(0)] * dv for _ in range(lk)] for _ in range(hkv)],
        }
        for head in range(hq):
            group = problem.key_head(head)
            q, k, v = (
                [[mpmath.mpf(float(x)) for x in line] for line in array]
                for array in (problem.q[batch, head], problem.k[batch, group], problem.v[batch, group])
            )
            for i in range(lq):
                given = [mpmath.mpf(float(x)) for x in upstream[batch, head, i]]
                row, slopes = _referee_row(problem, batch, head, i, q, k)
                gained = {j: mpmath.fdot(given, v[j]) for j in row}
                mean = mpmath.fsum(row[j] * gained[j] for j in row)
                for j, p in row.items():
                    x = p * (gained[j] - mean) * slopes[j] * mpmath.mpf(problem.factor)
                    for c in range(d):
                        found["q"][head][i][c] += x * k[j][c]
                        found["k"][group][j][c] += x * q[i][c]
                    for c in range(dv):
                        found["v"][group][j][c] += p * given[c]
        return found


def _referee_row(
    problem: Problem, batch: int, head: int, i: int, q: list[list[mpmath.mpf]], k: list[list[mpmath.mpf]]
) -> tuple[dict[int, mpmath.mpf], dict[int, mpmath.mpf]]:
    """P of one row by key, and the slope of the softcap there."""
    where = slice(i, i + 1)
    extra = [x[0] for x in addends(problem, batch, head, where)]
    lse = attention_referee(problem, batch, head, i)[1]
    row, slopes = {}, {}
    for j in np.flatnonzero(kept(problem, batch, head, where)[0]):
        x, slopes[int(j)] = mpmath.mpf(problem.factor) * mpmath.fdot(q[i], k[j]), mpmath.mpf(1)
        if problem.softcap:
            t = mpmath.tanh(x / problem.softcap)
            x, slopes[int(j)] = problem.softcap * t, 1 - t * t
        row[int(j)] = mpmath.exp(x + mpmath.fsum(mpmath.mpf(float(e[j])) for e in extra) - lse)
    return row, slopes
