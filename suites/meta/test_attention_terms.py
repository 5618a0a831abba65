"""The budget of attention is the formula of docs/attention.md 3, written out a second time in scalars."""

from dataclasses import replace
from math import exp, expm1, log, log1p, tanh

import numpy as np
import pytest

from lastbit.attention_budget import budget, weigh
from lastbit.attention_terms import working
from lastbit.contract import Contract
from lastbit.references.attention import attention_truth
from lastbit.references.attention_data import operands, problem_of
from lastbit.references.attention_mask import addends, kept
from lastbit.references.formats import Format

U = 2.0**-24
SIZES = {"hq": 4, "hkv": 2, "lq": 6, "lk": 11, "d": 9, "dv": 3}
OPTIONS = {
    "plain": ({}, ()),
    "causal": ({"causal": True, "scale": 0.7}, ()),
    "softcap": ({"softcap": 3.0}, ("bias",)),
    "all": ({"window": (4, 3), "softcap": 15.0}, ("mask", "bias", "sinks")),
    "sinks": ({}, ("sinks",)),
}
CONTRACTS = {
    "f32": Contract(accumulator="f32"),
    "coarse": Contract(accumulator="f32", exp_ulp=300.0),
    "bf16": Contract(accumulator="f32", probabilities="bf16"),
    "f16": Contract(accumulator="f32", probabilities="f16"),
    "eager": Contract(accumulator="f32", probabilities="bf16", scores="bf16"),
}


def power(count, unit):
    """(1 + unit)^count - 1."""
    return expm1(count * log1p(unit))


def logit_errors(problem, contract, batch, head, row):
    """s_j, W_j, E_j and the magnitude met, of the kept keys of one row."""
    eps, u_s = 2 * U * contract.exp_ulp, 2.0**-8 if contract.scores else 0.0
    rows = slice(row, row + 1)
    extra = [e[0] for e in addends(problem, batch, head, rows)]
    q, k = problem.q[batch, head, row], problem.k[batch, problem.key_head(head)]
    found = {}
    for j in np.flatnonzero(kept(problem, batch, head, rows)[0]):
        x = problem.factor * float(np.dot(q, k[j]))
        w = abs(problem.factor) * float(np.dot(np.abs(q), np.abs(k[j])))
        e = len(q) * U * w
        e += power(5, U) * (w + e)
        if u_s:
            e += power(2, u_s) * (abs(x) + e) + Format.of("bf16").eta * (1 + abs(problem.factor))
        s, size = x, 0.0
        if problem.softcap:
            cap = problem.softcap
            e += 2 * U * (abs(x) + e)
            slope = 1 - tanh(max(abs(x) - e, 0.0) / cap) ** 2
            s = cap * tanh(x / cap)
            e = e * slope + cap * (2 * eps + 6 * U)
            e += power(3, u_s) * (abs(s) + e)
        if extra:
            size = abs(s) + sum(abs(float(a[j])) for a in extra)
            e += (power(2, U) + power(2, u_s)) * (size + e)
            s += sum(float(a[j]) for a in extra)
        found[int(j)] = (s, e, max(abs(s), size) + e)
    return found


def by_the_book(problem, contract, batch, head, row, column):
    """The bounds of one element of the result before it is rounded, and of its row's lse."""
    eps, u_p = 2 * U * contract.exp_ulp, Format.of(contract.probabilities).u if contract.probabilities else 0.0
    keys = logit_errors(problem, contract, batch, head, row)
    sink = None if problem.sinks is None else float(problem.sinks[head])
    n = len(keys) + (sink is not None)
    top = max([s for s, _, _ in keys.values()] + ([] if sink is None else [sink]))
    most = max(e for _, e, _ in keys.values())
    lam, more = -log1p(-eps), (eps + 3 * U) * (1 + log(n))
    total = sum(exp(s - top) for s, _, _ in keys.values()) + (0 if sink is None else exp(sink - top))
    logs = log(total)
    values = problem.v[batch, problem.key_head(head), :, column]
    out = sum(exp(s - top) * float(values[j]) for j, (s, _, _) in keys.items()) / total
    lean = wide = height = heavy = spread = mean = rounded = 0.0
    highest = 0.0
    lost = (4 * n + 4) * 2.0**-149
    level = abs(out)
    for j, (s, e, size) in keys.items():
        p, v = exp(s - top) / total, float(values[j])
        r = sum(t >= s - 2 * most for i, (t, _, _) in keys.items() if i != j) + (sink is not None)
        gap = top - s + e + most
        term = e + 2 * U * size + (1 + r) * (U * (size + gap) + lam) + 3 * U * gap
        term += 2 * U * (size + gap + log(n)) + more + 3 * U * (gap + log(n)) + lam
        rho, tau = expm1(term), power(n + r + 4, U)
        highest = max(highest, tau)
        lean += p * rho * abs(v - out)
        rounded += p * rho
        wide += p * (1 + rho) * tau * abs(v)
        height += p * (1 + rho) * tau
        heavy += p * (1 + rho) * abs(v)
        spread += p * (1 + rho) * abs(v - out)
        mean += p * term
        grown, missing = p * (1 + rho), 2 * 2.0**-126
        if u_p:
            fmt = Format.of(contract.probabilities)
            missing += min(grown, fmt.eta / 2) if grown < 2 * fmt.min_normal else 0.0
        lost += missing * (abs(v) + level)
    if sink is not None:
        p, far = exp(sink - top) / total, abs(sink - max(s for s, _, _ in keys.values())) + most
        term = 8 * U * (abs(sink) + far + log(n)) + 3 * lam + more
        lean += p * expm1(term) * level
        rounded += p * expm1(term)
        height += p * (1 + expm1(term)) * highest
        spread += p * (1 + expm1(term)) * level
        mean += p * term
    error = lean + wide + level * height + lost
    divisor = exp(-mean) * (1 - height)
    if u_p:
        error += u_p * (1 + highest) * max(heavy, spread)
        divisor *= 1 - u_p
    common = expm1(2 * U * (abs(top) + logs + most) + more + lam)
    error /= divisor
    error += (4 * U + common * (1 + 4 * U)) * (level + error)
    lse = rounded - log1p(-height) + 6 * U * (abs(top) + logs + most) + (eps + 3 * U) * (1 + logs)
    return error, lse


@pytest.mark.parametrize("promise", CONTRACTS)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("recipe", ["normal", "sharp", "sink", "equal_maxima"])
def test_bounds_are_the_documented_formula(recipe, option, promise):
    contract, (options, extras) = CONTRACTS[promise], OPTIONS[option]
    kind = contract.probabilities or "f32"
    formats = dict.fromkeys(("q", "k", "v"), "f32") | {"out": kind}
    problem = problem_of(operands(recipe, formats, SIZES, 2, extras=extras, options=options), options)
    truth = attention_truth(problem)
    parts = weigh(working(contract, formats), problem, truth)
    for head, row, column in ((0, 0, 0), (1, 3, 2), (3, 4, 1), (2, 2, 0)):
        if not kept(problem, 0, head, slice(row, row + 1)).any():
            continue
        error, lse = by_the_book(problem, contract, 0, head, row, column)
        assert parts.error[0, head, row, column] == pytest.approx(error, rel=1e-7, abs=0)
        assert parts.lse[0, head, row] == pytest.approx(lse, rel=1e-7, abs=0)


def test_the_radius_is_added_and_the_output_rounded_once():
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = problem_of(operands("sharp", formats, SIZES, 1), {})
    truth = attention_truth(problem)
    contract = Contract(accumulator="f32")
    out, lse = budget(contract, formats, problem, truth)
    wide = replace(
        truth,
        out=replace(truth.out, radius=truth.out.radius + 0.25),
        lse=replace(truth.lse, radius=truth.lse.radius + 0.5),
    )
    more, further = budget(contract, formats, problem, wide)
    assert np.allclose(more.allowed - out.allowed, 0.25, rtol=1e-9)
    assert np.allclose(further.allowed - lse.allowed, 0.5, rtol=1e-9)
    narrow, _ = budget(contract, formats | {"out": "bf16"}, problem, truth)
    half = Format.of("bf16").ulp(np.abs(truth.out.hi) + out.allowed) / 2
    assert np.allclose(narrow.allowed, out.allowed + half, rtol=1e-9, atol=0)
    short, low = budget(contract, formats | {"lse": "bf16"}, problem, truth)
    assert np.array_equal(short.allowed, out.allowed)
    assert (low.allowed >= lse.allowed + Format.of("bf16").ulp(truth.lse.hi) / 2).all()


def test_what_a_contract_promises_is_read_as_documented():
    formats = dict.fromkeys(("q", "k", "v", "out"), "bf16")
    work = working(Contract(accumulator="f32", probabilities="bf16", exp_ulp=3.0), formats)
    assert (work.u, work.exp, work.u_p, work.u_s, work.division) == (U, 6 * U, 2.0**-8, 0.0, 4 * U)
    assert work.flushed == (0.0, 0.0, 0.0)
    wide = working(Contract(accumulator="f64", probabilities="f32"), formats)
    assert (wide.name, wide.u, wide.least, wide.u_p) == ("f64", 2.0**-53, 2.0**-1022, U)
    same = working(Contract(accumulator="f32", probabilities="f32", scores="f32"), formats)
    assert (same.u_p, same.probabilities, same.u_s, same.scores) == (0.0, None, 0.0, None)
    flushing = working(Contract(accumulator="f32", subnormals="flush"), formats | {"k": "f16", "v": "e4m3fn"})
    assert flushing.flushed == (2.0**-126, 2.0**-14, 0.0)
