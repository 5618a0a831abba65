"""Attention checks of values: unique answers, the derived bound, special values, the log-sum-exp, statistics, size."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_statistics import sample
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.references.attention import AttentionTruth, attention_truth
from lastbit.references.attention_data import problem_of
from lastbit.references.attention_mask import Problem, positions
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.statistics import judge_statistics
from lastbit.suites.attention_proof import Proof, judge_against, judge_result, judge_within, proof, weighed
from lastbit.suites.attention_trial import Given, has_data, inputs, obtain
from lastbit.suites.proofs import Formats, kept, with_numbers_of
from lastbit.verdict import Outcome, Verdict

#: Rows that are proved of a large case: the first and the last, and one of each of as many bands as are left.
SAMPLED = 8
#: Their proofs kept for the next kernel that is judged on the same case.
KEPT = 4


def result(trial: Trial) -> Verdict:
    """Every bit where one answer is right, else every element within its bound; the log-sum-exp within its own."""
    given = inputs(trial)
    return judge_result(trial, given, obtain(trial, given))


def special(trial: Trial) -> Verdict:
    """NaN, infinities and excluded scores in q, k and v: rows and columns that they decide, and no others."""
    drawn = inputs(trial)
    given = Given({**drawn.operands, **_planted(drawn)}, drawn.options)
    verdict = judge_within(trial, given, obtain(trial, given))
    if verdict.outcome.failed:
        return verdict
    given = Given({**drawn.operands, **_infinite(drawn)}, drawn.options)
    # The log-sum-exp of such a row may be NaN, as its result, or the infinity that it tends to.
    infinite = judge_within(trial, given, replace(obtain(trial, given), others=()))
    if infinite.outcome.failed:
        return replace(infinite, reason=f"a score of +inf: {infinite.reason}")
    return verdict


def statistics(trial: Trial) -> Verdict:
    """Mean signed error and root mean square within what independent mean-zero roundings of P give."""
    given = inputs(trial)
    got = obtain(trial, given)
    within = judge_within(trial, given, got)
    if within.outcome.failed:
        return within
    proved = proof(trial, given)
    found = sample(trial.contract, trial.formats, proved.problem, proved.truth, proved.out)
    if found is None:
        return replace(within, outcome=Outcome.NOT_TESTED, reason="P is not rounded to nearest, or not at all")
    out = Format.of(trial.formats["out"])
    verdict = judge_statistics(got.codes[found.index], out, found.truth, found.budget)
    return with_numbers_of(within, verdict)


def has_rounded_weights(trial: Trial) -> str:
    """Why the errors have no statistical model, or ""."""
    cast = trial.contract.probabilities
    if cast is None or Format.of(cast).precision >= Format.of("f32").precision:
        return "the probabilities are not rounded to a narrower format"
    return has_data(trial)


def large(trial: Trial) -> Verdict:
    """Rows that cross every tile of a result of some size, element by element."""
    given = inputs(trial)
    got = obtain(trial, given)
    if got.fault is not None:
        return got.fault
    count = got.codes.shape[2]
    rows = _sample(trial.seed, count)
    others = tuple(None if one is None else one[:, :, rows] for one in got.others)
    proved = _proved_rows(given, trial.contract, tuple(trial.formats.items()), trial.seed)
    verdict = judge_against(trial, proved, replace(got, codes=got.codes[:, :, rows], others=others))
    text = f"{rows.size} of {count} rows of every head, element by element"
    return replace(verdict, notes={**verdict.notes, "proved": text})


@kept(KEPT)
def _proved_rows(given: Given, contract: Contract, formats: Formats, seed: int) -> Proof:
    """The proof of the sampled rows, kept for the next kernel."""
    posed = _sampled_rows(given, contract, seed)
    return weighed(contract, formats, posed, _truth(given, contract.causal_alignment, contract.masked_row, seed))


@kept(KEPT)
def _truth(given: Given, alignment: str, masked_row: str, seed: int) -> AttentionTruth:
    policies = Contract(causal_alignment=alignment, masked_row=masked_row)
    return attention_truth(_sampled_rows(given, policies, seed))


def _sampled_rows(given: Given, contract: Contract, seed: int) -> Problem:
    whole = problem_of(given.operands, given.options, contract)
    return _rows(whole, _sample(seed, whole.scores[2]))


def has_lse(trial: Trial) -> str:
    """Why there is no log-sum-exp to judge, or ""."""
    return ("" if "lse" in trial.kernel.features else "the kernel has no lse") or has_data(trial)


def has_special(trial: Trial) -> str:
    """Why no special values can be planted, or ""."""
    names = [name for name in ("q", "k", "v") if not Format.of(trial.formats[name]).has_inf]
    if names:
        return f"the formats of {', '.join(names)} have no infinity"
    return reason_computed(trial) if trial.case.options else has_data(trial)


def reason_computed(trial: Trial) -> str:
    """Why nothing can be said about the values of masked keys, or ""."""
    if trial.contract.masked_keys == "computed":
        return "the contract computes with masked keys, so that NaN among them may come through"
    return has_data(trial)


def _planted(given: Given) -> dict[str, Operand]:
    """q, k and v with special values at queries, keys and columns of their own.

    A query is NaN; one key's scores are NaN in the last head, and -inf, which excludes it, in the first. Columns of v
    hold a NaN, an infinity of each sign, and both.
    """
    q, k, v = (given.operands[name].values.copy() for name in ("q", "k", "v"))
    q[:, 0, :, 2] = np.abs(q[:, 0, :, 2]) + 1
    q[0, 0, 0, 0] = np.nan
    k[0, 0, 1, 2] = -np.inf
    k[0, -1, k.shape[2] // 2, 1] = np.nan
    middle = v.shape[2] - 3
    v[0, 0, middle, 0], v[0, 0, middle, 1], v[0, 0, middle, 2] = np.nan, np.inf, -np.inf
    v[0, 0, middle, 3], v[0, 0, middle + 1, 3] = np.inf, -np.inf
    return _as_operands(given, q, k, v)


def _infinite(given: Given) -> dict[str, Operand]:
    """q, k and v where a key's scores are +inf for every other query, whose rows are NaN, and -inf for the others."""
    q, k, v = (given.operands[name].values.copy() for name in ("q", "k", "v"))
    q[:, 0, :, 2] = np.copysign(np.abs(q[:, 0, :, 2]) + 1, np.arange(q.shape[2]) % 2 - 0.5)
    k[0, 0, 1, 2] = np.inf
    return _as_operands(given, q, k, v)


def _as_operands(given: Given, *values: NDArray[np.float64]) -> dict[str, Operand]:
    names = ("q", "k", "v")
    return {name: Operand.of(one, given.operands[name].format) for name, one in zip(names, values, strict=True)}


def _sample(seed: int, size: int) -> NDArray[np.int64]:
    """Indices of rows: the ends, and a random one of each band between."""
    rng = np.random.default_rng([seed, size])
    edges = np.linspace(0, size, min(SAMPLED - 1, size + 1)).astype(np.int64)
    inside = rng.integers(edges[:-1], edges[1:])
    return np.unique(np.array([0, *inside, size - 1]))


def _rows(whole: Problem, rows: NDArray[np.int64]) -> Problem:
    """The problem of some rows: what causal and window leave of the keys becomes a mask."""
    at = positions(whole, slice(None))[rows, None]
    keys = np.arange(whole.scores[3])[None, :]
    keep = np.ones((rows.size, keys.size), bool)
    if whole.causal:
        keep &= keys <= at
    for side, beyond in zip(whole.window or (), (at - keys, keys - at), strict=False):
        if side >= 0:
            keep &= beyond <= side
    return Problem(
        whole.q[:, :, rows],
        whole.k,
        whole.v,
        scale=whole.scale,
        mask=keep,
        softcap=whole.softcap,
        sinks=whole.sinks,
        masked_row=whole.masked_row,
    )
