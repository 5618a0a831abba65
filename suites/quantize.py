"""The law of quantizers: its checks, each with its cases and what a failure of it means."""

from collections.abc import Callable

from lastbit.case import Case, Check, Trial
from lastbit.suites import quantize_cases as cases
from lastbit.suites import quantize_checks as checks
from lastbit.suites import quantize_laws as laws
from lastbit.suites.hunt import has_hunt
from lastbit.suites.quantize_hunt import hunt
from lastbit.suites.quantize_stochastic import frequencies
from lastbit.suites.quantize_trial import has_data
from lastbit.verdict import Verdict


def _check(
    name: str,
    walked: tuple[Case, ...],
    judge: Callable[[Trial], Verdict],
    why: str,
    applies: Callable[[Trial], str] = has_data,
) -> Check:
    return Check(name, "quantize", walked, judge, applies, why)


CHECKS: tuple[Check, ...] = (
    _check("exact", cases.EXACT, checks.exact, "A code or a scale of ordinary numbers differs."),
    _check(
        "placed",
        cases.PLACED,
        checks.result,
        "A scale is of another group: an axis swapped, an offset, a layout, a swizzle or a packing mistaken.",
    ),
    _check(
        "amax",
        cases.AMAX,
        checks.result,
        "The largest magnitude of a group is missed: first, last or negative, or it is a neighbour's.",
    ),
    _check(
        "scale_rule",
        cases.BOUNDARIES,
        checks.result,
        "The scale follows another rule, or is rounded another way, where amax decides between two scales.",
    ),
    _check(
        "ties",
        cases.TIES,
        checks.result,
        "A tie, or a number beside one, goes the wrong way: another rounding, or a reciprocal in place of a division.",
    ),
    _check(
        "levels",
        cases.LEVELS,
        checks.result,
        "A code, a binade's boundary or a subnormal element is wrong.",
    ),
    _check("saturation", cases.BEYOND, checks.result, "Numbers beyond the range do not become what is promised."),
    _check(
        "given_scales",
        cases.GIVEN,
        checks.result,
        "A scale that is given is taken for another: its sign lost, a subnormal one replaced, a large one clamped.",
    ),
    _check("blocks", cases.BLOCKS, checks.result, "A zero, constant, tiny or huge group is mishandled."),
    _check("special", cases.SPECIAL, checks.special, "NaN or infinities are swallowed, or leak into other groups."),
    _check("tails", cases.TAILS, checks.tails, "Numbers that fill no group or no byte are lost or mistaken."),
    _check("empty", cases.EMPTY, checks.result, "No numbers: the results have the right shapes."),
    _check("layout", cases.LAYOUTS, checks.result, "Strides or offsets of the tensor are ignored."),
    _check("second_call", cases.SECOND_CALL, checks.second_call, "A scale is remembered by address or shape."),
    _check("repeat", cases.REPEAT, checks.repeat, "The same call gives other bits, against the contract."),
    _check(
        "powers_of_two",
        cases.LAWS,
        laws.powers_of_two,
        "Codes change when all numbers are multiplied by a power of two.",
        laws.has_law,
    ),
    _check("round_trip", cases.LAWS, laws.round_trip, "Codes change when they are quantized again.", laws.has_law),
    _check("order", cases.ORDER, laws.order, "A larger number has a smaller code.", laws.has_order),
    _check(
        "stochastic",
        cases.STOCHASTIC,
        frequencies,
        "Stochastic rounding is biased, does not draw, or draws once for several numbers.",
    ),
    _check("patterns", cases.PATTERNS, checks.result, "Some bit pattern of x has a wrong code."),
    _check(
        "hunt",
        cases.HUNT,
        hunt,
        "Some combination of shape, layout and data, found by search and shrunk, breaks the law.",
        has_hunt,
    ),
)
