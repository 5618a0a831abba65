"""The part of the attention law that packed batches answer to: its checks, with their cases."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from lastbit.case import Case, Check, Trial
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.attention_cases import sizes
from lastbit.suites.attention_packed_trial import filled, has_packed, inputs, spans, taken
from lastbit.suites.attention_proof import judge_part, judge_result, judge_within
from lastbit.suites.attention_trial import obtain
from lastbit.suites.comparison import Part, compare
from lastbit.suites.trials import Given
from lastbit.verdict import Verdict

_C = (("causal", 1),)
_MIXED, _SELF, _DECODE, _EMPTY, _ONE, _MANY = (
    (("pack", name),) for name in ("mixed", "self", "decode", "empty", "one", "many")
)
_STRIDED = "q:transposed+k:strided+v:interleaved+cu_seqlens_q:strided+cu_seqlens_k:strided"

VALUES = (
    Case("one_hot", sizes(9, 21, hq=2), options=_MIXED),
    Case("sharp", sizes(9, 21, 20, hq=4, hkv=2), options=_MIXED),
    Case("one_hot", sizes("overtile", "overtile"), options=_MIXED),
    Case("one_hot", sizes("overtile", "overtile"), options=_SELF),
    Case("increasing", sizes(5, 40), options=_DECODE),
    Case("sharp", sizes(7, 9), options=_ONE),
    Case("sharp", sizes(5, 140, 64), options=_MIXED),
    Case("sharper", sizes(4, 6, 8, hq=8), options=(*_MANY, ("scale", 0.3))),
    Case("sharp", sizes(5, 9, 8, hq=2), _STRIDED, options=_MIXED),
    Case("sharp", sizes(40, 100, 32, hq=4, hkv=2), options=_MIXED, tier="standard"),
)
MASKS = (
    Case("one_hot", sizes(9, 21), options=(*_MIXED, *_C)),
    Case("one_hot", sizes(21, 9), options=(*_MIXED, *_C)),
    Case("sharp", sizes("overtile", "overtile"), options=(*_SELF, *_C)),
    Case("one_hot", sizes(9, 21), options=(*_MIXED, *_C, ("window", "3:0"))),
    Case("sharp", sizes(9, 21, 8, hq=2, hkv=1), options=(*_MIXED, *_C)),
    Case("sharp", sizes(9, 21, 8, hq=2, hkv=1), options=(*_MIXED, ("window", "3:1"), ("scale", 0.3))),
    Case("sharp", sizes(65, 65, 32, hq=2), options=(*_SELF, *_C), tier="standard"),
)
EMPTY = (
    Case("one_hot", sizes(7, 12), options=_EMPTY),
    Case("sharp", sizes(7, 12, hq=2), options=(*_EMPTY, *_C)),
)
LEAKS = (
    Case("sharp", sizes(7, 12), options=_MIXED),
    Case("sharp", sizes("overtile", "undertile"), options=(*_MIXED, *_C)),
)
ORDER = (Case("sharp", sizes(7, 12, hq=2), options=_MIXED), Case("sharp", sizes(9, 9), options=(*_SELF, *_C)))
SECOND_CALL = (Case("sharp", sizes(7, 12), options=_MIXED),)


def values(trial: Trial) -> Verdict:
    """Each sequence's result, bit for bit where one answer is right, and its log-sum-exp."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def leaks(trial: Trial) -> Verdict:
    """A sequence's bits do not change with what both its neighbours hold: large numbers, and NaN and infinities.

    A kernel that computes with masked keys is given large numbers only; one that is not repeatable, held by the bound.
    """
    given = inputs(trial)
    clean = obtain(trial, given)
    verdict = judge_within(trial, given, clean)
    if verdict.outcome.failed or clean.fault is not None:
        return verdict
    for first in (0, 1):
        for value in _foreign(trial):
            changed, index = filled(given, first, value)
            got = obtain(trial, changed)
            if got.fault is not None:
                return got.fault
            others = tuple(None if one is None else one[index] for one in got.others)
            cut = replace(got, codes=got.codes[index], others=others)
            judged = judge_part(trial, given, index, cut)
            if judged.outcome.failed:
                return replace(judged, reason=f"neighbours of {value:g} reach a sequence: {judged.reason}")
            differs = cut.codes != clean.codes[index]
            if differs.any() and trial.contract.deterministic:
                text = f"neighbours of {value:g} change bits"
                return comparison.broken_law(True, "separation", text, differs, verdict)
    return verdict


def order(trial: Trial) -> Verdict:
    """Sequences in another order, and alone, have the results that they have; and the bits, if so promised."""
    given = inputs(trial)
    promised = trial.contract.batch_invariant
    law = "invariance to the other sequences"
    return compare(trial, given, _parts(given), obtain, judge_within, judge_part, law=law, promised=promised)


def second_call(trial: Trial) -> Verdict:
    """Other data, and other cumulative lengths, at the same addresses."""
    given = inputs(trial)
    for second in (inputs(trial, shift=1), inputs(trial, backwards=True)):
        verdict = comparison.second_call(trial, (given, second), judge_within)
        if verdict.outcome.failed:
            return verdict
    return verdict


def _foreign(trial: Trial) -> tuple[float, ...]:
    """What is written into other sequences."""
    large = min(Format.of(trial.formats[name]).max for name in ("q", "k", "v")) / 64
    # Squares of it are summed: f32 has to hold them where the kernel multiplies before it masks.
    large = min(large, 2.0**50)
    return (large,) if trial.contract.masked_keys == "computed" else (large, np.nan, np.inf)


def _parts(given: Given) -> Iterable[Part]:
    """The sequences from last to first; and the first, the last and one between them alone."""
    found = spans(given)
    count = len(found)
    yield Part("the sequences from last to first", *taken(given, list(range(count))[::-1]))
    for number in sorted({0, count // 2, count - 1}):
        if found[number][0].stop > found[number][0].start:
            yield Part(f"sequence {number} alone", *taken(given, [number]))


def _check(name: str, over: tuple[Case, ...], judge: Callable[[Trial], Verdict], why: str) -> Check:
    return Check(name, "attention", over, judge, has_packed, why)


CHECKS: tuple[Check, ...] = (
    _check(
        "packed",
        VALUES,
        values,
        "A sequence of a packed batch attends to keys of another, or misses some of its own: an end is off.",
    ),
    _check(
        "packed_masks",
        MASKS,
        values,
        "Causal or window counts from the batch's corner, or from the longest sequence's, not from the sequence's own.",
    ),
    _check("packed_empty", EMPTY, values, "A sequence without queries or keys upsets those after it."),
    _check("packed_leaks", LEAKS, leaks, "What a neighbour sequence holds changes the result."),
    _check(
        "packed_order",
        ORDER,
        order,
        "A sequence's result depends on its place in the batch, against the contract; or is wrong at another.",
    ),
    _check(
        "packed_second_call",
        SECOND_CALL,
        second_call,
        "Lengths or results of an earlier call are remembered: other ones at the same place give the old answer.",
    ),
)
