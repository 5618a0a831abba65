"""AttentionDraw, what a recipe for attention is given, and AttentionRecipe, what it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.attention_mask import Problem, kept
from lastbit.references.formats import Format

Array = NDArray[np.float64]
Triple = tuple[Array, Array, Array]


@dataclass(frozen=True, slots=True)
class AttentionDraw:
    """Sizes, formats and options of a case, and the generator to draw from."""

    rng: np.random.Generator
    batch: int
    hq: int
    hkv: int
    lq: int
    lk: int
    d: int
    dv: int
    formats: Mapping[str, str]
    #: scale (a number, never None), causal, causal_alignment, window, softcap: as in Problem.
    options: Mapping[str, Any]
    #: Of "mask", "bias", "sinks", those that the call has.
    extras: tuple[str, ...] = ()

    def fmt(self, name: str) -> Format:
        """The format of an operand."""
        return Format.of(self.formats[name])

    def normals(self) -> Triple:
        """q, k and v from N(0, 1), so that logits are about N(0, 1) at scale 1/sqrt(d)."""
        shapes = (self.batch, self.hq, self.lq, self.d), (self.batch, self.hkv, self.lk, self.d)
        q, k = (self.rng.standard_normal(shape) for shape in shapes)
        return q, k, self.rng.standard_normal((self.batch, self.hkv, self.lk, self.dv))

    def keep(self, mask: Array | None = None) -> NDArray[np.bool_]:
        """Which keys each query attends to, (b, hq, lq, lk), by causal, window and a boolean `mask`."""
        shell = Problem(
            np.zeros((self.batch, self.hq, self.lq, self.d)),
            np.zeros((self.batch, self.hkv, self.lk, self.d)),
            np.zeros((self.batch, self.hkv, self.lk, self.dv)),
            causal=bool(self.options.get("causal")),
            causal_alignment=self.options.get("causal_alignment", "bottom-right"),
            window=self.options.get("window"),
            mask=None if mask is None else mask != 0,
        )
        rows = slice(0, self.lq)
        return np.array([[kept(shell, b, h, rows) for h in range(self.hq)] for b in range(self.batch)])


@dataclass(frozen=True, slots=True)
class AttentionRecipe:
    """A way to draw q, k and v: its name, what it is for, and whether one answer is right bit for bit."""

    name: str
    why: str
    draw: Callable[[AttentionDraw, Array | None], Triple]
    exact: bool = False
    #: "" if sizes, formats and options have what it needs, else why not.
    needs: Callable[[AttentionDraw], str] = lambda draw: ""
