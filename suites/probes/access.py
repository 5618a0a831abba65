"""Access, how a probe puts questions to a kernel: sums of products in declared formats and one class of shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lastbit import ambient
from lastbit.case import Case, Trial
from lastbit.contract import resolved
from lastbit.errors import LastbitError
from lastbit.harness import call
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites.probes.draws import noise

Array = NDArray[np.float64]
#: a (m, k) @ b (k, n) + c (m, n), exact values in and out.
Product = Callable[[Array, Array, "Array | None"], Array]
#: a . b + c of each row: (n, k), (n, k), (n,) -> (n,).
Dots = Callable[[Array, Array, "Array | None"], Array]


#: Random sums by which places that add in another way are found: each shows it in half of the places or more.
ALIKE = 6


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
    #: Places of the result, (m, n), that add as the first one does: a kernel may do its edges in another way.
    alike: NDArray[np.bool_]
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

    everywhere = np.ones((shape.m, shape.n), bool)
    return Access(formats, shape, True, dots, product, everywhere, spent)


def of_kernel(kernel: Kernel, formats: Mapping[str, str], device: str, shape: Shape) -> Access:
    """The access to a GEMM kernel through the guarded harness.

    A sum takes a row of a and a column of b, on the diagonal of the result: m or n of them, the less, a call, less the
    places that do not add as the first one.

    Raises AccessError where the kernel gives no result, or this thread flushes subnormal numbers: then no probe could
    tell whether the kernel does.
    """
    if not all(ambient.floating_point()):
        raise AccessError(
            "this thread flushes subnormal numbers, or rounds another way; set its mode inside the kernel"
        )
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

    alike = _alike(product, shape, formats)
    places = np.flatnonzero(alike.diagonal())
    most = len(places)

    def dots(a: Array, b: Array, c: Array | None) -> Array:
        parts = [
            _placed(product, shape, places[: len(a) - i], a[i : i + most], b[i : i + most], _part(c, i, most))
            for i in range(0, len(a), most)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    return Access(formats, shape, "c" in kernel.features, dots, product, alike, spent)


def _part(c: Array | None, start: int, length: int) -> Array | None:
    return None if c is None else c[start : start + length]


def _alike(product: Product, shape: Shape, formats: Mapping[str, str]) -> NDArray[np.bool_]:
    """Places whose bits are those of place (0, 0) where all rows of a, and all columns of b, are equal."""
    same = np.ones((shape.m, shape.n), bool)
    for seed in range(ALIKE):
        row, column = noise(Shape(1, 1, shape.k), formats, seed)
        got = product(np.tile(row, (shape.m, 1)), np.tile(column, (1, shape.n)), None)
        same &= (got == got[0, 0]) | (np.isnan(got) & np.isnan(got[0, 0]))
    return same


def _placed(product: Product, shape: Shape, places: NDArray[np.intp], a: Array, b: Array, c: Array | None) -> Array:
    """The sums of rows as one product, each at a place of its diagonal."""
    left, right = np.zeros((shape.m, shape.k)), np.zeros((shape.k, shape.n))
    left[places], right[:, places] = a, b.T
    addend = None
    if c is not None:
        addend = np.zeros((shape.m, shape.n))
        addend[places, places] = c
    return product(left, right, addend)[places, places]


def _operand(values: Array, fmt: str) -> Operand:
    operand = Operand.of(values, fmt)
    if not np.array_equal(operand.values, values, equal_nan=True):
        raise AccessError(f"a probe's numbers are not of the format {fmt}")
    return operand
