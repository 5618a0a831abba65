"""Paged attention as dense problems, one for each sequence, their truth, and the answers that need no rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from lastbit.references.attention import AttentionTruth, attention_truth, blocks
from lastbit.references.attention_mask import Problem
from lastbit.references.kv_cache import Codes, Floats, Layout, dequantized, gather, layout_of, signal_to_noise_db
from lastbit.references.truth import Truth

#: Values of exact data are multiples of this: a sum of them below 2^33 is exact in float64 in every order.
GRID = 2.0**-20
EXACT_SUM = 2.0**33


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


def unique(problem: Problem, *, gap: float) -> Truth:
    """The answer of a problem whose weights are 0 or equal in every arithmetic: the mean of the values at the top.

    The logits of all other keys lie at least `gap` below; exp(-gap) is 0 in the kernel's format. The number of values
    is a power of two, and they are multiples of GRID, so that every order of summation is exact.

    Raises ValueError where the data are not of that kind.
    """
    hi, weight = np.zeros(problem.shape), np.zeros(problem.shape)
    for part in blocks(problem):
        values = problem.v[part.batch, problem.key_head(part.head)]
        if part.error.max(initial=0.0) > gap / 4:
            raise ValueError("the logits are not known well enough to tell equal ones")
        top = part.keep & (part.logits == part.top)
        near = part.keep & ~top & (part.logits > part.top - gap)
        count = top.sum(1, keepdims=True)
        if near.any() or not ((count & (count - 1) == 0) & (count > 0)).all():
            raise ValueError(f"weights are neither 0 nor equal: {int(near.sum())} keys near the top, counts {count.T}")
        chosen = np.where(top.any(0)[:, None], values, 0.0)
        several = bool((count > 1).any())
        if several and (np.any(chosen % GRID) or np.abs(chosen).sum() > EXACT_SUM):
            raise ValueError(f"values are not multiples of {GRID} whose sum is exact")
        place = (part.batch, part.head, part.rows)
        # One key: its value as it is; several: sums of multiples of GRID, no step of which rounds.
        hi[place] = np.where(count == 1, values[top.argmax(1)], top.astype(np.float64) @ chosen / count)
        weight[place] = top.astype(np.float64) @ np.abs(chosen) / count
    zero = np.zeros(problem.shape)
    return Truth(hi, zero, zero, weight, "unique")


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
