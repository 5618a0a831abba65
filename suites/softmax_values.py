"""Checks of values and memory of softmax, log_softmax and logsumexp: unique answers, bounds, layouts, second calls."""

import numpy as np

from lastbit.case import Trial
from lastbit.suites import comparison
from lastbit.suites.softmax_trial import (
    has_data,
    inputs,
    is_unique,
    judge_result,
    judge_within,
    logits,
    of_values,
)
from lastbit.suites.trials import layouts, obtain
from lastbit.verdict import Verdict


def result(trial: Trial) -> Verdict:
    """Every bit where one answer is right, else every element within the derived bound."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def bound(trial: Trial) -> Verdict:
    """Every element within the bound derived from the contract and the data."""
    given = inputs(trial)
    return judge_within(trial, given, obtain(trial, given))


def layout(trial: Trial) -> Verdict:
    """Strides, offsets and broadcast logits honoured: the values are those of contiguous ones."""
    given = inputs(trial)
    if layouts(trial).get("x") == "broadcast":
        given = of_values(given, np.broadcast_to(logits(given)[:1], logits(given).shape).copy())
    return judge_result(trial, given, obtain(trial, given))


def second_call(trial: Trial) -> Verdict:
    """Other data at the same addresses and shapes gives another answer: nothing is remembered by pointer or shape."""
    return comparison.second_call(trial, (inputs(trial), inputs(trial, shift=1)), judge_result)


def has_unique(trial: Trial) -> str:
    """Why no single answer is right here, or ""."""
    return has_data(trial) or ("" if is_unique(trial) else f"{trial.kernel.op} rounds on the way on this data")
