"""Proved truth for attention: FP64 in blocks of rows with a rigorous bound of its own error, and an mpmath referee."""

from collections.abc import Iterator
from dataclasses import dataclass

import mpmath
import numpy as np
from numpy.typing import NDArray

from lastbit.references.attention_mask import Mask, Problem, addends, kept
from lastbit.references.dgemm import check_environment, product
from lastbit.references.eft import two_sum
from lastbit.references.special import finite_part, special_product
from lastbit.references.truth import Truth

__all__ = ["AttentionTruth", "Problem", "Rows", "attention_referee", "attention_truth", "blocks"]

Array = NDArray[np.float64]

U = 2.0**-53
#: Relative error of numpy's exp, log and tanh on float64: 4 ulp is the largest that its SIMD loops document.
LIBM = 8 * U
#: Logits of one block of rows: 2 MiB of float64, so that its dozen temporaries stay far below a gigabyte at any length.
BLOCK = 1 << 18
#: exp of less than this is below float64's normal range; a weight may be lost there.
TINY = 2.0**-1021
#: Difference of logits beyond which a weight is below 2^-1021 with any rounding, and counted as nothing.
GONE = 4000.0
#: Logarithm of a factor beyond which a bound means nothing; keeps it finite.
MOST = 100.0


@dataclass(frozen=True, slots=True)
class AttentionTruth:
    """The exact result and the exact log-sum-exp, each with its own proved radius."""

    #: (b, hq, lq, dv); weight: sum_j P_j |V_jd|.
    out: Truth
    #: (b, hq, lq), natural logarithm, sinks included; weight: sum_j P_j * scale * |q| |k_j|.
    lse: Truth


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one head: their logits in FP64, the error of these, and the probabilities that follow."""

    batch: int
    head: int
    rows: slice
    #: Keys that take part: kept, not at a logit of -inf, nor far below the largest. (m, n) like all that follows.
    keep: Mask
    #: q . k * scale before softcap and addends, and scale * |q| |k|, not less than the exact one; removed keys: 0.
    raw: Array
    products: Array
    #: Final logits (removed keys: 0), bound of their FP64 error, and |summands| of the last additions together.
    logits: Array
    error: Array
    added: Array
    #: P (removed keys: 0), and the logit of the sink, or -inf: (m, 1).
    weights: Array
    sink: Array
    #: (m, 1): largest logit (0 in empty rows), log of the sum of exp(logit - top), P of the sink, and keys that count.
    top: Array
    log_sum: Array
    sink_weight: Array
    count: Array
    #: (m, 1): exact P and logits differ from these by at most: P (doubt^+-1), doubt - 1 < 1e-6 in ordinary data.
    doubt: Array
    #: (m, 1): NaN where the row's answer is NaN (a kept logit of NaN or +inf), else 0.
    special: Array


def attention_truth(problem: Problem, *, block: int = BLOCK) -> AttentionTruth:
    """softmax(logits) V and its log-sum-exp, proved: hi + lo within `radius` of the exact result.

    block: logits in memory at a time. Keys that are not kept do not exist: NaN and infinities in their K and V change
    nothing. A kept logit of NaN or +inf makes the row NaN; one of -inf removes the key. A row without keys and sink is
    0 or NaN (`masked_row`), with an lse of -inf. NaN and infinite V of kept keys decide their column.

    Radius: docs/attention.md 2; about (d + ln n + n + 20) * 2^-53 times the size of the logits and of V. Needs
    scale |q||k| below 1e300.
    Raises ArithmeticDoubtError if FP64 is not FP64 here.
    """
    check_environment()
    shape = problem.shape
    out = [np.zeros(shape) for _ in range(3)]
    lse = [np.zeros(shape[:3]) for _ in range(4)]
    for part in blocks(problem, block=block):
        place = (part.batch, part.head, part.rows)
        for whole, piece in zip(out, _output(problem, part), strict=True):
            whole[place] = piece
        for whole, piece in zip(lse, _log_sum_exp(part), strict=True):
            whole[place] = piece
    zero = np.zeros(shape)
    return AttentionTruth(
        Truth(out[0], zero, out[1], out[2], "fp64 bound"),
        Truth(lse[0], lse[1], lse[2], lse[3], "fp64 bound"),
    )


def blocks(problem: Problem, *, block: int = BLOCK) -> Iterator[Rows]:
    """The rows of every head, some at a time, with everything that truth and budget need of them."""
    batches, heads, lq, lk = problem.scores
    step = max(1, block // max(lk, 1))
    for batch in range(batches):
        for head in range(heads):
            for start in range(0, lq, step):
                yield _rows(problem, batch, head, slice(start, min(start + step, lq)))


def attention_referee(problem: Problem, batch: int, head: int, row: int) -> tuple[list[mpmath.mpf], mpmath.mpf]:
    """One row of the result and its lse in 60 digits: slow, and independent of all above. Operands are finite."""
    where = slice(row, row + 1)
    keep = kept(problem, batch, head, where)[0]
    extra = [x[0] for x in addends(problem, batch, head, where)]
    group = problem.key_head(head)
    with mpmath.workdps(60):
        logits = {}
        for j in np.flatnonzero(keep):
            terms = zip(problem.q[batch, head, row], problem.k[batch, group, j], strict=True)
            x = mpmath.mpf(problem.factor) * mpmath.fsum(mpmath.mpf(a) * mpmath.mpf(b) for a, b in terms)
            if problem.softcap:
                x = problem.softcap * mpmath.tanh(x / problem.softcap)
            logits[j] = x + mpmath.fsum(mpmath.mpf(float(e[j])) for e in extra)
        sink = None if problem.sinks is None else mpmath.mpf(float(problem.sinks[head]))
        every = [*logits.values(), *([] if sink is None else [sink])]
        if not every:
            nan = mpmath.mpf("nan") if problem.masked_row == "nan" else mpmath.mpf(0)
            return [nan] * problem.shape[3], mpmath.mpf("-inf")
        top = max(every)
        total = mpmath.fsum(mpmath.exp(x - top) for x in every)
        values = problem.v[batch, group]
        out = [
            mpmath.fsum(mpmath.exp(x - top) * mpmath.mpf(float(values[j, d])) for j, x in logits.items()) / total
            for d in range(problem.shape[3])
        ]
        return out, top + mpmath.log(total)


def _rows(problem: Problem, batch: int, head: int, rows: slice) -> Rows:
    """Logits and probabilities of some rows of a head."""
    group, d = problem.key_head(head), problem.q.shape[3]
    q, k = problem.q[batch, head, rows], problem.k[batch, group]
    keep = kept(problem, batch, head, rows)
    special = np.zeros((q.shape[0], 1))
    capped = np.zeros(keep.shape)
    if not (np.isfinite(q).all() and np.isfinite(k).all()):
        keep, special, capped = _classes(problem, q, k, keep)
        q, k = finite_part(q), finite_part(k)
    raw = product(q, k.T) * problem.factor
    products = np.matmul(np.abs(q), np.abs(k).T) * (abs(problem.factor) * (1 + (d + 4) * U))
    error = (d + 4) * U * products + 2.0**-1060
    logits, added = raw, np.zeros(keep.shape)
    if problem.softcap:
        logits = np.where(capped != 0, capped, problem.softcap * np.tanh(raw / problem.softcap))
        # The slope of tanh is below 4 exp(-2 z) and 1.
        far = np.maximum(np.abs(raw) - error, 0.0) / problem.softcap
        error = error * np.minimum(1.0, 4 * np.exp(-2 * np.minimum(far, 300.0))) + (LIBM + 4 * U) * np.abs(logits)
    for extra in addends(problem, batch, head, rows):
        added = np.maximum(added, np.abs(logits)) + np.abs(extra)
        logits = logits + extra
        error = error + U * added
        special = np.where((np.isnan(extra) | (extra == np.inf)) & keep, np.nan, 0.0).sum(1, keepdims=True) + special
    logits = np.where(keep & np.isfinite(logits), logits, 0.0)
    sink = np.full((q.shape[0], 1), -np.inf if problem.sinks is None else problem.sinks[head])
    top = np.maximum(np.where(keep, logits, -np.inf).max(1, keepdims=True, initial=-np.inf), sink)
    top = np.where(np.isfinite(top), top, 0.0)
    # A key this far below (a mask of -1e30) has no weight in any arithmetic; its error must not become the row's.
    keep = keep & (top - logits - 2 * error <= GONE)
    with np.errstate(under="ignore"):
        weights = np.exp(np.where(keep, logits - top, -np.inf))
        sink_weight = np.exp(sink - top)
    total = weights.sum(1, keepdims=True) + sink_weight
    some = total > 0
    divisor = np.where(some, total, 1.0)
    count = keep.sum(1, keepdims=True) + (sink > -np.inf)
    # Largest |log of (computed weight / exact weight)| of a row, and the sum's: P is off by twice that.
    largest = np.where(keep, error + U * (top - logits), 0.0).max(1, keepdims=True, initial=0.0)
    doubt = np.exp(np.minimum(2 * (largest + LIBM + 2 * U), MOST)) * (1 + 4 * (count + 4) * U)
    return Rows(
        batch=batch,
        head=head,
        rows=rows,
        keep=keep,
        raw=np.where(keep, raw, 0.0),
        products=np.where(keep, products, 0.0),
        logits=logits,
        error=np.where(keep, error, 0.0),
        added=np.where(keep, added, 0.0),
        weights=weights / divisor,
        sink=sink,
        top=top,
        log_sum=np.where(some, np.log(divisor), -np.inf),
        sink_weight=sink_weight / divisor,
        count=count.astype(np.float64),
        doubt=doubt,
        special=special,
    )


def _classes(problem: Problem, q: Array, k: Array, keep: Mask) -> tuple[Mask, Array, Array]:
    """Of NaN and infinite operands: keys still kept, (m, 1) NaN where a row is NaN, and the softcap where reached."""
    with np.errstate(invalid="ignore"):
        kind = special_product(q, k.T) * np.sign(problem.factor)
    kind = np.where(keep, kind, 0.0)
    capped = np.zeros(keep.shape)
    if problem.softcap:
        capped = np.where(np.isinf(kind), np.copysign(problem.softcap, kind), 0.0)
        kind = np.where(np.isinf(kind), 0.0, kind)
    nan = (np.isnan(kind) | (kind == np.inf)).any(1, keepdims=True)
    return keep & (kind != -np.inf), np.where(nan, np.nan, 0.0), capped


def _output(problem: Problem, part: Rows) -> tuple[Array, Array, Array]:
    """hi, radius and weight of the result of some rows."""
    values = problem.v[part.batch, problem.key_head(part.head)]
    finite = finite_part(values)
    size = np.abs(finite)
    hi = product(part.weights, finite)
    weight = np.matmul(part.weights, size)
    # docs/attention.md 2, with |V - O| <= |V| + |O|, and the roundings of both sums.
    lean = part.weights * _relative(part)
    sums = (part.count + 6) * U
    radius = np.matmul(lean, size) + np.abs(hi) * lean.sum(1, keepdims=True) + sums * (2 * weight + np.abs(hi))
    radius = radius * (part.doubt**2 * (1 + 2.0**-20)) + TINY * size.sum(0) + 2.0**-1070
    radius += np.abs(hi) * (np.abs(part.sink_weight) * (LIBM + U * (part.top - np.maximum(part.sink, -1e300))))
    empty = part.log_sum == -np.inf
    hi = np.where(empty & (problem.masked_row == "nan"), np.nan, hi) + part.special
    if not np.isfinite(values).all():
        hi = _touched(part, values, hi)
    decided = ~np.isfinite(hi) | empty
    return hi, np.where(decided, 0.0, radius), np.where(empty, 0.0, weight)


def _relative(part: Rows) -> Array:
    """Relative error of exp(logit - top) of each key, as computed here."""
    gap = np.maximum(part.top - part.logits, 0.0)
    rho: Array = np.expm1(np.minimum(part.error + U * gap + LIBM + 2 * U, MOST))
    return rho


def _touched(part: Rows, values: Array, hi: Array) -> Array:
    """`hi` where NaN or infinite V of kept keys decide a column."""
    count = part.keep.astype(np.float64)
    nan, up, down = (
        np.matmul(count, x.astype(np.float64)) > 0 for x in (np.isnan(values), values == np.inf, values == -np.inf)
    )
    hi = np.where(up, np.inf, np.where(down, -np.inf, hi)) + part.special
    return np.where(nan | (up & down), np.nan, hi)


def _log_sum_exp(part: Rows) -> tuple[Array, Array, Array, Array]:
    """hi, lo, radius and weight of the log-sum-exp of some rows."""
    empty = part.log_sum == -np.inf
    log_sum = np.where(empty, 0.0, part.log_sum)
    hi, lo = two_sum(part.top, log_sum)
    lean = part.weights * _relative(part)
    sink = part.sink_weight * (LIBM + U * (part.top - np.maximum(part.sink, -1e300)))
    radius = lean.sum(1, keepdims=True) + sink + (part.count + 6) * U + LIBM * np.abs(log_sum) + 2.0**-1070
    radius = radius * (part.doubt**2 * (1 + 2.0**-20))
    hi = np.where(empty, -np.inf, hi) + part.special
    decided = ~np.isfinite(hi)
    lo, radius = np.where(decided, 0.0, lo), np.where(decided, 0.0, radius)
    weight = (part.weights * part.products).sum(1)
    return hi[:, 0], lo[:, 0], radius[:, 0], weight
