"""P19: whether a kernel's bits depend on the batch and on the place in a result."""

from collections.abc import Callable

import numpy as np

from lastbit.suites.probes import trees
from lastbit.suites.probes.access import Access, AccessError, Shape
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.draws import noise
from lastbit.suites.probes.span import Array

#: The kernel at a shape.
At = Callable[[Shape], Access]

#: Rows or columns of a batch that a kernel's tiles, vectors and special cases may treat apart.
PARTS = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33)


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
        if not equal(got, full[:part] if rows else full[:, :part]):
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


def equal(x: Array, y: Array) -> bool:
    """Whether results are equal, NaN to NaN."""
    return bool(np.array_equal(x, y, equal_nan=True))
