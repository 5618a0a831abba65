"""The law of scaled GEMM: its checks, each with its cases and what a failure of it means."""

from collections.abc import Callable

from lastbit.case import Case, Check, Trial
from lastbit.suites import scaled_gemm_cases as cases
from lastbit.suites import scaled_gemm_checks as checks
from lastbit.suites.hunt import has_hunt
from lastbit.suites.scaled_gemm_hunt import hunt
from lastbit.suites.scaled_gemm_trial import has_data
from lastbit.verdict import Verdict


def _check(
    name: str,
    chosen: tuple[Case, ...],
    why: str,
    judge: Callable[[Trial], Verdict] = checks.result,
    applies: Callable[[Trial], str] = has_data,
) -> Check:
    return Check(name, "scaled_gemm", chosen, judge, applies, why)


CHECKS: tuple[Check, ...] = (
    _check(
        "exact",
        cases.EXACT,
        "On data whose sums need no rounding, a bit differs: a scale, a code, a zero point or an accumulator is wrong.",
    ),
    _check("tails", cases.TAILS, "A remainder of a tile or a group, a single row or column is mishandled."),
    _check("empty", cases.EMPTY, "No rows give an empty result of the right shape."),
    _check(
        "bound",
        cases.BOUND,
        "An element is further from the truth than the promised arithmetic can bring it.",
    ),
    _check(
        "statistics",
        cases.STATISTICS,
        "The errors lean to one side or are too large on the whole: roundings are not to nearest.",
        checks.statistics,
        checks.has_statistics,
    ),
    _check("special", cases.SPECIAL, "NaN, infinities or zeros, in codes or scales, do not come out as IEEE 754 says."),
    _check("epilogue", cases.EPILOGUE, "The bias is added at the wrong place, scaled, or rounded on the way."),
    _check("layout", cases.LAYOUTS, "Strides or offsets of an operand or of its scales are ignored."),
    _check(
        "output",
        cases.OUTPUTS,
        "A given output is not written where its strides say, or memory beside it is.",
        applies=checks.has_output,
    ),
    _check(
        "second_call",
        cases.SECOND_CALL,
        "Scales or results are remembered by address or shape.",
        checks.second_call,
    ),
    _check("repeat", cases.REPEAT, "The same call gives other bits, against the contract.", checks.repeat),
    _check(
        "slices",
        cases.SLICES,
        "A row's bits depend on how many rows there are, against the contract; or fewer rows are wrong.",
        checks.row_slices,
        checks.has_slices,
    ),
    _check(
        "scaling",
        cases.SCALING,
        "A power of two in a scale changes more than the exponent: a scale or a sum is rounded too early.",
        checks.scaling,
        checks.has_scaling,
    ),
    _check(
        "hunt",
        cases.HUNT,
        "Some combination of shape, layout and data, found by search and shrunk, breaks the law.",
        hunt,
        has_hunt,
    ),
)
