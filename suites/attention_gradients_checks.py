"""Checks of attention's backward pass: values, NaN, laws of linearity and order, repeats, slices and second calls."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.harness import Obtained
from lastbit.judge import judge_exact
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.suites import comparison
from lastbit.suites.attention_gradients_trial import (
    Proofs,
    gradients_of,
    inputs,
    judge_against,
    judge_gradients,
    judge_part,
    obtain,
    planted,
    proofs,
)
from lastbit.suites.attention_proof import proof
from lastbit.suites.attention_trial import as_called
from lastbit.suites.comparison import Part, broken_law, compare, with_note
from lastbit.suites.trials import Given
from lastbit.verdict import Verdict

Index = dict[str, tuple[Any, ...]]


def values(trial: Trial) -> Verdict:
    """Both passes within their bounds; dV bit for bit where the weights are 0 and 1."""
    given = inputs(trial)
    return judge_gradients(trial, given, obtain(trial, given))


def long_sums(trial: Trial) -> Verdict:
    """Both passes within their bounds on sums of one sign over many queries: dV alone has to tell a wrong result."""
    given = inputs(trial)
    found = proofs(trial, given)
    # dQ and dK are differences, of which bounds over so many terms say little.
    told = {name: one if name == "v" else replace(one, hole="") for name, one in found.gradients.items()}
    return judge_against(trial, replace(found, gradients=told), obtain(trial, given), False)


def special(trial: Trial) -> Verdict:
    """A NaN in the upstream gradient, then in a query: what it decides is NaN, and nothing else is."""
    given = inputs(trial)
    group = given.operands["k"].values.shape[1] - 1
    last = given.operands["q"].values.shape[1] - 1
    reached: Index = {"q": (0, last, 1), "k": (0, group), "v": (0, group, slice(None), 2)}
    poisoned = planted(given, grad_out=_nan_at((0, last, 1, 2)))
    verdict = _with_nan(trial, given, poisoned, reached)
    if verdict.outcome.failed:
        return replace(verdict, reason=f"a NaN in the upstream gradient: {verdict.reason}")
    poisoned = planted(given, q=_nan_at((0, last, 1, 0)))
    verdict = _with_nan(trial, given, poisoned, {**reached, "v": (0, group)})
    if verdict.outcome.failed:
        return replace(verdict, reason=f"a NaN in a query: {verdict.reason}")
    return verdict


def laws(trial: Trial) -> Verdict:
    """Zeros for an upstream gradient of zeros; twice as much for twice the upstream; keys in another order."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge_gradients(trial, given, got)
    if verdict.outcome.failed:
        return verdict
    for judged in (_nothing(trial, given), _reordered(trial, given)):
        if judged.outcome.failed:
            return judged
    return _doubled(trial, given, got, verdict)


def repeat(trial: Trial) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says so of gradients too."""
    contract = replace(trial.contract, deterministic=_repeatable(trial))
    return comparison.repeat(replace(trial, contract=contract), inputs(trial), obtain, judge_gradients)


def slices(trial: Trial) -> Verdict:
    """A sequence alone has the gradients that it has among others, and their bits if so promised."""
    given, promised = inputs(trial), trial.contract.batch_invariant
    return compare(
        trial,
        given,
        _sequences(given),
        obtain,
        judge_gradients,
        judge_part,
        law="batch invariance of the gradients",
        promised=promised,
    )


def second_call(trial: Trial) -> Verdict:
    """Other data, and then another upstream gradient alone, at the same addresses give other gradients."""
    given, other = inputs(trial), inputs(trial, shift=1)
    upstream = given.changed(grad_out=other.operands["grad_out"])
    for second in (other, upstream):
        verdict = comparison.second_call(trial, (given, second), judge_gradients, called=as_called)
        if verdict.outcome.failed:
            return verdict
    return verdict


def _with_nan(trial: Trial, clean: Given, poisoned: Given, reached: Index) -> Verdict:
    """The verdict on `poisoned`, whose gradients are NaN where `reached`, and elsewhere those of `clean`."""
    known = proofs(trial, clean).gradients
    expected = {name: replace(one, truth=_nan_truth(one.truth, reached[name])) for name, one in known.items()}
    return judge_against(trial, Proofs(proof(trial, poisoned), expected), obtain(trial, poisoned), False)


def _nan_truth(truth: Truth, index: tuple[Any, ...]) -> Truth:
    hi, lo, radius = truth.hi.copy(), truth.lo.copy(), truth.radius.copy()
    hi[index], lo[index], radius[index] = np.nan, 0.0, 0.0
    return replace(truth, hi=hi, lo=lo, radius=radius)


def _nan_at(index: tuple[int, ...]) -> Any:
    def plant(values: NDArray[np.float64]) -> None:
        values[index] = np.nan

    return plant


def _nothing(trial: Trial, given: Given) -> Verdict:
    """Upstream gradients of zero: every gradient is zero."""
    operand = given.operands["grad_out"]
    zero = Operand.of(np.zeros(operand.values.shape), operand.format)
    got = obtain(trial, given.changed(grad_out=zero))
    if got.fault is not None:
        return got.fault
    for name, codes in gradients_of(got).items():
        none = np.zeros(given.operands[name].values.shape)
        if codes is None:
            continue  # the harness has named it a fault
        fmt = Format.of(trial.formats[name])
        verdict = judge_exact(codes, fmt, Truth(none, none, none, none, "closed form"), trial.contract)
        if verdict.outcome.failed:
            return replace(verdict, reason=f"d{name} of an upstream gradient of zeros: {verdict.reason}")
    return verdict


def _reordered(trial: Trial, given: Given) -> Verdict:
    """Keys and values in another order: their gradients move with them, and dQ stays."""
    order = np.roll(np.arange(given.operands["k"].values.shape[2])[::-1], 3)
    moved = given.changed(**{name: _taken(given.operands[name], (..., order, slice(None))) for name in ("k", "v")})
    verdict = judge_gradients(trial, moved, obtain(trial, moved))
    return replace(verdict, reason=f"keys in another order: {verdict.reason}") if verdict.outcome.failed else verdict


def _doubled(trial: Trial, given: Given, single: Obtained, verdict: Verdict) -> Verdict:
    """Twice the upstream gradient: twice each gradient, bit for bit where nothing is rounded below a normal range.

    Every step is linear in the upstream gradient and rounds relative to the size, so that a power of two passes
    through; a format of five exponent bits has subnormal numbers among dS and the results.
    """
    operand = given.operands["grad_out"]
    twice = given.changed(grad_out=Operand.of(2 * operand.values, operand.format))
    got = obtain(trial, twice)
    if got.fault is not None:
        return got.fault
    law, changed = "linearity", dict[str, NDArray[np.bool_]]()
    for name, codes in gradients_of(got).items():
        fmt, before = Format.of(trial.formats[name]), gradients_of(single)[name]
        if codes is not None and before is not None:
            differs = fmt.decode(codes) != 2 * fmt.decode(before)
            if differs.any():
                changed[name] = differs
    if not changed:
        return with_note(verdict, law, "twice the bits' values")
    judged = judge_gradients(trial, twice, got)
    if judged.outcome.failed:
        return replace(judged, reason=f"twice the upstream gradient: {judged.reason}")
    wide = {trial.contract.probabilities, trial.contract.scores, trial.contract.head_gradients, *trial.formats.values()}
    promised = _repeatable(trial) and all(Format.of(fmt).emax > 15 for fmt in wide if fmt is not None)
    text = f"twice the upstream gradient is not twice {' and '.join(f'd{name}' for name in changed)}"
    return broken_law(promised, law, text, next(iter(changed.values())), verdict)


def _repeatable(trial: Trial) -> bool:
    """Whether the contract promises the same bits of the same call, gradients included."""
    return trial.contract.deterministic and trial.contract.deterministic_gradients


def _sequences(given: Given) -> Iterable[Part]:
    """Each sequence of the batch on its own."""
    for b in range(given.operands["q"].values.shape[0]):
        index = (slice(b, b + 1),)
        alone = {name: _taken(operand, index) for name, operand in given.operands.items()}
        yield Part(f"sequence {b}", Given(alone, given.options), index)


def _taken(operand: Operand, index: Any) -> Operand:
    return Operand(operand.format, operand.codes[index].copy(), operand.values[index].copy())
