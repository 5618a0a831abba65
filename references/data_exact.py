"""Recipes whose answer needs no rounding before the output: every order of summation gives the same sum."""

import numpy as np

from lastbit.references.draw import (
    Array,
    Draw,
    Recipe,
    exponents,
    integer_limit,
    is_integer,
    shrink,
    significands,
    signs,
)
from lastbit.references.formats import Format


def integers(draw: Draw) -> tuple[Array, Array]:
    """Random integers; sum |a_i b_i| <= 2^exact_bits."""
    limit = 2**draw.exact_bits
    largest = max(1, int(np.sqrt(limit / max(draw.k, 1))))
    a_max = min(largest, integer_limit(draw.a, draw.a_bits))
    b_max = min(limit // (max(draw.k, 1) * a_max) or 1, integer_limit(draw.b, draw.b_bits))
    a = draw.rng.integers(1, a_max + 1, draw.a_shape) * signs(draw, draw.a_shape, draw.a)
    b = draw.rng.integers(1, b_max + 1, draw.b_shape) * signs(draw, draw.b_shape, draw.b)
    return shrink(_thin(a, draw), b, draw)


def scales(draw: Draw) -> tuple[Array, Array]:
    """Small integers times a power of two of each row of a and each column of b: exposes any index mix-up."""
    a, b = integers(_small(draw))
    rows = _ladder(draw.m, draw.a, draw.out)
    columns = _ladder(draw.n, draw.b, draw.out)
    return shrink(np.ldexp(a, rows[:, None]), np.ldexp(b, columns), draw)


def k_blocks(draw: Draw) -> tuple[Array, Array]:
    """Powers of two of a that differ from one k to the next, so that the sum uses every bit of the accumulator."""
    bits = draw.exact_bits - int(np.ceil(np.log2(max(draw.k, 2))))
    span = max(0, min(bits, int(np.log2(draw.a.max)), draw.a.emax - draw.a.emin - 1))
    if draw.precision <= 11:  # operands may be rounded to f16, which ends at 2^16
        span = min(span, 15)
    place = (np.arange(draw.k) * 5) % (span + 1)
    a = np.ldexp(signs(draw, draw.a_shape, draw.a), place)
    b = signs(draw, draw.b_shape, draw.b)
    return shrink(_thin(a, draw), b, draw)


def one_hot_a(draw: Draw) -> tuple[Array, Array]:
    """Row i of a has a single 1: the answer is a row of b, whose significands use every bit."""
    a = np.zeros(draw.a_shape)
    a[..., np.arange(draw.m), _spread(draw.m, draw.k)] = 1.0
    return a, _carried(draw, draw.b_shape, draw.b_bits, draw.b)


def one_hot_b(draw: Draw) -> tuple[Array, Array]:
    """Column j of b has a single 1: the answer is a column of a, whose significands use every bit."""
    b = np.zeros(draw.b_shape)
    b[..., _spread(draw.n, draw.k), np.arange(draw.n)] = 1.0
    return _carried(draw, draw.a_shape, draw.a_bits, draw.a), b


def cancel_halves(draw: Draw) -> tuple[Array, Array]:
    """The two halves of k nearly cancel: partial sums rounded to the output format lose the small answer."""
    a, b = integers(draw)
    half = draw.k // 2
    if half:
        a[..., half : 2 * half] = -a[..., :half]
        b[..., half : 2 * half, :] = b[..., :half, :]
        # One product of each element differs: b's last row of the first half, by its sign.
        b[..., half - 1, :] = np.where(draw.rng.random(draw.n) < 0.5, -1.0, 1.0) * np.abs(b[..., half - 1, :])
    return a, b


def ties(draw: Draw) -> tuple[Array, Array]:
    """Sums exactly between two output values, or beside the midpoint by one small product (the sticky bit)."""
    out_bits = min(draw.out.precision, draw.exact_bits - 1)
    beyond = min(3, draw.exact_bits - out_bits - 1)
    total = out_bits + 1 + beyond
    whole = draw.rng.integers(2 ** (out_bits - 1), 2**out_bits, (*draw.lead, draw.m))
    aside = draw.rng.integers(-1, 2, whole.shape) if beyond else 0
    wanted = (2 * whole + 1) * 2**beyond + aside
    digit = min(draw.a_bits, draw.b_bits)
    slots = min(-(-total // digit), draw.k)
    at = draw.rng.permutation(draw.k)[:slots]
    a, b = np.zeros(draw.a_shape), np.zeros(draw.b_shape)
    for place in range(slots):
        part = (wanted >> (place * digit)) & (2**digit - 1)
        shift = place * digit - total // 2
        a[..., at[place]] = np.ldexp(part.astype(np.float64), shift - shift // 2 - digit // 2)
        b[..., at[place], :] = np.ldexp(1.0, shift // 2 + digit // 2)
    return a * signs(draw, (*draw.lead, draw.m), draw.a)[..., None], b


def rank_one(draw: Draw) -> tuple[Array, Array]:
    """a = u v', b = w z' in small integers: the answer is known in closed form at any size."""
    limit = 2**draw.exact_bits
    u_max = min(8, limit, integer_limit(draw.a, draw.a_bits))
    z_max = min(8, limit // u_max, integer_limit(draw.b, draw.b_bits))
    u = draw.rng.integers(1, u_max + 1, (*draw.lead, draw.m, 1)) * signs(draw, (*draw.lead, draw.m, 1), draw.a)
    z = draw.rng.integers(1, z_max + 1, (*draw.lead, 1, draw.n)) * signs(draw, (*draw.lead, 1, draw.n), draw.b)
    v = signs(draw, (draw.k,), draw.a)
    w = np.where(draw.rng.random(draw.k) < 0.25, -v, v) if draw.b.signed else np.ones(draw.k)
    v[limit // (u_max * z_max) :] = 0.0  # an accumulator of few bits holds no more terms
    if v @ w == 0:  # zero everywhere would be an answer that anybody can guess
        v, w = np.abs(v), np.abs(w)
    return shrink(u * v, w[:, None] * z, draw)


def full_range(draw: Draw) -> tuple[Array, Array]:
    """Every integer of the operand formats, the extremes on every other row and column (int16 pair sums saturate)."""
    a = draw.rng.integers(_lowest(draw.a), int(draw.a.max) + 1, draw.a_shape).astype(np.float64)
    b = draw.rng.integers(_lowest(draw.b), int(draw.b.max) + 1, draw.b_shape).astype(np.float64)
    a[..., ::2, :] = draw.a.max
    b[..., :, ::3] = draw.b.max
    a[..., 1::4, :] = _lowest(draw.a)
    b[..., :, 1::3] = _lowest(draw.b)
    return a, b


def _lowest(fmt: Format) -> int:
    return -int(fmt.max) - 1 if fmt.signed else 0


def _thin(a: Array, draw: Draw) -> Array:
    """Zero entries of a where an accumulator holds fewer integers than k, so that at most 2^exact_bits remain."""
    room = 2**draw.exact_bits
    total = float(np.abs(a).sum(axis=-1).max(initial=0.0))
    if total <= room:
        return a
    kept = draw.rng.random(a.shape) < room / (2 * total)
    thinned = np.where(kept, a, 0.0)
    over = np.cumsum(np.abs(thinned), axis=-1) > room
    return np.where(over, 0.0, thinned)


def _small(draw: Draw) -> Draw:
    """The same draw with operands of at most three bits, which leaves range for powers of two."""
    return Draw(
        draw.rng, draw.batch, draw.m, draw.n, draw.k, draw.a, draw.b, draw.out, draw.exact_bits, min(draw.precision, 3)
    )


def _ladder(count: int, fmt: Format, out: Format) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Exponents 0, -1, 1, -2, ... by position, as many different ones as format and output have range for."""
    if is_integer(fmt) or is_integer(out):
        return np.zeros(count, np.int64)
    reach = max(0, min(8, fmt.emax - 3, -fmt.emin - 1, (out.emax - 6) // 2, (-out.emin - 1) // 2))
    return np.arange(count) % (2 * reach + 1) - reach


def _spread(count: int, k: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """`count` positions in range(k), the last and the first among them."""
    return (k - 1 - np.arange(count) * max(1, (k - 1) // max(1, count - 1))) % max(k, 1)


def _carried(draw: Draw, shape: tuple[int, ...], bits: int, fmt: Format) -> Array:
    """Full-width significands over a few binades that the output format holds too."""
    values = significands(draw, shape, bits, fmt)
    if is_integer(fmt):
        return values
    low, high = max(fmt.emin, draw.out.emin, -4), min(fmt.emax - 1, draw.out.emax - 1, 4)
    return np.ldexp(values, exponents(draw, shape, low, high))


def _has_ties(a: Format, b: Format, out: Format) -> bool:
    return not (is_integer(a) or is_integer(b) or is_integer(out)) and out.precision <= 11


def _has_integers(a: Format, b: Format, out: Format) -> bool:
    return is_integer(a) and is_integer(b) and a.bits + b.bits <= out.bits // 2  # no sum of the law's lengths wraps


RECIPES = (
    Recipe("integers", "integers: any order, any tile, one answer", integers, exact=True),
    Recipe("scales", "a power of two of each row and column: index mix-ups show", scales, exact=True),
    Recipe("k_blocks", "a power of two of each k: narrow accumulators and lost blocks show", k_blocks, exact=True),
    Recipe("one_hot_a", "one-hot rows return rows of b bit for bit", one_hot_a, exact=True),
    Recipe("one_hot_b", "one-hot columns return columns of a bit for bit", one_hot_b, exact=True),
    Recipe("cancel_halves", "halves of k cancel: rounded partial sums show", cancel_halves, exact=True),
    Recipe("ties", "midpoints of the output format and their neighbours", ties, exact=True, needs=_has_ties),
    Recipe("rank_one", "closed form at any size", rank_one, exact=True),
    Recipe("full_range", "every integer, extremes in pairs", full_range, exact=True, needs=_has_integers),
)
