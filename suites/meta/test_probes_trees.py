"""The trees that probes build: exactly the kernel's, from no more questions than the published algorithm asks."""

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.suites.probes import trees
from lastbit.suites.probes.trees import NoTreeError, Order, Tree

STEPS = settings(max_examples=150, deadline=None, derandomize=True)


class Asked:
    """A tree that answers, and counts what it is asked."""

    def __init__(self, tree: Tree) -> None:
        self.tree, self.pairs = tree, 0

    def common(self, i: int, others: Sequence[int]) -> list[int]:
        self.pairs += len(others)
        return [self._common(self.tree, i, j) for j in others]

    def _common(self, tree: Tree, i: int, j: int) -> int:
        assert isinstance(tree, tuple)
        for part in tree:
            if {i, j} <= set(trees.leaves(part)):
                return self._common(part, i, j)
        return len(trees.leaves(tree))


def published(parts: Sequence[Tree]) -> int:
    """Pairs that FPRev's recursion asks of a set of leaves that is one subtree, or some parts of a fused node.

    The first leaf is asked with every other one; then each set of leaves that meet it in one node.
    """
    count = sum(len(trees.leaves(part)) for part in parts) - 1
    total, tree = count, parts[0]
    groups = [list(parts[1:])] if len(parts) > 1 else []
    while isinstance(tree, tuple):
        groups.append(list(tree[1:]))
        tree = tree[0]
    return total + sum(published(group) for group in groups if group)


@st.composite
def some_trees(draw: Any, widest: int = 4) -> Tree:
    """A tree over 2 to 24 slots in any order, its nodes of two to `widest` parts."""
    parts: list[Tree] = list(draw(st.permutations(range(draw(st.integers(2, 24))))))
    while len(parts) > 1:
        width = min(len(parts), draw(st.integers(2, widest)))
        chosen = [parts.pop(draw(st.integers(0, len(parts) - 1))) for _ in range(width)]
        parts.append(trees.joined(*chosen))
    return parts[0]


@STEPS
@given(tree=some_trees())
def test_a_tree_is_rebuilt_from_what_meets(tree):
    asked = Asked(tree)
    assert trees.build(sorted(trees.leaves(tree)), asked.common) == tree
    assert asked.pairs <= published([tree])


@pytest.mark.parametrize(
    ("tree", "pairs"),
    [
        (trees.named(64, "sequential"), 63),
        (trees.named(64, "pairwise"), 192),
        (trees.fused(range(64), 64), 64 * 63 // 2),
        ((0, (1, (2, (3, (4, 5))))), 5 * 6 // 2),
    ],
    ids=["sequential", "pairwise", "one fused block", "reversed"],
)
def test_questions_are_the_published_number(tree, pairs):
    """n - 1 at best, n (n - 1) / 2 at worst (FPRev, USENIX ATC 2025, section 5)."""
    asked = Asked(tree)
    assert trees.build(sorted(trees.leaves(tree)), asked.common) == tree
    assert asked.pairs == pairs == published([tree])


@STEPS
@given(tree=some_trees(), seed=st.randoms(use_true_random=False))
def test_a_wrong_count_is_never_the_tree(tree, seed):
    """One answer that is off by one gives another tree or none, never this one unnoticed."""
    asked = Asked(tree)
    slots = sorted(trees.leaves(tree))
    wrong = seed.randrange(1, len(slots))

    def common(i: int, others: Sequence[int]) -> list[int]:
        counts = asked.common(i, others)
        if i == slots[0]:
            counts[wrong - 1] += 1
        return counts

    with contextlib.suppress(NoTreeError):
        assert trees.build(slots, common) != tree


def test_counts_of_no_tree_are_refused():
    with pytest.raises(NoTreeError, match="terms meet"):
        trees.build([0, 1, 2], lambda i, others: [2 for _ in others])


@pytest.mark.parametrize("k", [24, 37, 64, 96])
@pytest.mark.parametrize(
    "order",
    [
        Order("sequential"),
        Order("pairwise"),
        Order("lanes", 4),
        Order("lanes", 16),
        Order("blocked", 8),
        Order("split", 2),
        Order("tree-blocks", 4),
    ],
    ids=lambda order: f"{order.order}{order.width}",
)
def test_orders_are_told_by_their_trees(order, k):
    tree = trees.named(k, order.order, order.width)
    assert order in trees.orders(tree)
    if k == 96:  # of two lengths together, no two orders of these have both trees
        other = trees.orders(trees.named(64, order.order, order.width))
        assert next(one for one in trees.orders(tree) if one in other) == order


@pytest.mark.parametrize(
    ("tree", "order"),
    [
        (trees.fused(range(64), 16), Order("sequential")),
        (trees.fused(range(64), 16, late=True), Order("sequential", late=True)),
        (trees.sequential([trees.fused(range(32), 8), trees.fused(range(32, 64), 8)]), Order("sequential", promote=32)),
        (trees.sequential([trees.fused(range(i, i + 20), 8) for i in (0, 20, 40)]), Order("split", 3)),
    ],
    ids=["carried", "late", "promoted", "split"],
)
def test_orders_of_fused_blocks(tree, order):
    assert order in trees.orders(tree)


def test_an_order_nobody_named_has_no_name():
    assert trees.orders((0, (1, 3), 2)) == []
    assert trees.orders(((0, 2), (1, 3), 4)) == []


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (trees.named(16, "sequential"), "(0..15)"),
        (trees.fused(range(32), 16), "{{0..15}, 16..31}"),
        (trees.named(8, "lanes", 2), "((0+2+..+6) + (1+3+..+7))"),
        ((0, 1, 2), "{0,1,2}"),
        (3, "3"),
    ],
)
def test_trees_are_drawn(tree, text):
    assert trees.draw(tree) == text
