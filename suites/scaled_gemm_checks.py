"""The checks of scaled GEMM: single results, memory, and results compared with one another."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.comparison import Part, compare
from lastbit.suites.gemm_laws import SLICES
from lastbit.suites.proofs import judge_by_statistics
from lastbit.suites.scaled_gemm_proof import Given, inputs, problem_of, proof, scalings
from lastbit.suites.scaled_gemm_trial import has_data, judge_part, judge_result, judge_within, obtain
from lastbit.verdict import Verdict

#: The power of two that a scale is multiplied by.
SHIFT = 3


def result(trial: Trial) -> Verdict:
    """Every bit of a result that no order of summation can change; else every element within the derived bound."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def statistics(trial: Trial) -> Verdict:
    """Mean signed error and root mean square within what independent mean-zero roundings give."""
    given = inputs(trial)
    got = obtain(trial, given)
    return judge_by_statistics(trial, proof(trial, given), judge_within(trial, given, got), got)


def second_call(trial: Trial) -> Verdict:
    """Other scales at the same addresses give another answer; then other codes do, all but the first of each."""
    first, second = inputs(trial), inputs(trial, shift=1)
    scales = {name: second.operands[name] for name in first.operands if name.startswith("scale_")}
    verdict = comparison.second_call(trial, (first, first.changed(**scales)), judge_result)
    if verdict.outcome.failed:
        return replace(verdict, reason=f"other scales alone: {verdict.reason}")
    rest = {name: _all_but_first(old, second.operands[name]) for name, old in first.operands.items()}
    return comparison.second_call(trial, (first, first.changed(**rest)), judge_within)


def repeat(trial: Trial) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge_within)


def row_slices(trial: Trial) -> Verdict:
    """The first rows alone give the bits that they have among the others, if the contract says batch invariant."""
    given = inputs(trial)
    rows, multiple = given.operands["a"].codes.shape[0], trial.kernel.multiple.get("m", 1)
    parts = [_first_rows(trial, given, m) for m in SLICES if m < rows and m % multiple == 0]
    promised = trial.contract.batch_invariant
    return compare(trial, given, parts, obtain, judge_within, judge_part, law="batch invariance", promised=promised)


def scaling(trial: Trial) -> Verdict:
    """Multiplying the scales of one operand by a power of two multiplies the result by it, exactly."""
    return comparison.scaling(trial, inputs(trial), f"scale_{_scalable(trial)}", SHIFT, obtain, judge_within)


def has_scaling(trial: Trial) -> str:
    """Why powers of two do not scale this kernel's results exactly, or ""."""
    if not _scalable(trial):
        return "no scale has the range to be multiplied"
    if trial.formats["out"].startswith(("i", "u")):
        return "integers have no exponent"
    if not trial.contract.deterministic:
        return "the contract does not promise repeatable results"
    if "f16" in (trial.contract.accumulator, trial.contract.input_rounding):
        return "numbers in f16 may underflow"
    return has_data(trial)


def has_statistics(trial: Trial) -> str:
    """Why the errors of this kernel have no statistical model, or ""."""
    return has_data(trial) or (
        "integer results have no rounding" if trial.formats["out"].startswith(("i", "u")) else ""
    )


def has_slices(trial: Trial) -> str:
    """Why rows cannot be taken alone, or ""."""
    a, _ = scalings(trial)
    if a is not None and a.scale_layout != "row-major":
        return "scales are not in rows"
    return has_data(trial)


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or ("" if "out" in trial.kernel.features else "the kernel has no out")


def _scalable(trial: Trial) -> str:
    """The operand whose scales have the range of an f32, or ""."""
    for name, one in zip("ab", scalings(trial), strict=True):
        if one is not None and one.scale_format is not None and Format.of(one.scale_format).emax > 64:
            return name
    return ""


def _all_but_first(old: Operand, new: Operand) -> Operand:
    """`new` with the first element of `old`: what a kernel may know data by, without reading all of it."""
    if old.codes.size < 2:
        return new
    codes, values = new.codes.copy(), new.values.copy()
    codes.flat[0], values.flat[0] = old.codes.flat[0], old.values.flat[0]
    return Operand(new.format, codes, values)


def _first_rows(trial: Trial, given: Given, m: int) -> Part:
    """`given` with the first `m` rows of a alone, and their scales and zero points."""
    a, _ = scalings(trial)
    k = problem_of(trial, given).k
    scales = a.scale_shape((m, k)) if a is not None else ()
    rows = {"a": m, **({"scale_a": scales[0], "zero_a": scales[0]} if scales else {})}
    kept = {
        name: Operand(old.format, old.codes[: rows[name]], old.values[: rows[name]])
        for name, old in given.operands.items()
        if name in rows
    }
    whole = given.operands["a"].codes.shape[0]
    return Part(f"first {m} of {whole} rows alone", given.changed(**kept), np.arange(m))
