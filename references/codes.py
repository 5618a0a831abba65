"""Codes and values: decode, encode of values that a format has, and the order of codes."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.chunks import by_chunks
from lastbit.references.format_table import FormatError

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]

#: Low bits of the f32 layout that tf32 leaves 0.
SPARE_TF32 = 13


def magnitude(code: int, precision: int, emin: int, bias: int) -> float:
    """The value of a magnitude code of a float format."""
    hidden = precision - 1
    fraction = code & ((1 << hidden) - 1)
    exponent = code >> hidden
    if exponent - bias < emin:
        return fraction * 2.0 ** (emin - hidden)
    return ((1 << hidden) | fraction) * 2.0 ** (exponent - bias - hidden)


def decode(fmt: "Format", codes: NDArray[Any], out: Floats | None) -> Floats:
    """The exact values of `codes`, into `out` if given."""
    codes = _checked(fmt, codes)
    if fmt.kind == "integer" and fmt.bits == 32:
        exact: NDArray[Any] = codes.view(np.int32)
    elif fmt.bits <= 8:
        return np.asarray(np.take(_table(fmt), codes, out=out, mode="clip"))
    elif fmt.name in ("f64", "f32", "tf32", "f16"):
        exact = codes.view(f"f{codes.dtype.itemsize}")
    elif fmt.name == "bf16":
        exact = (codes.astype(np.uint32) << 16).view(np.float32)
    else:
        return np.asarray(np.take(_table(fmt), codes, out=out, mode="clip"))
    with np.errstate(invalid="ignore"):  # a signalling NaN is no error here
        if out is None:
            return exact.astype(np.float64)
        out[...] = exact
    return out


def encode(fmt: "Format", values: Floats) -> NDArray[Any]:
    """The codes of `values`, which `fmt` has; one dimension."""
    if fmt.kind == "integer":
        codes = values.astype(np.int64).astype(fmt.code_dtype)
        return codes if fmt.bits >= 8 else codes & np.uint8((1 << fmt.bits) - 1)
    if fmt.kind == "table":
        return np.searchsorted(np.array(fmt.levels), values).astype(fmt.code_dtype)
    if fmt.name in ("f64", "f32", "tf32", "f16"):
        width = fmt.code_dtype.itemsize
        codes = values.astype(f"f{width}").view(fmt.code_dtype)
    else:
        codes = _pack(fmt, values)
    nan = values != values
    if nan.any():
        codes[nan] = fmt.nan_code or 0
    return codes


def keys(fmt: "Format", codes: NDArray[Any]) -> NDArray[np.int64]:
    """Integers in the order of the values."""
    return by_chunks(lambda piece: _keys(fmt, piece), np.int64, _checked(fmt, codes))


def _keys(fmt: "Format", codes: NDArray[Any]) -> NDArray[np.int64]:
    wide = codes.astype(np.uint64).view(np.int64)
    if fmt.kind == "table" or not fmt.signed:
        return wide
    if fmt.kind == "integer":
        spare = 64 - fmt.bits
        return (wide << spare) >> spare
    if fmt.name == "tf32":
        wide = wide >> SPARE_TF32
    top = fmt.bits - 1
    size = wide & ((1 << top) - 1)
    # Negated where the sign is set: two's complement, without a branch.
    sign = -((wide >> top) & 1)
    return (size ^ sign) - sign


def _pack(fmt: "Format", values: Floats) -> NDArray[Any]:
    """The codes of float `values` by moving their bits; NaN gives anything."""
    bits = values.view(np.int64)
    shift = 53 - fmt.precision
    codes = bits & 0x7FFF_FFFF_FFFF_FFFF
    codes >>= shift
    codes -= (1023 - fmt.bias) << (fmt.precision - 1)
    if fmt.kind != "exponent":
        # Below the normal range the code counts multiples of eta; so does code 0.
        small = np.flatnonzero(codes < (1 << (fmt.precision - 1)))
        if small.size:
            codes[small] = np.abs(values[small]) * (1 / fmt.eta)
    if fmt.inf_code is not None:
        np.minimum(codes, fmt.inf_code, out=codes)
    if fmt.signed:
        codes |= (bits >> 63) & (1 << (fmt.bits - 1))
    return codes.astype(fmt.code_dtype)


def _checked(fmt: "Format", codes: NDArray[Any]) -> NDArray[Any]:
    """`codes` in the format's code type."""
    if codes.dtype != fmt.code_dtype:
        if codes.dtype.kind not in "iu":
            raise FormatError(
                f"codes of {fmt.name} have type {codes.dtype}, expected {fmt.code_dtype}; give bit patterns"
            )
        narrow = codes.astype(fmt.code_dtype)
        if not np.array_equal(narrow, codes):
            raise FormatError(f"a code of {fmt.name} does not fit {fmt.code_dtype}; give unsigned bit patterns")
        codes = narrow
    spare = SPARE_TF32 if fmt.name == "tf32" else 0
    if fmt.bits + spare < 8 * codes.dtype.itemsize and codes.size and int(codes.max()) >> fmt.bits:
        raise FormatError(
            f"code {int(codes.max()):#x} has more than {fmt.bits} bits, the width of {fmt.name}; unpack it"
        )
    return codes


@cache
def _table(fmt: "Format") -> Floats:
    """The values of all codes of a format of at most 16 bits."""
    table = np.array([_value(fmt, code) for code in range(1 << fmt.bits)])
    table.flags.writeable = False
    return table


def _value(fmt: "Format", code: int) -> float:
    """The value of one code, from the definition."""
    if fmt.kind == "table":
        return fmt.levels[code]
    if fmt.kind == "integer":
        return float(code - (1 << fmt.bits) if fmt.signed and code > fmt.max_code else code)
    negative = fmt.signed and code >> (fmt.bits - 1) == 1
    size = code & ((1 << (fmt.bits - 1)) - 1) if fmt.signed else code
    if code == fmt.nan_code:
        return float("nan")
    if size == fmt.inf_code:
        value = float("inf")
    elif size > fmt.max_code:
        return float("nan")
    else:
        value = magnitude(size, fmt.precision, fmt.emin, fmt.bias)
    return -value if negative else value
