"""What a recipe of scaled GEMM is given and gives: sides, sizes, random numbers; codes and scales."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.draw import Draw
from lastbit.references.formats import Format
from lastbit.references.scaling import Scaling

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one operand before it is drawn; the summed dimension is its last."""

    format: Format
    scaling: Scaling | None
    rows: int
    k: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the codes."""
        return (self.rows, self.k)

    @property
    def scale_format(self) -> Format | None:
        """Format of the scales, or None."""
        name = None if self.scaling is None else self.scaling.scale_format
        return None if name is None else Format.of(name)

    @property
    def offset(self) -> bool:
        """Whether codes have a zero point."""
        return self.scaling is not None and (self.scaling.zero_point is not None or self.scaling.fixed_zero != 0)

    @property
    def drawn_as(self) -> Format:
        """Format of code - zero point that every zero point leaves room for."""
        return Format.of("i4") if self.offset else self.format

    @property
    def reach(self) -> float:
        """Largest code - zero point that is drawn."""
        return self.drawn_as.max


@dataclass(frozen=True, slots=True)
class ScaledDraw:
    """Sizes, formats and scalings of a case, and the generator to draw from."""

    rng: np.random.Generator
    a: Side
    b: Side
    out: Format
    #: Integers up to 2^exact_bits are summed exactly, in any order.
    exact_bits: int
    #: Significand bits that the kernel keeps of its operands.
    precision: int
    #: Largest exponent of a power-of-two scale.
    reach: int

    def gemm(self, *, exact_bits: int | None = None, out: Format | None = None) -> Draw:
        """The same sizes as a draw of GEMM's recipes: integers are codes less zero points."""
        return Draw(
            self.rng,
            None,
            self.a.rows,
            self.b.rows,
            self.a.k,
            self.a.drawn_as,
            self.b.drawn_as,
            out or Format.of("f32"),
            self.exact_bits if exact_bits is None else exact_bits,
            self.precision,
        )

    @property
    def spread(self) -> int:
        """Binades that the scales of one row are spread over, where an accumulator has bits for that."""
        return int(np.clip((self.exact_bits - 8) // 4, 1, 4))


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recipe draws: code - zero point, a (m, k) and b (n, k), and scales of each side's shape (or None)."""

    a: Array
    b: Array
    scale_a: Array | None
    scale_b: Array | None
    #: a and b are codes, and zero points are at the ends of their range.
    codes: bool = False


@dataclass(frozen=True, slots=True)
class ScaledRecipe:
    """A way to draw a scaled product: its name, what it is for, and the function that draws it."""

    name: str
    why: str
    draw: Callable[[ScaledDraw], Contents]
    #: Every sum is exact in the declared accumulator in any order, so the answer is unique.
    exact: bool = False
    #: Whether the sides and the output have what it needs.
    needs: Callable[[Side, Side, Format], bool] = lambda a, b, out: True


def powers(draw: ScaledDraw, side: Side, spread: int = 0, reach: int | None = None) -> Array | None:
    """A power of two for each scale: neighbouring rows differ, and with `spread` neighbouring groups of k too."""
    fmt = side.scale_format
    if fmt is None or side.scaling is None:
        return None
    reach = draw.reach if reach is None else reach
    shape = side.scaling.scale_shape(side.shape)
    low = max(fmt.emin, -reach)
    width = max(1, min(fmt.emax, reach) - spread - low + 1)
    rows, groups = shape if shape else (1, 1)
    start, phase = draw.rng.integers(0, width), draw.rng.integers(0, spread + 1)
    place = (np.arange(rows) * 5 + start) % width
    step = (np.arange(rows)[:, None] + np.arange(groups) + phase) % (spread + 1)
    return np.ldexp(1.0, low + place[:, None] + step).reshape(shape)


def random_scales(draw: ScaledDraw, side: Side, *, along_k: bool = True) -> Array | None:
    """Scales that bring a side's codes to about 1, two binades up or down; those of one row alike without `along_k`."""
    fmt = side.scale_format
    if fmt is None or side.scaling is None:
        return None
    shape = side.scaling.scale_shape(side.shape)
    drawn = shape if along_k or not shape else (shape[0], 1)
    scales = 3 / side.reach * np.exp2(draw.rng.uniform(-2, 2, drawn))
    rounded: Array = fmt.round(np.broadcast_to(scales, shape), overflow="saturate")
    return np.maximum(rounded, fmt.min_normal)
