"""The law of dequantizers: its checks, each with its cases and what a failure of it means."""

from collections.abc import Callable

from lastbit.case import Case, Check, Trial
from lastbit.suites import dequantize_cases as cases
from lastbit.suites import dequantize_checks as checks
from lastbit.suites.dequantize_hunt import hunt
from lastbit.suites.dequantize_trial import has_data
from lastbit.suites.hunt import has_hunt
from lastbit.verdict import Verdict


def _check(
    name: str,
    walked: tuple[Case, ...],
    why: str,
    judge: Callable[[Trial], Verdict] = checks.result,
    applies: Callable[[Trial], str] = has_data,
) -> Check:
    return Check(name, "dequantize", walked, judge, applies, why)


CHECKS: tuple[Check, ...] = (
    _check("codes", cases.CODES, "A code is worth something else, or is unpacked from another place."),
    _check("scales", cases.SCALES, "A scale is worth something else: subnormal, largest, or with a wrong bias."),
    _check("exact", cases.EXACT, "A product of code and scale is not rounded as promised."),
    _check("rounding", cases.ROUNDING, "A product is rounded twice, or in another order than promised."),
    _check(
        "placed",
        cases.PLACED,
        "A scale is of another group: an axis swapped, an offset, a layout, a swizzle or a packing mistaken.",
    ),
    _check("zero_points", cases.ZERO_POINTS, "A zero point has a wrong sign, is applied late, or to another group."),
    _check("global_scale", cases.GLOBAL, "A global scale far from 1, or without a value, is clamped or replaced."),
    _check("special", cases.SPECIAL, "NaN, infinities, or scales of zero do not come through."),
    _check("tails", cases.TAILS, "Codes that fill no group are lost or mistaken.", checks.tails),
    _check("empty", cases.EMPTY, "No codes: the result has the right shape."),
    _check("layout", cases.LAYOUTS, "Strides or offsets of the codes are ignored."),
    _check("second_call", cases.SECOND_CALL, "A scale is remembered by address or shape.", checks.second_call),
    _check("repeat", cases.REPEAT, "The same call gives other bits, against the contract.", checks.repeat),
    _check(
        "hunt",
        cases.HUNT,
        "Some combination of shape, layout and data, found by search and shrunk, breaks the law.",
        hunt,
        has_hunt,
    ),
)
