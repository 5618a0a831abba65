"""What the right and the wrong quantizers and dequantizers of the zoo are made of, on numpy arrays.

A quantizer is a scheme: how x is cut into groups, and one function for each step. A fault replaces a step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

Array = Any
Step = Callable[..., Array]
E4M3, E5M2, E2M1 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float4_e2m1fn
E3M2, E8M0 = ml_dtypes.float6_e3m2fn, ml_dtypes.float8_e8m0fnu
F32 = np.float32


def f32(x: Array) -> Array:
    """The values as f32."""
    return np.asarray(x).astype(np.float32)


# Groups: (.., m, n) to (.., m, k, g) and back -----------------------------------------------------------------------


def by_row(x: Array) -> Array:
    """A group for each row."""
    return x[..., None, :]


def by_tensor(x: Array) -> Array:
    """One group."""
    return x.reshape(1, 1, -1)


def by_group(size: int) -> Step:
    """Groups of so many columns, zeros after the last."""

    def cut(x: Array) -> Array:
        short = -x.shape[-1] % size
        whole = np.concatenate([x, np.zeros((*x.shape[:-1], short), x.dtype)], axis=-1)
        return whole.reshape(*x.shape[:-1], whole.shape[-1] // size, size)

    return cut


def by_block(rows: int, columns: int) -> Step:
    """(.., m/rows, n/columns, rows * columns)."""

    def cut(x: Array) -> Array:
        short = (-x.shape[-2] % rows, -x.shape[-1] % columns)
        whole = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, short[0]), (0, short[1])])
        tiles = whole.reshape(*x.shape[:-2], whole.shape[-2] // rows, rows, whole.shape[-1] // columns, columns)
        return np.moveaxis(tiles, -3, -2).reshape(*tiles.shape[:-3], tiles.shape[-2], rows * columns)

    return cut


def uncut(groups: Array, shape: tuple[int, ...]) -> Array:
    """The groups put together again."""
    if groups.shape[:2] == (1, 1) and groups.size == int(np.prod(shape)):
        return groups.reshape(shape)
    return groups.reshape(*groups.shape[:-2], groups.shape[-2] * groups.shape[-1])[..., : shape[-1]]


def unblocked(rows: int, columns: int) -> Step:
    """The blocks put together again."""

    def paste(groups: Array, shape: tuple[int, ...]) -> Array:
        tiles = groups.reshape(*groups.shape[:-1], rows, columns)
        whole = np.moveaxis(tiles, -2, -3)
        whole = whole.reshape(*groups.shape[:-3], groups.shape[-3] * rows, groups.shape[-2] * columns)
        return whole[..., : shape[-2], : shape[-1]]

    return paste


# Scales -------------------------------------------------------------------------------------------------------------


def largest(groups: Array) -> Array:
    """The largest magnitude of each group."""
    return np.abs(groups).max(axis=-1, initial=0)


def over(most: float) -> Step:
    """amax / most in f32, 1 for groups of zeros."""

    def rule(amax: Array) -> Array:
        scale = amax / F32(most)
        return np.where((amax == 0) | (scale == 0), F32(1), scale).astype(np.float32)

    return rule


def exponent(amax: Array) -> Array:
    """floor(log2(amax))."""
    return np.frexp(amax)[1] - 1


def power(emax: int, *, lift: Step = lambda amax: 0) -> Step:
    """2^(floor(log2 amax) + lift - emax) as e8m0."""

    def rule(amax: Array) -> Array:
        safe = np.where(np.isfinite(amax) & (amax > 0), amax, 1)
        e = np.where(amax == 0, -127, exponent(safe) + lift(safe) - emax)
        e = np.where(np.isinf(amax), 128 - emax, e)
        scale = np.ldexp(1.0, np.clip(e, -127, 127).astype(np.int64))
        return np.where(np.isnan(amax), np.nan, scale).astype(E8M0)

    return rule


def divided(groups: Array, scale: Array) -> Array:
    """The quotients in f32."""
    return (groups / f32(scale)[..., None]).astype(np.float32)


def exactly(groups: Array, scale: Array) -> Array:
    """Of powers of two: in float64, where no quotient is rounded or lost."""
    return np.asarray(groups, np.float64) / np.asarray(scale).astype(np.float64)[..., None]


def reciprocal(groups: Array, scale: Array) -> Array:
    """The products with the reciprocals in f32."""
    return (groups * (F32(1) / f32(scale))[..., None]).astype(np.float32)


# Codes --------------------------------------------------------------------------------------------------------------


def integers(low: int, high: int, how: Step = np.rint) -> Step:
    """Rounded by `how` and saturated; NaN gives 0."""

    def code(quotient: Array) -> Array:
        whole = np.clip(how(quotient), low, high)
        return np.where(np.isnan(whole), 0, whole).astype(np.int8)

    return code


def floats(dtype: Any) -> Step:
    """Saturated, then rounded once by ml_dtypes, from f32 (from float64 it rounds twice)."""
    top = F32(ml_dtypes.finfo(dtype).max)

    def code(quotient: Array) -> Array:
        # A quotient in float64 that f32 has not lies below every tie of the element.
        return np.clip(quotient, -top, top).astype(np.float32).astype(dtype)

    return code


def codes_of(values: Array) -> Array:
    """The codes."""
    return np.asarray(values).view(np.uint8)


def plain(codes: Array) -> Array:
    """As it is."""
    return codes


def low_first(codes: Array) -> Array:
    """Two codes a byte, the first in the lower half."""
    nibbles = codes_of(codes) & 15
    if nibbles.shape[-1] % 2:
        nibbles = np.concatenate([nibbles, np.zeros((*nibbles.shape[:-1], 1), np.uint8)], axis=-1)
    return nibbles[..., 0::2] | nibbles[..., 1::2] << 4


def six_bits(codes: Array, turn: int = 1) -> Array:
    """Four codes in three bytes."""
    bits = codes_of(codes) & 63
    short = -bits.shape[-1] % 4
    bits = np.concatenate([bits, np.zeros((*bits.shape[:-1], short), np.uint8)], axis=-1)
    four = bits.reshape(*bits.shape[:-1], bits.shape[-1] // 4, 4)[..., ::turn].astype(np.uint32)
    word = four[..., 0] | four[..., 1] << 6 | four[..., 2] << 12 | four[..., 3] << 18
    parts = np.stack([word & 255, word >> 8 & 255, word >> 16 & 255], axis=-1)
    return parts.astype(np.uint8).reshape(*bits.shape[:-1], bits.shape[-1] // 4 * 3)


def swizzled(scale: Array) -> Array:
    """The 128 x 4 order, written as the loop of its documentation."""
    rows, columns = int(np.prod(scale.shape[:-1])), scale.shape[-1]
    flat = codes_of(scale).reshape(rows, columns)
    tiles = -(-rows // 128), -(-columns // 4)
    out = np.zeros(tiles[0] * tiles[1] * 512, np.uint8)
    r, c = np.indices(flat.shape)
    place = (r // 128 * tiles[1] + c // 4) * 512 + r % 32 * 16 + r % 128 // 32 * 4 + c % 4
    out[place.reshape(-1)] = flat.reshape(-1)
    return out.view(E8M0)


@dataclass(frozen=True, slots=True)
class Scheme:
    """The steps of a quantizer; the name of the scaling that they follow, or the Scaling."""

    scaling: Any
    cut: Step
    rule: Step
    quotient: Step
    code: Step
    amax: Step = largest
    paste: Step = uncut
    pack: Step = plain
    #: What is returned of the scales (.., m, k).
    store: Step = plain

    def __call__(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            groups = self.cut(f32(x))
            scale = self.rule(self.amax(groups))
            codes = self.paste(self.code(self.quotient(groups, scale)), x.shape)
            return self.pack(codes), np.array(self.store(scale), order="C")


def but(scheme: Scheme, **steps: Any) -> Scheme:
    """The scheme with other steps."""
    return replace(scheme, **steps)


I8_ROW = Scheme("i8_row", by_row, over(127), divided, integers(-127, 127))
I8_TENSOR = Scheme(
    "i8_tensor", by_tensor, over(127), divided, integers(-127, 127), store=lambda scale: scale.reshape(())
)
FP8_GROUP = Scheme("fp8_group128", by_group(128), over(448), divided, floats(E4M3))
FP8_BLOCK = Scheme("fp8_block128", by_block(128, 128), over(448), divided, floats(E4M3), paste=unblocked(128, 128))
MXFP8 = Scheme("mxfp8_e4m3", by_group(32), power(8), exactly, floats(E4M3))
MXFP6 = Scheme("mxfp6_e3m2", by_group(32), power(4), exactly, floats(E3M2), pack=six_bits)
MXFP4 = Scheme("mxfp4", by_group(32), power(2), exactly, floats(E2M1), pack=low_first)


def nvfp4(x: Array, *, most: float = 2688.0, scale_of: Step | None = None, quotient: Step | None = None) -> Array:
    """Blocks of 16 under e4m3 scales and a scale of the tensor, as torchao computes them."""
    with np.errstate(all="ignore"):
        top = (np.abs(f32(x)).max(initial=0) / F32(most)).astype(np.float32)
        groups = by_group(16)(f32(x))
        raw = largest(groups) / F32(6) / top
        chosen = np.clip(raw, F32(2**-6), F32(448)).astype(E4M3) if scale_of is None else scale_of(raw)
        factor = F32(1) / top / f32(chosen)
        parts = groups * factor[..., None] if quotient is None else quotient(groups, chosen, top)
        codes = uncut(floats(E2M1)(parts.astype(np.float32)), x.shape)
        return low_first(codes), np.array(chosen, order="C"), np.asarray(top)


def affine(
    x: Array,
    *,
    round_zero: Step = np.rint,
    low: float = -8.0,
    high: float = 7.0,
    zero_sign: float = -1.0,
    include_zero: bool = True,
) -> Array:
    """Groups of 32 of i4 with a zero point, as torchao computes them in f32."""
    with np.errstate(all="ignore"):
        groups = by_group(32)(f32(x))
        least, most = groups.min(axis=-1), groups.max(axis=-1)
        if include_zero:
            least, most = np.minimum(least, 0), np.maximum(most, 0)
        scale = np.maximum((most - least) / F32(15), np.finfo(np.float32).tiny).astype(np.float32)
        zero = np.clip(low + zero_sign * round_zero((least / scale).astype(np.float32)), low, high)
        whole = np.clip(np.rint(groups * (F32(1) / scale)[..., None]) + zero[..., None], low, high)
        codes = uncut(np.nan_to_num(whole).astype(np.int8), x.shape)
        return low_first(codes), scale, np.nan_to_num(zero).astype(np.int8)
