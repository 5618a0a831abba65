"""GEMM checks that compare results with one another: repeatability, slices, permutations, powers of two."""

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.comparison import Part, compare
from lastbit.suites.gemm_proof import Given, inputs
from lastbit.suites.gemm_trial import has_data, judge_part, judge_within, obtain
from lastbit.verdict import Verdict

SLICES = (1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 256)


def repeat(trial: Trial) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge_within)


def row_slices(trial: Trial) -> Verdict:
    """The first rows alone give the bits that they have among the others, if the contract says batch invariant."""
    given = inputs(trial)
    rows = given.operands["a"].values.shape[-2]
    parts = [_rows(given, f"first {m} rows alone", np.arange(m)) for m in SLICES if m < rows]
    promised = trial.contract.batch_invariant
    return compare(trial, given, parts, obtain, judge_within, judge_part, law="batch invariance", promised=promised)


def permutation(trial: Trial) -> Verdict:
    """Rows of a in another order give the rows of the result in that order."""
    given = inputs(trial)
    order = np.roll(np.arange(given.operands["a"].values.shape[-2])[::-1], 3)
    parts = [_rows(given, "rows in another order", order)]
    promised = trial.contract.batch_invariant
    return compare(trial, given, parts, obtain, judge_within, judge_part, law="row permutation", promised=promised)


def scaling(trial: Trial) -> Verdict:
    """Multiplying a by a power of two multiplies the result by it, exactly, away from the ends of the range."""
    return comparison.scaling(trial, inputs(trial), "a", scaling_shift(trial), obtain, judge_within)


def scaling_shift(trial: Trial) -> int:
    """The power of two that `scaling` multiplies by: the range of the operand and of the output hold it."""
    return max(1, min(8, Format.of(trial.formats["a"]).emax - 3, Format.of(trial.formats["out"]).emax - 10))


def has_scaling(trial: Trial) -> str:
    """Why powers of two do not scale this kernel's results exactly, or ""."""
    if trial.formats["out"].startswith(("i", "u")):
        return "integers have no exponent"
    if not trial.contract.deterministic:
        return "the contract does not promise repeatable results"
    if trial.contract.accumulator == "f16":
        return "partial sums in f16 may underflow"
    return has_data(trial)


def _rows(given: Given, name: str, order: NDArray[np.int64]) -> Part:
    a, index = given.operands["a"], (..., order, slice(None))
    return Part(name, given.changed(a=Operand(a.format, a.codes[index], a.values[index])), index)
