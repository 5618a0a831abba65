"""Casts that are right by other ways than the reference's: bit tricks, magic numbers, tables, libraries, any NaN."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.references.formats import Format
from lastbit.suites.zoo.cast_parts import (
    SATURATING,
    STOCHASTIC,
    ZEROING,
    Array,
    Run,
    codes,
    drawing,
    of_codes,
    right,
    values,
)
from lastbit.suites.zoo.specimen import Variant

Rng = np.random.Generator


def _f32_bits(x: Array) -> Array:
    return np.ascontiguousarray(x).view(np.uint32)


def bf16_by_carry(x: Array) -> Array:
    """Half of the last bit less one, and the last bit, are added; NaN keeps its upper payload, made quiet."""
    bits = _f32_bits(x)
    held = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return of_codes(np.where(np.isnan(x), (bits >> 16) | 0x40, held), "bf16")


def bf16_with_any_nan(x: Array) -> Array:
    """Every NaN is a signalling one, negative."""
    return of_codes(np.where(np.isnan(x), 0xFF81, codes(bf16_by_carry(x))), "bf16")


def e4m3fn_by_magic(x: Array) -> Array:
    """A number is added and taken away whose last place is that of the result."""
    v = np.asarray(x).astype(np.float32)
    size = np.abs(v)
    step = np.ldexp(np.float32(1), np.maximum(np.frexp(size)[1] - 1, -6) - 3)
    rounded = np.rint(size / step) * step
    return np.where(rounded > 448, np.float32("nan"), np.copysign(rounded, v)).astype(ml_dtypes.float8_e4m3fn)


def e4m3fn_by_search(x: Array) -> Array:
    """The nearest of all values, by distance; ties to the even code."""
    fmt = Format.of("e4m3fn")
    table = fmt.decode(np.arange(127, dtype=np.uint8))
    size = np.minimum(np.abs(values(x)), 1e6).reshape(-1)
    above = np.clip(np.searchsorted(table, size), 1, 126)
    lower, upper = size - table[above - 1], table[above] - size
    code = np.where((lower < upper) | ((lower == upper) & ((above - 1) % 2 == 0)), above - 1, above)
    code = np.where((size > 464) | np.isnan(size), 0x7F, np.minimum(code, 126))
    return of_codes((code | (np.signbit(values(x)).reshape(-1) << 7)).reshape(x.shape), "e4m3fn")


def _library(kind: Any) -> Run:
    return lambda x: x.astype(kind)


def saturated_by_clip(x: Array) -> Array:
    """Clipped before it is rounded; NaN passes."""
    return np.clip(np.asarray(x).astype(np.float32), -57344, 57344).astype(ml_dtypes.float8_e5m2)


def f16_by_bits(x: Array) -> Array:
    """f16 to f32 by shifting the significand; subnormal numbers by a float subtraction."""
    bits = np.ascontiguousarray(x).view(np.uint16).astype(np.uint32)
    sign, size = (bits & 0x8000) << 16, (bits & 0x7FFF) << 13
    normal = size + ((127 - 15) << 23)
    small = ((size + ((127 - 14) << 23)).view(np.float32) - np.float32(2.0**-14)).view(np.uint32)
    special = size | 0x7F80_0000
    result = np.where(size >= 0x7C00 << 13, special, np.where(size < 0x0400 << 13, small, normal))
    return (result | sign).view(np.float32)


def i8_by_magic(x: Array) -> Array:
    """1.5 * 2^52 is added: the low bits of the sum are the integer."""
    v = np.nan_to_num(np.clip(values(x), -128, 127), nan=0.0)
    return (v + 1.5 * 2.0**52).view(np.int64).astype(np.int8)


def e2m1_by_thresholds(x: Array) -> Array:
    """Midpoints compared one by one; at 0.25, 1.25, 2.5, 5 the lower code is even, at the others the upper."""
    size = np.nan_to_num(np.abs(values(x)), nan=0.0)
    code = (size > 0.25).astype(np.uint8) + (size >= 0.75) + (size > 1.25) + (size >= 1.75)
    code += (size > 2.5).astype(np.uint8) + (size >= 3.5) + (size > 5)
    return of_codes(code | (np.signbit(values(x)).astype(np.uint8) << 3), "e2m1fn")


def powers_by_bits(x: Array) -> Array:
    """The exponent field, one more if any bit of the significand is set; saturated."""
    bits = _f32_bits(x)
    up = (bits >> 23) + ((bits & 0x7F_FFFF) != 0)
    small = bits & 0x7F_FFFF
    first = np.where((bits >> 23) == 0, np.where(small <= 0x40_0000, 0, 1), up)
    held = np.where(np.isnan(x), 0xFF, np.where((bits >> 31) == 1, 0, np.minimum(first, 0xFE)))
    return of_codes(np.where(bits == 0x8000_0000, 0, held), "e8m0fnu")


def flushing(x: Array) -> Array:
    """Subnormal operands and results become zero with their sign."""
    y = np.asarray(x).astype(np.float16)
    return np.where(np.abs(y) < np.float16(2.0**-14), np.copysign(np.float16(0), y), y)


def flushing_operands(x: Array) -> Array:
    """Subnormal operands become zero with their sign."""
    v = np.asarray(x).astype(np.float32)
    return np.where(np.abs(v) < 2.0**-126, np.copysign(np.float64(0), v), v.astype(np.float64))


def wrapping(x: Array) -> Array:
    """The low 8 bits."""
    return x.astype(np.int8)


def bf16_stochastic(x: Array, rng: Rng) -> Array:
    """16 random bits are added below the last place, and cut off."""
    bits = _f32_bits(x)
    held = (bits + rng.integers(0, 1 << 16, bits.shape, np.uint32)) >> 16
    return of_codes(np.where(np.isnan(x), 0x7FC0, np.where(np.isinf(x), bits >> 16, held)), "bf16")


def bf16_stochastic_coarse(x: Array, rng: Rng) -> Array:
    """As many as 8 random bits, the others ones: finite values above the largest go up less often than they should."""
    bits = _f32_bits(x)
    held = ((bits & np.uint32(0xFFFF_FF00)) + (rng.integers(0, 1 << 8, bits.shape, np.uint32) << 8)) >> 16
    return of_codes(np.where(np.isnan(x), 0x7FC0, np.where(np.isinf(x), bits >> 16, held)), "bf16")


def by_coin(x: Array, rng: Rng) -> Array:
    """A number between two integers goes up where a uniform one is below its fraction; saturated."""
    v = np.nan_to_num(np.clip(values(x), -128, 127), nan=0.0)
    low = np.floor(v)
    return (low + (rng.random(v.shape) < v - low)).astype(np.int8)


def seeded(x: Array) -> Array:
    """The same draws for the same shape, independent of one another."""
    bits = _f32_bits(x)
    random = np.random.default_rng(7).integers(0, 1 << 16, bits.shape, np.uint32)
    return of_codes(np.where(np.isnan(x), 0x7FC0, np.where(np.isinf(x), bits >> 16, (bits + random) >> 16)), "bf16")


UP = Contract(output_rounding="up", overflow="saturate")
FLUSHING = Contract(subnormals="flush")
WRAPPING = Contract(overflow="wrap")
SEEDED = Contract(output_rounding="stochastic")
COIN = Contract(output_rounding="stochastic", deterministic=False, overflow="saturate", nan="zero")

_LIBRARY = "The conversion of NumPy or ml_dtypes."
#: Every correct cast.
VARIANTS: tuple[Variant, ...] = (
    right(bf16_by_carry, "f32", "bf16"),
    right(bf16_with_any_nan, "f32", "bf16"),
    right(e4m3fn_by_magic, "f32", "e4m3fn"),
    right(e4m3fn_by_search, "f64", "e4m3fn"),
    right(_library(np.float16), "f64", "f16", name="library", story=_LIBRARY),
    right(f16_by_bits, "f16", "f32"),
    right(_library(ml_dtypes.float8_e5m2), "f16", "e5m2", name="library", story=_LIBRARY),
    right(_library(ml_dtypes.float8_e4m3fnuz), "f32", "e4m3fnuz", name="library", story=_LIBRARY),
    right(_library(ml_dtypes.float6_e3m2fn), "f32", "e3m2fn", contract=ZEROING, name="library", story=_LIBRARY),
    right(saturated_by_clip, "f32", "e5m2", contract=SATURATING),
    right(i8_by_magic, "f32", "i8", contract=ZEROING),
    right(e2m1_by_thresholds, "f32", "e2m1fn", contract=ZEROING),
    right(powers_by_bits, "f32", "e8m0fnu", contract=UP),
    right(flushing, "f32", "f16", contract=FLUSHING),
    right(
        _library(np.float16),
        "f32",
        "f16",
        contract=FLUSHING,
        name="flushing_nothing",
        story="Subnormal numbers are kept where flushing is allowed.",
    ),
    right(flushing_operands, "f32", "f64", contract=FLUSHING),
    right(wrapping, "i32", "i8", contract=WRAPPING),
    right(bf16_stochastic, "f32", "bf16", contract=STOCHASTIC, make=drawing(bf16_stochastic)),
    right(bf16_stochastic_coarse, "f32", "bf16", contract=STOCHASTIC, make=drawing(bf16_stochastic_coarse)),
    right(by_coin, "f32", "i8", contract=COIN, make=drawing(by_coin)),
    right(seeded, "f32", "bf16", contract=SEEDED),
)
