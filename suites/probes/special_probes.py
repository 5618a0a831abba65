"""P14 to P17: NaN, infinities, zeros of either sign, overflow on the way, and monotonicity."""

import numpy as np

from lastbit.suites.probes.access import Access
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.span import Span, Terms, rows


def special(access: Access, span: Span) -> list[Answer]:
    """P14 to P16 of a kernel."""
    return [nan(access, span), infinity(access, span), overflow(access, span), zero(access, span)]


def nan(access: Access, span: Span) -> Answer:
    """P14: whether a NaN operand makes its sum NaN, whatever it is multiplied by, and no other."""
    if not span.a.has_nan:
        return undecided("P14", "nan", f"{span.a.name} has no NaN")
    if not span.out.has_nan:
        return undecided("P14", "nan", f"{span.out.name} has no NaN")
    k = access.shape.k
    sums: list[Terms] = [{0: (np.nan, 1.0)}, {k - 1: (np.nan, 0.0)}, {0: (1.0, 1.0)}]
    got = access.dot(*rows(k, sums))
    told = f"NaN * 1: {got[0]:g}, NaN * 0: {got[1]:g}, a sum beside them: {got[2]:g}"
    fine = np.isnan(got[:2]).all() and got[2] == 1
    return Answer("P14", "nan", "propagated" if fine else "not IEEE 754", told)


def infinity(access: Access, span: Span) -> Answer:
    """P14: what infinite operands give."""
    if not (span.a.has_inf and span.out.has_inf):
        return undecided("P14", "infinity", f"{span.a.name} or {span.out.name} has no infinity")
    inf = np.inf
    sums: list[Terms] = [{0: (inf, 1.0)}, {0: (-inf, 1.0)}, {0: (inf, 0.0)}, {0: (inf, 1.0), 1: (-inf, 1.0)}]
    got = access.dot(*rows(access.shape.k, sums))
    told = "inf, -inf, inf * 0, inf - inf: " + ", ".join(f"{x:g}" for x in got)
    fine = np.array_equal(got, [inf, -inf, np.nan, np.nan], equal_nan=True)
    return Answer("P14", "infinity", "IEEE 754" if fine else "other", told)


def overflow(access: Access, span: Span) -> Answer:
    """P15: whether a sum that overflows on the way, and ends in range, is saved by wider exponents.

    M in the first slot and in each other one, and -M last: two of them meet first in some slots of any order.
    """
    k = access.shape.k
    if span.a.max * span.b.max <= span.out.max / 4 or not np.isfinite(span.a.max * 4) or k < 3:
        return undecided("P15", "overflow", f"no two products overflow {span.out.name}")
    by_one = span.a.max * 2 > span.out.max
    exact = span.a.max if by_one else span.a.max * span.b.max
    largest, other = (span.a.max, 1.0) if by_one else (span.a.max, span.b.max)
    if not by_one:  # every product is beyond the result: M - M alone
        sums: list[Terms] = [{0: (largest, other), slot: (-largest, other)} for slot in range(1, k)]
        wanted = 0.0
    else:
        last = [k - 1 if slot != k - 1 else k - 2 for slot in range(1, k)]
        sums = [
            {0: (largest, other), slot: (largest, other), end: (-largest, other)}
            for slot, end in zip(range(1, k), last, strict=True)
        ]
        wanted = exact
    got = access.dot(*rows(k, sums))
    lost = int((got != wanted).sum())
    text = "M + M - M" if by_one else "M * M - M * M"
    told = f"{text}, M the largest operand: {lost} of {len(sums)} choices of slots are not {wanted:g}"
    return Answer("P15", "overflow", "infinite" if lost else "saved", told)


def zero(access: Access, span: Span) -> Answer:
    """P16: the sign of a sum of negative zeros, and of x - x."""
    if not (span.a.has_negative_zero and span.out.has_negative_zero):
        return undecided("P16", "zero", "a format has no negative zero")
    k = access.shape.k
    a, b = np.zeros((2, k)), np.ones((2, k))
    a[0] = -0.0
    a[1, :2] = 1.0, -1.0
    got = np.signbit(access.dot(a, b))
    told = f"all products -0: {'-0' if got[0] else '+0'}, 1 - 1: {'-0' if got[1] else '+0'}"
    kind = {(True, False): "IEEE 754", (False, False): "-0 lost"}.get((bool(got[0]), bool(got[1])), "other")
    return Answer("P16", "zero", kind, told)
