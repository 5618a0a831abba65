"""Test data of KV appends: tokens whose codes are known exactly, and slots in and out of order."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.kv_cache import NO_SLOT, SCALE_FORMAT, Codes, Floats, Indices, quantized
from lastbit.references.kv_cache_data import QUANTIZED_BITS, integers

#: Where tokens go: one place after the other, anywhere, the last place of pages and the first of others, some nowhere,
#: several to one place, the end of the pool.
SLOTS = ("sequential", "shuffled", "edges", "padding", "duplicates", "top")
#: Every how many tokens one has no slot, or that of the token before.
EVERY = 3
#: Scales tried for one whose quotient and product with the reciprocal round to different codes; one in three does.
CANDIDATES = 40


@dataclass(frozen=True, slots=True)
class TokenDraw:
    """One of keys and values: its formats, its scale, and the generator to draw from."""

    rng: np.random.Generator
    shape: tuple[int, int, int]
    source: Format
    cache: Format
    #: (1,) or (heads,); ones where the cache has no scale.
    scale: Floats
    #: (1,) or (heads,), points half way between two codes: a number of the source format lies at middle * scale.
    middle: Floats


@dataclass(frozen=True, slots=True)
class TokenRecipe:
    """A way to draw tokens: its name, what it is for, and the function that draws them."""

    name: str
    why: str
    draw: Callable[[TokenDraw], Floats]
    #: Scales: powers of two; any number; or such that a token's quotient is as close to `middle` as can be.
    scale: str = "power"
    #: For caches with a scale, for those without, or for both (None).
    scaled: bool | None = None


def appends(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    seed: int,
    *,
    slots: str = "shuffled",
    heads: bool = True,
) -> dict[str, Operand]:
    """Operands k (tokens, hkv, d), v (tokens, hkv, dv), k_cache, v_cache (pages, block, hkv, d and dv), slots.

    `sizes` gives tokens, hkv, d, dv, block and pages. Caches of 8 bits come with k_scale and v_scale, one for each head
    where `heads` is true, else one for all. The caches hold random bit patterns, NaN among them, so that every place
    tells whether it was kept. The same arguments give the same bits on every machine.

    Raises KeyError for a recipe that RECIPES does not list, ValueError for unknown slots or more tokens than places.
    """
    chosen = RECIPES[recipe]
    text = f"{recipe} {slots} {sorted(formats.items())} {sorted(sizes.items())}"
    rng = np.random.default_rng([seed, zlib.crc32(text.encode())])
    held = {}
    for name, size in (("k", sizes["d"]), ("v", sizes["dv"])):
        source, cache = Format.of(formats[name]), Format.of(formats[f"{name}_cache"])
        has_scale = cache.bits <= QUANTIZED_BITS
        scale, middle = np.ones(1), np.ones(1)
        if has_scale:
            scale, middle = _scale(rng, name, sizes["hkv"] if heads else 1, chosen.scale, source, cache)
        draw = TokenDraw(rng, (sizes["tokens"], sizes["hkv"], size), source, cache, scale, middle)
        held[name] = Operand.of(chosen.draw(draw), source.name)
        codes = _any_codes(rng, cache, (sizes["pages"], sizes["block"], sizes["hkv"], size))
        held[f"{name}_cache"] = Operand(cache.name, codes, cache.decode(codes))
        if has_scale:
            held[f"{name}_scale"] = Operand.of(scale, SCALE_FORMAT)
    held["slots"] = integers(slot_numbers(rng, sizes["tokens"], sizes["pages"], sizes["block"], slots))
    return held


def slot_numbers(rng: np.random.Generator, tokens: int, pages: int, block: int, order: str) -> Indices:
    """(tokens,) slots of a pool of pages * block places, in an order of SLOTS; all different but for "duplicates".

    Raises ValueError for an unknown order, or when there are fewer places than tokens.
    """
    places = pages * block
    if order not in SLOTS or tokens > places:
        raise ValueError(f"{tokens} tokens in {places} places, order {order!r}: expected one of {', '.join(SLOTS)}")
    if order == "sequential":
        start = (places - tokens) // 2
        return np.arange(start, start + tokens)
    if order == "top":
        return places - 1 - np.arange(tokens)
    slots = rng.permutation(places)[:tokens]
    if order == "edges":
        pairs = np.stack([np.arange(pages) * block + block - 1, np.arange(pages) * block], axis=1).reshape(-1)
        edges = np.unique(pairs)
        slots = np.concatenate([rng.permutation(edges), np.setdiff1d(np.arange(places), edges)])[:tokens]
    elif order == "padding":
        slots[::EVERY] = NO_SLOT
    elif order == "duplicates":
        slots[1::EVERY] = slots[: tokens - 1 : EVERY]
    return slots


def normal(draw: TokenDraw) -> Floats:
    """Normal numbers over the cache's range and not beyond, or of deviation 1 where nothing is scaled."""
    x = draw.rng.standard_normal(draw.shape)
    if draw.cache.bits > QUANTIZED_BITS:
        return x
    return np.clip(x / 3, -1.0, 1.0) * (draw.cache.max * (1 - 2.0**-8)) * draw.scale[:, None]


def bits(draw: TokenDraw) -> Floats:
    """Every kind of bit pattern: NaN, infinities, zeros of both signs, subnormals."""
    return draw.source.decode(_any_codes(draw.rng, draw.source, draw.shape))


def ties(draw: TokenDraw) -> Floats:
    """Quotients half way between two codes, and one step of the source format to either side."""
    x = draw.rng.choice(_middles(draw.cache), draw.shape) * draw.scale[:, None]
    near: Floats = x + draw.source.ulp(x) * draw.rng.integers(-1, 2, draw.shape)
    return near


def near_ties(draw: TokenDraw) -> Floats:
    """Quotients that round to a tie or to one step beside it: x / scale and x * (1 / scale) give different codes."""
    power = draw.rng.integers(-2, 3, draw.shape) if draw.cache.kind == "float" else np.zeros(draw.shape, np.int64)
    at = draw.source.round(draw.middle * draw.scale)[:, None]
    x: Floats = np.ldexp(at, power) * draw.rng.choice([-1.0, 1.0], draw.shape)
    return np.where(draw.rng.random(draw.shape) < 1 / 4, normal(draw), x)


def extremes(draw: TokenDraw) -> Floats:
    """Zeros, the smallest and the largest numbers, and quotients up to four times beyond the cache's range.

    Below the range of integers there is nothing, for some kernels stop at -max and some one below.
    """
    fmt = draw.cache
    sizes = np.array(
        [0.0, -0.0, fmt.eta, fmt.eta / 2, fmt.eta * 0.75, fmt.max, fmt.threshold, fmt.max * 2, fmt.max * 4]
    )
    low = sizes if fmt.kind == "integer" else -sizes
    low = np.where(np.abs(sizes) <= fmt.max, -sizes, low)
    x: Floats = draw.rng.choice(np.concatenate([sizes, low]), draw.shape) * draw.scale[:, None]
    return x


#: Every recipe by name.
RECIPES: dict[str, TokenRecipe] = {
    recipe.name: recipe
    for recipe in (
        TokenRecipe("normal", "ordinary tokens and scales", normal, scale="any"),
        TokenRecipe("bits", "copies of every bit pattern", bits, scaled=False),
        TokenRecipe("ties", "the rounding of codes", ties, scaled=True),
        TokenRecipe("near_ties", "dividing or multiplying", near_ties, scale="near", scaled=True),
        TokenRecipe("extremes", "zeros, underflow and saturation", extremes, scaled=True),
    )
}


def applicable(recipe: str, formats: Mapping[str, str]) -> bool:
    """Whether the recipe is for such a cache, with a scale or without."""
    scaled = RECIPES[recipe].scaled
    return scaled is None or scaled == (Format.of(formats["k_cache"]).bits <= QUANTIZED_BITS)


def _middles(fmt: Format) -> Floats:
    """The points half way between two neighbouring values."""
    levels = np.unique(fmt.decode(np.arange(2**fmt.bits).astype(fmt.code_dtype)))
    levels = levels[np.isfinite(levels) & (levels >= -fmt.max)]  # some kernels have no -128
    middles: Floats = (levels[1:] + levels[:-1]) / 2
    return middles


def _scale(
    rng: np.random.Generator, name: str, count: int, kind: str, source: Format, cache: Format
) -> tuple[Floats, Floats]:
    """Scales that differ from head to head and between keys and values, and the middles that go with them."""
    powers = np.ldexp(1.0, np.arange(count) % 3 + 1) if name == "k" else np.ldexp(1.0, -1 - np.arange(count) % 3)
    working = Format.of(SCALE_FORMAT)
    middles = _middles(cache)
    # Away from subnormal codes, and with room for the powers of two that near_ties puts on top.
    inside = middles[(middles >= max(cache.eta, 64 * cache.min_normal if cache.kind == "float" else 0.0))]
    inside = inside[inside <= cache.max / 8] if cache.kind == "float" else inside
    middle = rng.choice(inside, count)
    if kind == "power":
        return powers, middle
    if kind == "any":
        return working.round(powers * rng.uniform(1.0, 2.0, count) / 64), middle
    scales = np.zeros(count)
    for head in range(count):
        for _ in range(CANDIDATES):
            middle[head], token = rng.choice(inside), source.round(powers[head] * rng.uniform(1.0, 2.0, 1))
            scale = working.round(token / middle[head])
            scales[head] = scale[0]
            ways = [quantized(token, cache.name, scale, arithmetic=way) for way in ("divide", "reciprocal")]
            if ways[0][0, 0] != ways[1][0, 0]:
                break
    return scales, middle


def _any_codes(rng: np.random.Generator, fmt: Format, shape: tuple[int, ...]) -> Codes:
    """Random bit patterns of a format; a few of each are zeros, infinities and NaN of every kind."""
    codes = rng.integers(0, 2**fmt.bits, shape, dtype=np.uint64).astype(fmt.code_dtype)
    special = fmt.encode(np.array([0.0, np.inf, fmt.eta]) if fmt.has_inf else np.array([0.0, fmt.eta]))
    sign = fmt.code_dtype.type(1 << (fmt.bits - 1)) if fmt.has_negative_zero else fmt.code_dtype.type(0)
    chosen = rng.choice(np.concatenate([special, special | sign]), shape)
    mixed: Codes = np.where(rng.random(shape) < 1 / 8, chosen, codes)
    return mixed
