"""Judging an output: class first, then the bound, element by element, with a reason that a person reads."""

from dataclasses import replace
from math import frexp, isfinite, ldexp
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.acceptance import OVER, RIGHT, WRONG_CLASS, classify, elements_at
from lastbit.budget import Budget
from lastbit.failure_text import class_name, coded, diagnose, element, nearest, number, place, share
from lastbit.metrics import Measured, measure
from lastbit.references.chains import two_sum
from lastbit.references.formats import Format
from lastbit.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]
Codes = NDArray[np.unsignedinteger]

#: Wrong elements that the reason of judge_exact lists.
LISTED = 4


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
        return _verdict(Outcome.PASS, measured, fmt, truth, budget)
    y = fmt.decode(codes)
    elements = elements_at(suspects, truth, budget)
    kinds = classify(y.reshape(-1)[suspects], *elements, budget.flush_below, fmt, contract)
    if (kinds == RIGHT).any():
        measured = _without(suspects[kinds == RIGHT], codes, fmt, truth, budget)
    strange = suspects[kinds == WRONG_CLASS]
    if strange.size:
        verdict = _verdict(Outcome.WRONG_CLASS, measured, fmt, truth, budget)
        verdict = replace(verdict, measured=float(strange.size), allowed=0.0)
        return _shown(verdict, int(strange[0]), codes, fmt, truth, contract, _explain_class(strange, y, truth))
    if (kinds == OVER).any():
        verdict = _verdict(Outcome.OVER_BUDGET, measured, fmt, truth, budget)
        reason = _explain_error(suspects[kinds == OVER], measured.worst, y, fmt, truth, budget)
        return _shown(verdict, measured.worst, codes, fmt, truth, contract, reason)
    return _verdict(Outcome.PASS, measured, fmt, truth, budget)  # every suspect is right by its class


def judge_exact(
    codes: Codes,
    fmt: "str | Format",
    truth: "Truth",
    contract: "Contract",
    *,
    signed_zeros: bool | NDArray[np.bool_] = False,
) -> Verdict:
    """Whether every element of `codes`, read as `fmt`, is the exact result rounded once as the contract says.

    Zero mismatches are allowed; all NaN are equal, and so are both zeros, but at the elements of `signed_zeros`
    (True: all) under a contract that does not flush: there a zero has the sign of the truth, be that zero or too small
    for `fmt`. Stochastic rounding may give either neighbour, a flushing contract zero for a subnormal, and a truth with
    a radius any value between its two ends.
    WRONG_CLASS if a mismatch involves a NaN or an infinity, else OVER_BUDGET.
    """
    fmt = Format.of(fmt)
    measured = measure(codes, fmt, truth)
    y = fmt.decode(codes)
    low, high = expected(fmt, truth, contract)
    lost = np.isnan(low), np.isnan(high)
    # An end that overflowed to NaN leaves all finite values on its side of the other end right.
    least = np.where(lost[0] & ~lost[1], fmt.lowest, low)
    most = np.where(lost[1] & ~lost[0], fmt.max, high)
    right = ((y >= least) & (y <= most)) | (np.isnan(y) & (lost[0] | lost[1]))
    if not fmt.has_nan:
        right |= np.isnan(truth.hi)
    if contract.subnormals == "flush" and fmt.kind == "float" and fmt.bits >= 16:
        right |= (y == 0) & (np.abs(truth.hi) < fmt.min_normal)
    if contract.overflow == "saturate":
        right |= np.isinf(truth.hi) & (y == truth.hi)
    if contract.subnormals != "flush":
        zeros = signed_zeros & (y == 0) & (low == 0) & (high == 0) & (np.signbit(low) == np.signbit(high))
        right &= ~zeros | (np.signbit(y) == np.signbit(low))
    count = int(right.size - np.count_nonzero(right))
    verdict = Verdict(
        Outcome.PASS,
        measured=float(count),
        allowed=0.0,
        formula="exact [one rounding]",
        proof=truth.rung,
        stats=measured.stats,
        histogram=measured.histogram,
    )
    if not count:
        return verdict
    wrong = np.flatnonzero(~right)
    got, want = y.reshape(-1)[wrong], low.reshape(-1)[wrong]
    strange = bool((~np.isfinite(got) | ~np.isfinite(want)).any())
    where = place(int(wrong[0]), y.shape)
    others = [
        f"{place(int(i), y.shape)} got {number(g)}, want {number(w)}"
        for i, g, w in zip(wrong[1:LISTED], got[1:], want[1:], strict=False)
    ]
    lines = [
        element("wrong value", where, float(got[0]), float(want[0])),
        f"{share(count, y.size)} wrong, none may be: the exact result is rounded once, {contract.output_rounding}",
        "; ".join(others),
        diagnose(y, low, ~right),
    ]
    return replace(
        verdict,
        outcome=Outcome.WRONG_CLASS if strange else Outcome.OVER_BUDGET,
        reason="\n".join(filter(None, lines)),
        where=where,
        got=coded(fmt, codes.reshape(-1)[wrong[0]]),
        want=coded(fmt, fmt.encode(want[0]).item()),
    )


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
    return replace(measured, stats=replace(measured.stats, n=codes.size), suspects=kept[measured.suspects], worst=worst)


def _verdict(outcome: Outcome, measured: Measured, fmt: Format, truth: "Truth", budget: Budget) -> Verdict:
    """The verdict but for its explanation."""
    return Verdict(
        outcome,
        measured=measured.stats.utilisation,
        allowed=1.0,
        formula=f"{budget.formula} [{budget.source}]",
        proof=truth.rung,
        stats=measured.stats,
        histogram=measured.histogram,
        terms=budget.terms,
        allowed_ulp=_allowed_ulp(measured.worst, fmt, truth, budget),
    )


def _shown(
    verdict: Verdict, index: int, codes: Codes, fmt: Format, truth: "Truth", contract: "Contract", reason: str
) -> Verdict:
    """The verdict with its reason, and with the place, value and bits of the element that decided it."""
    hi, lo = (float(array.reshape(-1)[index]) for array in (truth.hi, truth.lo))
    return replace(
        verdict,
        reason=reason,
        where=place(index, codes.shape),
        got=coded(fmt, codes.reshape(-1)[index]),
        want=nearest(fmt, hi, lo, contract.overflow),
    )


def _allowed_ulp(worst: int, fmt: Format, truth: "Truth", budget: Budget) -> float:
    """What element `worst` (-1: none) may be off, in ulp of its exact value; 0 where that is no number."""
    if worst < 0:
        return 0.0
    x = float(truth.hi.reshape(-1)[worst])
    whole = budget.allowed.shape == truth.hi.shape
    allowed = budget.allowed if whole else np.broadcast_to(budget.allowed, truth.hi.shape)
    steps = float(allowed.reshape(-1)[worst]) / _ulp(fmt, x)
    return steps if isfinite(steps) else 0.0


def _ulp(fmt: Format, x: float) -> float:
    """fmt.ulp of one finite number, without arrays, which every verdict would wait for."""
    if fmt.kind != "float" or not x:
        return float(fmt.ulp(x))
    return ldexp(1.0, min(max(frexp(x)[1] - 1, fmt.emin), fmt.emax) - fmt.precision + 1)


def _explain_class(index: NDArray[np.int64], y: Floats, truth: "Truth") -> str:
    """What is wrong with the first element of the wrong class."""
    first = int(index[0])
    where = place(first, y.shape)
    got, want = float(y.reshape(-1)[first]), float(truth.hi.reshape(-1)[first])
    lines = [
        element(_mistaken(got, want), where, got, want),
        f"{share(index.size, y.size)} of the wrong class (NaN, infinity, overflow value or finite)",
        diagnose(y, truth.hi, _mask(index, y.shape)),
    ]
    return "\n".join(filter(None, lines))


def _mistaken(got: float, want: float) -> str:
    """What is wrong with the class of `got`; a finite `want` of the same class lies beyond the output's range."""
    wanted = "overflow" if class_name(got) == class_name(want) else class_name(want)
    return f"{class_name(got)} instead of {wanted}"


def _explain_error(index: NDArray[np.int64], worst: int, y: Floats, fmt: Format, truth: "Truth", budget: Budget) -> str:
    """What is wrong with the element with the largest error / allowed error."""
    where = place(worst, y.shape)
    got, hi, lo = (float(array.reshape(-1)[worst]) for array in (y, truth.hi, truth.lo))
    step = float(fmt.ulp(np.array([hi]), np.array([lo]))[0])
    allowed = float(np.broadcast_to(budget.allowed, y.shape).reshape(-1)[worst])
    lines = [
        element(f"max error {abs((got - hi) - lo) / step:.4g} ulp", where, got, hi),
        f"budget {allowed / step:.4g} ulp ({budget.formula}; {budget.source}); {share(index.size, y.size)} over it",
        diagnose(y, truth.hi, _mask(index, y.shape)),
    ]
    return "\n".join(filter(None, lines))


def _mask(index: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask.reshape(-1)[index] = True
    return mask


def expected(fmt: Format, truth: "Truth", contract: "Contract") -> tuple[Floats, Floats]:
    """The smallest and the largest right result of each element; the same but under stochastic rounding or a radius.

    A radius of one spacing of lo is that of an exact answer whose lo was rounded to odd: it rounds as the answer does
    (references.gemm.truth), and counts as none.
    """
    modes = ("down", "up") if contract.output_rounding == "stochastic" else (contract.output_rounding,) * 2
    nan = None if fmt.has_nan else "zero"
    radius = np.where(truth.radius > np.spacing(np.abs(truth.lo)), truth.radius * (1 + 2.0**-50), 0.0)
    uncertain = bool(radius.any())
    ends = []
    for mode, side in zip(modes, (-1.0, 1.0), strict=True):
        hi, lo = _moved(truth, side * radius) if uncertain else (truth.hi, truth.lo)
        ends.append(fmt.round(hi, lo, rounding=mode, overflow=contract.overflow, nan=nan))
        if not uncertain and modes[0] == modes[1]:
            return ends[0], ends[0]
    return ends[0], ends[1]


def _moved(truth: "Truth", distance: Floats) -> tuple[Floats, Floats]:
    """The truth moved by `distance`, as a pair."""
    with np.errstate(invalid="ignore", over="ignore"):
        hi, lo = two_sum(truth.hi, truth.lo + distance)
    finite = np.isfinite(truth.hi)
    moved = finite & (distance != 0)  # a zero that stays where it is keeps its sign
    lo = np.where(moved, lo, truth.lo)
    return np.where(moved, hi, truth.hi), np.where(finite & np.isfinite(hi), lo, 0.0)
