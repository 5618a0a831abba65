"""GEMM checks of memory: layouts of operands and output, empty operands, and a second call at the same addresses."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.harness import series
from lastbit.references.data import Operand
from lastbit.suites.gemm_proof import Given, inputs, scalars
from lastbit.suites.gemm_trial import has_data, judge_result, obtain
from lastbit.suites.trials import layouts
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
    given = inputs(trial), inputs(trial, shift=1)
    results = series(trial, [one.operands for one in given], layouts=layouts(trial), scalars=scalars(trial))
    for name, one, got in zip(("first call", "second call, same addresses"), given, results, strict=True):
        verdict = judge_result(trial, one, got)
        if verdict.outcome.failed:
            return replace(verdict, reason=f"{name}: {verdict.reason}")
    return verdict


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or ("" if "out" in trial.kernel.features else "the kernel has no out")


def _first_of_batch(operand: Operand) -> Operand:
    """The operand with the first matrix of the batch in every place, as a stride of zero shows it."""
    values = np.broadcast_to(operand.values[:1], operand.values.shape).copy()
    return Operand.of(values, operand.format)
