"""What a recipe of scaled GEMM is given and gives: sides, sizes, random numbers; codes and scales."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.draw import Draw, is_integer
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
    def signed_scales(self) -> bool:
        """Whether a scale may be negative."""
        fmt = self.scale_format
        return fmt is not None and fmt.signed and self.scaling is not None and not self.scaling.unsigned_scales

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
    #: a and b are codes, and zero points are at the ends of their range, the first of `first_end`: 0 low, 1 high.
    codes: bool = False
    first_end: int = 0
    #: Which scales have a sign of their own: "rows" (all scales of a row of codes have one), "each", or "none".
    signs: str = "rows"
    #: The scale of the tensors, where the scaling has one; None: any.
    global_scale: float | None = None


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


def with_signs(draw: ScaledDraw, side: Side, scales: Array | None, signs: str) -> Array | None:
    """Scales of which half are negative, where the side has negative ones; `signs` as `Contents.signs`."""
    if scales is None or signs == "none" or not side.signed_scales or not draw.out.signed:
        return scales
    shape = (*scales.shape[:-1], 1) if signs == "rows" and scales.ndim else scales.shape
    made: Array = scales * draw.rng.choice(np.array([-1.0, 1.0]), shape)
    return made


def random_pair(one: ScaledDraw, *, along_k: bool = True) -> tuple[Array | None, Array | None]:
    """`random_scales` of both sides."""
    return random_scales(one, one.a, along_k=along_k), random_scales(one, one.b, along_k=along_k)


def normal_codes(one: ScaledDraw, side: Side) -> Array:
    """N(0, 1) times a third of the largest code, or N(0, 1) of a plain operand.

    Two rows have one sign: there the sum is as large as its weight, so that no budget is vacuous.
    """
    size = 1.0 if side.scale_format is None else side.reach / 3
    drawn: Array = one.rng.standard_normal(side.shape) * size
    for row in {side.rows // 2, side.rows - 1}:
        drawn[row] = np.abs(drawn[row])
    if not side.drawn_as.signed:
        drawn = np.abs(drawn)
    return np.rint(drawn) if is_integer(side.format) else drawn


def groups_of(side: Side) -> int:
    """How many groups along k have a scale of their own."""
    shape = () if side.scaling is None else side.scaling.scale_shape(side.shape)
    return shape[1] if shape else 1
