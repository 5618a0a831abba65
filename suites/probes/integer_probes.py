"""P23: whether integer products are summed exactly, or pairs of them saturate on the way."""

import numpy as np

from lastbit.references.formats import Format
from lastbit.suites.probes.access import Access
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.span import Array


def is_integer(access: Access) -> bool:
    """Whether the kernel multiplies integers."""
    return all(Format.of(access.formats[name]).kind == "integer" for name in ("a", "b", "out"))


def integer(access: Access) -> list[Answer]:
    """P23 of a kernel of integers."""
    return [sums(access), pairs(access), wrapping(access)]


def sums(access: Access) -> Answer:
    """Whether random sums, of odd lengths too, are exact."""
    left, right = (Format.of(access.formats[name]) for name in "ab")
    rng, shape = np.random.default_rng(23), access.shape
    wrong = 0
    lengths = [k for k in (1, 3, shape.k // 2 + 1, shape.k) if k <= shape.k]
    for k in lengths:
        a, b = np.zeros((shape.m, shape.k)), np.zeros((shape.k, shape.n))
        a[:, :k] = rng.integers(int(left.lowest), int(left.max) + 1, (shape.m, k))
        b[:k] = rng.integers(int(right.lowest), int(right.max) + 1, (k, shape.n))
        wrong += int((access.product(a, b, None) != a @ b).sum())
    told = f"{wrong} of {len(lengths) * shape.m * shape.n} random sums of {', '.join(map(str, lengths))} terms differ"
    return Answer("P23", "integer_sums", "exact" if not wrong else "not exact", told)


def pairs(access: Access) -> Answer:
    """Whether a pair of products beyond 16 bits saturates, as VPMADDUBSW's does."""
    left, right = (Format.of(access.formats[name]) for name in "ab")
    shape = access.shape
    extremes = [(left.max, right.max), (left.lowest, right.lowest), (left.max, right.lowest)]
    a, b = np.zeros((len(extremes), shape.k)), np.zeros((len(extremes), shape.k))
    for row, (x, y) in enumerate(extremes):
        a[row, : min(4, shape.k)], b[row, : min(4, shape.k)] = x, y
    got, exact = access.dot(a, b), (a * b).sum(axis=1)
    told = ", ".join(f"4 * {x:g} * {y:g} gives {value:g}" for (x, y), value in zip(extremes, got, strict=True))
    if np.array_equal(got, exact):
        return Answer("P23", "integer_pairs", "exact", told)
    narrow = _clipped(extremes, min(4, shape.k))
    return Answer("P23", "integer_pairs", "saturate at 16 bits" if np.array_equal(got, narrow) else "not exact", told)


def wrapping(access: Access) -> Answer:
    """What a sum beyond 32 bits becomes: sums of this shape's length may not reach it."""
    left, right = (Format.of(access.formats[name]) for name in "ab")
    most = max(left.max * right.max, left.lowest * right.lowest)
    needed = int(2**31 // most) + 1
    if needed > access.shape.k:
        return undecided("P23", "integer_overflow", f"it takes {needed} terms, this shape has {access.shape.k}")
    a, b = np.full((1, access.shape.k), left.max), np.full((1, access.shape.k), right.max)
    got, exact = access.dot(a, b)[0], int((a * b).sum())
    wrapped = (exact + 2**31) % 2**32 - 2**31
    kind = {wrapped: "wraps", 2**31 - 1: "saturates"}.get(int(got), "other")
    return Answer("P23", "integer_overflow", kind, f"{exact} becomes {got:g}")


def _clipped(extremes: list[tuple[float, float]], terms: int) -> Array:
    """Sums of pairs of products, each pair cut to 16 bits."""
    return np.array([np.clip(2 * x * y, -(2**15), 2**15 - 1) * (terms // 2) for x, y in extremes])
