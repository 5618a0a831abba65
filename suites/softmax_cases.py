"""The cases of the law of softmax, log_softmax and logsumexp, by check: recipes, sizes, layouts and tiers."""

from lastbit.case import Case

Sizes = tuple[tuple[str, int | str], ...]


def _mn(m: int | str, n: int | str) -> Sizes:
    return (("m", m), ("n", n))


#: Rows and columns differ and none divides a tile, so that a wrong axis or a lost remainder cannot hide.
PLAIN = _mn(17, 65)
BATCHED: Sizes = (("batch", 3), *_mn(5, 33))
FAIR = _mn(17, "fair")

EXACT_RECIPES = ("equal", "one_hot", "far", "several")
EXACT = (
    *(Case(recipe, PLAIN) for recipe in EXACT_RECIPES),
    Case("one_hot", BATCHED),
    Case("equal", _mn(1, 81)),
    Case("equal", _mn(6, 1000)),
    *(Case(recipe, _mn(33, 257), tier="standard") for recipe in EXACT_RECIPES),
    Case("equal", _mn(6, 4093), tier="standard"),
)

#: Remainders of a tile and of a vector on both sides, single rows and columns; the last column always counts.
TAILS = (
    *(Case("normal", _mn(3, n)) for n in ("tile", "overtile", "undertile", 1, 2, 48, 1000, 781)),
    Case("one_hot", _mn("overtile", "overtile")),
    Case("repeated", _mn(1, 81)),
    Case("normal", _mn(1, 65)),
    Case("low", _mn(5, 82)),
    *(Case("normal", _mn(3, n), tier="standard") for n in (3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 127, 128)),
    *(Case("low", _mn(4, n), tier="standard") for n in (129, 255, 256, 257, 511, 513, 1023, 1024, 1025, 2049, 4099)),
    *(Case("normal", _mn(m, 40), tier="standard") for m in (2, 4, 7, 8, 9, 16, 31, 32, 33, 64, 127, 129)),
)

EMPTY = (Case("normal", _mn(0, 5)), Case("normal", (("batch", 0), *_mn(3, 4))))

BOUND_RECIPES = (
    "normal",
    "sharp",
    "offset_1e4",
    "offset_1e7",
    "increasing",
    "low",
    "repeated",
    "sink",
    "spread",
    "tails",
    "near_overflow",
    "masked",
)
BOUND = (
    *(Case(recipe, FAIR) for recipe in BOUND_RECIPES),
    *(Case(recipe, _mn(12, 9)) for recipe in ("normal", "sharp", "increasing", "sink")),
    Case("normal", BATCHED),
    Case("log_probabilities", _mn(33, "fair")),
    Case("sharp", _mn(2, "long")),
    Case("increasing", _mn(2, "long")),
    *(Case(recipe, _mn(33, 1000), tier="standard") for recipe in BOUND_RECIPES),
    *(Case(recipe, _mn(64, 17), tier="standard") for recipe in BOUND_RECIPES),
    Case("low", _mn(2, "long"), tier="standard"),
    Case("repeated", _mn(2, "long"), tier="standard"),
)

SPECIAL = (Case("special", _mn(17, 33)), Case("special", _mn(33, 130), tier="standard"))

LAYOUTS = (
    *(Case("low", PLAIN, f"x:{layout}") for layout in ("transposed", "strided", "strided_rows", "offset", "reversed")),
    Case("low", BATCHED, "x:transposed"),
    Case("low", BATCHED, "x:broadcast"),
    *(
        Case("masked", _mn(40, 72), f"x:{layout}", tier="standard")
        for layout in ("transposed", "strided", "strided_rows", "offset")
    ),
)

OUTPUTS = (
    Case("low", PLAIN, "out:contiguous"),
    Case("low", PLAIN, "out:transposed"),
    Case("low", PLAIN, "out:strided_rows"),
)

SECOND_CALL = (Case("low", PLAIN), Case("sharp", _mn(33, 48), tier="standard"))
REPEAT = (
    Case("normal", _mn(33, "fair")),
    Case("log_probabilities", _mn(33, "fair")),
    Case("increasing", _mn(33, 700), tier="standard"),
)
SLICES = (
    Case("normal", _mn(33, "fair")),
    Case("log_probabilities", _mn(33, "fair")),
    Case("sharp", _mn(129, 512), tier="standard"),
)
SHIFT = (Case("shifted", FAIR),)
PERMUTATION = (Case("sharp", FAIR), Case("normal", _mn(5, 1000), tier="standard"))
HUNT = (Case("normal", _mn(1, 1), tier="standard"),)
