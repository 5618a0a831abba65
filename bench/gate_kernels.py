"""Three kernels that work block by block, as they are and with blocks done twice: real extra work, in proportion."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lastbit.discovery import find
from lastbit.kernel import Kernel

#: Blocks of rows; one of them done again is a tenth more work.
BLOCKS = 10
#: How many of them are done again: none, for 10 % and for 20 % more work.
AGAIN = (0, 1, 2)
#: Case by name of the provider's kernel, in f32.
CASES = {
    "torch/softmax": "bound normal/m320-n512",
    "torch/mm": "bound normal/m160-n128-k256",
    "torch/quantize-i8-row": "exact normal/m320-n512",
}


@dataclass(frozen=True)
class Blocked:
    """The kernel of a provider on BLOCKS blocks of rows, of which the first `again` are done twice."""

    run: Callable[..., Any]
    again: int

    def __call__(self, x: Any, *others: Any, **scalars: Any) -> Any:
        import torch

        out: list[Any] = []
        rows = x.shape[0] // BLOCKS
        for block in [*range(BLOCKS), *range(self.again)]:
            place = slice(block * rows, (block + 1) * rows)
            given = self.run(x[place], *others, **scalars)
            parts = given if isinstance(given, tuple) else (given,)
            out = out or [torch.empty((x.shape[0], *part.shape[1:]), dtype=part.dtype) for part in parts]
            for whole, part in zip(out, parts, strict=True):
                whole[place] = part
        return tuple(out) if len(out) > 1 else out[0]


def kernel(name: str, again: int) -> Kernel:
    """The blocked kernel of this provider's name, with `again` tenths of extra work."""
    plain = next(one for one in find((), (name,)).kernels if one.name == name)
    formats = next(one for one in plain.format_sets if one[next(iter(one))] == "f32")
    own = f"blocked/{name.partition('/')[2]}{f'+{again}' if again else ''}"
    return replace(plain, name=own, formats=formats, run=Blocked(plain.run, again))


def KERNELS() -> list[Kernel]:  # noqa: N802
    """All of them, by which a fresh process finds one."""
    return [kernel(name, again) for name in CASES for again in AGAIN]
