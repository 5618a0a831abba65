"""How far a weight of attention can be off under a contract: logits, exponents, updates of the maximum, sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.gemm_budget import BudgetError
from lastbit.input_rounding import INPUT_ROUNDINGS, Rounding
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import Rows
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.special import finite_part

if TYPE_CHECKING:
    from lastbit.contract import Contract

Floats = NDArray[np.float64]

#: Logarithm of a factor beyond which a bound means nothing; keeps it finite.
MOST = 300.0


@dataclass(frozen=True, slots=True)
class Working:
    """What a contract promises about each step: units of roundings, errors of functions, formats."""

    #: Of q k^T and P V.
    accumulator: Accumulator
    #: Everything else is done in this format: f64 where the accumulator is, else f32; its unit and smallest normal.
    name: str
    u: float
    least: float
    #: Relative error of exp; of log and tanh (absolute, there, for arguments and results of size 1).
    exp: float
    #: Unit of the format of P and the format itself, or 0 and None where it is the working format.
    u_p: float
    probabilities: Format | None
    #: Unit of the format that logits are stored in, or 0 and None.
    u_s: float
    scores: Format | None
    rounding: Rounding | None
    #: Smallest normal numbers of q, k and v that may be read as 0, or 0.
    flushed: tuple[float, float, float]
    #: Whether anything may be flushed.
    flush: bool
    #: Relative error of the final division: a reciprocal that is an ulp off (2 u), times (u), or a division of 2 ulp.
    division: float


@dataclass(frozen=True, slots=True)
class Exponents:
    """Of some rows, (m, n) each but where said: how far weights, numerators and denominators can be off, relatively."""

    #: |log(computed weight / exact weight)| but for a factor common to the row, and expm1 of it.
    log: Floats
    rho: Floats
    #: The same of the sink, (m, 1).
    sink_log: Floats
    sink_rho: Floats
    #: Roundings of a key's product with V on its way into the result, P's cast excepted; of a weight into the sum.
    tau: Floats
    phi: Floats
    #: Error that a whole row shares and that does not cancel, where splits are combined by their lse: (m, 1).
    common: Floats
    #: Largest error of a logit of the row: (m, 1).
    logit: Floats
    #: Rows whose logits may overflow on their way: (m, 1).
    lost: NDArray[np.bool_]


def working(contract: "Contract", formats: Mapping[str, str]) -> Working:
    """The promises of a resolved contract. Raises BudgetError where the accumulator or input rounding is unknown."""
    chosen = contract.accumulator
    if chosen is None:
        raise BudgetError("contract.accumulator is None; fill it in with lastbit.contract.resolved")
    accumulator = Accumulator.of(chosen) if isinstance(chosen, str) else chosen
    wide = accumulator.engine == "chain" and accumulator.precision >= 53
    name, u, least = ("f64", 2.0**-53, 2.0**-1022) if wide else ("f32", 2.0**-24, 2.0**-126)
    cast, stored = (None if f is None else Format.of(f) for f in (contract.probabilities, contract.scores))
    if contract.input_rounding is not None and contract.input_rounding not in INPUT_ROUNDINGS:
        raise BudgetError(
            f"input_rounding is {contract.input_rounding!r}, expected None or one of {', '.join(INPUT_ROUNDINGS)}"
        )
    flush = contract.subnormals == "flush"
    return Working(
        accumulator=accumulator,
        name=name,
        u=u,
        least=least,
        exp=contract.exp_ulp * 2 * u,
        u_p=cast.u if cast is not None and cast.u > u else 0.0,
        probabilities=cast if cast is not None and cast.u > u else None,
        u_s=stored.u if stored is not None and stored.u > u else 0.0,
        scores=stored if stored is not None and stored.u > u else None,
        rounding=None if contract.input_rounding is None else INPUT_ROUNDINGS[contract.input_rounding],
        flushed=tuple(_least(formats[x]) if flush else 0.0 for x in ("q", "k", "v")),  # type: ignore[arg-type]
        flush=flush,
        division=4 * u,
    )


def exponents(work: Working, problem: Problem, part: Rows) -> Exponents:
    """The errors of the weights of some rows, whatever the order of the keys: docs/attention.md 3."""
    u, logn = work.u, np.log(np.maximum(part.count, 1.0))
    error, lost = logit_error(work, problem, part)
    largest = error.max(1, keepdims=True, initial=0.0)
    size = np.maximum(np.abs(part.logits), part.added) + error
    gap = np.maximum(part.top - part.logits, 0.0) + error + largest
    updates = _updates(part, largest) + (part.sink > -np.inf)
    rounded = -log1p(-min(work.exp, 0.5))
    log_exp = (work.exp + 3 * u) * (1 + logn)
    log = error + 2 * u * size + (1 + updates) * (u * (size + gap) + rounded) + 3 * u * gap
    log += 2 * u * (size + gap + logn) + log_exp + 3 * u * (gap + logn) + rounded
    log = np.where(part.keep, np.minimum(log, MOST), 0.0)
    there = part.sink > -np.inf
    sink = np.where(there, part.sink, 0.0)
    key_top = np.where(part.keep, part.logits, -np.inf).max(1, keepdims=True, initial=-np.inf)
    sink_gap = np.abs(sink - np.where(np.isfinite(key_top), key_top, sink)) + largest
    sink_log = 8 * u * (np.abs(sink) + sink_gap + logn) + 3 * rounded + log_exp
    sink_log = np.where(there, np.minimum(sink_log, MOST), 0.0)
    height = part.count + updates + 4
    common = 2 * u * (np.abs(part.top) + np.abs(_finite(part.log_sum)) + largest) + log_exp + rounded
    return Exponents(
        log=log,
        rho=np.expm1(log),
        sink_log=sink_log,
        sink_rho=np.expm1(sink_log),
        tau=_products(work, part, updates),
        phi=power(height, u),
        common=np.expm1(np.minimum(common, MOST)),
        logit=largest,
        lost=lost,
    )


def lost_weights(work: Working, weights: Floats) -> Floats:
    """How much of each weight (at most `weights`) may be missing because P, or exp, is below the normal range."""
    missing = np.minimum(weights, 2 * work.least)
    if work.rounding is not None:
        fmt = Format.of(work.rounding.format)
        missing = missing + np.where(weights < 2 * fmt.min_normal, np.minimum(weights, fmt.eta), 0.0)
    if work.probabilities is not None:
        fmt = work.probabilities
        step = fmt.min_normal if work.flush else fmt.eta / 2
        missing = missing + np.where(weights < 2 * fmt.min_normal, np.minimum(weights, step), 0.0)
    return missing


def logit_error(work: Working, problem: Problem, part: Rows) -> tuple[Floats, NDArray[np.bool_]]:
    """Bound of |computed logit - exact logit|, and the rows where a product may overflow before it is scaled."""
    u = work.u
    error, lost = raw_error(work, problem, part)
    if problem.softcap:
        cap = problem.softcap
        error = error + 2 * u * (np.abs(part.raw) + error)
        slope = 1 - np.square(np.tanh(np.maximum(np.abs(part.raw) - error, 0.0) / cap)) * (1 - 2.0**-40)
        error = error * slope + cap * (2 * work.exp + 6 * u)
        error = error + power(3, work.u_s) * (cap * np.tanh(np.abs(part.raw) / cap) + error)
    if problem.bias is not None or problem.mask is not None:
        error = error + (power(2, u) + power(2, work.u_s)) * (part.added + error)
    error = np.where(part.keep, error + part.error, 0.0)
    return error, lost


def raw_error(work: Working, problem: Problem, part: Rows) -> tuple[Floats, NDArray[np.bool_]]:
    """`logit_error` before a softcap and addends."""
    factor, u = abs(problem.factor), work.u
    q = finite_part(problem.q[part.batch, part.head, part.rows])
    k = finite_part(problem.k[part.batch, problem.key_head(part.head)])
    weight = part.products / factor if factor else np.matmul(np.abs(q), np.abs(k).T)
    weight = weight * (1 + 2.0**-40)
    error = dot_error(work, q, k, weight) * factor
    # scale, or its root on q and k, or times log2(e): at most five roundings in all, of what the products make.
    error = error + power(5, u) * (part.products + error)
    reach = weight.max(1, keepdims=True, initial=0.0)
    lost = reach >= work.accumulator.max if work.accumulator.engine != "exact" else np.zeros(reach.shape, bool)
    if work.rounding is not None:
        most = Format.of(work.rounding.format).max
        values = finite_part(problem.v[part.batch, problem.key_head(part.head)])
        lost = lost | bool(max(np.abs(x).max(initial=0.0) for x in (q, k, values)) > most)
    if work.scores is not None:
        error = error + power(2, work.u_s) * (np.abs(part.raw) + error) + work.scores.eta * (1 + factor)
        lost = lost | (reach >= work.scores.max)
    return error, lost


def dot_error(work: Working, q: Floats, k: Floats, weight: Floats) -> Floats:
    """Bound of the error of q k^T before it is scaled."""
    model, d = work.accumulator, q.shape[-1]
    if work.rounding is None:
        error = model.bound(q, k.T, weight=weight)
    else:
        rounding, eta = work.rounding, Format.of(work.rounding.format).eta
        factor = model.coefficient(rounding.products * d)
        sizes = np.abs(q).sum(1)[:, None] + np.abs(k).sum(1)[None, :] + d * eta
        error = (factor * rounding.growth + rounding.product_error) * weight + rounding.growth * eta * sizes
        error = error + (1 + factor) * rounding.products * d * 2.0 ** (model.emin - model.precision)
    if work.flush:
        lost = work.flushed[0] * np.abs(k).sum(1)[None, :] + work.flushed[1] * np.abs(q).sum(1)[:, None]
        error = error + 2 * lost + (2 * d + 2) * 2.0**model.emin
    return np.asarray(error, np.float64)


def _products(work: Working, part: Rows, updates: Floats) -> Floats:
    """Relative error that a weight times V collects: products and sums of P V, rescales, a combination of splits."""
    model, u, keys = work.accumulator, work.u, part.keep.shape[1]
    if model.engine == "chain":
        sums = power(part.count + updates + 4, max(model.unit, u))
    elif model.engine in ("exact", "integer"):
        sums = power(updates + 4, u)
    else:  # tiles of at least one block are added, in f32, to what was rescaled
        sums = (1 + model.coefficient(keys)) * (1 + power(updates + keys // max(model.terms, 1) + 4, u)) - 1
    if work.rounding is None:
        return sums
    return (1 + sums * work.rounding.growth * work.rounding.products) * (1 + work.rounding.product_error) - 1


def _updates(part: Rows, slack: Floats) -> Floats:
    """How often the running maximum can rise after each key was added, in any order of the keys: (m, n).

    Only a key whose computed logit is larger can raise it: at most as many times as there are keys whose exact logits
    are larger than this one's less twice the largest error.
    """
    m, n = part.keep.shape
    logits = np.where(part.keep, part.logits, -np.inf)
    both = np.concatenate([logits, np.nextafter(logits - 2 * slack * (1 + 2.0**-40), -np.inf)], axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    below = np.empty((m, 2 * n))
    np.put_along_axis(below, order, np.cumsum(order < n, axis=1).astype(np.float64), axis=1)
    return np.where(part.keep, n - below[:, n:] - 1, 0.0)


def power(count: Floats | float, unit: float) -> Floats:
    """(1 + unit)^count - 1, kept finite."""
    return np.expm1(np.minimum(np.asarray(count, np.float64) * log1p(unit), MOST))


def _finite(x: Floats) -> Floats:
    return np.where(np.isfinite(x), x, 0.0)


def _least(name: str) -> float:
    """The smallest normal number of a format that hardware flushes below, else 0."""
    fmt = Format.of(name)
    return fmt.min_normal if fmt.kind == "float" and fmt.bits >= 16 else 0.0
