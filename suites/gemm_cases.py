"""The cases of the GEMM law, by check: recipes, sizes, layouts, options and tiers."""

from lastbit.case import Case

Sizes = tuple[tuple[str, int | str], ...]


def _mnk(m: int | str, n: int | str, k: int | str) -> Sizes:
    return (("m", m), ("n", n), ("k", k))


#: M, N and K differ and none divides a tile, so that a swapped index or a lost remainder cannot hide.
PLAIN = _mnk(17, 33, 65)
BATCHED: Sizes = (("batch", 3), *_mnk(5, 7, 33))
FAIR = _mnk(17, 33, "fair")

EXACT_RECIPES = ("integers", "scales", "k_blocks", "one_hot_a", "one_hot_b", "cancel_halves", "ties", "full_range")
EXACT = (
    *(Case(recipe, PLAIN) for recipe in EXACT_RECIPES),
    Case("scales", BATCHED),
    Case("full_range", _mnk(5, 6, 4099)),  # sums beyond 2^25, odd: an f32 or a 24-bit integer sum loses them
    *(Case(recipe, _mnk(65, 31, 129), tier="standard") for recipe in EXACT_RECIPES),
    Case("k_blocks", _mnk(9, 10, 1000), tier="standard"),
    Case("cancel_halves", _mnk(9, 10, 4096), tier="standard"),
)

#: Remainders of every tile dimension on both sides, single rows, columns and products, and k % 32 == 16.
TAILS = (
    Case("integers", _mnk("overtile", "undertile", "overtile")),
    Case("scales", _mnk("undertile", "overtile", "undertile")),
    Case("integers", _mnk("tile", "tile", "tile")),
    Case("scales", _mnk(1, 33, 65)),
    Case("scales", _mnk(17, 1, 65)),
    Case("scales", _mnk(1, 1, 17)),
    Case("integers", _mnk(5, 6, 1)),
    Case("integers", _mnk(2, 3, 2)),
    Case("one_hot_b", _mnk(4, 8, 48)),
    *(Case("scales", _mnk(m, 24, 40), tier="standard") for m in (2, 3, 4, 7, 8, 9, 15, 16, 31, 33, 48, 63, 64, 65)),
    *(Case("scales", _mnk(24, n, 40), tier="standard") for n in (2, 3, 4, 7, 8, 9, 15, 16, 31, 48, 63, 64, 65, 127)),
    *(Case("integers", _mnk(6, 10, k), tier="standard") for k in (3, 4, 7, 8, 9, 15, 16, 31, 63, 64, 127, 255, 257)),
)

EMPTY = (
    Case("integers", _mnk(3, 4, 0)),
    Case("integers", _mnk(0, 4, 5)),
    Case("integers", _mnk(3, 0, 5)),
)

BOUND = (
    Case("normal", _mnk(24, 40, "fair")),
    Case("uniform", _mnk(8, 12, "long")),
    Case("outliers", _mnk(16, 20, "fair")),
    Case("cancel", _mnk(24, 17, "fair")),
    Case("ill_conditioned", _mnk(24, 17, "fair")),
    Case("wide_exponents", _mnk(24, 17, "fair")),
    Case("subnormals", _mnk(24, 17, "fair")),
    Case("near_overflow", _mnk(24, 17, "fair")),
    Case("truncation", _mnk(12, 10, "fair")),
    Case("normal", (("batch", 3), *_mnk(5, 7, "fair"))),
    Case("normal", _mnk(1, 40, 129), tier="standard"),
    Case("normal", _mnk(128, 96, 1024), tier="standard"),
    Case("uniform", _mnk(1, 1, "long"), tier="standard"),
    Case("outliers", _mnk(33, 47, 1024), tier="standard"),
    Case("cancel", _mnk(48, 33, 1024), tier="standard"),
    Case("truncation", _mnk(24, 20, 1024), tier="standard"),
)

#: Enough outputs that a one-sided rounding stands out, few enough for an interpreter.
STATISTICS = (
    Case("uniform", _mnk(32, 48, 256)),
    Case("normal", _mnk(32, 48, 256)),
    Case("uniform", _mnk(128, 128, 512), tier="standard"),
    Case("normal", _mnk(128, 128, 512), tier="standard"),
)

SPECIAL = (
    Case("special", FAIR),
    Case("special", _mnk(33, 17, 65), tier="standard"),
)

EPILOGUE = (
    Case("integers", PLAIN, options=(("bias", 1),)),
    Case("normal", FAIR, options=(("bias", 1),)),
    Case("integers", PLAIN, options=(("alpha", 0.5), ("beta", 2.0))),
    Case("normal", FAIR, options=(("alpha", 0.75), ("beta", -1.25))),
    Case("integers", PLAIN, options=(("alpha", 1.0), ("beta", 0.0))),
    Case("integers", PLAIN, options=(("c", 1),)),
    Case("integers", PLAIN, options=(("alpha", 0.5),)),
    Case("integers", PLAIN, options=(("alpha", -1.0), ("beta", 1.0))),
    Case("normal", FAIR, options=(("alpha", 0.3), ("beta", 0.1))),
    Case("integers", PLAIN, options=(("alpha", 0.5), ("beta", 2.0), ("bias", 1))),
    Case("integers", _mnk(5, 6, 0), options=(("alpha", 0.5), ("beta", 2.0))),
    Case("integers", _mnk(5, 6, 0), options=(("bias", 1),)),
    Case("normal", _mnk(5, 6, 0), options=(("alpha", 0.75), ("beta", 0.3)), tier="standard"),
    Case("integers", BATCHED, options=(("alpha", 0.5), ("beta", 2.0))),
    Case("integers", PLAIN, "c:transposed", options=(("alpha", 0.5), ("beta", 2.0))),
)

LAYOUTS = (
    *(Case("scales", PLAIN, layout) for layout in ("a:transposed", "b:transposed", "a:transposed+b:transposed")),
    *(Case("scales", PLAIN, layout) for layout in ("a:strided+b:strided", "a:strided_rows+b:strided_rows")),
    Case("scales", PLAIN, "a:offset+b:offset"),
    Case("scales", PLAIN, "a:reversed+b:reversed"),
    *(Case("scales", _mnk(1, 33, 65), layout) for layout in ("a:transposed", "b:transposed")),
    *(Case("scales", _mnk(32, 32, 32), layout) for layout in ("a:transposed", "b:transposed")),
    Case("scales", _mnk(9, 10, 200), "a:transposed+b:transposed"),
    Case("scales", BATCHED, "b:broadcast"),
    Case("scales", BATCHED, "a:transposed+b:strided"),
    *(
        Case("normal", _mnk(40, 24, 72), f"a:{a}+b:{b}", tier="standard")
        for a in ("contiguous", "transposed", "strided", "strided_rows", "offset")
        for b in ("contiguous", "transposed", "strided", "strided_rows", "offset")
    ),
)

OUTPUTS = (
    Case("scales", PLAIN, "out:contiguous"),
    Case("scales", PLAIN, "out:transposed"),
    Case("scales", PLAIN, "out:strided_rows"),
)

SECOND_CALL = (Case("integers", PLAIN), Case("normal", _mnk(33, 20, 48), tier="standard"))

REPEAT = (
    Case("normal", _mnk(33, 40, "fair")),
    Case("normal", _mnk(4, 5, "long")),
    Case("order", _mnk(33, 40, "fair")),
    Case("normal", _mnk(128, 130, 700), tier="standard"),
)
SLICES = (
    Case("normal", _mnk(33, 40, "fair")),
    Case("order", _mnk(33, 40, "fair")),
    Case("normal", _mnk(129, 64, 512), tier="standard"),
    Case("normal", _mnk(300, 16, 64), tier="standard"),
)
SCALING = (Case("ordinary", FAIR),)
PERMUTATION = (Case("normal", _mnk(18, 34, "fair")),)

LARGE = (
    Case("normal", _mnk(200, 260, 384)),
    Case("rank_one", _mnk(301, 291, 311)),
    Case("rank_one", _mnk(3, 70000, 5), tier="standard"),
    Case("rank_one", _mnk(70000, 3, 5), tier="standard"),
    Case("rank_one", _mnk(2, 3, 70000), tier="standard"),
    Case("rank_one", _mnk(700, 600, 500), tier="standard"),
    Case("normal", _mnk(640, 600, 640), tier="standard"),
    Case("normal", _mnk(2048, 2048, 2048), tier="standard"),
    Case("rank_one", _mnk(2048, 2050, 2049), tier="standard"),
    Case("normal", _mnk(8192, 8192, 8192), tier="full"),
    Case("rank_one", _mnk(8192, 8193, 8191), tier="full"),
)

HUNT = (Case("normal", _mnk(1, 1, 1), tier="standard"),)
