"""Test data of scaled GEMM: codes, scales and zero points by recipe, as a kernel takes them and as exact values."""

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.packing import pack, swizzled, unpack, unswizzled
from lastbit.references.scaled_gemm import Problem, part
from lastbit.references.scaled_gemm_draw import Contents, ScaledDraw, Side, powers, with_signs
from lastbit.references.scaled_gemm_recipes import RECIPES
from lastbit.references.scaling import Scaling

Array = NDArray[np.float64]

#: Exponents of scales stay within this; less where the output's range or a bias wants it.
REACH = 12


def scaled(
    recipe: str,
    formats: Mapping[str, str],
    scalings: tuple[Scaling | None, Scaling | None],
    sizes: Mapping[str, int],
    seed: int,
    *,
    exact_bits: int = 24,
    precision: int = 64,
    bias: bool = False,
) -> dict[str, Operand]:
    """Operands a (m, k), b (k, n), their scales, and where there are some zero points, a global scale, and a bias.

    The scaling of b is that of its transpose (n, k), as weights are stored: its scales come transposed. Codes of fewer
    than 8 bits are packed along k as their scaling says, else bit patterns in u8 (i4: numbers in i8). The same
    arguments give the same bits on every machine. Names are those of the op: scale_a, scale_b, zero_a, zero_b,
    global_scale, bias (n,).

    Raises KeyError for a recipe that RECIPES does not list.
    """
    chosen = RECIPES[recipe]
    a, b = (
        Side(Format.of(formats[name]), scaling, sizes[rows], sizes["k"])
        for name, scaling, rows in zip("ab", scalings, "mn", strict=True)
    )
    named = [None if scaling is None else scaling.name for scaling in scalings]
    text = f"{recipe} {sorted(formats.items())} {named} {sorted(sizes.items())}"
    rng = np.random.default_rng([seed, zlib.crc32(text.encode())])
    out = Format.of(formats["out"])
    reach = 2 if bias else 3 if out.emax < 32 else REACH
    draw = ScaledDraw(rng, a, b, out, exact_bits, precision, reach)
    if all((sizes["m"], sizes["n"], sizes["k"])):
        drawn = chosen.draw(draw)
    else:
        drawn = Contents(np.zeros(a.shape), np.zeros(b.shape), powers(draw, a), powers(draw, b))
    return _assembled(draw, drawn, formats, bias=bias, exact=chosen.exact)


def applicable(recipe: str, formats: Mapping[str, str], scalings: tuple[Scaling | None, Scaling | None]) -> bool:
    """Whether the formats and scalings have what the recipe needs."""
    a, b = (Side(Format.of(formats[name]), scaling, 1, 1) for name, scaling in zip("ab", scalings, strict=True))
    return RECIPES[recipe].needs(a, b, Format.of(formats["out"]))


def problem(
    operands: Mapping[str, Operand],
    elements: tuple[str, str],
    scalings: tuple[Scaling | None, Scaling | None],
    k: int,
) -> Problem:
    """What operands as a kernel takes them stand for, unpacked and b turned; `elements` are the formats of the codes.

    Raises PackingError and ValueError when shapes do not fit the scalings.
    """
    sides = []
    for name, element, scaling in zip("ab", elements, scalings, strict=True):
        turned = name == "b"
        codes = _codes(_rows(operands[name], turned=turned), element, scaling, k)
        scale, zero = (operands.get(f"{part}_{name}") for part in ("scale", "zero"))
        scales = None
        if scale is not None and scaling is not None:
            swizzled_here = scaling.scale_layout == "swizzled-128x4"
            shape = scaling.scale_shape(codes.shape)
            fmt = Format.of(scale.format)
            scales = (
                fmt.decode(unswizzled(scale.codes, *shape)) if swizzled_here else _rows(scale, turned=turned).values
            )
        zeros = None if zero is None or scaling is None else _zero_values(_rows(zero, turned=turned), scaling)
        sides.append(part(codes, scaling, scales, zeros))
    factor, bias = operands.get("global_scale"), operands.get("bias")
    return Problem(
        sides[0],
        sides[1],
        1.0 if factor is None else float(factor.values),
        None if bias is None else bias.values,
    )


def _codes(operand: Operand, element: str, scaling: Scaling | None, k: int) -> Array:
    """The values (rows, k) of codes as a kernel takes them."""
    fmt = Format.of(element)
    if scaling is not None and scaling.packing != "none":
        return fmt.decode(unpack(operand.codes.astype(np.uint8), scaling.packing, k, scaling.group))
    if fmt.bits >= 8 or operand.format == "i8":
        return operand.values
    return fmt.decode(operand.codes)


def _zero_values(zero: Operand, scaling: Scaling) -> Array:
    """Zero points as numbers, whatever holds them."""
    fmt = Format.of(str(scaling.zero_point))
    return zero.values if fmt.bits >= 8 or zero.format == "i8" else fmt.decode(zero.codes)


def _rows(operand: Operand, *, turned: bool) -> Operand:
    """The operand with the summed dimension last."""
    if not turned or operand.codes.ndim < 2:
        return operand
    return Operand(operand.format, operand.codes.T, operand.values.T)


def _assembled(
    draw: ScaledDraw, drawn: Contents, formats: Mapping[str, str], *, bias: bool, exact: bool
) -> dict[str, Operand]:
    """The operands of what a recipe drew: zero points added, codes packed, scales laid out."""
    operands: dict[str, Operand] = {}
    scales = {"a": drawn.scale_a, "b": drawn.scale_b}
    if exact:
        _shrink(draw, drawn, scales)
    scales = {name: with_signs(draw, side, scales[name], drawn.signs) for name, side in (("a", draw.a), ("b", draw.b))}
    for name, side, wanted in (("a", draw.a, drawn.a), ("b", draw.b, drawn.b)):
        zero = _ends(side, drawn.first_end ^ (name == "b")) if drawn.codes else _zeros(draw, side)
        offset: Array = np.asarray(0.0 if side.scaling is None else side.scaling.fixed_zero)
        if zero is not None and side.scaling is not None:
            offset = spread(zero, side.scaling, side.shape)
        code = Operand.of(wanted if drawn.codes else wanted + offset, side.format.name)
        operands[name] = _carried(code, side, transpose=name == "b")
        if scales[name] is not None and side.scale_format is not None:
            stored = Operand.of(np.asarray(scales[name]), side.scale_format.name)
            operands[f"scale_{name}"] = _laid_out(stored, side, transpose=name == "b")
        if zero is not None and side.scaling is not None and side.scaling.zero_point is not None:
            operands[f"zero_{name}"] = _turned(_wide(Operand.of(zero, side.scaling.zero_point)), transpose=name == "b")
    globals_ = [one.scaling.global_scale for one in (draw.a, draw.b) if one.scaling is not None]
    named = [fmt for fmt in globals_ if fmt is not None]
    if named:
        operands["global_scale"] = Operand.of(np.asarray(_global(draw, drawn, exact=exact)), named[0])
    if bias:
        raw = draw.rng.integers(-3, 4, draw.b.rows) if exact else draw.rng.standard_normal(draw.b.rows)
        operands["bias"] = Operand.of(raw.astype(np.float64), formats.get("bias", formats["out"]))
    return operands


def _shrink(draw: ScaledDraw, drawn: Contents, scales: dict[str, Array | None]) -> None:
    """Powers of two off the scales with the widest range, so that no sum leaves the output format."""
    limit = draw.out.max / 4
    if draw.out.emax > 64 or all(scale is None for scale in scales.values()):
        return
    sides = {"a": draw.a, "b": draw.b}
    made = [  # scales have no signs yet
        part(np.abs(x), None if side.scaling is None else _plain(side.scaling), scales[name]).values
        for (name, side), x in zip(sides.items(), (drawn.a, drawn.b), strict=True)
    ]
    largest = float((made[0] @ made[1].T).max(initial=0.0))
    if largest <= limit:
        return
    shift = int(np.ceil(np.log2(largest / limit)))
    widest = max((name for name in sides if scales[name] is not None), key=lambda name: _range(sides[name]))
    fmt = sides[widest].scale_format
    chosen = scales[widest]
    if fmt is not None and chosen is not None:
        scales[widest] = np.maximum(np.ldexp(chosen, -shift), fmt.min_normal)


def _plain(scaling: Scaling) -> Scaling:
    """The scaling without zero points: what has been taken off already."""
    return replace(scaling, zero_point=None, fixed_zero=0.0)


def _range(side: Side) -> int:
    return 0 if side.scale_format is None else side.scale_format.emax


def _global(draw: ScaledDraw, drawn: Contents, *, exact: bool) -> float:
    """The scale of the tensors: the recipe's own, a power of two, or any near 1."""
    if drawn.global_scale is not None:
        return float(np.float32(drawn.global_scale))
    return float(2.0 ** draw.rng.integers(-3, 3) if exact else np.float32(draw.rng.uniform(0.3, 3.0)))


def _ends(side: Side, first: int) -> Array | None:
    """Zero points at the ends of their range in turn: the lowest first, or with `first` the highest."""
    scaling = side.scaling
    if scaling is None or scaling.zero_point is None:
        return None
    shape = scaling.scale_shape(side.shape)
    turn = (np.arange(int(np.prod(shape))) + first) % 2
    zero: Array = np.where(turn, side.format.max, side.format.lowest).reshape(shape)
    return zero


def _zeros(draw: ScaledDraw, side: Side) -> Array | None:
    """Zero points: of 8-bit codes anywhere that leaves room for seven either way, of 4-bit codes in the middle."""
    scaling = side.scaling
    if scaling is None or scaling.zero_point is None:
        return None
    shape = scaling.scale_shape(side.shape)
    low, high = side.format.lowest, side.format.max
    middle = int((low + high + 1) // 2)
    width = 96 if side.format.bits >= 8 else 1
    zero: Array = draw.rng.integers(middle - width, middle + (width if width > 1 else 0) + (width == 1), shape).astype(
        np.float64
    )
    return zero


def _carried(code: Operand, side: Side, *, transpose: bool) -> Operand:
    """Codes as a kernel takes them: packed along k, b turned to (k, n)."""
    packing = "none" if side.scaling is None else side.scaling.packing
    if packing != "none":
        group = 0 if side.scaling is None else side.scaling.group
        packed = pack(code.codes, packing, group)
        return _turned(Operand("u8", packed, packed.astype(np.float64)), transpose=transpose)
    return _turned(_wide(code), transpose=transpose)


def _wide(code: Operand) -> Operand:
    """Codes of fewer than 8 bits as u8, those of i4 as i8."""
    if Format.of(code.format).bits >= 8:
        return code
    return Operand.of(code.values, "i8") if code.format == "i4" else Operand.of(code.codes.astype(np.float64), "u8")


def _laid_out(scale: Operand, side: Side, *, transpose: bool) -> Operand:
    if side.scaling is not None and side.scaling.scale_layout == "swizzled-128x4":
        return Operand.of(Format.of(scale.format).decode(swizzled(scale.codes)), scale.format)
    return _turned(scale, transpose=transpose)


def _turned(operand: Operand, *, transpose: bool) -> Operand:
    if not transpose or operand.codes.ndim < 2:
        return operand
    return Operand(operand.format, np.ascontiguousarray(operand.codes.T), np.ascontiguousarray(operand.values.T))
