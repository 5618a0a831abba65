"""Spots, the slots of a tree that a question about one addition uses: terms that meet, and terms that come later."""

from dataclasses import dataclass

from lastbit.suites.probes.trees import Tree, leaves, nodes, smallest


@dataclass(frozen=True, slots=True)
class Spots:
    """Where terms of a question go."""

    #: Slots that meet in one addition: all that a node fuses, or a pair.
    block: tuple[int, ...]
    #: Slots that are added to the block's sum after it: those of the next node up, or any others.
    later: tuple[int, ...]
    #: Whether the block's terms are added at once, and with what is carried.
    fused: bool
    #: Slots of the last addition, after which nothing is cut any more; those of the block where that has none.
    last: tuple[int, ...]
    #: Three slots that meet at once where any do; else a pair and a later one.
    trio: tuple[int, int, int]


def spots(tree: Tree) -> Spots | None:
    """The slots for questions about one addition of the tree; None for fewer than three terms."""
    if len(leaves(tree)) < 3:
        return None
    every = nodes(tree)
    fused = any(len(node) > 2 for node in every)
    chosen = max(every, key=_room) if fused else _pair(every)
    above = _above(tree, chosen)
    block = _slots(chosen)
    outside = [slot for node in above for slot in leaves(node) if slot not in leaves(chosen)]
    later = next((slots for node in above if (slots := _slots(node))), tuple(dict.fromkeys(outside)))
    trio = _trio(block, later, above, every, fused=fused)
    last = _slots(every[-1])
    return None if trio is None else Spots(block, later, fused, last if fused and len(last) > 1 else block, trio)


def _slots(node: tuple[Tree, ...]) -> tuple[int, ...]:
    return tuple(part for part in node if isinstance(part, int))


def _room(node: tuple[Tree, ...]) -> tuple[int, bool, int]:
    """How well questions fit a node: many terms of its own, added with what is carried, and early."""
    return len(_slots(node)), len(node) > 2, -len(leaves(node))


def _pair(every: list[tuple[Tree, ...]]) -> tuple[Tree, ...]:
    """The first addition of two terms."""
    return min((node for node in every if len(_slots(node)) == 2), key=smallest)


def _above(tree: Tree, node: tuple[Tree, ...]) -> list[tuple[Tree, ...]]:
    """The nodes above `node`, nearest first."""
    path: list[tuple[Tree, ...]] = []
    slot, here = smallest(node), tree
    while isinstance(here, tuple) and here != node:
        path.insert(0, here)
        here = next(part for part in here if slot in leaves(part))
    return path


def _trio(
    block: tuple[int, ...],
    later: tuple[int, ...],
    above: list[tuple[Tree, ...]],
    every: list[tuple[Tree, ...]],
    *,
    fused: bool,
) -> tuple[int, int, int] | None:
    if fused and len(block) >= 3:
        return block[0], block[1], block[2]
    if fused:  # a carried sum and two terms
        node = next((node for node in every if len(node) == 3 and len(_slots(node)) == 2), None)
        if node is None:
            return None
        carried = next(part for part in node if not isinstance(part, int))
        second, third = _slots(node)
        return smallest(carried), second, third
    return (block[0], block[1], later[0]) if later else None
