"""KV appends that differ from one another and are all right under what they declare."""

from lastbit.contract import Contract
from lastbit.suites.zoo.kv_append_parts import (
    BF16,
    F32,
    FP8,
    IN_PLACE,
    INT8,
    RECIPROCAL,
    Array,
    by_reciprocal,
    put,
    right,
    store,
    turned,
    unclipped,
)
from lastbit.suites.zoo.specimen import Variant


def backwards(new: Array, slots: Array, codes: Array) -> None:
    """From the last token to the first: of several tokens for a slot the first stays."""
    put(new, slots[::-1], codes[::-1])


def at_once(new: Array, slots: Array, codes: Array) -> None:
    """All tokens in one assignment."""
    kept = slots >= 0
    new[slots[kept] // new.shape[1], slots[kept] % new.shape[1]] = codes[kept]


#: Every correct append.
VARIANTS: tuple[Variant, ...] = (
    right("stores_right", store, BF16, story="Token after token."),
    right("stores_fp8_right", store, FP8, story="Tokens as e4m3."),
    right("stores_i8_right", store, INT8, story="Tokens as i8."),
    right("in_place_right", turned(inplace=True), F32, features=IN_PLACE, story="The caches are changed in place."),
    right(
        "in_place_fp8_right",
        turned(inplace=True, write=at_once),
        FP8,
        features=IN_PLACE,
        story="All tokens at once, in place.",
    ),
    right("backwards_right", turned(write=backwards), FP8, story="From the last token to the first."),
    right(
        "reciprocal_right",
        turned(quantize=by_reciprocal),
        FP8,
        contract=RECIPROCAL,
        story="Multiplied by the reciprocal, which is declared.",
    ),
    right(
        "overflows_by_contract_right",
        turned(quantize=unclipped),
        FP8,
        contract=Contract(overflow="nan"),
        story="Overflow gives NaN, which is declared.",
    ),
)
