"""Test data of quantizers by name: operands drawn by a recipe, as bit patterns and their exact values."""

import zlib
from collections.abc import Mapping

import numpy as np

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.quantize_draw import QuantizeDraw
from lastbit.references.quantize_recipes import RECIPES
from lastbit.references.scaling import Scaling


def operands(
    recipe: str, formats: Mapping[str, str], scaling: Scaling, sizes: Mapping[str, int], seed: int
) -> dict[str, Operand]:
    """Operand x (.., m, n) in the format of "x"; `sizes` are m and n, and batch before them if there is one.

    Where the scaling's rule is "given", also scale, zero_point and global_scale, one code an element.
    The same arguments give the same bits on every machine (PCG64 and exact rounding).
    Raises KeyError for a recipe that RECIPES does not list, ScalingError for a shape that cannot be scaled.
    """
    shape = tuple(sizes.values())
    key = f"{recipe} {formats['x']} {scaling.name} {scaling.rule} {shape}"
    chosen, rng = RECIPES[recipe], np.random.default_rng([seed, zlib.crc32(key.encode())])
    draw = QuantizeDraw(rng, shape, Format.of(formats["x"]), scaling, chosen.powers, chosen.wide)
    held = {"x": Operand.of(chosen.draw(draw) if all(shape) else np.zeros(shape), formats["x"])}
    if scaling.rule == "given":
        codes = draw.given
        known = {
            "scale": (scaling.scale_format, codes.scale),
            "zero_point": (scaling.zero_point, codes.zero_point),
            "global_scale": (scaling.global_scale, codes.global_scale),
        }
        for name, (fmt, code) in known.items():
            if fmt is not None and code is not None:
                held[name] = Operand(fmt, code, Format.of(fmt).decode(code))
    return held


def applicable(recipe: str, x: str, scaling: Scaling) -> bool:
    """Whether the format of x and the scaling have what the recipe needs."""
    return RECIPES[recipe].needs(Format.of(x), scaling)
