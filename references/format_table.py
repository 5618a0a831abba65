"""The parameters of every number format, as data: one row a format, and the rule of the P3109 family."""

import re
from dataclasses import dataclass


class FormatError(ValueError):
    """A format's name, an option or a value cannot be used with a number format as it stands."""


@dataclass(frozen=True, slots=True)
class Row:
    """How the codes of one format are laid out: magnitude codes count upwards from 0, the sign is the top bit."""

    #: Bits that carry information; codes are stored in the next larger unsigned type.
    bits: int
    #: Significant bits, the hidden one included; the width, for integers.
    precision: int
    #: Value 2^(e - bias) has exponent field e; 0 for integers.
    bias: int
    #: Magnitude code of the largest finite value.
    max_code: int
    #: Magnitude code of infinity, or None.
    inf_code: int | None
    #: The code that `encode` gives for NaN, or None.
    nan_code: int | None
    signed: bool = True
    negative_zero: bool = True
    #: "float", "integer", "exponent" (a power of two, no zero) or "table" (`levels`).
    kind: str = "float"
    #: Values by code, ascending, of a "table" format.
    levels: tuple[float, ...] = ()


def ieee(exponent_bits: int, fraction_bits: int) -> Row:
    """An IEEE 754-2019 section 3.4 layout: the top exponent holds the infinities and NaN; encoded NaN is quiet."""
    inf = ((1 << exponent_bits) - 1) << fraction_bits
    bits = 1 + exponent_bits + fraction_bits
    bias = (1 << (exponent_bits - 1)) - 1
    return Row(bits, fraction_bits + 1, bias, inf - 1, inf, inf | 1 << (fraction_bits - 1))


def fnuz(exponent_bits: int, fraction_bits: int, bias: int) -> Row:
    """Finite, one NaN where -0 would be, no -0."""
    sign = 1 << (exponent_bits + fraction_bits)
    return Row(1 + exponent_bits + fraction_bits, fraction_bits + 1, bias, sign - 1, None, sign, negative_zero=False)


def finite(exponent_bits: int, fraction_bits: int) -> Row:
    """Neither infinities nor NaN (OCP Microscaling 1.0, section 5.3)."""
    bits = 1 + exponent_bits + fraction_bits
    bias = (1 << (exponent_bits - 1)) - 1
    return Row(bits, fraction_bits + 1, bias, (1 << (bits - 1)) - 1, None, None)


def integer(bits: int, signed: bool) -> Row:
    """Two's complement, or unsigned; value 1 is one code."""
    return Row(bits, bits, 0, (1 << (bits - signed)) - 1, None, None, signed, negative_zero=False, kind="integer")


#: NF4 levels: Dettmers et al., QLoRA (2023), appendix E, as the float32 constants of bitsandbytes.
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)

ROWS = {
    "f64": ieee(11, 52),
    "f32": ieee(8, 23),
    "tf32": ieee(8, 10),
    "f16": ieee(5, 10),
    "bf16": ieee(8, 7),
    # OCP 8-bit Floating Point Specification 1.0, table 1.
    "e5m2": ieee(5, 2),
    "e4m3fn": Row(8, 4, 7, 0x7E, None, 0x7F),
    # Noune et al., 8-bit Numerical Formats for Deep Neural Networks (2022); e4m3b11 by Sun et al. (2019).
    "e4m3fnuz": fnuz(4, 3, 8),
    "e5m2fnuz": fnuz(5, 2, 16),
    "e4m3b11fnuz": fnuz(4, 3, 11),
    "e4m3": ieee(4, 3),
    "e3m4": ieee(3, 4),
    # OCP Microscaling Formats 1.0, sections 5.3 and 5.4.
    "e3m2fn": finite(3, 2),
    "e2m3fn": finite(2, 3),
    "e2m1fn": finite(2, 1),
    "e8m0fnu": Row(8, 1, 127, 0xFE, None, 0xFF, signed=False, negative_zero=False, kind="exponent"),
    "nf4": Row(4, 4, 0, 15, None, None, negative_zero=False, kind="table", levels=NF4),
    "i8": integer(8, True),
    "u8": integer(8, False),
    "i4": integer(4, True),
    "u4": integer(4, False),
    "i32": integer(32, True),
}

#: The P3109 formats that `Format.names` lists; any other of the family can be asked for by name.
P3109 = ("p3109_8p1uf", "p3109_8p3se", "p3109_8p3sf", "p3109_8p4se", "p3109_8p4sf", "p3109_4p2sf")

_P3109_NAME = re.compile(r"p3109_(\d+)p(\d+)([su])([ef])")


def row(name: str) -> Row:
    """The row of the format called `name`.

    Raises FormatError when no format has this name.
    """
    if name in ROWS:
        return ROWS[name]
    match = _P3109_NAME.fullmatch(name)
    if match:
        return p3109(int(match[1]), int(match[2]), match[3] == "s", match[4] == "e")
    raise FormatError(
        f"format {name!r} is unknown; known: {', '.join((*ROWS, *P3109))}, "
        "and p3109_<bits>p<precision><s|u><e|f> (signed or unsigned, extended or finite)"
    )


def p3109(bits: int, precision: int, signed: bool, extended: bool) -> Row:
    """Binary{bits}p{precision}{s|u}{e|f} of the IEEE P3109 interim report 4.0 (2026): one NaN, no -0, maybe infinities.

    Raises FormatError unless 3 <= bits <= 16, 1 <= precision < bits (<= bits, unsigned) and values are within float64.
    """
    if not 3 <= bits <= 16 or not 1 <= precision <= bits - signed:
        raise FormatError(
            f"P3109 format with {bits} bits and precision {precision}: bits must be 3 to 16, "
            f"precision 1 to bits{' - 1' if signed else ''}"
        )
    if bits - precision - signed > 9:
        raise FormatError(f"P3109 format with {bits} bits and precision {precision}: its values exceed float64's range")
    bias = 1 << (bits - precision - signed)
    sign = 1 << (bits - 1)
    # Signed: NaN takes the code of -0. Unsigned: NaN takes the top code. Infinity is the code before.
    top = sign - 1 if signed else (1 << bits) - 2
    inf = top if extended else None
    nan = sign if signed else top + 1
    return Row(bits, precision, bias, top - extended, inf, nan, signed, negative_zero=False)
