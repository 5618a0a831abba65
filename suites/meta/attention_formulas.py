"""The budget of one element of attention by the formulas of docs/attention.md 3, written again in plain Python."""

from dataclasses import replace
from math import exp, expm1, log, log1p, tanh

import numpy as np

from lastbit.contract import Contract
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention_mask import addends, kept
from lastbit.references.formats import Format

U = 2.0**-24
SIZES = {"hq": 4, "hkv": 2, "lq": 6, "lk": 11, "d": 9, "dv": 3}
OPTIONS = {
    "plain": ({}, ()),
    "causal": ({"causal": True, "scale": -0.7}, ()),
    "softcap": ({"softcap": 3.0}, ("bias",)),
    "all": ({"window": (4, 3), "softcap": 15.0}, ("mask", "bias", "sinks")),
    "sinks": ({}, ("sinks",)),
}
H100 = Accumulator.of("h100", "f16")
CONTRACTS = {
    "f32": Contract(accumulator="f32"),
    "coarse": Contract(accumulator="f32", exp_ulp=300.0),
    "coarsest": Contract(accumulator="f32", exp_ulp=2.0**23),
    "hopeless": Contract(accumulator="f32", exp_ulp=2.0**30),
    "bf16": Contract(accumulator="f32", probabilities="bf16"),
    "f16": Contract(accumulator="f32", probabilities="f16"),
    "eager": Contract(accumulator="f32", probabilities="bf16", scores="bf16"),
    "scores": Contract(accumulator="f32", scores="f16"),
    "exact": Contract(accumulator="exact", probabilities="bf16"),
    "narrow": Contract(accumulator="bf16"),
    "tf32": Contract(accumulator="f32", input_rounding="tf32"),
    "words": Contract(accumulator="f32", input_rounding="bf16x3", probabilities="bf16"),
    "rounded": Contract(accumulator="f32", input_rounding="f16"),
    "flush": Contract(accumulator="f32", subnormals="flush", probabilities="f16"),
    "flush-f16": Contract(accumulator="f16", subnormals="flush", probabilities="f16"),
    "flushing": Contract(accumulator=replace(Accumulator.of("f16"), flush=True), probabilities="f16"),
    "h100": Contract(accumulator=H100, probabilities="f16"),
    "h100-wide": Contract(accumulator=H100),
    "h100-tf32": Contract(accumulator=H100, input_rounding="tf32"),
    "h100-flush": Contract(accumulator=H100, probabilities="f16", subnormals="flush"),
}


def power(count, unit):
    """(1 + unit)^count - 1."""
    return expm1(count * log1p(unit))


class Promise:
    """What a contract says about each step, by docs/attention.md 3."""

    def __init__(self, contract, formats):
        chosen = contract.accumulator
        self.model = Accumulator.of(chosen) if isinstance(chosen, str) else chosen
        self.u, self.least = (2.0**-53, 2.0**-1022) if chosen == "f64" else (U, 2.0**-126)
        self.eps = 2 * self.u * contract.exp_ulp
        self.lam = -log1p(-min(self.eps, 0.5))
        self.p = Format.of(contract.probabilities) if contract.probabilities else None
        self.u_p = self.p.u if self.p else 0.0
        self.s = Format.of(contract.scores) if contract.scores else None
        self.u_s = self.s.u if self.s else 0.0
        self.rounding = INPUT_ROUNDINGS[contract.input_rounding] if contract.input_rounding else None
        self.read = Format.of(self.rounding.format) if self.rounding else None
        self.flush = contract.subnormals == "flush"
        self.flushed = {x: Format.of(formats[x]).min_normal if self.flush else 0.0 for x in "qkv"}

    def dot(self, rows, row, keys, key):
        """Error of a dot product that is not scaled yet; an accumulator's bound knows all bits of both operands."""
        q, k, model, d = rows[row], keys[key], self.model, rows.shape[1]
        w = float(np.dot(np.abs(q), np.abs(k)))
        if self.rounding is None:
            e = model.bound(rows, keys.T)[row, key]
        else:
            growth, words = self.rounding.growth, self.rounding.products
            factor = model.coefficient(words * d)
            e = (factor * growth + self.rounding.product_error) * w
            e += growth * self.read.eta * (np.abs(q).sum() + np.abs(k).sum() + d * self.read.eta)
            e += (1 + factor) * words * d * 2.0 ** (model.emin - model.precision)
        if self.flush:
            e += 2 * (self.flushed["q"] * np.abs(k).sum() + self.flushed["k"] * np.abs(q).sum())
            e += (2 * d + 2) * 2.0**model.emin
        return e

    def sums(self, n, r, keys):
        """What a product with V collects: its own rounding, sums, rescales, a combination of splits."""
        if self.model.engine == "chain":
            found = power(n + r + 4, max(self.model.unit, self.u))
        elif self.model.engine == "exact":
            found = power(r + 4, self.u)
        else:
            blocks = keys // self.model.terms
            found = (1 + self.model.coefficient(keys)) * (1 + power(r + blocks + 4, self.u)) - 1
        if self.rounding:
            found = (1 + found * self.rounding.growth * self.rounding.products) * (1 + self.rounding.product_error) - 1
        return found

    def missing(self, weight):
        """What of a weight may be lost below the normal ranges."""
        found = min(weight, 2 * self.least)
        if self.read and weight < 2 * self.read.min_normal:
            found += min(weight, self.read.eta)
        if self.p and weight < 2 * self.p.min_normal:
            found += min(weight, self.p.min_normal if self.flush else self.p.eta / 2)
        return found

    def underflow(self, n, keys, column):
        """What products with V and rescales lose below the normal range."""
        model = self.model
        if model.engine == "exact":
            return 0.0
        lost = (4 * n + 4) * 2.0 ** (model.emin if self.flush or model.flush else model.emin - model.precision + 1)
        if model.engine != "chain" and self.p:
            lost += model.coefficient(keys) * self.p.min_normal * np.abs(column).sum()
        return lost + (self.rounding.growth * self.read.eta if self.read else 0.0) + self.flushed["v"]


def logit_errors(problem, promise, batch, head, row):
    """s_j, W_j, E_j and the magnitude met, of the kept keys of one row."""
    u, u_s = promise.u, promise.u_s
    rows = slice(row, row + 1)
    extra = [e[0] for e in addends(problem, batch, head, rows)]
    q, k = problem.q[batch, head, row], problem.k[batch, problem.key_head(head)]
    found = {}
    for j in np.flatnonzero(kept(problem, batch, head, rows)[0]):
        x = problem.factor * float(np.dot(q, k[j]))
        w = abs(problem.factor) * float(np.dot(np.abs(q), np.abs(k[j])))
        e = promise.dot(problem.q[batch, head], row, k, j) * abs(problem.factor)
        e += power(5, u) * (w + e)
        if u_s:
            e += power(2, u_s) * (abs(x) + e) + promise.s.eta * (1 + abs(problem.factor))
        s, size = x, 0.0
        if problem.softcap:
            cap = problem.softcap
            e += 2 * u * (abs(x) + e)
            slope = 1 - tanh(max(abs(x) - e, 0.0) / cap) ** 2
            s = cap * tanh(x / cap)
            e = e * slope + cap * (2 * promise.eps + 6 * u)
            e += power(3, u_s) * (abs(s) + e)
        if extra:
            size = abs(s) + sum(abs(float(a[j])) for a in extra)
            e += (power(2, u) + power(2, u_s)) * (size + e)
            s += sum(float(a[j]) for a in extra)
        found[int(j)] = (s, e, max(abs(s), size) + e)
    return found


def by_the_book(problem, contract, batch, head, row, column, formats):
    """The bounds of one element of the result before it is rounded, by name, and of its row's lse."""
    promise = Promise(contract, formats)
    u, eps, lam, u_p = promise.u, promise.eps, promise.lam, promise.u_p
    keys = logit_errors(problem, promise, batch, head, row)
    sink = None if problem.sinks is None else float(problem.sinks[head])
    n, lk = len(keys) + (sink is not None), problem.k.shape[2]
    top = max([s for s, _, _ in keys.values()] + ([] if sink is None else [sink]))
    most = max(e for _, e, _ in keys.values())
    more = (eps + 3 * u) * (1 + log(n))
    total = sum(exp(s - top) for s, _, _ in keys.values()) + (0 if sink is None else exp(sink - top))
    logs = log(total)
    values = problem.v[batch, problem.key_head(head), :, column]
    out = sum(exp(s - top) * float(values[j]) for j, (s, _, _) in keys.items()) / total
    lean = wide = height = heavy = spread = mean = rounded = squares = centred = 0.0
    highest = 0.0
    level = abs(out)
    lost = promise.underflow(n, lk, values)
    for j, (s, e, size) in keys.items():
        p, v = exp(s - top) / total, float(values[j])
        r = sum(t >= s - 2 * most for i, (t, _, _) in keys.items() if i != j) + (sink is not None)
        gap = top - s + e + most
        term = e + 2 * u * size + (1 + r) * (u * (size + gap) + lam) + 3 * u * gap
        term = min(term + 2 * u * (size + gap + log(n)) + more + 3 * u * (gap + log(n)) + lam, 300.0)
        rho, tau, phi = expm1(term), promise.sums(n, r, lk), power(n + r + 4, u)
        highest = max(highest, tau)
        grown = p * (1 + rho)
        lean += p * rho * abs(v - out)
        rounded += p * rho
        wide += grown * tau * abs(v)
        height += grown * phi
        heavy += grown * abs(v)
        spread += grown * abs(v - out)
        squares += (grown * v) ** 2
        centred += (grown * (v - out)) ** 2
        mean += p * term
        lost += promise.missing(grown) * (abs(v) + level)
    if sink is not None:
        p, far = exp(sink - top) / total, abs(sink - max(s for s, _, _ in keys.values())) + most
        term = min(8 * u * (abs(sink) + far + log(n)) + 3 * lam + more, 300.0)
        tallest = max(
            power(n + sum(t >= s - 2 * most for t, _, _ in keys.values()) - 1 + 1 + 4, u) for s, _, _ in keys.values()
        )
        lean += p * expm1(term) * level
        rounded += p * expm1(term)
        height += p * (1 + expm1(term)) * tallest
        spread += p * (1 + expm1(term)) * level
        mean += p * term
    divisor = exp(-min(mean, 300.0)) * (1 - min(height, 0.5)) * (1 - u_p)
    common = expm1(min(2 * u * (abs(top) + logs + most) + more + lam, 300.0))

    def divided(error):
        error /= divisor
        return error + (4 * u + common * (1 + 4 * u)) * (level + error)

    uncast = lean + wide + level * height + lost
    lse = rounded - log1p(-min(height + 2 * promise.least * n, 0.5))
    return {
        "error": divided(uncast + u_p * (1 + highest) * max(heavy, spread)),
        "without_cast": divided(uncast),
        "cast": (u_p * (1 + highest) / divisor) ** 2 * max(squares, centred),
        "size": heavy,
        "reach": heavy * total,
        "lse": lse + 6 * u * (abs(top) + logs + most) + (eps + 3 * u) * (1 + logs),
    }
