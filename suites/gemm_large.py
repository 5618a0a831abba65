"""The GEMM check at sizes where tiles, splits and threads matter: proved whole, or in crossing rows and by checksum."""

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.failure_text import coded
from lastbit.harness import Obtained
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.judge import judge_exact
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.large import checksum
from lastbit.references.truth import Truth
from lastbit.suites.gemm_proof import Given, inputs, sizes
from lastbit.suites.gemm_trial import judge_unique, judge_within, obtain
from lastbit.suites.trials import accumulator, noted
from lastbit.verdict import Outcome, Verdict

#: Products m*n*k up to which the whole result is proved element by element.
WHOLE = 2**28
#: One row of each band and one column of each band are proved, so that any tile of this size is crossed.
BAND = 64
VECTORS = 8
#: Share of honest results that a checksum may flag, over all its rows and vectors.
FALSE_ALARM = 1e-10

Floats = NDArray[np.float64]


def large(trial: Trial) -> Verdict:
    """A result of some size: whole if it can be proved whole, else by closed form, or by rows, columns and checksum."""
    given = inputs(trial)
    got = obtain(trial, given)
    if got.fault is not None:
        return got.fault
    unique = trial.case.recipe == "rank_one"
    if prod(sizes(trial).values()) <= WHOLE:
        return judge_unique(trial, given, got) if unique else judge_within(trial, given, got)
    return judge_rank_one(trial, given, got) if unique else judge_sampled(trial, given, got)


def judge_rank_one(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """Every element against u (v.w) z', which costs one product with a vector; all numbers are small integers."""
    a, b = given.operands["a"].values, given.operands["b"].values
    first = int(np.flatnonzero(b[:, 0])[0])
    value = (a @ b[:, :1]) * b[first] / b[first, 0]
    zero = np.zeros(value.shape)
    truth = Truth(value, zero, zero, np.abs(value), "closed form")
    return noted(trial, judge_exact(got.codes, Format.of(trial.formats["out"]), truth, trial.contract), got)


def judge_sampled(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """Rows and columns that cross every tile, element by element; then all rows by checksum."""
    m, n = got.codes.shape
    rng = np.random.default_rng([trial.seed, m, n])
    rows, columns = _one_of_each_band(rng, m), _one_of_each_band(rng, n)
    a, b = given.operands["a"], given.operands["b"]
    parts = {
        "row": (rows, Given({"a": _taken(a, rows, 0), "b": b}), got.codes[rows]),
        "column": (columns, Given({"a": a, "b": _taken(b, columns, 1)}), got.codes[:, columns]),
    }
    for name, (index, part, codes) in parts.items():
        verdict = judge_within(trial, part, replace(got, codes=codes))
        if verdict.outcome is not Outcome.PASS:
            proved = ", ".join(map(str, index[:4]))
            reason = f"{verdict.reason}\n{name}s {proved}, ... were proved; the place counts among them"
            return replace(verdict, reason=reason)
    share = f"{rows.size} of {m} rows and {columns.size} of {n} columns element by element, all rows by checksum"
    return replace(_judge_checksum(trial, given, got, verdict), notes={**verdict.notes, "proved": share})


def _judge_checksum(trial: Trial, given: Given, got: Obtained, sampled: Verdict) -> Verdict:
    out = Format.of(trial.formats["out"])
    y = out.decode(got.codes)
    if not np.isfinite(y).all():
        where = str(tuple(int(i) for i in np.argwhere(~np.isfinite(y))[0]))
        reason = f"{y[~np.isfinite(y)][0]} at {where}, where every sum is far below the largest {out.name}"
        got_is = coded(out, got.codes[~np.isfinite(y)][0])
        return replace(sampled, outcome=Outcome.WRONG_CLASS, reason=reason, where=where, got=got_is, want="")
    a, b = given.operands["a"].values, given.operands["b"].values
    allowed = _allowed(trial, a, b, y)
    check = checksum(a, b, y, trial.seed, allowed=allowed, vectors=VECTORS, false_alarm=FALSE_ALARM)
    ratio = float((np.abs(check.residual) / check.bound).max(initial=0.0))
    if not check.broken.size:
        return sampled
    rows = ", ".join(map(str, check.broken[:8]))
    reason = (
        f"checksum of {check.broken.size} of {y.shape[0]} rows off by up to {ratio:.4g} times what is allowed: {rows}\n"
        f"rows summed under {VECTORS} random sign vectors; false alarm at most {FALSE_ALARM:g} (Freivalds; Hoeffding)"
    )
    return Verdict(Outcome.OVER_BUDGET, reason, ratio, 1.0, f"row {check.broken[0]}", "checksum", sampled.proof)


def _allowed(trial: Trial, a: Floats, b: Floats, y: Floats) -> Floats:
    """An upper bound of the error of each element that costs O(mn).

    |A||B| <= |a_i|_2 |b_j|_2 (Cauchy and Schwarz) takes the place of the weight in the closed form of the bound; the
    output's rounding is at most half a spacing at the rounded value itself, one where it is not to nearest.
    """
    k = a.shape[-1]
    chosen = accumulator(trial)
    # An engine aligns a subnormal operand as if it were the smallest normal one.
    left, right = (
        np.where(x == 0, 0.0, np.maximum(np.abs(x), Format.of(trial.formats[name]).min_normal))
        for name, x in (("a", a), ("b", b))
    )
    weight = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=0)) * (1 + (2 * k + 8) * 2.0**-53)
    count, product_error = k, 0.0
    if trial.contract.input_rounding is not None:
        rounding = INPUT_ROUNDINGS[trial.contract.input_rounding]
        count, product_error = k * rounding.products, rounding.product_error
        weight = weight * rounding.growth
    out = Format.of(trial.formats["out"])
    step = out.ulp(y) * (0.5 if trial.contract.output_rounding.startswith("nearest") else 1.0)
    least = 2.0**chosen.emin
    bound: Floats = (chosen.coefficient(count) + product_error) * weight + 2 * count * least + step
    return bound * (1 + 2.0**-48)


def _one_of_each_band(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """One random index of each band of BAND, in order."""
    starts = np.arange(0, size, BAND)
    index: NDArray[np.int64] = starts + rng.integers(0, np.minimum(BAND, size - starts))
    return index


def _taken(operand: Operand, index: NDArray[np.int64], axis: int) -> Operand:
    return Operand(operand.format, operand.codes.take(index, axis), operand.values.take(index, axis))
