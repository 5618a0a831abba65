"""Checks of casts by value: codes, lone elements, layouts, a second call, all codes of f32, numbers of both formats."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.harness import series
from lastbit.references.cast import Expected
from lastbit.references.cast_points import every_code, shared
from lastbit.references.formats import Format
from lastbit.suites import comparison
from lastbit.suites.cast_trial import has_data, inputs, judge_all, judge_codes, of_codes, rule, sizes, wanted
from lastbit.suites.comparison import with_note
from lastbit.suites.trials import layouts, obtain
from lastbit.verdict import Outcome, Verdict

#: Recipes whose codes cannot all be the same for a right kernel, so that a single expected code shows nothing.
BROAD = ("every_code", "boundaries", "stratified", "fractions")


def result(trial: Trial) -> Verdict:
    """Every code."""
    given = inputs(trial)
    got = obtain(trial, given)
    return (judge_all if trial.case.recipe in BROAD else judge_codes)(trial, given, got)


def layout(trial: Trial) -> Verdict:
    """Strides, offsets and a broadcast operand honoured: the codes are those of contiguous numbers."""
    given = inputs(trial)
    if layouts(trial).get("x") == "broadcast":
        codes = given.operands["x"].codes
        given = of_codes(trial, np.broadcast_to(codes[:1], codes.shape).copy())
    return judge_codes(trial, given, obtain(trial, given))


def placed(trial: Trial) -> Verdict:
    """One number among zeros, at every place in turn: it is found there and nowhere else."""
    source = Format.of(trial.formats["x"])
    numbers = inputs(trial).operands["x"].codes.reshape(-1)
    rest = 127 if source.kind == "exponent" else int(source.encode(np.zeros(1))[0])
    given = []
    for i in range(numbers.size):
        codes = np.full(numbers.shape, rest, source.code_dtype)
        codes[i] = numbers[i]
        given.append(of_codes(trial, codes))
    verdict = Verdict(Outcome.PASS)
    for i, (one, got) in enumerate(zip(given, series(trial, [one.operands for one in given]), strict=True)):
        verdict = judge_codes(trial, one, got)
        if verdict.outcome.failed:
            return replace(verdict, reason=f"a number at {i} of {numbers.size}, zeros elsewhere: {verdict.reason}")
    return verdict


def second_call(trial: Trial) -> Verdict:
    """Other numbers at the same address give other codes: nothing is remembered by address or shape."""
    return comparison.second_call(trial, (inputs(trial), inputs(trial, shift=1)), judge_codes)


def every_f32(trial: Trial) -> Verdict:
    """All 2^32 codes of f32, as many at a time as the case says."""
    source, step = Format.of(trial.formats["x"]), sizes(trial)["n"]
    verdict = Verdict(Outcome.PASS)
    for start in range(0, 1 << source.bits, step):
        given = of_codes(trial, every_code(source, start, step))
        verdict = judge_codes(trial, given, obtain(trial, given))
        if verdict.outcome.failed or verdict.outcome is Outcome.UNSUPPORTED:
            return replace(verdict, reason=f"codes from {start:#x}: {verdict.reason}")
    return with_note(verdict, "exhaustive", f"all {1 << source.bits} codes")


def unchanged(trial: Trial) -> Verdict:
    """A number that both formats have keeps its value: one narrower and back, or wider and back, is itself."""
    source, target = (Format.of(trial.formats[name]) for name in ("x", "out"))
    before, after = shared(source, target)
    if trial.contract.overflow not in (None, "inf", "propagate"):
        finite = np.isfinite(source.decode(before))
        before, after = before[finite], after[finite]
    given = of_codes(trial, before)
    flushed = wanted(trial, given).flushed if rule(trial.contract).flush else None
    return judge_codes(trial, given, obtain(trial, given), Expected(after, after, None, flushed, None))


def has_f32(trial: Trial) -> str:
    """Why the operand is not f32, or ""."""
    return "" if trial.formats["x"] == "f32" else "the operand is not f32"


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or ("" if "out" in trial.kernel.features else "the kernel has no out")
