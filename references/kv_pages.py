"""Handing out the pages of a KV cache: arrangements for test data, and a pool with forks and copy on write."""

from dataclasses import dataclass, field

import numpy as np

from lastbit.references.kv_cache import Layout

#: How pages are handed out: in order; in a random order; from last to first; the first pages of all sequences the same;
#: at the top of a pool of many pages.
ARRANGEMENTS = ("ordered", "shuffled", "reversed", "shared", "top")
#: Pages that no sequence holds, at least.
SPARE_PAGES = 3


class OutOfPagesError(Exception):
    """A pool has no page left."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where tokens go, and which pages are to be copied before they are written."""

    slots: tuple[int, ...]
    #: (from, to) pairs of pages.
    copies: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Pool:
    """Which pages each sequence holds; forks share all of them, and who appends to a shared page gets a copy."""

    pages: int
    block: int
    #: Page ids by sequence, and tokens.
    tables: dict[int, list[int]] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)
    #: How many sequences hold each page that is held.
    users: dict[int, int] = field(default_factory=dict)
    #: Pages that nobody holds; the one freed last is taken first.
    free: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = self.free or list(range(self.pages))[::-1]

    def append(self, sequence: int, tokens: int) -> Placed:
        """Places for `tokens` more tokens of a sequence, a new one if it is not known.

        Raises OutOfPagesError, and changes nothing, when there are too few pages.
        """
        table, length = self.tables.get(sequence, []), self.lengths.get(sequence, 0)
        shared = length % self.block != 0 and self.users[table[-1]] > 1
        needed = -(-(length + tokens) // self.block) - len(table) + (shared and tokens > 0)
        if needed > len(self.free):
            raise OutOfPagesError(
                f"sequence {sequence} needs {needed} pages, {len(self.free)} of {self.pages} are free"
            )
        table = self.tables.setdefault(sequence, [])
        copies = []
        if shared and tokens:
            copies.append((table[-1], self.free[-1]))
            self.users[table[-1]] -= 1
            table[-1] = self._take()
        while len(table) * self.block < length + tokens:
            table.append(self._take())
        self.lengths[sequence] = length + tokens
        places = range(length, length + tokens)
        return Placed(tuple(table[t // self.block] * self.block + t % self.block for t in places), tuple(copies))

    def fork(self, parent: int, child: int) -> None:
        """A new sequence with the tokens of `parent`, in the same pages."""
        self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]
        for page in self.tables[child]:
            self.users[page] += 1

    def evict(self, sequence: int) -> tuple[int, ...]:
        """Forget a sequence; the pages that nobody holds any more."""
        freed = []
        for page in self.tables.pop(sequence):
            self.users[page] -= 1
            if not self.users[page]:
                del self.users[page]
                freed.append(page)
        self.free += freed
        del self.lengths[sequence]
        return tuple(freed)

    def layout(self, *sequences: int) -> Layout:
        """The layout of some sequences, in this order; entries beyond a sequence name page 0."""
        width = max(len(self.tables[sequence]) for sequence in sequences)
        table = np.zeros((len(sequences), width), np.int64)
        for row, sequence in enumerate(sequences):
            table[row, : len(self.tables[sequence])] = self.tables[sequence]
        return Layout(table, np.array([self.lengths[sequence] for sequence in sequences], np.int64), self.block)

    def _take(self) -> int:
        page = self.free.pop()
        self.users[page] = 1
        return page


def lengths(count: int, longest: int, block: int, *, least: int = 1) -> list[int]:
    """Tokens of `count` sequences: the longest, 1, a page, one more and one less, and all but one; at least `least`."""
    wanted = (longest, 1, block, block + 1, block - 1, longest - 1, 2 * block, 2 * block + 1)
    return [min(longest, max(least, wanted[i % len(wanted)])) for i in range(count)]


def arranged(
    rng: np.random.Generator, tokens: list[int], block: int, arrangement: str, pages: int | None = None
) -> tuple[Layout, int]:
    """Pages for sequences of `tokens`, and the number of pages of the pool; entries past a sequence name spare pages.

    Raises ValueError for an arrangement that ARRANGEMENTS does not list.
    """
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f"arrangement is {arrangement!r}, expected one of {', '.join(ARRANGEMENTS)}")
    needed = [-(-number // block) for number in tokens]
    total = max(pages or 0, sum(needed) + SPARE_PAGES)
    ids = np.arange(total)
    if arrangement in ("shuffled", "shared"):
        ids = rng.permutation(total)
    elif arrangement in ("reversed", "top"):
        ids = ids[::-1]
    free = ids.tolist()
    table = np.full((len(tokens), max(needed) + 1), free[-1], np.int64)
    for sequence, count in enumerate(needed):
        shared = min(tokens[0], tokens[sequence]) // block if arrangement == "shared" and sequence else 0
        table[sequence, :shared] = table[0, :shared]
        table[sequence, shared:count] = [free.pop(0) for _ in range(count - shared)]
    return Layout(table, np.array(tokens, np.int64), block), total
