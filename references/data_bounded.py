"""Recipes whose answer is rounded on the way: random, one-sided, cancelling, tiny, huge and special data."""

import numpy as np

from lastbit.references.draw import Array, Draw, Recipe, exponents, is_integer, significands, signs
from lastbit.references.formats import Format


def normal(draw: Draw) -> tuple[Array, Array]:
    """N(0, 1)."""
    return draw.rng.standard_normal(draw.a_shape), draw.rng.standard_normal(draw.b_shape)


def uniform(draw: Draw) -> tuple[Array, Array]:
    """U(0, 1): every product has one sign, so that one-sided roundings add up over k."""
    return draw.rng.random(draw.a_shape), draw.rng.random(draw.b_shape)


def ordinary(draw: Draw) -> tuple[Array, Array]:
    """Full-width significands over a few binades around 1: no operand is subnormal, nor after scaling up."""
    values = []
    for shape, bits, fmt in ((draw.a_shape, draw.a_bits, draw.a), (draw.b_shape, draw.b_bits, draw.b)):
        low, high = max(fmt.emin, -2), max(fmt.emin, min(fmt.emax - 4, 2))
        values.append(np.ldexp(significands(draw, shape, bits, fmt), exponents(draw, shape, low, high)))
    return values[0], values[1]


def outliers(draw: Draw) -> tuple[Array, Array]:
    """N(0, 1) with a few channels of k 20 to 100 times larger, as activations of language models have."""
    a, b = normal(draw)
    channels = draw.rng.permutation(draw.k)[: max(1, draw.k // 64)]
    a[..., channels] *= draw.rng.uniform(20, 100, channels.size)
    return _within(a, b, draw)


def cancel(draw: Draw) -> tuple[Array, Array]:
    """The second half of k repeats the first with the sign changed, but for a perturbation that grows by row.

    Row 0 cancels to the last bits of the operands; in the last rows nothing cancels, so the case is never vacuous.
    """
    a, b = normal(draw)
    half = draw.k // 2
    size = np.ldexp(1.0, -np.linspace(draw.a_bits, 0, draw.m).round().astype(int))[:, None]
    noise = size * draw.rng.standard_normal((*draw.lead, draw.m, half))
    a[..., half : 2 * half] = -(a[..., :half] * (1 + noise))
    b[..., half : 2 * half, :] = b[..., :half, :]
    order = draw.rng.permutation(draw.k)
    return a[..., order], b[..., order, :]


def ill_conditioned(draw: Draw) -> tuple[Array, Array]:
    """Exponents spread over the format with cancelling pairs: condition numbers from 1 (last row) to 2^(2p).

    After Ogita, Rump and Oishi, SISC 26 (2005), algorithm 6.1, with one spread for each row.
    """
    reach = min(draw.a.precision, draw.a.emax - 2, draw.b.emax - 2, -draw.a.emin - 1, -draw.b.emin - 1) // 2
    spread = np.linspace(max(0, reach), 0, draw.m).round().astype(int)[:, None]
    half = draw.k // 2
    a = significands(draw, draw.a_shape, draw.a_bits, draw.a)
    b = significands(draw, draw.b_shape, draw.b_bits, draw.b)
    place = np.round(draw.rng.random((*draw.lead, draw.m, half)) * spread).astype(int)
    a[..., :half] = np.ldexp(a[..., :half], place)
    a[..., half : 2 * half] = -a[..., :half] * (1 + np.ldexp(1.0, -spread) * draw.rng.standard_normal(place.shape))
    b[..., half : 2 * half, :] = b[..., :half, :]
    return _within(a, b, draw)


def wide_exponents(draw: Draw) -> tuple[Array, Array]:
    """Full-width significands with exponents spread evenly over half of the format's range."""
    values = []
    for shape, bits, fmt in ((draw.a_shape, draw.a_bits, draw.a), (draw.b_shape, draw.b_bits, draw.b)):
        low, high = max(fmt.emin, draw.out.emin, -500) // 4, min(fmt.emax, draw.out.emax, 500) // 4
        values.append(np.ldexp(significands(draw, shape, bits, fmt), exponents(draw, shape, low, high)))
    return _within(values[0], values[1], draw)


def subnormals(draw: Draw) -> tuple[Array, Array]:
    """Rows of a run from subnormal to ordinary values, columns of b back again: flushed operands and results show."""
    a, b = normal(draw)
    rows = np.linspace(draw.a.emin - draw.a.precision + 3, 0, draw.m).round().astype(int)
    columns = np.linspace(0, draw.b.emin - draw.b.precision + 3, draw.n).round().astype(int)
    return np.ldexp(a, rows[:, None]), np.ldexp(b, columns)


def near_overflow(draw: Draw) -> tuple[Array, Array]:
    """Same-sign rows whose sums run from a quarter of the largest output value to twice it."""
    a = draw.rng.uniform(0.5, 1.0, draw.a_shape)
    b = draw.rng.uniform(0.5, 1.0, draw.b_shape)
    sums = draw.k * 0.5625  # the mean; not the sums themselves, whose last bits depend on the machine's BLAS
    target = np.exp2(np.linspace(-2, 1, draw.m))[:, None] if draw.m > 1 else np.ones((1, 1))
    # The scale is shared between the operands, each within its own range.
    part = draw.out.emax // 2
    a = np.ldexp(a / sums * target, min(draw.out.emax + 1 - part, draw.a.emax))
    return a, np.ldexp(b, min(part, draw.b.emax))


def truncation(draw: Draw) -> tuple[Array, Array]:
    """One leading product and many just below its last bit: the worst case of an accumulator that truncates."""
    part = min((draw.exact_bits + 2) // 2, -draw.a.emin)
    rest = min(draw.exact_bits + 1 - part, -draw.b.emin)
    a = np.ldexp(2 - np.ldexp(1.0, 1 - draw.a_bits), -part) * np.ones(draw.a_shape)
    b = np.ldexp(1.0, -rest) * np.ones(draw.b_shape)
    leading = np.linspace(0, draw.k - 1, draw.m).astype(int)
    a[..., np.arange(draw.m), leading] = 1.0
    # Column 0 of each leading position is full: the leading product is 1 in every column.
    b[..., leading, :] = 1.0
    return a, b * signs(draw, (draw.n,), draw.b)


def order(draw: Draw) -> tuple[Array, Array]:
    """Two pairs of products that cancel, larger than the rest by what the accumulator holds more than the output.

    What is added between the two of a pair loses low bits, so that a result of any format shows the order of summation.
    """
    a, b = normal(draw)
    extra = max(2, draw.exact_bits - draw.out.precision - 3)
    size = np.ldexp(1.0, np.clip(extra - np.linspace(0, 3, draw.m).round().astype(int), 0, draw.a.emax - 2))
    places = draw.rng.permutation(draw.k)[: draw.k // 4 and 4]
    for plus, minus in places.reshape(-1, 2):
        a[..., plus], a[..., minus] = size, -size
        b[..., plus, :] = b[..., minus, :] = 1.0
    return _within(a, b, draw)


def special(draw: Draw) -> tuple[Array, Array]:
    """N(0, 1) with NaN, infinities of both signs, zeros against infinities, and signed zeros in chosen places."""
    # No value is subnormal: where that counts as zero, it makes NaN of an infinity.
    a, b = (np.copysign(np.maximum(np.abs(x), 0.125), x) for x in normal(draw))
    at = draw.rng.permutation(draw.k)
    marks = [np.nan] * draw.a.has_nan + [np.inf, -np.inf] * draw.a.has_inf + [0.0, -0.0]
    for row, mark in enumerate(marks[: max(0, draw.m - 2)]):
        a[..., row, at[row % draw.k]] = mark
    if draw.a.has_inf and draw.m > 7 and draw.k > 1:
        a[..., 6, at[:2]] = np.inf, -np.inf  # inf - inf where b has one sign, inf where it has two
    if draw.a.has_inf and draw.n > 3:
        b[..., at[1 % draw.k], 0] = 0.0  # inf * 0 in the row of +inf
    if draw.b.has_nan and draw.n > 4:
        b[..., at[-1], 1] = np.nan
    if draw.b.has_inf and draw.n > 4:
        b[..., at[-1], 2] = np.inf
    if draw.n > 8 and draw.k > 4:  # the same in the last columns of b
        marks = [np.nan] * draw.b.has_nan + [np.inf, -np.inf] * draw.b.has_inf + [0.0, -0.0]
        for back, mark in enumerate(marks):
            b[..., at[-1 - back % 3], -1 - back] = mark
        if draw.b.has_inf:
            b[..., at[-2:], -6] = [np.inf, -np.inf]
            a[..., -1, at[-3:]] = 0.0  # 0 * inf in the last row
    return a, b


def _within(a: Array, b: Array, draw: Draw) -> tuple[Array, Array]:
    """Scale a by a power of two so that no sum of magnitudes exceeds a quarter of the largest output value."""
    if not a.size or not b.size or is_integer(draw.a):
        return a, b
    largest = float((np.abs(a) @ np.abs(b)).max(initial=0.0))
    limit = draw.out.max / 4
    if largest <= limit:
        return a, b
    shift = int(np.ceil(np.log2(largest / limit)))
    return np.ldexp(a, -(shift - shift // 2)), np.ldexp(b, -(shift // 2))


def _floats(a: Format, b: Format, out: Format) -> bool:
    return not (is_integer(a) or is_integer(b) or is_integer(out))


def _has_special(a: Format, b: Format, out: Format) -> bool:
    return _floats(a, b, out) and (a.has_nan or a.has_inf) and out.has_nan


def _can_overflow(a: Format, b: Format, out: Format) -> bool:
    return _floats(a, b, out) and a.emax + b.emax > out.emax


RECIPES = (
    Recipe("normal", "N(0, 1)", normal, needs=_floats),
    Recipe("uniform", "U(0, 1), one sign: one-sided roundings add up", uniform, needs=_floats),
    Recipe("ordinary", "full-width significands around 1", ordinary, needs=_floats),
    Recipe("outliers", "a few channels 20 to 100 times larger", outliers, needs=_floats),
    Recipe("cancel", "k cancels against itself, from the last bits to not at all", cancel, needs=_floats),
    Recipe("ill_conditioned", "condition numbers up to 2^(2p)", ill_conditioned, needs=_floats),
    Recipe("wide_exponents", "exponents over half of the range", wide_exponents, needs=_floats),
    Recipe("subnormals", "from subnormal to ordinary rows", subnormals, needs=_floats),
    Recipe("near_overflow", "sums around the largest output value", near_overflow, needs=_can_overflow),
    Recipe("truncation", "worst case of a truncating accumulator", truncation, needs=_floats),
    Recipe("order", "two pairs that cancel: the order of summation shows in any format", order, needs=_floats),
    Recipe("special", "NaN, infinities, signed zeros", special, needs=_has_special),
)
