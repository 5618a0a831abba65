"""P3 of a softmax: the tree of its sum, from small weights that are lost beside a large one unless they meet before."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.suites.probes import trees
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.op_access import Array
from lastbit.suites.probes.trees import Tree

#: Numbers of a row whose tree is asked for: a remainder of no vector, and several of most.
TERMS = 32
#: Precisions that a sum may be kept in.
PRECISIONS = (8, 11, 24, 53)
#: A small weight in units of the last bit of a sum just above 1: alone it is lost, two are one unit.
SMALL = 0.375
#: The logit of a weight that no sum of up to 53 bits sees.
NOTHING = -120.0

#: Triples (large, first, second) to whether the two small weights meet each other before the large one.
Meet = Callable[[Sequence[tuple[int, int, int]]], list[bool]]


class NoRowTreeError(ValueError):
    """The answers are those of no tree of additions of two parts."""


def row_tree(rows: Callable[[Array], Array], op: str, x: Format) -> Answer:
    """The order in which a row's exponentials are added.

    All weights are positive, so none takes a large one away again, as in FPRev. But a weight of 3/8 of the last bit of
    a sum of 1 is lost beside it, and two that have met before are not: that is asked of triples of places, which tell
    any tree of additions of two parts.
    """
    name = "sum_tree"
    found = _precision(rows, op, x)
    if found is None:
        return undecided("P3", name, "no small weight is lost alone and seen twice in the result")
    logit, bits = found

    def meet(triples: Sequence[tuple[int, int, int]]) -> list[bool]:
        values = np.full((len(triples), TERMS), NOTHING)
        at = np.arange(len(triples))
        large, first, second = np.array(triples).T
        values[at, large], values[at, first], values[at, second] = 0.0, logit, logit
        return [bool(one) for one in _seen(rows, op, values, large)]

    try:
        tree, asked = build(meet, TERMS)
    except NoRowTreeError as error:
        return undecided("P3", name, f"what is lost fits no tree: {error}")
    orders = trees.orders(tree)
    value = orders[0].text if orders else trees.draw(tree)
    told = f"{asked} rows of {TERMS}, weights of {SMALL:g} * 2^{1 - bits} beside 1: {trees.draw(tree)}"
    return Answer("P3", name, value, told)


def build(meet: Meet, terms: int) -> tuple[Tree, int]:
    """The tree of additions over `terms` places from what it does with triples, and how many of them were asked.

    Raises NoRowTreeError where the answers contradict one another.
    """
    known: dict[tuple[int, int, int], bool] = {}

    def ask(triples: Sequence[tuple[int, int, int]]) -> list[bool]:
        wanted = [(i, min(j, k), max(j, k)) for i, j, k in triples]
        new = list(dict.fromkeys(one for one in wanted if one not in known))
        if new:
            known.update(zip(new, meet(new), strict=True))
        return [known[one] for one in wanted]

    tree = _subtree(list(range(terms)), ask)
    ask(_crossing(tree))
    checked = _triples(tree)
    wrong = [one for one, answer in known.items() if (one in checked) != answer]
    if wrong:
        raise NoRowTreeError(f"of {wrong[0]} the two small weights {'do' if known[wrong[0]] else 'do not'} meet first")
    return tree, len(known)


def _subtree(slots: list[int], ask: Meet) -> Tree:
    """The tree over places: those that meet each other before the first one are a part that is added to it at once."""
    first, rest = slots[0], slots[1:]
    pairs = list(combinations(rest, 2))
    together = dict(zip(pairs, ask([(first, *pair) for pair in pairs]), strict=True))
    parts: list[list[int]] = []
    for slot in rest:
        home = next((part for part in parts if together[(part[0], slot)]), None)
        parts.append([slot]) if home is None else home.append(slot)
    tree: Tree = first
    for part in _nearest_first(first, parts, ask):
        tree = trees.joined(tree, _subtree(part, ask))
    return tree


def _nearest_first(first: int, parts: list[list[int]], ask: Meet) -> list[list[int]]:
    """The parts in the order in which the first place meets them: it has met a nearer one before any farther one."""
    heads = [part[0] for part in parts]
    triples = [(far, first, near) for far in heads for near in heads if near != far]
    before = dict(zip(triples, ask(triples), strict=True))
    return sorted(parts, key=lambda part: sum(before[(part[0], first, head)] for head in heads if head != part[0]))


def _crossing(tree: Tree) -> list[tuple[int, int, int]]:
    """All three triples of one place of each part of every addition and of what it adds up: three parts that meet at
    once would all be seen to meet before the third.
    """
    found = []
    for node in trees.nodes(tree):
        for part, other in ((node[0], node[1]), (node[1], node[0])):
            if isinstance(part, tuple):
                i, j, far = (trees.smallest(one) for one in (part[0], part[1], other))
                found += [(far, i, j), (i, j, far), (j, i, far)]
    return found


def _triples(tree: Tree) -> set[tuple[int, int, int]]:
    """The triples (large, first, second) of a tree whose second and third place meet before the first."""
    found: set[tuple[int, int, int]] = set()
    for node in trees.nodes(tree):
        for part, other in ((node[0], node[1]), (node[1], node[0])):
            inside, outside = sorted(trees.leaves(part)), trees.leaves(other)
            found.update((large, *pair) for pair in combinations(inside, 2) for large in outside)
    return found


def _precision(rows: Callable[[Array], Array], op: str, x: Format) -> tuple[float, int] | None:
    """The logit of a small weight and the bits of the sum: one is lost at both ends, a weight of two is seen."""
    for bits in PRECISIONS:
        small, twice = (float(x.round(np.log(count * SMALL * 2.0 ** (1 - bits)))) for count in (1, 2))
        values = np.full((4, TERMS), NOTHING)
        for row, (i, j, logit) in enumerate(
            ((0, 1, small), (TERMS - 1, 0, small), (0, 1, twice), (TERMS - 1, 0, twice))
        ):
            values[row, i], values[row, j] = 0.0, logit
        large = np.array([0, TERMS - 1, 0, TERMS - 1])
        if list(_seen(rows, op, values, large)) == [False, False, True, True]:
            return small, bits
    return None


def _seen(rows: Callable[[Array], Array], op: str, values: Array, large: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each row's sum is more than the 1 of its largest weight."""
    got = rows(values)
    picked = got.reshape(-1) if op == "logsumexp" else got[np.arange(len(got)), large]
    return np.not_equal(picked, 1.0 if op == "softmax" else 0.0)
