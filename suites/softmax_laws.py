"""Checks of softmax that compare results: repeatability, slices of rows, shifted and permuted logits."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.harness import Obtained
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.comparison import Part, compare, with_note
from lastbit.suites.proofs import judge_by
from lastbit.suites.softmax_trial import (
    index_of,
    inputs,
    judge_part,
    judge_within,
    logits,
    of_values,
    proof,
)
from lastbit.suites.trials import obtain
from lastbit.verdict import Verdict

SLICES = (1, 2, 3, 4, 7, 8, 16, 32, 64, 128)
#: Added to multiples of 1/4 up to 8: the sums have at most 8 significand bits.
SHIFTS = (32.0, -32.0)


def repeat(trial: Trial) -> Verdict:
    """The same logits at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge_within)


def row_slices(trial: Trial) -> Verdict:
    """The first rows alone give the bits that they have among the others, if the contract says batch invariant."""
    given = inputs(trial)
    x, op = logits(given), trial.kernel.op
    parts = [
        Part(f"first {m} rows alone", of_values(given, x[..., :m, :]), index_of(op, slice(m)))
        for m in SLICES
        if m < x.shape[-2]
    ]
    promised = trial.contract.batch_invariant
    return compare(trial, given, parts, obtain, judge_within, judge_part, law="batch invariance", promised=promised)


def shift(trial: Trial) -> Verdict:
    """Adding a constant that the format holds exactly changes no difference: softmax and log_softmax stay as near.

    The truth is that of the logits before the shift, plus the constant for logsumexp.
    """
    given = inputs(trial)
    verdict = judge_within(trial, given, obtain(trial, given))
    for constant in SHIFTS:
        if verdict.outcome.failed:
            return verdict
        moved = of_values(given, logits(given) + constant)
        got = obtain(trial, moved)
        proved = proof(trial, moved)
        if trial.kernel.op != "logsumexp":
            proved = replace(proved, truth=proof(trial, given).truth)
        shifted = judge_by(trial, proved, got)
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
    order = np.roll(np.arange(logits(given).shape[-1])[::-1], 3)
    got = obtain(trial, of_values(given, logits(given)[..., order]))
    moved = judge_part(trial, given, index_of(trial.kernel.op, slice(None), order), got)
    if moved.outcome.failed:
        return replace(moved, reason=f"logits in another order: {moved.reason}")
    return with_note(verdict, "permutation", _difference(trial, whole, got, order))


def _difference(trial: Trial, whole: Obtained, got: Obtained, order: NDArray[np.int64]) -> str:
    expected = whole.codes[index_of(trial.kernel.op, slice(None), order)]
    keys = Format.of(trial.formats["out"]).keys
    apart = int(np.abs(keys(got.codes) - keys(expected)).max(initial=0))
    return "same bits" if not apart else f"not promised; up to {apart} representable values apart"
