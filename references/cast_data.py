"""Test data of casts by name: every code, every place where rounding to the target decides, and numbers between."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.cast_points import (
    COUNTED_BITS,
    STEPS,
    around,
    decisive,
    every_code,
    fractions,
    shared,
    specials,
    stochastic_points,
)
from lastbit.references.data import Operand
from lastbit.references.formats import Format

Floats = NDArray[np.float64]
Codes = NDArray[Any]

#: Numbers drawn where a recipe that has no size of its own cannot list them.
DRAWN = 4096
#: Last places of mixed numbers that are ties: longer than the remainder of a vector of 16.
TIED = 16


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
    """`_plain` numbers whose last are ties of both parities, so that another rounding of a remainder shows."""
    codes, ties = _plain(source, target, rng, count), _ties(source, target)
    if ties.size:
        # Drawn last: numbers before them do not depend on how many ties there are.
        last = min(TIED, codes.size)
        codes = np.concatenate([codes[: codes.size - last], np.resize(rng.permutation(ties), last)])
    return codes


@lru_cache(maxsize=64)
def _ties(source: Format, target: Format) -> Codes:
    """Codes of the source halfway between two numbers of the target, neither of them zero; none for tables."""
    if target.kind not in ("float", "integer"):
        return np.zeros(0, source.code_dtype)
    points = decisive(target)
    points = points[np.isfinite(points) & (np.abs(points) < target.max) & (points > target.lowest)]
    codes = source.encode(points, overflow="saturate")
    low, high = (target.decode(target.encode(points, rounding=way, overflow="saturate")) for way in ("down", "up"))
    halfway = (low < high) & (points - low == high - points) & (low != 0) & (high != 0)
    return np.asarray(codes[halfway & (source.decode(codes) == points)])


def _plain(source: Format, target: Format, rng: np.random.Generator, count: int | None) -> Codes:
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
        Recipe(
            "boundaries", "values, ties and thresholds of the target, and the source's numbers beside them", _boundaries
        ),
        Recipe("specials", "zeros, infinities, NaN, the ends of the ranges", _specials),
        Recipe(
            "shared",
            "numbers that both formats have",
            _shared,
            lambda source, target: shared(source, target)[0].size > 1,
        ),
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
