"""The recipes of quantizer data: ordinary, placed, at boundaries of scales, of all bit patterns; and every other."""

import numpy as np

from lastbit.references import quantize_extremes as extremes
from lastbit.references import quantize_points as points
from lastbit.references.formats import Format
from lastbit.references.quantize_disputed import disputed, is_disputed
from lastbit.references.quantize_draw import APART, Array, QuantizeDraw, QuantizeRecipe, levels, rows, stepped
from lastbit.references.quantize_draw import normal as plain
from lastbit.references.scaling import POWERS, Scaling


def normal(draw: QuantizeDraw) -> Array:
    """N(0, 1) times a power of two for each group."""
    return plain(draw) * np.ldexp(1.0, draw.rng.integers(-3, 4, draw.count))[draw.group]


def heavy(draw: QuantizeDraw) -> Array:
    """Student's t with 3 degrees of freedom, and one channel 40 times as large: amaxes far above the rest."""
    x = draw.rng.standard_t(3, draw.shape)
    x[..., draw.rng.integers(0, draw.shape[-1])] *= 40
    return _within(draw, x)


def placed(draw: QuantizeDraw) -> Array:
    """Groups of very different powers of two, no neighbours alike: a swapped axis, offset or layout shows.

    Where one scale holds for all, it is rows that differ.
    """
    power = draw.powers_apart()[draw.group] if draw.count > 1 else np.array(APART)[5 * rows(draw) % len(APART)]
    x = draw.rng.uniform(0.5, 1.0, draw.shape) * draw.signs(draw.shape)
    return _within(draw, np.ldexp(x, power))


def amaxes(draw: QuantizeDraw) -> Array:
    """The largest magnitude at the first, the last and any place of a group, every other one negative."""
    x = draw.rng.uniform(-1.0, 1.0, draw.shape)
    place = draw.places()
    size = np.ldexp(draw.rng.uniform(1.0, 2.0, draw.count), draw.rng.integers(1, 8, draw.count))
    x.reshape(-1)[place] = np.where(np.arange(draw.count) % 4 < 2, -size, size)
    return _within(draw, x)


def late(draw: QuantizeDraw) -> Array:
    """Numbers that grow from row to row, the largest of all the very last one."""
    number = rows(draw)
    x: Array = draw.rng.uniform(-1.0, 1.0, draw.shape) * (number + 1) / (number.max(initial=0) + 1)
    x.reshape(-1)[-1] = -1.5
    return x


def one_sided(draw: QuantizeDraw) -> Array:
    """Positive groups, negative ones, and some of both far from evenly: zero points at both ends and between."""
    x = np.abs(plain(draw)) + draw.turn((0.0, 4.0, 0.5, 0.0, 8.0))
    return _within(draw, np.where(draw.rng.random(draw.shape) < draw.turn((0.0, 0.0, 0.1, 1.0, 1.0, 0.9)), -x, x))


def boundaries(draw: QuantizeDraw) -> Array:
    """Amaxes at and beside the numbers where a rule for the scale, or its rounding, changes its answer."""
    scaling, largest = draw.scaling, abs(draw.scaling.largest)
    part, bits = largest / 2.0 ** np.floor(np.log2(largest)), Format.of(scaling.element).precision
    corners = [1.0, 1.25, 1.5, 1.75, 1.9375, part, 2 - 2.0**-bits, 2 - 2.0 ** -(bits + 1), 2 - 2.0 ** -(bits + 2)]
    if scaling.rule not in POWERS:
        stored = Format.of(scaling.scale_format or "f32")
        if stored.bits <= 16:
            middles = 1 + (2 * draw.rng.integers(0, 2 ** (stored.precision - 1), 8) + 1) * 2.0**-stored.precision
            corners = [*(middles * part).tolist(), part]
    # Each corner and both sides of it in turn; exponents of two digits, for a logarithm is exact near 0.
    turn = np.arange(draw.count) + int(draw.rng.integers(0, 3 * len(corners)))
    reach = min(24, draw.x.emax // 2, Format.of(scaling.scale_format or "f32").emax // 2)
    size = np.ldexp(np.take(corners, turn // 3 % len(corners)), draw.rng.integers(-reach, reach + 1, draw.count))
    size = stepped(draw.x, draw.x.round(size), (turn % 3 - 1).astype(np.float64))
    x = draw.rng.uniform(-1.0, 1.0, draw.shape) * size[draw.group]
    x.reshape(-1)[draw.places()] = size * draw.signs((draw.count,))
    if scaling.global_scale is not None:
        x.reshape(-1)[draw.places()[0]] = scaling.global_largest * 2.0**-5  # above all others; the global scale is 2^-5
    return _within(draw, x)


def patterns(draw: QuantizeDraw) -> Array:
    """Finite numbers of x in the order of their bit patterns, every one of them if there is room for 2^16."""
    return _every(draw, draw.x.max, 0.0)


def window(draw: QuantizeDraw) -> Array:
    """Numbers of x between the elements and a quarter of the smallest one, under the scale 1; of integers evenly."""
    scaling = draw.scaling
    largest = abs(scaling.largest) if scaling.rule != "affine_min_max" else scaling.largest / 2
    least = min(level for level in levels(scaling) if level > 0) / scaling.steps / 4
    if Format.of(scaling.element).kind == "float":
        x = _every(draw, largest, least)
    else:
        x = np.linspace(-largest, largest, int(np.prod(draw.shape))).reshape(draw.shape)
    x.reshape(-1)[draw.places()] = min(largest, draw.x.max) * draw.signs((draw.count,))
    return x


def ascending(draw: QuantizeDraw) -> Array:
    """Numbers that ascend along the last axis, from far below zero to far above."""
    return np.sort(plain(draw) * 3, axis=-1)


def _every(draw: QuantizeDraw, largest: float, least: float) -> Array:
    """Numbers of x up to `largest` in order, spread evenly over the bit patterns; of f32 with random low bits.

    Those below `least` are left out.
    """
    size = int(np.prod(draw.shape))
    ends = np.array([least, min(largest, draw.x.max)])
    low, top = (int(key) for key in draw.x.keys(draw.x.encode(ends)))
    keys = np.linspace(low - top, top - low, size)
    keys = (np.rint(keys) + np.copysign(low, keys)).astype(np.int64)
    if draw.x.bits > 16:
        keys = np.clip(keys + draw.rng.integers(-(2**20), 2**20, size), -top, top)
    magnitude = draw.x.decode(np.abs(keys).astype(draw.x.code_dtype))
    return np.copysign(magnitude, keys).reshape(draw.shape)


def _within(draw: QuantizeDraw, x: Array) -> Array:
    return np.clip(x, -draw.x.max, draw.x.max)


def _is_given(x: Format, scaling: Scaling) -> bool:
    return scaling.rule == "given"


def _is_stochastic(x: Format, scaling: Scaling) -> bool:
    return scaling.rounding == "stochastic"


#: Every recipe by name.
RECIPES: dict[str, QuantizeRecipe] = {
    recipe.name: recipe
    for recipe in (
        QuantizeRecipe("normal", "N(0, 1), a power of two a group", normal),
        QuantizeRecipe("heavy", "Student's t, one channel 40 times as large", heavy),
        QuantizeRecipe("placed", "groups of different powers of two", placed),
        QuantizeRecipe("amaxes", "the largest first, last, anywhere, negative", amaxes),
        QuantizeRecipe("late", "growing rows, the largest number last", late),
        QuantizeRecipe("one_sided", "positive and negative groups", one_sided),
        QuantizeRecipe("boundaries", "amaxes where a rule changes its answer", boundaries),
        QuantizeRecipe("halves", "ties and their neighbours, scales powers of two", points.halves),
        QuantizeRecipe("near_halves", "ties and their neighbours, any scale", points.near_halves, powers=False),
        QuantizeRecipe("disputed", "numbers that the arithmetics give different codes", disputed, is_disputed),
        QuantizeRecipe("every_level", "every element's number and its neighbours", points.every_level),
        QuantizeRecipe("tiny_quotients", "around the smallest elements", points.tiny_quotients),
        QuantizeRecipe("beyond", "past the largest element", points.beyond, _is_given),
        QuantizeRecipe("given_scales", "given scales of every exponent", points.given_scales, _is_given, wide=True),
        QuantizeRecipe("blocks", "constant, zero, tiny, huge groups", extremes.blocks),
        QuantizeRecipe("zero", "zeros of both signs", extremes.zero),
        QuantizeRecipe("constant", "one number", extremes.constant),
        QuantizeRecipe("tiny", "scales of a few smallest numbers, subnormal numbers", extremes.tiny),
        QuantizeRecipe("huge", "the largest numbers", extremes.huge),
        QuantizeRecipe("special", "NaN and infinities", extremes.special),
        QuantizeRecipe("not_a_number", "one NaN in each other group", extremes.not_a_number),
        QuantizeRecipe("patterns", "all bit patterns in order", patterns),
        QuantizeRecipe("window", "all bit patterns in the element's range", window),
        QuantizeRecipe("shares", "shares of the way between elements", points.shares, _is_stochastic),
        QuantizeRecipe("ascending", "ascending rows", ascending),
    )
}
