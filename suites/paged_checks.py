"""Paged attention checks: single results, a second call with other pages, and results compared with one another."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.harness import series
from lastbit.references.data import Operand
from lastbit.references.kv_cache_data import integers
from lastbit.suites.paged_trial import (
    Given,
    call_options,
    format_error,
    inputs,
    judge_result,
    judge_sequence,
    judge_within,
    obtain,
    sequence_of,
)
from lastbit.suites.trials import layouts
from lastbit.verdict import Outcome, Verdict

REPEATS = 3


def result(trial: Trial) -> Verdict:
    """One call, judged bit for bit where the answer is unique, else within the derived bound."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def bound(trial: Trial) -> Verdict:
    """Every element within the bound; what the cache's format costs is noted."""
    given = inputs(trial)
    verdict = judge_within(trial, given, obtain(trial, given))
    cost = format_error(trial, given)
    return replace(verdict, notes={**verdict.notes, "format error": cost}) if cost else verdict


def second_call(trial: Trial) -> Verdict:
    """Other pages and data at the same addresses give another answer: no table is remembered."""
    given = inputs(trial), inputs(trial, shift=1)
    operands = [one.operands for one in given]
    results = series(trial, operands, layouts=layouts(trial), scalars=call_options(trial))
    for name, one, got in zip(("first call", "second call, same addresses"), given, results, strict=True):
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


def relocate(trial: Trial) -> Verdict:
    """The same tokens in other pages give the same bits, if the contract says deterministic."""
    given = inputs(trial)
    first, moved = obtain(trial, given), _moved(given, trial.seed)
    verdict = judge_within(trial, given, first)
    if verdict.outcome.failed:
        return verdict
    second = obtain(trial, moved)
    judged = judge_within(trial, given, second)
    if judged.outcome.failed:
        return replace(judged, reason=f"the same tokens in other pages: {judged.reason}")
    changed = first.codes != second.codes
    if changed.any():
        return _law(trial.contract.deterministic, "relocation", "the result depends on page ids", changed, verdict)
    return replace(verdict, notes={**verdict.notes, "relocation": "same bits in other pages"})


def alone(trial: Trial) -> Verdict:
    """Each sequence alone gives the bits that it has among the others, if the contract says batch invariant."""
    given = inputs(trial)
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    changed = np.zeros(whole.codes.shape, bool)
    for sequence in range(whole.codes.shape[0]):
        got = obtain(trial, sequence_of(given, sequence))
        judged = judge_sequence(trial, given, sequence, got)
        if judged.outcome.failed:
            return replace(judged, reason=f"sequence {sequence} alone: {judged.reason}")
        changed[sequence] = got.codes[0] != whole.codes[sequence]
    if changed.any():
        return _law(trial.contract.batch_invariant, "batch invariance", "sequences change when alone", changed, verdict)
    return replace(verdict, notes={**verdict.notes, "batch invariance": "each sequence alone gives the same bits"})


def _moved(given: Given, seed: int) -> Given:
    """The same tokens with the pages of both caches in another order, and the table that says so."""
    pages = given.operands["k_cache"].codes.shape[0]
    order = np.random.default_rng(seed).permutation(pages)
    place = np.argsort(order)
    table = given.operands["block_table"].values.astype(np.int64)
    caches = {name: _rows(given.operands[name], order) for name in ("k_cache", "v_cache")}
    return Given({**given.operands, **caches, "block_table": integers(place[table])})


def _rows(operand: Operand, order: NDArray[np.int64]) -> Operand:
    return Operand(operand.format, operand.codes[order], operand.values[order])


def _law(promised: bool, name: str, text: str, changed: NDArray[np.bool_], verdict: Verdict) -> Verdict:
    """LAW_BROKEN where the contract promises the law, else `verdict` with the fact noted."""
    if not promised:
        return replace(verdict, notes={**verdict.notes, name: f"not promised; {text}"})
    count, where = int(changed.sum()), str(tuple(int(i) for i in np.argwhere(changed)[0]))
    reason = f"{name}: {text}: {count} of {changed.size} elements, first at {where}"
    return Verdict(Outcome.LAW_BROKEN, reason, float(count), 0.0, where, notes=verdict.notes)
