"""The recipes of quantizer data: ties, codes, scale boundaries, amaxes in every place, odd blocks, all bit patterns."""

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.quantize_disputed import disputed, is_disputed
from lastbit.references.quantize_draw import (
    APART,
    Array,
    QuantizeDraw,
    QuantizeRecipe,
    fill,
    grid,
    levels,
    stepped,
    ties,
)
from lastbit.references.scaling import POWERS, Scaling

#: Every how many groups one keeps ordinary numbers, among those with a NaN or another special value.
ORDINARY = 3
#: Shares of the way from one element to the next at which stochastic rounding is tried.
SHARES = (0.25, 0.5, 0.0625, 0.75, 0.9375)


def normal(draw: QuantizeDraw) -> Array:
    """N(0, 1) times a power of two for each group."""
    return _normal(draw) * np.ldexp(1.0, draw.rng.integers(-3, 4, draw.count))[draw.group]


def heavy(draw: QuantizeDraw) -> Array:
    """Student's t with 3 degrees of freedom, and one channel 40 times as large: amaxes far above the rest."""
    x = draw.rng.standard_t(3, draw.shape)
    x[..., draw.rng.integers(0, draw.shape[-1])] *= 40
    return _within(draw, x)


def placed(draw: QuantizeDraw) -> Array:
    """Groups of very different powers of two, no neighbours alike: a swapped axis, offset or layout shows.

    Where one scale holds for all, it is rows that differ.
    """
    power = draw.powers_apart()[draw.group] if draw.count > 1 else np.array(APART)[5 * _rows(draw) % len(APART)]
    x = draw.rng.uniform(0.5, 1.0, draw.shape) * draw.signs(draw.shape)
    return _within(draw, np.ldexp(x, power))


def amaxes(draw: QuantizeDraw) -> Array:
    """The largest magnitude at the first, the last and any place of a group, every other one negative."""
    x = draw.rng.uniform(-1.0, 1.0, draw.shape)
    place = draw.places()
    size = np.ldexp(draw.rng.uniform(1.0, 2.0, draw.count), draw.rng.integers(1, 8, draw.count))
    x.reshape(-1)[place] = np.where(np.arange(draw.count) % 4 < 2, -size, size)
    return _within(draw, x)


def one_sided(draw: QuantizeDraw) -> Array:
    """Positive groups, negative ones, and some of both far from evenly: zero points at both ends and between."""
    x = np.abs(_normal(draw)) + draw.turn((0.0, 4.0, 0.5, 0.0, 8.0))
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


def halves(draw: QuantizeDraw) -> Array:
    """Ties under scales that are powers of two where the rule can give them, and one step of x to either side."""
    return _points(draw, _ties(draw.scaling))


def near_halves(draw: QuantizeDraw) -> Array:
    """The same under scales of many digits: a division, a product with the reciprocal and a short cut differ."""
    return _points(draw, _ties(draw.scaling))


def every_level(draw: QuantizeDraw) -> Array:
    """Every element's number times the scale, and one step of x to either side: all codes, all binade boundaries."""
    return _points(draw, levels(draw.scaling))


def tiny_quotients(draw: QuantizeDraw) -> Array:
    """Quotients around the smallest elements and far below them, zeros of both signs."""
    small = min(level for level in levels(draw.scaling) if level > 0)
    sizes = np.array([0.0, small, small / 2, small * 0.75, small / 4, small * 2.0**-12, small * 1.5])
    return _points(draw, np.concatenate([sizes, -sizes]))


def beyond(draw: QuantizeDraw) -> Array:
    """Quotients past the largest element: at the overflow threshold, beside it, and up to 2^20 times the range."""
    element = Format.of(draw.scaling.element)
    high, low = draw.scaling.high, draw.scaling.low
    step = float(element.ulp(np.array([high]))[0]) if element.kind != "table" else high / 8
    points = np.array([high, high + step / 2, high + step, 1.5 * high, 2 * high, 4 * high, 300 * high, 2.0**20 * high])
    lower = -points if low < 0 else low - points / 4
    return _points(draw, np.concatenate([points, lower, [low, low - step / 2, low - step]]))


def blocks(draw: QuantizeDraw) -> Array:
    """Groups in turn constant, zero, of zeros of both signs, tiny, huge, and with one number that is not zero.

    Of one group, all the same number but one row.
    """
    if draw.count == 1:
        return np.where(_rows(draw) == 0, 0.25, 3.0)
    x = _normal(draw)
    kind = draw.group % 8
    tiny = draw.x.eta * draw.rng.integers(-20, 21, draw.shape)
    alone = np.zeros(draw.shape)
    alone.reshape(-1)[draw.places()] = -1.7
    choices = (x, np.full(draw.shape, -2.6), np.zeros(draw.shape), _zeros(draw), tiny, _huge(draw), alone)
    return np.asarray(np.select([kind == number for number in range(1, 8)], choices, x))


def zero(draw: QuantizeDraw) -> Array:
    """Nothing but zeros, of both signs."""
    return _zeros(draw)


def constant(draw: QuantizeDraw) -> Array:
    """One number everywhere."""
    return np.full(draw.shape, float(draw.rng.choice([-1.0, 1.0]) * draw.rng.uniform(1.0, 2.0)))


def tiny(draw: QuantizeDraw) -> Array:
    """Subnormal numbers of x, and the smallest normal ones."""
    return draw.x.eta * np.rint(draw.rng.uniform(-1, 1, draw.shape) * 2.0 ** (draw.x.precision - 1))


def huge(draw: QuantizeDraw) -> Array:
    """The largest numbers of x, of both signs."""
    return _huge(draw)


def special(draw: QuantizeDraw) -> Array:
    """NaN, +inf, -inf, alone and together, first, last and inside, in two of three groups; ordinary groups between."""
    x = _normal(draw)
    marks = ((np.nan,), (np.inf,), (-np.inf,), (np.nan, np.inf), (np.inf, -np.inf))
    first, last = draw.ends
    place = draw.places()
    for group in range(draw.count):
        if group % ORDINARY == ORDINARY - 1 and draw.count > 1:
            continue
        for where, mark in zip((place, first, last)[group % 2 :], marks[group % len(marks)], strict=False):
            x.reshape(-1)[where[group]] = mark
    return x


def not_a_number(draw: QuantizeDraw) -> Array:
    """One NaN in each other group, the last number of it; no infinity."""
    x = _normal(draw)
    x.reshape(-1)[draw.ends[1][:: 2 if draw.count > 1 else 1]] = np.nan
    return x


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


def shares(draw: QuantizeDraw) -> Array:
    """One share of the way between two elements in each row, of either sign, under a scale that is a power of two."""
    found = levels(draw.scaling)
    upper = found[(found > 0)]
    lower = np.concatenate([[0.0], upper[:-1]])
    rows = _rows(draw)
    share = np.array(SHARES)[rows % len(SHARES)]
    number = (rows * 7) % upper.size
    at = grid(draw)
    x = (lower[number] + share * (upper - lower)[number]) * np.where(rows % 2, -1.0, 1.0) * at.step
    return np.where(at.fixed, at.x, x)


def ascending(draw: QuantizeDraw) -> Array:
    """Numbers that ascend along the last axis, from far below zero to far above."""
    return np.sort(_normal(draw) * 3, axis=-1)


def _ties(scaling: Scaling) -> Array:
    """The ties, those beside zero more often: one half added to 0.49999997 is 1."""
    found = ties(scaling)
    smallest = found[np.argsort(np.abs(found), kind="stable")[:2]]
    return np.concatenate([found, np.repeat(smallest, max(1, found.size // 16))])


def _points(draw: QuantizeDraw, points: Array) -> Array:
    """x around quotients of `points`, each at it and one step of x to either side."""
    at = grid(draw)
    x = fill(draw, at, points)
    near = draw.x.round(stepped(draw.x, x, draw.rng.integers(-1, 2, draw.shape).astype(float)), overflow="saturate")
    return np.where(at.fixed | (near < at.low) | (near > at.high), x, near)


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


def _normal(draw: QuantizeDraw) -> Array:
    return draw.rng.standard_normal(draw.shape)


def _within(draw: QuantizeDraw, x: Array) -> Array:
    return np.clip(x, -draw.x.max, draw.x.max)


def _rows(draw: QuantizeDraw) -> NDArray[np.int64]:
    """The number of each element's row."""
    rows = np.arange(int(np.prod(draw.shape[:-1]))).reshape(*draw.shape[:-1], 1)
    return np.asarray(np.broadcast_to(rows, draw.shape))


def _zeros(draw: QuantizeDraw) -> Array:
    return np.copysign(0.0, draw.signs(draw.shape))


def _huge(draw: QuantizeDraw) -> Array:
    return draw.x.max * draw.rng.uniform(0.75, 1.0, draw.shape) * draw.signs(draw.shape)


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
        QuantizeRecipe("one_sided", "positive and negative groups", one_sided),
        QuantizeRecipe("boundaries", "amaxes where a rule changes its answer", boundaries),
        QuantizeRecipe("halves", "ties and their neighbours, scales powers of two", halves),
        QuantizeRecipe("near_halves", "ties and their neighbours, any scale", near_halves, powers=False),
        QuantizeRecipe("disputed", "numbers that the arithmetics give different codes", disputed, is_disputed),
        QuantizeRecipe("every_level", "every element's number and its neighbours", every_level),
        QuantizeRecipe("tiny_quotients", "around the smallest elements", tiny_quotients),
        QuantizeRecipe("beyond", "past the largest element", beyond, _is_given),
        QuantizeRecipe("blocks", "constant, zero, tiny, huge groups", blocks),
        QuantizeRecipe("zero", "zeros of both signs", zero),
        QuantizeRecipe("constant", "one number", constant),
        QuantizeRecipe("tiny", "subnormal numbers", tiny),
        QuantizeRecipe("huge", "the largest numbers", huge),
        QuantizeRecipe("special", "NaN and infinities", special),
        QuantizeRecipe("not_a_number", "one NaN in each other group", not_a_number),
        QuantizeRecipe("patterns", "all bit patterns in order", patterns),
        QuantizeRecipe("window", "all bit patterns in the element's range", window),
        QuantizeRecipe("shares", "shares of the way between elements", shares, _is_stochastic),
        QuantizeRecipe("ascending", "ascending rows", ascending),
    )
}
