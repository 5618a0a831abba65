"""What a contract allows attention to be wrong by, element by element: the result and its log-sum-exp."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_terms import Exponents, Working, exponents, lost_weights, working
from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output, settled
from lastbit.budget_terms import Terms
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import AttentionTruth, Rows, blocks
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.special import finite_part
from lastbit.references.truth import Truth

if TYPE_CHECKING:
    from lastbit.contract import Contract

Floats = NDArray[np.float64]

SOURCE = "attention.md 3"
SHARED = "the errors of a row's logits are shared by its columns; attention_statistics takes one column a row"
#: Elements of |V - O| weighed at a time: 2 MiB, which a cache holds.
PIECE = 1 << 18
#: Where a bound of an element means nothing: finite, so that a judge can compute with it.
LARGEST = float(np.finfo(np.float64).max) / 8


@dataclass(frozen=True, slots=True)
class Parts:
    """The error of a result before it is rounded to its format, in parts; arrays of the result's shape."""

    #: All of it, and without the rounding of P.
    error: Floats
    without_cast: Floats
    #: Square of the sub-Gaussian scale of the rounding of P.
    cast: Floats
    #: sum_j P_j |V_jd|, and the largest partial sum, not divided by the sum of weights.
    size: Floats
    reach: Floats
    #: Whether a logit may overflow on its way.
    lost: NDArray[np.bool_]
    #: (b, hq, lq): of the log-sum-exp.
    lse: Floats


def budget(
    contract: "Contract", formats: Mapping[str, str], problem: Problem, truth: AttentionTruth
) -> tuple[Budget, Budget]:
    """The largest errors of the result (b, hq, lq, dv) and of the log-sum-exp (b, hq, lq) that `contract` allows.

    For one pass, online softmax with any tile and in any order, and split keys with a combination: the largest error of
    any of them. `contract` is resolved; `formats` has q, k, v, out, and lse if that is not the working format. The
    derivation of each term is in docs/attention.md. Elements whose truth is not finite get a bound that means nothing.

    Raises BudgetError when `contract` names an unknown input rounding, or no accumulator.
    """
    work = working(contract, formats)
    parts = weigh(work, problem, truth)
    out = _out(work, contract, formats, problem, truth.out, parts)
    return out, replace(_lse(work, contract, formats, truth.lse, parts), terms=out.terms)


def weigh(work: Working, problem: Problem, truth: AttentionTruth) -> Parts:
    """The error bounds of every element, a block of rows at a time."""
    shape = problem.shape
    error, others, cast, size, reach = (np.zeros(shape) for _ in range(5))
    parts = Parts(error, others, cast, size, reach, np.zeros(shape, bool), np.zeros(shape[:3]))
    for rows in blocks(problem):
        place = (rows.batch, rows.head, rows.rows)
        made = exponents(work, problem, rows)
        _weigh_rows(work, problem, rows, made, finite_part(truth.out.hi[place]), place, parts)
        parts.lse[place] = _lse_error(work, rows, made)
    return parts


def _weigh_rows(
    work: Working,
    problem: Problem,
    rows: Rows,
    made: Exponents,
    exact: Floats,
    place: tuple[int, int, slice],
    parts: Parts,
) -> None:
    """docs/attention.md 3: numerator and denominator of some rows, and their quotient."""
    values = finite_part(problem.v[rows.batch, problem.key_head(rows.head)])
    size, level = np.abs(values), np.abs(exact)
    weights, sink = rows.weights * rows.doubt, rows.sink_weight * rows.doubt
    grown, grown_sink = weights * (1 + made.rho), sink * (1 + made.sink_rho)
    heavy = np.matmul(grown, size)
    error = _spread(weights * made.rho, values, exact) + level * (sink * made.sink_rho)
    error += np.matmul(grown * made.tau, size)
    height = (grown * made.phi).sum(1, keepdims=True) + grown_sink * made.phi.max(1, keepdims=True, initial=0.0)
    error += level * height
    missing = lost_weights(work, grown)
    error += np.matmul(missing, size) + level * missing.sum(1, keepdims=True) + _underflow(work, rows, size)
    # The denominator is at least exp(-sum_j P_j log_j), by Jensen, but for its own roundings.
    mean = (weights * made.log).sum(1, keepdims=True) + sink * made.sink_log
    divisor = np.exp(-np.minimum(mean, 300.0)) * (1 - np.minimum(height, 0.5))
    through = 1 + np.max(made.tau, axis=1, keepdims=True, initial=0.0)
    cast = np.zeros(error.shape)
    if work.u_p:  # the denominator may be the sum of the rounded weights, or of those before they were rounded
        cast = work.u_p * through * np.maximum(heavy, _spread(grown, values, exact) + level * grown_sink)
        divisor = divisor * (1 - work.u_p)
    last = work.division + made.common * (1 + work.division)
    parts.error[place] = _divided(error + cast, divisor, level, last)
    parts.without_cast[place] = _divided(error, divisor, level, last)
    with np.errstate(over="ignore"):  # a scale that large means nothing, as such a bound does
        parts.cast[place] = np.square(work.u_p * through / divisor) * _squares(grown, values, exact)
    parts.size[place] = heavy
    parts.reach[place] = heavy * np.exp(np.clip(rows.log_sum, 0.0, 300.0))
    parts.lost[place] = made.lost


def _divided(error: Floats, divisor: Floats, level: Floats, last: Floats) -> Floats:
    """The error after the division and the relative error `last`, kept finite."""
    with np.errstate(over="ignore"):
        error = error / divisor
        error = error + last * (level + error)
    finite: Floats = np.where(error < LARGEST, error, LARGEST)
    return finite


def _spread(weights: Floats, values: Floats, exact: Floats) -> Floats:
    """sum_j weights_ij |V_jd - O_id|, (m, dv), for weights (m, n), V (n, dv) and O (m, dv)."""
    found = np.empty(exact.shape)
    keys, columns = values.shape
    turned = np.ascontiguousarray(values.T)
    # As many columns at a time as memory allows: few and small heads, of which a search has many, are then one step.
    wide = max(1, min(columns, PIECE // max(1, exact.shape[0] * keys)))
    step = max(1, PIECE // max(1, keys * wide))
    for column in range(0, columns, wide):
        for start in range(0, exact.shape[0], step):
            some = slice(start, start + step), slice(column, column + wide)
            away = turned[None, some[1]] - exact[some][:, :, None]
            np.abs(away, out=away)
            found[some] = np.matmul(away, weights[some[0], :, None])[:, :, 0]
    return found


def _squares(weights: Floats, values: Floats, exact: Floats) -> Floats:
    """The larger of sum_j w_j^2 V_jd^2 and sum_j w_j^2 (V_jd - O_d)^2, (m, dv)."""
    squares = np.square(weights)
    plain = np.matmul(squares, np.square(values))
    with np.errstate(over="ignore", invalid="ignore"):  # squares beyond FP64: the plain sum stands
        centred = plain - 2 * exact * np.matmul(squares, values) + np.square(exact) * squares.sum(1, keepdims=True)
    larger: Floats = np.fmax(plain, centred)
    return larger


def _underflow(work: Working, rows: Rows, size: Floats) -> Floats:
    """What products and rescales lose below the accumulator's normal range, and flushed operands: (m, dv)."""
    model, (queries, columns) = work.accumulator, (rows.keep.shape[0], size.shape[1])
    whole = np.full((queries, columns), work.flushed[2])
    if work.rounding is not None:  # V below the normal range of what it is rounded to
        whole = whole + work.rounding.growth * Format.of(work.rounding.format).eta
    if model.engine in ("exact", "integer"):
        return whole
    step = 2.0**model.emin if work.flush or model.flush else 2.0 ** (model.emin - model.precision + 1)
    lost = (4 * rows.count + 4) * step
    if model.engine != "chain" and work.probabilities is not None:
        # An engine aligns a subnormal P by the exponent of the smallest normal one.
        lost = lost + model.coefficient(rows.keep.shape[1]) * work.probabilities.min_normal * size.sum(0)
    return whole + lost


def _lse_error(work: Working, rows: Rows, made: Exponents) -> Floats:
    """Bound of the absolute error of the log-sum-exp of some rows, (m,)."""
    weights, sink = rows.weights * rows.doubt, rows.sink_weight * rows.doubt
    grown, grown_sink = weights * (1 + made.rho), sink * (1 + made.sink_rho)
    height = (grown * made.phi).sum(1, keepdims=True) + grown_sink * made.phi.max(1, keepdims=True, initial=0.0)
    lean = (weights * made.rho).sum(1, keepdims=True) + sink * made.sink_rho
    logs = np.abs(np.where(np.isfinite(rows.log_sum), rows.log_sum, 0.0))
    ends = 6 * work.u * (np.abs(rows.top) + logs + made.logit) + (work.exp + 3 * work.u) * (1 + logs)
    total = lean - np.log1p(-np.minimum(height + 2 * work.least * rows.count, 0.5)) + ends
    return np.where(rows.count > 0, np.minimum(total, LARGEST), 0.0)[:, 0]


def _out(
    work: Working,
    contract: "Contract",
    formats: Mapping[str, str],
    problem: Problem,
    truth: Truth,
    parts: Parts,
) -> Budget:
    fmt = Format.of(formats["out"])
    keys, d = problem.scores[3], problem.q.shape[3]
    terms = Terms(parts.error, parts.size, None, count=keys)
    terms.cite(f"sum_j P_j (E_j + exponents)*|V_j - O|, E of {d} terms in {work.accumulator.name}", SOURCE)
    terms.cite(f"sum_j P_j |V_j| ({keys} keys in {work.accumulator.name}) + |O| ({keys} keys, division)", SOURCE)
    if work.probabilities is not None:
        terms.cite(f"u_{work.probabilities.name}*sum_j P_j |V_j|", SOURCE)
    terms.add(truth.radius, "radius of the truth", "attention.md 2")
    terms.no_statistics(SHARED)
    slack = terms.error * ROUND_UP
    lost = parts.lost if parts.lost.any() else None
    window = overflow_window(parts.reach, slack, lost, work.accumulator, fmt, truth)
    rounded = round_output(terms, slack, contract, Accumulator.of(work.name), fmt, truth)
    return settled(terms, contract, fmt, rounded, window)


def _lse(work: Working, contract: "Contract", formats: Mapping[str, str], truth: Truth, parts: Parts) -> Budget:
    fmt = Format.of(formats.get("lse", work.name))
    terms = Terms(parts.lse + truth.radius, truth.weight, None)
    terms.cite("sum_j P_j (E_j + exponents) + sum of the weights + log + u*|lse|, absolute", SOURCE)
    terms.no_statistics(SHARED)
    slack = terms.error * ROUND_UP
    rounded = round_output(terms, slack, contract, Accumulator.of(work.name), fmt, truth)
    return settled(terms, contract, fmt, rounded)
