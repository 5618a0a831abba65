"""The cases of the paged attention law, by check: recipes, sizes, arrangements of pages, scales and tiers."""

from lastbit.case import Case

Options = tuple[tuple[str, int | str], ...]


def _case(
    recipe: str,
    arrangement: str = "shuffled",
    options: Options = (),
    *,
    layout: str = "contiguous",
    tier: str = "smoke",
    **sizes: int,
) -> Case:
    """Sequences of the longest length, 1, a page and one more or less, and so on; 1 / sqrt(d) is a power of two."""
    chosen = {"b": 5, "hq": 4, "hkv": 2, "lq": 1, "d": 16, "dv": 16, "block": 8, "len": 27, **sizes}
    return Case(recipe, tuple(chosen.items()), layout, (("pages", arrangement), *options), tier)


def _small(recipe: str, arrangement: str = "shuffled", options: Options = (), *, layout: str = "contiguous") -> Case:
    """Few enough pages and heads for an interpreter."""
    return _case(recipe, arrangement, options, layout=layout, b=3, hq=2, hkv=1, len=19)


#: One scale for all heads; by default each head has its own.
TENSOR: Options = (("scale", "tensor"),)
NAN: Options = (("unused", "nan"),)
CAUSAL: Options = (("causal", 1),)

EXACT = (
    _small("one_hot"),
    _small("one_hot", options=TENSOR),
    _case("one_hot"),
    _case("one_hot", options=TENSOR),
    _case("one_hot", block=16, d=64, dv=64, len=131, tier="standard"),
    _case("one_hot", block=1, len=33, tier="standard"),
    _case("one_hot", block=5, len=64, tier="standard"),
)
#: Page ids beyond 16 bits under "top".
MANY_PAGES: Options = (("pool", 66_000),)
PAGES = (
    _small("one_hot", "shared"),
    *(_case("one_hot", pages) for pages in ("ordered", "reversed", "shared")),
    _case("normal", "shared"),
    _case("one_hot", "top", MANY_PAGES, block=2, len=11, hq=2, hkv=1, d=4, dv=4),
)
LENGTHS = (
    _case("one_hot", b=8, block=8, len=17),
    _case("average", b=8, block=8, len=17),
    _case("one_hot", b=1, len=1),
    _case("one_hot", b=1, len=8),
    _case("one_hot", b=2, len=9),
    *(_case("one_hot", b=8, block=block, len=2 * block + 3, tier="standard") for block in (3, 16, 32, 64)),
    *(_case("normal", b=8, block=block, len=2 * block + 3, tier="standard") for block in (3, 16, 32)),
)
UNUSED = (
    _small("normal", options=NAN),
    _case("one_hot", options=NAN),
    _case("normal", options=NAN),
    _case("normal", options=NAN, block=16, len=19, b=3),
)
HEADS = (
    _case("one_hot", hq=4, hkv=2, b=1),
    _case("one_hot", hq=6, hkv=2, b=3),
    _case("one_hot", hq=14, hkv=2, b=3),
    _case("one_hot", hq=3, hkv=3, b=3),
    _case("normal", hq=6, hkv=3, b=3),
)
BOUND = (
    *(_small(recipe) for recipe in ("normal", "sharp", "increasing")),
    _case("normal"),
    _case("average"),
    _small("normal", options=TENSOR),
    _case("sharp", d=80, dv=80, b=3, len=21),
    *(_case(recipe, block=16, d=64, dv=64, len=200, tier="standard") for recipe in ("normal", "sharp", "increasing")),
)
CAUSAL_CASES = (
    _case("one_hot", options=CAUSAL, lq=3),
    _case("normal", options=CAUSAL, lq=3),
    _case("sharp", options=CAUSAL, lq=5, b=3, tier="standard"),
)
WINDOW = (
    _small("normal", options=(("window", "4:0"),)),
    _case("normal", options=(("window", "4:0"),)),
    _case("normal", options=(("window", "9:0"), *NAN)),
    _case("sharp", options=(*CAUSAL, ("window", "7:0")), lq=3),
)
LAYOUTS = tuple(
    _small("one_hot", layout=layout)
    for layout in (
        "k_cache:strided_rows+v_cache:strided_rows",
        "k_cache:interleaved+v_cache:interleaved",
        "q:interleaved",
        "q:offset+k_cache:offset",
        "block_table:strided_rows+seq_lens:strided",
    )
)
SECOND_CALL = (_case("normal"), _small("one_hot"))
REPEAT = (_small("normal"), _case("sharp", block=16, len=131, tier="standard"))
RELOCATE = (_small("normal"), _case("sharp", block=16, len=131, tier="standard"))
ALONE = (_small("normal"), _case("sharp", block=16, len=131, tier="standard"))
HUNT = (_case("normal", "ordered", b=1, hq=1, hkv=1, len=1, tier="standard"),)
