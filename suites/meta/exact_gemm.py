"""What the tests of GEMM truth hold it against: sums of Fractions, written without a look at what they judge."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import ulp
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.references import ladder
from lastbit.references.formats import Format
from lastbit.references.truth import Truth

Array = NDArray[np.float64]
#: Narrow, wide, with and without infinities; f64 is checked through hi as well.
FORMATS = ("f64", "f32", "bf16", "f16", "e4m3fn", "e5m2", "e2m1fn")
ROUNDINGS = ("nearest-even", "nearest-away", "toward-zero", "down", "up")


def exact(a: Array, b: Array, i: int, j: int, **more: Any) -> tuple[Fraction, Fraction]:
    """Element (i, j) of alpha A@B + beta C + bias, and its weight."""
    alpha, beta = Fraction(more.get("alpha", 1.0)), Fraction(more.get("beta", 0.0))
    terms = [alpha * Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a[i], b[:, j], strict=True)]
    if beta:
        terms.append(beta * Fraction(float(more["c"][i, j])))
    if more.get("bias") is not None:
        terms.append(Fraction(float(more["bias"][j])))
    return sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))


def nearest(x: Fraction) -> float:
    """`x` rounded to float64: Python divides integers with one rounding."""
    try:
        return float(x)
    except OverflowError:
        return float("inf") if x > 0 else float("-inf")


def faults(truth: Truth, a: Array, b: Array, where: Iterable[tuple[int, int]], **more: Any) -> list[str]:
    """Everything that is wrong with the truth of finite matrices at the elements told; empty if it holds."""
    found = []
    k = a.shape[1]
    for i, j in where:
        x, size = exact(a, b, i, j, **more)
        hi, lo, radius, weight = (float(v[i, j]) for v in (truth.hi, truth.lo, truth.radius, truth.weight))
        if not 0 <= weight < float("inf") or (Fraction(weight) < size and size < 2**1023):
            found.append(f"({i}, {j}): weight {weight!r} is below {float(size)!r}")
        if Fraction(weight) > size * (1 + Fraction(4 * k + 40, 2**53)) + Fraction(8, 2**1074):
            found.append(f"({i}, {j}): weight {weight!r} is far above {float(size)!r}")
        if hi != nearest(x):
            found.append(f"({i}, {j}): hi {hi!r} is not {nearest(x)!r}")
        if np.isinf(hi):
            found += [f"({i}, {j}): lo, radius not 0 beside infinity"] * bool(lo or radius)
            continue
        if abs(x - Fraction(hi) - Fraction(lo)) > Fraction(radius):
            found.append(f"({i}, {j}): {float(x)!r} is not within {radius!r} of {hi!r} + {lo!r}")
        if abs(lo) > ulp(hi) / 2:
            found.append(f"({i}, {j}): lo {lo!r} is more than half a spacing of hi {hi!r}")
        if radius > max(ulp(lo), 2.0**-1074):
            found.append(f"({i}, {j}): radius {radius!r} is wider than a spacing of lo {lo!r}")
        if abs(hi) < 2.0**-1020 and radius:
            continue  # directions cannot be told from a lo that has no room
        for name in FORMATS:
            fmt = Format.of(name)
            for rounding in ROUNDINGS:
                got = float(fmt.round(np.array([hi]), np.array([lo]), rounding=rounding)[0])
                want = fmt.round_rational(x, rounding=rounding)
                if got != want and not (np.isnan(got) and np.isnan(want)):
                    found.append(f"({i}, {j}): {name} {rounding} gives {got!r}, not {want!r}")
    return found


@contextmanager
def slices_at_any_price() -> Iterator[None]:
    """No element goes to Python's integers for their speed: on small matrices the slices would else be seldom seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "_dearer_than_integers", lambda plan, sizes: False)
        yield


def everywhere(truth: Truth) -> list[tuple[int, int]]:
    """All indices of a matrix."""
    return [(int(i), int(j)) for i, j in np.ndindex(truth.hi.shape)]


def sample(truth: Truth, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """`count` random indices of a matrix."""
    random = np.random.default_rng(seed)
    m, n = truth.hi.shape
    return [(int(random.integers(m)), int(random.integers(n))) for _ in range(count)]
