"""KV appends that are wrong in ways seen in the field, each one changed step of `store`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lastbit.suites.zoo.kv_append_parts import (
    BF16,
    F32,
    FP8,
    IN_PLACE,
    INT8,
    Array,
    by_reciprocal,
    divided,
    flat_put,
    narrowed,
    put,
    store,
    turned,
    unclipped,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty

#: Bits of a page id that `narrow_slot` keeps.
PAGE_BITS = 16


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
    """Slot -1 is the last place."""
    for token, slot in enumerate(slots):
        new[slot // new.shape[1], slot % new.shape[1]] = codes[token]


def stops_at_padding(new: Array, slots: Array, codes: Array) -> None:
    """Nothing after the first token without a slot."""
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
    """All tokens but the last."""
    put(new, slots[:-1], codes[:-1])


def sorted_slots(new: Array, slots: Array, codes: Array) -> None:
    """The slots sorted."""
    put(new, np.sort(slots), codes)


class RemembersSlots:
    """The slots are kept by their address and shape."""

    def __init__(self) -> None:
        self.plans: dict[Any, Array] = {}

    def __call__(self, k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
        kept = self.plans.setdefault((slots.ctypes.data, slots.shape), slots.copy())
        return store(k, v, k_cache, v_cache, kept, **keywords)


def truncated(x: Array, scale: Array, dtype: Any) -> Array:
    """Codes are cut toward zero."""
    codes, wide = divided(x, scale, dtype), x.astype(np.float32) / scale
    if dtype == np.int8:
        return np.clip(np.trunc(wide), -128, 127).astype(dtype)
    over = np.abs(codes.astype(np.float32)) > np.abs(wide)
    return (codes.view(np.uint8) - over.astype(np.uint8)).view(dtype)


def half_away(x: Array, scale: Array, dtype: Any) -> Array:
    """Ties away from zero."""
    wide = x.astype(np.float32) / scale
    return np.clip(np.trunc(wide + np.copysign(np.float32(0.5), wide)), -128, 127).astype(dtype)


def in_source(x: Array, scale: Array, dtype: Any) -> Array:
    """The quotient is rounded to the tokens' format before it is coded."""
    return narrowed((x / scale.astype(x.dtype)).astype(np.float32), dtype)


def swaps_caches(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    """K and V exchanged."""
    return store(v, k, k_cache, v_cache, slots, **keywords)


def returns_copies(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    """It says that it works in place, and does not."""
    return store(k, v, k_cache, v_cache, slots, **keywords)


def writes_operands(k: Array, v: Array, k_cache: Array, v_cache: Array, slots: Array, **keywords: Any) -> Any:
    """It says that it returns new caches, and changes those that it was given."""
    store(k, v, k_cache, v_cache, slots, inplace=True, **keywords)
    return k_cache.copy(), v_cache.copy()


#: Every faulty append.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F058",
        "neighbour_slot",
        turned(write=_at(lambda s, b, n: s + 1)),
        BF16,
        "exact",
        "untouched",
        story="Each token goes to the next slot.",
    ),
    wrong(
        "F058",
        "next_slot_too",
        turned(write=also_next),
        BF16,
        "untouched",
        story="The place after the last of an odd number of tokens is written too.",
    ),
    wrong(
        "F058",
        "clears_page",
        turned(write=whole_page),
        BF16,
        "untouched",
        story="A page is cleared when its first place is written.",
    ),
    wrong(
        "F058",
        "wrong_stride",
        turned(write=_at(lambda s, b, n: s // b * (b + 1) + s % b)),
        BF16,
        "exact",
        story="Pages are a token longer than they are.",
    ),
    wrong(
        "F024",
        "narrow_page_id",
        turned(write=_at(lambda s, b, n: (s // b & (2**PAGE_BITS - 1)) * b + s % b)),
        BF16,
        "top",
        story="Page ids are cut to 16 bits.",
    ),
    wrong(
        "F058",
        "wraps_padding",
        turned(write=wraps_padding),
        F32,
        "padding",
        story="Slot -1 is written as the last place.",
    ),
    wrong(
        "F058",
        "stops_at_padding",
        turned(write=stops_at_padding),
        F32,
        "padding",
        story="Tokens after one without a slot are not stored.",
    ),
    wrong(
        "F004",
        "mixes_duplicates",
        turned(write=mixes_duplicates),
        BF16,
        "duplicates",
        story="Of two tokens for a slot one half of each is stored.",
    ),
    wrong("F008", "drops_last", turned(write=drops_last), BF16, "exact", story="The last token is not stored."),
    wrong("F058", "sorts_slots", turned(write=sorted_slots), BF16, "exact", story="The slots are sorted."),
    wrong(
        "F063",
        "remembers_slots",
        RemembersSlots,
        BF16,
        "second_call",
        story="The slots of the first call of a shape are used for ever.",
    ),
    wrong("F058", "swaps_caches", swaps_caches, BF16, "exact", story="K goes to the cache of V and V to that of K."),
    wrong(
        "F059",
        "k_scale_for_v",
        turned(scales=lambda a, b: (a, a)),
        FP8,
        "exact",
        story="V is stored with the scale of K.",
    ),
    wrong(
        "F059",
        "scale_of_head_0",
        turned(scales=lambda a, b: (a[:1], b[:1])),
        FP8,
        "exact",
        story="The scale of the first head serves all.",
    ),
    wrong(
        "F059",
        "multiplies",
        turned(scales=lambda a, b: (1 / a, 1 / b)),
        FP8,
        "exact",
        story="Multiplied by the scale where division is declared.",
    ),
    wrong("F064", "truncates", turned(quantize=truncated), FP8, "exact", story="Codes are cut toward zero."),
    wrong("F065", "half_away", turned(quantize=half_away), INT8, "exact", story="Ties go away from zero."),
    wrong(
        "F078",
        "by_reciprocal",
        turned(quantize=by_reciprocal),
        FP8,
        "exact",
        story="Multiplied by the reciprocal where division is declared.",
    ),
    wrong(
        "F068",
        "quotient_in_bf16",
        turned(quantize=in_source),
        INT8,
        "exact",
        story="The quotient is rounded to bf16 before it is coded.",
    ),
    wrong(
        "F070",
        "overflows",
        turned(quantize=unclipped),
        FP8,
        "exact",
        story="Overflow gives NaN where the largest number is promised.",
    ),
    wrong(
        "F094",
        "returns_copies",
        returns_copies,
        BF16,
        "exact",
        features=IN_PLACE,
        story="It says that it works in place, and does not.",
    ),
    wrong(
        "F094",
        "writes_operands",
        writes_operands,
        BF16,
        "exact",
        story="It says that it returns new caches, and changes those that it was given.",
    ),
)
