"""Checks that compare results of one kernel with one another: repeated calls, parts alone, other data in place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.harness import Obtained, series
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.results import results
from lastbit.suites.trials import Given, layouts
from lastbit.verdict import Outcome, Verdict

REPEATS = 3
#: Name of the law of `scaling`, in notes and reasons.
SCALING = "power-of-two scaling"

Obtain = Callable[[Trial, Given], Obtained]
Judge = Callable[[Trial, Given, Obtained], Verdict]
#: The verdict on what was obtained of a part, by what is proved about the whole and where the part lies in it.
JudgePart = Callable[[Trial, Given, Any, Obtained], Verdict]
#: Where results differ, by the result's name.
Changes = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a case that is called on its own, or the case in another order."""

    #: In words: "first 4 of 33 rows alone".
    name: str
    given: Given
    #: Where its result lies in that of the whole case: whole[index] has the part's shape.
    index: Any


def repeat(trial: Trial, given: Given, obtain: Obtain, judge: Judge) -> Verdict:
    """The same operands at other addresses give the same bits, if the contract says deterministic."""
    calls = [Part(f"call {turn}", given, ...) for turn in range(2, REPEATS + 1)]
    return compare(
        trial,
        given,
        calls,
        obtain,
        judge,
        lambda trial, given, _, got: judge(trial, given, got),
        law="repeatability",
        promised=trial.contract.deterministic,
    )


def scaling(trial: Trial, given: Given, name: str, shift: int, obtain: Obtain, judge: Judge) -> Verdict:
    """2^shift times the operand `name` gives 2^shift times the result, exactly, away from the ends of the range."""
    old, out = given.operands[name], Format.of(trial.formats["out"])
    scaled = given.changed(**{name: Operand.of(np.ldexp(old.values, shift), old.format)})
    plain, larger = obtain(trial, given), obtain(trial, scaled)
    for got in (plain, larger):
        if got.fault is not None:
            return got.fault
    base, result = out.decode(plain.codes), out.decode(larger.codes)
    # The smallest normal number itself may have been rounded up from among the subnormal ones, which lie less close.
    inside = (np.abs(base) > out.min_normal) & (np.abs(base) <= np.ldexp(out.max, -shift - 1))
    changed = inside & (result != np.ldexp(base, shift))
    verdict = judge(trial, scaled, larger)
    if verdict.outcome.failed or not changed.any():
        return with_note(verdict, SCALING, f"2^{shift} in {name}, {int(inside.sum())} elements")
    return broken_law(True, SCALING, f"{name} * 2^{shift} does not scale the result", changed, verdict)


def compare(
    trial: Trial,
    given: Given,
    parts: Iterable[Part],
    obtain: Obtain,
    judge: Judge,
    judge_part: JudgePart,
    *,
    law: str,
    promised: bool,
) -> Verdict:
    """Each part right, and with the bits that it has in the whole: LAW_BROKEN where they differ and that is promised.

    Returns the verdict on the whole, with a note under the law's name of what is the same and what is not.
    """
    whole = obtain(trial, given)
    verdict = judge(trial, given, whole)
    if whole.fault is not None or verdict.outcome.failed:
        return verdict
    same: list[str] = []
    breaking: dict[str, Changes] = {}
    for part in parts:
        got = obtain(trial, part.given)
        changed = {} if got.fault is not None else _changed(trial, given, whole, part.index, got)
        if got.fault is None and not changed:
            same.append(part.name)  # what is the same as what has just been judged is as right
            continue
        judged = judge_part(trial, given, part.index, got)
        if got.fault is not None or judged.outcome.failed:
            return replace(judged, reason=f"{part.name}: {judged.reason}")
        breaking[part.name] = changed
    if not breaking:
        return with_note(verdict, law, f"same bits for {', '.join(same)}")
    several = bool(whole.others)
    names = [f"{name} in {' and '.join(changed)}" if several else name for name, changed in breaking.items()]
    first = next(iter(next(iter(breaking.values())).values()))
    return broken_law(promised, law, f"bits change for {', '.join(names)}", first, verdict)


def second_call(
    trial: Trial,
    given: Sequence[Given],
    judge: Judge,
    *,
    called: Callable[[Mapping[str, Operand]], Mapping[str, Operand]] = dict,
) -> Verdict:
    """Other data at the same addresses and shapes gives another answer: nothing is remembered by pointer or shape.

    `called` makes the operands of the call from those that are judged, where they differ.
    """
    operands = [called(one.operands) for one in given]
    results = series(trial, operands, layouts=layouts(trial), scalars=given[0].options)
    for turn, (one, got) in enumerate(zip(given, results, strict=True), 1):
        verdict = judge(trial, one, got)
        name = f"call {turn}, same addresses" if turn > 1 else "first call"
        if verdict.outcome.failed:
            return replace(verdict, reason=f"{name}: {verdict.reason}")
    return verdict


def last_changed(given: Given, name: str) -> Given:
    """The same data, but that the first and the last element of the last row of operand `name` change places.

    All that a kernel may remember data by is as before: addresses, shapes, first elements, sums.
    """
    operand = given.operands[name]
    codes, values = operand.codes.copy(), operand.values.copy()
    for array in (codes, values):
        array[..., -1, [0, -1]] = array[..., -1, [-1, 0]]
    return given.changed(**{name: Operand(operand.format, codes, values)})


def broken_law(promised: bool, law: str, text: str, changed: NDArray[np.bool_], verdict: Verdict) -> Verdict:
    """LAW_BROKEN where the contract promises the law, else `verdict` with the fact noted."""
    if not promised:
        return with_note(verdict, law, f"not promised; {text}")
    count, where = int(changed.sum()), str(tuple(int(i) for i in np.argwhere(changed)[0]))
    reason = f"{law}: {text}: {count} of {changed.size} elements, first at {where}"
    return Verdict(Outcome.LAW_BROKEN, reason, float(count), 0.0, where, notes=verdict.notes)


def with_note(verdict: Verdict, name: str, text: str) -> Verdict:
    """`verdict` with one note more."""
    return replace(verdict, notes={**verdict.notes, name: text})


def _changed(trial: Trial, given: Given, whole: Obtained, index: Any, got: Obtained) -> Changes:
    """Where the results of a part differ from those of the whole, by the name of the result; equal ones left out."""
    shapes = {name: operand.codes.shape for name, operand in given.operands.items()}
    names = [one.name for one in results(trial.kernel, trial.formats, shapes)]
    pairs = zip(names, (whole.codes, *whole.others), (got.codes, *got.others), strict=True)
    masks = {name: one[index] != other for name, one, other in pairs if one is not None and other is not None}
    return {name: mask for name, mask in masks.items() if mask.any()}
