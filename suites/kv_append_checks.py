"""KV append checks: codes, places not to be touched, and a second call at the same addresses."""

from lastbit.case import Trial
from lastbit.suites import comparison
from lastbit.suites.kv_append_trial import inputs, judge_all, judge_codes, judge_rest
from lastbit.suites.trials import obtain
from lastbit.verdict import Verdict


def exact(trial: Trial) -> Verdict:
    """Every code that is written."""
    given = inputs(trial)
    return judge_codes(trial, given, obtain(trial, given))


def untouched(trial: Trial) -> Verdict:
    """Every place that no token goes to keeps its bits."""
    given = inputs(trial)
    return judge_rest(trial, given, obtain(trial, given))


def whole(trial: Trial) -> Verdict:
    """Both of these, of the whole cache."""
    given = inputs(trial)
    return judge_all(trial, given, obtain(trial, given))


def second_call(trial: Trial) -> Verdict:
    """Other tokens and slots at the same addresses go where the new slots say."""
    return comparison.second_call(trial, (inputs(trial), inputs(trial, shift=1)), judge_all)
