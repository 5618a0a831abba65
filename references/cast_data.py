"""Test data of casts by name: every code, every place where rounding to the target decides, and numbers between."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.data import Operand
from lastbit.references.formats import Format

Floats = NDArray[np.float64]
Codes = NDArray[Any]

#: Formats of at most so many bits are listed whole.
LISTED_BITS = 8
COUNTED_BITS = 16
#: Random significands of each binade of a wider format.
PER_BINADE = 3
#: Numbers drawn where a recipe that has no size of its own cannot list them.
DRAWN = 4096
#: Steps between two neighbours of the target at which stochastic rounding is looked at.
STEPS = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to make operands of a cast: codes of the source, chosen for the target."""

    name: str
    why: str
    #: Codes of the source, from (source, target, generator, how many or None for all that it has).
    codes: Callable[[Format, Format, np.random.Generator, int | None], Codes]
    #: Whether the formats have what it needs.
    needs: Callable[[Format, Format], bool] = lambda source, target: True


def operand(recipe: str, formats: Mapping[str, str], shape: tuple[int, ...] | None, seed: int) -> Operand:
    """The operand "x" of `shape`, or one-dimensional with all numbers that the recipe has where `shape` is None.

    The same arguments give the same bits on every machine. Recipes that list numbers repeat them to fill a shape.
    Raises KeyError for a recipe that RECIPES does not list.
    """
    source, target = Format.of(formats["x"]), Format.of(formats["out"])
    rng = np.random.default_rng([seed, zlib.crc32(f"{recipe} {source.name} {target.name} {shape}".encode())])
    count = None if shape is None else int(np.prod(shape))
    codes = RECIPES[recipe].codes(source, target, rng, count)
    if shape is not None:
        codes = np.resize(codes, shape)
    codes = np.ascontiguousarray(codes, source.code_dtype)
    return Operand(source.name, codes, source.decode(codes))


def applicable(recipe: str, formats: Mapping[str, str]) -> bool:
    """Whether the formats have what the recipe needs."""
    return RECIPES[recipe].needs(Format.of(formats["x"]), Format.of(formats["out"]))


def every_code(fmt: Format, start: int = 0, count: int | None = None) -> Codes:
    """The `count` codes from `start` on, in order: all, if None; tf32 codes are spread in their 32 bits."""
    stop = (1 << fmt.bits) if count is None else min(start + count, 1 << fmt.bits)
    codes = np.arange(start, stop, dtype=np.uint64)
    return (codes << np.uint64(13 if fmt.name == "tf32" else 0)).astype(fmt.code_dtype)


def decisive(fmt: Format) -> Floats:
    """Numbers where rounding to `fmt` decides: its values and the middles between them, beyond its range too.

    Every value of a format of at most 8 bits; of a wider one, in every binade, the lowest and the highest values, some
    random ones and the middles beside them. Ascending, both signs.
    """
    return _decisive(fmt)


@lru_cache(maxsize=64)
def _decisive(fmt: Format) -> Floats:
    if fmt.bits <= LISTED_BITS:
        values = fmt.decode(every_code(fmt))
        values = np.unique(values[np.isfinite(values)])
        middles = (values[:-1] + values[1:]) / 2
        ends = [fmt.threshold, fmt.max + 2 * (fmt.threshold - fmt.max), 2 * fmt.max, fmt.lowest - 0.5, 2 * fmt.lowest]
        ends += [] if fmt.kind == "table" else [-fmt.eta / 2, fmt.eta / 2, fmt.eta / 4, -fmt.eta, fmt.lowest - fmt.eta]
        points = np.concatenate([values, middles, np.array(ends), -values])
    elif fmt.kind == "integer":
        powers = np.ldexp(1.0, np.arange(fmt.bits + 2))
        near = (powers[:, None] + np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])).reshape(-1)
        points = np.concatenate([near, -near, np.array([fmt.max + 0.5, fmt.lowest - 0.5])])
    else:
        points = _by_binade(fmt)
    points = np.unique(points[np.isfinite(points)])
    points.flags.writeable = False
    return points


def _by_binade(fmt: Format) -> Floats:
    """Of each binade: its first two and last two values, random ones, and the middles above them; and near zero."""
    rng = np.random.default_rng(zlib.crc32(fmt.name.encode()))
    units = 1 << (fmt.precision - 1)
    exponents = np.arange(fmt.emin, min(fmt.emax, 1022) + 1)
    fixed = np.array([0, 1, units - 2, units - 1])
    random = rng.integers(2, max(3, units - 2), (len(exponents), PER_BINADE))
    whole = units + np.concatenate([np.broadcast_to(fixed, (len(exponents), 4)), random], axis=1)
    twice = np.stack([2 * whole, 2 * whole + 1], axis=-1).astype(np.float64) if fmt.precision < 53 else whole[..., None]
    spare = 1 if fmt.precision < 53 else 0
    scale = (exponents - (fmt.precision - 1) - spare)[:, None, None]
    normal = np.ldexp(twice, scale).reshape(-1)
    small = np.concatenate([np.arange(0, 9), np.ldexp(1.0, np.arange(3, fmt.precision))])
    subnormal = fmt.eta * np.concatenate([small, small + 0.5, small + 0.25] if fmt.precision < 53 else [small])
    beyond = [fmt.threshold, 2 * fmt.max] if fmt.precision < 53 else [fmt.max]
    points = np.concatenate([normal, subnormal, np.array(beyond)])
    return np.concatenate([points, -points])


def around(points: Floats, fmt: Format) -> Codes:
    """Codes of the values of `fmt` at `points` or, where it has none there, on both sides; and of their neighbours."""
    below = fmt.round(points, rounding="down", overflow="saturate")
    above = fmt.round(points, rounding="up", overflow="saturate")
    with np.errstate(over="ignore", under="ignore"):  # beyond the ends of float64
        further = np.nextafter(below, -np.inf), np.nextafter(above, np.inf)
    lower = fmt.round(further[0], rounding="down", overflow="saturate")
    upper = fmt.round(further[1], rounding="up", overflow="saturate")
    codes = fmt.encode(np.concatenate([below, above, lower, upper]))
    return np.unique(codes)


def specials(fmt: Format) -> Codes:
    """Codes of zeros, infinities, quiet and signalling NaN of both signs, and the ends of the ranges."""
    if fmt.bits <= LISTED_BITS:
        return every_code(fmt)
    if fmt.kind == "integer":
        return fmt.encode(np.array([0.0, 1.0, -1.0, fmt.max, fmt.lowest]))
    spare = 13 if fmt.name == "tf32" else 0
    hidden, sign = fmt.precision - 1, 1 << (fmt.bits - 1)
    infinity, quiet = (fmt.inf_code or 0) >> spare, 1 << (fmt.precision - 2)
    sizes = [0, 1, 2, (1 << hidden) - 1, 1 << hidden, (1 << hidden) + 1, infinity - 1, infinity]
    sizes += [infinity | payload for payload in (1, quiet - 1, quiet, quiet | 1, 2 * quiet - 1)]
    codes = np.array([size | s for size in sizes for s in (0, sign)], np.uint64)
    return (codes << np.uint64(spare)).astype(fmt.code_dtype)


def shared(source: Format, target: Format) -> tuple[Codes, Codes]:
    """Codes of numbers that both formats have, in the source and in the target, infinities and zeros included."""
    narrow = min((source, target), key=lambda fmt: (fmt.bits, fmt.name != source.name))
    codes = every_code(narrow) if narrow.bits <= COUNTED_BITS else np.unique(around(decisive(narrow), narrow))
    values = narrow.decode(codes)
    values = values[~np.isnan(values)]
    kept = _holds(source, values) & _holds(target, values)
    return source.encode(values[kept]), target.encode(values[kept])


def _holds(fmt: Format, values: Floats) -> NDArray[np.bool_]:
    """Where `fmt` has exactly these numbers, the sign of zero included."""
    inside = fmt.round(values, overflow=None)
    same: NDArray[np.bool_] = (inside == values) & (np.signbit(inside) == np.signbit(values))
    return same


def fractions(source: Format, target: Format) -> tuple[Floats, Floats, Floats]:
    """(x, lower magnitude, k) of numbers k / STEPS of the way between neighbours of the target, that the source holds.

    The neighbours are the smallest numbers, normal ones of even and odd last bit, and the largest pair, of both signs.
    """
    codes = [0, 1, target.max_code // 2, target.max_code // 2 + 1, target.max_code - 1]
    if target.kind == "integer":
        codes = [0, 1, target.max_code // 2, target.max_code - 1]
    unit = 1 << (13 if target.name == "tf32" else 0)
    base = np.array([code - code % unit for code in codes]).astype(target.code_dtype)
    lower, upper = target.decode(base), target.decode((base + np.array(unit, base.dtype)).astype(base.dtype))
    k = np.arange(STEPS + 1, dtype=np.float64)
    x = lower[:, None] + (upper - lower)[:, None] * (k / STEPS)
    low, steps = np.broadcast_to(lower[:, None], x.shape), np.broadcast_to(k, x.shape)
    x, low, steps = x.reshape(-1), low.reshape(-1), steps.reshape(-1)
    if target.signed:
        x, low, steps = np.concatenate([x, -x]), np.concatenate([low, -low]), np.concatenate([steps, steps])
    kept = np.isfinite(x) & (steps < STEPS) & _holds(source, x)
    return x[kept], low[kept], steps[kept]


def stochastic_points(source: Format, target: Format) -> Floats:
    """The numbers of `fractions`, those halfway last."""
    x, _, steps = fractions(source, target)
    return x[np.argsort(steps == STEPS // 2, kind="stable")]


def _all(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    return every_code(source)


def _boundaries(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    points = [decisive(target)]
    if source.bits > COUNTED_BITS and source.kind == "float":
        ends = np.array([source.eta, source.min_normal, source.max, 0.0])
        points.append(np.concatenate([ends, -ends]))
    codes = around(np.concatenate(points), source)
    if count is not None and count < codes.size:
        return rng.choice(codes, count, replace=False)
    return codes


def _specials(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    return specials(source)


def _shared(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    return shared(source, target)[0]


def _stratified(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    """Every exponent of the source in turn, half of them those of the target's range; significands of every kind."""
    size = DRAWN if count is None else count
    if source.kind == "integer":
        lengths = np.arange(size) % source.bits
        whole = rng.integers(0, 2**31, size) >> (source.bits - 1 - lengths)
        return source.encode(np.clip(whole * rng.choice([-1.0, 1.0], size), source.lowest, source.max))
    fields, hidden = (1 << (source.bits - source.precision)) - 1, source.precision - 1
    every = np.arange(size, dtype=np.int64) % fields
    low = max(target.emin - target.precision - 1, source.emin - 1) + source.bias
    high = min(target.emax + 1, source.emax) + source.bias
    low, high = int(np.clip(low, 0, fields - 1)), int(np.clip(high, 0, fields - 1))
    exponent = np.where(np.arange(size) % 4 < 2, low + (every // 2) % max(1, high - low + 1), every)
    kept = min(target.precision, source.precision) - 1
    rest = hidden - kept
    significand = rng.integers(0, 1 << hidden, size)
    if rest > 0:
        top = (significand >> rest) << rest
        tie = 1 << (rest - 1)
        tails = np.array([0, 1, tie - 1, tie, tie + 1, (1 << rest) - 1]) % (1 << rest)
        significand = np.where(rng.random(size) < 0.5, top | rng.choice(tails, size), significand)
    size_code = (exponent << hidden) | significand
    codes = size_code.astype(np.uint64) | (rng.integers(0, 2, size).astype(np.uint64) << np.uint64(source.bits - 1))
    return (codes << np.uint64(13 if source.name == "tf32" else 0)).astype(source.code_dtype)


def _mixed(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    """Numbers of the target's range, neighbours different, so that a moved element shows."""
    size = DRAWN if count is None else count
    if source.bits <= COUNTED_BITS:
        codes = every_code(source)
        values = source.decode(codes)
        with np.errstate(invalid="ignore"):
            inside = (values <= target.max) & (values >= target.lowest) & (values != 0)
            inside &= np.abs(values) >= (0.5 if target.kind == "integer" else target.eta / 2)
        chosen = codes[inside] if inside.any() else codes[np.isfinite(values)]
        drawn = rng.permutation(np.resize(rng.permutation(chosen), max(size, 1)))
        return drawn[:size]
    low, high = max(target.emin, source.emin, -40), min(target.emax, source.emax, 40)
    if target.kind in ("integer", "table"):
        low, high = 0, target.bits - 2
    if source.kind == "integer":
        low, high = 0, min(source.bits - 2, max(high, 1))
    x = np.ldexp(1.0 + rng.random(size), rng.integers(low, high + 1, size))
    if target.kind == "table":
        x = x / 2 ** (target.bits - 1) * target.max
    if target.signed and source.signed:
        x *= rng.choice([-1.0, 1.0], size)
    return source.encode(x, rounding="toward-zero", overflow="saturate")


def _stochastic(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
    points = stochastic_points(source, target)
    each = max(1, (DRAWN if count is None else count) // max(1, points.size))
    return source.encode(np.repeat(points, each))


#: Every recipe by name.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "every_code",
            "all codes of the source",
            _all,
            lambda source, target: source.bits <= COUNTED_BITS,
        ),
        Recipe("boundaries", "values, ties and thresholds of the target, and the source's numbers beside them", _boundaries),
        Recipe("specials", "zeros, infinities, NaN, the ends of the ranges", _specials),
        Recipe("shared", "numbers that both formats have", _shared, lambda source, target: shared(source, target)[0].size > 1),
        Recipe(
            "stratified",
            "every exponent and every kind of significand",
            _stratified,
            lambda source, target: source.bits > COUNTED_BITS,
        ),
        Recipe("mixed", "different numbers of the target's range", _mixed),
        Recipe(
            "fractions",
            "numbers between neighbours of the target, each many times",
            _stochastic,
            lambda source, target: target.kind != "table" and fractions(source, target)[0].size >= STEPS,
        ),
    )
}
