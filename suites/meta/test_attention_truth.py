"""The truth of attention lies within its radius of 60-digit arithmetic, under every option, in blocks of any size."""

import tracemalloc
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.references import attention
from lastbit.references.attention import Problem, attention_referee, attention_truth, blocks

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow], database=None
)
SIZE = st.integers(1, 9)


def drawn(seed, b=1, hq=2, hkv=1, lq=3, lk=5, d=4, dv=3, *, size=3.0, **options):
    """N(0, 1) operands, queries `size` times larger."""
    random = np.random.default_rng(seed)
    q, k, v = (random.standard_normal(shape) for shape in ((b, hq, lq, d), (b, hkv, lk, d), (b, hkv, lk, dv)))
    return Problem(q * size, k, v, **options)


def utilisation(problem, truth):
    """The largest |truth - referee| / radius over every row, of result and lse."""
    worst = 0.0
    for batch, head, row in np.ndindex(problem.shape[:3]):
        out, lse = attention_referee(problem, batch, head, row)
        with mpmath.workdps(60):
            pairs = [(lse, truth.lse, (batch, head, row))]
            pairs += [(x, truth.out, (batch, head, row, d)) for d, x in enumerate(out)]
            for exact, found, at in pairs:
                if not np.isfinite(found.hi[at]):
                    same = mpmath.isnan(exact) if np.isnan(found.hi[at]) else exact == found.hi[at]
                    assert same, f"{found.hi[at]} at {at}, exact {exact}"
                    continue
                off = abs(exact - mpmath.mpf(found.hi[at]) - mpmath.mpf(found.lo[at]))
                if off:
                    worst = max(worst, float(off) / max(found.radius[at], 1e-320))
    return worst


def feature(name, random, hq, lq, lk):
    """Options of one feature."""
    return {
        "none": {},
        "causal": {"causal": True},
        "top-left": {"causal": True, "causal_alignment": "top-left"},
        "window": {"window": (2, 1)},
        "mask": {"mask": random.random((1, 1, lq, lk)) < 0.7},
        "additive": {"mask": np.where(random.random((lq, lk)) < 0.8, random.standard_normal((lq, lk)), -np.inf)},
        "bias": {"bias": 3 * random.standard_normal((1, hq, 1, lk))},
        "softcap": {"softcap": 2.5},
        "sinks": {"sinks": 4 * random.standard_normal(hq)},
        "scale": {"scale": -1.75},
        "nan": {"masked_row": "nan", "mask": random.random((1, 1, lq, lk)) < 0.3},
    }[name]


FEATURES = st.sampled_from(
    ["none", "causal", "top-left", "window", "mask", "additive", "bias", "softcap", "sinks", "scale", "nan"]
)


@PROFILE
@given(
    st.tuples(SIZE, SIZE, SIZE, st.integers(1, 3)),
    st.sampled_from([(1, 1), (4, 2), (7, 1)]),
    st.lists(FEATURES, min_size=1, max_size=4),
    st.sampled_from([0.1, 3.0, 30.0, 1e4]),
    st.integers(0, 2**20),
)
def test_truth_is_within_its_radius(sizes, heads, features, size, seed):
    (lq, lk, d, dv), (hq, hkv) = sizes, heads
    random = np.random.default_rng(seed)
    options = {}
    for name in features:
        options |= feature(name, random, hq, lq, lk)
    problem = drawn(seed, 1, hq, hkv, lq, lk, d, dv, size=size, **options)
    truth = attention_truth(problem)
    assert utilisation(problem, truth) <= 1
    blocked = attention_truth(problem, block=2 * lk)
    for one, other in ((truth.out, blocked.out), (truth.lse, blocked.lse)):
        with np.errstate(invalid="ignore"):
            apart = np.abs((one.hi - other.hi) + (one.lo - other.lo))
        assert np.array_equal(np.isfinite(one.hi), np.isfinite(other.hi))
        assert (np.where(np.isfinite(one.hi), apart, 0) <= one.radius + other.radius).all()


def test_radius_is_small_and_a_leaner_arithmetic_is_seen(monkeypatch):
    problem = drawn(1, 1, 2, 1, 4, 40, 16, 3)
    truth = attention_truth(problem)
    assert (truth.out.radius <= 1e-13 * truth.out.weight).all()
    assert truth.lse.radius.max() < 1e-13
    assert utilisation(problem, truth) <= 1
    lean = lambda a, b: np.matmul(a, b) * (1 + 1e-12)  # noqa: E731
    monkeypatch.setattr(attention, "product", lean)
    assert utilisation(problem, attention_truth(problem)) > 1


@pytest.mark.parametrize("offset", [1e4, 1e7, -6e4])
def test_large_common_offsets_cost_no_more_than_the_radius_says(offset):
    problem = drawn(2, 1, 1, 1, 2, 9, 4, 2, bias=np.full((1, 1, 1, 9), offset))
    assert utilisation(problem, attention_truth(problem)) <= 1


def test_the_weights_of_budgets_are_what_they_say():
    problem = drawn(3, 2, 4, 2, 5, 8, 6, 3, causal=True)
    truth = attention_truth(problem)
    for part in blocks(problem, block=16):
        place = (part.batch, part.head, part.rows)
        head = problem.key_head(part.head)
        assert np.allclose(truth.out.weight[place], part.weights @ np.abs(problem.v[part.batch, head]), rtol=1e-12)
        exact = np.abs(problem.q[place]) @ np.abs(problem.k[part.batch, head]).T * problem.factor
        assert (part.products >= np.where(part.keep, exact * (1 - 1e-15), 0)).all()
        assert (part.count[:, 0] == part.keep.sum(1)).all()
        assert (part.weights[~part.keep] == 0).all()


def poisoned(problem, keys, mark):
    """The problem with `mark` in K and V at some keys."""
    k, v = problem.k.copy(), problem.v.copy()
    k[:, :, keys], v[:, :, keys] = mark, mark
    return replace(problem, k=k, v=v)


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf])
def test_keys_that_are_left_out_do_not_leak(mark):
    mask = np.ones((1, 1, 3, 5), bool)
    mask[..., [1, 4]] = False
    for options in ({"mask": mask}, {"mask": np.where(mask, 0.25, -np.inf)}, {"mask": mask, "softcap": 3.0}):
        clean = drawn(4, **options)
        for one, other in zip(_arrays(clean), _arrays(poisoned(clean, [1, 4], mark)), strict=True):
            assert np.array_equal(one, other)


def _arrays(problem):
    truth = attention_truth(problem)
    return [x for t in (truth.out, truth.lse) for x in (t.hi, t.lo, t.radius, t.weight)]


def test_kept_specials_decide_their_rows_and_columns():
    problem = drawn(5, hq=1, lq=4, scale=1.0)
    q, k, v = np.abs(problem.q), np.abs(problem.k), problem.v.copy()
    k[0, 0, 2, 0] = np.nan
    nan = attention_truth(replace(problem, q=q, k=k))
    assert np.isnan(nan.out.hi).all()
    assert np.isnan(nan.lse.hi).all()
    assert (nan.out.radius == 0).all()
    k[0, 0, 2, 0] = np.inf  # a logit of +inf has no softmax
    assert np.isnan(attention_truth(replace(problem, q=q, k=k)).out.hi).all()
    capped = replace(problem, q=q, k=k, softcap=2.0)
    reached = replace(problem, q=q, k=np.where(np.isinf(k), 1e200, k), softcap=2.0)
    assert np.array_equal(attention_truth(capped).out.hi, attention_truth(reached).out.hi)
    k[0, 0, 2, 0] = -np.inf  # and one of -inf removes its key
    gone = replace(problem, q=q, k=np.abs(problem.k), mask=np.arange(5) != 2)
    assert np.array_equal(attention_truth(replace(problem, q=q, k=k)).out.hi, attention_truth(gone).out.hi)
    v[0, 0, 1, 0], v[0, 0, 1, 1], v[0, 0, 3, 1], v[0, 0, 3, 2] = np.inf, np.inf, -np.inf, np.nan
    out = attention_truth(replace(problem, v=v)).out.hi
    assert (out[..., 0] == np.inf).all()
    assert np.isnan(out[..., 1:]).all()


def test_rows_without_keys_follow_the_policy():
    mask = np.zeros((1, 1, 3, 5), bool)
    mask[:, :, 1] = True
    for policy, want in (("zero", 0.0), ("nan", np.nan)):
        truth = attention_truth(drawn(6, mask=mask, masked_row=policy))
        assert np.array_equal(truth.out.hi[0, 0, [0, 2]], np.full((2, 3), want), equal_nan=True)
        assert (truth.lse.hi[0, :, [0, 2]] == -np.inf).all()
        assert (truth.out.radius[0, 0, [0, 2]] == 0).all()
        assert np.isfinite(truth.out.hi[0, 0, 1]).all()
    sunk = attention_truth(drawn(6, mask=mask, masked_row="nan", sinks=np.array([1.5, -2.0])))
    assert (sunk.out.hi[0, :, [0, 2]] == 0).all()
    assert np.allclose(sunk.lse.hi[0, :, 0], [1.5, -2.0])
    none = attention_truth(Problem(np.ones((1, 1, 2, 3)), np.ones((1, 1, 0, 3)), np.ones((1, 1, 0, 2))))
    assert (none.out.hi == 0).all()
    assert (none.lse.hi == -np.inf).all()


def test_memory_is_bounded_at_4096():
    random = np.random.default_rng(7)
    q, k, v = (random.standard_normal((1, 1, 4096, 8)) for _ in range(3))
    tracemalloc.start()
    truth = attention_truth(Problem(q, k, v, causal=True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20  # the logits alone would be 128 MiB
    assert np.isfinite(truth.out.hi).all()
    out, lse = attention_referee(Problem(q[:, :, -40:], k[:, :, :], v, causal=True), 0, 0, 7)
    assert abs(float(out[0] - mpmath.mpf(truth.out.hi[0, 0, 4063, 0]))) <= truth.out.radius[0, 0, 4063, 0]
    assert abs(float(lse - mpmath.mpf(truth.lse.hi[0, 0, 4063]))) <= truth.lse.radius[0, 0, 4063] + 1e-300


@pytest.mark.parametrize("least", [-1e4, -1e30, -3.4028234663852886e38])
def test_a_finite_mask_removes_its_keys_and_their_errors(least):
    keep = np.array([True, False, True, True, False])
    problem = drawn(8, mask=np.where(keep, 0.0, least))
    truth, gone = attention_truth(problem), attention_truth(replace(problem, mask=keep))
    assert utilisation(problem, truth) <= 1
    assert (np.abs(truth.out.hi - gone.out.hi) <= truth.out.radius + gone.out.radius).all()
    assert (truth.out.radius <= 1e-10).all()


@pytest.mark.parametrize("options", [{}, {"softcap": 2.0}, {"sinks": np.array([1.0, -2.0])}, {"scale": 0.9}])
def test_radius_is_the_documented_formula(options):
    """docs/attention.md 2, in scalars."""
    u, libm = 2.0**-53, 2.0**-50
    problem = drawn(9, bias=3 * np.random.default_rng(9).standard_normal((1, 2, 3, 5)), **options)
    truth = attention_truth(problem)
    for head, row in ((0, 0), (1, 2)):
        q, k, v = problem.q[0, head, row], problem.k[0, 0], problem.v[0, 0]
        s, e = np.zeros(5), np.zeros(5)
        for j in range(5):
            x = problem.factor * float(q @ k[j])
            e[j] = (4 + 4) * u * abs(problem.factor) * float(np.abs(q) @ np.abs(k[j]))
            if problem.softcap:
                z = (abs(x) - e[j]) / problem.softcap
                x = problem.softcap * np.tanh(x / problem.softcap)
                e[j] = e[j] * min(1, 4 * np.exp(-2 * z)) + (libm + 4 * u) * abs(x)
            bias = float(problem.bias[0, head, row, j])
            e[j] += u * (abs(x) + abs(bias))
            s[j] = x + bias
        sink = -np.inf if problem.sinks is None else problem.sinks[head]
        n = 5 + (problem.sinks is not None)
        top = max(s.max(), sink)
        total = np.exp(s - top).sum() + np.exp(sink - top)
        p, own = np.exp(s - top) / total, np.exp(sink - top) / total
        rho = np.expm1(e + u * (top - s) + libm + 2 * u)
        off = own * (libm + u * (top - sink)) if problem.sinks is not None else 0.0
        out = p @ v
        radius = (p * rho) @ np.abs(v) + np.abs(out) * (p @ rho)
        radius += (n + 6) * u * (2 * p @ np.abs(v) + np.abs(out)) + np.abs(out) * off
        assert np.allclose(truth.out.radius[0, head, row], radius, rtol=1e-5, atol=0)
        lse = p @ rho + off + (n + 6) * u + libm * abs(np.log(total))
        assert truth.lse.radius[0, head, row] == pytest.approx(lse, rel=1e-5, abs=0)


def test_adding_the_maximum_to_the_logarithm_loses_nothing():
    truth = attention_truth(drawn(10, lq=9, bias=np.full((1, 1, 1, 5), 1e7)))
    assert (truth.lse.lo != 0).any()
    assert (np.abs(truth.lse.lo) <= np.spacing(truth.lse.hi) / 2).all()
