"""The truth of GEMM is the sum of Fractions, to the last bit, whatever the data."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.references.gemm import referee, truth
from lastbit.references.rational import rational_dot
from lastbit.suites.meta.exact_gemm import Array, everywhere, faults, sample, slices_at_any_price

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.too_slow], database=None
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SMALL = st.integers(1, 4)


def matrix(random: np.random.Generator, shape: tuple[int, int], recipe: str) -> Array:
    """A matrix by recipe."""
    x = random.standard_normal(shape)
    if recipe == "integers":
        return np.round(x * 60)
    if recipe == "f16":
        return x.astype(np.float16).astype(np.float64)
    if recipe == "f32":
        return x.astype(np.float32).astype(np.float64)
    if recipe == "subnormal":
        return np.ldexp(x, -1060)
    if recipe == "middle":  # products straddle the least float64
        return np.ldexp(x, -520 - random.integers(0, 40, shape))
    if recipe == "huge":
        return np.ldexp(x, 505 + random.integers(0, 6, shape))
    if recipe == "spread":
        return np.ldexp(x, random.integers(-200, 200, shape))
    if recipe == "wide":
        return np.ldexp(x, random.integers(-1060, 1000, shape))
    if recipe == "sparse":
        return np.where(random.random(shape) < 0.7, 0.0, x)
    if recipe == "rows":  # each row its own magnitude
        return np.ldexp(x, random.integers(-500, 500, (shape[0], 1)))
    return x


RECIPES = ("normal", "integers", "f16", "f32", "subnormal", "middle", "huge", "spread", "wide", "sparse", "rows")


@PROFILE
@given(
    st.sampled_from(RECIPES),
    st.sampled_from(RECIPES),
    st.tuples(SMALL, st.integers(0, 40), SMALL),
    st.sampled_from([(1.0, 0.0), (1.0, 1.0), (-2.0, 0.5), (1 / 3, -0.1), (0.0, 2.0), (1e-300, 1e300), (3.0, 0.0)]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_truth_is_exact_for_every_recipe(left, right, sizes, scalars, with_bias, seed):
    m, k, n = sizes
    random = np.random.default_rng(seed)
    a, b = matrix(random, (m, k), left), matrix(random, (k, n), right)
    more = {"alpha": scalars[0], "beta": scalars[1]}
    if scalars[1]:
        more["c"] = matrix(random, (m, n), right)
    if with_bias:
        more["bias"] = matrix(random, (1, n), left)[0]
    found = truth(a, b, **more)
    assert faults(found, a, b, sample(found, 3), **more) == []
    with slices_at_any_price():
        again = truth(a, b, **more)
    for name in ("hi", "lo", "radius"):
        assert np.array_equal(getattr(found, name), getattr(again, name)) or "rational" in found.rung
    assert faults(again, a, b, sample(again, 3), **more) == []


@PROFILE
@given(st.data(), SMALL, st.integers(0, 6), SMALL)
def test_truth_is_exact_for_any_floats(data, m, k, n):
    a = np.array(data.draw(st.lists(FINITE, min_size=m * k, max_size=m * k)), float).reshape(m, k)
    b = np.array(data.draw(st.lists(FINITE, min_size=k * n, max_size=k * n)), float).reshape(k, n)
    found = truth(a, b)
    assert faults(found, a, b, sample(found, 3)) == []
    with slices_at_any_price():
        again = truth(a, b)
    assert faults(again, a, b, sample(again, 3)) == []


@pytest.fixture(params=["slices", "integers"])
def any_rung(request):
    """Runs a test of small matrices on the slices, too."""
    with slices_at_any_price() if request.param == "slices" else nullcontext():
        yield


def ill_conditioned(random: np.random.Generator, half: int, bits: int) -> tuple[Array, Array]:
    """A dot product of 2 * half terms whose condition is about 2^bits: Ogita, Rump, Oishi, algorithm 6.1."""
    exponents = np.round(random.uniform(0, bits / 2, half)).astype(int)
    exponents[0], exponents[-1] = bits // 2, 0
    x = list(np.ldexp(random.uniform(-1, 1, half), exponents))
    y = list(np.ldexp(random.uniform(-1, 1, half), exponents))
    for exponent in np.round(np.linspace(bits / 2, 0, half)).astype(int):
        x.append(float(np.ldexp(random.uniform(-1, 1), exponent)))
        rest = np.ldexp(random.uniform(-1, 1), exponent) - float(rational_dot(x[:-1], y))
        y.append(float(rest / x[-1]))
    return np.array([x]), np.array([y]).T


@pytest.mark.usefixtures("any_rung")
@pytest.mark.parametrize("bits", [60, 120, 200, 400])
def test_truth_is_exact_under_cancellation(bits):
    for seed in range(4):
        a, b = ill_conditioned(np.random.default_rng(seed), 20, bits)
        found = truth(a, b)
        assert found.weight[0, 0] > 2.0 ** (bits - 20) * abs(found.hi[0, 0])
        assert faults(found, a, b, [(0, 0)]) == []


@pytest.mark.parametrize(("recipe", "rung"), [("f16", "sliced"), ("f32", "sliced"), ("integers", "fp64 exact")])
def test_truth_is_exact_at_k_16384(recipe, rung):
    random = np.random.default_rng(3)
    a, b = matrix(random, (6, 16384), recipe), matrix(random, (16384, 5), recipe)
    found = truth(a, b)
    assert found.rung == rung
    assert (found.radius == 0).all()
    assert faults(found, a, b, sample(found, 4)) == []


def test_truth_agrees_with_mpmath():
    random = np.random.default_rng(4)
    a, b, c = (matrix(random, shape, "normal") for shape in ((5, 300), (300, 4), (5, 4)))
    more = {"c": c, "alpha": 1 / 3, "beta": -0.7, "bias": random.standard_normal(4)}
    found = truth(a, b, **more)
    for i, j in sample(found, 6):
        assert found.hi[i, j] == float(referee(a, b, (i, j), **more))


@pytest.mark.usefixtures("any_rung")
def test_truth_breaks_a_tie_by_the_least_bit():
    """1 + 2^-53 is a tie of float64; whatever lies up to 2140 binades below decides it."""
    for sign in (1.0, -1.0):
        for least, other in ((-80, 0), (-160, 0), (-900, 0), (-700, -700), (-960, -960), (-1070, -1070)):
            a, b = np.array([[1.0, 2.0**-53, sign * 2.0**least]]), np.array([[1.0], [1.0], [2.0**other]])
            found = truth(a, b)
            assert found.hi[0, 0] == (1 + 2.0**-52 if sign > 0 else 1.0)
            assert faults(found, a, b, [(0, 0)]) == []


@pytest.mark.usefixtures("any_rung")
@pytest.mark.parametrize("far", [2.0**-110, 2.0**-300])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_truth_keeps_a_bit_beyond_the_pair(far, sign):
    """hi + lo would be a pair but for one bit that no pair holds: lo is made odd, so no tie is seen."""
    a, b = np.array([[1.0, 2.0**-53, -(2.0**-106), sign * far * 2.0**-10]]), np.ones((4, 1))
    found = truth(a, b)
    assert found.radius[0, 0] > 0
    assert faults(found, a, b, [(0, 0)]) == []


@pytest.mark.usefixtures("any_rung")
def test_truth_keeps_products_below_the_least_float64():
    a, b = np.array([[2.0**-600, 2.0**-600]]), np.array([[2.0**-475], [2.0**-480]])
    found = truth(a, b)
    assert found.hi[0, 0] == 2.0**-1074
    assert faults(found, a, b, [(0, 0)]) == []


@pytest.mark.usefixtures("any_rung")
def test_truth_passes_over_intermediate_overflow():
    a, b = np.array([[2.0**1000, -(2.0**1000), 3.0]]), np.array([[2.0**1000], [2.0**1000], [7.0]])
    found = truth(a, b)
    assert (found.hi[0, 0], found.lo[0, 0], found.radius[0, 0]) == (21.0, 0.0, 0.0)
    assert found.weight[0, 0] == np.finfo(float).max


@pytest.mark.parametrize(
    ("last", "hi"), [(0.0, np.finfo(float).max), (2.0**970, np.inf), (2.0**969, np.finfo(float).max)]
)
def test_truth_is_infinite_from_the_overflow_threshold(last, hi):
    a, b = np.array([[np.finfo(float).max, last]]), np.ones((2, 1))
    found = truth(a, b)
    assert found.hi[0, 0] == hi
    assert faults(found, a, b, [(0, 0)]) == []


def test_truth_mixes_rungs_by_element():
    random = np.random.default_rng(5)
    a, b = np.round(random.standard_normal((40, 30)) * 9), np.round(random.standard_normal((30, 40)) * 9)
    a[3, 4], a[7] = 1 / 3, np.ldexp(random.standard_normal(30), random.integers(-1000, 1000, 30))
    found = truth(a, b)
    assert found.rung == "fp64 exact+sliced+rational"
    assert faults(found, a, b, [(3, 0), (7, 1), (7, 9), (0, 0), (39, 39), (3, 17)]) == []


@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4, 5), (5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 5), (2, 5, 6)), ((0, 4, 5), (5, 6)), ((2, 4, 5), (1, 5, 6))],
)
def test_truth_broadcasts_batches_like_matmul(left, right):
    random = np.random.default_rng(6)
    a, b, bias = random.standard_normal(left), random.standard_normal(right), random.standard_normal(6)
    shape = np.matmul(a, b).shape
    c = random.standard_normal(shape)
    found = truth(a, b, c=c, beta=-1.0, bias=bias)
    assert found.hi.shape == found.lo.shape == found.radius.shape == found.weight.shape == shape
    a, b = (np.broadcast_to(x, (*shape[:-2], *x.shape[-2:])) for x in (a, b))
    for index in np.ndindex(shape[:-2]):
        alone = truth(a[index], b[index], c=c[index], beta=-1.0, bias=bias)
        assert np.array_equal(alone.hi, found.hi[index])
        assert np.array_equal(alone.lo, found.lo[index])
        assert faults(alone, a[index], b[index], [(0, 0), (3, 5)], c=c[index], beta=-1.0, bias=bias) == []


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("recipe", ["normal", "f16", "integers", "rows", "sparse", "spread", "middle", "huge"])
def test_truth_within_resolution_holds(recipe, full):
    """A bounded answer is as good as was asked for, and its bound holds."""
    random = np.random.default_rng(7)
    a, b = matrix(random, (12, 64), recipe), matrix(random, (64, 10), recipe)
    more = {"c": matrix(random, (12, 10), recipe), "beta": 0.3, "alpha": 1.7} if full else {}
    plain = truth(a, b, **more)
    for resolution in (2.0**-24, 2.0**-46, 2.0**-52):
        found = truth(a, b, **more, resolution=resolution)
        if found.rung != "fp64 bound":
            assert np.array_equal(found.hi, plain.hi)
            assert np.array_equal(found.lo, plain.lo)
            continue
        assert (found.radius <= resolution * found.weight).all()
        error = abs((plain.hi - found.hi) + plain.lo)
        assert (error * (1 - 2.0**-50) <= found.radius).all()
        assert (plain.weight <= found.weight * (1 + 2.0**-44)).all()


@pytest.mark.usefixtures("any_rung")
def test_truth_keeps_an_addend_far_below_huge_operands():
    a, b = np.array([[2.0**960, -(2.0**960), 1.0]]), np.array([[2.0**960], [2.0**960], [1.0]])
    for size in (2.0**-53, 2.0**-200, 2.0**-1000):
        more = {"c": np.array([[size]]), "beta": 1.0}
        found = truth(a, b, **more)
        assert (found.hi[0, 0], found.lo[0, 0]) == (1.0, size)
        assert faults(found, a, b, [(0, 0)], **more) == []


def test_truth_within_resolution_takes_the_cheap_rung():
    random = np.random.default_rng(8)
    a, b = random.standard_normal((8, 100)), random.standard_normal((100, 8))
    assert truth(a, b, resolution=2.0**-40).rung == "fp64 bound"
    assert truth(a, b, resolution=2.0**-52).rung == "sliced"
    a[:, :50] = 0
    assert truth(a * 0, b, resolution=2.0**-40).rung == "fp64 bound"


def test_truth_of_no_products_is_the_addends():
    a, b = np.zeros((2, 0)), np.zeros((0, 3))
    assert (truth(a, b).hi == 0).all()
    assert (truth(a, b).weight == 0).all()
    found = truth(a, b, c=np.ones((2, 3)), beta=0.1, bias=np.full(3, 0.2))
    assert faults(found, a, b, everywhere(found), c=np.ones((2, 3)), beta=0.1, bias=np.full(3, 0.2)) == []


def test_truth_takes_any_layout_and_changes_nothing():
    random = np.random.default_rng(10)
    a, b = matrix(random, (12, 30), "normal"), matrix(random, (30, 8), "spread")
    want = truth(a, b, alpha=1.5)
    strided = np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]
    flipped = np.ascontiguousarray(b[::-1, ::-1])[::-1, ::-1]
    for left, right in ((np.asfortranarray(a), b), (strided, flipped), (a.copy(), b.T.copy().T)):
        left.flags.writeable = right.flags.writeable = False
        found = truth(left, right, alpha=1.5)
        for name in ("hi", "lo", "radius", "weight"):
            assert np.allclose(
                getattr(found, name), getattr(want, name), rtol=(4 * 30 + 40) * 2.0**-53 * (name == "weight"), atol=0
            )
        assert np.array_equal(left, a)
        assert np.array_equal(right, b)
    constant = truth(np.broadcast_to(1.0, (3, 30)), b)
    assert np.array_equal(constant.hi[0], constant.hi[2])
    assert faults(constant, np.ones((3, 30)), b, [(0, 0)]) == []


def test_truth_is_deaf_to_error_handling():
    """A caller's numpy.seterr neither stops nor changes the truth."""
    random = np.random.default_rng(11)
    a, b = matrix(random, (5, 9), "wide"), matrix(random, (9, 5), "middle")
    a[0, 0] = np.nan
    want = truth(a, b, resolution=2.0**-30)
    with np.errstate(all="raise"):
        found = truth(a, b, resolution=2.0**-30)
    assert np.array_equal(want.hi, found.hi, equal_nan=True)
    assert np.array_equal(want.lo, found.lo)
