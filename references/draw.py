"""Draw, what a recipe is given (sizes, formats, random numbers), and the pieces that recipes are made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draw:
    """Sizes and formats of a GEMM case, and the generator to draw from."""

    rng: np.random.Generator
    #: Leading dimension of both operands, or None for plain matrices.
    batch: int | None
    m: int
    n: int
    k: int
    a: Format
    b: Format
    out: Format
    #: Integers up to 2^exact_bits are summed exactly, in any order.
    exact_bits: int
    #: Significand bits that the kernel keeps of its operands.
    precision: int

    @property
    def lead(self) -> tuple[int, ...]:
        """Leading shape of both operands."""
        return () if self.batch is None else (self.batch,)

    @property
    def a_shape(self) -> tuple[int, ...]:
        """Shape of operand a."""
        return (*self.lead, self.m, self.k)

    @property
    def b_shape(self) -> tuple[int, ...]:
        """Shape of operand b."""
        return (*self.lead, self.k, self.n)

    @property
    def a_bits(self) -> int:
        """Significand bits of a that reach the product."""
        return min(self.a.precision, self.precision)

    @property
    def b_bits(self) -> int:
        """Significand bits of b that reach the product."""
        return min(self.b.precision, self.precision)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to draw operands: its name, what it is for, and the function that draws float64 values of a and b."""

    name: str
    why: str
    draw: Callable[[Draw], tuple[Array, Array]]
    #: Every sum of products is exact in the declared accumulator in any order, so the answer is unique.
    exact: bool = False
    #: Whether formats (a, b, out) have what it needs.
    needs: Callable[[Format, Format, Format], bool] = lambda a, b, out: True


def is_integer(fmt: Format) -> bool:
    """Whether the format's values are the integers of a range."""
    return fmt.kind == "integer"


def integer_limit(fmt: Format, bits: int) -> int:
    """Largest n such that every integer of magnitude up to n is in the format with `bits` significand bits."""
    if is_integer(fmt):
        return int(fmt.max)
    return int(min(2**bits, fmt.max))


def signs(draw: Draw, shape: tuple[int, ...], fmt: Format) -> Array:
    """Random signs, all +1 for an unsigned format."""
    if not fmt.signed:
        return np.ones(shape)
    return draw.rng.choice(np.array([-1.0, 1.0]), shape)


def significands(draw: Draw, shape: tuple[int, ...], bits: int, fmt: Format) -> Array:
    """Random signed values in [1, 2) with all `bits` significand bits in use; integers of an integer format."""
    if is_integer(fmt):
        low = 0 if not fmt.signed else -int(fmt.max)
        return draw.rng.integers(low, int(fmt.max) + 1, shape).astype(np.float64)
    whole = draw.rng.integers(2 ** (bits - 1), 2**bits, shape) | 1 if bits > 1 else np.ones(shape, np.int64)
    return np.ldexp(whole.astype(np.float64), 1 - bits) * signs(draw, shape, fmt)


def exponents(draw: Draw, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int64]:
    """Random exponents in [low, high]."""
    return draw.rng.integers(low, max(low, high) + 1, shape)


def shrink(a: Array, b: Array, draw: Draw) -> tuple[Array, Array]:
    """Scale a and b by powers of two so that sum |a_i b_i| stays within the output format.

    Integer formats cannot be scaled and are returned as they are.
    """
    if is_integer(draw.a) or is_integer(draw.b) or is_integer(draw.out) or not a.size or not b.size:
        return a, b
    largest = float((np.abs(a) @ np.abs(b)).max(initial=0.0))
    if largest <= draw.out.max:
        return a, b
    shift = int(np.ceil(np.log2(largest / draw.out.max)))
    # The operand with the wider range takes the larger part.
    room_a, room_b = -draw.a.emin, -draw.b.emin
    shift_a = min(shift, round(shift * room_a / (room_a + room_b)))
    return np.ldexp(a, -shift_a), np.ldexp(b, shift_a - shift)
