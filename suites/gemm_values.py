"""GEMM checks of single results: exact data, the derived bound, statistics, special values, and the epilogue."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.statistics import judge_statistics
from lastbit.suites.gemm_proof import inputs, proof
from lastbit.suites.gemm_trial import has_data, judge_result, judge_unique, judge_within, obtain
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
    within = judge_within(trial, given, got)
    if within.outcome.failed or got.fault is not None:
        return within
    proved = proof(trial, given)
    verdict = judge_statistics(got.codes, Format.of(trial.formats["out"]), proved.truth, proved.budget)
    return replace(verdict, stats=within.stats, digest=within.digest, proof=within.proof)


def epilogue(trial: Trial) -> Verdict:
    """alpha, beta, c and bias where they belong; c is not read when beta is 0."""
    given = inputs(trial)
    if dict(trial.case.options).get("beta") == 0.0:
        given = given.changed(c=_unreadable(given.operands["c"]))
    return judge_result(trial, given, obtain(trial, given))


def reason_no_statistics(trial: Trial) -> str:
    """Why the errors of this kernel have no statistical model, or ""."""
    return has_data(trial) or (
        "integer results have no rounding" if trial.formats["out"].startswith(("i", "u")) else ""
    )


def _unreadable(operand: Operand) -> Operand:
    """The same shape filled with NaN, or with the largest value where the format has none."""
    fmt = Format.of(operand.format)
    return Operand.of(np.full(operand.values.shape, np.nan if fmt.has_nan else fmt.max), operand.format)
