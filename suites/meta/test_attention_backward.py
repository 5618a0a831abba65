"""The gradients of attention lie within their radius of 60-digit arithmetic, and are the slopes of the truth."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.references import attention_backward
from lastbit.references.attention import Problem, attention_truth
from lastbit.references.attention_backward import attention_gradients, gradients_referee

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow], database=None
)
SIZE = st.integers(1, 5)


def drawn(seed, hq=4, hkv=2, lq=3, lk=5, d=4, dv=3, *, size=2.0, **options):
    """A problem of N(0, 1) operands, queries `size` times larger, and an upstream gradient."""
    random = np.random.default_rng(seed)
    q, k, v, upstream = (
        random.standard_normal(shape) for shape in ((1, hq, lq, d), (1, hkv, lk, d), (1, hkv, lk, dv), (1, hq, lq, dv))
    )
    return Problem(q * size, k, v, **options), upstream


def utilisation(problem, upstream, found):
    """The largest |truth - referee| / radius over all gradients."""
    exact, worst = gradients_referee(problem, upstream, 0), 0.0
    with mpmath.workdps(60):
        for name in ("q", "k", "v"):
            truth = getattr(found, name)
            for index in np.ndindex(truth.hi.shape[1:]):
                off = abs(exact[name][index[0]][index[1]][index[2]] - mpmath.mpf(truth.hi[(0, *index)]))
                if off:
                    worst = max(worst, float(off) / max(truth.radius[(0, *index)], 1e-320))
    return worst


@PROFILE
@given(
    st.tuples(SIZE, SIZE, SIZE, st.integers(1, 3)),
    st.sampled_from([(1, 1), (4, 2), (3, 1)]),
    st.sampled_from(["none", "causal", "window", "mask", "bias", "softcap", "sinks", "all"]),
    st.sampled_from([0.1, 2.0, 30.0]),
    st.integers(0, 2**20),
)
def test_gradients_are_within_their_radius(sizes, heads, feature, size, seed):
    (lq, lk, d, dv), (hq, hkv) = sizes, heads
    random = np.random.default_rng(seed)
    options = {
        "causal": {"causal": True},
        "window": {"window": (2, 1)},
        "mask": {"mask": random.random((1, 1, lq, lk)) < 0.6},
        "bias": {"bias": random.standard_normal((1, hq, lq, lk))},
        "softcap": {"softcap": 2.5},
        "sinks": {"sinks": random.standard_normal(hq)},
    }
    chosen = options.get(feature, {})
    if feature == "all":
        chosen = {key: value for one in options.values() for key, value in one.items()}
    problem, upstream = drawn(seed, hq, hkv, lq, lk, d, dv, size=size, **chosen)
    found = attention_gradients(problem, upstream)
    assert utilisation(problem, upstream, found) <= 1
    blocked = attention_gradients(problem, upstream, block=lk)
    for name in ("q", "k", "v"):
        one, other = getattr(found, name), getattr(blocked, name)
        assert (np.abs(one.hi - other.hi) <= one.radius + other.radius).all()


def test_radius_is_small_and_a_leaner_arithmetic_is_seen(monkeypatch):
    problem, upstream = drawn(1, lk=24, d=8, causal=True)
    found = attention_gradients(problem, upstream)
    for name in ("q", "k", "v"):
        truth = getattr(found, name)
        assert truth.radius.max() < 1e-11 * truth.weight.max()
        terms = problem.scores[3 if name == "q" else 2]  # no less than the roundings of its last sum
        assert (truth.radius >= (terms + 4) * 2.0**-53 * truth.weight).all()
    monkeypatch.setattr(attention_backward, "product", lambda a, b: np.matmul(a, b) * (1 + 1e-10))
    assert utilisation(problem, upstream, attention_gradients(problem, upstream)) > 1


@pytest.mark.parametrize("name", ["q", "k", "v"])
def test_gradients_are_the_slopes_of_the_forward_truth(name):
    problem, upstream = drawn(2, causal=True, softcap=4.0, sinks=np.array([0.5, -1.0, 2.0, 0.0]))
    direction = np.random.default_rng(3).standard_normal(getattr(problem, name).shape)
    step = 1e-5

    def loss(side):
        moved = replace(problem, **{name: getattr(problem, name) + side * step * direction})
        return float((attention_truth(moved).out.hi * upstream).sum())

    slope = (loss(1) - loss(-1)) / (2 * step)
    along = float((getattr(attention_gradients(problem, upstream), name).hi * direction).sum())
    assert slope == pytest.approx(along, rel=1e-7)


def test_keys_that_are_left_out_get_no_gradient_and_do_not_leak():
    mask = np.array([True, False, True, True, False])
    problem, upstream = drawn(4, mask=mask)
    k, v = problem.k.copy(), problem.v.copy()
    k[:, :, ~mask], v[:, :, ~mask] = np.nan, np.inf
    clean, poisoned = attention_gradients(problem, upstream), attention_gradients(replace(problem, k=k, v=v), upstream)
    for name in ("q", "k", "v"):
        one, other = getattr(clean, name), getattr(poisoned, name)
        assert np.array_equal(one.hi, other.hi)
        assert np.isfinite(other.radius).all()
    assert (poisoned.k.hi[:, :, ~mask] == 0).all()
    assert (poisoned.v.hi[:, :, ~mask] == 0).all()


def test_upstream_must_fit():
    problem, upstream = drawn(5)
    with pytest.raises(ValueError, match="upstream has shape"):
        attention_gradients(problem, upstream[..., :1])
