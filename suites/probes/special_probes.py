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
    """P15: whether a sum that overflows on the way, and ends in range, is saved by a wider accumulator."""
    top = span.a.max * span.b.max
    if not np.isfinite(top) or top <= span.out.max / 4:
        return undecided("P15", "overflow", f"no two products overflow {span.out.name}")
    x, k = (span.a.max, 1.0), access.shape.k
    y = (-span.a.max, 1.0)
    wide = span.a.max * 2 > span.out.max
    if not wide:
        two, minus = (span.a.max, span.b.max), (-span.a.max, span.b.max)
        got = access.dot(*rows(k, [{0: two, 1: minus}, {0: two, k - 1: minus}]))
        told = f"M * M - M * M, M the largest operands: {got[0]:g} next to one another, {got[1]:g} at the ends"
        return Answer("P15", "overflow", _overflow_kind(got, 0.0), told)
    got = access.dot(*rows(k, [{0: x, 1: x, 2: y}, {0: x, 1: x, k - 1: y}]))
    told = f"M + M - M, M the largest operand: {got[0]:g} next to one another, {got[1]:g} at the end"
    return Answer("P15", "overflow", _overflow_kind(got, span.a.max), told)


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


def _overflow_kind(got: "np.ndarray[tuple[int], np.dtype[np.float64]]", exact: float) -> str:
    if (got == exact).all():
        return "saved"
    return "within a block" if got[0] == exact else "infinite"
