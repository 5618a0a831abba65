"""The error of a scaled product for each place where its scales may enter: sums, operands, or products."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.budget_terms import Terms
from lastbit.gemm_budget import sum_terms
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.references.accumulators import Accumulator
from lastbit.references.engines import exponents
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Problem, segments

if TYPE_CHECKING:
    from lastbit.contract import Contract

Floats = NDArray[np.float64]
ScaleFormats = tuple[str | None, str | None]

U32 = 2.0**-24
#: Scales and what they multiply are in f32: its least normal number and half its least one.
NORMAL32, HALF_LEAST32 = 2.0**-126, 2.0**-150
#: Its largest number.
LARGEST32 = 2.0**128 - 2.0**104
DOCS = "scaled_gemm.md"
U32_PRECISION = 24
#: What errors of partial sums add to the scale of later roundings, generously: sums of up to 2^14 terms.
SIGMA_GROWTH = 1 + 2.0**-9

#: The error of a problem whose operands are finite, before global scale, bias and output.
Arithmetic = Callable[["Contract", Accumulator, ScaleFormats, Problem], Terms]


def sums(contract: "Contract", accumulator: Accumulator, scale_formats: ScaleFormats, problem: Problem) -> Terms:
    """Codes are summed while no scale changes; that sum is scaled, and the scaled ones are added in f32.

    The scales' product and each product with it are rounded; scales that are powers of two round nothing.
    """
    stretches = segments(problem)
    a, b = problem.a, problem.b
    shape = (a.steps.shape[0], b.steps.shape[0])
    u = 0.0 if accumulator.engine == "exact" else min(U32, accumulator.unit) if accumulator.engine == "chain" else U32
    roundings = sum(name is not None and Format.of(name).precision > 1 for name in scale_formats)
    error, weight, lost = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    variance, unstatistical = np.zeros(shape), _shared(scale_formats, problem)
    formulas: list[str] = []
    for part in stretches:
        x, y = a.steps[:, part], b.steps[:, part].T
        size = weight_of(x, y)
        inner = sum_terms(contract.input_rounding, accumulator, x, y, size)
        converted = _converted(x, y, size) if accumulator.engine == "integer" and any(scale_formats) else np.zeros(())
        moved = inner.error + converted
        scale = np.outer(np.abs(a.scale[:, part.start]), np.abs(b.scale[:, part.start]))
        grown = (1 + u) ** roundings
        factors = (a.scale[:, part.start], b.scale[:, part.start])
        error += scale * (moved * grown + (grown - 1) * inner.weight) + _underflow(
            factors, x, y, inner.weight, roundings
        )
        weight += scale * inner.weight
        unstatistical = unstatistical or inner.unstatistical
        if inner.sigma is not None:
            variance += scale**2 * (inner.sigma**2 + converted**2 + roundings * (u * inner.weight) ** 2)
        lost |= largest_of(factors, inner.weight + moved) * grown >= LARGEST32
        if inner.lost is not None:
            lost |= inner.lost
        formulas = formulas or inner.formulas
    terms = Terms(error, weight, np.sqrt(variance + (len(stretches) - 1) * (u * weight) ** 2) * SIGMA_GROWTH)
    if unstatistical:
        terms.no_statistics(unstatistical)
    if float(error.max(initial=0.0)) > 0:
        named = f"{formulas[0]} of codes, " if formulas else ""
        terms.cite(f"{len(stretches)} sums ({named}{roundings}*u_f32) scaled", f"{DOCS} 3")
    if len(stretches) > 1:
        growth = np.expm1((len(stretches) - 1) * np.log1p(u))
        terms.add(growth * (weight + error), f"{len(stretches) - 1}*u_f32 to add them", f"{DOCS} 3")
    terms.lost = lost if lost.any() else None
    return terms


def operands(contract: "Contract", accumulator: Accumulator, scale_formats: ScaleFormats, problem: Problem) -> Terms:
    """Codes become numbers of a format, each rounded (through f32 where that is narrower), and are multiplied then.

    Nothing is rounded where the format has all of the operands' numbers.
    """
    a, b = problem.a.values, problem.b.values.T
    chosen = contract.input_rounding or "f32"
    weight = weight_of(a, b)
    if problem.global_scale == 1.0 and _has(chosen, a) and _has(chosen, b):
        return sum_terms(None, accumulator, a, b, weight)
    terms = sum_terms(chosen, accumulator, a, b, weight)
    through = 2 * (chosen != "f32") + 4 * (problem.global_scale != 1.0)
    if through:
        terms.add(through * U32 * 1.01 * terms.weight, f"{through}*u_f32 before that", f"{DOCS} 4")
    return terms


def products(contract: "Contract", accumulator: Accumulator, scale_formats: ScaleFormats, problem: Problem) -> Terms:
    """A matrix engine scales products, exactly, before it aligns them: the bound of its sum with exponents scaled.

    A subnormal code is aligned as if it were the smallest normal one.
    """
    a, b = problem.a, problem.b
    k = problem.k
    fields = [np.maximum(np.abs(one.steps), exponents(one.steps, accumulator.input_emin)) * one.scale for one in (a, b)]
    reach = weight_of(fields[0], fields[1].T)
    factor = accumulator.coefficient(k)
    least = 2.0 ** (max(accumulator.floor, accumulator.emin) - accumulator.precision)
    absolute = (1 + factor) * 2 * k * least
    terms = Terms(factor * reach + absolute, weight_of(a.values, b.values.T), None)
    terms.no_statistics(f"{accumulator.name} truncates, which leans to one side")
    terms.cite(f"{k} scaled terms in {accumulator.name}: {factor:.4g}*|A||B|", f"{DOCS} 5")
    return terms


def weight_of(a: Floats, b: Floats) -> Floats:
    """|a| |b|, rounded up."""
    product: Floats = np.matmul(np.abs(a), np.abs(b)) * (1 + (a.shape[-1] + 4) * 2.0**-53)
    return product


def _shared(scale_formats: ScaleFormats, problem: Problem) -> str:
    """Why one rounding may be that of many results, or "": a rounded product of scales that several results have."""
    a, b = (0 if name is None else Format.of(name).precision for name in scale_formats)
    if not a or not b or a + b <= U32_PRECISION or min(a, b) == 1:
        return ""
    alike = any(np.unique(side.scale[:, 0]).size < len(side.scale) for side in (problem.a, problem.b))
    return "the rounded product of two scales is shared by many results" if alike else ""


def _has(name: str, values: Floats) -> bool:
    """Whether an input rounding leaves all of `values` as they are, which its format then has."""
    fmt = Format.of(INPUT_ROUNDINGS[name].format)
    return INPUT_ROUNDINGS[name].products == 1 and bool((fmt.round(values) == values).all())


def _converted(x: Floats, y: Floats, size: Floats) -> Floats:
    """What an integer sum loses where it becomes an f32 of 24 bits; fractions of a step count as integers beyond."""
    whole = bool((x % 1 == 0).all() and (y % 1 == 0).all())
    lost: Floats = np.where((size > 2.0**24) | (not whole), U32 * size, 0.0)
    return lost


def largest_of(scales: tuple[Floats, Floats], size: Floats) -> Floats:
    """The largest of the products of some of: a scale of a, one of b, and a sum of codes; whatever the order, no
    product of them is larger."""
    rows, columns = (np.maximum(np.abs(scale), 1.0) for scale in scales)
    largest: Floats = np.outer(rows, columns) * np.maximum(size, 1.0)
    return largest


def _underflow(scales: tuple[Floats, Floats], x: Floats, y: Floats, size: Floats, roundings: int) -> Floats:
    """What products of scales, and with scales, lose below f32's normal range: half its least number each.

    Each is multiplied by the factors that are still to come, which differ from product to product: all of them together
    by no more than the product of (1 + |factor|).
    """
    if _least(x) * _least(y) * _least(scales[0]) * _least(scales[1]) >= NORMAL32:
        return np.zeros(())
    grown = np.outer(*(1 + np.abs(scale) for scale in scales)) * (1 + size)
    lost: Floats = max(roundings, 1) * HALF_LEAST32 * grown
    return lost


def grown_of(problem: Problem) -> Floats:
    """sum_k of the product of (1 + |factor|) over code and scale of both operands, and of 1 + |global_scale|.

    An absolute loss at each product, in whatever order, is multiplied by factors that are still to come: by no more
    than this in all.
    """
    sides = [(1 + np.abs(one.steps)) * (1 + np.abs(one.scale)) for one in (problem.a, problem.b)]
    return weight_of(sides[0], sides[1].T) * (1 + abs(problem.global_scale))


def _least(x: Floats) -> float:
    """The smallest magnitude of x that is not 0, at most 1."""
    return float(np.abs(x[x != 0]).min(initial=1.0))
