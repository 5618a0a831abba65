"""The budget of attention's gradients: kernels stay within it in 60 digits, and no term of it can be left out."""

from dataclasses import replace
from functools import cache

import ml_dtypes
import mpmath
import numpy as np
import pytest

from lastbit.attention_budget import budget
from lastbit.attention_gradient_budget import gradient_budget
from lastbit.contract import Contract, resolved
from lastbit.judge import judge
from lastbit.references.attention import Problem, attention_truth
from lastbit.references.attention_backward import attention_gradients, gradients_referee
from lastbit.references.formats import Format
from lastbit.suites.zoo import gradient_parts as zoo
from lastbit.verdict import Outcome

U = 2.0**-24
DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
FEATURES = {
    "plain": {},
    "scale": {"scale": 0.7},
    "causal": {"causal": True},
    "window": {"window": (2, 1)},
    "mask": {"mask": np.random.default_rng(1).random((1, 1, 5, 7)) < 0.6},
    "bias": {"bias": np.random.default_rng(2).standard_normal((1, 4, 5, 7)).astype(np.float16)},
    "softcap": {"softcap": 2.5},
    "sinks": {"sinks": np.array([0.5, -1.0, 2.0, 0.0], np.float32)},
    "all": {"causal": True, "window": (3, 0), "softcap": 4.0, "sinks": np.array([0.5, -1.0, 2.0, 0.0], np.float32)},
}


def same(fmt):
    """Formats of operands and results that are all one."""
    return dict.fromkeys(("q", "k", "v", "out"), fmt)


def budgets(contract, formats, problem, upstream):
    """The truth of the gradients, and their budgets."""
    contract, truth = resolved(contract, formats), attention_truth(problem)
    exact = attention_gradients(problem, upstream)
    forward = budget(contract, formats, problem, truth)
    return exact, gradient_budget(contract, formats, problem, upstream, truth, forward, exact)


def drawn(seed, hq=4, hkv=2, lq=5, lk=7, d=6, dv=3, fmt="f32", size=2.0, **options):
    """A problem of N(0, 1) operands of a format, queries `size` times larger, and an upstream gradient."""
    rng = np.random.default_rng(seed)
    shapes = (1, hq, lq, d), (1, hkv, lk, d), (1, hkv, lk, dv), (1, hq, lq, dv)
    q, k, v, upstream = (Format.of(fmt).round(rng.standard_normal(shape)) for shape in shapes)
    return Problem(Format.of(fmt).round(q * size), k, v, **options), upstream


@pytest.mark.parametrize("fmt", DTYPES)
@pytest.mark.parametrize("feature", FEATURES)
def test_kernel_is_within_its_budget_of_sixty_digits(feature, fmt):
    given = FEATURES[feature]
    wide = {name: x.astype(np.float64) if name in ("bias", "sinks") else x for name, x in given.items()}
    problem, upstream = drawn(3, fmt=fmt, **wide)
    exact, allowed = budgets(Contract(exp_ulp=4.0), same(fmt), problem, upstream)
    operands = [x.astype(DTYPES[fmt]) for x in (problem.q, problem.k, problem.v)]
    got = zoo.attend(*operands, grad_out=upstream.astype(DTYPES[fmt]), **given)[2:]
    referee = gradients_referee(problem, upstream, 0)
    for name, result in zip(("q", "k", "v"), got, strict=True):
        bound = np.broadcast_to(allowed[name].allowed, result.shape)
        with mpmath.workdps(60):
            for index in np.ndindex(result.shape[1:]):
                want = referee[name][index[0]][index[1]][index[2]]
                assert abs(mpmath.mpf(float(result[(0, *index)])) - want) <= mpmath.mpf(float(bound[(0, *index)]))
        assert bound.max() < 0.1 * np.abs(getattr(exact, name).hi).max() + 0.01


def test_budgets_say_over_how_many_keys_or_queries_they_sum():
    """dK and dV over the queries of all heads that share a key."""
    problem, upstream = drawn(3, hq=4, hkv=2, lq=5, lk=7)
    found = budgets(Contract(), same("f32"), problem, upstream)[1]
    assert {name: one.terms for name, one in found.items()} == {"q": 7, "k": 10, "v": 10}


@cache
def smooth():
    """One head with all of K and V positive, so that common errors do not cancel; and P, dP, D and dS of it."""
    problem, upstream = drawn(7, 1, 1, lq=9, lk=11, d=6, dv=5, size=1.0)
    problem = replace(problem, k=np.abs(problem.k), v=np.abs(problem.v))
    q, k, v, out = problem.q[0, 0], problem.k[0, 0], problem.v[0, 0], upstream[0, 0]
    s = q @ k.T * problem.factor
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    dp = out @ v.T
    mean = (p * dp).sum(1, keepdims=True)
    return problem, upstream, p, dp, mean, p * (dp - mean)


def used(contract, formats, name, error):
    """The largest share of its budget that an error of each element uses, its rounding to f32 aside."""
    problem, upstream, *_ = smooth()
    _, allowed = budgets(contract, formats, problem, upstream)
    return float((error / np.broadcast_to(allowed[name].allowed, (1, 1, *error.shape))).max())


def test_rounding_of_weights_fills_the_budget_of_dv():
    _, upstream, p, *_ = smooth()
    error = 2.0**-9 * p.T @ np.abs(upstream[0, 0])
    contract = Contract(probabilities="bf16", exp_ulp=0.5)
    assert 0.45 < used(contract, same("f32"), "v", error) <= 1
    assert 0.9 < used(contract, same("f32"), "v", 2 * error) <= 1  # bf16's u: half a step of the smallest significand


def test_rounding_of_ds_fills_the_budget_of_dq():
    """Besides D, of a result whose weights were rounded too: all errors of a row with one sign."""
    problem, upstream, p, _, _, ds = smooth()
    contract = resolved(Contract(probabilities="bf16", exp_ulp=0.5), same("f32"))
    out, _ = budget(contract, same("f32"), problem, attention_truth(problem))
    mean_error = (np.abs(upstream[0, 0]) * out.allowed[0, 0]).sum(1, keepdims=True)
    error = problem.factor * (2.0**-8 * (np.abs(ds) + p * mean_error) + p * mean_error)
    assert 0.9 < used(contract, same("f32"), "q", error @ problem.k[0, 0]) <= 1
    assert 0.9 < used(contract, same("f32"), "k", error.T @ np.abs(problem.q[0, 0])) <= 1


def test_rounding_of_the_result_fills_the_budget_of_dq():
    """D of a bf16 result errs by half an ulp of each of its elements, with one sign for a whole row."""
    problem, upstream, p, *_ = smooth()
    out = attention_truth(problem).out.hi[0, 0]
    mean_error = (np.abs(upstream[0, 0]) * Format.of("bf16").ulp(out) / 2).sum(1, keepdims=True)
    error = problem.factor * (p * mean_error) @ problem.k[0, 0]
    assert 0.9 < used(Contract(exp_ulp=0.5), {**same("f32"), "out": "bf16"}, "q", error) <= 1


def test_errors_of_exp_fill_much_of_each_budget():
    """Weights off by exp_ulp, each in the worst direction, but one exp each: the budget covers online softmax."""
    problem, upstream, p, dp, mean, _ = smooth()
    contract = Contract(exp_ulp=3000.0)
    off = 2 * U * 3000.0
    k, q = np.abs(problem.k[0, 0]), np.abs(problem.q[0, 0])
    direct = p * off * np.abs(dp - mean) * problem.factor
    assert 0.05 < used(contract, same("f32"), "v", off * p.T @ np.abs(upstream[0, 0])) <= 1
    assert 0.02 < used(contract, same("f32"), "q", direct @ k) <= 1
    assert 0.02 < used(contract, same("f32"), "k", direct.T @ q) <= 1


def test_parts_of_query_heads_fill_the_budget_of_dk_and_dv():
    problem, upstream = drawn(8, 6, 2, lq=3, lk=5)
    exact, wide = budgets(Contract(exp_ulp=0.5), same("f32"), problem, upstream)
    _, narrow = budgets(Contract(exp_ulp=0.5, head_gradients="bf16"), same("f32"), problem, upstream)
    own = [
        attention_gradients(
            Problem(problem.q[:, h : h + 1], problem.k[:, h // 3 : h // 3 + 1], problem.v[:, h // 3 : h // 3 + 1]),
            upstream[:, h : h + 1],
        )
        for h in range(6)
    ]
    for name in ("k", "v"):
        error = sum(2.0**-8 * np.abs(getattr(one, name).hi) for one in own[:3])
        share = error / narrow[name].allowed[:, :1]
        assert 0.9 < share.max() <= 1
        assert (error > wide[name].allowed[:, :1]).all()
    assert np.array_equal(narrow["q"].allowed, wide["q"].allowed)
    assert exact.k.hi.shape == narrow["k"].allowed.shape


def flat(lq, lk, dv=1, values=1.0):
    """A problem of logits 0, so that every weight is 1 / lk, with positive K and upstream gradients of 1."""
    k = 1 + np.random.default_rng(lk).random((1, 1, lk, 4))
    v = np.broadcast_to(np.asarray(values, np.float64), (1, 1, lk, dv))
    return Problem(np.zeros((1, 1, lq, 4)), k, np.array(v), scale=0.5), np.ones((1, 1, lq, dv))


def share(problem, upstream, contract, name, error):
    """The largest share of its budget in f32 that an error (rows, columns) uses."""
    _, allowed = budgets(contract, same("f32"), problem, upstream)
    return float((error / np.broadcast_to(allowed[name].allowed, (1, 1, *error.shape))).max())


def test_sums_of_dv_cost_a_rounding_a_query():
    problem, upstream = flat(3000, 1)
    error = np.full((1, 1), ((1 + U) ** 3000 - 1) * 3000)
    assert 0.9 < share(problem, upstream, Contract(exp_ulp=0.5), "v", error) <= 1


def test_sums_of_dq_and_of_the_mean_cost_a_rounding_a_key():
    """dP is 1 and -1 in turn, so that D is 0 and errs by n u, and so does the sum of dS K."""
    signs = np.where(np.arange(2000) % 2, 1.0, -1.0)[:, None]
    problem, upstream = flat(1, 2000, 1, signs)
    error = 2 * 2000 * U * 0.5 * problem.k[0, 0].mean(0, keepdims=True)
    assert 0.2 < share(problem, upstream, Contract(exp_ulp=0.5), "q", error) <= 1  # online softmax takes the rest


def test_dot_products_of_the_upstream_gradient_cost_a_rounding_a_column():
    problem, upstream = flat(1, 2, 3000, 1.0)
    own = 3000 * U * 3000.0  # of dP; D is a sum of as many products
    error = 2 * own * 0.5 * problem.k[0, 0].mean(0, keepdims=True)
    assert 0.8 < share(problem, upstream, Contract(exp_ulp=0.5), "q", error) <= 1


def test_slope_of_a_softcap_has_its_own_error():
    """Far beyond the cap nothing of the gradient is left but the error of tanh, absolute, in 1 - tanh^2."""
    signs = np.array([1.0, -1.0])[:, None]
    problem, upstream = flat(1, 2, 1, signs)
    problem = replace(problem, q=problem.q + 100.0, k=np.full(problem.k.shape, 1.0), softcap=2.0)
    off = 2 * (2 * U * 3000.0)
    error = np.full((1, 4), 2 * 0.5 * 0.5 * 2 * off)  # both keys: scale, P |dP - D|, slope
    assert 0.8 < share(problem, upstream, Contract(exp_ulp=3000.0), "q", error) <= 1


def test_stored_scores_cost_roundings():
    """Of P, dP and so D, dS, scaled dS and its cast, in the direction that is worst for each key."""
    values = np.array([3.0, -1.0, 2.0, 0.5])[:, None]
    problem, upstream = flat(1, 4, 1, values)
    away, size = np.abs(values - values.mean()), np.abs(values)
    u = 2.0**-8
    error = 0.5 * ((u * (4 * away + size + size.mean()) / 4) * problem.k[0, 0]).sum(0, keepdims=True)
    contract = Contract(scores="bf16", probabilities="bf16", exp_ulp=0.5)
    assert 0.6 < share(problem, upstream, contract, "q", error) <= 1


def test_gradients_beyond_f16_overflow_and_no_others():
    problem, upstream = drawn(10, 1, 1, lq=4, lk=3, fmt="f16")
    upstream = Format.of("f16").round(np.clip(upstream * 100000.0, -60000.0, 60000.0))
    exact, allowed = budgets(Contract(), same("f16"), problem, upstream)
    fmt, contract = Format.of("f16"), resolved(Contract(), same("f16"))
    assert (np.abs(exact.v.hi) > 65520).any()
    for name in ("q", "k", "v"):
        truth = getattr(exact, name)
        right, cut = fmt.encode(truth.hi), fmt.encode(np.clip(truth.hi, -65504, 65504))
        assert judge(right, fmt, truth, allowed[name], contract).outcome is Outcome.PASS
        if (np.abs(truth.hi) > 70000).any():
            assert judge(cut, fmt, truth, allowed[name], contract).outcome is Outcome.WRONG_CLASS


def test_rows_and_keys_that_are_left_out_have_gradients_of_zero_and_no_error():
    mask = np.ones((1, 1, 4, 6), bool)
    mask[:, :, 2], mask[:, :, :, 3] = False, False
    problem, upstream = drawn(11, 2, 1, lq=4, lk=6, mask=mask)
    exact, allowed = budgets(Contract(), same("f32"), problem, upstream)
    least = Format.of("f32").eta
    for name, index in (
        ("q", (slice(None), slice(None), 2)),
        ("k", (..., 3, slice(None))),
        ("v", (..., 3, slice(None))),
    ):
        assert (getattr(exact, name).hi[index] == 0).all()
        assert (allowed[name].allowed[index] <= least).all()
