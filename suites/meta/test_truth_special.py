"""NaN, infinities and bad input: the class of each element by IEEE 754 on real operands, the rest untouched."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.references import dgemm
from lastbit.references.gemm import truth

INF, NAN = float("inf"), float("nan")
VALUES = (0.0, -0.0, 1.0, -2.5, 1e100, 5e-324, INF, -INF, NAN)
PROFILE = settings(
    deadline=None, derandomize=True, max_examples=150, suppress_health_check=[HealthCheck.too_slow], database=None
)


def real_class(terms):
    """NaN, +-inf or 0 (finite) for a sum of products of reals; terms are tuples of factors."""
    signs = set()
    for factors in terms:
        if any(math.isnan(x) for x in factors):
            return "nan"
        if any(math.isinf(x) for x in factors):
            if any(x == 0 for x in factors):
                return "nan"
            signs.add(math.prod(math.copysign(1.0, x) for x in factors))
    return "nan" if len(signs) == 2 else {(): "finite", (1.0,): "inf", (-1.0,): "-inf"}[tuple(signs)]


def class_of(x):
    return "nan" if math.isnan(x) else str(float(x)) if math.isinf(x) else "finite"


def test_every_pair_of_products_has_the_class_of_its_reals():
    products = list(itertools.product(VALUES, repeat=2))
    rows = np.array([[x, u] for (x, _), (u, _) in itertools.product(products, repeat=2)])
    columns = np.array([[y, v] for (_, y), (_, v) in itertools.product(products, repeat=2)])
    found = truth(rows[:, None, :], columns[:, :, None]).hi.ravel()
    for row, column, hi in zip(rows, columns, found, strict=True):
        assert class_of(hi) == real_class([(row[0], column[0]), (row[1], column[1])]), (row, column)


@PROFILE
@given(
    st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(1, 4)),
    st.sampled_from([(1.0, 0.0), (-1.0, 1.0), (0.5, -3.0), (0.0, 1.0)]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_special_operands_touch_their_elements_only(sizes, scalars, with_bias, seed):
    m, k, n = sizes
    alpha, beta = scalars
    random = np.random.default_rng(seed)

    def drawn(*shape):
        x = np.round(random.standard_normal(shape) * 4)
        return np.where(random.random(shape) < 0.15, random.choice([INF, -INF, NAN], shape), x)

    a, b, c, bias = drawn(m, k), drawn(k, n), drawn(m, n), drawn(n) if with_bias else None
    found = truth(a, b, c=c, alpha=alpha, beta=beta, bias=bias)
    clean = [np.where(np.isfinite(x), x, 0.0) for x in (a, b, c)]
    plain = truth(
        clean[0],
        clean[1],
        c=clean[2],
        alpha=alpha,
        beta=beta,
        bias=None if bias is None else np.where(np.isfinite(bias), bias, 0.0),
    )
    assert np.array_equal(found.weight, plain.weight)
    for i, j in np.ndindex(m, n):
        inner = real_class([(a[i, x], b[x, j]) for x in range(k)])
        stand_in = {"finite": 1.0, "inf": INF, "-inf": -INF, "nan": NAN}[inner]
        terms = [(alpha, stand_in)] if inner != "finite" else []
        terms += [(beta, c[i, j])] if beta else []
        terms += [(1.0, bias[j])] if with_bias else []
        want = real_class(terms)
        assert class_of(found.hi[i, j]) == want
        if want == "finite":
            assert (found.hi[i, j], found.lo[i, j]) == (plain.hi[i, j], plain.lo[i, j])
        else:
            assert found.lo[i, j] == found.radius[i, j] == 0


def test_c_is_not_read_when_beta_is_zero():
    a, b = np.ones((2, 3)), np.ones((3, 2))
    assert (truth(a, b, c=np.full((2, 2), NAN), beta=0.0).hi == 3).all()
    assert (truth(a, b, c=np.full((2, 2), NAN), beta=-0.0).hi == 3).all()


def test_no_products_means_no_specials():
    assert (truth(np.zeros((2, 0)), np.full((0, 2), NAN)).hi == 0).all()


def test_finite_sums_overflow_by_their_exact_magnitude():
    a, b = np.array([[1e308, 1e308]]), np.array([[10.0], [-10.0]])
    assert truth(a, b).hi[0, 0] == 0
    assert truth(a, -np.abs(b)).hi[0, 0] == -INF
    assert truth(a, np.abs(b)).hi[0, 0] == INF


@pytest.mark.parametrize(
    ("sizes", "more", "message"),
    [
        (((2, 3), (4, 2)), {}, "do not multiply"),
        (((3,), (3, 2)), {}, "do not multiply"),
        (((2, 3), (3, 2)), {"beta": 1.0}, "needs c"),
        (((2, 3), (3, 2)), {"beta": 1.0, "c": np.zeros((3, 3))}, "c has shape"),
        (((2, 3), (3, 2)), {"bias": np.zeros(3)}, "bias has shape"),
        (((2, 3), (3, 2)), {"alpha": INF}, "must be finite"),
        (((2, 3), (3, 2)), {"alpha": NAN}, "must be finite"),
    ],
)
def test_truth_refuses_what_does_not_fit(sizes, more, message):
    with pytest.raises(ValueError, match=message):
        truth(np.zeros(sizes[0]), np.zeros(sizes[1]), **more)


@pytest.mark.parametrize("keep", [10, 23, 40, 48])
def test_a_product_that_is_not_fp64_is_refused(monkeypatch, keep):
    """Operands rounded to 10 (TF32), 23 (FP32) bits or more are seen by the probe."""
    matmul = np.matmul

    def leaky(a, b):
        if a.dtype != np.float64:
            return matmul(a, b)
        result = matmul(a, b)
        significand, exponent = np.frexp(result)
        return np.ldexp(np.round(significand * 2.0**keep), exponent - keep)

    monkeypatch.setattr(dgemm.np, "matmul", leaky)
    with pytest.raises(dgemm.ArithmeticDoubtError, match="FP64"):
        dgemm.check_product.__wrapped__()


def test_flushed_subnormals_are_refused():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormals")
    try:
        with pytest.raises(dgemm.ArithmeticDoubtError, match="set_flush_denormal"):
            truth(np.ones((1, 1)), np.ones((1, 1)))
    finally:
        torch.set_flush_denormal(False)
    assert truth(np.ones((1, 1)), np.ones((1, 1))).hi[0, 0] == 1
