"""The budget of one element of a scaled GEMM by the formulas of docs/scaled_gemm.md, written again in plain Python."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import expm1, frexp, hypot, inf, log1p, sqrt

import numpy as np

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.gemm_budget import sum_terms
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Part, Problem, truth
from lastbit.scaled_gemm_budget import budget

#: Unit roundoff and smallest normal number of f32, and half its smallest one.
U, NORMAL, LOSS = 2.0**-24, 2.0**-126, 2.0**-150
Names = tuple[str | None, str | None]


@dataclass(frozen=True)
class Element:
    """One row of A and one column of B: codes, scales of `run` codes each (0: one of all), formats of the scales."""

    a: Sequence[float]
    b: Sequence[float]
    scale_a: Sequence[float]
    scale_b: Sequence[float]
    run: int = 0
    names: Names = ("f32", "f32")
    global_scale: float = 1.0
    bias: float | None = None

    def problem(self) -> Problem:
        sides = [
            Part(np.array([codes], float), np.array([self._spread(scales)]), self.run)
            for codes, scales in ((self.a, self.scale_a), (self.b, self.scale_b))
        ]
        bias = None if self.bias is None else np.array([self.bias])
        return Problem(sides[0], sides[1], self.global_scale, bias)

    def budget(self, contract: Contract, out: str = "f64", codes: str = "e4m3fn") -> Budget:
        problem = self.problem()
        formats = {"a": codes, "b": codes, "out": out}
        return budget(contract, formats, self.names, problem, truth(problem))

    def _spread(self, scales: Sequence[float]) -> list[float]:
        return [scales[i // self.run if self.run else 0] for i in range(len(self.a))]

    @property
    def stretches(self) -> list[tuple[list[float], list[float], float, float]]:
        """Codes and the two scales of each stretch of k in which no scale changes."""
        step = self.run or len(self.a)
        starts = range(0, len(self.a), step)
        return [
            (list(self.a[i : i + step]), list(self.b[i : i + step]), self.scale_a[n], self.scale_b[n])
            for n, i in enumerate(starts)
        ]

    @property
    def worth(self) -> tuple[list[float], list[float]]:
        """What the codes stand for."""
        return (
            [q * s for q, s in zip(self.a, self._spread(self.scale_a), strict=True)],
            [q * s for q, s in zip(self.b, self._spread(self.scale_b), strict=True)],
        )


@dataclass
class Bound:
    """Error and size before the output is rounded, scale of the statistics (None: none), whether f32 may be left."""

    error: float
    weight: float
    sigma: float | None
    lost: bool = False
    #: Largest sum on the way.
    reach: float = 0.0


def accumulator_of(contract: Contract) -> Accumulator:
    chosen = contract.accumulator
    assert chosen is not None
    return Accumulator.of(chosen) if isinstance(chosen, str) else chosen


def dot(x: Sequence[float], y: Sequence[float]) -> float:
    return sum(abs(p) * abs(q) for p, q in zip(x, y, strict=True))


def least(numbers: Sequence[float]) -> float:
    return min([1.0, *(abs(x) for x in numbers if x)])


def inner_sum(rounding: str | None, acc: Accumulator, x: Sequence[float], y: Sequence[float]) -> Bound:
    """What the budget of GEMM, which has formulas of its own, says of a sum."""
    found = sum_terms(rounding, acc, np.array([x]), np.array([y]).T, np.array([[dot(x, y)]]))
    sigma = None if found.sigma is None else np.asarray(found.sigma).item()
    lost = found.lost is not None and bool(found.lost.all())
    return Bound(found.error.item(), found.weight.item(), sigma, lost)


def by_sums(contract: Contract, one: Element) -> Bound:
    """Section 3."""
    acc = accumulator_of(contract)
    u = 0.0 if acc.engine == "exact" else min(U, acc.unit) if acc.engine == "chain" else U
    r = sum(name is not None and name != "e8m0fnu" for name in one.names)
    error = weight = variance = 0.0
    lost, random = False, True
    for x, y, s, t in one.stretches:
        size, s, t = dot(x, y), abs(s), abs(t)
        inner = inner_sum(contract.input_rounding, acc, x, y)
        converted = 0.0
        if acc.engine == "integer" and any(one.names):
            fractions = any(c % 1 for c in [*x, *y])
            converted = U * size if size > 2**24 or fractions else 0.0
        off = inner.error + converted
        error += s * t * (off * (1 + u) ** r + ((1 + u) ** r - 1) * inner.weight)
        if least(x) * least(y) * least([s]) * least([t]) < NORMAL:
            error += max(r, 1) * LOSS * (1 + s) * (1 + t) * (1 + inner.weight)
        weight += s * t * inner.weight
        lost |= max(1, s) * max(1, t) * max(1, inner.weight + off) * (1 + u) ** r >= 2.0**128 - 2.0**104 or inner.lost
        random &= inner.sigma is not None
        if inner.sigma is not None:
            variance += (s * t) ** 2 * (inner.sigma**2 + converted**2 + r * (u * inner.weight) ** 2)
    more = len(one.stretches) - 1
    sigma = sqrt(variance + more * (u * weight) ** 2) * (1 + 2.0**-9) if random else None
    error += expm1(more * log1p(u)) * (weight + error)
    return Bound(error, weight, sigma, lost)


def by_operands(contract: Contract, one: Element) -> Bound:
    """Section 4."""
    acc, (x, y) = accumulator_of(contract), one.worth
    name = contract.input_rounding or "f32"
    fmt = Format.of("bf16" if name.startswith("bf16x") else name)
    held = all(float(fmt.round(v)) == v for v in [*x, *y]) and not name.startswith("bf16x")
    if held and one.global_scale == 1:
        return inner_sum(None, acc, x, y)
    found = inner_sum(name, acc, x, y)
    through = (0 if name == "f32" else 2) + (0 if one.global_scale == 1 else 4)
    found.error += through * U * 1.01 * found.weight
    return found


def by_products(contract: Contract, one: Element) -> Bound:
    """Section 5."""
    acc, k = accumulator_of(contract), len(one.a)
    fields = []
    for codes, worth in zip((one.a, one.b), one.worth, strict=True):
        ratio = [w / c if c else 0.0 for c, w in zip(codes, worth, strict=True)]
        powers = [2.0 ** (frexp(c)[1] - 1) if c else 0.0 for c in codes]
        fields.append(
            [
                max(abs(c), p, 2.0**acc.input_emin if c else 0.0) * s
                for c, p, s in zip(codes, powers, ratio, strict=True)
            ]
        )
    factor = acc.coefficient(k)
    step = 2.0 ** (max(acc.floor, acc.emin) - acc.precision)
    return Bound(factor * dot(*fields) + (1 + factor) * 2 * k * step, dot(*one.worth), None)


WAYS = {"sums": by_sums, "operands": by_operands, "products": by_products}


def ways(contract: Contract) -> list[str]:
    """Section 6."""
    acc = accumulator_of(contract)
    if contract.scaled:
        return [contract.scaled]
    if acc.engine == "integer":
        return ["sums"]
    return ["sums", "products" if acc.truncates else "operands"]


def before_output(contract: Contract, one: Element, out: str) -> Bound:
    """All of it but the rounding of the output."""
    acc = accumulator_of(contract)
    clean = replace(one, global_scale=one.global_scale if abs(one.global_scale) < inf else 0.0)
    several = [WAYS[way](contract, clean) for way in ways(contract)]
    sigmas = [each.sigma for each in several]
    found = Bound(
        max(each.error for each in several),
        max(each.weight for each in several),
        None if None in sigmas else max(sigma for sigma in sigmas if sigma is not None),
        any(each.lost for each in several),
    )
    found.reach = found.weight
    whole = Format.of(out).kind == "integer" and not any(one.names) and one.bias is None and one.global_scale == 1
    if not (acc.engine == "integer" and whole):
        add_epilogue(contract, clean, found)
    if contract.subnormals == "flush":
        add_flushing(clean, found)
    found.reach = max(found.reach, found.weight)
    return found


def add_epilogue(contract: Contract, one: Element, found: Bound) -> None:
    acc, k, g = accumulator_of(contract), len(one.a), abs(one.global_scale)
    u = 0.0 if acc.engine == "exact" else U if acc.truncates or acc.engine == "integer" else acc.unit

    def scale(sigma: float) -> None:
        found.sigma = None if found.sigma is None else hypot(found.sigma, sigma)

    if acc.engine == "integer" and not any(one.names):
        converted = U * found.weight if found.weight > 2**24 else 0.0
        scale(converted)
        found.error += converted
    found.weight, found.error = found.weight * g, found.error * g
    found.sigma = None if found.sigma is None else found.sigma * g
    if (g and frexp(g)[0] != 0.5) or not g:
        scale(u * found.weight)
        found.error += u * (1 + u) * (found.weight + found.error)
    if g not in (0, 1) and u and not 2.0**-60 <= g <= 2.0**60:
        found.error += LOSS * grown(one)
        found.sigma = None
        found.lost |= grown(one) >= 2.0**127
    if one.bias is not None:
        size = abs(one.bias) if abs(one.bias) < inf else 0.0
        starts = acc.coefficient(k) if acc.engine == "chain" and contract.scaled != "sums" else 0.0
        total = found.weight + found.error + size
        scale(u * sqrt(k + 4) * total)
        found.error += u * total + starts * size
        found.weight += size


def add_flushing(one: Element, found: Bound) -> None:
    x, y = one.worth
    g = abs(one.global_scale)
    lost = sum(
        abs(p) * abs(q) * ((abs(s) < NORMAL) + (abs(t) < NORMAL))
        for p, q, s, t in zip(x, y, one._spread(one.scale_a), one._spread(one.scale_b), strict=True)
    )
    if 0 < g < NORMAL:
        lost = dot(x, y)
    found.error += (lost * g + 4 * NORMAL * grown(one)) * (1 + 2.0**-10)
    found.sigma = None


def grown(one: Element) -> float:
    """sum_k of the product of 1 + |factor| over the codes, the scales and the global scale."""
    scales = zip(one.a, one.b, one._spread(one.scale_a), one._spread(one.scale_b), strict=True)
    total = sum((1 + abs(p)) * (1 + abs(q)) * (1 + abs(s)) * (1 + abs(t)) for p, q, s, t in scales)
    return total * (1 + abs(one.global_scale))
