"""How far a kernel's scores' gradients can be off under a contract: recomputed P, dP, D, dS, and a softcap's slope."""

from dataclasses import dataclass, replace
from math import log1p

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_terms import MOST, Exponents, Working, dot_error, logit_error, lost_weights, power, raw_error
from lastbit.references.attention import Rows
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.special import finite_part

Floats = NDArray[np.float64]
U64 = 2.0**-53


@dataclass(frozen=True, slots=True)
class Forward:
    """What the forward pass left of some rows: result and log-sum-exp, with the errors that they may have."""

    #: (m, dv) and (m, dv); (m, 1) and (m, 1).
    out: Floats
    out_error: Floats
    lse: Floats
    lse_error: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Of some rows, (m, n) each: what the last three products of the backward pass are made of."""

    #: Exact P, no less than it, with a bound of |computed P as it meets dO - exact P|.
    weights: Floats
    weight_error: Floats
    #: dX, the gradient of scale q . k, exact but for float64's roundings, and a bound of |computed - exact|.
    gradient: Floats
    gradient_error: Floats
    #: Elements that may overflow on their way.
    lost: NDArray[np.bool_]


def scores(work: Working, problem: Problem, rows: Rows, made: Exponents, upstream: Floats, forward: Forward) -> Scores:
    """docs/attention.md 6: P from its logit and the log-sum-exp, or kept from the forward pass; dP, D, dS, dX."""
    u, keep = work.u, rows.keep
    values = finite_part(problem.v[rows.batch, problem.key_head(rows.head)])
    weights = rows.weights * rows.doubt
    rho = np.expm1(np.minimum(_log_error(work, problem, rows, made, forward), MOST))
    missing = lost_weights(work, weights * (1 + rho))
    stored = (1 + rho) * (1 + work.u_p) - 1 if work.scores is not None else rho
    size = np.abs(upstream)
    reach = np.matmul(size, np.abs(values).T) * (1 + 2.0**-40)
    gained = np.matmul(upstream, values.T)
    gained_error = dot_error(_flushing(work), upstream, values, reach)
    gained_error = gained_error + _stored(work, np.abs(gained) + gained_error, 1)
    mean = (rows.weights * gained).sum(1, keepdims=True)
    mean_error = _mean_error(work, rows, stored, missing, gained, gained_error, size, forward)
    # |dP - D| of the exact ones: float64 has rounded both.
    slop = (values.shape[1] + rows.count + 8) * U64 * rows.doubt * (reach + (weights * reach).sum(1, keepdims=True))
    away = np.abs(gained - mean) + slop
    both = gained_error + mean_error
    rounded = power(3, u) * (np.abs(gained) + np.abs(mean) + both)
    error = weights * (stored * away + (1 + stored) * (both + rounded)) + missing * (away + both)
    gradient = rows.weights * (gained - mean)
    error = error + _stored(work, np.abs(gradient) + error, 1)
    if problem.softcap:
        slope, slope_error = _slope(work, problem, rows)
        error = error * (slope + slope_error) + np.abs(gradient) * slope_error
        gradient = gradient * slope
        error = error + power(3, u) * (np.abs(gradient) + error) + _stored(work, np.abs(gradient) + error, 3)
    error = error + _stored(work, np.abs(gradient) + error, 1)
    error, lost = _cast(work, problem, gradient, error)
    lost = lost | made.lost | (reach >= _most(work))
    return Scores(
        weights,
        np.where(keep, weights * ((1 + rho) * (1 + work.u_p) - 1) + missing, 0.0),
        np.where(keep, gradient, 0.0),
        np.where(keep, error, 0.0),
        lost & keep,
    )


def _log_error(work: Working, problem: Problem, rows: Rows, made: Exponents, forward: Forward) -> Floats:
    """|log(computed P / exact P)|: of exp(s - lse), and of the P that a forward pass keeps and divides.

    The forward pass's running maxima are in the error of its log-sum-exp; no maximum is updated after it.
    """
    u, logn = work.u, np.log(np.maximum(rows.count, 1.0))
    error, _ = logit_error(work, problem, rows)
    size = np.maximum(np.abs(rows.logits), rows.added) + error
    gap = np.maximum(rows.top - rows.logits, 0.0) + 2 * made.logit
    level = np.abs(forward.lse) + forward.lse_error
    found: Floats = error + forward.lse_error + u * (3 * size + 3 * level + 4 * gap + 3 * logn)
    return found - log1p(-min(work.exp, 0.5)) + work.division


def _mean_error(
    work: Working,
    rows: Rows,
    rho: Floats,
    missing: Floats,
    gained: Floats,
    gained_error: Floats,
    upstream: Floats,
    forward: Forward,
) -> Floats:
    """Bound of the error of D, (m, 1): of sum_c dO_c O_c with the kernel's own result, and of sum_j P_j dP_j."""
    unit = max(work.accumulator.unit, work.u) if work.accumulator.engine == "chain" else work.u
    products = upstream * (np.abs(forward.out) + forward.out_error)
    by_out = (upstream * forward.out_error).sum(1) + power(upstream.shape[1] + 2, unit) * products.sum(1)
    weights, size = rows.weights * rows.doubt, np.abs(gained) + gained_error
    parts = weights * (rho * np.abs(gained) + (1 + rho) * gained_error) + missing * size
    by_keys = parts.sum(1) + power(rows.count[:, 0] + 2, unit) * (weights * (1 + rho) * size).sum(1)
    larger: Floats = np.maximum(by_out, by_keys)[:, None]
    return larger


def _slope(work: Working, problem: Problem, rows: Rows) -> tuple[Floats, Floats]:
    """1 - tanh^2(x / softcap), and the bound of its error, that of x among it."""
    cap, u = problem.softcap, work.u
    raw, _ = raw_error(work, problem, rows)
    raw = raw + 2 * u * (np.abs(rows.raw) + raw)
    bent = np.tanh(np.abs(rows.raw) / cap)
    steepest = 1 - np.square(np.tanh(np.maximum(np.abs(rows.raw) - raw, 0.0) / cap)) * (1 - 2.0**-40)
    off = raw * steepest / cap + 2 * work.exp + 6 * u
    off = off + (power(4, u) + power(3, work.u_s)) * (bent + off)
    return 1 - np.square(bent), off * (2 * bent + off) + 4 * u + 3 * work.u_s


def _stored(work: Working, size: Floats, times: int) -> Floats:
    """What an eager kernel loses that stores an intermediate of this size so many times."""
    if work.scores is None:
        return np.zeros(size.shape)
    found: Floats = power(times, work.u_s) * size + times * work.scores.eta
    return found


def _cast(work: Working, problem: Problem, gradient: Floats, error: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The error of dX after it is rounded to P's format, before or after it is scaled, and where that overflows."""
    size = np.abs(gradient) + error
    if work.probabilities is None:
        return error, np.zeros(size.shape, bool)
    fmt, factor = work.probabilities, abs(problem.factor)
    step = fmt.min_normal if work.flush else fmt.eta / 2
    through = max(1.0, 1 / factor) if factor else 1.0
    return error + work.u_p * size + step * through, size * max(1.0, factor) >= fmt.max


def _flushing(work: Working) -> Working:
    """`work` for the product of dO (in q's format) and V: the operands of a dot product flushed like q and k."""
    return replace(work, flushed=(work.flushed[0], work.flushed[2], 0.0))


def _most(work: Working) -> float:
    """Where dP, or an operand of it, no longer fits what it is summed, stored or rounded in."""
    most = np.inf if work.accumulator.engine == "exact" else work.accumulator.max
    if work.scores is not None:
        most = min(most, work.scores.max)
    if work.rounding is not None:
        most = min(most, Format.of(work.rounding.format).max)
    return float(most)
