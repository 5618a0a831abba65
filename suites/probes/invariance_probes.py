"""P18 to P20: whether a kernel's bits depend on the call, the batch, the shape or the number of threads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from lastbit.references.formats import Format
from lastbit.suites.probes import tree_probe, trees
from lastbit.suites.probes.access import Access, AccessError, Shape
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.draws import noise
from lastbit.suites.probes.span import Array, Span
from lastbit.suites.probes.trees import Tree

#: The kernel at a shape.
At = Callable[[Shape], Access]

#: Calls that must all give the same bits, at most: alone, and beside other work.
CALLS, CALLS_UNDER_LOAD = 60, 30
#: A slow kernel, an interpreter's, gets fewer: those of so many seconds, but not fewer than this.
SECONDS, FEWEST = 1.0, 5
#: Rows or columns of a batch that a kernel's tiles, vectors and special cases may treat apart.
PARTS = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33)


def repeatable(access: Access) -> Answer:
    """P18: whether the same call gives the same bits, alone and beside a busy thread."""
    a, b = noise(access.shape, access.formats, 18)
    first = access.product(a, b, None)
    alone, calls = _repeat(access, (a, b), first, CALLS)
    with _load():
        loaded, loaded_calls = _repeat(access, (a, b), first, CALLS_UNDER_LOAD)
    told = f"{alone} of {calls} calls differ from the first, {loaded} of {loaded_calls} beside a busy thread"
    return Answer("P18", "repeatable", not alone and not loaded, told)


def batch_invariance(at: At, shape: Shape, side: str) -> Answer:
    """P19: whether a row's bits (side "m"), or a column's ("n"), depend on how many there are."""
    name = {"m": "row_invariance", "n": "column_invariance"}[side]
    whole = at(shape)
    a, b = noise(shape, whole.formats, 19)
    full = whole.product(a, b, None)
    if not full.any():
        return undecided("P19", name, "no sum of these formats is rounded, so nothing tells batches apart")
    breaking, refused = [], []
    for part in (part for part in PARTS if part < (shape.m if side == "m" else shape.n)):
        rows = side == "m"
        try:
            small = at(Shape(part, shape.n, shape.k) if rows else Shape(shape.m, part, shape.k))
            got = small.product(a[:part] if rows else a, b if rows else b[:, :part], None)
        except AccessError:
            refused.append(part)
            continue
        if not _equal(got, full[:part] if rows else full[:, :part]):
            breaking.append(part)
    told = f"of {shape.text}, {side} = {', '.join(map(str, PARTS))}"
    told += f"; refused: {', '.join(map(str, refused))}" if refused else ""
    if len(refused) == len(PARTS):
        return undecided("P19", name, "the kernel takes no smaller shape", told)
    value = f"breaks at {side} = {', '.join(map(str, breaking))}" if breaking else "holds"
    return Answer("P19", name, value, told)


def places(access: Access) -> Answer:
    """P19: whether every place of a result adds in the same way."""
    alike = access.alike
    if not access.product(*noise(access.shape, access.formats, 19), None).any():
        return undecided("P19", "places", "no sum of these formats is rounded, so nothing tells places apart")
    if alike.all():
        return Answer("P19", "places", "alike", f"all {alike.size} places give the bits of the first")
    rows, columns = (~alike).all(axis=1), (~alike).all(axis=0)
    other = [
        f"{name} {trees.draw(tuple(int(i) for i in np.flatnonzero(which)))[1:-1]}"
        for name, which in (("rows", rows), ("columns", columns))
        if which.any() and not which.all()
    ]
    share = f"{int((~alike).sum())} of {alike.size} places"
    return Answer(
        "P19", "places", "differ", f"{share} do not give the bits of the first: {' and '.join(other) or share}"
    )


def shape_trees(at: At, shape: Shape) -> tuple[Answer, bool]:
    """P20: the order of additions by class of shapes, and whether one order is that of all."""
    told, known = [], []
    m, n, k = shape.m, shape.n, shape.k
    for one in (shape, Shape(1, 1, k), Shape(1, n, k), Shape(m, 1, k), Shape(4, 4, k), Shape(m, n, 2 * k)):
        tree = _tree(at, one)
        if tree is not None:
            known.append(_names(tree))
            told.append(f"{one.text}: {_order_text(tree)}")
    if not known:
        return undecided("P20", "orders", "no shape has a tree that could be seen"), False
    common = set.intersection(*known)
    value = "one" if common else "by shape"
    return Answer("P20", "orders", value, "; ".join(told)), bool(common)


def _repeat(access: Access, operands: tuple[Array, Array], first: Array, most: int) -> tuple[int, int]:
    """How many calls of at most so many give other bits than the first, and how many there were time for."""
    start, differing = time.perf_counter(), 0
    for done in range(1, most + 1):
        differing += not _equal(access.product(*operands, None), first)
        if done >= FEWEST and time.perf_counter() - start > SECONDS:
            return differing, done
    return differing, most


def _tree(at: At, shape: Shape) -> Tree | None:
    try:
        access = at(shape)
        a, b, out = (Format.of(access.formats[name]) for name in ("a", "b", "out"))
        span = Span(a, b, out)
        return tree_probe.tree(access, span, tree_probe.find_swamp(access, span))[1]
    except AccessError:
        return None


def _names(tree: Tree) -> set[object]:
    """The orders that a tree may be of; a tree without a name is one of its own."""
    return set(trees.orders(tree)) or {trees.draw(tree)}


def _order_text(tree: Tree) -> str:
    orders, terms = trees.orders(tree), trees.fused_leaves(tree)
    text = orders[0].text if orders else f"as {trees.draw(tree)[:120]}"
    return f"blocks of {terms}, {text}" if terms > 1 else text


def _equal(x: Array, y: Array) -> bool:
    return bool(np.array_equal(x, y, equal_nan=True))


@contextmanager
def _load() -> Iterator[None]:
    """Another thread that multiplies matrices meanwhile."""
    stop = threading.Event()

    def work() -> None:
        x = np.ones((64, 64))
        while not stop.is_set():
            x @ x

    busy = threading.Thread(target=work, daemon=True)
    busy.start()
    try:
        yield
    finally:
        stop.set()
        busy.join()
