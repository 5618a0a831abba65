"""What the right and the wrong dequantizers of the zoo are made of; codes come one a byte or packed."""

from typing import Any

import ml_dtypes
import numpy as np

from lastbit.suites.zoo.quantize_parts import Array, Step, f32

BF16 = ml_dtypes.bfloat16
E2M1_VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


# Steps --------------------------------------------------------------------------------------------------------------


def each(scale: Array, size: int, n: int) -> Array:
    """The scale of every number of a row of groups."""
    return np.repeat(scale, size, axis=-1)[..., :n]


def nibbles(codes: Array) -> Array:
    """The two codes of each byte, the lower half first."""
    low, high = codes & 15, codes >> 4
    return np.stack([low, high], axis=-1).reshape(*codes.shape[:-1], codes.shape[-1] * 2)


def nibbles_swapped(codes: Array) -> Array:
    """The two codes of each byte, the upper half first."""
    return nibbles(codes << 4 | codes >> 4)


def signed_nibbles(codes: Array) -> Array:
    """The two codes of each byte as numbers from -8 to 7."""
    found = nibbles(codes).astype(np.int8)
    return np.where(found > 7, found - 16, found)


def six_bits(codes: Array) -> Array:
    """The four codes of three bytes."""
    three = codes.reshape(*codes.shape[:-1], codes.shape[-1] // 3, 3).astype(np.uint32)
    word = three[..., 0] | three[..., 1] << 8 | three[..., 2] << 16
    four = np.stack([word >> shift & 63 for shift in (0, 6, 12, 18)], axis=-1)
    return four.astype(np.uint8).reshape(*codes.shape[:-1], codes.shape[-1] // 3 * 4)


def e3m2(codes: Array) -> Array:
    """The values of e3m2 codes."""
    return codes.view(ml_dtypes.float6_e3m2fn).astype(np.float64)


def by_columns_of_four(codes: Array) -> Array:
    """The four codes of three bytes from the last to the first."""
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
    """Rounded to f32, then to the output."""
    return np.asarray(product, np.float64).astype(np.float32).astype(out)


def truncated(product: Array, out: Any) -> Array:
    """Cut toward zero."""
    near = once(product, out)
    past = np.abs(near.astype(np.float64)) > np.abs(product)
    return np.where(past, np.nextafter(near, np.asarray(0, near.dtype)), near).astype(out)


def as_double(x: Array) -> Array:
    """The values in f64."""
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
    """A scale for each row."""
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
    """A scale for each group of columns."""
    values = element(codes)
    return once(values * each(place(scales(scale)), size, codes.shape[-1]), np.float32)


def mxfp4(codes: Array, scale: Array, *, unpack: Step = nibbles, table: Array = E2M1_VALUES) -> Array:
    """Groups of 32 of e2m1."""
    values = table[unpack(codes)]
    return once(values * each(as_double(scale), 32, values.shape[-1]), BF16)


def mxfp6(codes: Array, scale: Array, *, unpack: Step = six_bits) -> Array:
    """Groups of 32 of e3m2."""
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
    """Groups of 16 of e2m1 and a scale of the tensor."""
    values = E2M1_VALUES[nibbles(codes)]
    return finish(values * each(scales(scale), 16, values.shape[-1]) * tops(top), out)


def nvfp4_scales_first(codes: Array, scale: Array, top: Array) -> Array:
    """The two scales are multiplied and rounded first."""
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
    """Groups of 32 of i4 and their zero points."""
    values = as_double(unpack(codes))
    spread = [each(part, 32, values.shape[-1]) for part in (as_double(scale), zeros(zero) * sign)]
    if late:
        return once(values * spread[0] - spread[1], np.float32)
    if fused:
        return (f32(f32(values) * f32(spread[0])) + f32(-f32(spread[1]) * f32(spread[0]))).astype(np.float32)
    return once((values - spread[1]) * spread[0], np.float32)


def blocks(codes: Array, scale: Array, *, turned: bool = False) -> Array:
    """Blocks of 128x128."""
    chosen = np.swapaxes(scale, -1, -2).reshape(scale.shape) if turned else scale
    spread = np.repeat(np.repeat(as_double(chosen), 128, axis=-2), 128, axis=-1)
    return once(as_double(codes) * spread[..., : codes.shape[-2], : codes.shape[-1]], np.float32)


def unswizzled(codes: Array, scale: Array, *, known: bool = True) -> Array:
    """Groups of 32 whose scales lie in the 128x4 order."""
    rows, columns = int(np.prod(codes.shape[:-1])), -(-codes.shape[-1] // 32)
    tiles = -(-rows // 128), -(-columns // 4)
    r, c = np.indices((rows, columns))
    place = (r // 128 * tiles[1] + c // 4) * 512 + r % 32 * 16 + r % 128 // 32 * 4 + c % 4
    flat = scale[place] if known else scale.reshape(tiles[0] * 128, tiles[1] * 4)[:rows, :columns]
    return mxfp8(codes, flat.reshape(*codes.shape[:-1], columns))
