"""Checksums and tiles of large products: exact where they say so, silent on right results, loud on a wrong tile."""

from fractions import Fraction

import numpy as np
import pytest

from lastbit.references import large
from lastbit.references.gemm import truth
from lastbit.references.rational import rational_dot


def problem(m=40, k=50, n=60, seed=0, dtype=np.float16):
    random = np.random.default_rng(seed)
    a, b = (random.standard_normal(shape).astype(dtype).astype(float) for shape in ((m, k), (k, n)))
    c, bias = random.standard_normal((m, n)), random.standard_normal(n)
    return a, b, {"c": c, "alpha": 0.7, "beta": -1.3, "bias": bias}


def f32(x):
    return x.astype(np.float32).astype(float)


def test_tile_is_that_part_of_the_truth():
    a, b, more = problem()
    whole = truth(a, b, **more)
    for rows, columns in ((slice(3, 9), slice(10, 50)), (np.array([5, 1]), slice(None)), (slice(None), np.array([7]))):
        tile = large.truth_tile(a, b, rows, columns, **more)
        assert np.array_equal(tile.hi, whole.hi[rows][:, columns])
        assert np.array_equal(tile.lo, whole.lo[rows][:, columns])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_residual_is_the_exact_row_sum(full, dtype):
    """With nothing allowed, the bound is the residual's own error: it must hold against Fractions."""
    a, b, more = problem(6, 8, 10, dtype=dtype)
    more = more if full else {}
    y = f32(truth(a, b, **more).hi)
    check = large.checksum(a, b, y, 5, allowed=0.0, vectors=3, **more)
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (10, 3))
    for i, v in np.ndindex(6, 3):
        want = Fraction(0)
        for j in range(10):
            x = rational_dot(a[i], b[:, j])
            if full:
                x = Fraction(0.7) * x - Fraction(1.3) * Fraction(more["c"][i, j]) + Fraction(more["bias"][j])
            want += (Fraction(y[i, j]) - x) * int(signs[j, v])
        assert abs(want - Fraction(check.residual[i, v])) <= Fraction(check.bound[i, v])
        assert check.bound[i, v] <= 2.0**-48 * abs(check.residual[i, v]) + 2.0**-96


@pytest.mark.parametrize("false_alarm", [0.0, 1e-9])
def test_checksum_is_silent_on_rounded_truth(false_alarm):
    for seed in range(10):
        a, b, more = problem(seed=seed)
        y = f32(truth(a, b, **more).hi)
        check = large.checksum(a, b, y, seed, allowed=2.0**-24 * np.abs(y), false_alarm=false_alarm, **more)
        assert check.broken.size == 0
        assert np.abs(check.residual).max() > 0


def test_checksum_is_silent_on_errors_as_large_as_allowed():
    a, b, _ = problem()
    exact = truth(a, b).hi
    check = large.checksum(a, b, exact + 0.25, 1, allowed=0.25, vectors=16)
    assert check.broken.size == 0
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (60, 16))
    hostile = exact + 0.25 * signs[:, :1].T  # a result that knows the seed reaches the bound and no more
    check = large.checksum(a, b, hostile, 1, allowed=0.25, vectors=16)
    assert check.broken.size == 0
    assert np.abs(check.residual[:, 0]).min() > (1 - 1e-9) * check.bound.max()


def test_a_single_wrong_tile_is_caught():
    a, b, _ = problem(256, 64, 256)
    exact = truth(a, b)
    y = f32(exact.hi)
    allowed = 64 * 2.0**-24 * exact.weight
    assert large.checksum(a, b, y, 2, allowed=allowed, false_alarm=1e-9).broken.size == 0
    y[32:48, 16:32] = f32(a[32:48, :63] @ b[:63, 16:32])  # the last k of one tile is dropped
    broken = large.checksum(a, b, y, 2, allowed=allowed, false_alarm=1e-9).broken
    assert broken.size
    assert set(broken) <= set(range(32, 48))


def test_a_wrong_element_beyond_the_bound_is_always_caught():
    a, b, _ = problem()
    for seed in range(20):
        y = truth(a, b).hi.copy()
        y[7, 9] += 2 * 60 * 1e-3 + 1e-6
        check = large.checksum(a, b, y, seed, allowed=1e-3, vectors=1)
        assert list(check.broken) == [7]


def test_any_wrong_bit_is_caught_when_nothing_is_allowed():
    """Integers: exact truth, exact checksum."""
    random = np.random.default_rng(3)
    a, b = random.integers(-128, 128, (30, 40)).astype(float), random.integers(-128, 128, (40, 20)).astype(float)
    y = a @ b
    check = large.checksum(a, b, y, 3, allowed=0.0)
    assert (check.residual == 0).all()
    assert (check.bound == 0).all()
    y[4, 5] += 1
    assert list(large.checksum(a, b, y, 3, allowed=0.0).broken) == [4]


def test_panels_do_not_change_the_checksum(monkeypatch):
    a, b, more = problem()
    y = f32(truth(a, b, **more).hi)
    whole = large.checksum(a, b, y, 4, allowed=1e-6, **more)
    monkeypatch.setattr(large, "PANEL", 300)
    parts = large.checksum(a, b, y, 4, allowed=1e-6, **more)
    assert np.array_equal(whole.residual, parts.residual)


def test_a_reference_side_that_loses_lo_is_caught(monkeypatch):
    """Planted fault: B x rounded to float64 (its lo dropped) breaks an exact product."""
    applied = large._applied

    def lossy(matrix, x, **more):
        found = applied(matrix, x, **more)
        found.lo[:] = 0
        return found

    monkeypatch.setattr(large, "_applied", lossy)
    with pytest.raises(AssertionError):
        test_residual_is_the_exact_row_sum(False, np.float64)


@pytest.mark.parametrize("name", ["a", "b", "y"])
def test_checksum_refuses_specials(name):
    operands = dict(zip("ab", problem()[:2], strict=True))
    operands["y"] = operands["a"] @ operands["b"]
    operands[name] = operands[name].copy()
    operands[name][0, 0] = np.inf
    with pytest.raises(ValueError, match=f"{name} holds NaN or infinity"):
        large.checksum(**operands, seed=0, allowed=1.0)
