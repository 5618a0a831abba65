"""Attention checks that compare results with one another: repeats, slices, decode steps, chunks and orders of keys."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.results import lse_format
from lastbit.suites import comparison
from lastbit.suites.attention_proof import Proof, judge_part, judge_within, proof
from lastbit.suites.attention_trial import Given, inputs, obtain, problem
from lastbit.suites.attention_values import has_lse
from lastbit.suites.comparison import Part, compare, with_note
from lastbit.verdict import Outcome, Verdict

Floats = NDArray[np.float64]


def repeat(trial: Trial) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says deterministic."""
    return comparison.repeat(trial, inputs(trial), obtain, judge_within)


def slices(trial: Trial) -> Verdict:
    """A sequence alone, and the first queries alone, have the bits that they have among others, if so promised."""
    given = inputs(trial)
    return _parts(trial, given, "batch invariance", [*_sequences(given), *_first_queries(given)])


def decode(trial: Trial) -> Verdict:
    """A row of a causal prefill is the decode step of its query over the keys up to its own."""
    given = inputs(trial)
    return _parts(trial, given, "decode step", _steps(trial, given))


def permutation(trial: Trial) -> Verdict:
    """Keys and values in another order give the same result, within the same bound."""
    given = inputs(trial)
    order = np.roll(np.arange(given.operands["k"].values.shape[2])[::-1], 3)
    moved = {name: _taken(given.operands[name], order) for name in ("k", "v")}
    whole = obtain(trial, given)
    verdict = judge_within(trial, given, whole)
    if verdict.outcome.failed:
        return verdict
    judged = judge_within(trial, given, obtain(trial, given.changed(**moved)))
    if judged.outcome.failed:
        return replace(judged, reason=f"keys in another order: {judged.reason}")
    return judged


def chunks(trial: Trial) -> Verdict:
    """Two parts of the keys, combined by their log-sum-exps, give the whole, within what the parts' errors allow."""
    given = inputs(trial)
    keys = given.operands["k"].values.shape[2]
    proofs, outs, lses = [], [], []
    for name, index in (("first", np.arange(keys // 3)), ("last", np.arange(keys // 3, keys))):
        cut = {one: _taken(given.operands[one], index) for one in ("k", "v")}
        part = given.changed(**cut)
        got = obtain(trial, part)
        verdict = judge_within(trial, part, got)
        if verdict.outcome.failed or got.lse is None:
            return replace(verdict, reason=f"{name} {index.size} of {keys} keys: {verdict.reason}")
        proofs.append(proof(trial, part))
        outs.append(Format.of(trial.formats["out"]).decode(got.codes))
        lses.append(Format.of(lse_format(trial.formats)).decode(got.lse))
    return _combined(proof(trial, given), proofs, outs, lses, verdict)


def has_chunks(trial: Trial) -> str:
    """Why parts of the keys cannot be combined, or ""."""
    return has_lse(trial)


def _combined(whole: Proof, parts: list[Proof], outs: list[Floats], lses: list[Floats], verdict: Verdict) -> Verdict:
    """The parts' mean by the weights exp(lse): its error is that of the parts and, in the weights, of their lse."""
    base = np.maximum(*lses)
    weights = [np.exp(lse - base)[..., None] for lse in lses]
    total = weights[0] + weights[1]
    mean = (weights[0] * outs[0] + weights[1] * outs[1]) / total
    share = [weight / total for weight in weights]
    own = sum(one * part.out.allowed for one, part in zip(share, parts, strict=True))
    doubt = np.expm1(parts[0].lse.allowed + parts[1].lse.allowed)[..., None]
    between = share[0] * share[1] * doubt * np.abs(outs[0] - outs[1])
    # Twelve float64 roundings of this function's own arithmetic; the weights move by a factor 1 + doubt in the first.
    size = share[0] * np.abs(outs[0]) + share[1] * np.abs(outs[1])
    allowed = own * (1 + doubt) + between * (1 + doubt) ** 2 + 12 * 2.0**-53 * size + whole.truth.out.radius
    error = np.abs((mean - whole.truth.out.hi) - whole.truth.out.lo)
    over = ~(error <= allowed)
    if not over.any():
        used = float((error / np.maximum(allowed, np.finfo(np.float64).tiny)).max(initial=0.0))
        return with_note(verdict, "chunks", f"{used:.3g} of what the parts' errors allow")
    where = tuple(int(i) for i in np.argwhere(over)[0])
    text = f"chunks: combined {mean[where]!r}, whole {whole.truth.out.hi[where]!r}, allowed {allowed[where]:.4g} apart"
    return Verdict(Outcome.LAW_BROKEN, f"{text}, at {where}", float(over.sum()), 0.0, str(where), notes=verdict.notes)


def _parts(trial: Trial, given: Given, law: str, parts: Iterable[Part]) -> Verdict:
    """Each part within the whole's bound, and with the whole's bits if the contract promises batch invariance."""
    promised = trial.contract.batch_invariant
    return compare(trial, given, parts, obtain, judge_within, judge_part, law=law, promised=promised)


def _sequences(given: Given) -> Iterable[Part]:
    """Each sequence of the batch on its own."""
    for b in range(given.operands["q"].values.shape[0]):
        rows = (slice(b, b + 1),)
        alone = {name: _cut(operand, rows) for name, operand in given.operands.items()}
        yield Part(f"sequence {b} alone", Given(alone, given.options), rows)


def _first_queries(given: Given) -> Iterable[Part]:
    """The first queries of every head; nothing is causal here."""
    q = given.operands["q"]
    for count in (1, q.values.shape[2] // 2):
        cut = _cut(q, (slice(None), slice(None), slice(count)))
        rows = (slice(None), slice(None), slice(count))
        yield Part(f"first {count} queries alone", given.changed(q=cut), rows)


def _steps(trial: Trial, given: Given) -> Iterable[Part]:
    """The decode steps of a causal prefill: the first, one within, and the last."""
    shape = problem(trial, given).scores
    shift = shape[3] - shape[2] if trial.contract.causal_alignment == "bottom-right" else 0
    for row in sorted({0, shape[2] // 2, shape[2] - 1}):
        at, keys = (slice(None), slice(None), slice(row, row + 1)), (slice(None), slice(None), slice(row + shift + 1))
        cut = {"q": _cut(given.operands["q"], at), **{name: _cut(given.operands[name], keys) for name in ("k", "v")}}
        yield Part(f"decode step {row} alone", Given(cut, {**given.options, "causal": False}), at)


def _cut(operand: Operand, index: Any) -> Operand:
    return Operand(operand.format, operand.codes[index].copy(), operand.values[index].copy())


def _taken(operand: Operand, index: NDArray[np.int64]) -> Operand:
    return _cut(operand, (slice(None), slice(None), index))
