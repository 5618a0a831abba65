"""Judging an output: class first, then the bound, element by element, with a reason that a person reads."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.acceptance import OVER, WRONG_CLASS, classify
from lastbit.budget import Budget
from lastbit.failure_text import diagnose, element, place, share
from lastbit.metrics import Measured, measure
from lastbit.references.formats import Format
from lastbit.verdict import ErrorStats, Outcome, Verdict

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]
Codes = NDArray[np.unsignedinteger]


def judge(codes: Codes, fmt: "str | Format", truth: "Truth", budget: Budget, contract: "Contract") -> Verdict:
    """Whether each element of `codes`, read as `fmt`, is one that `budget` and `contract` allow.

    `codes` has the truth's shape. The rules, in order, are those of acceptance.classify. WRONG_CLASS if any element has
    the wrong class, else OVER_BUDGET if any is too far, else PASS; a verdict of PASS has utilisation <= 1, one of
    OVER_BUDGET > 1. Elements that are right by a class rule (saturated, flushed) count in no statistic but `n`.
    """
    fmt = Format.of(fmt)
    measured = measure(codes, fmt, truth, budget.allowed, budget.sigma)
    suspects = measured.suspects
    if not suspects.size:
        return _verdict(Outcome.PASS, measured.stats, truth, budget)
    kinds = classify_at(suspects, codes, fmt, truth, budget, contract)
    excused = suspects[kinds == 0]
    stats = measured.stats
    if excused.size:
        measured = _without(excused, codes, fmt, truth, budget)
        stats = measured.stats
    if (kinds == WRONG_CLASS).any():
        return _wrong_class(suspects[kinds == WRONG_CLASS], codes, fmt, truth, budget, stats)
    if (kinds == OVER).any():
        return _over(int(np.count_nonzero(kinds == OVER)), measured, codes, fmt, truth, budget)
    return _verdict(Outcome.PASS, stats, truth, budget)


def classify_at(
    index: NDArray[np.intp], codes: Codes, fmt: Format, truth: "Truth", budget: Budget, contract: "Contract"
) -> NDArray[np.int8]:
    """acceptance.classify of the elements at flat indices `index`."""
    shape = codes.shape

    def at(array: Floats) -> Floats:
        return np.asarray(np.broadcast_to(array, shape)[np.unravel_index(index, shape)], np.float64)

    slack = None if budget.overflow_slack is None else at(budget.overflow_slack)
    y = fmt.decode(codes.reshape(-1)[index])
    return classify(y, at(truth.hi), at(truth.lo), at(budget.allowed), slack, budget.flush_below, fmt, contract)


def _without(excused: NDArray[np.intp], codes: Codes, fmt: Format, truth: "Truth", budget: Budget) -> Measured:
    """The measure of all elements but the `excused`; `worst` is an index of the whole."""
    shape = codes.shape
    kept = np.delete(np.arange(codes.size), excused)

    def keep(array: Floats) -> Floats:
        return np.broadcast_to(array, shape).reshape(-1)[kept]

    rest = replace(truth, hi=keep(truth.hi), lo=keep(truth.lo), radius=keep(truth.radius), weight=keep(truth.weight))
    sigma = None if budget.sigma is None else keep(budget.sigma)
    measured = measure(codes.reshape(-1)[kept], fmt, rest, keep(budget.allowed), sigma)
    worst = int(kept[measured.worst]) if measured.worst >= 0 else -1
    return Measured(replace(measured.stats, n=codes.size), kept[measured.suspects], worst)


def _verdict(outcome: Outcome, stats: ErrorStats, truth: "Truth", budget: Budget, **rest: object) -> Verdict:
    """A verdict with what every one of `judge` says."""
    fields = {"measured": stats.utilisation, "allowed": 1.0, **rest}
    return Verdict(outcome, formula=f"{budget.formula} [{budget.source}]", proof=truth.rung, stats=stats, **fields)  # type: ignore[arg-type]


def _wrong_class(
    index: NDArray[np.intp], codes: Codes, fmt: Format, truth: "Truth", budget: Budget, stats: ErrorStats
) -> Verdict:
    first = int(index[0])
    where = place(first, codes.shape)
    y = fmt.decode(codes)
    got, want = float(y.reshape(-1)[first]), float(truth.hi.reshape(-1)[first])
    lines = [
        element(f"{_class(got)} instead of {_class(want)}", where, got, want),
        f"{share(index.size, codes.size)} of the wrong class (NaN, infinity, overflow value, finite)",
    ]
    lines += _hint(y, truth)
    return _verdict(
        Outcome.WRONG_CLASS,
        stats,
        truth,
        budget,
        reason="\n".join(lines),
        measured=float(index.size),
        allowed=0.0,
        where=where,
    )


def _over(count: int, measured: Measured, codes: Codes, fmt: Format, truth: "Truth", budget: Budget) -> Verdict:
    worst = measured.worst
    where = place(worst, codes.shape)
    y = fmt.decode(codes)
    got, hi, lo = (float(a.reshape(-1)[worst]) for a in (y, truth.hi, truth.lo))
    step = float(fmt.ulp(np.array([hi]), np.array([lo]))[0])
    allowed = float(np.broadcast_to(budget.allowed, codes.shape).reshape(-1)[worst])
    lines = [
        element(f"max error {abs((got - hi) - lo) / step:.4g} ulp", where, got, hi),
        f"budget {allowed / step:.4g} ulp ({budget.formula}; {budget.source}); {share(count, codes.size)} over it",
    ]
    lines += _hint(y, truth)
    return _verdict(Outcome.OVER_BUDGET, measured.stats, truth, budget, reason="\n".join(lines), where=where)


def _hint(y: Floats, truth: "Truth") -> list[str]:
    found = diagnose(y, truth.hi)
    return [found] if found else []


def _class(value: float) -> str:
    return "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else "zero" if value == 0 else "a finite value"
