"""Ring, copies of a case's operands at different addresses, which go round so that no call finds what it knows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit import arrays, guards, harness
from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.kernel import INDICES
from lastbit.perf.evidence import Call

#: How often the last cache must fit into the copies that go round, so that a copy has left it when its turn comes.
TIMES_CACHE = 5
#: Bytes of all copies, at most; and of the last cache where the machine does not tell.
MOST_BYTES = 2**29
USUAL_CACHE = 2**25
#: Copies of a warm ring: calls in a row do not share theirs, and both stay in a cache.
WARM = 2
#: Copies at most: of operands of a few bytes no number of copies fills a cache.
MOST_COPIES = 4096
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


class Ring:
    """Copies of the operands that the timed calls take in turn; each sample finds other data at the same addresses."""

    def __init__(self, trial: Trial, calls: Sequence[Call], copies: int, seed: int = 0) -> None:
        """`copies` of the operands of `calls`, one call for each data set, all of the same shapes.

        Raises UsageError where the data sets differ in shape.
        """
        self.trial, self.calls = trial, tuple(calls)
        self._border = arrays.of(trial.kernel.framework)
        self._random = Random(seed)
        first = calls[0]
        if any(_shapes(call) != _shapes(first) for call in calls):
            raise UsageError(f"case {trial.case.id}: its data sets differ in shape, so it has no one time")
        self.copies = [harness.prepare(trial, first.operands, layouts=first.layouts) for _ in range(copies)]
        placed = self.copies[0].operands
        #: What each operand's buffer holds, by data set and name.
        self._content = [
            {name: guards.filled(name, call.operands[name], guarded.placement) for name, guarded in placed.items()}
            for call in calls
        ]
        #: The data set in each copy.
        self.holds = [0] * copies
        self._next = 0
        #: How far the latest unseen data were moved.
        self._turn = 0
        for place in range(copies):
            self.renew(place, changed=True)

    def take(self, count: int) -> list[int]:
        """The copies of the next `count` calls."""
        taken = [(self._next + i) % len(self.copies) for i in range(count)]
        self._next = (self._next + count) % len(self.copies)
        return taken

    def renew(self, place: int, *, changed: bool = False) -> None:
        """Let the copy hold a data set, drawn at random; `changed` says that it is not what it was."""
        drawn = self._random.randrange(len(self.calls))
        if drawn == self.holds[place] and not changed:
            return
        self.holds[place] = drawn
        for name, content in self._content[drawn].items():
            self._border.load(self.copies[place].operands[name].buffer, content)

    def unseen(self, place: int) -> None:
        """Put data into the copy that no call has had: the numbers of a data set in other places; `renew` ends it."""
        self._turn += 1
        for name, operand in self.calls[0].operands.items():
            guarded = self.copies[place].operands[name]
            if name not in INDICES:
                codes = np.roll(operand.codes.reshape(-1), self._turn).reshape(operand.codes.shape)
                moved = replace(operand, codes=codes)
                self._border.load(guarded.buffer, guards.filled(name, moved, guarded.placement))

    def tensors(self, place: int) -> dict[str, Any]:
        """New tensors of the copy's operands, by name."""
        return {
            name: self._border.view(guarded.buffer, guarded.placement, guarded.format)
            for name, guarded in self.copies[place].operands.items()
        }

    def changed(self, place: int, but: Sequence[str] = ()) -> str:
        """The first operand of the copy that is not what it was, except those named in `but`; "" if there is none."""
        for name, content in self._content[self.holds[place]].items():
            if name not in but and not np.array_equal(
                self._border.host(self.copies[place].operands[name].buffer), content
            ):
                return name
        return ""

    def spans(self, place: int) -> list[tuple[int, int]]:
        """Addresses of the copy's operands."""
        return [self._border.span(guarded.tensor) for guarded in self.copies[place].operands.values()]


def same_data(one: Sequence[Call], other: Sequence[Call]) -> bool:
    """Whether two kernels are called with the same bits in the same layouts, so that they can share one ring."""
    return len(one) == len(other) and all(map(_same_call, one, other))


def same_shapes(one: Call, other: Call) -> bool:
    """Whether two calls have operands of the same shapes; formats may differ."""
    shapes = ({name: operand.codes.shape for name, operand in call.operands.items()} for call in (one, other))
    return next(shapes) == next(shapes)


def copies_for(bytes_of_one: int, cache: int, *, cold: bool) -> int:
    """How many copies go round: warm a few, cold as many as no cache holds, within MOST_BYTES."""
    if not cold:
        return WARM
    wanted = TIMES_CACHE * cache
    return min(MOST_COPIES, max(2, min(wanted, MOST_BYTES) // max(bytes_of_one, 1)))


def bytes_of(call: Call) -> int:
    """Bytes of the call's operands."""
    return sum(operand.codes.nbytes for operand in call.operands.values())


def last_cache(folder: Path = CACHES) -> int:
    """Bytes of the CPU's last cache, as Linux tells it."""
    sizes = []
    for path in folder.glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdigit():
            sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1], 1))
    return max(sizes, default=USUAL_CACHE)


def _shapes(call: Call) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (operand.codes.shape, operand.format) for name, operand in call.operands.items()}


def _same_call(one: Call, other: Call) -> bool:
    same = _shapes(one) == _shapes(other) and one.layouts == other.layouts
    return same and all(_same_bits(one.operands, other.operands, name) for name in one.operands)


def _same_bits(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    codes: tuple[NDArray[Any], NDArray[Any]] = (one[name].codes, other[name].codes)
    return codes[0] is codes[1] or np.array_equal(*codes)
