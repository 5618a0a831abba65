"""The cases of the KV append law, by check: tokens, sizes, orders of slots, scales and tiers."""

from lastbit.case import Case

Options = tuple[tuple[str, int | str], ...]


def _case(recipe: str, slots: str, tokens: int, *, tier: str = "smoke", options: Options = (), **sizes: int) -> Case:
    """No size divides another, so that a swapped one cannot hide."""
    chosen = {"tokens": tokens, "hkv": 2, "d": 16, "dv": 16, "block": 8, "pages": 7, **sizes}
    return Case(recipe, tuple(chosen.items()), options=(("slots", slots), *options), tier=tier)


RECIPES = ("normal", "bits", "ties", "near_ties", "extremes")
#: One scale for all heads; by default each head has its own.
TENSOR: Options = (("scale", "tensor"),)
#: Below, at and above what a vector, a warp or a tile of tokens takes.
REMAINDERS = (2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)

EXACT = (
    *(_case(recipe, "shuffled", 13) for recipe in RECIPES),
    *(_case(recipe, "shuffled", 13, options=TENSOR) for recipe in RECIPES),
    _case("bits", "sequential", 1),
    _case("normal", "sequential", 1),
    *(_case("normal", "shuffled", 16 + 32 * more, block=16) for more in (0, 1)),
    *(_case(recipe, "shuffled", 19, tier="standard", hkv=3, d=80, dv=80, block=16) for recipe in RECIPES),
    *(_case(recipe, "shuffled", 19, tier="standard", hkv=1, d=8, dv=8, block=1, pages=40) for recipe in RECIPES),
    *(_case("normal", "shuffled", n, tier="standard", block=16, pages=9) for n in REMAINDERS),
)
UNTOUCHED = (
    *(_case(recipe, "shuffled", tokens) for recipe in ("bits", "normal") for tokens in (1, 5)),
    _case("bits", "shuffled", 13),
    _case("normal", "edges", 12),
    _case("bits", "edges", 12),
    _case("normal", "edges", 3, block=5, tier="standard"),
)
ORDER = (
    *(_case(recipe, order, 12) for recipe in ("bits", "normal") for order in ("sequential", "edges")),
    *(_case(recipe, "shuffled", 56) for recipe in ("bits", "normal")),
)
DUPLICATES = (_case("bits", "duplicates", 17), _case("normal", "duplicates", 17))
PADDING = (_case("bits", "padding", 17), _case("normal", "padding", 17))
#: Page ids beyond 16 bits.
TOP = (
    _case("bits", "top", 9, hkv=1, d=8, dv=8, block=2, pages=66_000),
    _case("normal", "top", 9, hkv=1, d=8, dv=8, block=2, pages=66_000),
)
EMPTY = (_case("bits", "sequential", 0), _case("normal", "sequential", 0))
LAYOUTS = tuple(
    Case(recipe, _case(recipe, "shuffled", 13).sizes, layout, (("slots", "shuffled"),))
    for recipe in ("bits", "normal")
    for layout in ("k:strided+v:strided", "k:interleaved+v:offset", "k_cache:strided_rows+v_cache:strided_rows")
)
SECOND_CALL = (_case("bits", "shuffled", 13), _case("normal", "shuffled", 13))
LIFECYCLE = (
    _case("normal", "sequential", 40, tier="standard"),
    _case("bits", "sequential", 40, tier="standard"),
)
