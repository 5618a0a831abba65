"""Summation trees: which terms a kernel adds first, built from what large terms swamp, named and drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lastbit.references.tree_sums import nodes as nodes

#: A term's slot, or what is added at once: two parts, or more where they are fused. Parts are in order of their
#: smallest slot, for addition commutes.
Tree = int | tuple["Tree", ...]
#: Leaves below the lowest node that has both slots, of one slot and each of others.
Common = Callable[[int, Sequence[int]], Sequence[int]]


#: Widest interleaving that an order is looked for at, unless the width divides the terms.
LANES = 64


class NoTreeError(ValueError):
    """The counts are those of no tree."""


def build(slots: Sequence[int], common: Common) -> Tree:
    """The tree over `slots`, from the number of leaves below the lowest common node of pairs.

    Asks for n - 1 pairs if terms are added one after the other, for n (n - 1) / 2 if every node is fused or the first
    slot is always added last.
    Source: Xie et al., FPRev, USENIX ATC 2025 (arXiv 2411.00442), section 5.

    Raises NoTreeError where the counts contradict one another.
    """
    tree, size = _subtree(list(slots), common)
    if size != len(slots):
        raise NoTreeError(f"{size} of {len(slots)} terms meet")
    return tree


def leaves(tree: Tree) -> list[int]:
    """The slots of a tree, in its order."""
    found: list[int] = []
    left: list[Tree] = [tree]
    while left:
        part = left.pop()
        if isinstance(part, int):
            found.append(part)
        else:
            left.extend(reversed(part))
    return found


def smallest(tree: Tree) -> int:
    """The smallest slot of a tree, which is its first."""
    while not isinstance(tree, int):
        tree = tree[0]
    return tree


def joined(*parts: Tree) -> Tree:
    """The tree that adds the given parts at once."""
    return tuple(sorted(parts, key=smallest))


def fused_leaves(tree: Tree) -> int:
    """Most terms that one node adds at once besides a carried sum, where any adds three parts or more; else 1."""
    fused = [node for node in nodes(tree) if len(node) > 2]
    return max((sum(isinstance(part, int) for part in node) for node in fused), default=1)


def sequential(parts: Sequence[Tree]) -> Tree:
    """Each part added to the sum of those before it."""
    total = parts[0]
    for part in parts[1:]:
        total = joined(total, part)
    return total


def balanced(parts: Sequence[Tree]) -> Tree:
    """Neighbours added, then neighbours of those, as a binary counter of partial sums does."""
    stack: list[tuple[int, Tree]] = []
    for part in parts:
        size, total = 1, part
        while stack and stack[-1][0] == size:
            total, size = joined(stack.pop()[1], total), 2 * size
        stack.append((size, total))
    total = stack.pop()[1]
    while stack:
        total = joined(stack.pop()[1], total)
    return total


def halves(parts: Sequence[Tree]) -> Tree:
    """Two halves added, each a tree of halves."""
    middle = len(parts) // 2
    return parts[0] if len(parts) == 1 else joined(halves(parts[:middle]), halves(parts[middle:]))


def named(k: int, order: str, width: int = 0) -> Tree:
    """The tree of an order of references.accumulators over k terms."""
    slots = list(range(k))
    if order == "sequential":
        return sequential(slots)
    if order == "pairwise":
        return balanced(slots)
    if order == "lanes":
        return balanced([sequential(slots[lane::width]) for lane in range(min(width, k))])
    if order == "tree-blocks":
        return sequential([halves(slots[start : start + width]) for start in range(0, k, width)])
    length = width if order == "blocked" else -(-k // width)
    return sequential([sequential(slots[start : start + length]) for start in range(0, k, length)])


def fused(slots: Sequence[int], terms: int, *, late: bool = False) -> Tree:
    """Blocks of `terms` slots added at once, with the sum carried so far; `late`: that is added to each block after."""
    blocks = [tuple(slots[start : start + terms]) for start in range(0, len(slots), terms)]
    parts: list[Tree] = [block[0] if len(block) == 1 else block for block in blocks]
    if late:
        return sequential(parts)
    total = parts[0]
    for block in blocks[1:]:
        total = joined(total, *block)
    return total


@dataclass(frozen=True, slots=True)
class Order:
    """An order of additions as references.accumulators names it."""

    order: str
    width: int = 0
    #: Of fused blocks: terms after which the sum is added to one in f32, and whether every block is.
    promote: int = 0
    late: bool = False

    @property
    def text(self) -> str:
        """The order in words."""
        if self.late:
            return "blocks, each added to the sum afterwards"
        if self.promote:
            return f"in sequence, the sum handed on every {self.promote} terms"
        words = {
            "sequential": "in sequence",
            "pairwise": "pairwise",
            "lanes": f"{self.width} interleaved sums, added pairwise",
            "blocked": f"sums of {self.width} terms, added in sequence",
            "split": f"{self.width} contiguous sums, added in sequence",
            "tree-blocks": f"each {self.width} terms as a tree, added to the sum",
        }
        return words[self.order]


def orders(tree: Tree) -> list[Order]:
    """The orders whose tree over the slots 0 to k - 1 this is, the simplest first."""
    k, terms = len(leaves(tree)), fused_leaves(tree)
    if terms > 1:
        return _fused_orders(tree, k, terms)
    widths = [width for width in range(2, k) if width <= LANES or k % width == 0]
    plain = [Order("sequential"), Order("pairwise")]
    wide = [Order(kind, width) for kind in ("lanes", "tree-blocks", "blocked", "split") for width in widths]
    return [one for one in (*plain, *wide) if named(k, one.order, one.width) == tree]


def _fused_orders(tree: Tree, k: int, terms: int) -> list[Order]:
    slots = list(range(k))
    found = [Order("sequential", late=late) for late in (False, True) if fused(slots, terms, late=late) == tree]
    for length in range(terms, k, 1):
        parts = -(-k // length)
        if parts < 2 or parts > k // terms:
            continue
        blocks = [fused(slots[start : start + length], terms) for start in range(0, k, length)]
        if sequential(blocks) == tree:
            found += [Order("sequential", promote=length)] if length % terms == 0 else []
            found += [Order("split", parts)] if length == -(-k // parts) else []
    return found


def draw(tree: Tree) -> str:
    """The tree in a line, runs of slots shortened: "(0..15)" is added in sequence, "{0..15}" at once."""
    if isinstance(tree, int):
        return str(tree)
    if len(tree) > 2:
        slots = [part for part in tree if isinstance(part, int)]
        carried = [draw(part) + ", " for part in tree if not isinstance(part, int)]
        return "{" + "".join(carried) + _runs(slots) + "}"
    chain, rest = _chain(tree)
    texts: list[str] = []
    run: list[int] = []
    for part in (rest, *chain, None):
        if isinstance(part, int):
            run.append(part)
            continue
        if run:
            first = not texts and len(run) > 1 and part is not None
            texts.append(f"({_runs(run, '+')})" if first else _runs(run, "+"))
            run = []
        texts += [] if part is None else [draw(part)]
    return "(" + " + ".join(texts) + ")"


def _chain(tree: Tree) -> tuple[list[Tree], Tree]:
    """The parts that are added in turn to what is left of the tree."""
    parts: list[Tree] = []
    while isinstance(tree, tuple) and len(tree) == 2:
        tree, last = tree
        parts.insert(0, last)
    return parts, tree


def _runs(slots: Sequence[int], sign: str = ",") -> str:
    """Slots with runs of four and more of one step shortened: "0..15", "1,3,..,15"."""
    texts: list[str] = []
    left = list(slots)
    while left:
        length = 1
        while length < len(left) and left[length] - left[length - 1] == left[1] - left[0]:
            length += 1
        run = left[:length] if length > 3 else left[:1]
        step = run[1] - run[0] if len(run) > 1 else 1
        shown = f"{run[0]}..{run[-1]}" if step == 1 else sign.join((str(run[0]), str(run[1]), "..", str(run[-1])))
        texts.append(shown if len(run) > 1 else str(run[0]))
        left = left[len(run) :]
    return sign.join(texts)


def _subtree(group: list[int], common: Common) -> tuple[Tree, int]:
    """The tree over `group`, and the leaves below its topmost node: more than the group's where others share it."""
    first, rest = group[0], group[1:]
    tree: Tree = first
    if not rest:
        return tree, 1
    counts = dict(zip(rest, common(first, rest), strict=True))
    top = members = 1
    for count in sorted(set(counts.values())):
        if top != members:  # only the topmost node may be shared with others
            raise NoTreeError(f"{members} terms meet where {top} should")
        same = [slot for slot in rest if counts[slot] == count]
        part, size = _subtree(same, common)
        if isinstance(part, tuple) and size == count:  # they meet in the node that they meet the first slot in
            tree = joined(tree, *part)
        elif size == len(same):
            tree = joined(tree, part)
        else:
            raise NoTreeError(f"{len(same)} terms meet where {size} should")
        top, members = count, members + len(same)
    return tree, top
