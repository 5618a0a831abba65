"""The recipes of scaled GEMM: sums that are exact in any order, and sums that are rounded on the way."""

from collections.abc import Callable

import numpy as np

from lastbit.references import data_bounded, data_exact
from lastbit.references.dequantize_data import GLOBALS
from lastbit.references.draw import Draw, is_integer
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm_draw import (
    Array,
    Contents,
    ScaledDraw,
    ScaledRecipe,
    Side,
    groups_of,
    normal_codes,
    powers,
    random_pair,
)
from lastbit.references.scaled_gemm_extremes import (
    has_global,
    has_infinite,
    has_special,
    infinite_scales,
    is_far,
    is_wide,
    may_overflow,
    near_overflow,
    opposite,
    special,
    subnormals,
    under,
)


def _from_gemm(
    function: Callable[[Draw], tuple[Array, Array]], *, spread: bool = False, out: bool = False
) -> Callable[[ScaledDraw], Contents]:
    """Codes of a recipe of GEMM times powers of two of each row, with `spread` of each group too."""

    def draw(one: ScaledDraw) -> Contents:
        width = one.spread if spread else 0
        bits = one.exact_bits - width * sum(side.scaling is not None and groups_of(side) > 1 for side in (one.a, one.b))
        a, b = function(one.gemm(exact_bits=max(bits, 4), out=one.out if out else None))
        signs = "each" if spread else "rows"
        return Contents(a, b.T, powers(one, one.a, width), powers(one, one.b, width), signs=signs)

    return draw


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


def full_range(one: ScaledDraw, *, first_end: int = 0) -> Contents:
    """Every integer code, extremes in pairs (255 * 127 twice leaves 16 bits), extreme zero points."""
    made = []
    for side, every in ((one.a, 2), (one.b, 3)):
        low, high = side.format.lowest, side.format.max
        codes = one.rng.integers(int(low), int(high) + 1, side.shape).astype(np.float64)
        codes[::every] = high
        codes[1::every] = low
        codes[2::6] = np.where(np.arange(side.k) % 2, low, high)
        made.append(codes)
    return Contents(made[0], made[1], powers(one, one.a), powers(one, one.b), codes=True, first_end=first_end)


# Recipes whose answer is rounded on the way ------------------------------------------------------------------------


def normal(one: ScaledDraw) -> Contents:
    """N(0, 1) with random scales."""
    return Contents(normal_codes(one, one.a), normal_codes(one, one.b), *random_pair(one))


def uniform(one: ScaledDraw) -> Contents:
    """One sign: one-sided roundings add up over k."""
    return Contents(np.abs(normal_codes(one, one.a)), np.abs(normal_codes(one, one.b)), *random_pair(one), signs="none")


def sharp(one: ScaledDraw) -> Contents:
    """One group of k in three has scales 32 times larger: the small ones are rounded against it."""
    scales = list(random_pair(one))
    for index, side in enumerate((one.a, one.b)):
        chosen, fmt = scales[index], side.scale_format
        if chosen is not None and fmt is not None and chosen.ndim:
            larger = np.where(np.arange(chosen.shape[-1]) % 3 == 1, 32.0, 1.0) * chosen
            scales[index] = fmt.round(larger, overflow="saturate")
    return Contents(normal_codes(one, one.a), normal_codes(one, one.b), scales[0], scales[1])


def cancel(one: ScaledDraw) -> Contents:
    """The second half of k repeats the first with the sign changed, but for more and more numbers from row to row."""
    a, b = normal_codes(one, one.a), normal_codes(one, one.b)
    half = one.a.k // 2
    kept = one.rng.random((one.a.rows, half)) < np.linspace(0.98, 0.0, one.a.rows)[:, None]
    a[:, half : 2 * half] = np.where(kept, -a[:, :half], a[:, half : 2 * half])
    b[:, half : 2 * half] = b[:, :half]
    return Contents(a, b, *random_pair(one, along_k=False))


def truncation(one: ScaledDraw) -> Contents:
    """One leading product and many just below its last bit: the worst case of an accumulator that truncates."""
    a, b = data_bounded.truncation(one.gemm())
    return Contents(a, b.T, *random_pair(one, along_k=False))


def _floats(a: Side, b: Side, out: Format) -> bool:
    return not is_integer(a.format) and not is_integer(b.format)


def _integers(a: Side, b: Side, out: Format) -> bool:
    return is_integer(a.format) and is_integer(b.format)


def _ties(a: Side, b: Side, out: Format) -> bool:
    return _floats(a, b, out) and min(a.format.precision, b.format.precision) > 2 and out.precision <= 11


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
        ScaledRecipe(
            "full_range_turned",
            "the same, zero points at the other ends first",
            lambda one: full_range(one, first_end=1),
            exact=True,
            needs=_integers,
        ),
        ScaledRecipe(
            "opposite_scales",
            "scales of a from 2^-126 to 2^127, of b the reciprocals",
            opposite,
            exact=True,
            needs=is_far,
        ),
        ScaledRecipe("normal", "N(0, 1), random scales", normal),
        ScaledRecipe("uniform", "one sign", uniform),
        ScaledRecipe("sharp", "one group in three 32 times larger", sharp),
        ScaledRecipe("cancel", "k cancels against itself", cancel),
        ScaledRecipe("subnormals", "tiny codes and scales", subnormals, needs=is_wide),
        ScaledRecipe("near_overflow", "sums around the largest output value", near_overflow, needs=may_overflow),
        ScaledRecipe("truncation", "worst case of a truncating accumulator", truncation, needs=_floats),
        ScaledRecipe("special", "NaN, infinities, zeros, in codes and scales", special, needs=has_special),
        ScaledRecipe("infinite_scales", "infinite scales of either sign", infinite_scales, needs=has_infinite),
        *(
            ScaledRecipe(name, f"N(0, 1), the scale of the tensors {value:g}", under(value), needs=has_global)
            for name, value in GLOBALS.items()
        ),
    )
}
