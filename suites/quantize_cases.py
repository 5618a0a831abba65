"""The cases of the quantizer law, by check: recipes, sizes in groups of the scaling, layouts and tiers."""

from lastbit.case import Case

Sizes = tuple[tuple[str, int | str], ...]


def _mn(m: int | str, n: int | str) -> Sizes:
    return (("m", m), ("n", n))


#: Three groups in a row; rows that no tile divides.
PLAIN = _mn(17, "tile")
BATCHED: Sizes = (("batch", 2), *_mn(5, "tile"))
SMALL = _mn(5, "tile")
#: Sizes that common tiles and vectors divide.
EVEN = _mn(16, "even")
WIDE = _mn(4, "wide")
#: One row, as of a single token.
ROW = _mn(1, "tile")
#: More rows than a grid has programs, or a block threads.
MANY = _mn(301, "fair")

EXACT = (
    *(Case(recipe, PLAIN) for recipe in ("heavy", "one_sided")),
    Case("normal", EVEN),
    Case("normal", BATCHED),
    Case("heavy", WIDE),
    Case("normal", _mn(1, "fair")),
    *(Case(recipe, _mn(67, "long"), tier="standard") for recipe in ("normal", "heavy", "one_sided")),
)
PLACED = (
    Case("placed", EVEN),
    Case("placed", BATCHED),
    # Enough scales for several tiles of a swizzled layout, and none that fills one.
    Case("placed", _mn(131, "long")),
    Case("placed", _mn(131, "long"), "x:transposed", tier="standard"),
    Case("placed", _mn(300, "tile"), tier="standard"),
)
AMAX = (
    Case("amaxes", PLAIN),
    Case("amaxes", WIDE),
    Case("late", MANY),
    *(Case("amaxes", sizes, tier="standard") for sizes in (_mn(67, "long"), BATCHED)),
)
BOUNDARIES = (
    Case("boundaries", _mn(37, "even")),
    Case("boundaries", _mn(131, "long"), tier="standard"),
)
TIES = (
    *(Case("halves", sizes) for sizes in (EVEN, ROW, BATCHED, MANY)),
    Case("near_halves", WIDE),
    *(Case("disputed", sizes) for sizes in (EVEN, WIDE, ROW, BATCHED)),
    *(Case("halves", sizes, tier="standard") for sizes in (PLAIN, WIDE)),
    *(Case("disputed", sizes, tier="standard") for sizes in (PLAIN, MANY)),
    *(Case(recipe, _mn(67, "long"), tier="standard") for recipe in ("halves", "near_halves", "disputed")),
)
LEVELS = (
    Case("every_level", EVEN),
    Case("tiny_quotients", PLAIN),
    Case("window", PLAIN),
    Case("every_level", _mn(67, "long"), tier="standard"),
)
BEYOND = (Case("beyond", PLAIN), Case("beyond", _mn(67, "long"), tier="standard"))
GIVEN = (Case("given_scales", _mn(37, "tile")), Case("given_scales", _mn(300, "tile"), tier="standard"))
BLOCKS = (
    *(Case(recipe, PLAIN) for recipe in ("blocks", "tiny")),
    *(Case(recipe, SMALL) for recipe in ("zero", "constant", "huge")),
    *(Case(recipe, BATCHED, tier="standard") for recipe in ("blocks", "tiny")),
)
SPECIAL = (Case("special", PLAIN), Case("not_a_number", SMALL), Case("special", _mn(67, "tile"), tier="standard"))
TAILS = (
    Case("placed", _mn(3, "overtile")),
    Case("normal", _mn(3, "undertile")),
    *(Case(recipe, _mn(3, "halftile")) for recipe in ("placed", "halves")),
    Case("amaxes", _mn("overtile", "fair"), tier="standard"),
    *(Case("halves", _mn(5, n), tier="standard") for n in ("overtile", "undertile")),
    Case("placed", _mn(3, "undertile"), tier="standard"),
)
EMPTY = (Case("normal", _mn(0, "tile")),)
LAYOUTS = (
    *(
        Case("placed", SMALL, f"x:{layout}")
        for layout in ("transposed", "strided", "strided_rows", "offset", "reversed")
    ),
    *(Case("placed", BATCHED, f"x:{layout}") for layout in ("transposed", "strided_rows")),
    # Scales that are given.
    *(Case("placed", SMALL, f"scale:{layout}") for layout in ("strided", "offset", "reversed")),
    Case("placed", BATCHED, "scale:transposed"),
)
SECOND_CALL = (Case("placed", PLAIN),)
REPEAT = (Case("normal", PLAIN),)
LAWS = (Case("normal", SMALL), Case("heavy", PLAIN, tier="standard"))
ORDER = (Case("ascending", SMALL), Case("ascending", _mn(67, "long"), tier="standard"))
STOCHASTIC = (Case("shares", _mn(40, "long")), Case("shares", _mn(150, "long"), tier="standard"))
#: All bit patterns of 16 bits; of f32 as many, evenly spread.
PATTERNS = tuple(Case(recipe, _mn("all", "tile"), tier="standard") for recipe in ("patterns", "window"))
HUNT = (Case("normal", _mn(1, 1), tier="standard"),)
