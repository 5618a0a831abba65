"""GEMM checks that compare results with one another: repeatability, slices, permutations, powers of two."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites.gemm_proof import Given, inputs
from lastbit.suites.gemm_trial import has_data, judge_rows, judge_within, obtain
from lastbit.verdict import Outcome, Verdict

REPEATS = 3
SLICES = (1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 256)


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
            return _law(
                trial.contract.deterministic, "repeatability", f"call {turn} differs from call 1", changed, verdict
            )
    return replace(verdict, notes={**verdict.notes, "repeatability": f"{REPEATS} calls, same bits"})


def row_slices(trial: Trial) -> Verdict:
    """The first rows alone give the bits that they have among the others, if the contract says batch invariant."""
    given = inputs(trial)
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    rows = whole.codes.shape[-2]
    breaking: dict[int, NDArray[np.bool_]] = {}
    tried = [m for m in SLICES if m < rows]
    for m in tried:
        part = Given({**given.operands, "a": _rows(given.operands["a"], np.arange(m))})
        got = obtain(trial, part)
        sliced = judge_rows(trial, given, np.arange(m), got)
        if sliced.outcome.failed:
            return replace(sliced, reason=f"first {m} of {rows} rows alone: {sliced.reason}")
        changed = got.codes != whole.codes[..., :m, :]
        if changed.any():
            breaking[m] = changed
    if not breaking:
        return replace(verdict, notes={**verdict.notes, "batch invariance": f"holds at m = {_list(tried)} of {rows}"})
    text = f"rows change at m = {_list(breaking)} of {rows}"
    return _law(trial.contract.batch_invariant, "batch invariance", text, next(iter(breaking.values())), verdict)


def permutation(trial: Trial) -> Verdict:
    """Rows of a in another order give the rows of the result in that order."""
    given = inputs(trial)
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    order = np.roll(np.arange(whole.codes.shape[-2])[::-1], 3)
    moved = Given({**given.operands, "a": _rows(given.operands["a"], order)})
    got = obtain(trial, moved)
    judged = judge_rows(trial, given, order, got)
    if judged.outcome.failed:
        return replace(judged, reason=f"rows in another order: {judged.reason}")
    changed = got.codes != whole.codes[..., order, :]
    if changed.any():
        return _law(trial.contract.batch_invariant, "row permutation", "rows change with their place", changed, verdict)
    return replace(verdict, notes={**verdict.notes, "row permutation": "same bits"})


def scaling(trial: Trial) -> Verdict:
    """Multiplying a by a power of two multiplies the result by it, exactly, away from the ends of the range."""
    given = inputs(trial)
    a, out = given.operands["a"], Format.of(trial.formats["out"])
    shift = scaling_shift(trial)
    scaled = Given({**given.operands, "a": Operand.of(np.ldexp(a.values, shift), a.format)})
    plain, larger = obtain(trial, given), obtain(trial, scaled)
    for got in (plain, larger):
        if got.fault is not None:
            return got.fault
    base, result = out.decode(plain.codes), out.decode(larger.codes)
    inside = (np.abs(base) >= out.min_normal) & (np.abs(base) <= np.ldexp(out.max, -shift - 1))
    changed = inside & (result != np.ldexp(base, shift))
    verdict = judge_within(trial, scaled, larger)
    if verdict.outcome.failed or not changed.any():
        return replace(
            verdict, notes={**verdict.notes, "power-of-two scaling": f"2^{shift}, {int(inside.sum())} elements"}
        )
    return _law(True, "power-of-two scaling", f"a * 2^{shift} does not scale the result", changed, verdict)


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


def _law(promised: bool, name: str, text: str, changed: NDArray[np.bool_], verdict: Verdict) -> Verdict:
    """LAW_BROKEN where the contract promises the law, else `verdict` with the fact noted."""
    if not promised:
        return replace(verdict, notes={**verdict.notes, name: f"not promised; {text}"})
    count, where = int(changed.sum()), _place(changed)
    reason = f"{name}: {text}: {count} of {changed.size} elements, first at {where}"
    return Verdict(Outcome.LAW_BROKEN, reason, float(count), 0.0, where, notes=verdict.notes)


def _place(changed: NDArray[np.bool_]) -> str:
    return str(tuple(int(i) for i in np.argwhere(changed)[0]))


def _rows(operand: Operand, order: NDArray[np.int64]) -> Operand:
    return Operand(operand.format, operand.codes[..., order, :], operand.values[..., order, :])


def _list(numbers: "dict[int, NDArray[np.bool_]] | list[int]") -> str:
    return ", ".join(map(str, numbers))
