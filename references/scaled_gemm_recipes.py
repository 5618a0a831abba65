"""The recipes of scaled GEMM: sums that are exact in any order, and sums that are rounded on the way."""

from collections.abc import Callable

import numpy as np

from lastbit.references import data_bounded, data_exact
from lastbit.references.draw import Draw, is_integer
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm_draw import Array, Contents, ScaledDraw, ScaledRecipe, Side, powers, random_scales


def _from_gemm(
    function: Callable[[Draw], tuple[Array, Array]], *, spread: bool = False, out: bool = False
) -> Callable[[ScaledDraw], Contents]:
    """Codes of a recipe of GEMM times powers of two of each row, with `spread` of each group too."""

    def draw(one: ScaledDraw) -> Contents:
        width = one.spread if spread else 0
        bits = one.exact_bits - width * sum(side.scaling is not None and _groups(side) > 1 for side in (one.a, one.b))
        a, b = function(one.gemm(exact_bits=max(bits, 4), out=one.out if out else None))
        return Contents(a, b.T, powers(one, one.a, width), powers(one, one.b, width))

    return draw


def _groups(side: Side) -> int:
    shape = () if side.scaling is None else side.scaling.scale_shape(side.shape)
    return shape[1] if shape else 1


def wide(one: ScaledDraw) -> Contents:
    """Full-width integers as large as the sum may be: an accumulator of fewer bits than promised loses some."""
    bits = (one.exact_bits - int(np.ceil(np.log2(max(one.a.k, 2))))) // 2
    made = []
    for side in (one.a, one.b):
        digits = min(side.format.precision, one.precision, bits)
        room = max(0, min(bits - digits, side.format.emax - digits))
        drawn = one.rng.integers(2 ** (digits - 1), 2**digits, side.shape).astype(np.float64)
        drawn = np.ldexp(drawn, one.rng.integers(room // 2, room + 1, side.shape))
        made.append(drawn * one.rng.choice(np.array([1.0, 1.0, 1.0, -1.0]), side.shape))
    return Contents(made[0], made[1], powers(one, one.a), powers(one, one.b))


def one_hot(one: ScaledDraw, *, hot: str) -> Contents:
    """Each row of one operand has a single 1: the answer is the other operand's numbers, every code in turn."""
    scale_a, scale_b = powers(one, one.a, 4), powers(one, one.b, 4)
    hot_side, full = (one.a, one.b) if hot == "a" else (one.b, one.a)
    single = np.zeros(hot_side.shape)
    rows = np.arange(hot_side.rows)
    single[rows, (one.a.k - 1 - rows * max(1, (one.a.k - 1) // max(1, hot_side.rows - 1))) % one.a.k] = 1.0
    numbers = _every_value(full, one.precision)
    start = one.rng.integers(0, numbers.size)
    other = numbers[(np.arange(full.rows * full.k) + start) % numbers.size].reshape(full.shape)
    a, b = (single, other) if hot == "a" else (other, single)
    return Contents(a, b, scale_a, scale_b)


def _every_value(side: Side, precision: int) -> Array:
    """Every finite number of a format of 8 bits or fewer, with at most `precision` significand bits; else a sample."""
    fmt = side.drawn_as
    if fmt.bits > 8:
        sample: Array = np.ldexp(np.arange(128, 256) / 128.0, np.arange(128) % 7 - 3)
        return sample
    values = fmt.decode(np.arange(1 << fmt.bits, dtype=fmt.code_dtype))
    values = values[np.isfinite(values)]
    kept: Array = values[(np.frexp(values)[0] * 2.0 ** min(precision, 50) % 1) == 0]
    return kept


def full_range(one: ScaledDraw) -> Contents:
    """Every integer code, extremes in pairs (255 * 127 twice leaves 16 bits), extreme zero points."""
    made = []
    for side, every in ((one.a, 2), (one.b, 3)):
        low, high = side.format.lowest, side.format.max
        codes = one.rng.integers(int(low), int(high) + 1, side.shape).astype(np.float64)
        codes[::every] = high
        codes[1::every] = low
        codes[2::6] = np.where(np.arange(side.k) % 2, low, high)
        made.append(codes)
    return Contents(made[0], made[1], powers(one, one.a), powers(one, one.b), codes=True)


# Recipes whose answer is rounded on the way ------------------------------------------------------------------------


def _random(one: ScaledDraw, *, along_k: bool = True) -> tuple[Array | None, Array | None]:
    return random_scales(one, one.a, along_k=along_k), random_scales(one, one.b, along_k=along_k)


def _normal(one: ScaledDraw, side: Side) -> Array:
    """N(0, 1) times a third of the largest code, or N(0, 1) of a plain operand.

    Two rows have one sign: there the sum is as large as its weight, so that no budget is vacuous.
    """
    size = 1.0 if side.scale_format is None else side.reach / 3
    drawn: Array = one.rng.standard_normal(side.shape) * size
    for row in {side.rows // 2, side.rows - 1}:
        drawn[row] = np.abs(drawn[row])
    if not side.drawn_as.signed:
        drawn = np.abs(drawn)
    return np.rint(drawn) if is_integer(side.format) else drawn


def normal(one: ScaledDraw) -> Contents:
    """N(0, 1) with random scales."""
    return Contents(_normal(one, one.a), _normal(one, one.b), *_random(one))


def uniform(one: ScaledDraw) -> Contents:
    """One sign: one-sided roundings add up over k."""
    return Contents(np.abs(_normal(one, one.a)), np.abs(_normal(one, one.b)), *_random(one))


def sharp(one: ScaledDraw) -> Contents:
    """One group of k in three has scales 32 times larger: the small ones are rounded against it."""
    scales = list(_random(one))
    for index, side in enumerate((one.a, one.b)):
        chosen, fmt = scales[index], side.scale_format
        if chosen is not None and fmt is not None and chosen.ndim:
            larger = np.where(np.arange(chosen.shape[-1]) % 3 == 1, 32.0, 1.0) * chosen
            scales[index] = fmt.round(larger, overflow="saturate")
    return Contents(_normal(one, one.a), _normal(one, one.b), scales[0], scales[1])


def cancel(one: ScaledDraw) -> Contents:
    """The second half of k repeats the first with the sign changed, but for more and more numbers from row to row."""
    a, b = _normal(one, one.a), _normal(one, one.b)
    half = one.a.k // 2
    kept = one.rng.random((one.a.rows, half)) < np.linspace(0.98, 0.0, one.a.rows)[:, None]
    a[:, half : 2 * half] = np.where(kept, -a[:, :half], a[:, half : 2 * half])
    b[:, half : 2 * half] = b[:, :half]
    return Contents(a, b, *_random(one, along_k=False))


def subnormals(one: ScaledDraw) -> Contents:
    """Codes and scales from the smallest to ordinary ones, row by row."""
    a, b = _normal(one, one.a), _normal(one, one.b)
    sides = []
    for side, x in ((one.a, a), (one.b, b)):
        fmt = side.format
        if not is_integer(fmt):
            steps = np.linspace(min(fmt.emin - fmt.precision + 3, 0), 0, side.rows).round().astype(int)
            x = np.ldexp(np.clip(x, -4, 4), steps[:, None])
        sides.append(x)
    scale_a, scale_b = _random(one)
    if scale_a is None:
        return Contents(sides[0], sides[1], None, _shrinking(scale_b, one.b, one.out))
    return Contents(sides[0], sides[1], _shrinking(scale_a, one.a, one.out), scale_b)


def _shrinking(scales: Array | None, side: Side, out: Format) -> Array | None:
    """Scales from the smallest of their format to ordinary ones, row by row."""
    fmt = side.scale_format
    if scales is None or fmt is None:
        return None
    low = max(fmt.emin - fmt.precision + 6, out.emin - out.precision) if scales.ndim else -8
    rows = np.linspace(low, 0, len(scales) if scales.ndim else 1).round().astype(int)
    tiny = np.ldexp(scales, rows.reshape((-1, 1) if scales.ndim else ()))
    rounded: Array = fmt.round(tiny, overflow="saturate")
    return np.maximum(rounded, fmt.eta if fmt.kind == "float" else fmt.min_normal)


def near_overflow(one: ScaledDraw) -> Contents:
    """One sign, with sums from an eighth of the output's largest number to four times it, where rows have scales."""
    a, b = np.abs(_normal(one, one.a)) + 1, np.abs(_normal(one, one.b)) + 1
    scales = list(_random(one, along_k=False))
    index = 0 if scales[0] is not None else 1
    side, chosen = (one.a, one.b)[index], scales[index]
    other = scales[1 - index]
    fmt = side.scale_format
    if chosen is not None and fmt is not None:
        size = one.a.k * float(np.median(a)) * float(np.median(b)) * (1.0 if other is None else float(np.median(other)))
        steps = np.exp2(np.linspace(-3, 2, chosen.shape[0])) if chosen.ndim else np.ones(())
        rows = one.out.max / size * steps
        scales[index] = fmt.round(
            np.broadcast_to((rows[:, None] if chosen.ndim else rows), chosen.shape), overflow="saturate"
        )
    return Contents(a, b, scales[0], scales[1])


def truncation(one: ScaledDraw) -> Contents:
    """One leading product and many just below its last bit: the worst case of an accumulator that truncates."""
    a, b = data_bounded.truncation(one.gemm())
    return Contents(a, b.T, *_random(one, along_k=False))


def special(one: ScaledDraw) -> Contents:
    """NaN and infinite codes, scales of NaN and of zero, signed zeros."""
    sides = []
    for side in (one.a, one.b):
        x = _normal(one, side)
        fmt = side.format
        if not is_integer(fmt):
            x = np.copysign(np.maximum(np.abs(x), 0.5), x)
            marks = [np.nan] * fmt.has_nan + [np.inf, -np.inf] * fmt.has_inf + [-0.0]
            for row, mark in enumerate(marks[: max(0, side.rows - 3)]):
                x[row, (row * 7) % side.k] = mark
        sides.append(x)
    scales = list(_random(one))
    for index, side in enumerate((one.a, one.b)):
        chosen, of_scale = scales[index], side.scale_format
        if chosen is None or of_scale is None or not chosen.ndim or chosen.shape[0] < 4:
            continue
        chosen = chosen.copy()
        if of_scale.has_nan:
            chosen[-1, -1] = np.nan
        if of_scale.kind == "float":
            chosen[-2, 0] = 0.0
        scales[index] = chosen
    return Contents(sides[0], sides[1], scales[0], scales[1])


def _floats(a: Side, b: Side, out: Format) -> bool:
    return not is_integer(a.format) and not is_integer(b.format)


def _integers(a: Side, b: Side, out: Format) -> bool:
    return is_integer(a.format) and is_integer(b.format)


def _ties(a: Side, b: Side, out: Format) -> bool:
    return _floats(a, b, out) and min(a.format.precision, b.format.precision) > 2 and out.precision <= 11


def _special(a: Side, b: Side, out: Format) -> bool:
    formats = [side.format for side in (a, b)] + [side.scale_format for side in (a, b) if side.scale_format]
    return out.has_nan and any(fmt is not None and (fmt.has_nan or fmt.has_inf) for fmt in formats)


def _overflows(a: Side, b: Side, out: Format) -> bool:
    formats = [side.scale_format for side in (a, b) if side.scale_format is not None]
    return out.emax < 32 and max((fmt.emax for fmt in formats), default=0) > 32


def _wide(a: Side, b: Side, out: Format) -> bool:
    return out.emax > 64


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ScaledRecipe("integers", "integers: any order, one answer", _from_gemm(data_exact.integers), exact=True),
        ScaledRecipe(
            "scales",
            "a power of two of each scale: index mix-ups show",
            _from_gemm(data_exact.integers, spread=True),
            exact=True,
        ),
        ScaledRecipe("wide", "full-width integers up to the accumulator's last bit", wide, exact=True, needs=_floats),
        ScaledRecipe("k_blocks", "a power of two of each k", _from_gemm(data_exact.k_blocks), exact=True),
        ScaledRecipe("cancel_halves", "halves of k cancel", _from_gemm(data_exact.cancel_halves), exact=True),
        ScaledRecipe("one_hot_a", "every code of b comes through", lambda one: one_hot(one, hot="a"), exact=True),
        ScaledRecipe("one_hot_b", "every code of a comes through", lambda one: one_hot(one, hot="b"), exact=True),
        ScaledRecipe(
            "ties", "midpoints of the output format", _from_gemm(data_exact.ties, out=True), exact=True, needs=_ties
        ),
        ScaledRecipe("full_range", "every integer, extremes in pairs", full_range, exact=True, needs=_integers),
        ScaledRecipe("normal", "N(0, 1), random scales", normal),
        ScaledRecipe("uniform", "one sign", uniform),
        ScaledRecipe("sharp", "one group in three 32 times larger", sharp),
        ScaledRecipe("cancel", "k cancels against itself", cancel),
        ScaledRecipe("subnormals", "tiny codes and scales", subnormals, needs=_wide),
        ScaledRecipe("near_overflow", "sums around the largest output value", near_overflow, needs=_overflows),
        ScaledRecipe("truncation", "worst case of a truncating accumulator", truncation, needs=_floats),
        ScaledRecipe("special", "NaN, infinities, zeros, in codes and scales", special, needs=_special),
    )
}
