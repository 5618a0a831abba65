"""Test data of the paged KV cache: layouts, and caches whose attention is known exactly or only within a bound."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.kv_cache import INDEX_FORMAT, SCALE_FORMAT, Floats, Indices, Layout, quantized
from lastbit.references.kv_pages import arranged, lengths

#: What lies in places that hold no token: numbers that would win every softmax, or NaN.
UNUSED = ("numbers", "nan")
#: exp(-x) is 0 in f64 (and in every narrower format) from here on: 2^-1075 = exp(-745.2).
VANISHING = 750.0
#: The same in f32: 2^-150 = exp(-103.98); a sum of f32 with 1 no longer sees it long before.
VANISHING_F32 = 104.0
#: Widest formats of a cache that is stored with a scale.
QUANTIZED_BITS = 8


@dataclass(frozen=True, slots=True)
class CacheDraw:
    """Sizes and formats of a case, its layout, and the generator to draw from."""

    rng: np.random.Generator
    layout: Layout
    pages: int
    hq: int
    hkv: int
    lq: int
    d: int
    dv: int
    q: Format
    k_cache: Format
    v_cache: Format
    out: Format

    @property
    def quantized(self) -> bool:
        """Whether the cache has scales."""
        return self.k_cache.bits <= QUANTIZED_BITS

    def positions(self) -> Indices:
        """(pages, block): which token of its sequence each place holds, -1 for none."""
        position = np.full(self.pages * self.layout.block, -1, np.int64)
        for sequence, length in enumerate(self.layout.seq_lens.tolist()):
            position[self.layout.slots(sequence)] = np.arange(length)
        return position.reshape(self.pages, self.layout.block)

    def shape(self, size: int) -> tuple[int, int, int, int]:
        """Shape of a cache of vectors of `size`."""
        return (self.pages, self.layout.block, self.hkv, size)


@dataclass(frozen=True, slots=True)
class CacheData:
    """Operands of paged_attention, and what the cache's keys and values were before they were stored."""

    operands: dict[str, Operand]
    layout: Layout
    #: (pages, block, hkv, size) values in the format of q, before quantization; those of the cache itself without one.
    original_k: Floats
    original_v: Floats


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recipe draws: float64 q (b, hq, lq, d), and keys and values (pages, block, hkv, size)."""

    q: Floats
    k: Floats
    v: Floats


@dataclass(frozen=True, slots=True)
class CacheRecipe:
    """A way to fill a cache: its name, what it is for, and the function that draws it."""

    name: str
    why: str
    draw: Callable[[CacheDraw], Contents]
    #: The answer is unique: attention picks one token's values.
    exact: bool = False


def paged(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    seed: int,
    *,
    arrangement: str = "shuffled",
    unused: str = "numbers",
    heads: bool = True,
    pages: int | None = None,
) -> CacheData:
    """Operands q (b, hq, lq, d), k_cache and v_cache (pages, block, hkv, d and dv), block_table and seq_lens.

    `sizes` gives b, hq, hkv, lq, d, dv, block and len, the tokens of the longest sequence; the others have 1, a page
    and one more or less, and so on (`kv_pages.lengths`). Formats of 8 bits come with k_scale and v_scale,
    one for each head where `heads` is true, else one for all. `pages`: size of the pool, at least what is needed.
    The same arguments give the same bits on every machine.

    Raises KeyError for a recipe that RECIPES does not list, ValueError for an unknown arrangement.
    """
    chosen = RECIPES[recipe]
    text = f"{recipe} {sorted(formats.items())} {sorted(sizes.items())} {arrangement}"
    rng = np.random.default_rng([seed, zlib.crc32(text.encode())])
    tokens = lengths(sizes["b"], sizes["len"], sizes["block"], least=sizes["lq"])
    layout, count = arranged(rng, tokens, sizes["block"], arrangement, pages)
    named = {name: Format.of(formats[name]) for name in ("q", "k_cache", "v_cache", "out")}
    draw = CacheDraw(
        rng,
        layout,
        count,
        hq=sizes["hq"],
        hkv=sizes["hkv"],
        lq=sizes["lq"],
        d=sizes["d"],
        dv=sizes["dv"],
        q=named["q"],
        k_cache=named["k_cache"],
        v_cache=named["v_cache"],
        out=named["out"],
    )
    contents = chosen.draw(draw)
    held = {"q": Operand.of(contents.q, formats["q"])}
    originals = {}
    for name, values in (("k", contents.k), ("v", contents.v)):
        fmt, scale = named[f"{name}_cache"], None
        originals[name] = Operand.of(values, formats["q"]).values if draw.quantized else values
        if draw.quantized:
            scale = _scales(draw, originals[name], fmt, name, heads=heads, exact=chosen.exact)
            held[f"{name}_scale"] = Operand.of(scale, SCALE_FORMAT)
        # Exact data are meant as codes: what they are worth is whatever the scale makes of them.
        codes = quantized(originals[name], fmt.name, None if chosen.exact else scale, overflow="saturate")
        if unused == "nan":
            codes[draw.positions() < 0] = fmt.encode(np.array(np.nan if fmt.has_nan else fmt.lowest))
        held[f"{name}_cache"] = Operand(fmt.name, codes, fmt.decode(codes))
    held["block_table"] = integers(layout.block_table)
    held["seq_lens"] = integers(layout.seq_lens)
    return CacheData(held, layout, originals["k"], originals["v"])


def integers(values: Indices) -> Operand:
    """Integers as an operand."""
    return Operand.of(values.astype(np.float64), INDEX_FORMAT)


def one_hot(draw: CacheDraw) -> Contents:
    """Each query selects one token, the others weigh 0 in any format: attention is a row of the cache, bit for bit."""
    position = draw.positions()
    signs = _addresses(draw, np.maximum(position, 0))
    k = np.where(position[..., None, None] >= 0, signs, 8.0 * draw.rng.choice([-1.0, 1.0], draw.shape(draw.d)))
    target = targets(draw)
    group = draw.hq // draw.hkv
    heads = np.arange(draw.hq) // group
    q = np.take_along_axis(_codebook(draw)[heads][None], target[..., None], axis=2) * amplitude(draw)
    v = _carried(draw)
    return Contents(q, k, v)


def average(draw: CacheDraw) -> Contents:
    """All weights equal over integers: attention is their mean, and each token counts the same."""
    q = np.zeros((draw.layout.seq_lens.size, draw.hq, draw.lq, draw.d))
    heads = np.arange(1.0, draw.hkv + 1)[:, None]
    k, v = (draw.rng.integers(-most, most + 1, draw.shape(size)) for most, size in ((4, draw.d), (7, draw.dv)))
    return Contents(q, k * heads, v * heads)


def normal(draw: CacheDraw) -> Contents:
    """Independent normal numbers."""
    q = draw.rng.standard_normal((draw.layout.seq_lens.size, draw.hq, draw.lq, draw.d))
    return Contents(q, *(draw.rng.standard_normal(draw.shape(size)) for size in (draw.d, draw.dv)))


def sharp(draw: CacheDraw) -> Contents:
    """Logits of standard deviation 4: a few tokens carry the weight, where errors of logits show."""
    drawn = normal(draw)
    return Contents(4.0 * drawn.q, drawn.k, drawn.v)


def increasing(draw: CacheDraw) -> Contents:
    """Logits grow along the sequence, so that the running maximum changes in every page."""
    drawn = normal(draw)
    rise = np.maximum(draw.positions(), 0)[..., None] / 4.0
    k, q = drawn.k.copy(), drawn.q.copy()
    k[..., 0] = rise
    q[..., 0] = 2.0
    return Contents(q, k, drawn.v)


#: Every recipe by name.
RECIPES: dict[str, CacheRecipe] = {
    recipe.name: recipe
    for recipe in (
        CacheRecipe("one_hot", "a row of the cache through every page arrangement", one_hot, exact=True),
        CacheRecipe("average", "the count of tokens and equal weights", average),
        CacheRecipe("normal", "ordinary weights", normal),
        CacheRecipe("sharp", "errors of logits", sharp),
        CacheRecipe("increasing", "rescaling in every page", increasing),
    )
}


def targets(draw: CacheDraw) -> Indices:
    """(b, hq, lq): the token that each query of `one_hot` selects, among those that a causal query sees."""
    seen = draw.layout.seq_lens[:, None, None] - draw.lq + 1 + np.arange(draw.lq)
    head = np.arange(draw.hq)[None, :, None]
    # The last token, the first, then steps that no page size divides.
    return np.where(head == 0, seen - 1, np.where(head == 1, 0, (7 * head + 5) % seen))


def amplitude(draw: CacheDraw) -> float:
    """Factor of `one_hot`'s queries: the logits of other tokens are at least VANISHING below, as far as q reaches."""
    bits = _address_bits(draw)
    wanted = VANISHING * np.sqrt(draw.d) / (2 * (draw.d // bits))
    return float(2.0 ** min(np.ceil(np.log2(wanted)), np.floor(np.log2(draw.q.max))))


def applicable(recipe: str, formats: Mapping[str, str], sizes: Mapping[str, int]) -> bool:
    """Whether the sizes and formats have what the recipe needs: `one_hot` a dimension that can number the tokens."""
    if recipe != "one_hot":
        return True
    bits = max(1, int(sizes["len"] - 1).bit_length())
    reach = min(Format.of(formats["q"]).max, 2.0**64) / np.sqrt(sizes["d"])
    return bool(sizes["d"] >= bits and 2 * (sizes["d"] // bits) * reach >= 2 * VANISHING_F32)


def _address_bits(draw: CacheDraw) -> int:
    return max(1, int(draw.layout.seq_lens.max() - 1).bit_length())


def _codebook(draw: CacheDraw) -> Floats:
    """(hkv, tokens, d) signs: bit c mod bits of the token's number; heads differ by a mask of bits."""
    bits = _address_bits(draw)
    numbers = np.arange(int(draw.layout.seq_lens.max()))[None, :, None] ^ (np.arange(draw.hkv)[:, None, None] % 2**bits)
    signs: Floats = 1.0 - 2.0 * (numbers >> (np.arange(draw.d) % bits) & 1)
    return signs


def _addresses(draw: CacheDraw, position: Indices) -> Floats:
    """The keys of tokens at `position` (pages, block): (pages, block, hkv, d)."""
    return np.moveaxis(_codebook(draw)[:, position], 0, 2)


def _carried(draw: CacheDraw) -> Floats:
    """Values with every bit of the significand in use, over a few binades that cache and output hold."""
    fmt, shape = draw.v_cache, draw.shape(draw.dv)
    if fmt.kind == "integer":
        return draw.rng.integers(-int(fmt.max), int(fmt.max) + 1, shape).astype(np.float64)
    bits = min(fmt.precision, draw.out.precision)
    whole = draw.rng.integers(2 ** (bits - 1), 2**bits, shape) | 1
    exponent = draw.rng.integers(-2, 3, shape)
    values: Floats = np.ldexp(whole * draw.rng.choice([-1.0, 1.0], shape), exponent + 1 - bits)
    return values


def _scales(draw: CacheDraw, values: Floats, fmt: Format, name: str, *, heads: bool, exact: bool) -> Floats:
    """Scales that differ between keys and values and between heads: powers of two for exact data, else amax / max."""
    count = draw.hkv if heads else 1
    if exact:
        return np.ldexp(1.0, np.arange(count) % 3 + 1) if name == "k" else np.ldexp(1.0, -1 - np.arange(count) % 3)
    largest = np.abs(values).max(axis=(0, 1, 3))
    largest = largest if heads else largest.max(keepdims=True)
    largest = np.where(largest == 0, fmt.max, largest)  # tokens of zeros alone: a scale of 0 would make them NaN
    return Format.of(SCALE_FORMAT).round(largest / fmt.max)
