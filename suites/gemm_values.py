"""GEMM checks of single results: exact data, the derived bound, statistics, special values, and the epilogue."""

from lastbit.case import Trial
from lastbit.suites.gemm_proof import inputs, proof
from lastbit.suites.gemm_trial import has_data, judge_result, judge_unique, judge_within, obtain
from lastbit.suites.proofs import judge_by_statistics
from lastbit.verdict import Verdict


def exact(trial: Trial) -> Verdict:
    """Every bit of a result that no order of summation can change."""
    given = inputs(trial)
    return judge_unique(trial, given, obtain(trial, given))


def bound(trial: Trial) -> Verdict:
    """Every element within the bound derived from the contract and the data."""
    given = inputs(trial)
    return judge_within(trial, given, obtain(trial, given))


def statistics(trial: Trial) -> Verdict:
    """Mean signed error and root mean square within what independent mean-zero roundings give."""
    given = inputs(trial)
    got = obtain(trial, given)
    return judge_by_statistics(trial, proof(trial, given), judge_within(trial, given, got), got)


def result(trial: Trial) -> Verdict:
    """Every bit where the data have one answer, else every element within the bound; whatever layout and epilogue."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def reason_no_statistics(trial: Trial) -> str:
    """Why the errors of this kernel have no statistical model, or ""."""
    return has_data(trial) or (
        "integer results have no rounding" if trial.formats["out"].startswith(("i", "u")) else ""
    )
