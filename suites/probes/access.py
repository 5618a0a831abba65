"""Access, how a probe puts questions to a kernel: sums of products in declared formats and one class of shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Case, Trial
from lastbit.contract import resolved
from lastbit.errors import LastbitError
from lastbit.harness import call
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand
from lastbit.references.formats import Format

Array = NDArray[np.float64]
#: a (m, k) @ b (k, n) + c (m, n), exact values in and out.
Product = Callable[[Array, Array, "Array | None"], Array]
#: a . b + c of each row: (n, k), (n, k), (n,) -> (n,).
Dots = Callable[[Array, Array, "Array | None"], Array]


class AccessError(LastbitError):
    """A kernel gave no result to a probe's question."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A class of shapes: kernels take another path for another one."""

    m: int
    n: int
    k: int

    @property
    def text(self) -> str:
        """ "32x32x64"."""
        return f"{self.m}x{self.n}x{self.k}"


@dataclass(slots=True)
class Spent:
    """What the questions cost so far."""

    #: Calls of the kernel.
    calls: int = 0
    #: Sums that were asked for: the implementation calls of a prober that asks one at a time.
    sums: int = 0


@dataclass(frozen=True, slots=True)
class Access:
    """A kernel, or a simulated device, that answers with sums of products."""

    formats: Mapping[str, str]
    shape: Shape
    #: Whether there is an addend.
    addend: bool
    dots: Dots
    product: Product
    spent: Spent = field(default_factory=Spent)

    def dot(self, a: Array, b: Array, c: Array | None = None) -> Array:
        """a . b + c of each row, each by the kernel's product of this shape.

        a, b (n, t) with t at most k, padded with zeros, and c (n,): exact values of the formats. Returns (n,).

        Raises AccessError where the kernel gives no result.
        """
        spare = self.shape.k - a.shape[1]
        if spare < 0:
            raise AccessError(f"a sum of {a.shape[1]} terms does not fit the shape {self.shape.text}")
        self.spent.sums += len(a)
        return self.dots(np.pad(a, ((0, 0), (0, spare))), np.pad(b, ((0, 0), (0, spare))), c)


def simulated(accumulator: Accumulator, formats: Mapping[str, str], shape: Shape) -> Access:
    """The access to a simulated device whose result is rounded once to `formats["out"]`."""
    out, spent = Format.of(formats["out"]), Spent()

    def dots(a: Array, b: Array, c: Array | None) -> Array:
        spent.calls += 1
        return out.round(accumulator.dot(a, b, c))

    def product(a: Array, b: Array, c: Array | None) -> Array:
        spent.calls += 1
        return out.round(accumulator.matmul(a, b, c))

    return Access(formats, shape, True, dots, product, spent)


def of_kernel(kernel: Kernel, formats: Mapping[str, str], device: str, shape: Shape) -> Access:
    """The access to a GEMM kernel through the guarded harness.

    A sum takes a row of a and a column of b, on the diagonal of the result: m or n of them, the less, a call.
    """
    spent, out = Spent(), Format.of(formats["out"])
    case = Case("probe", (("m", shape.m), ("n", shape.n), ("k", shape.k)))
    trial = Trial(kernel, formats, resolved(kernel.contract, dict(formats)), device, case)

    def product(a: Array, b: Array, c: Array | None) -> Array:
        spent.calls += 1
        given = {"a": _operand(a, formats["a"]), "b": _operand(b, formats["b"])}
        if c is not None:
            given["c"] = _operand(c, formats.get("c", formats["out"]))
        got = call(trial, given)
        if got.fault:
            raise AccessError(f"{kernel.name} at {shape.text}: {got.fault.outcome.value}: {got.fault.reason}")
        return out.decode(got.codes)

    def dots(a: Array, b: Array, c: Array | None) -> Array:
        places = min(shape.m, shape.n)
        parts = [
            _diagonal(product, shape, a[i : i + places], b[i : i + places], None if c is None else c[i : i + places])
            for i in range(0, len(a), places)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    return Access(formats, shape, "c" in kernel.features, dots, product, spent)


def uniform(access: Access, seed: int = 0) -> bool:
    """Whether every place of the result adds in the same way: equal rows times equal columns give equal bits."""
    rng = np.random.default_rng(seed)
    left, right = (Format.of(access.formats[name]) for name in "ab")
    shape = access.shape
    row, column = (
        np.stack([fmt.round(rng.standard_normal(shape.k)) for _ in range(4)]) for fmt in (left, right)
    )
    for x, y in zip(row, column, strict=True):
        got = access.product(np.tile(x, (shape.m, 1)), np.tile(y[:, None], (1, shape.n)), None)
        if not (got == got[0, 0]).all():
            return False
    return True


def _diagonal(product: Product, shape: Shape, a: Array, b: Array, c: Array | None) -> Array:
    """The sums of up to min(m, n) rows as one product."""
    left, right = np.zeros((shape.m, shape.k)), np.zeros((shape.k, shape.n))
    left[: len(a)], right[:, : len(b)] = a, b.T
    addend = None
    if c is not None:
        addend = np.zeros((shape.m, shape.n))
        np.fill_diagonal(addend[: len(c), : len(c)], c)
    return product(left, right, addend).diagonal()[: len(a)].copy()


def _operand(values: Array, fmt: str) -> Operand:
    operand = Operand.of(values, fmt)
    if not np.array_equal(operand.values, values, equal_nan=True):
        raise AccessError(f"a probe's numbers are not of the format {fmt}")
    return operand
