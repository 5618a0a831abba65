"""Sums of products with one rounding an operation: FMA or multiply-then-add, in any of the orders that kernels use."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lastbit.references.accumulators import Accumulator

Array = NDArray[np.float64]
Operation = Callable[[Array, Array], Array]
Fused = Callable[[Array, Array, Array], Array]

EXPONENT = np.int64(0x7FF0_0000_0000_0000)


def power_below(x: Array) -> Array:
    """The largest power of two not above |x|, elementwise; 0 for 0 (and float64 subnormals), inf for inf and NaN."""
    return (np.ascontiguousarray(x).view(np.int64) & EXPONENT).view(np.float64)


def round_to(x: Array, precision: int, emin: int, emax: int, rounding: str = "nearest-even") -> Array:
    """`x` rounded once to `precision` bits with exponents emin..emax, gradual underflow, and infinity beyond.

    `rounding`: "nearest-even", "toward-zero", "down". Every rounding gives infinity for a magnitude of 2^(emax+1) or
    more after rounding, which is what matrix engines do under truncation too. NaN and infinities pass. Under- and
    overflow raise NumPy's warnings unless the caller silences them.
    """
    if precision == 53:
        return x
    if rounding == "nearest-even" and (precision, emin) == (24, -126):
        return x.astype(np.float32).astype(np.float64)
    if rounding == "nearest-even" and (precision, emin) == (11, -14):
        return x.astype(np.float16).astype(np.float64)
    step = {"nearest-even": np.rint, "toward-zero": np.trunc, "down": np.floor}[rounding]
    quantum = np.maximum(power_below(x), 2.0**emin) * 2.0 ** (1 - precision)
    rounded = step(x / quantum) * quantum
    rounded = np.where(np.abs(rounded) >= 2.0 ** (emax + 1), np.copysign(np.inf, x), rounded)
    return np.where(np.isfinite(x), rounded, x)


def two_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """The float64 sum and its exact error (Knuth)."""
    total = x + y
    tail = total - x
    return total, (x - (total - tail)) + (y - tail)


def two_product(x: Array, y: Array) -> tuple[Array, Array]:
    """The float64 product and its exact error (Veltkamp, Dekker); exact while nothing over- or underflows."""
    product = x * y
    x_high, y_high = (_upper(v) for v in (x, y))
    x_low, y_low = x - x_high, y - y_high
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


def add_to_odd(x: Array, y: Array) -> Array:
    """x + y rounded to odd: rounding it again to 51 bits or fewer gives the exact sum's rounding.

    Source: Boldo and Melquiond, IEEE Trans. Computers 57 (2008), 462.
    """
    total, error = two_sum(x, y)
    return to_odd(total, error)


def to_odd(total: Array, error: Array) -> Array:
    """`total + error`, |error| at most half an ulp of `total`, rounded to odd."""
    bits = total.view(np.int64)
    move = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
    if not move.any():
        return total
    away = (error > 0) == (total > 0)
    return np.where(move, bits + np.where(away, 1, -1), bits).view(np.float64)


def fma64(a: Array, b: Array, c: Array) -> Array:
    """a*b + c rounded once to float64, where no intermediate over- or underflows.

    Source: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008), figure 2.
    """
    high, low = two_product(a, b)
    upper, lower = two_sum(c, low)
    total, tail = two_sum(high, upper)
    fused = total + add_to_odd(tail, lower)
    return np.where(np.isfinite(fused), fused, a * b + c)


def operations(model: "Accumulator") -> tuple[Operation, Operation, Fused]:
    """(multiply, add, multiply-add) of the model's working format; the last rounds once if the model has an FMA."""
    precision, emin, emax = model.precision, model.emin, model.emax
    wide = precision == 53

    def finish(x: Array) -> Array:
        rounded = round_to(x, precision, emin, emax, model.rounding)
        return flushed(rounded, emin) if model.flush else rounded

    def multiply(a: Array, b: Array) -> Array:
        return finish(a * b)

    def add(x: Array, y: Array) -> Array:
        return finish(x + y if wide else add_to_odd(x, y))

    def fused(a: Array, b: Array, c: Array) -> Array:
        return fma64(a, b, c) if wide else finish(add_to_odd(a * b, c))

    def separate(a: Array, b: Array, c: Array) -> Array:
        return add(multiply(a, b), c)

    return multiply, add, fused if model.fma else separate


def flushed(x: Array, emin: int) -> Array:
    """`x` with magnitudes below 2^emin replaced by zero of the same sign."""
    return np.where(np.abs(x) < 2.0**emin, np.copysign(0.0, x), x)


def chain(model: "Accumulator", a: Array, b: Array, c: Array) -> Array:
    """The sum of a[i] * b[i] over the leading axis, and c, in the model's order.

    a, b (k, ..) broadcast against c (..), which has the result's shape. The order "any" is simulated as sequential.
    An addend that does not enter first is added last.
    """
    multiply, add, fused = operations(model)
    first = model.addend == "first" and model.order in ("any", "sequential", "tree-blocks")
    start = c if first else np.zeros_like(c)
    if model.order == "tree-blocks":
        total = start
        for block in _blocks(len(a), model.width):
            total = add(total, _halves(a[block], b[block], multiply, add))
    elif model.order == "pairwise":
        total = _pairwise((multiply(x, y) for x, y in zip(a, b, strict=True)), add, start)
    elif model.order == "lanes":
        lanes = (slice(lane, None, model.width) for lane in range(min(model.width, len(a))))
        total = _pairwise((_sequential(a[lane], b[lane], start, fused) for lane in lanes), add, start)
    elif model.order in ("blocked", "split"):
        width = model.width if model.order == "blocked" else max(1, -(-len(a) // model.width))
        parts = [_sequential(a[block], b[block], start, fused) for block in _blocks(len(a), width)]
        total = parts[0] if parts else start
        for part in parts[1:]:
            total = add(total, part)
    else:
        total = _sequential(a, b, start, fused)
    return total if first else add(total, c)


def integer(a: Array, b: Array, c: Array) -> Array:
    """The sum of integer products and c, modulo 2^32 in two's complement: what an i32 accumulator holds."""
    total = c.astype(np.int64)
    for x, y in zip(a, b, strict=True):
        total = total + x.astype(np.int64) * y.astype(np.int64)
    return total.astype(np.int32).astype(np.float64)


def exact(a: Array, b: Array, c: Array) -> Array:
    """The exact sum of products and c, rounded once to float64 (math.fsum over error-free products)."""
    from math import fsum

    high, low = two_product(*np.broadcast_arrays(a, b)) if len(a) else (np.zeros((0, *c.shape)),) * 2
    terms = np.concatenate([high, low, c[None]]).reshape(2 * len(a) + 1, -1)
    finite = np.isfinite(terms[: len(a)]).all(axis=0)
    plain = high.sum(axis=0).reshape(-1) + c.reshape(-1)
    sums = [fsum(column) if ok else value for column, ok, value in zip(terms.T, finite, plain, strict=True)]
    return np.asarray(sums, dtype=np.float64).reshape(c.shape)


def _upper(x: Array) -> Array:
    """The upper 26 bits of `x`: its product with another's upper bits is exact."""
    scaled = 134217729.0 * x  # 2^27 + 1 (Veltkamp)
    return scaled - (scaled - x)


def _blocks(length: int, width: int) -> Iterator[slice]:
    return (slice(start, start + width) for start in range(0, length, width))


def _sequential(a: Array, b: Array, start: Array, fused: Fused) -> Array:
    total = start
    for x, y in zip(a, b, strict=True):
        total = fused(x, y, total)
    return total


def _pairwise(terms: Iterator[Array], add: Operation, empty: Array) -> Array:
    """Neighbours added, then neighbours of those: a binary counter of partial sums, height ceil(log2 n)."""
    stack: list[tuple[int, Array]] = []
    for term in terms:
        size, total = 1, term
        while stack and stack[-1][0] == size:
            total = add(stack.pop()[1], total)
            size *= 2
        stack.append((size, total))
    if not stack:
        return empty
    total = stack.pop()[1]
    while stack:
        total = add(stack.pop()[1], total)
    return total


def _halves(a: Array, b: Array, multiply: Operation, add: Operation) -> Array:
    """The products of a block added as a tree of halves."""
    if len(a) == 1:
        return multiply(a[0], b[0])
    middle = len(a) // 2
    return add(_halves(a[:middle], b[:middle], multiply, add), _halves(a[middle:], b[middle:], multiply, add))
