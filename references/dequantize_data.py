"""Quantized tensors by recipe: every code, every scale, distinct scales, zero points, products beside ties."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized
from lastbit.references.quantize_draw import QuantizeDraw, stepped
from lastbit.references.scaling import Scaling

#: Global scales that are tried.
CANDIDATES = 16

Array = NDArray[np.float64]
Codes = NDArray[Any]


@dataclass(frozen=True)
class DequantizeDraw(QuantizeDraw):
    """A draw of codes; `x` is the format that they are dequantized to."""

    @property
    def element(self) -> Format:
        """The format of the codes."""
        return Format.of(self.scaling.element)

    @property
    def scale(self) -> Format:
        """The format of the scales; of a scaling without any, f32."""
        return Format.of(self.scaling.scale_format or "f32")

    def codes(self) -> Codes:
        """Any finite codes."""
        found = self.finite(self.element)
        return found[self.rng.integers(0, found.size, self.shape)]

    def finite(self, fmt: Format) -> Codes:
        """All finite codes of a format of at most 16 bits."""
        codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
        return codes[np.isfinite(fmt.decode(codes))]

    def each(self, fmt: Format, values: Array) -> Codes:
        """One number for each group, rounded to `fmt`, as codes in the shape of the scales."""
        shape = self.scaling.scale_shape(self.shape)
        return fmt.encode(values.reshape(shape), overflow="saturate")


@dataclass(frozen=True, slots=True)
class DequantizeRecipe:
    """A way to draw a quantized tensor: its name, what it is for, and the function that draws codes and scales."""

    name: str
    why: str
    #: Codes (.., m, n), and the numbers that the groups' scales (count,) round.
    draw: Callable[[DequantizeDraw], tuple[Codes, Array]]
    #: Whether the output format and the scaling have what it needs.
    needs: Callable[[Format, Scaling], bool] = lambda out, scaling: True


def quantized(recipe: str, out: str, scaling: Scaling, sizes: Mapping[str, int], seed: int) -> Quantized:
    """Codes (.., m, n), scales, zero points and global scale; `sizes` are m and n, and batch before them if any.

    The same arguments give the same bits on every machine (PCG64 and exact rounding).
    Raises KeyError for a recipe that RECIPES does not list, ScalingError for a shape that cannot be scaled.
    """
    shape = tuple(sizes.values())
    rng = np.random.default_rng([seed, zlib.crc32(f"{recipe} {out} {scaling.name} {shape}".encode())])
    draw = DequantizeDraw(rng, shape, Format.of(out), scaling)
    if all(shape):
        codes, scales = RECIPES[recipe].draw(draw)
    else:
        codes, scales = np.zeros(shape, draw.element.code_dtype), np.ones(draw.count)
    zero, top = None, None
    if scaling.zero_point is not None:
        zero = _zero_points(draw, every=recipe == "zero_points")
    if scaling.global_scale is not None:
        exponent = 2.0 ** int(rng.integers(-3, 3))
        value = exponent if recipe in POWERS else exponent * _disputed(draw, Format.of(scaling.global_scale))
        top = Format.of(scaling.global_scale).encode(np.array(value))
    return Quantized(codes, draw.each(draw.scale, scales) if scaling.scale_format else None, zero, top)


def applicable(recipe: str, out: str, scaling: Scaling) -> bool:
    """Whether the output format and the scaling have what the recipe needs."""
    return RECIPES[recipe].needs(Format.of(out), scaling)


def every_code(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """All finite codes one after the other, scales powers of two: no rounding, every table entry."""
    found = draw.finite(draw.element)
    codes = found[np.arange(int(np.prod(draw.shape))) % found.size].reshape(draw.shape)
    return codes, np.ldexp(1.0, draw.rng.integers(-3, 4, draw.count))


def random_codes(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Any codes, scales of many digits."""
    return draw.codes(), np.ldexp(draw.rng.uniform(1.0, 2.0, draw.count), draw.rng.integers(-5, 4, draw.count))


def every_scale(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """All finite scales of at most 8 bits; of wider ones all exponents, subnormal ones among them."""
    fmt = draw.scale
    if fmt.bits <= 8:
        found = fmt.decode(draw.finite(fmt))
        found = found[~np.signbit(found)]
        return draw.codes(), found[(np.arange(draw.count) * 7 + int(draw.rng.integers(0, 7))) % found.size]
    low = fmt.emin - fmt.precision + 1
    exponents = draw.rng.permutation(np.linspace(low, fmt.emax - 1, max(draw.count, 2)).astype(np.int64))[: draw.count]
    return draw.codes(), np.ldexp(draw.rng.uniform(1.0, 2.0, draw.count), exponents)


def placed(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Scales of very different powers of two, no neighbours alike: a swapped axis, offset or layout shows."""
    return draw.codes(), np.ldexp(1.0, draw.powers_apart())


def zero_points(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Every zero point in turn, under the smallest, the largest and any codes."""
    ends = draw.element.encode(np.array([draw.scaling.low, draw.scaling.high]))
    codes = np.where(draw.rng.random(draw.shape) < 0.3, draw.rng.choice(ends, draw.shape), draw.codes())
    return codes.astype(draw.element.code_dtype), draw.rng.uniform(0.5, 1.0, draw.count)


def beside_ties(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Products that f32 rounds to a tie of the output format, and which are none: rounded twice, they go wrong."""
    values = draw.element.decode(draw.finite(draw.element))
    odd = np.unique(np.abs(values[(values != 0)]))
    element = draw.rng.choice(odd, draw.count)
    whole = 2 ** (draw.x.precision - 1)
    middle = (draw.rng.integers(whole, 2 * whole, draw.count) + 0.5) / whole
    scale = draw.scale.round(middle / element)
    scale = stepped(draw.scale, scale, draw.rng.integers(-1, 2, draw.count).astype(float))
    codes = draw.element.encode(element[draw.group] * (draw.signs(draw.shape) if draw.element.signed else 1.0))
    return np.where(draw.rng.random(draw.shape) < 0.5, codes, draw.codes()).astype(codes.dtype), scale


def special(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Codes of NaN, infinities and zeros, and scales of 0, NaN and infinity, where the formats have them."""
    every = np.arange(1 << draw.element.bits, dtype=draw.element.code_dtype)
    values = draw.element.decode(every)
    strange = every[~np.isfinite(values) | (values == 0)]
    codes = np.where(draw.rng.random(draw.shape) < 0.2, draw.rng.choice(strange, draw.shape), draw.codes())
    scales = draw.rng.uniform(0.5, 2.0, draw.count)
    marks = [np.nan] if draw.scale.has_nan else []
    marks += [0.0] if draw.scale.kind != "exponent" else []
    marks += [np.inf] if draw.scale.has_inf else []
    for turn, mark in enumerate(marks):
        scales[turn + 1 :: 5] = mark
    return codes.astype(draw.element.code_dtype), scales


def _disputed(draw: DequantizeDraw, top: Format) -> float:
    """A global scale in [1, 2) under which the order of the two products matters for many scales and elements."""
    candidates = top.round(draw.rng.uniform(1.0, 2.0, CANDIDATES))[:, None, None]
    scales = draw.scale.round(draw.rng.uniform(1.0, 2.0, 8))[:, None]
    elements = draw.element.decode(draw.finite(draw.element))
    first = top.round(top.round(scales * candidates) * elements)
    differ = first != top.round(scales * elements * candidates)
    return float(candidates[differ.sum(axis=(1, 2)).argmax(), 0, 0])


def _zero_points(draw: DequantizeDraw, *, every: bool) -> Codes:
    fmt = Format.of(draw.scaling.zero_point or draw.scaling.element)
    found = fmt.decode(draw.finite(fmt))
    found = found[(found >= draw.scaling.low) & (found <= draw.scaling.high)]
    turn = np.arange(draw.count) * 3 + int(draw.rng.integers(0, found.size))
    return draw.each(fmt, found[turn % found.size] if every else draw.rng.choice(found, draw.count))


def _rounds(out: Format, scaling: Scaling) -> bool:
    """Whether a product of code and scale has more digits than the output: else nothing is rounded."""
    stored = Format.of(scaling.scale_format or "f32")
    narrow = scaling.element in ("nf4",) or scaling.steps & (scaling.steps - 1)
    return out.precision < 24 and stored.precision >= 24 and scaling.global_scale is None and not narrow


#: Recipes whose global scale is a power of two.
POWERS = frozenset({"every_code", "placed"})
#: Every recipe by name.
RECIPES: dict[str, DequantizeRecipe] = {
    recipe.name: recipe
    for recipe in (
        DequantizeRecipe("every_code", "all codes, scales powers of two", every_code),
        DequantizeRecipe("random_codes", "any codes and scales", random_codes),
        DequantizeRecipe("every_scale", "all scales", every_scale),
        DequantizeRecipe("placed", "scales of different powers of two", placed),
        DequantizeRecipe(
            "zero_points", "every zero point", zero_points, lambda out, scaling: scaling.zero_point is not None
        ),
        DequantizeRecipe("beside_ties", "products beside ties of the output", beside_ties, _rounds),
        DequantizeRecipe("special", "NaN, infinities, zeros", special),
    )
}
