"""Quantized tensors as kernels hold them: packed codes, integers of 8 bits, swizzled scales; and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.packing import UNIT, pack, swizzled, unpack, unswizzled
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import holder, parts

Codes = NDArray[Any]


def held(quantized: Quantized, scaling: Scaling) -> dict[str, Operand]:
    """The arrays of a quantized tensor by name, in the order in which quantize returns them."""
    found: dict[str, Operand] = {}
    for name, fmt in parts(scaling).items():
        codes = getattr(quantized, name)
        if name == "codes" and scaling.packing != "none":
            found[name] = _operand("u8", pack(codes, scaling.packing, scaling.group))
        elif name == "scale" and scaling.scale_layout == "swizzled-128x4":
            found[name] = _operand(fmt, swizzled(codes.reshape(-1, codes.shape[-1])))
        else:
            found[name] = _operand(holder(fmt), widened(codes, fmt))
    return found


def read(arrays: Sequence[Codes], scaling: Scaling, shape: tuple[int, ...]) -> tuple[Quantized | None, str]:
    """The quantized tensor of `shape` whose arrays these are, or None and what they hold that is no code."""
    found: dict[str, Codes] = {}
    for (name, fmt), codes in zip(parts(scaling).items(), arrays, strict=False):
        if name == "codes" and scaling.packing != "none":
            found[name] = unpack(codes, scaling.packing, shape[-1], scaling.group)
            # A dequantizer takes whole units, so that what fills one up is read.
            if not np.array_equal(pack(found[name], scaling.packing, scaling.group), codes):
                return None, f"the codes that fill up the last {UNIT[scaling.packing]} of a row are not zero"
            continue
        if name == "scale" and scaling.scale_layout == "swizzled-128x4":
            scales = scaling.scale_shape(shape)
            matrix = unswizzled(codes, int(np.prod(scales[:-1])), scales[-1])
            if not np.array_equal(swizzled(matrix), codes):
                return None, "the padding of the swizzled scales is not zero"
            found[name] = matrix.reshape(scales)
            continue
        narrow = narrowed(codes, fmt)
        strange = widened(narrow, fmt) != codes
        if strange.any():
            where = tuple(int(i) for i in np.argwhere(strange)[0])
            return None, f"{name} at {where} is {int(codes[where]):#x}, which is no code of {fmt}"
        found[name] = narrow
    return Quantized(found["codes"], found.get("scale"), found.get("zero_point"), found.get("global_scale")), ""


def of_operands(operands: Mapping[str, Operand], scaling: Scaling, shape: tuple[int, ...]) -> Quantized:
    """The quantized tensor of `shape` whose arrays `held` made.

    Raises ValueError where they hold something that is no code.
    """
    found, strange = read([operands[name].codes for name in parts(scaling)], scaling, shape)
    if found is None:
        raise ValueError(strange)
    return found


def held_scale(operand: Operand) -> Operand:
    """A scale or zero point, one code an element, as a kernel is given it."""
    return _operand(holder(operand.format), widened(operand.codes, operand.format))


def widened(codes: Codes, fmt: str) -> Codes:
    """Codes of i4 as integers of 8 bits, with their sign; others as they are."""
    return codes ^ np.where(codes > 7, 0xF0, 0).astype(np.uint8) if fmt == "i4" else codes


def narrowed(codes: Codes, fmt: str) -> Codes:
    """The codes of `fmt` in integers of 8 bits."""
    bits = Format.of(fmt).bits
    return codes & np.uint8((1 << bits) - 1) if bits < 8 else codes


def _operand(fmt: str, codes: Codes) -> Operand:
    return Operand(fmt, codes, Format.of(fmt).decode(codes))
