"""Packed-batch attentions that differ from one another and are all right under what they declare."""

from collections.abc import Callable
from typing import Any

from lastbit.suites.zoo.attention_parts import F32, Array, Knobs, right
from lastbit.suites.zoo.attention_parts import attend as attend_one
from lastbit.suites.zoo.attention_variants import Over
from lastbit.suites.zoo.packed_parts import FEATURES, Turns, attend, turned
from lastbit.suites.zoo.specimen import Variant


def top_left(q: Array, k: Array, v: Array, **options: Any) -> Any:
    """The diagonal begins at the first key of a sequence, which is declared."""
    if options.get("cu_seqlens_q") is None:
        return attend_one(q, k, v, **options, knobs=Knobs(shift=0))
    return attend(q, k, v, **options, turns=Turns(shift=lambda seen: 0))


#: Each way with its formats and what it declares.
_WAYS: tuple[tuple[str, str | None, Callable[..., Any], Over, dict[str, Any]], ...] = (
    ("packed_plain", "One sequence after the other.", attend, (F32,), {}),
    ("packed_online", "Tiles of 5 keys.", turned(tile=lambda seen: 5), (F32,), {}),
    (
        "packed_tiles_by_place_undeclared",
        "Tiles that depend on a sequence's place.",
        turned(tile=lambda seen: 3 if seen.number % 2 else 5),
        (F32,),
        {},
    ),
    (
        "packed_top_left_declared",
        None,
        top_left,
        (F32,),
        {"causal_alignment": "top-left"},
    ),
    (
        "packed_computed_declared",
        "The keys of others are computed, which is declared.",
        turned(whole=True),
        (F32,),
        {"masked_keys": "computed"},
    ),
)
#: Every correct attention of packed batches.
VARIANTS: tuple[Variant, ...] = tuple(
    right(name, story, run, formats, contract=contract, features=FEATURES)
    for name, story, run, over, contract in _WAYS
    for formats in over
)
