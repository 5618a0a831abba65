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

#: Global scales, and pairs of a code and a scale for each group, that are tried.
CANDIDATES = 64

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
        finite = fmt.encode(values, overflow="saturate")
        return np.where(np.isinf(values) & fmt.has_inf, fmt.encode(values), finite).reshape(shape)

    def with_signs(self, scales: Array) -> Array:
        """Half of the scales negative, where their format and the scaling have negative ones."""
        signed = self.scale.signed and not self.scaling.unsigned_scales
        return scales * self.signs(scales.shape) if signed else scales


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
        top = Format.of(scaling.global_scale).encode(np.array(_global(draw, recipe)))
    return Quantized(codes, draw.each(draw.scale, scales) if scaling.scale_format else None, zero, top)


def applicable(recipe: str, out: str, scaling: Scaling) -> bool:
    """Whether the output format and the scaling have what the recipe needs."""
    return RECIPES[recipe].needs(Format.of(out), scaling)


def every_code(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """All finite codes one after the other, scales powers of two: no rounding, every table entry."""
    found = draw.finite(draw.element)
    codes = found[np.arange(int(np.prod(draw.shape))) % found.size].reshape(draw.shape)
    return codes, draw.with_signs(np.ldexp(1.0, draw.rng.integers(-3, 4, draw.count)))


def random_codes(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Any codes, scales of many digits."""
    sizes = np.ldexp(draw.rng.uniform(1.0, 2.0, draw.count), draw.rng.integers(-5, 4, draw.count))
    return draw.codes(), draw.with_signs(sizes)


def every_scale(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """All finite scales of at most 8 bits; of wider ones all exponents, subnormal ones among them."""
    fmt = draw.scale
    if fmt.bits <= 8:
        found = fmt.decode(draw.finite(fmt))
        found = found[~np.signbit(found)] if draw.scaling.unsigned_scales else found
        return draw.codes(), found[(np.arange(draw.count) * 7 + int(draw.rng.integers(0, 7))) % found.size]
    low = fmt.emin - fmt.precision + 1
    exponents = draw.rng.permutation(np.linspace(low, fmt.emax - 1, max(draw.count, 2)).astype(np.int64))[: draw.count]
    return draw.codes(), draw.with_signs(np.ldexp(draw.rng.uniform(1.0, 2.0, draw.count), exponents))


def placed(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Scales of very different powers of two, no neighbours alike: a swapped axis, offset or layout shows."""
    return draw.codes(), draw.with_signs(np.ldexp(1.0, draw.powers_apart()))


def zero_points(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Every zero point in turn, under the smallest, the largest and any codes."""
    ends = draw.element.encode(np.array([draw.scaling.low, draw.scaling.high]))
    codes = np.where(draw.rng.random(draw.shape) < 0.3, draw.rng.choice(ends, draw.shape), draw.codes())
    return codes.astype(draw.element.code_dtype), draw.with_signs(draw.rng.uniform(0.5, 1.0, draw.count))


def beside_ties(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Products that f32 rounds to a tie of the output format, and which are none: rounded twice, they go wrong."""
    values = draw.element.decode(draw.finite(draw.element))
    whole, shape = 2 ** (draw.x.precision - 1), (CANDIDATES, draw.count)
    elements = draw.rng.choice(np.unique(np.abs(values[values != 0])), shape)
    middles = (draw.rng.integers(whole, 2 * whole, shape) + 0.5) / whole
    scales = draw.scale.round(middles / elements)
    scales = stepped(draw.scale, scales, draw.rng.integers(-1, 2, shape).astype(float))
    products = elements * scales  # of at most 8 + 24 bits
    first = (draw.x.round(products) != draw.x.round(Format.of("f32").round(products))).argmax(axis=0)
    element, scale = (drawn[first, np.arange(draw.count)] for drawn in (elements, scales))
    codes = draw.element.encode(element[draw.group] * (draw.signs(draw.shape) if draw.element.signed else 1.0))
    codes = np.where(draw.rng.random(draw.shape) < 0.5, codes, draw.codes()).astype(codes.dtype)
    return codes, draw.with_signs(scale)


def special(draw: DequantizeDraw) -> tuple[Codes, Array]:
    """Codes of NaN, infinities and zeros; scales of NaN, zeros and infinities of both signs, where they exist."""
    every = np.arange(1 << draw.element.bits, dtype=draw.element.code_dtype)
    values = draw.element.decode(every)
    strange = every[~np.isfinite(values) | (values == 0)]
    codes = np.where(draw.rng.random(draw.shape) < 0.2, draw.rng.choice(strange, draw.shape), draw.codes())
    scales = draw.with_signs(draw.rng.uniform(0.5, 2.0, draw.count))
    signs = (1.0, -1.0) if draw.scale.signed and not draw.scaling.unsigned_scales else (1.0,)
    marks = [np.nan] if draw.scale.has_nan else []
    marks += [sign * 0.0 for sign in signs] if draw.scale.kind != "exponent" else []
    marks += [sign * np.inf for sign in signs] if draw.scale.has_inf else []
    for turn, mark in enumerate(marks):
        scales[turn + 1 :: len(marks) + 2] = mark
    return codes.astype(draw.element.code_dtype), scales


def _global(draw: DequantizeDraw, recipe: str) -> float:
    """The scale of the tensor: the recipe's own, a power of two, or one under which the order of products shows."""
    if recipe in GLOBALS:
        return GLOBALS[recipe]
    sign = -1.0 if draw.rng.random() < 0.5 and not draw.scaling.unsigned_scales else 1.0
    exponent = sign * 2.0 ** int(draw.rng.integers(-3, 3))
    return exponent if recipe in POWERS else exponent * _disputed(draw, Format.of(draw.scaling.global_scale or "f32"))


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


def _takes(value: float) -> Callable[[Format, Scaling], bool]:
    """Whether the scaling has a global scale that may be `value`."""
    return lambda out, scaling: scaling.global_scale is not None and not (scaling.unsigned_scales and value < 0)


#: Global scales at and beyond the ends of what is usual, by recipe; all but the last three are finite in f32.
GLOBALS = {
    "global_negative": -1.375,
    "global_huge": 1.1875 * 2.0**100,
    "global_tiny": 1.1875 * 2.0**-100,
    "global_subnormal": 2.0**-130 + 2.0**-140,
    "global_zero": 0.0,
    "global_nan": np.nan,
    "global_infinite": np.inf,
    "global_minus_infinite": -np.inf,
}
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
        *(
            DequantizeRecipe(name, f"any codes, the global scale {value:g}", random_codes, _takes(value))
            for name, value in GLOBALS.items()
        ),
    )
}
