"""Checks of softmax that compare results: repeatability, slices of rows, shifted and permuted logits."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.harness import Obtained
from lastbit.references.formats import Format
from lastbit.suites.softmax_trial import inputs, judge_part, judge_within, obtain, of_values, proof, taken
from lastbit.verdict import Outcome, Verdict

REPEATS = 3
SLICES = (1, 2, 3, 4, 7, 8, 16, 32, 64, 128)
#: Added to multiples of 1/4 up to 8: the sums have at most 8 significand bits.
SHIFTS = (32.0, -32.0)


def repeat(trial: Trial) -> Verdict:
    """The same logits at other addresses give the same bits, if the contract says deterministic."""
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
    return _noted(verdict, "repeatability", f"{REPEATS} calls, same bits")


def row_slices(trial: Trial) -> Verdict:
    """The first rows alone give the bits that they have among the others, if the contract says batch invariant."""
    given = inputs(trial)
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    rows = given.x.values.shape[-2]
    breaking: dict[int, NDArray[np.bool_]] = {}
    tried = [m for m in SLICES if m < rows]
    for m in tried:
        got = obtain(trial, of_values(given, given.x.values[..., :m, :]))
        sliced = judge_part(trial, taken(proof(trial, given), trial.kernel.op, np.arange(m)), got)
        if sliced.outcome.failed:
            return replace(sliced, reason=f"first {m} of {rows} rows alone: {sliced.reason}")
        changed = got.codes != (whole.codes[..., :m] if trial.kernel.op == "logsumexp" else whole.codes[..., :m, :])
        if changed.any():
            breaking[m] = changed
    if not breaking:
        return _noted(verdict, "batch invariance", f"holds at m = {_list(tried)} of {rows}")
    text = f"rows change at m = {_list(list(breaking))} of {rows}"
    return _law(trial.contract.batch_invariant, "batch invariance", text, next(iter(breaking.values())), verdict)


def shift(trial: Trial) -> Verdict:
    """Adding a constant that the format holds exactly changes no difference: softmax and log_softmax stay as near.

    The truth is that of the logits before the shift, plus the constant for logsumexp.
    """
    given = inputs(trial)
    verdict = judge_within(trial, given, obtain(trial, given))
    for constant in SHIFTS:
        if verdict.outcome.failed:
            return verdict
        moved = of_values(given, given.x.values + constant)
        got = obtain(trial, moved)
        proved = proof(trial, moved)
        if trial.kernel.op != "logsumexp":
            proved = replace(proved, truth=proof(trial, given).truth)
        shifted = judge_part(trial, proved, got)
        if shifted.outcome.failed:
            return replace(shifted, reason=f"logits + {constant:g}: {shifted.reason}")
    return verdict


def permutation(trial: Trial) -> Verdict:
    """The logits of each row in another order give its result in that order, within the bound."""
    given = inputs(trial)
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    m, n = given.x.values.shape[-2:]
    order = np.roll(np.arange(n)[::-1], 3)
    got = obtain(trial, of_values(given, given.x.values[..., order]))
    moved = judge_part(trial, taken(proof(trial, given), trial.kernel.op, np.arange(m), order), got)
    if moved.outcome.failed:
        return replace(moved, reason=f"logits in another order: {moved.reason}")
    return _noted(verdict, "permutation", _difference(trial, whole, got, order))


def _difference(trial: Trial, whole: Obtained, got: Obtained, order: NDArray[np.int64]) -> str:
    expected = whole.codes if trial.kernel.op == "logsumexp" else whole.codes[..., order]
    keys = Format.of(trial.formats["out"]).keys
    apart = int(np.abs(keys(got.codes) - keys(expected)).max(initial=0))
    return "same bits" if not apart else f"not promised; up to {apart} representable values apart"


def _law(promised: bool, name: str, text: str, changed: NDArray[np.bool_], verdict: Verdict) -> Verdict:
    """LAW_BROKEN where the contract promises the law, else `verdict` with the fact noted."""
    if not promised:
        return _noted(verdict, name, f"not promised; {text}")
    count, where = int(changed.sum()), str(tuple(int(i) for i in np.argwhere(changed)[0]))
    reason = f"{name}: {text}: {count} of {changed.size} elements, first at {where}"
    return Verdict(Outcome.LAW_BROKEN, reason, float(count), 0.0, where, notes=verdict.notes)


def _noted(verdict: Verdict, name: str, text: str) -> Verdict:
    return replace(verdict, notes={**verdict.notes, name: text})


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
