"""GEMM checks of memory: a given output, and a second call at the same addresses."""

from lastbit.case import Trial
from lastbit.suites import comparison
from lastbit.suites.gemm_proof import inputs
from lastbit.suites.gemm_trial import has_data, judge_result
from lastbit.suites.trials import lacking
from lastbit.verdict import Verdict


def second_call(trial: Trial) -> Verdict:
    """Other data at the same addresses and shapes gives another answer: nothing is remembered by pointer or shape."""
    second = inputs(trial, shift=1)
    return comparison.second_call(trial, (inputs(trial), second, comparison.last_changed(second, "a")), judge_result)


def has_output(trial: Trial) -> str:
    """Why the kernel cannot write into a given output, or ""."""
    return has_data(trial) or lacking(trial, {"out"})
