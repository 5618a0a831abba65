"""Paged attention as dense problems, one for each sequence, their truth, and the answers that need no rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from lastbit.references.attention import AttentionTruth, attention_truth, blocks
from lastbit.references.attention_mask import Problem
from lastbit.references.kv_cache import Codes, Floats, Layout, dequantized, gather, layout_of, signal_to_noise_db
from lastbit.references.truth import Truth


class Stored(Protocol):
    """An operand: its format, bit patterns and exact values."""

    @property
    def format(self) -> str:
        """Name of the number format."""

    @property
    def codes(self) -> Codes:
        """Bit patterns."""

    @property
    def values(self) -> Floats:
        """Exact float64 values."""


def layout(operands: Mapping[str, Stored]) -> Layout:
    """The layout that operands block_table, seq_lens and k_cache describe."""
    block = operands["k_cache"].codes.shape[1]
    return layout_of({name: operands[name].values for name in ("block_table", "seq_lens")}, block)


def problems(
    operands: Mapping[str, Stored],
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    masked_row: str = "zero",
) -> tuple[Problem, ...]:
    """What each sequence computes: q (1, hq, lq, d) over its own tokens (1, hkv, tokens, d and dv), dequantized.

    Queries are the last lq tokens of their sequence: causal and window count from there. Pages and places that hold no
    token of the sequence do not exist.
    """
    places, pages = layout(operands), {}
    for name in ("k", "v"):
        cache, scale = operands[f"{name}_cache"], operands.get(f"{name}_scale")
        pages[name] = dequantized(cache.codes, cache.format, None if scale is None else scale.values)
    return tuple(
        Problem(
            operands["q"].values[sequence : sequence + 1],
            gather(pages["k"], places, sequence)[None],
            gather(pages["v"], places, sequence)[None],
            causal=causal,
            window=window,
            masked_row=masked_row,
        )
        for sequence in range(places.seq_lens.size)
    )


def truths(posed: Sequence[Problem]) -> tuple[AttentionTruth, ...]:
    """The truth of each sequence: attention.attention_truth."""
    return tuple(attention_truth(problem) for problem in posed)


def joined(parts: Sequence[Truth]) -> Truth:
    """Truths of single sequences as that of the batch."""
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("hi", "lo", "radius", "weight"))
    hi, lo, radius, weight = arrays
    return Truth(hi, lo, radius, weight, "+".join(dict.fromkeys(part.rung for part in parts)))


def selected(problem: Problem, *, gap: float) -> Truth:
    """The answer of a problem whose every query selects one key: its values, as they are.

    The logits of all other keys lie at least `gap` below the largest; exp(-gap) is 0 in the kernel's arithmetic, and so
    are the weights, in one pass, online or combined from splits. What is left out of the exact answer is below
    lk * exp(-gap) * max |V|.

    Raises ValueError where a query does not select one key.
    """
    hi = np.zeros(problem.shape)
    for part in blocks(problem):
        near = part.keep & (part.logits > part.top - gap - 2 * part.error.max(initial=0.0))
        if not (near.sum(1) == 1).all():
            raise ValueError(
                f"keys within {gap:g} of the largest logit: {near.sum(1).tolist()}, expected 1 of each row"
            )
        values = problem.v[part.batch, problem.key_head(part.head)]
        hi[part.batch, part.head, part.rows] = values[near.argmax(1)]
    zero = np.zeros(problem.shape)
    return Truth(hi, zero, zero, np.abs(hi), "one key")


def format_error_db(posed: Sequence[Problem], operands: Mapping[str, Stored], k: Floats, v: Floats) -> float:
    """Signal to noise, in dB, of the exact result over the stored cache against that over the original k and v.

    k and v (pages, block, hkv, d and dv) are what the cache held before it was quantized. What the format costs,
    whatever the kernel: a number for the report.
    """
    places = layout(operands)
    originals = [
        replace(problem, k=gather(k, places, sequence)[None], v=gather(v, places, sequence)[None])
        for sequence, problem in enumerate(posed)
    ]
    exact, stored = (joined([truth.out for truth in truths(one)]).hi for one in (originals, posed))
    return signal_to_noise_db(exact, stored)
