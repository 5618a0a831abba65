"""The cases of the attention law, by check: recipes, sizes, layouts, options and tiers."""

from lastbit.case import Case

Size = int | str
Sizes = tuple[tuple[str, Size], ...]


def _sizes(
    lq: Size, lk: Size, d: int = 16, *, hq: int = 1, hkv: int | None = None, dv: int | None = None, batch: int = 1
) -> Sizes:
    heads = (("batch", batch), ("hq", hq), ("hkv", hq if hkv is None else hkv))
    return (*heads, ("lq", lq), ("lk", lk), ("d", d), ("dv", d if dv is None else dv))


#: All sizes differ and none divides a tile, so that a swapped index or a lost remainder cannot hide.
PLAIN = _sizes(5, 33, 20, hq=2, batch=2)
GROUPED = _sizes(5, 19, 16, hq=6, hkv=2, dv=20)
BOUNDED = _sizes(7, 70)

EXACT = (
    Case("one_hot", PLAIN),
    Case("one_hot", GROUPED),
    Case("uniform", _sizes(5, 64)),
    Case("uniform", _sizes(3, 16, 40, hq=2, hkv=1)),
    Case("one_hot", _sizes(65, 129, 64, hq=4), tier="standard"),
    Case("one_hot", _sizes(33, 257, 64, hq=8, hkv=2), tier="standard"),
    Case("uniform", _sizes(17, 512, 32), tier="standard"),
)

#: Remainders of the tiles of queries and keys on both sides, single queries and keys, and uneven heads.
TAILS = (
    Case("one_hot", _sizes("overtile", "undertile", hq=1)),
    Case("one_hot", _sizes("undertile", "overtile", hq=1)),
    Case("one_hot", _sizes(1, "overtile")),
    Case("one_hot", _sizes("overtile", 2, hq=1)),
    Case("one_hot", _sizes(1, 3)),
    Case("one_hot", _sizes(3, 1)),
    Case("one_hot", _sizes(4, 11, 40, hq=1)),
    Case("sharp", _sizes(4, 11, 72, hq=1)),
    Case("one_hot", _sizes(2, 12, 17, hq=1, dv=33)),
    Case("heads", _sizes(1, 9, hq=7, hkv=1)),
    *(Case("one_hot", _sizes(lq, 40), tier="standard") for lq in (2, 3, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65)),
    *(Case("one_hot", _sizes(5, lk), tier="standard") for lk in (4, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128)),
    *(Case("sharp", _sizes(5, 40, d), tier="standard") for d in (1, 2, 8, 48, 80, 96, 128)),
    *(Case("heads", _sizes(3, 17, hq=h, hkv=1), tier="standard") for h in (2, 3, 5, 7, 8)),
)

RECIPES_BOUND = ("sharp", "sharper", "sink", "increasing", "decreasing", "equal_maxima", "near_overflow")
OFFSETS = ("offset", "far_offset", "low_offset")
BOUND = (
    Case("normal", _sizes(7, 40, 24, hq=2, hkv=1, batch=2)),
    *(Case(recipe, BOUNDED) for recipe in (*RECIPES_BOUND, *OFFSETS)),
    Case("sharp", (*_sizes(5, 33),), options=(("scale", 0.3),)),
    *(Case(recipe, _sizes(17, 300, 64), tier="standard") for recipe in (*RECIPES_BOUND, *OFFSETS)),
    Case("sharp", _sizes(1, 1000, 128, hq=8, hkv=2), tier="standard"),
)

#: Enough rows that a one-sided rounding stands out, one column of each being looked at.
STATISTICS = (
    Case("sharp", _sizes(96, 60, hq=4, batch=2)),
    Case("normal", _sizes(96, 60, hq=4, batch=2)),
    Case("sharp", _sizes(256, 256, 64, hq=4), tier="standard"),
    Case("normal", _sizes(256, 256, 64, hq=4), tier="standard"),
)

SPECIAL = (
    Case("normal", _sizes(6, 20, hq=2)),
    Case("normal", _sizes(8, 20, hq=2), options=(("causal", 1),)),
    Case("normal", _sizes(33, 70, 32, hq=2), tier="standard"),
)

#: Keys that nobody sees: before a window, or after the last query where the diagonal starts in the corner.
MASKED_VALUES = (
    Case("poison", _sizes(4, 24), options=(("causal", 1), ("window", "2:0"))),
    Case("poison", _sizes(4, 13, hq=2, hkv=1), options=(("window", "3:1"),)),
    Case("poison", _sizes(33, 100, hq=4, hkv=2), options=(("window", "7:7"),), tier="standard"),
)

_C = (("causal", 1),)
MASKS = (
    Case("one_hot", _sizes(17, 17), options=_C),
    Case("one_hot", _sizes(5, 21), options=_C),
    Case("one_hot", _sizes(21, 5), options=_C),
    Case("sharp", _sizes("overtile", "overtile", hq=1), options=_C),
    Case("increasing", _sizes(7, 40), options=_C),
    Case("one_hot", _sizes(17, 17), options=(*_C, ("window", "2:0"))),
    Case("one_hot", _sizes(9, 20), options=(("window", "3:1"),)),
    Case("one_hot", _sizes(9, 20), options=(("window", "-1:2"),)),
    Case("one_hot", _sizes(12, 12), options=(("window", "0:0"),)),
    Case("sharp", _sizes(9, 70), options=(*_C, ("window", "4:-1"))),
    Case("one_hot", _sizes(9, 21, batch=2), options=(("mask", "keep"),)),
    Case("sharp", _sizes(9, 21, batch=2), options=(("mask", "keep"),)),
    Case("sharp", _sizes(9, 21, batch=2), options=(("mask", "add"),)),
    Case("sharp", _sizes(9, 21), options=(*_C, ("mask", "keep"))),
    *(Case("one_hot", _sizes(n, n), options=_C, tier="standard") for n in (2, 31, 33, 63, 64, 65)),
    *(Case("one_hot", _sizes(33, 45), options=(*_C, ("window", f"{w}:0")), tier="standard") for w in (0, 1, 2, 31, 32)),
    Case("one_hot", _sizes(1, 40), options=(*_C, ("window", "5:0")), tier="standard"),
)

FEATURES = (
    Case("sharp", _sizes(5, 21, hq=2), options=(("bias", "heads"),)),
    Case("sharp", _sizes(5, 21), options=(("softcap", 5.0),)),
    Case("sharper", _sizes(5, 40), options=(("softcap", 30.0),)),
    Case("sharp", _sizes(5, 21, hq=2), options=(("sinks", "heads"),)),
    Case("normal", _sizes(5, 9), options=(("sinks", "heads"), ("causal", 1))),
    Case("heads", _sizes(5, 11, hq=4, hkv=2)),
    Case("one_hot", _sizes(3, 11, hq=4, hkv=2), options=_C),
    *(Case("heads", _sizes(5, 40, hq=3 * g, hkv=3), tier="standard") for g in (2, 3, 5, 7)),
    Case("sharp", _sizes(17, 90, 32, hq=4), options=(("bias", "heads"), *_C), tier="standard"),
)

LSE = (
    *(Case(recipe, _sizes(5, 40)) for recipe in (*OFFSETS, "increasing")),
    Case("sharp", _sizes(9, 5), options=_C),
    *(Case(recipe, _sizes(33, 200), tier="standard") for recipe in (*OFFSETS, "increasing", "sharp")),
)

LAYOUTS = (
    Case("one_hot", PLAIN, "q:interleaved+k:interleaved+v:interleaved"),
    Case("one_hot", PLAIN, "k:transposed+v:transposed"),
    Case("one_hot", PLAIN, "q:strided+k:strided_rows+v:strided"),
    Case("sharp", GROUPED, "q:transposed+k:offset+v:strided_rows"),
    Case("one_hot", PLAIN, "q:reversed+k:reversed+v:reversed"),
    *(
        Case("sharp", _sizes(20, 50, hq=4, batch=2), f"q:{q}+k:{k}+v:{k}", tier="standard")
        for q in ("contiguous", "interleaved", "strided", "strided_rows")
        for k in ("contiguous", "interleaved", "transposed", "strided", "offset")
    ),
)

SECOND_CALL = (Case("sharp", _sizes(5, 20)), Case("one_hot", _sizes(33, 40), tier="standard"))
REPEAT = (Case("sharp", _sizes(7, 40)), Case("sharp", _sizes(65, 300, 64, hq=4), tier="standard"))
SLICES = (Case("sharp", _sizes(9, 40, batch=2)), Case("sharp", _sizes(65, 200, 64, batch=5), tier="standard"))
PERMUTATION = (Case("sharp", _sizes(6, 50)), Case("increasing", _sizes(33, 200, 32), tier="standard"))
DECODE = (
    Case("sharp", _sizes(6, 21), options=_C),
    Case("increasing", _sizes(40, 100, 32), options=_C, tier="standard"),
)
CHUNKS = (Case("sharp", _sizes(5, 44)), Case("increasing", _sizes(17, 200, 32), tier="standard"))

LARGE = (
    Case("sharp", _sizes(128, 1024, 32, hq=2)),
    Case("sharp", _sizes(1024, 1024, 64, hq=4, hkv=2), options=_C, tier="standard"),
    Case("increasing", _sizes(4096, 4096, 64, hq=2), options=_C, tier="full"),
)

HUNT = (Case("sharp", _sizes(1, 1), tier="standard"),)
