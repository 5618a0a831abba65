"""Paged attention checks: single results, a second call with other pages, and results compared with one another."""

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.kv_cache_data import integers
from lastbit.suites import comparison
from lastbit.suites.comparison import Part, compare, with_note
from lastbit.suites.paged_trial import (
    format_error,
    inputs,
    judge_part,
    judge_result,
    judge_within,
    sequence_of,
)
from lastbit.suites.trials import Given, obtain
from lastbit.verdict import Verdict


def result(trial: Trial) -> Verdict:
    """One call, judged bit for bit where the answer is unique, else within the derived bound."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def bound(trial: Trial) -> Verdict:
    """Every element within the bound; what the cache's format costs is noted."""
    given = inputs(trial)
    verdict = judge_within(trial, given, obtain(trial, given))
    cost = format_error(trial, given)
    return with_note(verdict, "format error", cost) if cost else verdict


def second_call(trial: Trial) -> Verdict:
    """Other pages and data at the same addresses give another answer: no table is remembered."""
    return comparison.second_call(trial, (inputs(trial), inputs(trial, shift=1)), judge_result)


def repeat(trial: Trial) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge_within)


def relocate(trial: Trial) -> Verdict:
    """The same tokens in other pages give the same bits, if the contract says deterministic."""
    given = inputs(trial)
    parts = [Part("the same tokens in other pages", _moved(given, trial.seed), ...)]
    promised = trial.contract.deterministic
    return compare(trial, given, parts, obtain, judge_within, judge_part, law="relocation", promised=promised)


def alone(trial: Trial) -> Verdict:
    """Each sequence alone gives the bits that it has among the others, if the contract says batch invariant."""
    given = inputs(trial)
    parts = [
        Part(f"sequence {sequence} alone", sequence_of(given, sequence), slice(sequence, sequence + 1))
        for sequence in range(given.operands["q"].codes.shape[0])
    ]
    promised = trial.contract.batch_invariant
    return compare(trial, given, parts, obtain, judge_within, judge_part, law="batch invariance", promised=promised)


def _moved(given: Given, seed: int) -> Given:
    """The same tokens with the pages of both caches in another order, and the table that says so."""
    pages = given.operands["k_cache"].codes.shape[0]
    order = np.random.default_rng(seed).permutation(pages)
    place = np.argsort(order)
    table = given.operands["block_table"].values.astype(np.int64)
    caches = {name: _rows(given.operands[name], order) for name in ("k_cache", "v_cache")}
    return given.changed(**caches, block_table=integers(place[table]))


def _rows(operand: Operand, order: NDArray[np.int64]) -> Operand:
    return Operand(operand.format, operand.codes[order], operand.values[order])
