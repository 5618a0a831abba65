"""NF4 quantizers, whose boundaries come from a table, and what becomes of a wrong entry or a shortened constant."""

import ml_dtypes
import numpy as np

from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import F32, Array, Scheme, Step, but, by_group, f32
from lastbit.suites.zoo.quantize_storage_faults import high_first
from lastbit.suites.zoo.specimen import Faulty

#: The levels of NF4: Dettmers et al., QLoRA (2023), appendix E, in f32.
LEVELS = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)
#: Between neighbours, exactly: the sum of two numbers of f32 as close as these has no more than 25 bits.
BOUNDARIES = (LEVELS[1:] + LEVELS[:-1]) / 2


def nearest(boundaries: Array = BOUNDARIES) -> Step:
    """The level between the boundaries beside the quotient; on one of them that of the even code."""

    def code(quotient: Array) -> Array:
        below, above = (np.searchsorted(boundaries, quotient, side) for side in ("left", "right"))
        return np.where(below % 2 == 0, below, above).astype(np.uint8)

    return code


def lower(boundaries: Array) -> Step:
    """The level between the boundaries beside the quotient; on one of them the lower."""
    return lambda quotient: np.searchsorted(boundaries, quotient, "left").astype(np.uint8)


def amax_or_one(amax: Array) -> Array:
    """The largest magnitude, 1 for groups of zeros."""
    return np.where(amax == 0, F32(1), amax)


def by_reciprocal(groups: Array, scale: Array) -> Array:
    """The products with the reciprocals in f32, of divisors no smaller than 1e-38."""
    return parts.reciprocal(groups, np.maximum(f32(scale), F32(1e-38)))


#: Codes by the exact quotient, and as bitsandbytes finds them: a product, and boundaries in f32.
NF4 = Scheme("nf4", by_group(64), amax_or_one, parts.exactly, nearest(), pack=high_first)
NF4_THRESHOLDS = Scheme(
    "nf4_bitsandbytes", by_group(64), parts.plain, by_reciprocal, lower(BOUNDARIES.astype(np.float32)), pack=high_first
)


def one_is(number: int, value: float) -> Array:
    """The boundaries with another one of this number."""
    changed = BOUNDARIES.copy()
    changed[number] = value
    return changed


def digits(count: int) -> Array:
    """The boundaries cut after so many decimal digits."""
    return np.trunc(BOUNDARIES * 10.0**count) / 10.0**count


#: Every NF4 quantizer with a wrong table.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F084",
        "boundary_is_level",
        but(NF4, code=nearest(one_is(8, float(LEVELS[8])))),
        "nf4",
        "f32",
        "exact",
        "levels",
        story="One boundary is the level below it, not the middle of two levels.",
    ),
    wrong(
        "F084",
        "boundary_of_two_levels_up",
        but(NF4_THRESHOLDS, code=lower(np.sort(one_is(7, float(BOUNDARIES[8])).astype(np.float32)))),
        "nf4_bitsandbytes",
        "bf16",
        "exact",
        "levels",
        story="One boundary is that of the next entry, so that a level is never used.",
    ),
    wrong(
        "F084",
        "boundaries_of_seven_digits",
        but(NF4, code=nearest(digits(7))),
        "nf4",
        "f32",
        "ties",
        story="Boundaries are cut after seven decimal digits.",
    ),
    wrong(
        "F084",
        "boundaries_of_four_digits",
        but(NF4_THRESHOLDS, code=lower(digits(4).astype(np.float32))),
        "nf4_bitsandbytes",
        "f32",
        "ties",
        story="Boundaries are cut after four decimal digits.",
    ),
    wrong(
        "F084",
        "boundaries_in_bf16",
        but(NF4_THRESHOLDS, code=lower(BOUNDARIES.astype(ml_dtypes.bfloat16).astype(np.float32))),
        "nf4_bitsandbytes",
        "f32",
        "ties",
        story="Boundaries are kept in bf16.",
    ),
)
