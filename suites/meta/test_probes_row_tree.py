"""The order of a softmax's sum: every named tree is recovered from triples, and no tree is made of what fits none."""

import random

import numpy as np
import pytest

from lastbit.references.formats import Format
from lastbit.suites.probes import trees
from lastbit.suites.probes.row_tree_probe import TERMS, NoRowTreeError, build, row_tree
from lastbit.suites.probes.trees import Tree

F32 = np.float32


def meets(tree: Tree, triple: tuple[int, int, int]) -> bool:
    """Whether the two small places meet before the large one, by the tree's smallest node of both."""
    large, first, second = triple
    for node in trees.nodes(tree):
        inside = set(trees.leaves(node))
        if {first, second} <= inside:
            return large not in inside
    raise AssertionError(triple)


def random_tree(slots: list[int], rng: random.Random) -> Tree:
    parts: list[Tree] = list(slots)
    while len(parts) > 1:
        rng.shuffle(parts)
        parts.append(trees.joined(parts.pop(), parts.pop()))
    return parts[0]


ORDERS = [("sequential", 0), ("pairwise", 0), ("lanes", 4), ("lanes", 8), ("blocked", 5), ("split", 3)]


@pytest.mark.parametrize(("order", "width"), ORDERS)
def test_named_trees_are_recovered(order, width):
    tree = trees.named(TERMS, order, width)
    found, asked = build(lambda triples: [meets(tree, one) for one in triples], TERMS)
    assert found == tree
    assert asked <= TERMS**3 / 6


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_are_recovered(seed):
    tree = random_tree(list(range(12)), random.Random(seed))
    found, _ = build(lambda triples: [meets(tree, one) for one in triples], 12)
    assert found == tree


def test_three_parts_that_meet_at_once_are_no_tree():
    with pytest.raises(NoRowTreeError, match="the two small weights do"):
        build(lambda triples: [True] * len(triples), 3)


def test_one_wrong_answer_is_noticed():
    tree = trees.named(8, "lanes", 4)
    with pytest.raises(NoRowTreeError):
        build(lambda triples: [meets(tree, one) != (one == (0, 1, 5)) for one in triples], 8)


def added(tree: Tree, weights: np.ndarray) -> np.ndarray:
    """The sums of rows in the tree's order, in the weights' type."""
    if isinstance(tree, int):
        return weights[:, tree]
    return added(tree[0], weights) + added(tree[1], weights)


@pytest.mark.parametrize(("order", "width"), ORDERS)
@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
def test_the_sum_of_a_softmax_is_drawn(order, width, op):
    tree = trees.named(TERMS, order, width)

    def rows(x: np.ndarray) -> np.ndarray:
        top = x.max(-1, keepdims=True)
        weights = np.exp((x - top).astype(F32))
        total = added(tree, weights)[:, None]
        if op == "softmax":
            return (weights / total).astype(float)
        log = np.log(total)
        return ((x - top).astype(F32) - log if op == "log_softmax" else top[:, 0] + log[:, 0]).astype(float)

    found = row_tree(rows, op, Format.of("f32"))
    assert trees.draw(tree) in found.evidence
    assert found.value in {one.text for one in trees.orders(tree)} | {trees.draw(tree)}


@pytest.mark.parametrize("kind", [np.float64, np.float16])
def test_the_precision_of_the_sum_is_found(kind):
    """Sums of f64 and f16 are drawn with weights of their own; f32 results show no last bit of an f64 sum."""
    tree = trees.named(TERMS, "sequential")

    def rows(x: np.ndarray) -> np.ndarray:
        weights = np.exp(x - x.max(-1, keepdims=True)).astype(kind)
        return (weights / added(tree, weights)[:, None]).astype(float)

    assert row_tree(rows, "softmax", Format.of("f32")).value == "in sequence"
    hidden = row_tree(lambda x: rows(x).astype(F32).astype(float), "softmax", Format.of("f32"))
    assert (hidden.value is None) == (kind is np.float64)


def test_sums_that_are_exact_have_no_tree():
    def rows(x: np.ndarray) -> np.ndarray:
        weights = np.exp((x - x.max(-1, keepdims=True)).astype(F32)).astype(float)
        return (weights / weights.sum(-1, keepdims=True)).astype(F32).astype(float)

    found = row_tree(rows, "softmax", Format.of("f32"))
    assert found.value is None
    assert "no small weight is lost alone and seen twice" in found.indeterminate_reason
