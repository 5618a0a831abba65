"""KV appends that are wrong in ways seen in the field, and others that differ and are right; all on numpy arrays.

Each fault is one changed step of `store`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel

Array = Any
#: Bits of a page id that `narrow_slot` keeps.
PAGE_BITS = 16


def divided(x: Array, scale: Array, dtype: Any) -> Array:
    return narrowed(x.astype(np.float32) / scale, dtype)


def narrowed(x: Array, dtype: Any) -> Array:
    if dtype == np.int8:
        return np.clip(np.rint(x), -128, 127).astype(dtype)
    largest = np.float32(ml_dtypes.finfo(dtype).max)
    return np.clip(x, -largest, largest).astype(dtype)


def put(new: Array, slots: Array, codes: Array) -> None:
    """Tokens at their slots, one after the other."""
    flat_put(new, slots, codes, lambda slot, block, places: slot)


def flat_put(new: Array, slots: Array, codes: Array, where: Callable[[int, int, int], int]) -> None:
    pages, block = new.shape[:2]
    for token, slot in enumerate(slots):
        if slot >= 0:
            place = where(int(slot), block, pages * block) % (pages * block)
            new[place // block, place % block] = codes[token]


def store(
    k: Array,
    v: Array,
    k_cache: Array,
    v_cache: Array,
    slots: Array,
    *,
    k_scale: Array = None,
    v_scale: Array = None,
    inplace: bool = False,
    quantize: Callable[..., Array] = divided,
    write: Callable[[Array, Array, Array], None] = put,
    scales: Callable[[Array, Array], tuple[Array, Array]] = lambda a, b: (a, b),
) -> Any:
    """Both caches with the tokens in them; every step can be replaced."""
    new = (k_cache, v_cache) if inplace else (k_cache.copy(), v_cache.copy())
    chosen = (None, None) if k_scale is None else scales(k_scale, v_scale)
    for x, cache, scale in zip((k, v), new, chosen, strict=True):
        with np.errstate(all="ignore"):
            codes = x if scale is None else quantize(x, scale[:, None], cache.dtype)
        write(cache, slots, codes)
    return None if inplace else new


# Faults ------------------------------------------------------------------------------------------------------------


def _at(where: Callable[[int, int, int], int]) -> Callable[[Array, Array, Array], None]:
    return lambda new, slots, codes: flat_put(new, slots, codes, where)


def also_next(new: Array, slots: Array, codes: Array) -> None:
    """A vectorised store of two tokens where one is left: the place after the last token is written too."""
    put(new, slots, codes)
    if len(slots) % 2 and slots[-1] >= 0:
        flat_put(new, slots[-1:] + 1, codes[-1:], lambda slot, block, places: slot)


def whole_page(new: Array, slots: Array, codes: Array) -> None:
    """The rest of a page is cleared when its first place is written."""
    for slot in slots:
        if slot >= 0 and slot % new.shape[1] == 0:
            new[slot // new.shape[1]] = 0
    put(new, slots, codes)


def wraps_padding(new: Array, slots: Array, codes: Array) -> None:
    for token, slot in enumerate(slots):
        new[slot // new.shape[1], slot % new.shape[1]] = codes[token]


def stops_at_padding(new: Array, slots: Array, codes: Array) -> None:
    stop = next((token for token, slot in enumerate(slots) if slot < 0), len(slots))
    put(new, slots[:stop], codes[:stop])


def mixes_duplicates(new: Array, slots: Array, codes: Array) -> None:
    """The first half of a token's elements is stored last to first, the second half first to last."""
    half = codes.shape[-1] // 2
    before = new[..., half:].copy()
    put(new, slots[::-1], codes[::-1])
    first = new[..., :half].copy()
    new[..., half:] = before
    put(new, slots, codes)
    new[..., :half] = first


def drops_last(new: Array, slots: Array, codes: Array) -> None:
    put(new, slots[:-1], codes[:-1])


def sorted_slots(new: Array, slots: Array, codes: Array) -> None:
    put(new, np.sort(slots), codes)


_plans: dict[Any, Array] = {}


def remembers_slots(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    kept = _plans.setdefault((slots.ctypes.data, slots.shape), slots.copy())
    return store(k, v, k_cache, v_cache, kept, **keywords)


def truncated(x: Array, scale: Array, dtype: Any) -> Array:
    """Codes are cut toward zero."""
    codes, wide = divided(x, scale, dtype), x.astype(np.float32) / scale
    if dtype == np.int8:
        return np.clip(np.trunc(wide), -128, 127).astype(dtype)
    over = np.abs(codes.astype(np.float32)) > np.abs(wide)
    return (codes.view(np.uint8) - over.astype(np.uint8)).view(dtype)


def half_away(x: Array, scale: Array, dtype: Any) -> Array:
    wide = x.astype(np.float32) / scale
    return np.clip(np.trunc(wide + np.copysign(np.float32(0.5), wide)), -128, 127).astype(dtype)


def by_reciprocal(x: Array, scale: Array, dtype: Any) -> Array:
    return narrowed(x.astype(np.float32) * (np.float32(1) / scale), dtype)


def in_source(x: Array, scale: Array, dtype: Any) -> Array:
    """The quotient is rounded to the tokens' format before it is coded."""
    return narrowed((x / scale.astype(x.dtype)).astype(np.float32), dtype)


def unclipped(x: Array, scale: Array, dtype: Any) -> Array:
    return (x.astype(np.float32) / scale).astype(dtype)


def swaps_caches(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    return store(v, k, k_cache, v_cache, slots, **keywords)


def returns_copies(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    """It says that it works in place, and does not."""
    return store(k, v, k_cache, v_cache, slots, **keywords)


def writes_operands(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    """It says that it returns new caches, and changes those that it was given."""
    store(k, v, k_cache, v_cache, slots, inplace=True, **keywords)
    return k_cache.copy(), v_cache.copy()


def _store(**steps: Any) -> Callable[..., Any]:
    return partial(store, **steps)


BF16 = {"k": "bf16", "v": "bf16", "k_cache": "bf16", "v_cache": "bf16", "out": "bf16"}
F32 = {"k": "f32", "v": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}
FP8 = {"k": "bf16", "v": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "e4m3fn"}
INT8 = {"k": "bf16", "v": "bf16", "k_cache": "i8", "v_cache": "i8", "out": "i8"}
SATURATING = Contract(overflow="saturate", scale_arithmetic="divide")
RECIPROCAL = Contract(overflow="saturate", scale_arithmetic="reciprocal")
IN_PLACE = frozenset({"inplace"})
NONE: frozenset[str] = frozenset()

#: (name, run, formats, features beyond the scales, checks one of which must fail).
FAULTS: tuple[tuple[str, Callable[..., Any], dict[str, str], frozenset[str], frozenset[str]], ...] = (
    ("neighbour-slot", _store(write=_at(lambda s, b, n: s + 1)), BF16, NONE, frozenset({"exact", "untouched"})),
    ("next-slot-too", _store(write=also_next), BF16, NONE, frozenset({"untouched"})),
    ("clears-page", _store(write=whole_page), BF16, NONE, frozenset({"untouched"})),
    ("wrong-stride", _store(write=_at(lambda s, b, n: s // b * (b + 1) + s % b)), BF16, NONE, frozenset({"exact"})),
    (
        "narrow-page-id",
        _store(write=_at(lambda s, b, n: (s // b & (2**PAGE_BITS - 1)) * b + s % b)),
        BF16,
        NONE,
        frozenset({"top"}),
    ),
    ("wraps-padding", _store(write=wraps_padding), F32, NONE, frozenset({"padding"})),
    ("stops-at-padding", _store(write=stops_at_padding), F32, NONE, frozenset({"padding"})),
    ("mixes-duplicates", _store(write=mixes_duplicates), BF16, NONE, frozenset({"duplicates"})),
    ("drops-last", _store(write=drops_last), BF16, NONE, frozenset({"exact"})),
    ("sorts-slots", _store(write=sorted_slots), BF16, NONE, frozenset({"exact"})),
    ("remembers-slots", remembers_slots, BF16, NONE, frozenset({"second_call"})),
    ("swaps-caches", swaps_caches, BF16, NONE, frozenset({"exact"})),
    ("k-scale-for-v", _store(scales=lambda a, b: (a, a)), FP8, NONE, frozenset({"exact"})),
    ("scale-of-head-0", _store(scales=lambda a, b: (a[:1], b[:1])), FP8, NONE, frozenset({"exact"})),
    ("multiplies", _store(scales=lambda a, b: (1 / a, 1 / b)), FP8, NONE, frozenset({"exact"})),
    ("truncates", _store(quantize=truncated), FP8, NONE, frozenset({"exact"})),
    ("half-away", _store(quantize=half_away), INT8, NONE, frozenset({"exact"})),
    ("by-reciprocal", _store(quantize=by_reciprocal), FP8, NONE, frozenset({"exact"})),
    ("quotient-in-bf16", _store(quantize=in_source), INT8, NONE, frozenset({"exact"})),
    ("overflows", _store(quantize=unclipped), FP8, NONE, frozenset({"exact"})),
    ("returns-copies", returns_copies, BF16, IN_PLACE, frozenset({"exact"})),
    ("writes-operands", writes_operands, BF16, NONE, frozenset({"exact"})),
)

# Right appends that differ --------------------------------------------------------------------------------------------


def backwards(new: Array, slots: Array, codes: Array) -> None:
    """From the last token to the first: of several tokens for a slot the first stays."""
    put(new, slots[::-1], codes[::-1])


def at_once(new: Array, slots: Array, codes: Array) -> None:
    kept = slots >= 0
    new[slots[kept] // new.shape[1], slots[kept] % new.shape[1]] = codes[kept]


CORRECT: tuple[tuple[str, Callable[..., Any], dict[str, str], Contract, frozenset[str]], ...] = (
    ("stores", store, BF16, SATURATING, NONE),
    ("stores-fp8", store, FP8, SATURATING, NONE),
    ("stores-i8", store, INT8, SATURATING, NONE),
    ("in-place", _store(inplace=True), F32, SATURATING, IN_PLACE),
    ("in-place-fp8", _store(inplace=True, write=at_once), FP8, SATURATING, IN_PLACE),
    ("backwards", _store(write=backwards), FP8, SATURATING, NONE),
    ("reciprocal", _store(quantize=by_reciprocal), FP8, RECIPROCAL, NONE),
    ("overflows-by-contract", _store(quantize=unclipped), FP8, Contract(overflow="nan"), NONE),
)


def kernel(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract, features: frozenset[str]
) -> Kernel:
    every = frozenset({"scales", "head_scales", "padding"}) | features
    return Kernel(f"zoo/{name}", "kv_append", run, formats, contract, "numpy", ("cpu",), every)
