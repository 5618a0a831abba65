"""The cases of the dequantizer law, by check: recipes, sizes in groups of the scaling, layouts and tiers."""

from lastbit.case import Case
from lastbit.references.dequantize_data import GLOBALS

Sizes = tuple[tuple[str, int | str], ...]


def _mn(m: int | str, n: int | str) -> Sizes:
    return (("m", m), ("n", n))


#: Three groups in a row; rows that no tile divides.
PLAIN = _mn(17, "tile")
BATCHED: Sizes = (("batch", 2), *_mn(5, "tile"))
SMALL = _mn(5, "tile")
#: Whole tiles and vectors; a row alone, long; more rows than a machine has processors.
EVEN, ALONE, MANY = _mn(16, "even"), _mn(1, "wide"), _mn(300, "fair")

#: 1,632 codes at least, more than any format of 8 bits has.
CODES = (Case("every_code", PLAIN), Case("every_code", BATCHED), Case("every_code", _mn(67, "long"), tier="standard"))
SCALES = (
    Case("every_scale", _mn(131, "tile")),
    Case("every_scale", _mn(131, "long"), tier="standard"),
)
EXACT = (
    Case("random_codes", PLAIN),
    Case("random_codes", _mn(3, "long")),
    Case("random_codes", BATCHED),
    Case("random_codes", _mn(1, "fair")),
    Case("random_codes", EVEN),
    Case("random_codes", _mn(67, "long"), tier="standard"),
)
ROUNDING = (
    *(Case("beside_ties", sizes) for sizes in (PLAIN, BATCHED, EVEN, ALONE, MANY)),
    Case("beside_ties", _mn(67, "long"), tier="standard"),
)
PLACED = (
    Case("placed", PLAIN),
    Case("placed", BATCHED),
    # Enough scales for several tiles of a swizzled layout, and none that fills one.
    Case("placed", _mn(131, "long")),
    Case("placed", _mn(300, "tile"), tier="standard"),
)
ZERO_POINTS = (Case("zero_points", PLAIN), Case("zero_points", _mn(131, "long"), tier="standard"))
SPECIAL = (Case("special", PLAIN), Case("special", _mn(67, "long"), tier="standard"))
GLOBAL = tuple(Case(recipe, _mn(3, "fair")) for recipe in GLOBALS)
TAILS = (
    *(Case(recipe, _mn(3, n)) for n in ("overtile", "undertile") for recipe in ("random_codes", "placed")),
    Case("placed", _mn(3, "halftile")),
)
EMPTY = (Case("random_codes", _mn(0, "tile")),)
LAYOUTS = (
    *(Case("placed", SMALL, f"codes:{layout}") for layout in ("transposed", "strided", "strided_rows", "offset")),
    Case("placed", SMALL, "codes:reversed"),
    *(
        Case("placed", PLAIN, f"scale:{layout}")
        for layout in ("transposed", "strided_rows", "strided", "offset", "reversed")
    ),
    *(Case("placed", BATCHED, f"codes:{layout}+scale:{layout}") for layout in ("transposed", "strided_rows")),
)
SECOND_CALL = (Case("random_codes", SMALL), Case("placed", PLAIN))
REPEAT = (Case("random_codes", _mn(33, "tile")),)
HUNT = (Case("random_codes", _mn(1, 1), tier="standard"),)
