"""Packed batches of attention: sequences end to end in one array, told apart by their cumulative lengths."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lastbit.references.attention_mask import Mask, Problem, kept


def packed(problem: Problem, cu_q: NDArray[np.int64], cu_k: NDArray[np.int64]) -> Problem:
    """The problem of (1, h, total, d) operands in which each sequence attends to its own keys.

    Sequence s has the queries cu_q[s]..cu_q[s + 1] and the keys cu_k[s]..cu_k[s + 1]; causal and window count within
    it, from its own corner. All of that becomes one boolean mask.
    Raises ValueError where the lengths do not cover the operands, and for a problem that has a mask or a bias.
    """
    total = problem.scores[2:]
    ends = [(cu[0], cu[-1], bool((np.diff(cu) < 0).any())) for cu in (cu_q, cu_k)]
    if cu_q.size != cu_k.size or ends != [(0, total[0], False), (0, total[1], False)]:
        raise ValueError(f"cumulative lengths {cu_q}, {cu_k} do not cover {total[0]} queries and {total[1]} keys")
    if problem.mask is not None or problem.bias is not None:
        raise ValueError("a packed batch has no mask and no bias")
    mask = np.zeros((1, 1, *total), bool)
    for q, k in zip(_ranges(cu_q), _ranges(cu_k), strict=True):
        mask[0, 0, q, k] = _own(problem, q, k)
    return replace(problem, mask=mask, causal=False, window=None)


def _ranges(cu: NDArray[np.int64]) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(cu.tolist())]


def _own(problem: Problem, q: slice, k: slice) -> Mask:
    """Which of its own keys each query of a sequence attends to."""
    alone = Problem(
        np.zeros((1, 1, q.stop - q.start, 1)),
        np.zeros((1, 1, k.stop - k.start, 1)),
        np.zeros((1, 1, k.stop - k.start, 1)),
        causal=problem.causal,
        causal_alignment=problem.causal_alignment,
        window=problem.window,
    )
    return kept(alone, 0, 0, slice(0, q.stop - q.start))
