"""The cases of the law of casts, by check: recipes, sizes, layouts and tiers."""

from lastbit.case import Case

Sizes = tuple[tuple[str, int | str], ...]

ALL: Sizes = (("n", "all"),)


def _n(n: int | str) -> Sizes:
    return (("n", n),)


def _mn(m: int | str, n: int | str) -> Sizes:
    return (("m", m), ("n", n))


BATCHED: Sizes = (("batch", 3), *_mn(5, 7))
PLAIN = _mn(17, 33)

EXHAUSTIVE = (Case("every_code", ALL),)
#: Also in several dimensions, a whole number of vectors and some over, and beyond the elements of 16 bits of address.
BOUNDARIES = (
    Case("boundaries", ALL),
    Case("boundaries", _mn(32, 64)),
    Case("boundaries", (("batch", 3), *_mn(9, 71))),
    Case("boundaries", _n(64)),
    Case("boundaries", _n(65536 + 77), tier="standard"),
)
SAMPLED = (
    Case("stratified", _n(4096)),
    Case("stratified", _n(65536), tier="standard"),
    Case("stratified", _n(1 << 20), tier="full"),
)
SPECIAL = (Case("specials", ALL),)
#: 2^22 numbers of f32 at a time: 16 MB in, 32 MB of float64 beside them.
EXHAUSTIVE_32 = (Case("every_code", _n(1 << 22), tier="full"),)

#: Remainders of vectors and tiles on both sides, nothing at all, and several dimensions.
STRUCTURE = (
    *(Case("mixed", _n(n)) for n in (0, 1, 15, 16, 17, 31, 33, "undertile", "overtile")),
    Case("mixed", _mn(3, 5)),
    Case("mixed", BATCHED),
    Case("mixed", _mn(0, 5)),
    *(Case("mixed", _n(n), tier="standard") for n in (2, 3, 5, 8, 63, 65, 129, 257)),
    *(Case("mixed", _n(n), tier="standard") for n in ("tile", 1025, 65537)),
    Case("mixed", _mn(33, 129), tier="standard"),
)
PLACED = (Case("mixed", _n(19)), Case("mixed", _n(67), tier="standard"))

LAYOUTS = (
    *(
        Case("mixed", PLAIN, f"x:{layout}")
        for layout in ("transposed", "strided", "strided_rows", "offset", "reversed")
    ),
    Case("boundaries", _mn(17, 64), "x:reversed"),
    Case("mixed", _n(101), "x:strided"),
    Case("mixed", BATCHED, "x:transposed"),
    Case("mixed", BATCHED, "x:broadcast"),
    *(
        Case("mixed", _mn(40, 73), f"x:{layout}", tier="standard")
        for layout in ("transposed", "strided", "strided_rows", "offset")
    ),
)
OUTPUTS = (
    Case("mixed", PLAIN, "out:contiguous"),
    Case("mixed", PLAIN, "out:transposed"),
    Case("mixed", PLAIN, "out:strided_rows"),
)
SECOND_CALL = (Case("mixed", _mn(17, 35)),)
REPEAT = (Case("mixed", _mn(33, 65)), Case("boundaries", ALL, tier="standard"))
MONOTONE = (Case("boundaries", ALL),)
UNCHANGED = (Case("shared", ALL),)
#: Some 650 numbers at each of up to 150 places between neighbours.
STOCHASTIC = (Case("fractions", _n(100_000)), Case("fractions", _n(1 << 20), tier="standard"))
HUNT = (Case("mixed", _n(1), tier="standard"),)
