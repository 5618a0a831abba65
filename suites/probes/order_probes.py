"""P20: the order of additions by class of shapes and by number of threads."""

from lastbit.perf.threads import limited
from lastbit.references.formats import Format
from lastbit.suites.probes import tree_probe, trees
from lastbit.suites.probes.access import Access, AccessError, Shape
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.draws import noise
from lastbit.suites.probes.invariance_probes import At, equal
from lastbit.suites.probes.span import Array, Span
from lastbit.suites.probes.trees import Tree

#: Numbers of threads that may share a sum.
THREADS = (1, 2, 4)


def shape_trees(at: At, shape: Shape, limit: int | None = None) -> tuple[Answer, bool]:
    """P20: the order of additions by class of shapes, and whether one order is that of all.

    Sums four times as long show whether they are split; `limit`: largest result times terms times 4 that is asked for.
    """
    told, known = [], []
    for one in _classes(shape, limit):
        tree = _tree(at, one)
        if tree is not None:
            known.append(_names(tree))
            told.append(f"{one.text}: {_order_text(tree)}")
    if not known:
        return undecided("P20", "orders", "no shape has a tree that could be seen"), False
    common = set.intersection(*known)
    value = "one" if common else "by shape"
    return Answer("P20", "orders", value, "; ".join(told)), bool(common)


def thread_trees(at: At, shape: Shape, limit: int | None = None) -> Answer:
    """P20: whether the order of additions depends on the number of threads of PyTorch and OpenBLAS, and the trees of
    the shapes in which it does.

    Sums that are nothing but rounding errors are compared; the tree is drawn only where their bits differ.
    """
    name, told, seen = "thread_orders", [], []
    for one in (*_classes(shape, limit), *_long(shape, limit)):
        try:
            access = at(one)
        except AccessError:
            continue
        first, *others = (_noise_sums(access, count) for count in THREADS)
        if not first.any():
            continue
        seen.append(one.text)
        apart = [count for count, bits in zip(THREADS[1:], others, strict=True) if not equal(bits, first)]
        told += [f"{one.text}, {count} threads: {_drawn(at, one, count)}" for count in (THREADS[0], *apart) if apart]
    if not seen:
        return undecided("P20", name, "no sum of these formats is rounded, so nothing tells orders apart")
    if told:
        return Answer("P20", name, "by threads", "; ".join(told))
    counts = ", ".join(map(str, THREADS))
    return Answer(
        "P20", name, "one", f"{counts} threads of PyTorch and OpenBLAS give the same bits at {', '.join(seen)}"
    )


def _classes(shape: Shape, limit: int | None) -> tuple[Shape, ...]:
    """Shapes that kernels treat apart: single rows and columns, small results, long sums."""
    m, n, k = shape.m, shape.n, shape.k
    found = (
        Shape(1, 1, k),
        Shape(1, n, k),
        Shape(m, 1, k),
        Shape(4, 4, k),
        Shape(m, n, 2 * k),
        Shape(m, n, 4 * k),
    )
    return (shape, *(one for one in found if _fits(one, limit)))


def _long(shape: Shape, limit: int | None) -> tuple[Shape, ...]:
    """Shapes of sums so long beside their results that a kernel may split them among threads."""
    found = (Shape(1, 1, 128 * shape.k), Shape(4, 4, 64 * shape.k), Shape(shape.m, shape.n, 16 * shape.k))
    return tuple(one for one in found if _fits(one, limit))


def _fits(shape: Shape, limit: int | None) -> bool:
    return limit is None or shape.m * shape.n * shape.k * 4 <= limit


def _noise_sums(access: Access, threads: int) -> Array:
    """Sums that are nothing but rounding errors, with so many threads."""
    with limited(threads):
        return access.product(*noise(access.shape, access.formats, 20), None)


def _drawn(at: At, shape: Shape, threads: int) -> str:
    with limited(threads):
        tree = _tree(at, shape)
    return "no tree could be seen" if tree is None else _order_text(tree)


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
