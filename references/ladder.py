"""The rungs that prove alpha A@B + addends for finite matrices: bounded FP64, exact FP64, slices, integers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references import certificate, eft, rational, slicing
from lastbit.references.dgemm import product
from lastbit.references.safe_range import Scaled, scaled
from lastbit.references.truth import Truth

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Elements as hi, lo, radius, and where those are proved.
Sums = tuple[Array, Array, Array, Mask]

U = 2.0**-53
LARGEST = float(np.finfo(np.float64).max)
#: Elements that one exact sum handles at a time: its six or so temporaries stay in a core's second-level cache.
CHUNK = 1 << 14
#: Elements that are multiplied at a time: bounds the memory that the products of all slices take.
PANEL = 1 << 18
RUNGS = ("fp64 bound", "fp64 exact", "sliced", "rational")


@dataclass(frozen=True, slots=True)
class Problem:
    """alpha * a @ b + addends, all finite: a (m, k), b (k, n), each addend a number times an (m, n) array."""

    a: Array
    b: Array
    alpha: float
    addends: tuple[tuple[float, Array], ...]


def climb(problem: Problem, resolution: float) -> Truth:
    """The truth of `problem` by the cheapest rung that gives radius <= resolution * weight, or exactly."""
    with np.errstate(all="ignore"):
        if resolution > 0:
            bounded = _bounded(problem, resolution)
            if bounded is not None:
                return bounded
        return _exact(problem)


def joined_rungs(names: Iterable[str]) -> str:
    """Rung names in the ladder's order, joined by "+"."""
    found = set(names)
    return "+".join(rung for rung in RUNGS if rung in found)


def _bounded(problem: Problem, resolution: float) -> Truth | None:
    """Rung 0: FP64 with its bound, or None where that is wider than `resolution` somewhere.

    Each summand passes at most k + 4 roundings (product, k - 1 additions, alpha; the addends' scaling and adding), so
    the error is at most ((1 + u)^(k + 4) - 1) times the weight. Weights from 2^-960 on keep what k products may lose to
    underflow, k * 2^-1075, below u of it; lighter elements are left to the exact rungs unless trivially zero.
    Source: Higham, ASNA 3.1.
    """
    k = problem.a.shape[1]
    magnitude_a, magnitude_b = np.abs(problem.a), np.abs(problem.b)
    factor = product(magnitude_a, magnitude_b)
    weight = _raised(abs(problem.alpha) * factor, factor > 0, problem, k)
    radius = np.expm1((k + 6) * U) * (1 + 2.0**-40) * weight
    ordinary = (weight >= 2.0**-960) & (weight < 2.0**1000) & (factor < 2.0**1000)
    ordinary &= (factor >= 2.0**-960) | (abs(problem.alpha) <= 1)
    nothing = (magnitude_a.max(axis=1, initial=0) == 0)[:, None] | (magnitude_b.max(axis=0, initial=0) == 0)[None, :]
    nothing &= weight == 0
    if not ((ordinary & (radius <= resolution * weight)) | nothing).all():
        return None
    hi = problem.alpha * product(problem.a, problem.b)
    for scale, x in problem.addends:
        hi = hi + scale * x
    return Truth(hi + 0.0, np.zeros_like(hi), radius, weight, RUNGS[0])


def _exact(problem: Problem) -> Truth:
    """Rungs 1 to 3: an exact FP64 product if certified, slices where not, integers for what leaves float64's range."""
    work = scaled(problem.a, problem.b, problem.alpha)
    factor = product(np.abs(work.a), np.abs(work.b))
    terms, hard = _addends(problem, work)
    hard |= work.hard
    exact = certificate.certified(factor * (1 + (work.a.shape[1] + 8) * U), work.span_a.low, work.span_b.low)
    sums, rungs = _certified_or_sliced(work, terms, exact, hard)
    hi, lo, radius, proved = work.unscaled(sums)
    hard |= ~proved
    weight = _raised(work.restored(factor), factor > 0, problem, work.a.shape[1])
    if hard.any():
        rungs.add("rational")
        if hard.all():
            rungs = {"rational"}
        _rational(problem, hard, (hi, lo, radius, weight))
    return Truth(hi, lo, radius, weight, joined_rungs(rungs))


def _certified_or_sliced(work: Scaled, terms: list[Array], exact: Mask, hard: Mask) -> tuple[Sums, set[str]]:
    """The sums that are not `hard`: one product where `exact`, slices elsewhere; `hard` grows where too dear."""
    open_ = ~exact & ~hard
    if not open_.any():
        return _summed([work.a], [work.b], terms), {"fp64 exact"}
    rows, columns = np.nonzero(open_.any(axis=1))[0], np.nonzero(open_.any(axis=0))[0]
    part = work.part(rows, columns)
    plan = slicing.plan(int(part.span_a.bits.max()), int(part.span_b.bits.max()), part.a.shape[1])
    if plan is None or _dearer_than_integers(plan, (*part.a.shape, part.b.shape[1])):
        hard |= open_
        return _summed([work.a], [work.b], terms), {"fp64 exact"}
    if 2 * rows.size * columns.size > exact.size:
        part, rows, columns = work, np.arange(exact.shape[0]), np.arange(exact.shape[1])
    slices_a = slicing.slices(part.a, part.span_a.top, plan.bits_a, plan.slices_a, 1)
    slices_b = slicing.slices(part.b, part.span_b.top, plan.bits_b, plan.slices_b, 0)
    block = np.ix_(rows, columns)
    cut = _summed(slices_a, slices_b, [term[block] for term in terms] if part is not work else terms)
    if part is work:
        return cut, {"sliced"}
    sums = _summed([work.a], [work.b], terms)
    for whole, piece in zip(sums, cut, strict=True):
        whole[block] = piece
    return sums, {"fp64 exact", "sliced"}


def _dearer_than_integers(plan: slicing.Plan, sizes: tuple[int, int, int]) -> bool:
    """Whether slicing would take longer than Python's integers: a rough cost model that decides speed, never a result.

    Seconds on one core: a DGEMM does 10^10 multiply-adds, a numpy call takes 2 us (25 a product), an exact sum 10 ns an
    element and product; integers of that many bits take 0.2 us a multiply-add.
    """
    m, k, n = sizes
    sliced = plan.products * (m * n * k * 1e-10 + 50e-6 + m * n * 1e-8)
    return sliced > m * n * (k * 2e-7 + 1e-5)


def _summed(a: list[Array], b: list[Array], terms: list[Array]) -> Sums:
    """The exact sum of all products of slices and of `terms`, in panels of rows, each in chunks that fit the cache."""
    m, n = a[0].shape[0], b[0].shape[1]
    hi, lo, radius, proved = np.zeros((m, n)), np.zeros((m, n)), np.zeros((m, n)), np.ones((m, n), bool)
    if len(a) == len(b) == 1 and not terms:
        np.add(product(a[0], b[0]), 0.0, out=hi)
        return hi, lo, radius, proved
    for panel in _row_blocks(0, m, n, PANEL):
        summands = [*(term[panel] for term in terms), *slicing.exact_products([x[panel] for x in a], b)]
        for chunk in _row_blocks(0, panel.stop - panel.start, n, CHUNK):
            rows = slice(panel.start + chunk.start, panel.start + chunk.stop)
            found = eft.rounded_once(x[chunk] for x in summands)
            for whole, piece in zip((hi, lo, radius, proved), found, strict=True):
                whole[rows] = piece
    return hi, lo, radius, proved


def _row_blocks(start: int, stop: int, width: int, elements: int) -> Iterator[slice]:
    """Row ranges of at most `elements` elements, but at least one row."""
    step = max(elements // max(width, 1), 1)
    return (slice(i, min(i + step, stop)) for i in range(start, stop, step))


def _addends(problem: Problem, work: Scaled) -> tuple[list[Array], Mask]:
    """The addends as exact terms in the scaled problem's units, and where they are not exact there."""
    shape = (problem.a.shape[0], problem.b.shape[1])
    hard = np.zeros(shape, bool)
    terms = []
    for scale, x in problem.addends:
        factor = np.full(shape, scale)
        hard |= ~eft.product_is_safe(factor, x)
        pair = (x,) if scale == 1 else eft.two_product(factor, np.where(hard, 0.0, x))
        for part in pair:
            term = work.scaled_term(part)
            fits = (work.restored(term) == part) & (np.abs(term) < 2.0**1000)
            hard |= ~fits
            terms.append(np.where(fits, term, 0.0))
    return terms, hard


def _raised(weight: Array, some: Mask, problem: Problem, k: int) -> Array:
    """|alpha||A||B|, as computed with k terms, plus the addends' magnitudes, made an upper bound, and finite.

    some: where |alpha||A||B| is not 0 (the computed weight may have underflowed).
    k + 8 roundings at most, each by 1 + u; below 2^-960 also what few operations may lose to underflow.
    """
    for scale, x in problem.addends:
        weight = weight + np.abs(scale * x)
        some = some | (x != 0)
    weight = weight * (1 + (k + 8) * U * (1 + 2.0**-20))
    if weight.min(initial=1.0) < 2.0**-960:
        weight = np.where(some & (weight < 2.0**-960), weight + 4 * 2.0**-1074, weight)
    return np.minimum(weight, LARGEST, out=weight)


def _rational(problem: Problem, where: Mask, out: tuple[Array, Array, Array, Array]) -> None:
    """Rung 3: hi, lo, radius and weight of the elements told, by Python's integers, in place."""
    hi, lo, radius, weight = out
    rows, columns = rational.Integers(problem.a), rational.Integers(np.ascontiguousarray(problem.b.T))
    for i, j in np.argwhere(where):
        addends = [(scale, float(x[i, j])) for scale, x in problem.addends]
        row, column = rows[i], columns[j]
        total = rational.exact_element(row, column, alpha=problem.alpha, addends=addends)
        hi[i, j], lo[i, j], radius[i, j] = rational.rounded_pair(*total)
        size = rational.exact_element(
            ([abs(x) for x in row[0]], row[1]),
            ([abs(x) for x in column[0]], column[1]),
            alpha=abs(problem.alpha),
            addends=[(abs(scale), abs(x)) for scale, x in addends],
        )
        bound, below, _ = rational.rounded_pair(*size)
        inexact = below != 0 or rational.rounded_pair(*size)[2] != 0
        weight[i, j] = min(np.nextafter(bound, np.inf) if inexact else bound, LARGEST)
