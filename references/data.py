"""Test data by name: each recipe draws operands as bit patterns and their exact values, from a seed alone."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references import data_bounded, data_exact
from lastbit.references.draw import Draw, Recipe
from lastbit.references.formats import Format

#: Every recipe by name.
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*data_exact.RECIPES, *data_bounded.RECIPES)}


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand: its format's name, bit patterns, and the float64 values that these stand for, exactly."""

    format: str
    codes: NDArray[np.unsignedinteger]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], fmt: str) -> "Operand":
        """The operand whose values are `values` rounded once to `fmt` (unchanged where they are on its grid).

        Finite values beyond the format's range saturate, so that a recipe never makes an infinity that it did not ask
        for; NaN and infinities are kept by formats that have them.
        """
        target = Format.of(fmt)
        finite = np.isfinite(values)
        codes = target.encode(np.where(finite, values, 0.0), overflow="saturate")
        if not finite.all():
            codes = np.where(finite, codes, target.encode(np.where(finite, 0.0, values)))
        return cls(fmt, codes, target.decode(codes))


def operands(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    seed: int,
    *,
    exact_bits: int = 24,
    precision: int = 64,
    extras: tuple[str, ...] = (),
) -> dict[str, Operand]:
    """Operands a (.., m, k) and b (.., k, n), and of `extras` c (.., m, n) and bias (n,), in the format of `out`.

    `exact_bits`: sums of integers up to 2^exact_bits are exact in the accumulator; recipes of kind "exact" stay
    within it. `precision`: significand bits that the kernel keeps of its operands (input_rounding), at most the
    format's. The same arguments give the same bits on every machine (PCG64 and exact rounding).

    Raises KeyError for a recipe that RECIPES does not list.
    """
    chosen = RECIPES[recipe]
    shape = tuple(sizes.values())
    rng = np.random.default_rng([seed, zlib.crc32(f"{recipe} {sorted(formats.items())} {shape}".encode())])
    draw = Draw(
        rng=rng,
        batch=sizes.get("batch"),
        m=sizes["m"],
        n=sizes["n"],
        k=sizes["k"],
        a=Format.of(formats["a"]),
        b=Format.of(formats["b"]),
        out=Format.of(formats["out"]),
        exact_bits=exact_bits,
        precision=precision,
    )
    empty = not all(shape)
    pair = (np.zeros(draw.a_shape), np.zeros(draw.b_shape)) if empty else chosen.draw(draw)
    values = dict(zip(("a", "b"), pair, strict=True))
    if "c" in extras:
        values["c"] = _addend(draw, (*draw.lead, draw.m, draw.n), exact=chosen.exact)
    if "bias" in extras:
        values["bias"] = _addend(draw, (draw.n,), exact=chosen.exact)
    return {name: Operand.of(array, formats.get(name, formats["out"])) for name, array in values.items()}


def applicable(recipe: str, formats: Mapping[str, str]) -> bool:
    """Whether the formats have what the recipe needs (infinities, subnormals, a wide enough range)."""
    return RECIPES[recipe].needs(Format.of(formats["a"]), Format.of(formats["b"]), Format.of(formats["out"]))


def _addend(draw: Draw, shape: tuple[int, ...], *, exact: bool) -> NDArray[np.float64]:
    if exact:
        return draw.rng.integers(-2, 3, shape).astype(np.float64)
    return draw.rng.standard_normal(shape)
