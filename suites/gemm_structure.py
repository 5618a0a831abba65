"""GEMM checks of memory: layouts of operands and output, empty operands, and a second call at the same addresses."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.harness import invoke, prepare, refill
from lastbit.references.data import Operand
from lastbit.suites.gemm_trial import (
    Given,
    has_data,
    inputs,
    judge_result,
    layouts,
    obtain,
    scalars,
)
from lastbit.verdict import Verdict


def layout(trial: Trial) -> Verdict:
    """Strides, offsets and broadcast operands honoured: the values are those of the contiguous operands."""
    given = inputs(trial)
    for name, chosen in layouts(trial).items():
        if chosen == "broadcast":
            given = Given({**given.operands, name: _first_of_batch(given.operands[name])})
    return judge_result(trial, given, obtain(trial, given))


def second_call(trial: Trial) -> Verdict:
    """Other data at the same addresses and shapes gives another answer: nothing is remembered by pointer or shape."""
    first, second = inputs(trial), inputs(trial, shift=1)
    prepared = prepare(trial, first.operands, layouts=layouts(trial))
    verdict = judge_result(trial, first, invoke(trial, prepared, scalars=scalars(trial)))
    if verdict.outcome.failed:
        return _named("first call", verdict)
    prepared = refill(trial, prepared, second.operands)
    again = judge_result(trial, second, invoke(trial, prepared, scalars=scalars(trial)))
    return _named("second call, same addresses", again)


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or ("" if "out" in trial.kernel.features else "the kernel has no out")


def _named(call: str, verdict: Verdict) -> Verdict:
    return replace(verdict, reason=f"{call}: {verdict.reason}") if verdict.outcome.failed else verdict


def _first_of_batch(operand: Operand) -> Operand:
    """The operand with the first matrix of the batch in every place, as a stride of zero shows it."""
    values = np.broadcast_to(operand.values[:1], operand.values.shape).copy()
    return Operand.of(values, operand.format)
