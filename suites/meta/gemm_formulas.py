"""The budget of one element of a GEMM by the formulas of docs/budgets.md, written again in plain Python."""

from dataclasses import dataclass
from itertools import product
from math import frexp, hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.gemm_budget import budget
from lastbit.references import gemm
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.truth import Truth

Array = NDArray[np.float64]
#: What the code's float64 operations and its factor ROUND_UP, twice, may differ by.
NEAR = 2.0**-44


@dataclass(frozen=True)
class Exact:
    values: Array


@dataclass(frozen=True)
class Product:
    """alpha A B + beta c + bias of one element: a row of A and a column of B."""

    a: Array
    b: Array
    fmt: str
    out: str
    contract: Contract
    alpha: float = 1.0
    beta: float = 0.0
    c: float | None = None
    bias: float | None = None

    @property
    def addends(self) -> dict[str, float]:
        found = {"c": self.c} if self.c is not None and self.beta else {}
        return found | ({"bias": self.bias} if self.bias is not None else {})  # type: ignore[return-value]

    def truth(self) -> Truth:
        c = None if self.c is None else np.array([[self.c]])
        bias = None if self.bias is None else np.array([self.bias])
        return gemm.truth(self.a, self.b, alpha=self.alpha, beta=self.beta, c=c, bias=bias)

    def budget(self, truth: Truth) -> Budget:
        operands = {"a": Exact(self.a), "b": Exact(self.b)}
        operands |= {n: Exact(np.array([[x]])) for n, x in (("c", self.c), ("bias", self.bias)) if x is not None}
        formats = {"a": self.fmt, "b": self.fmt, "out": self.out}
        return budget(self.contract, formats, operands, truth, alpha=self.alpha, beta=self.beta)

    @property
    def accumulator(self) -> Accumulator:
        chosen = self.contract.accumulator
        return Accumulator.of(chosen) if isinstance(chosen, str) else chosen  # type: ignore[return-value]


def epilogue_unit(accumulator: Accumulator) -> float:
    """Section 5: the accumulator's own format if it is a chain, else f32."""
    if accumulator.engine == "exact":
        return 0.0
    return accumulator.unit if accumulator.engine == "chain" and not accumulator.truncates else 2.0**-24


def epilogue_eta(accumulator: Accumulator) -> float:
    """Section 5: the smallest number of the format of `epilogue_unit`."""
    if accumulator.engine == "exact":
        return 0.0
    if accumulator.engine == "chain" and not accumulator.truncates:
        return float(2.0 ** (accumulator.emin - accumulator.precision + 1))
    return 2.0**-149


def before_output(case: Product, truth: Truth) -> tuple[float, float | None, float]:
    """Bound and scale of the error before the output is rounded, and the weight: sections 2 to 7."""
    accumulator, k, u = case.accumulator, case.a.shape[1], epilogue_unit(case.accumulator)
    weight = float(np.abs(case.a[0]) @ np.abs(case.b[:, 0]))
    w = np.array([[weight]])
    error = float(accumulator.bound(case.a, case.b, weight=w)[0, 0])
    known = accumulator.sigma(case.a, case.b, weight=w)
    scale = None if known is None or k * accumulator.unit >= 1 / 8 else float(np.broadcast_to(known, (1, 1))[0, 0])

    def scaled(factor: float, size: float) -> None:
        nonlocal error, scale
        held = u == 0 or (frexp(factor)[0] / u) % 1 == 0
        product = size + error
        error += (1 if held else 2) * u * (1 + u) * product
        error += epilogue_eta(case.accumulator) / 2 if product > 0 else 0.0
        scale = None if scale is None or not held else hypot(scale, u * size)

    if case.alpha != 1:
        weight, error = weight * abs(case.alpha), error * abs(case.alpha)
        scale = None if scale is None else scale * abs(case.alpha)
        scaled(case.alpha, weight)
    added = 0.0
    for name, value in case.addends.items():
        if name == "c" and case.beta != 1:
            scaled(case.beta, abs(case.beta * value))
        added += abs(value) * (abs(case.beta) if name == "c" else 1)
    if case.addends:
        count, total = len(case.addends), weight + added
        aligned = 2.0**-accumulator.fraction_bits if accumulator.fraction_bits else 0.0
        error += accumulator.coefficient(k) * (added + error) + (aligned + count * u) * (total + error)
        scale = None if scale is None else hypot(scale, u * sqrt(k + 4 * count) * total)
        weight = total
    if accumulator.engine == "integer" and Format.of(case.out).kind != "integer":
        converted = 2.0**-24 * weight if weight > 1 << 24 else 0.0
        error, scale = error + converted, None if scale is None else hypot(scale, converted)
    if case.contract.subnormals == "flush":
        error, scale = error + flushed(case), None
    return error + float(truth.radius[0, 0]), scale, weight


def flushed(case: Product) -> float:
    """Section 6."""
    accumulator, k, count, fmt = case.accumulator, case.a.shape[1], len(case.addends), Format.of(case.fmt)
    least = 0.0 if accumulator.engine in ("integer", "exact") else 2.0**accumulator.emin
    lost = 2 * k * least
    for x, y in product((case.a[0],), (case.b[:, 0],)):
        if fmt.bits >= 16 and fmt.kind == "float":
            lost += sum(abs(p * q) for p, q in zip(x, y, strict=True) if abs(p) < fmt.min_normal)
            lost += sum(abs(p * q) for p, q in zip(x, y, strict=True) if abs(q) < fmt.min_normal)
    smallest = Format.of(case.out).min_normal
    parts = sum(smallest * (abs(case.beta) if name == "c" else 1) for name in case.addends)
    through = 1 + accumulator.coefficient(k) + 8 * accumulator.unit
    return through * (abs(case.alpha) * lost + parts + (2 * count + 2) * least)


def with_output(case: Product, truth: Truth) -> tuple[float, float | None, float | None]:
    """Allowed error, scale, and the bound before the output rounding if that is to nearest even: section 8."""
    error, scale, _ = before_output(case, truth)
    accumulator, fmt = case.accumulator, Format.of(case.out)
    if accumulator.engine == "integer":
        kept = fmt.kind == "integer" or fmt.precision >= 24
    else:
        inside = (
            fmt.precision >= accumulator.precision and fmt.emin <= accumulator.emin and fmt.emax >= accumulator.emax
        )
        kept = accumulator.engine != "exact" and inside
    if kept:
        return error, None if fmt.kind == "integer" else scale, None
    step = float(fmt.ulp(np.array([abs(float(truth.hi[0, 0])) + error * (1 + NEAR)]))[0])
    rounding = case.contract.output_rounding
    random = rounding in ("nearest-even", "stochastic")
    allowed = error + step * (0.5 if rounding.startswith("nearest") else 1.0)
    return (
        allowed,
        None if scale is None or not random else hypot(scale, step / 2),
        error if rounding == "nearest-even" else None,
    )
