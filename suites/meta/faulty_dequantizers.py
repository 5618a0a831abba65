"""Dequantizers that are wrong in ways seen in the field; ids are those of the fault classes they stand for.

Each is one changed step of a right dequantizer. Codes come one a byte or packed, scales in their own type.
"""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
from quantize_parts import E5M2, F32, Array, Step, codes_of, f32

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling

BF16 = ml_dtypes.bfloat16
MXFP4_BYTES = replace(Scaling.of("mxfp4"), name="mxfp4_bytes", packing="none")
SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_swizzled", scale_layout="swizzled-128x4")
E2M1_VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


# Steps --------------------------------------------------------------------------------------------------------------


def each(scale: Array, size: int, n: int) -> Array:
    """The scale of every number of a row of groups."""
    return np.repeat(scale, size, axis=-1)[..., :n]


def nibbles(codes: Array) -> Array:
    low, high = codes & 15, codes >> 4
    return np.stack([low, high], axis=-1).reshape(*codes.shape[:-1], codes.shape[-1] * 2)


def nibbles_swapped(codes: Array) -> Array:
    return nibbles(codes << 4 | codes >> 4)


def signed_nibbles(codes: Array) -> Array:
    found = nibbles(codes).astype(np.int8)
    return np.where(found > 7, found - 16, found)


def six_bits(codes: Array) -> Array:
    three = codes.reshape(*codes.shape[:-1], codes.shape[-1] // 3, 3).astype(np.uint32)
    word = three[..., 0] | three[..., 1] << 8 | three[..., 2] << 16
    four = np.stack([word >> shift & 63 for shift in (0, 6, 12, 18)], axis=-1)
    return four.astype(np.uint8).reshape(*codes.shape[:-1], codes.shape[-1] // 3 * 4)


def e3m2(codes: Array) -> Array:
    return codes.view(ml_dtypes.float6_e3m2fn).astype(np.float64)


def by_columns_of_four(codes: Array) -> Array:
    found = six_bits(codes)
    return found.reshape(*found.shape[:-1], found.shape[-1] // 4, 4)[..., ::-1].reshape(found.shape)


def once(product: Array, out: Any) -> Array:
    """Rounded once: bf16 through round to odd in f32, whose 24 bits are more than 8 + 2."""
    product = np.asarray(product, np.float64)
    if out is np.float32:
        return product.astype(np.float32)
    near = product.astype(np.float32)
    inexact = near.astype(np.float64) != product
    bits = near.view(np.uint32)
    away = np.abs(near.astype(np.float64)) > np.abs(product)
    odd = np.where(inexact & np.isfinite(near) & np.isfinite(product), (bits - away) | 1, bits).astype(np.uint32)
    return odd.view(np.float32).astype(out)


def twice(product: Array, out: Any) -> Array:
    return np.asarray(product, np.float64).astype(np.float32).astype(out)


def truncated(product: Array, out: Any) -> Array:
    near = once(product, out)
    past = np.abs(near.astype(np.float64)) > np.abs(product)
    return np.where(past, np.nextafter(near, np.asarray(0, near.dtype)), near).astype(out)


def as_double(x: Array) -> Array:
    return np.asarray(x).astype(np.float64)


# Right dequantizers, every step of which can be replaced --------------------------------------------------------------


def i8_row(
    codes: Array,
    scale: Array,
    *,
    out: Any = BF16,
    element: Step = as_double,
    scales: Step = as_double,
    finish: Step = once,
) -> Array:
    return finish(element(codes) * scales(scale), out)


def mxfp8(
    codes: Array,
    scale: Array,
    *,
    element: Step = as_double,
    scales: Step = as_double,
    size: int = 32,
    place: Step = lambda s: s,
) -> Array:
    values = element(codes)
    return once(values * each(place(scales(scale)), size, codes.shape[-1]), np.float32)


def mxfp4(codes: Array, scale: Array, *, unpack: Step = nibbles, table: Array = E2M1_VALUES) -> Array:
    values = table[unpack(codes)]
    return once(values * each(as_double(scale), 32, values.shape[-1]), BF16)


def mxfp6(codes: Array, scale: Array, *, unpack: Step = six_bits) -> Array:
    values = e3m2(unpack(codes))
    return once(values * each(as_double(scale), 32, values.shape[-1]), np.float32)


def nvfp4(
    codes: Array,
    scale: Array,
    top: Array,
    *,
    scales: Step = as_double,
    tops: Step = as_double,
    finish: Step = once,
    out: Any = np.float32,
) -> Array:
    values = E2M1_VALUES[nibbles(codes)]
    return finish(values * each(scales(scale), 16, values.shape[-1]) * tops(top), out)


def nvfp4_scales_first(codes: Array, scale: Array, top: Array) -> Array:
    values = E2M1_VALUES[nibbles(codes)]
    both = (f32(scale) * top).astype(np.float32)
    return (f32(values) * each(both, 16, values.shape[-1])).astype(np.float32)


def zero_point(
    codes: Array,
    scale: Array,
    zero: Array,
    *,
    unpack: Step = signed_nibbles,
    sign: float = 1.0,
    late: bool = False,
    fused: bool = False,
    zeros: Step = as_double,
) -> Array:
    values = as_double(unpack(codes))
    spread = [each(part, 32, values.shape[-1]) for part in (as_double(scale), zeros(zero) * sign)]
    if late:
        return once(values * spread[0] - spread[1], np.float32)
    if fused:
        return (f32(f32(values) * f32(spread[0])) + f32(-f32(spread[1]) * f32(spread[0]))).astype(np.float32)
    return once((values - spread[1]) * spread[0], np.float32)


def blocks(codes: Array, scale: Array, *, turned: bool = False) -> Array:
    chosen = np.swapaxes(scale, -1, -2).reshape(scale.shape) if turned else scale
    spread = np.repeat(np.repeat(as_double(chosen), 128, axis=-2), 128, axis=-1)
    return once(as_double(codes) * spread[..., : codes.shape[-2], : codes.shape[-1]], np.float32)


def unswizzled(codes: Array, scale: Array, *, known: bool = True) -> Array:
    rows, columns = int(np.prod(codes.shape[:-1])), -(-codes.shape[-1] // 32)
    tiles = -(-rows // 128), -(-columns // 4)
    r, c = np.indices((rows, columns))
    place = (r // 128 * tiles[1] + c // 4) * 512 + r % 32 * 16 + r % 128 // 32 * 4 + c % 4
    flat = scale[place] if known else scale.reshape(tiles[0] * 128, tiles[1] * 4)[:rows, :columns]
    return mxfp8(codes, flat.reshape(*codes.shape[:-1], columns))


# Faults -------------------------------------------------------------------------------------------------------------


def but(run: Step, **steps: Any) -> Step:
    return lambda *arrays: run(*arrays, **steps)


def viewed(dtype: Any) -> Step:
    return lambda codes: codes_of(codes).view(dtype).astype(np.float64)


def e8m0(subnormal: float = 2.0**-127, last: float = np.nan, bias: int = 127) -> Step:
    def decode(scale: Array) -> Array:
        bits = codes_of(scale).astype(np.int64)
        values = np.ldexp(1.0, bits - bias)
        return np.where(bits == 255, last, np.where(bits == 0, subnormal, values))

    return decode


def e4m3_flushed(scale: Array) -> Array:
    values = as_double(scale)
    return np.where(np.abs(values) < 2.0**-6, 0, values)


def nan_as_480(codes: Array) -> Array:
    values = as_double(codes)
    return np.where(np.isnan(values), np.where(codes_of(codes) > 127, -480.0, 480.0), values)


def first_only(scale: Array) -> Array:
    return np.broadcast_to(as_double(scale)[..., :1], scale.shape)


def turned(scale: Array) -> Array:
    return np.swapaxes(scale, -1, -2).reshape(scale.shape)


def through(dtype: Any) -> Step:
    return lambda scale: np.asarray(scale).astype(np.float32).astype(dtype).astype(np.float64)


def as_e5m2(scale: Array) -> Array:
    return codes_of(scale).view(E5M2).astype(np.float64)


def wrong_entry() -> Array:
    table = E2M1_VALUES.copy()
    table[[5, 13]] = [2.5, -2.5]
    return table


def remembers() -> Step:
    kept: dict[tuple[int, ...], Array] = {}

    def run(codes: Array, scale: Array) -> Array:
        return i8_row(codes, kept.setdefault(scale.shape, scale.copy()))

    return run


def loses_tail(codes: Array, scale: Array) -> Array:
    found = mxfp8(codes, scale)
    found[..., codes.shape[-1] // 32 * 32 :] = 0
    return found


def contiguous_only(codes: Array, scale: Array) -> Array:
    strides = np.cumprod([codes.itemsize, *codes.shape[:0:-1]])[::-1]
    return i8_row(np.lib.stride_tricks.as_strided(codes, codes.shape, tuple(int(s) for s in strides)), scale)


def sometimes() -> Step:
    calls = [0]

    def run(codes: Array, scale: Array) -> Array:
        found = i8_row(codes, scale, out=np.float32)
        calls[0] += 1
        if calls[0] % 3 == 0 and found.size:
            found.reshape(-1)[0] = np.nextafter(found.reshape(-1)[0], F32(np.inf))
        return found

    return run


FUSED = Contract(scale_arithmetic="fused_zero")
#: Name, function, scaling, output format, contract, and the checks of which at least one must name it.
FAULTS: tuple[tuple[str, Step, Any, str, Contract | None, set[str]], ...] = (
    ("double-rounding", but(i8_row, finish=twice), "i8_row", "bf16", None, {"rounding"}),
    ("truncates", but(i8_row, finish=truncated), "i8_row", "bf16", None, {"exact"}),
    ("scale-in-bf16", but(i8_row, scales=through(BF16), out=np.float32), "i8_row", "f32", None, {"exact"}),
    ("unsigned-i8", but(i8_row, element=lambda codes: as_double(codes_of(codes))), "i8_row", "bf16", None, {"codes"}),
    ("F063-stale-scale", remembers(), "i8_row", "bf16", None, {"second_call"}),
    ("strides-ignored", contiguous_only, "i8_row", "bf16", None, {"layout"}),
    ("race", sometimes(), "i8_row", "f32", None, {"repeat", "exact"}),
    ("F073-as-fnuz", but(mxfp8, element=viewed(ml_dtypes.float8_e4m3fnuz)), "mxfp8_e4m3", "f32", None, {"codes"}),
    ("F074-as-e5m2", but(mxfp8, element=viewed(E5M2)), "mxfp8_e4m3", "f32", None, {"codes"}),
    ("nan-as-480", but(mxfp8, element=nan_as_480), "mxfp8_e4m3", "f32", None, {"special"}),
    ("F080-bias-off-by-one", but(mxfp8, scales=e8m0(bias=126)), "mxfp8_e4m3", "f32", None, {"codes", "scales"}),
    ("F080-code-0-as-zero", but(mxfp8, scales=e8m0(subnormal=0.0)), "mxfp8_e4m3", "f32", None, {"scales"}),
    ("F080-code-255-infinite", but(mxfp8, scales=e8m0(last=np.inf)), "mxfp8_e4m3", "f32", None, {"special"}),
    ("F017-first-scale", but(mxfp8, scales=first_only), "mxfp8_e4m3", "f32", None, {"placed"}),
    ("F017-scale-transposed", but(mxfp8, place=turned), "mxfp8_e4m3", "f32", None, {"placed"}),
    (
        "group-of-16",
        lambda codes, scale: mxfp8(codes, np.repeat(scale, 2, axis=-1)[..., : scale.shape[-1]], size=32),
        "mxfp8_e4m3",
        "f32",
        None,
        {"placed"},
    ),
    ("F017-block-transposed", but(blocks, turned=True), "fp8_block128", "f32", None, {"placed"}),
    ("F019-swizzle-forgotten", but(unswizzled, known=False), SWIZZLED, "f32", None, {"placed"}),
    ("F008-tail-lost", loses_tail, "mxfp8_e4m3", "f32", None, {"tails"}),
    ("F082-nibbles-swapped", but(mxfp4, unpack=nibbles_swapped), "mxfp4", "bf16", None, {"codes"}),
    ("F082-table", but(mxfp4, table=wrong_entry()), "mxfp4", "bf16", None, {"codes"}),
    ("F083-six-bits-reversed", but(mxfp6, unpack=by_columns_of_four), "mxfp6_e3m2", "f32", None, {"codes"}),
    ("F026-no-sign-extension", but(zero_point, unpack=nibbles), "i4_group32_zp", "f32", None, {"codes"}),
    ("F086-sign", but(zero_point, sign=-1.0), "i4_group32_zp", "f32", None, {"zero_points"}),
    ("F086-ignored", but(zero_point, sign=0.0), "i4_group32_zp", "f32", None, {"zero_points"}),
    ("F086-after-scale", but(zero_point, late=True), "i4_group32_zp", "f32", None, {"zero_points"}),
    (
        "F086-read-as-unsigned",
        but(zero_point, zeros=lambda z: as_double(codes_of(z) & 15)),
        "i4_group32_zp",
        "f32",
        None,
        {"zero_points"},
    ),
    ("fused-undeclared", but(zero_point, fused=True), "i4_group32_zp", "f32", None, {"zero_points", "exact"}),
    ("F086-sign-fused", but(zero_point, sign=-1.0, fused=True), "i4_group32_zp", "f32", FUSED, {"zero_points"}),
    ("F021-global-missing", but(nvfp4, tops=lambda top: 1.0), "nvfp4", "f32", None, {"exact"}),
    ("F021-global-inverted", but(nvfp4, tops=lambda top: 1 / as_double(top)), "nvfp4", "f32", None, {"exact"}),
    ("F021-scale-as-e5m2", but(nvfp4, scales=as_e5m2), "nvfp4", "f32", None, {"scales"}),
    ("F081-subnormal-scale-flushed", but(nvfp4, scales=e4m3_flushed), "nvfp4", "f32", None, {"scales"}),
    ("F081-scales-first", nvfp4_scales_first, "nvfp4", "f32", None, {"exact"}),
)

#: Right dequantizers that differ from one another.
CORRECT: tuple[tuple[str, Step, Any, str, Contract | None], ...] = (
    ("i8-row", i8_row, "i8_row", "bf16", None),
    ("i8-row-f32", lambda codes, scale: f32(codes) * scale, "i8_row", "f32", None),
    ("i8-row-twice", but(i8_row, finish=twice), "i8_row", "bf16", Contract(scale_arithmetic="element_first")),
    ("mxfp8", mxfp8, "mxfp8_e4m3", "f32", None),
    ("mxfp8-by-hand", but(mxfp8, scales=e8m0()), "mxfp8_e4m3", "f32", None),
    ("mxfp8-swizzled", unswizzled, SWIZZLED, "f32", None),
    ("mxfp6", mxfp6, "mxfp6_e3m2", "f32", None),
    ("mxfp4", mxfp4, "mxfp4", "bf16", None),
    ("mxfp4-bytes", but(mxfp4, unpack=lambda codes: codes), MXFP4_BYTES, "bf16", None),
    ("nvfp4", nvfp4, "nvfp4", "f32", None),
    ("nvfp4-bf16", but(nvfp4, out=BF16), "nvfp4", "bf16", None),
    ("nvfp4-scales-first", nvfp4_scales_first, "nvfp4", "f32", Contract(scale_arithmetic="scales_first")),
    ("fp8-block", blocks, "fp8_block128", "f32", None),
    ("i4-zero-point", zero_point, "i4_group32_zp", "f32", None),
    ("i4-fused", but(zero_point, fused=True), "i4_group32_zp", "f32", FUSED),
)
