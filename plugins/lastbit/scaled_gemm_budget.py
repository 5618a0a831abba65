"""What a contract allows a scaled matrix product to be wrong by, element by element, and why."""

from collections.abc import Callable, Mapping
from math import frexp
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output
from lastbit.budget_terms import Terms
from lastbit.gemm_budget import accumulator_of, sum_terms
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.references.accumulators import Accumulator
from lastbit.references.engines import exponents
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Part, Problem, segments

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]

U32 = 2.0**-24
#: Scales and what they multiply are in f32: its least normal number and half its least one.
NORMAL32, HALF_LEAST32 = 2.0**-126, 2.0**-150
#: Formats whose numbers are powers of two: multiplying by one rounds nothing.
POWERS = ("e8m0fnu",)
DOCS = "scaled_gemm.md"

Arithmetic = Callable[["Contract", Accumulator, tuple[str | None, str | None], Problem], Terms]


def budget(
    contract: "Contract",
    formats: Mapping[str, str],
    scale_formats: tuple[str | None, str | None],
    problem: Problem,
    truth: "Truth",
) -> Budget:
    """The largest error of global_scale * A B + bias that `contract` (resolved) allows, of the truth's shape.

    `scale_formats`: formats of the scales of a and b, None where there are none. Elements whose truth is not finite get
    a bound that is finite and means nothing. The derivation of each term is in docs/scaled_gemm.md.

    Raises BudgetError when `contract` names an unknown input rounding.
    """
    accumulator = accumulator_of(contract)
    fmt = Format.of(formats["out"])
    finite = Problem(_finite(problem.a), _finite(problem.b), problem.global_scale, problem.bias)
    terms = _widest(
        [make(contract, accumulator, scale_formats, finite) for make in _arithmetics(contract, accumulator)]
    )
    working = accumulator
    if accumulator.truncates or (accumulator.engine == "integer" and not _stays_integer(fmt, scale_formats, problem)):
        working = Accumulator.of("f32")
    u = 0.0 if working.engine == "exact" else working.unit
    largest = terms.weight
    if working.engine != "integer":
        _add_epilogue(terms, contract, accumulator, u, scale_formats, problem)
    if contract.subnormals == "flush":
        _add_flushing(terms, finite)
    if float(truth.radius.max(initial=0.0)) > 0:
        terms.add(truth.radius, "radius of the truth", "budgets.md 7")
    slack = terms.error * ROUND_UP
    window = overflow_window(np.maximum(largest, terms.weight), slack, terms.lost, working, fmt, truth)
    if window is None and not fmt.signed:  # what is below zero is beyond the range, too
        window = np.broadcast_to(slack, truth.hi.shape)
    allowed, _, before = round_output(terms, slack, contract, working, fmt, truth)
    flush = contract.subnormals == "flush" and fmt.kind == "float" and fmt.bits >= 16
    return Budget(
        allowed=allowed,
        formula=" + ".join(terms.formulas) or "exact",
        source="; ".join(terms.sources) or "integers are exact",
        unstatistical="a scale's rounding is shared by many results",
        before=before,
        overflow_slack=window,
        flush_below=fmt.min_normal if flush else 0.0,
    )


def sums(
    contract: "Contract", accumulator: Accumulator, scale_formats: tuple[str | None, str | None], problem: Problem
) -> Terms:
    """Codes are summed while no scale changes; that sum is scaled, and the scaled ones are added in f32.

    The scales' product and each product with it are rounded; scales that are powers of two round nothing.
    """
    stretches = segments(problem)
    a, b = problem.a, problem.b
    shape = (a.steps.shape[0], b.steps.shape[0])
    u = 0.0 if accumulator.engine == "exact" else min(U32, accumulator.unit) if accumulator.engine == "chain" else U32
    roundings = sum(name is not None and name not in POWERS for name in scale_formats)
    error, weight, lost = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    formulas: list[str] = []
    for part in stretches:
        x, y = a.steps[:, part], b.steps[:, part].T
        size = _product(x, y)
        inner = sum_terms(contract.input_rounding, accumulator, x, y, size)
        moved = inner.error
        if accumulator.engine == "integer" and any(scale_formats):
            moved = moved + _converted(x, y, size)
        scale = np.outer(np.abs(a.scale[:, part.start]), np.abs(b.scale[:, part.start]))
        grown = (1 + u) ** roundings
        error += scale * (moved * grown + (grown - 1) * inner.weight) + _underflow(scale, x, y, inner.weight, roundings)
        weight += scale * inner.weight
        lost |= scale >= 2.0**127
        if inner.lost is not None:
            lost |= inner.lost
        formulas = formulas or inner.formulas
    terms = Terms(error, weight, None)
    if float(error.max(initial=0.0)) > 0:
        named = f"{formulas[0]} of codes, " if formulas else ""
        terms.cite(f"{len(stretches)} sums ({named}{roundings}*u_f32) scaled", f"{DOCS} 3")
    if len(stretches) > 1:
        growth = np.expm1((len(stretches) - 1) * np.log1p(u))
        terms.add(growth * (weight + error), f"{len(stretches) - 1}*u_f32 to add them", f"{DOCS} 3")
    terms.lost = lost if lost.any() else None
    return terms


def operands(
    contract: "Contract", accumulator: Accumulator, scale_formats: tuple[str | None, str | None], problem: Problem
) -> Terms:
    """Codes become numbers of a format, each rounded (through f32 where that is narrower), and are multiplied then.

    Nothing is rounded where the format has all of the operands' numbers.
    """
    a, b = problem.a.values, problem.b.values.T
    chosen = contract.input_rounding or "f32"
    weight = _product(a, b)
    if problem.global_scale == 1.0 and _has(chosen, a) and _has(chosen, b):
        return sum_terms(None, accumulator, a, b, weight)
    terms = sum_terms(chosen, accumulator, a, b, weight)
    through = 2 * (chosen != "f32") + 4 * (problem.global_scale != 1.0)
    if through:
        terms.add(through * U32 * 1.01 * terms.weight, f"{through}*u_f32 before that", f"{DOCS} 4")
    return terms


def products(
    contract: "Contract", accumulator: Accumulator, scale_formats: tuple[str | None, str | None], problem: Problem
) -> Terms:
    """A matrix engine scales products, exactly, before it aligns them: the bound of its sum with exponents scaled.

    A subnormal code is aligned as if it were the smallest normal one.
    """
    a, b = problem.a, problem.b
    k = problem.k
    fields = [np.maximum(np.abs(one.steps), exponents(one.steps, accumulator.input_emin)) * one.scale for one in (a, b)]
    reach = _product(fields[0], fields[1].T)
    factor = accumulator.coefficient(k)
    least = 2.0 ** (max(accumulator.floor, accumulator.emin) - accumulator.precision)
    absolute = (1 + factor) * 2 * k * least
    terms = Terms(factor * reach + absolute, _product(a.values, b.values.T), None)
    terms.cite(f"{k} scaled terms in {accumulator.name}: {factor:.4g}*|A||B|", f"{DOCS} 5")
    return terms


def _arithmetics(contract: "Contract", accumulator: Accumulator) -> list[Arithmetic]:
    """The ways of `scaled` that the contract allows."""
    known: dict[str, Arithmetic] = {"sums": sums, "operands": operands, "products": products}
    if contract.scaled is not None:
        return [known[contract.scaled]]
    if accumulator.engine == "integer":
        return [sums]
    return [sums, products] if accumulator.truncates else [sums, operands]


def _stays_integer(fmt: Format, scale_formats: tuple[str | None, str | None], problem: Problem) -> bool:
    """Whether an integer sum is the result: nothing scales it, and nothing is added."""
    return fmt.kind == "integer" and not any(scale_formats) and problem.bias is None and problem.global_scale == 1.0


def _widest(several: list[Terms]) -> Terms:
    """What any of `several` allows."""
    first = several[0]
    for other in several[1:]:
        first.error, first.weight = np.maximum(first.error, other.error), np.maximum(first.weight, other.weight)
        lost = [one.lost for one in (first, other) if one.lost is not None]
        first.lost = np.logical_or.reduce(lost) if lost else None
        first.formulas = [f"the larger of [{' + '.join(first.formulas)}] and [{' + '.join(other.formulas)}]"]
        first.sources = list(dict.fromkeys(first.sources + other.sources))
    return first


def _add_epilogue(
    terms: Terms,
    contract: "Contract",
    accumulator: Accumulator,
    u: float,
    scale_formats: tuple[str | None, str | None],
    problem: Problem,
) -> None:
    """global_scale times the sum, plus bias: each a rounding; a bias may start a sum of operands instead.

    A sum of integers that no scale has turned into f32 is turned here.
    """
    if accumulator.engine == "integer" and not any(scale_formats):
        converted = np.where(terms.weight > 2.0**24, U32 * terms.weight, 0.0)
        terms.add(converted, "conversion: u_f32*|s|", "budgets.md 5")
    factor = abs(problem.global_scale)
    terms.weight, terms.error = terms.weight * factor, terms.error * factor
    if abs(frexp(problem.global_scale)[0]) != 0.5:
        terms.add(u * (1 + u) * (terms.weight + terms.error), "u*|global_scale x|", f"{DOCS} 6")
    if problem.bias is not None:
        size = np.abs(_zeroed(problem.bias))
        starts = (
            accumulator.coefficient(problem.k) if contract.scaled != "sums" and accumulator.engine == "chain" else 0
        )
        total = terms.weight + terms.error + size
        terms.add(u * total + starts * size, "u*(|A||B|+|bias|)", f"{DOCS} 6")
        terms.weight = terms.weight + size


def _add_flushing(terms: Terms, problem: Problem) -> None:
    """Subnormal scales, scaled operands and partial sums may become zero."""
    lost = np.zeros(terms.weight.shape)
    a, b = problem.a, problem.b
    small = [np.where(one.scale < NORMAL32, np.abs(one.values), 0.0) for one in (a, b)]
    lost = _product(small[0], b.values.T) + _product(a.values, small[1].T)
    count = problem.k * (1 + float(max(np.abs(a.values).max(initial=0.0), np.abs(b.values).max(initial=0.0))))
    terms.add(
        (lost + 4 * count * NORMAL32) * (1 + 2.0**-10) * abs(problem.global_scale),
        "flushed subnormals: |A||B| of subnormal scales, and 2^-126 of each operand, product and sum",
        f"{DOCS} 6",
    )


def _has(name: str, values: Floats) -> bool:
    """Whether an input rounding leaves all of `values` as they are, which its format then has."""
    fmt = Format.of(INPUT_ROUNDINGS[name].format)
    return INPUT_ROUNDINGS[name].products == 1 and bool((fmt.round(values) == values).all())


def _converted(x: Floats, y: Floats, size: Floats) -> Floats:
    """What an integer sum loses where it becomes an f32 of 24 bits; fractions of a step count as integers beyond."""
    whole = bool((x % 1 == 0).all() and (y % 1 == 0).all())
    lost: Floats = np.where((size > 2.0**24) | (not whole), U32 * size, 0.0)
    return lost


def _underflow(scale: Floats, x: Floats, y: Floats, size: Floats, roundings: int) -> Floats:
    """What products of scales, and with scales, lose below f32's normal range: half its least number each."""
    low = float(scale[scale > 0].min(initial=1.0)) * _least(x) * _least(y)
    if low >= NORMAL32 and float(scale[scale > 0].min(initial=1.0)) >= NORMAL32:
        return np.zeros(())
    lost: Floats = max(roundings, 1) * HALF_LEAST32 * (size + 2)
    return lost


def _least(x: Floats) -> float:
    """The smallest magnitude of x that is not 0, at most 1."""
    return float(np.abs(x[x != 0]).min(initial=1.0))


def _finite(part: Part) -> Part:
    """`part` with 0 for what is NaN or infinite: whatever that touches has no finite truth and no bound."""
    return Part(_zeroed(part.steps), _zeroed(part.scale), part.run)


def _zeroed(values: Floats) -> Floats:
    finite: Floats = np.where(np.isfinite(values), values, 0.0)
    return finite


def _product(a: Floats, b: Floats) -> Floats:
    """|a| |b|, rounded up."""
    product: Floats = np.matmul(np.abs(a), np.abs(b)) * (1 + (a.shape[-1] + 4) * 2.0**-53)
    return product
