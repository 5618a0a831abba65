"""Sums of products in any tree: what an accumulator computes where its order is no named one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references import chains, engines

if TYPE_CHECKING:
    from lastbit.references.accumulators import Accumulator

Array = NDArray[np.float64]
#: A term's slot, or what is added at once: two parts, or more where a matrix engine fuses them.
Tree = Any


def tree_dot(model: "Accumulator", tree: Tree, a: Array, b: Array, c: Array | None = None) -> Array:
    """The sum of a[i] * b[i] over the leading axis, and of c, added as `tree` over 0 to k - 1, and k for c, says.

    a, b (k, ..) broadcast; c has the result's shape. A node of two parts is one addition of a chain, with an FMA where
    one is a product and the model has it; a fused engine aligns the products of a node, and a carried part, too.
    A product that a sum of two begins with is rounded by itself: that of the smaller slot.
    """
    x, y = model.read(a), model.read(b)
    with np.errstate(all="ignore"):
        done: dict[int, Array] = {}
        for node in nodes(tree):  # a tree may be as deep as the sum is long
            done[id(node)] = _node(model, node, done, x, y, c)
        return done[id(tree)] if not isinstance(tree, int) else _product(model, x[tree], y[tree])


def _node(
    model: "Accumulator", node: Sequence[Tree], done: dict[int, Array], a: Array, b: Array, c: Array | None
) -> Array:
    slots = [part for part in node if isinstance(part, int) and part < len(a)]
    parts = [done[id(part)] for part in node if not isinstance(part, int)]
    if len(a) in node:
        shape = np.broadcast_shapes(a.shape[1:], b.shape[1:])
        addend = np.zeros(shape) if c is None else np.broadcast_to(c, shape)
        parts.append(chains.flushed(addend, model.emin) if model.flush else addend)
    if model.engine in ("fused", "cdna3"):
        return _block(model, slots, parts, a, b)
    multiply, add, fused = chains.operations(model)
    if not slots:
        return add(parts[0], parts[1])
    last = slots[-1]
    total = parts[0] if parts else multiply(a[slots[0]], b[slots[0]])
    return fused(a[last], b[last], total)


def _block(model: "Accumulator", slots: list[int], parts: list[Array], a: Array, b: Array) -> Array:
    """One fused addition; parts that meet no product are added in f32."""
    if not slots:
        total = parts[0]
        for part in parts[1:]:
            total = engines.f32_add(part, total)
        return total
    shape = np.broadcast_shapes(a.shape[1:], b.shape[1:])
    carried = parts[0] if parts else np.zeros(shape)
    engine = engines.cdna3 if model.engine == "cdna3" else engines.fused
    return engine(replace(model, terms=len(slots), order="sequential", promote=0), a[slots], b[slots], carried)


def _product(model: "Accumulator", a: Array, b: Array) -> Array:
    return chains.operations(model)[0](a, b)


def nodes(tree: Tree) -> list[tuple[Tree, ...]]:
    """Every addition of the tree, each after those below it."""
    found: list[tuple[Tree, ...]] = []
    left: list[Tree] = [tree]
    while left:
        part = left.pop()
        if not isinstance(part, int):
            found.append(part)
            left.extend(part)
    return found[::-1]
