"""The cases of the scaled GEMM law, by check: recipes, sizes, layouts, options and tiers.

Words for sizes follow the scaling: a tile of k is a group, one of m or n a block of 128, where the scaling has these.
"""

from lastbit.case import Case
from lastbit.references.dequantize_data import GLOBALS

Sizes = tuple[tuple[str, int | str], ...]


def _mnk(m: int | str, n: int | str, k: int | str) -> Sizes:
    return (("m", m), ("n", n), ("k", k))


#: M, N and K differ, and k ends one number into its third group.
PLAIN = _mnk(17, 33, "spanning")
FAIR = _mnk(17, 33, "fair")

#: Whole tiles and vectors of one dimension and then another, for kernels that small products suit.
EVEN = (_mnk(2, 128, 512), _mnk(128, 2, 512), _mnk(64, 64, 32))

EXACT_RECIPES = (
    "integers",
    "scales",
    "wide",
    "k_blocks",
    "cancel_halves",
    "one_hot_a",
    "one_hot_b",
    "ties",
    "full_range",
    "full_range_turned",
)
EXACT = (
    *(Case(recipe, PLAIN) for recipe in EXACT_RECIPES),
    Case("scales", _mnk("overtile", 33, "spanning")),
    Case("scales", _mnk(5, "overtile", "spanning")),
    Case("scales", _mnk(64, 64, 512)),
    *(Case("scales", sizes) for sizes in EVEN),
    Case("opposite_scales", PLAIN),
    Case("opposite_scales", _mnk(3, 4, 8192)),  # every exponent of a group of 32
    Case("full_range", _mnk(5, 6, 4099)),  # sums beyond 2^25: an f32 or a 24-bit sum loses them
    *(Case(recipe, _mnk(65, 31, 300), tier="standard") for recipe in EXACT_RECIPES),
    Case("scales", _mnk("spanning", "overtile", 128), tier="standard"),
    Case("scales", _mnk(128, 256, 1024), tier="standard"),
    Case("cancel_halves", _mnk(9, 10, 4096), tier="standard"),
    Case("full_range", _mnk(2, 3, 33025), tier="standard"),  # the longest of u8 x u8, and with zero points
    Case("full_range", _mnk(2, 3, 65793), tier="standard"),  # the longest sum of u8 x i8 that stays in i32
    Case("full_range", _mnk(2, 3, 131071), tier="standard"),  # of i8 x i8
)

#: Remainders on both sides of a tile and a group, single rows and columns, and k % 32 == 16.
TAILS = (
    Case("scales", _mnk("overtile", "undertile", "overtile")),
    Case("scales", _mnk("undertile", "overtile", "undertile")),
    Case("scales", _mnk("tile", "tile", "tile")),
    Case("scales", _mnk(4, 8, 48)),
    Case("scales", _mnk(1, 33, "spanning")),
    Case("scales", _mnk(17, 1, "spanning")),
    Case("integers", _mnk(1, 3, 16)),  # a single sum may be zero by chance
    Case("integers", _mnk(5, 6, 1)),
    Case("scales", _mnk(3, 5, 31)),
    *(Case("scales", _mnk(m, 24, 96), tier="standard") for m in (2, 3, 4, 7, 8, 9, 15, 16, 31, 63, 64, 65, 127, 129)),
    *(Case("scales", _mnk(24, n, 96), tier="standard") for n in (2, 3, 4, 7, 8, 9, 15, 16, 31, 63, 64, 65, 127, 129)),
    *(Case("scales", _mnk(6, 10, k), tier="standard") for k in (3, 7, 15, 17, 63, 65, 127, 129, 144, 255, 257, 400)),
)

EMPTY = (Case("integers", _mnk(0, 4, 32)),)

BOUND = (
    Case("normal", _mnk(24, 40, "fair")),
    Case("normal", _mnk(24, 20, 520)),
    Case("uniform", _mnk(8, 12, "long")),
    Case("uniform", _mnk(1, 1, 16)),
    Case("sharp", _mnk(16, 20, 520)),
    Case("cancel", _mnk(24, 17, "fair")),
    Case("subnormals", _mnk(24, 17, "fair")),
    Case("near_overflow", _mnk(24, 17, "fair")),
    Case("truncation", _mnk(12, 10, "fair")),
    Case("full_range", _mnk(12, 10, "fair")),
    Case("normal", _mnk(1, 40, 129), tier="standard"),
    Case("normal", _mnk("overtile", 96, 1024), tier="standard"),
    Case("normal", _mnk(200, 260, 384), tier="standard"),
    Case("sharp", _mnk(33, 47, 1024), tier="standard"),
    Case("cancel", _mnk(48, 33, 1024), tier="standard"),
    Case("truncation", _mnk(24, 20, "long"), tier="standard"),
)

#: Enough outputs that a one-sided rounding stands out, few enough for an interpreter.
STATISTICS = (
    Case("uniform", _mnk(32, 40, 136)),
    Case("normal", _mnk(32, 40, 136)),
    Case("uniform", _mnk(128, 128, 512), tier="standard"),
)

SPECIAL = (
    Case("special", FAIR),
    Case("special", _mnk(9, 10, "spanning")),
    Case("infinite_scales", FAIR),
    *(Case(recipe, _mnk(9, 10, "fair")) for recipe in GLOBALS),
)

EPILOGUE = (
    Case("integers", PLAIN, options=(("bias", 1),)),
    Case("normal", FAIR, options=(("bias", 1),)),
    Case("cancel", FAIR, options=(("bias", 1),), tier="standard"),
)

LAYOUTS = (
    *(Case("scales", PLAIN, layout) for layout in ("a:transposed", "b:transposed", "a:transposed+b:transposed")),
    Case("scales", PLAIN, "a:strided_rows+b:strided_rows"),
    Case("scales", PLAIN, "a:strided+b:strided"),
    Case("scales", PLAIN, "a:offset+b:offset"),
    Case("scales", PLAIN, "a:reversed"),
    Case("scales", PLAIN, "b:reversed"),
    *(
        Case("scales", PLAIN, f"scale_{name}:{layout}")
        for name in "ab"
        for layout in ("transposed", "strided", "strided_rows", "offset", "reversed")
    ),
)

OUTPUTS = (Case("scales", PLAIN, "out:contiguous"), Case("scales", PLAIN, "out:transposed"))

SECOND_CALL = (Case("scales", PLAIN), Case("normal", _mnk(33, 20, 96), tier="standard"))
REPEAT = (Case("normal", _mnk(33, 40, "fair")), Case("normal", _mnk(128, 130, 700), tier="standard"))
SLICES = (Case("normal", _mnk(33, 40, "fair")), Case("normal", _mnk(129, 64, 512), tier="standard"))
SCALING = (Case("normal", FAIR),)
HUNT = (Case("normal", _mnk(1, 1, 1), tier="standard"),)
