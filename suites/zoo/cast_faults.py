"""Casts that are wrong in ways seen in the field, on NumPy arrays: a few lines each on top of the proved rounding."""

from typing import Any

import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.cast_parts import SATURATING, ZEROING, Array, Run, codes, encoded, of_codes, values, wrong
from lastbit.suites.zoo.specimen import Faulty


def _with_options(out: str, **options: Any) -> Run:
    def run(x: Array) -> Array:
        return encoded(x, out, **options)

    return run


def truncates(x: Array) -> Array:
    """f32 to bf16: the low half is cut off."""
    return of_codes(np.ascontiguousarray(x).view(np.uint32) >> 16, "bf16")


def ties_up(x: Array) -> Array:
    """floor(x + 1/2): ties go up, of negative numbers towards zero."""
    return encoded(np.floor(values(x) + 0.5), "i8", overflow="saturate", nan="zero")


def _through(middle: str, out: str, **options: Any) -> Run:
    def run(x: Array) -> Array:
        return encoded(encoded(x, middle), out, **options)

    return run


def flushes_operands(x: Array) -> Array:
    """Subnormal operands of f16 count as zero."""
    v = values(x)
    return encoded(np.where(np.abs(v) < 2.0**-14, v * 0, v), "bf16")


def flushes_results(x: Array) -> Array:
    """Subnormal results become zero."""
    y = encoded(x, "f16")
    return np.where(np.abs(values(y)) < 2.0**-14, np.float16(0), y)


def infinity_is_nan(x: Array) -> Array:
    """Infinity becomes NaN."""
    v = values(x)
    return encoded(np.where(np.isinf(v), np.nan, v), "e5m2")


def nan_is_zero(x: Array) -> Array:
    """NaN becomes zero."""
    return encoded(np.nan_to_num(values(x), nan=0.0, posinf=np.inf, neginf=-np.inf), "e4m3fn")


def nan_carries(x: Array) -> Array:
    """The rounding of f32 to bf16 is added to NaN too: small payloads become infinities, large ones -0."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return of_codes((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, "bf16")


def loses_negative_zero(x: Array) -> Array:
    """-0 becomes 0."""
    return encoded(values(x) + 0.0, "e4m3fn")


def overflows_early(x: Array) -> Array:
    """Everything above 448 is NaN, what rounds to 448 too."""
    v = values(x)
    return encoded(np.where(np.abs(v) > 448, np.nan, v), "e4m3fn")


def overflows_at_the_tie(x: Array) -> Array:
    """464, halfway to the number after the largest, is NaN."""
    v = values(x)
    return encoded(np.where(np.abs(v) == 464, np.nan, v), "e4m3fn")


def overflows_late(x: Array) -> Array:
    """f16 overflows from the power of two on, not from halfway to it."""
    v = values(x)
    return encoded(np.where((np.abs(v) < 65536) & (np.abs(v) > 65504), np.copysign(65504, v), v), "f16")


def mistakes_bias(x: Array) -> Array:
    """The codes of e4m3fn are taken for those of e4m3fnuz, whose bias is one more."""
    held = codes(encoded(x, "e4m3fn", overflow="nan"))
    return of_codes(np.where(held & 0x7F == 0x7F, 0x80, np.where(held == 0x80, 0, held)), "e4m3fnuz")


def powers_up(x: Array) -> Array:
    """Powers of two are taken from above."""
    return encoded(x, "e8m0fnu", rounding="up")


def powers_down(x: Array) -> Array:
    """Powers of two are taken from below."""
    return encoded(x, "e8m0fnu", rounding="down")


def wrong_for_one_code(x: Array) -> Array:
    """One code of 65536 has a wrong last bit."""
    y = encoded(x, "e4m3fn")
    held = codes(y)
    held[np.asarray(x).view(np.uint16) == 0x3F91] ^= 1
    return y


def wrong_above(x: Array) -> Array:
    """Numbers above 2^14 are cut, not rounded."""
    v = values(x)
    return np.where(np.abs(v) > 2.0**14, encoded(v, "e5m2", rounding="toward-zero"), encoded(v, "e5m2"))


def loses_sign_of_small(x: Array) -> Array:
    """The sign of what rounds to zero is lost."""
    y = encoded(x, "e4m3fn")
    codes(y)[codes(y) == 0x80] = 0
    return y


def loses_sign(x: Array) -> Array:
    """The sign is lost."""
    return encoded(np.abs(values(x)), "f16")


def loses_carry(x: Array) -> Array:
    """A significand that rounds up to 2 does not raise the exponent."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    up = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    down = bits >> 16
    lost = (up >> 7) != (down >> 7)
    held = np.where(lost, down & 0xFF80, up)
    return of_codes(np.where(np.isnan(x), 0x7FC0, held), "bf16")


def forgets_to_normalize(x: Array) -> Array:
    """f16 to f32: subnormal numbers keep their significand and get the smallest exponent, as if they were normal."""
    v = values(x)
    small = (np.abs(v) < 2.0**-14) & (v != 0)
    return np.where(small, np.copysign(2.0**-15 * (1 + np.abs(v) * 2.0**14), v), v).astype(np.float32)


def wraps(x: Array) -> Array:
    """Overflow wraps around at 8 bits."""
    v = np.nan_to_num(np.rint(values(x)), nan=0, posinf=0, neginf=0)
    return (np.clip(v, -(2.0**60), 2.0**60).astype(np.int64) & 0xFF).astype(np.uint8).view(np.int8)


def symmetric(x: Array) -> Array:
    """-128 becomes -127."""
    return np.maximum(encoded(x, "i8", overflow="saturate", nan="zero"), np.int8(-127))


def small_sign(x: Array) -> Array:
    """f64 to f32: the sign bit is that of the number rounded to f16."""
    return np.copysign(encoded(x, "f32"), np.where(np.abs(values(x)) < 2.0**-24, 1.0, values(x))).astype(np.float32)


def wide_ulp(x: Array) -> Array:
    """f32 to f64 by way of decimal digits: the eighth is lost."""
    v = values(x)
    return np.where(np.isfinite(v) & (np.abs(v) > 1e6), np.rint(v / 4) * 4, v)


E8M0 = Contract(output_rounding="nearest-away")
_AWAY, _SATURATES, _INFINITE, _TWICE = (
    "Ties go away from zero.",
    "Overflow gives the largest number where infinity or NaN is promised.",
    "Overflow gives infinity or NaN where the largest number is promised.",
    "The number is rounded to a format between the two first.",
)
#: Every faulty cast that rounds to nearest.
FAULTY: tuple[Faulty, ...] = (
    wrong("F064", truncates, "f32", "bf16", "boundaries", "sampled", "exhaustive"),
    wrong(
        "F065",
        _with_options("bf16", rounding="nearest-away"),
        "f32",
        "bf16",
        "boundaries",
        name="ties_away",
        story=_AWAY,
    ),
    wrong(
        "F065",
        _with_options("e4m3fn", rounding="nearest-away"),
        "f16",
        "e4m3fn",
        "boundaries",
        "sampled",
        "exhaustive",
        name="ties_away",
        story=_AWAY,
    ),
    wrong("F066", ties_up, "f32", "i8", "boundaries", contract=ZEROING),
    wrong("F068", _through("f32", "bf16"), "f64", "bf16", "boundaries", name="double_through_f32", story=_TWICE),
    wrong("F068", _through("f32", "f16"), "f64", "f16", "boundaries", name="double_through_f32", story=_TWICE),
    wrong("F068", _through("f16", "e4m3fn"), "f32", "e4m3fn", "boundaries", name="double_through_f16", story=_TWICE),
    wrong("F068", _through("bf16", "e5m2"), "f32", "e5m2", "boundaries", name="double_through_bf16", story=_TWICE),
    wrong("F028", flushes_operands, "f16", "bf16", "exhaustive", "special"),
    wrong("F069", flushes_results, "f32", "f16", "boundaries", "idempotent"),
    wrong(
        "F070",
        _with_options("f16", overflow="saturate"),
        "f32",
        "f16",
        "boundaries",
        name="saturates",
        story=_SATURATES,
    ),
    wrong(
        "F070",
        _with_options("e4m3fn", overflow="saturate"),
        "bf16",
        "e4m3fn",
        "boundaries",
        "sampled",
        "exhaustive",
        name="saturates",
        story=_SATURATES,
    ),
    wrong(
        "F070",
        _with_options("e5m2"),
        "f32",
        "e5m2",
        "boundaries",
        contract=SATURATING,
        name="infinite",
        story=_INFINITE,
    ),
    wrong(
        "F070",
        _with_options("e4m3fn"),
        "f32",
        "e4m3fn",
        "boundaries",
        contract=SATURATING,
        name="nan_for_overflow",
        story=_INFINITE,
    ),
    wrong("F071", infinity_is_nan, "f32", "e5m2", "special", "boundaries"),
    wrong("F072", nan_is_zero, "f32", "e4m3fn", "special"),
    wrong("F072", nan_carries, "f32", "bf16", "special"),
    wrong(
        "F072",
        _with_options("e2m1fn", nan="max"),
        "f32",
        "e2m1fn",
        "special",
        contract=ZEROING,
        name="nan_is_max",
        story="NaN becomes the largest number where 0 is promised.",
    ),
    wrong("F069", loses_negative_zero, "f32", "e4m3fn", "special", "idempotent"),
    wrong("F070", overflows_early, "f32", "e4m3fn", "boundaries"),
    wrong("F070", overflows_at_the_tie, "f32", "e4m3fn", "boundaries"),
    wrong("F070", overflows_late, "f32", "f16", "boundaries"),
    wrong("F073", mistakes_bias, "f16", "e4m3fnuz", "exhaustive", "idempotent"),
    wrong("F080", powers_up, "f32", "e8m0fnu", "boundaries", "sampled", "exhaustive", contract=E8M0),
    wrong("F080", powers_down, "bf16", "e8m0fnu", "boundaries", "sampled", "exhaustive", contract=E8M0),
    wrong("F027", wrong_for_one_code, "bf16", "e4m3fn", "exhaustive"),
    wrong("F064", wrong_above, "f32", "e5m2", "boundaries", "sampled", "exhaustive"),
    wrong("F069", loses_sign_of_small, "f32", "e4m3fn", "boundaries"),
    wrong("F076", loses_sign, "f32", "f16", "boundaries", "sampled", "exhaustive"),
    wrong("F069", loses_carry, "f32", "bf16", "boundaries", "monotone"),
    wrong("F069", forgets_to_normalize, "f16", "f32", "exhaustive", "idempotent"),
    wrong("F070", wraps, "f32", "i8", "boundaries", contract=ZEROING),
    wrong("F075", symmetric, "f32", "i8", "boundaries", "idempotent", contract=ZEROING),
    wrong("F013", small_sign, "f64", "f32", "boundaries", "sampled", "exhaustive"),
    wrong("F013", wide_ulp, "f32", "f64", "sampled", "idempotent"),
)
