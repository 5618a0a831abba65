"""The checks of scaled GEMM: single results, memory, and results compared with one another."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.harness import series
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Part, Problem
from lastbit.suites.gemm_laws import REPEATS, SLICES, _law, _list
from lastbit.suites.scaled_gemm_proof import Given, inputs, scalings
from lastbit.suites.scaled_gemm_trial import has_data, judge_result, judge_rows, judge_within, obtain
from lastbit.suites.trials import layouts
from lastbit.verdict import Verdict

#: The power of two that a scale is multiplied by.
SHIFT = 3


def result(trial: Trial) -> Verdict:
    """Every bit of a result that no order of summation can change; else every element within the derived bound."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def second_call(trial: Trial) -> Verdict:
    """Other codes and scales at the same addresses give another answer, and so do other scales alone."""
    first, second = inputs(trial), inputs(trial, shift=1)
    only_scales = _with_scales(trial, first, second)
    given = (first, only_scales, second)
    results = series(trial, [one.operands for one in given], layouts=layouts(trial))
    names = ("first call", "other scales, same addresses", "other codes and scales, same addresses")
    for name, one, got in zip(names, given, results, strict=True):
        verdict = judge_result(trial, one, got)
        if verdict.outcome.failed:
            return replace(verdict, reason=f"{name}: {verdict.reason}")
    return verdict


def repeat(trial: Trial) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says deterministic."""
    given = inputs(trial)
    first = obtain(trial, given)
    verdict = judge_within(trial, given, first)
    if verdict.outcome.failed:
        return verdict
    for turn in range(2, REPEATS + 1):
        again = obtain(trial, given)
        if again.fault is not None:
            return again.fault
        changed = first.codes != again.codes
        if changed.any():
            text = f"call {turn} differs from call 1"
            return _law(trial.contract.deterministic, "repeatability", text, changed, verdict)
    return replace(verdict, notes={**verdict.notes, "repeatability": f"{REPEATS} calls, same bits"})


def row_slices(trial: Trial) -> Verdict:
    """The first rows alone give the bits that they have among the others, if the contract says batch invariant."""
    given = inputs(trial)
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    rows = whole.codes.shape[0]
    breaking: dict[int, NDArray[np.bool_]] = {}
    tried = [m for m in SLICES if m < rows and m % trial.kernel.multiple.get("m", 1) == 0]
    for m in tried:
        got = obtain(trial, _first_rows(trial, given, m))
        sliced = judge_rows(trial, given, np.arange(m), got)
        if sliced.outcome.failed:
            return replace(sliced, reason=f"first {m} of {rows} rows alone: {sliced.reason}")
        changed = got.codes != whole.codes[:m]
        if changed.any():
            breaking[m] = changed
    if not breaking:
        return replace(verdict, notes={**verdict.notes, "batch invariance": f"holds at m = {_list(tried)} of {rows}"})
    text = f"rows change at m = {_list(breaking)} of {rows}"
    return _law(trial.contract.batch_invariant, "batch invariance", text, next(iter(breaking.values())), verdict)


def scaling(trial: Trial) -> Verdict:
    """Multiplying the scales of one operand by a power of two multiplies the result by it, exactly."""
    given = inputs(trial)
    name, out = _scalable(trial), Format.of(trial.formats["out"])
    old = given.operands[f"scale_{name}"]
    shifted = {**given.operands, f"scale_{name}": Operand.of(np.ldexp(old.values, SHIFT), old.format)}
    sides = {"a": given.problem.a, "b": given.problem.b}
    sides[name] = replace(sides[name], scale=np.ldexp(sides[name].scale, SHIFT))
    scaled = Given(shifted, replace(given.problem, a=sides["a"], b=sides["b"]))
    plain, larger = obtain(trial, given), obtain(trial, scaled)
    for got in (plain, larger):
        if got.fault is not None:
            return got.fault
    base, found = out.decode(plain.codes), out.decode(larger.codes)
    inside = (np.abs(base) >= out.min_normal) & (np.abs(base) <= np.ldexp(out.max, -SHIFT - 1))
    changed = inside & (found != np.ldexp(base, SHIFT))
    verdict = judge_within(trial, scaled, larger)
    if verdict.outcome.failed or not changed.any():
        note = f"2^{SHIFT} in scale_{name}, {int(inside.sum())} elements"
        return replace(verdict, notes={**verdict.notes, "power-of-two scaling": note})
    text = f"scale_{name} * 2^{SHIFT} does not scale the result"
    return _law(True, "power-of-two scaling", text, changed, verdict)


def has_scaling(trial: Trial) -> str:
    """Why powers of two do not scale this kernel's results exactly, or ""."""
    if not _scalable(trial):
        return "no scale has the range to be multiplied"
    if trial.formats["out"].startswith(("i", "u")):
        return "integers have no exponent"
    if not trial.contract.deterministic:
        return "the contract does not promise repeatable results"
    if trial.contract.accumulator == "f16" or trial.contract.input_rounding == "f16":
        return "numbers in f16 may underflow"
    return has_data(trial)


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


def _with_scales(trial: Trial, first: Given, second: Given) -> Given:
    """The codes of `first` with the scales of `second`; those of a recipe are exact with each other's codes."""
    swapped = {name: second.operands[name] if name.startswith("scale_") else x for name, x in first.operands.items()}
    one, other = first.problem, second.problem
    a, b = (replace(mine, scale=yours.scale) for mine, yours in ((one.a, other.a), (one.b, other.b)))
    return Given(swapped, replace(one, a=a, b=b))


def _first_rows(trial: Trial, given: Given, m: int) -> Given:
    """`given` with the first `m` rows of a alone, and their scales and zero points."""
    a, _ = scalings(trial)
    operands = dict(given.operands)
    for name in ("a", "scale_a", "zero_a"):
        if name in operands and operands[name].codes.ndim:
            rows = m
            if name != "a" and a is not None:
                rows = a.scale_shape((m, given.problem.k))[0]
            old = operands[name]
            operands[name] = Operand(old.format, old.codes[:rows], old.values[:rows])
    part = given.problem.a
    return Given(operands, _problem(given.problem, Part(part.steps[:m], part.scale[:m], part.run)))


def _problem(old: Problem, a: Part) -> Problem:
    return replace(old, a=a)
