"""Error bounds of accumulators: closed forms, a running bound for matrix engines, and sub-Gaussian scales."""

from math import ceil, expm1, inf, log1p, log2, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.references.chains import power_below
from lastbit.references.engines import exponents, part

if TYPE_CHECKING:
    from lastbit.references.accumulators import Accumulator

Array = NDArray[np.float64]

U32 = 2.0**-24
U64 = 2.0**-53
#: Products m*n*k up to which the running bound of a matrix engine is computed; beyond, the closed form is used.
RUNNING_LIMIT = 1 << 24


def coefficient(model: "Accumulator", k: int) -> float:
    """|error| <= coefficient * sum |a_i b_i|, for normal operands, no addend, no under- or overflow.

    Chains: n*u for n roundings in any order (Jeannerod and Rump, SIAM J. Matrix Anal. Appl. 34 (2013); Lange and Rump,
    BIT 57 (2017): no restriction on n), or (1+u)^h - 1 where each product passes h roundings and that is less.
    Matrix engines: docs/accumulators.md.
    """
    return _coefficient(model, k, addend=False, exact_products=False)


def _coefficient(model: "Accumulator", k: int, *, addend: bool, exact_products: bool, perturbed: bool = False) -> float:
    if model.engine in ("exact", "integer") or k == 0:
        return 0.0
    if model.engine == "chain":
        roundings = k - exact_products + addend
        through = height(model, k) + 1 - exact_products + addend
        amplified = _power(min(roundings, through), model.unit)
        return amplified if perturbed else min(roundings * model.unit, amplified)
    length = part(model, k)
    if length < k or model.promote:
        chunks = ceil(k / length)
        inner = _engine_coefficient(model, length, addend=False)
        return inner + (chunks - 1 + addend) * U32 * (1 + inner)
    return _engine_coefficient(model, k, addend=addend)


def height(model: "Accumulator", k: int) -> int:
    """Most additions that one product passes through."""
    width = min(model.width, k) if model.width else 1
    if model.order == "pairwise":
        return ceil(log2(k))
    if model.order == "blocked":
        return width - 1 + ceil(k / width) - 1
    if model.order == "split":
        length = ceil(k / width)
        return length - 1 + ceil(k / length) - 1
    if model.order == "lanes":
        return ceil(k / width) - 1 + ceil(log2(width))
    if model.order == "tree-blocks":
        return ceil(log2(width)) + ceil(k / width) - 1
    return k - 1


def _engine_coefficient(model: "Accumulator", k: int, *, addend: bool) -> float:
    """g*2^-F for the cut terms and u for the rounded sum of each block, in units of sum |a_i b_i| (+ |c|).

    The largest of a block's g+1 terms is not cut, so at most k terms are in all; an addend with more bits than
    F + 1 is one more. Roundings toward zero never make a partial sum larger, so errors add up; others compound.
    """
    blocks = ceil(k / model.terms)
    quantum = 2.0**-model.fraction_bits
    cut = (k + (addend and model.fraction_bits < 23)) * quantum
    if model.addend == "last":
        return _power(blocks, cut / blocks, model.unit, U32)
    if model.rounding == "toward-zero" and model.alignment == "toward-zero":
        return cut + blocks * model.unit
    return _power(blocks, cut / blocks, model.unit)


def _power(count: int, *units: float) -> float:
    """The product of 1 + unit over `units`, to the power `count`, minus 1."""
    exponent = count * sum(log1p(unit) for unit in units)
    return expm1(exponent) if exponent < 700 else inf


def bound(model: "Accumulator", a: Array, b: Array, c: Array | None, weight: Array | None) -> Array:
    """Elementwise bound of |computed - (a @ b + c)|, a (.., m, k), b (.., k, n); see Accumulator.bound."""
    with np.errstate(all="ignore"):
        a, b = _finite(a), _finite(b)
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        if model.engine in ("exact", "integer"):
            return np.zeros(shape)
        addend = None if c is None else _finite(c)
        read_a, read_b = model.read(a), model.read(b)
        lost = np.zeros(shape)
        if not (np.array_equal(a, read_a) and np.array_equal(b, read_b)):
            full, seen = _weight(a, b, None), _weight(read_a, read_b, None)
            # |ab| - |a'b'| = |ab - a'b'|, for a' and b' are a and b cut toward zero; both sums are off by k*u64.
            lost, weight = np.maximum(full - seen, 0) + 2 * _slack(a.shape[-1]) * full, None
        if weight is None:
            weight = _weight(read_a, read_b, addend)
        if model.engine == "chain":
            allowed = _chain_bound(model, read_a, read_b, addend, weight)
        else:
            allowed = _engine_bound(model, read_a, read_b, addend, weight)
        # The bound itself was computed with a few float64 roundings.
        return np.array(np.broadcast_to((lost + allowed) * (1 + 2.0**-40), shape))


def sigma(model: "Accumulator", a: Array, b: Array, c: Array | None, weight: Array | None) -> Array | None:
    """Sub-Gaussian scale of the error under independent roundings of mean zero; see Accumulator.sigma.

    A rounding of exact value t commits delta * t, |delta| <= u: sub-Gaussian with scale u*|t| (Hoeffding). Operations
    at one depth of the summation tree work on disjoint terms, so their t^2 sum to at most W^2, W the weight and what
    roundings can add to it: scale u*W*sqrt(depth), and the depth is at most the number of roundings. Flushing and
    truncation do not have mean zero.
    """
    if model.engine in ("exact", "integer"):
        return np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    if model.truncates or model.flush or model.input_precision:
        return None
    with np.errstate(all="ignore"):
        a, b = _finite(a), _finite(b)
        k = a.shape[-1]
        if weight is None:
            weight = _weight(a, b, None if c is None else _finite(c))
        (bits_a, low_a), (bits_b, low_b) = _grid(a), _grid(b)
        exact = bits_a + bits_b <= model.precision
        depth = min(k, height(model, k) + 1) - exact + (c is not None) if k else 0
        grown = 1 + _coefficient(model, k, addend=c is not None, exact_products=exact, perturbed=True)
        tiny = 2.0 ** (model.emin - model.precision)
        subnormal = tiny * sqrt(k) if low_a + low_b < model.emin - model.precision + 1 else 0.0
        return model.unit * sqrt(max(depth, 0)) * grown * weight + subnormal


def _chain_bound(model: "Accumulator", a: Array, b: Array, c: Array | None, weight: Array) -> Array:
    """n*u*W and what underflow adds: u*2^emin for each rounded product, or 2^emin for each operation that may flush."""
    k = a.shape[-1]
    (bits_a, low_a), (bits_b, low_b), (bits_c, low_c) = _grid(a), _grid(b), _grid(c)
    exact = bits_a + bits_b <= model.precision
    absolute = 0.0
    if low_a + low_b < model.emin - model.precision + 1:
        absolute += k * model.unit * 2.0**model.emin
    if model.flush and min(low_a + low_b, low_c) < model.emin:
        absolute += (2 * k + 2) * 2.0**model.emin
    extra = (c is not None) + (bits_c > model.precision)
    factor = _coefficient(model, k, addend=False, exact_products=exact, perturbed=absolute > 0)
    if extra:
        factor = _coefficient(model, k + extra - 1, addend=True, exact_products=exact, perturbed=absolute > 0)
    closed = factor * weight
    if model.order == "sequential" and weight.size * k <= RUNNING_LIMIT and not bits_c > model.precision:
        closed = np.minimum(closed, _sequential(model, a, b, c, _slack(k) * weight + (1 + factor) * absolute))
    return closed + (1 + factor) * absolute


def _sequential(model: "Accumulator", a: Array, b: Array, c: Array | None, slack: Array) -> Array:
    """The bound of a chain in order: u times the power of two below each partial sum, known up to bound and slack."""
    allowed = np.zeros(slack.shape)
    prefix = allowed if c is None else np.broadcast_to(c, slack.shape)
    for i in range(a.shape[-1]):
        term = a[..., :, i, None] * b[..., None, i, :]
        if not model.fma:
            allowed = allowed + model.unit * np.abs(term)
        prefix = prefix + term
        allowed = allowed + model.unit * power_below(np.abs(prefix) + slack + allowed)
    return allowed


def _engine_bound(model: "Accumulator", a: Array, b: Array, c: Array | None, weight: Array) -> Array:
    """The smaller of the closed and, where it is cheap and the order known, the running bound of a matrix engine."""
    k = a.shape[-1]
    (_, low_a), (_, low_b) = _grid(a), _grid(b)
    blocks = ceil(k / model.terms)
    eta = model.emin - model.precision + 1
    absolute = blocks * 2.0**eta if low_a + low_b < eta else 0.0
    if low_a + low_b < model.floor - model.fraction_bits:
        absolute += (k + blocks) * 2.0 ** (model.floor - model.fraction_bits)
    # So is that of a carried sum which is subnormal: what a later block adds is aligned to it.
    beside = k if c is not None else max(0, k - model.terms)
    if beside and low_a + low_b < model.emin - model.fraction_bits:
        absolute += (beside + blocks) * 2.0 ** (model.emin - model.fraction_bits)
    # An exponent field of a subnormal operand is larger than its value.
    fields = (
        exponents(a, model.input_emin).max(-1, initial=0)[..., :, None]
        * (exponents(b, model.input_emin).max(-2, initial=0)[..., None, :])
    )
    subnormal = _subnormal(a, model.input_emin) or _subnormal(b, model.input_emin)
    reach = np.maximum(weight, fields) if subnormal else weight
    factor = _coefficient(model, k, addend=c is not None, exact_products=True)
    closed = factor * reach + (1 + factor) * absolute
    cheap = weight.size * k <= RUNNING_LIMIT and model.order != "any" and model.addend == "first"
    if not cheap:
        return closed
    tiny = (1 + factor) * absolute
    return np.minimum(closed, running(model, a, b, c, _slack(k) * weight + tiny) + tiny)


def running(model: "Accumulator", a: Array, b: Array, c: Array | None, slack: Array) -> Array:
    """The bound of a matrix engine that follows each element's partial sums, block by block.

    A block of g products errs by at most g units of 2^(e-F), e the largest exponent of its products and of the carried
    sum, and one rounding of its total. The carried sum is at most |exact partial sum| + the bound so far.
    a (.., m, k), b (.., k, n), slack (.., m, n): how much more a partial sum can be (float64 rounding, underflow).
    """
    shape, k = slack.shape, a.shape[-1]
    zero = np.zeros(shape)
    prefix = zero if c is None else np.broadcast_to(c, shape)
    length = part(model, k)
    several = bool(model.promote) or length < k
    allowed, total = zero, prefix
    powers_a, powers_b = exponents(a, model.input_emin), exponents(b, model.input_emin)
    for begin in range(0, k, length):
        inner, partial = (zero, zero) if several else (allowed, prefix)
        for start in range(begin, min(begin + length, k), model.terms):
            block = slice(start, min(start + model.terms, begin + length, k))
            scale = np.maximum(_largest(powers_a[..., block], powers_b[..., block, :]), 2.0**model.floor)
            scale = np.maximum(scale, power_below(np.abs(partial) + slack + inner))
            wide = c is not None and start == 0 and model.fraction_bits < 23
            partial = partial + a[..., block] @ b[..., block, :]
            inner = inner + (block.stop - block.start + wide) * 2.0**-model.fraction_bits * scale
            inner = inner + model.unit * power_below(np.abs(partial) + slack + inner)
        if not several:
            return inner
        total = total + partial
        allowed = allowed + inner
        allowed = allowed + U32 * power_below(np.abs(total) + slack + allowed)
    return allowed


def _largest(powers_a: Array, powers_b: Array) -> Array:
    """The largest of the products of one row's and one column's powers, (.., m, n), without the (m, g, n) array."""
    largest = powers_a[..., :, 0, None] * powers_b[..., None, 0, :]
    for i in range(1, powers_a.shape[-1]):
        np.maximum(largest, powers_a[..., :, i, None] * powers_b[..., None, i, :], out=largest)
    return largest


def _weight(a: Array, b: Array, c: Array | None) -> Array:
    """|a| @ |b| + |c|, not less than the exact value."""
    product = np.abs(a) @ np.abs(b) * (1 + _slack(a.shape[-1]))
    return product if c is None else product + np.abs(c)


def _slack(k: int) -> float:
    """Relative error, generously, of a float64 sum of k products or partial sum of it."""
    return (2 * k + 8) * U64


def _finite(x: Array) -> Array:
    x = np.asarray(x, np.float64)
    return np.where(np.isfinite(x), x, 0.0)


def _subnormal(x: Array, emin: int) -> bool:
    return bool(((x != 0) & (np.abs(x) < 2.0**emin)).any())


def _grid(x: Array | None) -> tuple[int, int]:
    """(most significand bits of a value, exponent of the lowest bit set in any value); (0, 2000) for zeros."""
    if x is None or not x.any():
        return 0, 2000
    significand, exponent = np.frexp(x[x != 0])
    whole = np.abs(significand * 2.0**53).astype(np.int64)
    trailing = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return int(53 - trailing.min()), int((exponent - 53 + trailing).min())
