"""Accumulator, the model of how a kernel rounds a sum of products: simulator and bound from one set of parameters."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lastbit.references import accumulator_bounds, chains, engines
from lastbit.references.accumulator_table import CARRIED_IN_F16, ENGINES, F16_FLOORS, INPUTS, WORKING

Array = NDArray[np.float64]

ORDERS = ("any", "sequential", "pairwise", "blocked", "lanes", "split", "tree-blocks")
#: Those of matrix engines: "split" adds `width` contiguous sums in f32.
ENGINE_ORDERS = {"fused": ("any", "sequential", "split"), "cdna3": ("any", "sequential")}
#: Elements of one temporary of a fused engine's simulation, four times those of a chain's, which has more of them. They
#: stay in the cache: a product of 128 x 512 x 128 is twice as fast as with twice or a quarter of that.
CHUNK = 1 << 15


class AccumulatorError(ValueError):
    """An accumulator that lastbit does not know, or operands that it cannot take."""


@dataclass(frozen=True, slots=True)
class Accumulator:
    """How a kernel adds products: the same parameters simulate it and bound its error.

    Made by `Accumulator.of`, and varied by `dataclasses.replace`; docs/accumulators.md tells what the fields mean.
    """

    name: str
    #: "chain" (one rounding an operation), "fused" (blocks aligned and truncated), "cdna3", "integer", "exact".
    engine: str = "chain"
    #: Significand bits of the carried sum, and its exponents: what every partial sum is rounded to.
    precision: int = 24
    emin: int = -126
    emax: int = 127
    #: Of the carried sum: "nearest-even" or "toward-zero".
    rounding: str = "nearest-even"
    #: "any" (a promise: whatever order the kernel likes), "sequential", "pairwise", "blocked" (sums of `width` terms
    #: added in turn), "lanes" (`width` interleaved sums, added pairwise), "split" (`width` contiguous sums, added in
    #: turn), "tree-blocks" (each `width` products added as a tree, then to the sum).
    order: str = "any"
    width: int = 0
    #: Whether a product and its addition are rounded together.
    fma: bool = True
    #: Where c enters: "first" (it starts the sum, or is aligned with the first block) or "last" (it is added after).
    addend: str = "first"
    #: Whether subnormal operands and results are replaced by zero.
    flush: bool = False
    #: Terms that a fused block adds together, and the fraction bits that they are cut to when aligned.
    terms: int = 1
    fraction_bits: int = 0
    alignment: str = "toward-zero"
    #: Exponent that terms are at least aligned to.
    floor: int = -300
    #: Whether a block's even and odd terms are added apart (CDNA3, 8-bit operands).
    interleaved: bool = False
    #: Exponent of the operands' smallest normal number: the exponent field of subnormal operands.
    input_emin: int = -1022
    #: Significand bits read of each operand, the rest cut; 0: all.
    input_precision: int = 0
    #: Terms after which the carried sum is added to an f32 sum and starts again; 0: never.
    promote: int = 0
    #: Where the parameters are published.
    source: str = ""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise AccumulatorError(
                f"accumulator {self.name}: order is {self.order!r}, expected one of {', '.join(ORDERS)}"
            )
        if self.order in ("blocked", "lanes", "split", "tree-blocks") and self.width < 1:
            raise AccumulatorError(
                f"accumulator {self.name}: order {self.order} needs a width of 1 or more, not {self.width}"
            )
        if self.engine in ("fused", "cdna3") and self.order not in ENGINE_ORDERS[self.engine]:
            raise AccumulatorError(
                f"accumulator {self.name}: a {self.engine} engine has no order {self.order!r}, "
                f"expected one of {', '.join(ENGINE_ORDERS[self.engine])}"
            )
        if self.promote and (self.engine, self.order) not in (("fused", "sequential"), ("fused", "any")):
            raise AccumulatorError(
                f"accumulator {self.name}: promotion is of a fused engine in sequence, not {self.engine} {self.order}"
            )
        if self.addend not in ("first", "last"):
            raise AccumulatorError(f"accumulator {self.name}: addend is {self.addend!r}, expected 'first' or 'last'")

    @staticmethod
    def of(device_or_format: str, input_format: str | None = None, *, carried: str = "f32") -> "Accumulator":
        """The accumulator of a working format ("f64" "f32" "f16" "bf16" "i32" "exact") or of a device and input format.

        A working format promises single roundings in any order. `carried` is "f16" for the tensor-core instructions
        whose addend and result are f16, rounded to nearest. Raises AccumulatorError for an unknown accumulator.
        """
        if input_format is None:
            if device_or_format == "exact":
                return Accumulator("exact", "exact", 53, -1022, 1023)
            if device_or_format == "i32":
                return Accumulator("i32", "integer", 31, 0, 30)
            if device_or_format in WORKING:
                precision, emin, emax = WORKING[device_or_format]
                return Accumulator(device_or_format, "chain", precision, emin, emax)
        row = ENGINES.get((device_or_format, input_format or ""))
        if row is None:
            asked = device_or_format if input_format is None else f"{device_or_format} with {input_format} operands"
            pairs = ", ".join(f"{device}/{fmt}" for device, fmt in ENGINES)
            raise AccumulatorError(
                f"no accumulator {asked!r} is known; use f64, f32, f16, bf16, i32, exact, "
                f"or a device and input format: {pairs}"
            )
        read = INPUTS[input_format or ""]
        name = f"{device_or_format}/{input_format}"
        model = Accumulator(name, **asdict(row), input_emin=read.emin, input_precision=read.precision)
        if carried == "f32":
            return model
        if carried != "f16" or (device_or_format, input_format) not in CARRIED_IN_F16:
            pairs = ", ".join("/".join(pair) for pair in CARRIED_IN_F16)
            raise AccumulatorError(
                f"{name} carried in {carried!r} is not known; use 'f32', or 'f16' with one of {pairs}"
            )
        precision, emin, emax = WORKING["f16"]
        return replace(
            model,
            name=f"{name} carried in f16",
            floor=F16_FLOORS[row.floor],
            precision=precision,
            emin=emin,
            emax=emax,
            rounding="nearest-even",
        )

    @property
    def truncates(self) -> bool:
        """Whether errors are one-sided, so that no statistical bound holds."""
        return self.engine in ("fused", "cdna3") or self.rounding != "nearest-even"

    @property
    def unit(self) -> float:
        """Largest relative error of rounding a partial sum."""
        return 2.0**-self.precision if self.rounding == "nearest-even" else 2.0 ** (1 - self.precision)

    @property
    def max(self) -> float:
        """Largest finite partial sum."""
        if self.engine == "integer":
            return 2.0**31 - 1
        return (2.0 - 2.0 ** (1 - self.precision)) * 2.0**self.emax

    @property
    def exact_bits(self) -> int:
        """Integers are summed without error in any order while every partial sum is at most 2^exact_bits in magnitude.

        A rounding accumulator holds every integer up to 2^p. A fused block aligned to 2^e holds multiples of
        2^(e - F), and a term of magnitude at most 2^F has e <= F.
        """
        if self.engine == "integer":
            return 30  # 2^31 itself is not an i32
        if self.engine in ("fused", "cdna3"):
            return min(self.fraction_bits, self.precision)
        return self.precision

    def dot(self, a: Array, b: Array, c: Array | None = None) -> Array:
        """a . b + c of each row, as this accumulator computes it, bit for bit.

        a, b (n, k), c (n,): float64 holding exact values of the operands' formats (at most 26 significant bits, but
        for "f64"). Returns (n,). An infinite or NaN operand gives what IEEE 754 gives for the sum.
        """
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.ndim != 2 or a.shape != b.shape:
            raise AccumulatorError(f"dot takes a and b of one shape (n, k), got {a.shape} and {b.shape}")
        addend = np.zeros(len(a)) if c is None else np.asarray(c, np.float64)
        rows = max(1, CHUNK // max(4, self.terms))
        parts = [
            self._simulate(a[i : i + rows].T, b[i : i + rows].T, addend[i : i + rows]) for i in range(0, len(a), rows)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def matmul(self, a: Array, b: Array, c: Array | None = None) -> Array:
        """`dot` of every row of a with every column of b.

        a (.., m, k), b (.., k, n), c (.., m, n) broadcast over leading dimensions. Returns (.., m, n).
        """
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
            raise AccumulatorError(f"matmul takes a (.., m, k) and b (.., k, n), got {a.shape} and {b.shape}")
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], () if c is None else np.shape(c)[:-2])
        shape = (*batch, a.shape[-2], b.shape[-1])
        out = np.zeros(shape) if c is None else np.broadcast_to(np.asarray(c, np.float64), shape).copy()
        a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
        rows = max(1, CHUNK // (max(4, self.terms) * max(1, shape[-1])))
        for index in np.ndindex(*batch):
            columns = np.ascontiguousarray(b[index])[:, None, :]
            for i in range(0, shape[-2], rows):
                part = (*index, slice(i, i + rows))
                out[part] = self._simulate(np.ascontiguousarray(a[part].T)[:, :, None], columns, out[part])
        return out

    def coefficient(self, k: int) -> float:
        """The closed form: |error| <= coefficient(k) * sum |a_i b_i| for normal operands without under- or overflow."""
        return accumulator_bounds.coefficient(self, k)

    def bound(self, a: Array, b: Array, c: Array | None = None, weight: Array | None = None) -> Array:
        """Largest |error| of each element of a @ b + c in every order that this accumulator allows; rigorous.

        a (.., m, k), b (.., k, n), c (.., m, n). Covers subnormals, flushing and the reading of wider operands; not
        overflow. `weight`: an upper bound of |a| @ |b| + |c| where it is known already. Returns (.., m, n).
        """
        return accumulator_bounds.bound(self, a, b, c, weight)

    def sigma(self, a: Array, b: Array, c: Array | None = None, weight: Array | None = None) -> Array | None:
        """Sub-Gaussian scale of each element's error if roundings are independent with mean zero; None if one-sided."""
        return accumulator_bounds.sigma(self, a, b, c, weight)

    def read(self, x: Array) -> Array:
        """Operands as the accumulator sees them: cut to `input_precision`, subnormals flushed where it flushes."""
        if self.input_precision:
            x = engines.truncated_inputs(x, self.input_precision)
        return chains.flushed(x, max(self.input_emin, self.emin)) if self.flush else x

    def _simulate(self, a: Array, b: Array, c: Array) -> Array:
        """The engine on operands whose leading axis is k and that broadcast to c's shape."""
        c = chains.flushed(c, self.emin) if self.flush else c
        with np.errstate(all="ignore"):
            return self._engine()(self, self.read(a), self.read(b), c)

    def _engine(self) -> Callable[["Accumulator", Array, Array, Array], Array]:
        if self.engine == "fused" and (self.promote or self.order == "split"):
            return engines.promoted
        return ENGINE_FUNCTIONS[self.engine]


ENGINE_FUNCTIONS: dict[str, Callable[[Accumulator, Array, Array, Array], Array]] = {
    "chain": chains.chain,
    "fused": engines.fused,
    "cdna3": engines.cdna3,
    "integer": lambda _, a, b, c: chains.integer(a, b, c),
    "exact": lambda _, a, b, c: chains.exact(a, b, c),
}
