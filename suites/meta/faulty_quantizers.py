"""Quantizers that are wrong in ways seen in the field; ids are those of the fault classes they stand for.

Each is one changed step of a right quantizer (quantize_parts).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import quantize_parts as parts
from quantize_parts import (
    E2M1,
    E4M3,
    E8M0,
    F32,
    FP8_BLOCK,
    FP8_GROUP,
    I8_ROW,
    MXFP4,
    MXFP6,
    MXFP8,
    Array,
    Scheme,
    Step,
    affine,
    but,
    exponent,
    f32,
    floats,
    integers,
    largest,
    low_first,
    nvfp4,
    over,
    power,
)

from lastbit.contract import Contract
from lastbit.references.scaling import Scaling

NONE: frozenset[str] = frozenset()
#: A static quantizer of int8: run(x, scale) -> codes.
STATIC = Scaling("i8_static", "i8", "the zoo's", granularity="row", rule="given", lowest=-127.0)
SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_swizzled", scale_layout="swizzled-128x4")
STOCHASTIC = Contract(output_rounding="stochastic", deterministic=False)


def static(code: Step) -> Step:
    def run(x: Array, scale: Array) -> Array:
        with np.errstate(all="ignore"):
            return code(f32(x) / scale)

    return run


def wraps(quotient: Array) -> Array:
    return np.rint(np.clip(quotient, -(2.0**31), 2.0**31 - 1)).astype(np.int64).astype(np.int8)


def half_away(quotient: Array) -> Array:
    whole = np.trunc(quotient)
    return whole + np.where(np.abs(quotient - whole) >= 0.5, np.copysign(1, quotient), 0)


def plus_one_half(quotient: Array) -> Array:
    """0.49999997 + 0.5 is 1 in f32."""
    return np.trunc(quotient + np.copysign(0.5, quotient))


def half_up(quotient: Array) -> Array:
    return np.floor(quotient + 0.5)


def half_to_odd(quotient: Array) -> Array:
    near = np.rint(quotient)
    return np.where(
        np.abs(quotient - np.trunc(quotient)) == 0.5,
        np.trunc(quotient) + np.where(np.trunc(quotient) % 2 == 0, np.copysign(1, quotient), 0),
        near,
    )


def first_group(groups: Array) -> Array:
    return np.broadcast_to(largest(groups)[..., :1], groups.shape[:-1])


def neighbour(groups: Array) -> Array:
    return np.roll(largest(groups), 1, axis=-1)


def without_last(groups: Array) -> Array:
    return largest(groups[..., :-1])


def without_first(groups: Array) -> Array:
    return largest(groups[..., 1:])


def signed(groups: Array) -> Array:
    return groups.max(axis=-1, initial=0)


def down_the_columns(groups: Array) -> Array:
    return np.broadcast_to(np.abs(groups).max(axis=-3, keepdims=True, initial=0)[..., 0], groups.shape[:-1])


def over_the_batch(groups: Array) -> Array:
    return np.broadcast_to(largest(groups).max(axis=0, initial=0), groups.shape[:-1])


def ignoring_nan(groups: Array) -> Array:
    return np.fmax.reduce(np.abs(groups), axis=-1, initial=0)


def ignoring_infinity(groups: Array) -> Array:
    return largest(np.where(np.isinf(groups), 0, groups))


def rounded_through(dtype: Any, rule: Step) -> Step:
    return lambda amax: f32(rule(amax).astype(dtype))


def shifted(rule: Step, power_of_two: int) -> Step:
    return lambda amax: (f32(rule(amax)) * F32(2.0**power_of_two)).astype(E8M0)


def no_guard(amax: Array) -> Array:
    return amax / F32(127)


def flushing(rule: Step) -> Step:
    def flushed(amax: Array) -> Array:
        scale = rule(amax)
        return np.where(scale < np.finfo(np.float32).tiny, F32(1), scale).astype(np.float32)

    return flushed


def with_floor(floor: float) -> Step:
    return lambda amax: np.maximum(over(127)(amax), F32(floor))


def transposed(scale: Array) -> Array:
    return np.swapaxes(scale, -1, -2).reshape(scale.shape)


def unswizzled(scale: Array) -> Array:
    rows, columns = int(np.prod(scale.shape[:-1])), scale.shape[-1]
    whole = np.zeros((-(-rows // 128) * 128, -(-columns // 4) * 4), np.uint8)
    whole[:rows, :columns] = parts.codes_of(scale).reshape(rows, columns)
    return whole.reshape(-1).view(E8M0)


def high_first(codes: Array) -> Array:
    packed = low_first(codes)
    return packed << 4 | packed >> 4


def loses_the_odd_one(codes: Array) -> Array:
    packed = low_first(codes)
    if codes.shape[-1] % 2:
        packed[..., -1] = 0
    return packed


def through(dtype: Any, code: Step) -> Step:
    return lambda quotient: code(f32(f32(quotient).astype(dtype)))


def positive_zero(code: Step) -> Step:
    def changed(quotient: Array) -> Array:
        bits = parts.codes_of(code(quotient))
        return np.where(bits == 0x80, 0, bits).astype(np.uint8).view(E4M3)

    return changed


def flushes_subnormals(quotient: Array) -> Array:
    codes = floats(E4M3)(quotient)
    return np.where(np.abs(f32(codes)) < 2.0**-6, 0, codes).astype(E4M3)


def unsaturated(quotient: Array) -> Array:
    return f32(quotient).astype(E4M3)


def permuted(quotient: Array) -> Array:
    """The codes of 2 and 3 exchanged."""
    bits = parts.codes_of(floats(E2M1)(quotient)) & 15
    size = bits & 7
    return bits & 8 | np.array([0, 1, 2, 3, 5, 4, 6, 7], np.uint8)[size]


def truncated_floats(quotient: Array) -> Array:
    """e4m3 toward zero."""
    rounded = floats(E4M3)(quotient)
    past = np.abs(f32(rounded)) > np.abs(quotient)
    bits = parts.codes_of(rounded)
    return np.where(past, bits - 1, bits).astype(np.uint8).view(E4M3)


def contiguous_only(scheme: Scheme) -> Step:
    def run(x: Array) -> Array:
        strides = np.cumprod([x.itemsize, *x.shape[:0:-1]])[::-1]
        return scheme(np.lib.stride_tricks.as_strided(x, x.shape, tuple(int(s) for s in strides)))

    return run


def remembers_scale() -> Step:
    kept: dict[tuple[int, ...], Array] = {}

    def rule(amax: Array) -> Array:
        return kept.setdefault(amax.shape, over(127)(amax))

    return but(I8_ROW, rule=rule)


def tail_unscaled(x: Array) -> Array:
    """A short group is left as zeros."""
    whole = x.shape[-1] // 32 * 32
    codes, scale = MXFP8(np.concatenate([x[..., :whole], np.zeros_like(x[..., whole:])], axis=-1))
    return codes, scale


def sometimes() -> Step:
    calls = [0]

    def run(x: Array) -> Array:
        codes, scale = I8_ROW(x)
        calls[0] += 1
        if calls[0] % 3 == 0 and codes.size:
            codes = codes.copy()
            codes.reshape(-1)[-1] += 1
        return codes, scale

    return run


def changes_x(x: Array) -> Array:
    result = I8_ROW(x)
    x *= 2
    return result


def fixed_capacity(x: Array) -> Array:
    """Rows beyond 64 are not written."""
    codes, scale = (array.copy() for array in MXFP8(x))
    parts.codes_of(codes)[..., 64:, :] = 0
    return codes, scale


def fp16_inside(x: Array) -> Array:
    return I8_ROW(np.clip(f32(x), -65504, 65504).astype(np.float16).astype(x.dtype))


def even_as_floor(amax: Array) -> Array:
    return power(2)(amax)


def to_even(amax: Array) -> Array:
    """The exponent of amax rounded to two bits, with a carry."""
    return np.where(amax >= np.ldexp(F32(1.75), exponent(amax)), 1, 0)


def up(amax: Array) -> Array:
    return np.where(np.frexp(amax)[0] > 0.5, 1, 0)


def past_six(amax: Array) -> Array:
    """rceil of e2m1: 2^ceil(log2(amax / 6))."""
    quotient = amax / F32(6)
    return np.frexp(quotient)[1] - 1 + up(quotient) - exponent(amax) + 2


def stochastic(share: Callable[[Array, np.random.Generator], Array]) -> Step:
    """MXFP4's codes rounded up in magnitude where `share` of what is lost says so."""
    rng = np.random.default_rng(7)

    def code(quotient: Array) -> Array:
        size = np.abs(np.clip(quotient, -6, 6))
        levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        below = np.clip(np.searchsorted(levels, size, side="right") - 1, 0, 6)
        lost = (size - levels[below]) / (levels[below + 1] - levels[below])
        number = below + (share(lost, rng))
        return (number + np.where(np.signbit(quotient), 8, 0)).astype(np.uint8)

    return code


def fair(lost: Array, rng: np.random.Generator) -> Array:
    return rng.random(lost.shape) < lost


FAULTS: tuple[tuple[str, Step, Any, str, Contract | None, set[str]], ...] = (
    ("wraps", static(wraps), STATIC, "f32", None, {"saturation"}),
    ("uses-minus-128", static(integers(-128, 127)), STATIC, "f32", None, {"saturation"}),
    ("F064-truncates", but(I8_ROW, code=integers(-127, 127, np.trunc)), "i8_row", "f32", None, {"exact", "ties"}),
    ("F065-half-away", but(I8_ROW, code=integers(-127, 127, half_away)), "i8_row", "f32", None, {"ties"}),
    (
        "F065-adds-one-half",
        but(I8_ROW, code=integers(-127, 127, plus_one_half)),
        "i8_row",
        "f32",
        Contract(output_rounding="nearest-away"),
        {"ties"},
    ),
    ("F066-half-up", but(I8_ROW, code=integers(-127, 127, half_up)), "i8_row", "bf16", None, {"ties"}),
    ("F067-half-to-odd", but(I8_ROW, code=integers(-127, 127, half_to_odd)), "i8_row", "bf16", None, {"ties"}),
    ("F064-truncates-e4m3", but(FP8_GROUP, code=truncated_floats), "fp8_group128", "bf16", None, {"exact"}),
    (
        "F068-through-bf16",
        but(FP8_GROUP, code=through(ml_dtypes.bfloat16, floats(E4M3))),
        "fp8_group128",
        "f32",
        None,
        {"ties", "levels"},
    ),
    (
        "F068-through-f16",
        but(MXFP8, code=through(np.float16, floats(E4M3))),
        "mxfp8_e4m3",
        "f32",
        None,
        {"ties", "levels"},
    ),
    ("F069-flushes-codes", but(MXFP8, code=flushes_subnormals), "mxfp8_e4m3", "bf16", None, {"levels"}),
    ("F070-no-saturation", but(MXFP8, code=unsaturated), "mxfp8_e4m3", "f32", None, {"scale_rule", "exact"}),
    ("F071-infinity-ignored", but(MXFP8, amax=ignoring_infinity), "mxfp8_e4m3_floor", "f32", None, {"special"}),
    ("F072-nan-swallowed", but(MXFP8, amax=ignoring_nan), "mxfp8_e4m3", "f32", None, {"special"}),
    ("F072-nan-swallowed-row", but(I8_ROW, amax=ignoring_nan), "i8_row", "f32", None, {"special"}),
    ("F075-max-240", but(FP8_GROUP, rule=over(240)), "fp8_group128", "f32", None, {"exact"}),
    ("F075-amax-over-128", but(I8_ROW, rule=over(128)), "i8_row", "f32", None, {"exact"}),
    ("F076-first-group-only", but(MXFP8, amax=first_group), "mxfp8_e4m3", "f32", None, {"placed"}),
    ("F076-neighbour's-amax", but(FP8_GROUP, amax=neighbour), "fp8_group128", "bf16", None, {"placed", "amax"}),
    ("F076-last-missed", but(MXFP4, amax=without_last), "mxfp4", "f32", None, {"amax"}),
    ("F076-first-missed", but(MXFP4, amax=without_first), "mxfp4", "bf16", None, {"amax"}),
    ("F076-no-abs", but(MXFP8, amax=signed), "mxfp8_e4m3", "f32", None, {"amax"}),
    ("F076-columns", but(I8_ROW, amax=down_the_columns), "i8_row", "f32", None, {"placed"}),
    (
        "F076-batch",
        but(I8_ROW, amax=lambda groups: over_the_batch(groups) if groups.ndim == 4 else largest(groups)),
        "i8_row",
        "f32",
        None,
        {"exact", "placed"},
    ),
    ("F077-zero-row", but(I8_ROW, rule=no_guard), "i8_row", "f32", None, {"blocks"}),
    ("F077-floor", but(I8_ROW, rule=with_floor(1e-5)), "i8_row", "f32", None, {"blocks"}),
    ("F077-subnormal-scale", but(I8_ROW, rule=flushing(over(127))), "i8_row", "f32", None, {"blocks"}),
    ("F078-reciprocal", but(I8_ROW, quotient=parts.reciprocal), "i8_row", "bf16", None, {"ties"}),
    ("F078-reciprocal-e4m3", but(FP8_BLOCK, quotient=parts.reciprocal), "fp8_block128", "bf16", None, {"ties"}),
    (
        "F078-divides",
        lambda x: nvfp4(x, quotient=lambda groups, s, top: groups / (f32(s) * top)[..., None]),
        "nvfp4",
        "bf16",
        None,
        {"ties"},
    ),
    (
        "F079-scale-in-bf16",
        but(I8_ROW, rule=rounded_through(ml_dtypes.bfloat16, over(127))),
        "i8_row",
        "f32",
        None,
        {"exact"},
    ),
    ("F080-ceil-for-floor", but(MXFP4, rule=power(2, lift=up)), "mxfp4_floor", "f32", None, {"scale_rule", "exact"}),
    (
        "F080-even-for-floor",
        but(MXFP4, rule=power(2, lift=to_even)),
        "mxfp4_floor",
        "f32",
        None,
        {"scale_rule", "exact"},
    ),
    ("F080-floor-for-even", but(MXFP4, rule=even_as_floor), "mxfp4_even", "f32", None, {"scale_rule"}),
    ("F080-floor-for-rceil", but(MXFP4, rule=power(2)), "mxfp4_rceil", "f32", None, {"scale_rule"}),
    ("F080-ceil-for-rceil", but(MXFP4, rule=power(2, lift=up)), "mxfp4_rceil", "f32", None, {"scale_rule"}),
    ("F080-rceil-for-ceil", but(MXFP4, rule=power(2, lift=past_six)), "mxfp4_ceil", "f32", None, {"scale_rule"}),
    ("F080-bias-off-by-one", but(MXFP8, rule=shifted(power(8), 1)), "mxfp8_e4m3", "f32", None, {"exact"}),
    ("F081-global-scale-missing", lambda x: _without_global(x), "nvfp4", "f32", None, {"exact"}),
    ("F081-448-for-2688", lambda x: nvfp4(x, most=448.0), "nvfp4", "f32", None, {"exact"}),
    (
        "F081-block-scale-half-away",
        lambda x: nvfp4(x, scale_of=_half_away),
        "nvfp4",
        "bf16",
        None,
        {"scale_rule"},
    ),
    ("F081-block-scale-up", lambda x: nvfp4(x, scale_of=_rounded_up), "nvfp4", "f32", None, {"scale_rule", "exact"}),
    ("F082-code-table", but(MXFP4, code=permuted), "mxfp4", "f32", None, {"exact", "levels"}),
    ("F082-nibbles-swapped", but(MXFP4, pack=high_first), "mxfp4", "f32", None, {"exact"}),
    ("F082-odd-one-lost", but(MXFP4, pack=loses_the_odd_one), "mxfp4", "f32", None, {"tails"}),
    (
        "F083-six-bits-reversed",
        but(MXFP6, pack=lambda codes: parts.six_bits(codes, -1)),
        "mxfp6_e3m2",
        "f32",
        None,
        {"exact"},
    ),
    ("F086-zero-point-truncated", lambda x: affine(x, round_zero=np.trunc), "i4_group32_zp", "f32", None, {"exact"}),
    ("F086-zero-point-sign", lambda x: affine(x, zero_sign=1.0), "i4_group32_zp", "f32", None, {"exact"}),
    ("F086-range-without-zero", lambda x: affine(x, include_zero=False), "i4_group32_zp", "f32", None, {"exact"}),
    ("F017-scale-transposed", but(MXFP8, store=transposed), "mxfp8_e4m3", "f32", None, {"placed"}),
    ("F017-block-scale-transposed", but(FP8_BLOCK, store=transposed), "fp8_block128", "f32", None, {"placed"}),
    ("F019-swizzle-forgotten", but(MXFP8, store=unswizzled), SWIZZLED, "f32", None, {"placed"}),
    ("F063-stale-scale", remembers_scale(), "i8_row", "f32", None, {"second_call"}),
    ("F008-tail-not-quantized", tail_unscaled, "mxfp8_e4m3", "f32", None, {"tails"}),
    ("F089-race", sometimes(), "i8_row", "f32", None, {"repeat", "exact"}),
    ("rows-beyond-capacity", fixed_capacity, "mxfp8_e4m3", "f32", None, {"placed"}),
    ("strides-ignored", contiguous_only(I8_ROW), "i8_row", "f32", None, {"layout"}),
    ("changes-x", changes_x, "i8_row", "f32", None, {"exact"}),
    ("f16-inside", fp16_inside, "i8_row", "f32", None, {"exact", "blocks"}),
    ("zero-sign-lost", but(MXFP8, code=positive_zero(floats(E4M3))), "mxfp8_e4m3", "bf16", None, {"levels", "blocks"}),
    (
        "F087-stochastic-up",
        but(MXFP4, code=stochastic(lambda lost, rng: lost > 0)),
        "mxfp4",
        "f32",
        STOCHASTIC,
        {"stochastic"},
    ),
    (
        "F087-stochastic-nearest",
        but(MXFP4, code=stochastic(lambda lost, rng: lost > 0.5)),
        "mxfp4",
        "f32",
        STOCHASTIC,
        {"stochastic"},
    ),
    (
        "F087-stochastic-biased",
        but(MXFP4, code=stochastic(lambda lost, rng: rng.random(lost.shape) < 0.8 * lost)),
        "mxfp4",
        "f32",
        STOCHASTIC,
        {"stochastic"},
    ),
    (
        "F087-one-draw-for-all",
        but(MXFP4, code=stochastic(lambda lost, rng: rng.random() < lost)),
        "mxfp4",
        "f32",
        STOCHASTIC,
        {"stochastic"},
    ),
    (
        "F087-one-draw-for-four",
        but(MXFP4, code=stochastic(lambda lost, rng: np.repeat(rng.random((*lost.shape[:-1], 8)), 4, axis=-1) < lost)),
        "mxfp4",
        "f32",
        STOCHASTIC,
        {"stochastic"},
    ),
    (
        "F087-beyond-neighbours",
        but(MXFP4, code=stochastic(lambda lost, rng: 2 * (rng.random(lost.shape) < lost / 2))),
        "mxfp4",
        "f32",
        STOCHASTIC,
        {"exact", "stochastic"},
    ),
)


def _without_global(x: Array) -> Array:
    codes, scale, top = nvfp4(x)
    return codes, scale, np.ones_like(top)


def _rounded_up(raw: Array) -> Array:
    near = np.clip(raw, F32(2**-6), F32(448)).astype(E4M3)
    bits = parts.codes_of(near)
    return np.where((f32(near) < raw) & (bits < 0x7E), bits + 1, bits).astype(np.uint8).view(E4M3)


def _half_away(raw: Array) -> Array:
    """e4m3 with ties away from zero."""
    near = np.clip(raw, F32(2**-6), F32(448)).astype(E4M3)
    bits = parts.codes_of(near)
    above = (bits + 1).astype(np.uint8).view(E4M3)
    tie = (bits < 0x7E) & (raw.astype(np.float64) == (np.float64(near) + np.float64(above)) / 2)
    return np.where(tie, bits + 1, bits).astype(np.uint8).view(E4M3)
