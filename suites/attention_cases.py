"""The cases of the attention law, by check: recipes, sizes, layouts, options and tiers."""

from lastbit.case import Case

Size = int | str
Sizes = tuple[tuple[str, Size], ...]


def sizes(
    lq: Size, lk: Size, d: int = 16, *, hq: int = 1, hkv: int | None = None, dv: int | None = None, batch: int = 1
) -> Sizes:
    """The sizes of a case; a batch of one, no grouped heads and dv = d unless given."""
    heads = (("batch", batch), ("hq", hq), ("hkv", hq if hkv is None else hkv))
    return (*heads, ("lq", lq), ("lk", lk), ("d", d), ("dv", d if dv is None else dv))


#: All sizes differ and none divides a tile, so that a swapped index or a lost remainder cannot hide.
PLAIN = sizes(5, 33, 20, hq=2, batch=2)
GROUPED = sizes(5, 19, 16, hq=6, hkv=2, dv=20)
BOUNDED = sizes(7, 70)

EXACT = (
    Case("one_hot", PLAIN),
    Case("one_hot", GROUPED),
    Case("uniform", sizes(5, 64)),
    Case("uniform", sizes(3, 16, 40, hq=2, hkv=1)),
    Case("one_hot", sizes(65, 129, 64, hq=4), tier="standard"),
    Case("one_hot", sizes(33, 257, 64, hq=8, hkv=2), tier="standard"),
    Case("uniform", sizes(17, 512, 32), tier="standard"),
)

#: Remainders of the tiles of queries and keys on both sides, single queries and keys, and uneven heads.
TAILS = (
    Case("one_hot", sizes("overtile", "undertile", hq=1)),
    Case("one_hot", sizes("undertile", "overtile", hq=1)),
    Case("one_hot", sizes(1, "overtile")),
    Case("one_hot", sizes("overtile", 2, hq=1)),
    Case("one_hot", sizes(1, 3)),
    Case("one_hot", sizes(3, 1)),
    Case("one_hot", sizes(4, 11, 40, hq=1)),
    Case("sharp", sizes(4, 11, 72, hq=1)),
    Case("one_hot", sizes(2, 12, 17, hq=1, dv=33)),
    Case("heads", sizes(1, 9, hq=7, hkv=1)),
    *(Case("one_hot", sizes(lq, 40), tier="standard") for lq in (2, 3, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65)),
    *(Case("one_hot", sizes(5, lk), tier="standard") for lk in (4, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128)),
    *(Case("sharp", sizes(5, 40, d), tier="standard") for d in (1, 2, 8, 48, 80, 96, 128)),
    *(Case("heads", sizes(3, 17, hq=h, hkv=1), tier="standard") for h in (2, 3, 5, 7, 8)),
)

RECIPES_BOUND = ("sharp", "sharper", "sink", "increasing", "decreasing", "equal_maxima", "near_overflow")
OFFSETS = ("offset", "far_offset", "low_offset")
BOUND = (
    Case("normal", sizes(7, 40, 24, hq=2, hkv=1, batch=2)),
    *(Case(recipe, BOUNDED) for recipe in (*RECIPES_BOUND, *OFFSETS)),
    Case("sharp", (*sizes(5, 33),), options=(("scale", 0.3),)),
    *(Case(recipe, sizes(17, 300, 64), tier="standard") for recipe in (*RECIPES_BOUND, *OFFSETS)),
    Case("sharp", sizes(1, 1000, 128, hq=8, hkv=2), tier="standard"),
)

#: Enough rows that a one-sided rounding stands out, one column of each being looked at.
STATISTICS = (
    Case("sharp", sizes(96, 60, hq=4, batch=2)),
    Case("normal", sizes(96, 60, hq=4, batch=2)),
    Case("sharp", sizes(256, 256, 64, hq=4), tier="standard"),
    Case("normal", sizes(256, 256, 64, hq=4), tier="standard"),
)

SPECIAL = (
    Case("normal", sizes(6, 20, hq=2)),
    Case("normal", sizes(6, 6, hq=2)),
    Case("normal", sizes(8, 20, hq=2), options=(("causal", 1),)),
    Case("normal", sizes(33, 70, 32, hq=2), tier="standard"),
)

#: Keys that nobody sees: before a window, or after the last query where the diagonal starts in the corner.
MASKED_VALUES = (
    Case("poison", sizes(4, 24), options=(("causal", 1), ("window", "2:0"))),
    Case("poison", sizes(4, 13, hq=2, hkv=1), options=(("window", "3:1"),)),
    Case("poison", sizes(33, 100, hq=4, hkv=2), options=(("window", "7:7"),), tier="standard"),
)

_C = (("causal", 1),)
MASKS = (
    Case("one_hot", sizes(17, 17), options=_C),
    Case("one_hot", sizes(5, 21), options=_C),
    Case("one_hot", sizes(21, 5), options=_C),
    Case("sharp", sizes("overtile", "overtile", hq=1), options=_C),
    Case("increasing", sizes(7, 40), options=_C),
    Case("one_hot", sizes(17, 17), options=(*_C, ("window", "2:0"))),
    Case("one_hot", sizes(9, 20), options=(("window", "3:1"),)),
    Case("one_hot", sizes(9, 20), options=(("window", "-1:2"),)),
    Case("sharp", sizes(12, 12), options=(("window", "0:0"),)),
    Case("sharp", sizes(9, 70), options=(*_C, ("window", "4:-1"))),
    Case("low_offset", sizes(16, 48), options=(*_C, ("window", "4:0"))),
    Case("one_hot", sizes(9, 21, batch=2), options=(("mask", "keep"),)),
    Case("sharp", sizes(9, 21, batch=2), options=(("mask", "keep"),)),
    Case("sharp", sizes(9, 21, batch=2), options=(("mask", "add"),)),
    Case("sharp", sizes(9, 21), options=(*_C, ("mask", "keep"))),
    Case("sharp", sizes(21, 5), options=(*_C, ("mask", "keep"))),
    *(Case("one_hot", sizes(n, n), options=_C, tier="standard") for n in (2, 31, 33, 63, 64, 65)),
    *(Case("one_hot", sizes(33, 45), options=(*_C, ("window", f"{w}:0")), tier="standard") for w in (0, 1, 2, 31, 32)),
    Case("one_hot", sizes(1, 40), options=(*_C, ("window", "5:0")), tier="standard"),
)

FEATURES = (
    Case("sharp", sizes(5, 21, hq=2), options=(("bias", "heads"),)),
    Case("sharp", sizes(5, 21), options=(("softcap", 5.0),)),
    Case("sharper", sizes(5, 40), options=(("softcap", 30.0),)),
    Case("offset", sizes(5, 40), options=(("softcap", 5.0),)),
    Case("sharp", sizes(5, 21, hq=2), options=(("sinks", "heads"),)),
    Case("normal", sizes(5, 9), options=(("sinks", "heads"), ("causal", 1))),
    Case("heads", sizes(5, 11, hq=4, hkv=2)),
    Case("heads", sizes(5, 40, hq=14, hkv=2)),
    Case("one_hot", sizes(3, 11, hq=4, hkv=2), options=_C),
    *(Case("heads", sizes(5, 40, hq=3 * g, hkv=3), tier="standard") for g in (2, 3, 5, 7)),
    Case("sharp", sizes(17, 90, 32, hq=4), options=(("bias", "heads"), *_C), tier="standard"),
)

LSE = (
    *(Case(recipe, sizes(5, 40)) for recipe in (*OFFSETS, "increasing")),
    Case("sharp", sizes(9, 5), options=_C),
    *(Case(recipe, sizes(33, 200), tier="standard") for recipe in (*OFFSETS, "increasing", "sharp")),
)

LAYOUTS = (
    Case("one_hot", PLAIN, "q:interleaved+k:interleaved+v:interleaved"),
    Case("one_hot", PLAIN, "k:transposed+v:transposed"),
    Case("one_hot", PLAIN, "q:strided+k:strided_rows+v:strided"),
    Case("sharp", GROUPED, "q:transposed+k:offset+v:strided_rows"),
    Case("one_hot", PLAIN, "q:reversed+k:reversed+v:reversed"),
    *(
        Case("sharp", sizes(20, 50, hq=4, batch=2), f"q:{q}+k:{k}+v:{k}", tier="standard")
        for q in ("contiguous", "interleaved", "strided", "strided_rows")
        for k in ("contiguous", "interleaved", "transposed", "strided", "offset")
    ),
)

SECOND_CALL = (Case("sharp", sizes(5, 20)), Case("one_hot", sizes(33, 40), tier="standard"))
REPEAT = (Case("sharp", sizes(7, 40)), Case("sharp", sizes(65, 300, 64, hq=4), tier="standard"))
SLICES = (Case("sharp", sizes(9, 40, batch=2)), Case("sharp", sizes(65, 200, 64, batch=5), tier="standard"))
PERMUTATION = (Case("sharp", sizes(6, 50)), Case("increasing", sizes(33, 200, 32), tier="standard"))
DECODE = (
    Case("sharp", sizes(6, 21), options=_C),
    Case("increasing", sizes(40, 100, 32), options=_C, tier="standard"),
)
CHUNKS = (Case("sharp", sizes(5, 44)), Case("increasing", sizes(17, 200, 32), tier="standard"))

LARGE = (
    Case("sharp", sizes(128, 1024, 32, hq=2)),
    Case("increasing", sizes(16, 1024, 32)),
    Case("sharp", sizes(1024, 1024, 64, hq=4, hkv=2), options=_C, tier="standard"),
    Case("increasing", sizes(4096, 4096, 64, hq=2), options=_C, tier="full"),
)

HUNT = (Case("sharp", sizes(1, 1), tier="standard"),)
