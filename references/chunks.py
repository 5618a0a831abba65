"""Elementwise work a cache-sized piece at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Elements processed at once: eight or so float64 temporaries of this length stay in a 512 KiB cache, and the allocator
#: reuses them instead of asking the system for fresh pages (measured: 2 to 4 times faster than whole arrays).
CHUNK = 8192


def by_chunks(
    function: Callable[..., NDArray[Any]], dtype: DTypeLike, first: NDArray[Any], *others: NDArray[Any] | None
) -> NDArray[Any]:
    """`function` of pieces of the arrays, as one new array of `dtype` and the shape of `first`.

    The function gets one-dimensional pieces, in order; the others are broadcast to `first`, and stay None if None.
    """
    shape = first.shape
    flat = [None if a is None else np.broadcast_to(a, shape).reshape(-1) for a in (first, *others)]
    out = np.empty(first.size, dtype)
    for start in range(0, out.size, CHUNK):
        piece = slice(start, start + CHUNK)
        out[piece] = function(*(None if a is None else a[piece] for a in flat))
    return out.reshape(shape)
