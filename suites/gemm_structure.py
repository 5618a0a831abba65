"""GEMM checks of memory: layouts of operands and output, empty operands, and a second call at the same addresses."""

import numpy as np

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.suites import comparison
from lastbit.suites.gemm_proof import inputs
from lastbit.suites.gemm_trial import has_data, judge_result, obtain
from lastbit.suites.trials import lacking, layouts
from lastbit.verdict import Verdict


def layout(trial: Trial) -> Verdict:
    """Strides, offsets and broadcast operands honoured: the values are those of the contiguous operands."""
    given = inputs(trial)
    for name, chosen in layouts(trial).items():
        if chosen == "broadcast":
            given = given.changed(**{name: _first_of_batch(given.operands[name])})
    return judge_result(trial, given, obtain(trial, given))


def second_call(trial: Trial) -> Verdict:
    """Other data at the same addresses and shapes gives another answer: nothing is remembered by pointer or shape."""
    second = inputs(trial, shift=1)
    return comparison.second_call(trial, (inputs(trial), second, comparison.last_changed(second, "a")), judge_result)


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or lacking(trial, {"out"})


def _first_of_batch(operand: Operand) -> Operand:
    """The operand with the first matrix of the batch in every place, as a stride of zero shows it."""
    values = np.broadcast_to(operand.values[:1], operand.values.shape).copy()
    return Operand.of(values, operand.format)
