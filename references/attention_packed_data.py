"""Test data for packed batches of attention: each sequence drawn on its own, and the cumulative lengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lastbit.references.attention_data import operands
from lastbit.references.data import Operand

#: Format of cumulative lengths, and their names among the operands.
INDEX_FORMAT = "i32"
NAMES = ("cu_seqlens_q", "cu_seqlens_k")

#: (queries, keys) of each sequence.
Lengths = Sequence[tuple[int, int]]


def packed_operands(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    lengths: Lengths,
    seed: int,
    *,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Operand]:
    """q (1, hq, total_q, d), k and v (1, hkv, total_k, ..) and their cumulative lengths (sequences + 1,), i32.

    Each sequence of `lengths`, (queries, keys), is drawn as references.attention_data.operands draws it alone.
    """
    drawn = [
        operands(recipe, formats, {**sizes, "batch": 1, "lq": lq, "lk": lk}, seed + 31 * s, options=options)
        for s, (lq, lk) in enumerate(lengths)
    ]
    found = {}
    for name in ("q", "k", "v"):
        parts = [one[name] for one in drawn]
        codes, values = (np.concatenate([getattr(one, of) for one in parts], axis=2) for of in ("codes", "values"))
        found[name] = Operand(parts[0].format, codes, values)
    return found | cumulative(lengths)


def cumulative(lengths: Lengths) -> dict[str, Operand]:
    """cu_seqlens_q and cu_seqlens_k of sequences of (queries, keys)."""
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(np.asarray(lengths, np.float64).reshape(-1, 2), axis=0)])
    return {name: Operand.of(sums[:, n], INDEX_FORMAT) for n, name in enumerate(NAMES)}
