"""Casts that are wrong in ways seen in the field, on NumPy arrays: a few lines each on top of the proved rounding."""

from typing import Any

import numpy as np
from cast_parts import (
    PLAIN,
    SATURATING,
    STOCHASTIC,
    ZEROING,
    Array,
    Fault,
    Run,
    codes,
    encoded,
    of_codes,
    pair,
    values,
)

from lastbit.contract import Contract

RNG = np.random.default_rng(5)
RANDOM_BITS = 24


def with_options(out: str, **options: Any) -> Run:
    def run(x: Array) -> Array:
        return encoded(x, out, **options)

    return run


def truncates(x: Array) -> Array:
    """f32 to bf16: the low half is cut off."""
    return of_codes(np.ascontiguousarray(x).view(np.uint32) >> 16, "bf16")


def ties_up(x: Array) -> Array:
    """floor(x + 1/2): ties go up, of negative numbers towards zero."""
    return encoded(np.floor(values(x) + 0.5), "i8", overflow="saturate", nan="zero")


def through(middle: str, out: str, **options: Any) -> Run:
    """Two roundings."""

    def run(x: Array) -> Array:
        return encoded(encoded(x, middle), out, **options)

    return run


def flushes_operands(x: Array) -> Array:
    v = values(x)
    return encoded(np.where(np.abs(v) < 2.0**-14, v * 0, v), "bf16")


def flushes_results(x: Array) -> Array:
    y = encoded(x, "f16")
    return np.where(np.abs(values(y)) < 2.0**-14, np.float16(0), y)


def nan_is_zero(x: Array) -> Array:
    return encoded(np.nan_to_num(values(x), nan=0.0, posinf=np.inf, neginf=-np.inf), "e4m3fn")


def nan_carries(x: Array) -> Array:
    """The rounding of f32 to bf16 is added to NaN too: small payloads become infinities, large ones -0."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return of_codes((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, "bf16")


def loses_negative_zero(x: Array) -> Array:
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


def drops_last_of_odd(x: Array) -> Array:
    y = encoded(x, "e4m3fn")
    if y.size % 2:
        y.reshape(-1)[-1] = 0
    return y


def drops_tail(x: Array) -> Array:
    """Whole vectors of eight alone are converted."""
    y = encoded(x, "bf16")
    y.reshape(-1)[y.size // 8 * 8 :] = 0
    return y


def rereads_tail(x: Array) -> Array:
    """The remainder of a vector of 16 is that of the vector before."""
    y = encoded(x, "e5m2")
    flat = y.reshape(-1)
    rest = flat.size % 16
    if rest and flat.size > 16:
        flat[-rest:] = flat[-rest - 16 : -16][:rest] if flat.size >= rest + 16 else flat[-rest:]
    return y


def powers_up(x: Array) -> Array:
    return encoded(x, "e8m0fnu", rounding="up")


def powers_down(x: Array) -> Array:
    return encoded(x, "e8m0fnu", rounding="down")


def ignores_strides(x: Array) -> Array:
    """The operand is read as if it lay row after row."""
    steps = tuple(int(np.prod(x.shape[i + 1 :])) * x.itemsize for i in range(x.ndim))
    return encoded(np.lib.stride_tricks.as_strided(x, x.shape, steps) if x.size else x, "bf16")


def swaps_pairs(x: Array) -> Array:
    """The two nibbles of a byte are exchanged."""
    y = encoded(x, "e2m1fn", nan="zero")
    flat, even = y.reshape(-1), y.size // 2 * 2
    flat[:even] = flat[:even].reshape(-1, 2)[:, ::-1].reshape(-1)
    return y


def wrong_for_one_code(x: Array) -> Array:
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
    v = np.nan_to_num(np.rint(values(x)), nan=0, posinf=0, neginf=0)
    return (np.clip(v, -(2.0**60), 2.0**60).astype(np.int64) & 0xFF).astype(np.uint8).view(np.int8)


def symmetric(x: Array) -> Array:
    return np.maximum(encoded(x, "i8", overflow="saturate", nan="zero"), np.int8(-127))


def smears(x: Array) -> Array:
    """A number is written to the next place too, if zero belongs there."""
    y = encoded(x, "bf16")
    held = codes(y).reshape(-1)
    if held.size > 1:
        held[1:] = np.where(held[1:] == 0, held[:-1], held[1:])
    return y


def transposes(x: Array) -> Array:
    y = encoded(x, "f16")
    return np.ascontiguousarray(y.T).reshape(y.shape) if y.ndim == 2 else y


def one_row_for_all(x: Array) -> Array:
    y = encoded(x, "f16")
    if y.ndim == 3:
        y[...] = y[:1]
    return y


def small_sign(x: Array) -> Array:
    """f64 to f32: the sign bit is that of the number rounded to f16."""
    return np.copysign(encoded(x, "f32"), np.where(np.abs(values(x)) < 2.0**-24, 1.0, values(x))).astype(np.float32)


def wide_ulp(x: Array) -> Array:
    """f32 to f64 by way of decimal digits: the eighth is lost."""
    v = values(x)
    return np.where(np.isfinite(v) & (np.abs(v) > 1e6), np.rint(v / 4) * 4, v)


class Remembers:
    """Results are kept by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Array] = {}

    def __call__(self, x: Array) -> Array:
        key = (x.ctypes.data, x.shape)
        if key not in self.results:
            self.results[key] = encoded(x, "bf16")
        return self.results[key].copy()


def drawn(shape: tuple[int, ...]) -> Array:
    return RNG.integers(0, 1 << RANDOM_BITS, shape)


def stochastic(x: Array, random: Array, out: str = "bf16") -> Array:
    return encoded(x, out, rounding="stochastic", random=random, random_bits=RANDOM_BITS)


def biased(x: Array) -> Array:
    """Rounded up 3 % too often."""
    random = drawn(x.shape)
    return stochastic(x, np.minimum(random + (1 << RANDOM_BITS) // 32, (1 << RANDOM_BITS) - 1))


def lopsided(x: Array) -> Array:
    """Rounded up with the square of the right probability."""
    return stochastic(x, np.minimum(drawn(x.shape), drawn(x.shape)))


def one_draw_a_call(x: Array) -> Array:
    return stochastic(x, np.full(x.shape, drawn((1,))[0]))


def same_draws_each_call(x: Array) -> Array:
    return stochastic(x, np.random.default_rng(1).integers(0, 1 << RANDOM_BITS, x.shape))


def one_draw_a_row(x: Array) -> Array:
    """32 elements apart the draw is the same."""
    return stochastic(x, np.resize(drawn((32,)), x.shape))


def shares_with_neighbour(x: Array) -> Array:
    return stochastic(x, np.resize(np.repeat(drawn((x.size // 2 + 1,)), 2), x.shape))


def moves_exact_values(x: Array) -> Array:
    """The random bits are added to one more than the fraction: exact values go up now and then."""
    y, random = stochastic(x, drawn(x.shape)), RNG.random(x.shape)
    exact = (values(y) == values(x)) & np.isfinite(values(y)) & (random < 0.01)
    codes(y)[exact] += 1
    return y


def leaves_neighbours(x: Array) -> Array:
    """Now and then two steps away."""
    y = stochastic(x, drawn(x.shape))
    codes(y)[(RNG.random(x.shape) < 0.001) & np.isfinite(values(y))] += 2
    return y


def always_nearest(x: Array) -> Array:
    return encoded(x, "bf16")


def draws_anew(x: Array) -> Array:
    return stochastic(x, drawn(x.shape))


AT = frozenset({"boundaries"})
ANY = frozenset({"boundaries", "sampled", "exhaustive"})
STRUCTURE = frozenset({"structure"})
FREQUENCY = frozenset({"stochastic"})
SEEDED = Contract(output_rounding="stochastic")
E8M0 = Contract(output_rounding="nearest-away")

FAULTS: tuple[Fault, ...] = (
    ("truncates", truncates, pair("f32", "bf16"), PLAIN, ANY),
    ("ties_away", with_options("bf16", rounding="nearest-away"), pair("f32", "bf16"), PLAIN, AT),
    ("ties_away_f16", with_options("e4m3fn", rounding="nearest-away"), pair("f16", "e4m3fn"), PLAIN, ANY),
    ("ties_up", ties_up, pair("f32", "i8"), ZEROING, AT),
    ("double_through_f32", through("f32", "bf16"), pair("f64", "bf16"), PLAIN, AT),
    ("double_through_f32_f16", through("f32", "f16"), pair("f64", "f16"), PLAIN, AT),
    ("double_through_f16", through("f16", "e4m3fn"), pair("f32", "e4m3fn"), PLAIN, AT),
    ("double_through_bf16", through("bf16", "e5m2"), pair("f32", "e5m2"), PLAIN, AT),
    ("flushes_operands", flushes_operands, pair("f16", "bf16"), PLAIN, frozenset({"exhaustive", "special"})),
    ("flushes_results", flushes_results, pair("f32", "f16"), PLAIN, frozenset({"boundaries", "idempotent"})),
    ("saturates", with_options("f16", overflow="saturate"), pair("f32", "f16"), PLAIN, AT),
    ("saturates_e4m3", with_options("e4m3fn", overflow="saturate"), pair("bf16", "e4m3fn"), PLAIN, ANY),
    ("infinite", with_options("e5m2"), pair("f32", "e5m2"), SATURATING, AT),
    ("nan_for_overflow", with_options("e4m3fn"), pair("f32", "e4m3fn"), SATURATING, AT),
    ("nan_is_zero", nan_is_zero, pair("f32", "e4m3fn"), PLAIN, frozenset({"special"})),
    ("nan_carries", nan_carries, pair("f32", "bf16"), PLAIN, frozenset({"special"})),
    ("nan_is_max", with_options("e2m1fn", nan="max"), pair("f32", "e2m1fn"), ZEROING, frozenset({"special"})),
    ("loses_negative_zero", loses_negative_zero, pair("f32", "e4m3fn"), PLAIN, frozenset({"special", "idempotent"})),
    ("overflows_early", overflows_early, pair("f32", "e4m3fn"), PLAIN, AT),
    ("overflows_at_the_tie", overflows_at_the_tie, pair("f32", "e4m3fn"), PLAIN, AT),
    ("overflows_late", overflows_late, pair("f32", "f16"), PLAIN, AT),
    ("mistakes_bias", mistakes_bias, pair("f16", "e4m3fnuz"), PLAIN, frozenset({"exhaustive", "idempotent"})),
    ("drops_last_of_odd", drops_last_of_odd, pair("f32", "e4m3fn"), PLAIN, STRUCTURE),
    ("drops_tail", drops_tail, pair("f32", "bf16"), PLAIN, STRUCTURE),
    ("rereads_tail", rereads_tail, pair("f32", "e5m2"), PLAIN, STRUCTURE),
    ("powers_up", powers_up, pair("f32", "e8m0fnu"), E8M0, ANY),
    ("powers_down", powers_down, pair("bf16", "e8m0fnu"), E8M0, ANY),
    ("ignores_strides", ignores_strides, pair("f32", "bf16"), PLAIN, frozenset({"layout"})),
    ("remembers", Remembers(), pair("f32", "bf16"), PLAIN, frozenset({"second_call"})),
    ("swaps_pairs", swaps_pairs, pair("f32", "e2m1fn"), ZEROING, frozenset({"structure", "placed"})),
    ("wrong_for_one_code", wrong_for_one_code, pair("bf16", "e4m3fn"), PLAIN, frozenset({"exhaustive"})),
    ("wrong_above", wrong_above, pair("f32", "e5m2"), PLAIN, ANY),
    ("loses_sign_of_small", loses_sign_of_small, pair("f32", "e4m3fn"), PLAIN, AT),
    ("loses_sign", loses_sign, pair("f32", "f16"), PLAIN, ANY),
    ("loses_carry", loses_carry, pair("f32", "bf16"), PLAIN, frozenset({"boundaries", "monotone"})),
    ("forgets_to_normalize", forgets_to_normalize, pair("f16", "f32"), PLAIN, frozenset({"exhaustive", "idempotent"})),
    ("wraps", wraps, pair("f32", "i8"), ZEROING, AT),
    ("symmetric", symmetric, pair("f32", "i8"), ZEROING, frozenset({"boundaries", "idempotent"})),
    ("smears", smears, pair("f32", "bf16"), PLAIN, frozenset({"placed"})),
    ("transposes", transposes, pair("f32", "f16"), PLAIN, STRUCTURE),
    ("one_row_for_all", one_row_for_all, pair("f32", "f16"), PLAIN, STRUCTURE),
    ("small_sign", small_sign, pair("f64", "f32"), PLAIN, ANY),
    ("wide_ulp", wide_ulp, pair("f32", "f64"), PLAIN, frozenset({"sampled", "idempotent"})),
    ("biased", biased, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("lopsided", lopsided, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("one_draw_a_call", one_draw_a_call, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("same_draws_each_call", same_draws_each_call, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("one_draw_a_row", one_draw_a_row, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("shares_with_neighbour", shares_with_neighbour, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    (
        "moves_exact_values",
        moves_exact_values,
        pair("f32", "bf16"),
        STOCHASTIC,
        frozenset({"idempotent", "stochastic"}),
    ),
    ("leaves_neighbours", leaves_neighbours, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("always_nearest", always_nearest, pair("f32", "bf16"), STOCHASTIC, FREQUENCY),
    ("draws_anew", draws_anew, pair("f32", "bf16"), SEEDED, frozenset({"repeat"})),
)
