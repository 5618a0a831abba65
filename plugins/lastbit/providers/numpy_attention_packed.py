"""Packed batches for our own NumPy attention: one sequence after the other."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any


def packed(
    run: Callable[..., Any], q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, **options: Any
) -> tuple[Any, Any]:
    """The result (1, hq, total_q, dv) and its log-sum-exp of sequences that lie end to end.

    Sequence s has the queries cu_seqlens_q[s]..cu_seqlens_q[s + 1] and the keys of cu_seqlens_k likewise; `run` is the
    attention of one sequence.
    """
    import numpy as np

    out = np.zeros((*q.shape[:3], v.shape[3]), q.dtype)
    lse = np.zeros(q.shape[:3], np.float64 if q.dtype == np.float64 else np.float32)
    ends = (pairwise(ends.tolist()) for ends in (cu_seqlens_q, cu_seqlens_k))
    for (a, b), (c, d) in zip(*ends, strict=True):
        if b > a:
            out[:, :, a:b], lse[:, :, a:b] = run(q[:, :, a:b], k[:, :, c:d], v[:, :, c:d], **options)
    return out, lse
