"""Groups, how a quantizer is asked: groups of numbers in, their scales and codes out, whatever the granularity."""

from dataclasses import dataclass
from math import lcm, prod

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import scaling_of
from lastbit.scaled_storage import read
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.op_access import Array, Ask, exact

#: Numbers of a row or column that has one scale, and of a tensor.
LENGTH, TENSOR = 64, 1024
#: Groups of a call are filled up to a multiple of so many: rows of a tile, and codes that share bytes.
ROUND = 32
#: Numbers of a call, at most, where groups are large.
MOST = 1 << 18


@dataclass(frozen=True, slots=True)
class Found:
    """What groups became."""

    #: Worth of each group's scale, (m,); NaN where it is.
    scale: Array
    #: Worth of each code, (m, size).
    elements: Array
    #: Worth of the scale of the tensor, 1 without one.
    top: float
    #: Operand and result in the kernel's shape.
    x: Array
    quantized: Quantized


@dataclass(frozen=True, slots=True)
class Groups:
    """A quantizer that is asked group by group."""

    ask: Ask
    scaling: Scaling

    @property
    def size(self) -> int:
        """Numbers of a group."""
        kind, chosen = self.scaling.granularity, self.scaling
        if kind == "group":
            return chosen.group
        return (
            prod(chosen.block)
            if kind == "block"
            else lcm(TENSOR if kind == "tensor" else LENGTH, self.ask.kernel.tile.get("n", 1))
        )

    def count(self, wanted: int) -> int:
        """So many groups, or as many as a call takes, at least 8."""
        return min(wanted, max(8, MOST // self.size))

    @property
    def x(self) -> Format:
        """Format of the numbers."""
        return Format.of(self.ask.formats["x"])

    def __call__(self, groups: Array) -> Found:
        """What groups (m, size) become, in one call, or where the tensor has one scale in a call each.

        Raises AccessError where the kernel gives no result, or one that is no code.
        """
        if self.scaling.granularity != "tensor":
            return self._together(groups)
        apart = [self._together(group[None]) for group in groups]
        return Found(
            np.concatenate([one.scale for one in apart]),
            np.concatenate([one.elements for one in apart]),
            apart[-1].top,
            apart[-1].x,
            apart[-1].quantized,
        )

    def _together(self, groups: Array) -> Found:
        count = len(groups)
        unit = ROUND if self.scaling.granularity in ("row", "column", "group") else 1
        full = np.resize(groups, (-(-count // unit) * unit, groups.shape[1]))
        x = self._placed(full)
        self.ask.spent.sums += x.size
        got = self.ask({"x": exact(x, self.x.name)})
        arrays = [codes for codes in (got.codes, *got.others) if codes is not None]
        found, strange = read(arrays, self.scaling, x.shape)
        if found is None:
            raise AccessError(f"{self.ask.kernel.name}: {strange}")
        scale = _decoded(self.scaling.scale_format, found.scale).reshape(-1)
        top = _decoded(self.scaling.global_scale, found.global_scale)
        elements = self._taken(Format.of(self.scaling.element).decode(found.codes), full.shape)
        return Found(scale[:count], elements[:count], float(top.reshape(-1)[0]), x, found)

    def _placed(self, groups: Array) -> Array:
        kind, chosen = self.scaling.granularity, self.scaling
        if kind == "column" or (kind == "group" and chosen.axis != -1):
            return np.ascontiguousarray(groups.T)
        if kind == "block":
            return groups.reshape(-1, chosen.block[1])
        if kind == "group":
            wide = lcm(chosen.group, self.ask.kernel.tile.get("n", 1))
            return groups.reshape(-1, wide)
        return groups

    def _taken(self, values: Array, shape: tuple[int, ...]) -> Array:
        kind, chosen = self.scaling.granularity, self.scaling
        if kind == "column" or (kind == "group" and chosen.axis != -1):
            return values.T
        return values.reshape(shape)


def groups_of(ask: Ask) -> Groups:
    """The access to a quantizer.

    Raises AccessError for one whose scales are given: it has no rule.
    """
    scaling = scaling_of(ask.kernel)
    if scaling.rule == "given" or scaling.scale_format is None:
        raise AccessError(f"{ask.kernel.name}: its scales are given, so it has no rule to find")
    return Groups(ask, scaling)


def with_amax(amax: Array, size: int, x: Format) -> Array:
    """Groups (m, size) with these largest magnitudes, each anywhere and of either sign; the others are smaller."""
    rng = np.random.default_rng(26)
    smaller = x.round(np.abs(amax)[:, None] * rng.uniform(-0.4, 0.4, (len(amax), size)))
    place = rng.integers(0, size, len(amax))
    smaller[np.arange(len(amax)), place] = amax * np.where(rng.random(len(amax)) < 0.5, -1.0, 1.0)
    return smaller


def _decoded(fmt: str | None, codes: NDArray[np.unsignedinteger] | None) -> Array:
    if fmt is None or codes is None:
        return np.ones(1)
    return Format.of(fmt).decode(codes)
