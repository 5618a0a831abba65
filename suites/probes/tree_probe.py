"""P2 and P3: which terms are added at once and in what tree, from the terms that a large one swamps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lastbit.suites.probes import trees
from lastbit.suites.probes.access import Access
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.span import Span
from lastbit.suites.probes.trees import NoTreeError, Tree

#: Longest sum whose tree is asked for: the tree is a nested tuple, and Python's stack has a limit.
LONGEST = 512


@dataclass(frozen=True, slots=True)
class Swamp:
    """A large term M and a small one: M and -M swamp the small terms that are added to M before -M is."""

    large: float
    unit: float


def find_swamp(access: Access, span: Span, *, addend: bool = False) -> Swamp | None:
    """The widest pair of terms that the kernel's sums hold: M - M is 0, and all the small ones are counted exactly."""
    k, top = access.shape.k, min(span.high, span.result_high) if addend else span.high
    least = span.result_low - span.out.precision + 1 if span.subnormal else span.result_low
    units = {max(span.low, unit) for unit in (span.result_low, least)}
    pairs = [(large, unit) for large in {top, min(top, span.result_high)} for unit in units]
    for large, unit in sorted(pairs, key=lambda pair: pair[1] - pair[0]):
        swamp = Swamp(2.0**large, 2.0**unit)
        if unit < large and _holds(access, span, swamp, k):
            return swamp
    return None


def tree(access: Access, span: Span, swamp: Swamp | None, *, addend: bool = False) -> tuple[Answer, Tree | None]:
    """The summation tree of the access's shape, and the answer that draws it; with the addend as slot k if asked for.

    FPRev's questions: all terms are ones but for M at one slot and -M at another; what is missing from the sum has met
    M before -M did.
    """
    k, calls = access.shape.k, access.spent.sums
    probe, what = ("P7", "addend_tree") if addend else ("P3", "tree")
    if swamp is None:
        return undecided(probe, what, "no large term swamps small ones and leaves a result in the formats' range"), None
    if k + addend > 2**span.out.precision or k + addend > LONGEST:
        most = min(LONGEST, 2**span.out.precision)
        return undecided(probe, what, f"results count to {most} terms, fewer than {k + addend}"), None
    slots = list(range(k + addend))
    try:
        first = common(access, span, swamp, slots, 0, slots[1:])
        if len(slots) > 2 and set(first) == {2}:
            return Answer(probe, what, "exact", f"nothing is lost beside {swamp.large:g}"), None
        found = trees.build(slots, lambda i, js: common(access, span, swamp, slots, i, js))
    except NoTreeError as error:
        return undecided(probe, what, f"what is lost fits no tree: {error}"), None
    asked = access.spent.sums - calls - len(slots) + 1
    return Answer(probe, what, trees.draw(found), f"{asked} sums of {k} terms, M = {swamp.large:g}"), found


def is_sound(swamp: Swamp, fraction_bits: int, k: int) -> bool:
    """Whether M swamps k small terms at once in an accumulator of so many fraction bits."""
    return k * swamp.unit < swamp.large * 2.0 ** -(fraction_bits + 1)


def group(found: Tree | None, given: Answer) -> Answer:
    """P2: how many terms are added at once."""
    if found is None:
        exact = given.value == "exact"
        reason = "nothing is lost, so groups cannot be seen" if exact else given.indeterminate_reason
        return undecided("P2", "terms", reason)
    terms = trees.fused_leaves(found)
    fused = [trees.draw(node) for node in trees.nodes(found) if len(node) > 2]
    evidence = f"the tree adds {fused[0]} at once" if fused else "every addition of the tree has two parts"
    return Answer("P2", "terms", terms, evidence)


def common(access: Access, span: Span, swamp: Swamp, slots: Sequence[int], i: int, others: Sequence[int]) -> list[int]:
    """Leaves below the node where slot i meets each of `others`; slot k is the addend."""
    k, n = access.shape.k, len(others)
    terms = np.full((n, len(slots)), swamp.unit)
    terms[:, i] = swamp.large
    terms[np.arange(n), list(others)] = -swamp.large
    pairs = {x: span.product(x) for x in (swamp.large, -swamp.large, swamp.unit)}
    a, b = np.empty((n, k)), np.empty((n, k))
    for value, (first, second) in pairs.items():
        a[terms[:, :k] == value], b[terms[:, :k] == value] = first, second
    c = terms[:, k] if len(slots) > k else None
    counts = len(slots) - access.dot(a, b, c) / swamp.unit
    if not (counts == np.rint(counts)).all():
        raise NoTreeError(f"{counts[0]:g} terms meet")
    return [int(count) for count in counts]


def _holds(access: Access, span: Span, swamp: Swamp, k: int) -> bool:
    """Whether M - M is 0 at both ends of the sum and between neighbours, and k small terms are k."""
    if not all(span.can(x) for x in (swamp.large, swamp.unit)):
        return False
    large, minus, unit = (span.product(x) for x in (swamp.large, -swamp.large, swamp.unit))
    a, b = np.zeros((4, k)), np.zeros((4, k))
    for row, (i, j) in enumerate(((0, k - 1), (0, 1), (k - 2, k - 1))):
        a[row, i], b[row, i] = large
        a[row, j], b[row, j] = minus
    a[3], b[3] = unit
    counted = min(k, 2**span.out.precision)
    a[3, counted:] = 0.0
    return bool(np.array_equal(access.dot(a, b), [0.0, 0.0, 0.0, counted * swamp.unit]))
