"""Which results an element may have: the class rules (NaN, infinity, overflow, flushed zero) and then the bound."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lastbit.budget import Budget
    from lastbit.contract import Contract
    from lastbit.references.formats import Format
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]

#: The answers of `classify`.
RIGHT, OVER, WRONG_CLASS = 0, 1, 2

#: Larger than every format's largest value but float64's, whose overflow no finite truth needs.
_BEYOND = float(np.finfo(np.float64).max)


def classify(
    y: Floats,
    hi: Floats,
    lo: Floats,
    allowed: Floats,
    slack: Floats | None,
    flush_below: float,
    fmt: "Format",
    contract: "Contract",
) -> NDArray[np.int8]:
    """RIGHT, OVER (finite, too far) or WRONG_CLASS for each result `y`, exact values of `fmt`; one-dimensional arrays.

    In this order, x = hi + lo being the truth and s the overflow slack:

    - x NaN: y is NaN; anything, in a format without NaN.
    - x infinite: y is what the format makes of that infinity under the contract's overflow policy; under "saturate"
      the infinity itself too (P3109 SatPropagate).
    - |x| - s beyond the overflow threshold T: y is the overflow value, with x's sign. |x| + s at or beyond T: it may
      be. T is max + ulp(max)/2 when rounding to nearest; else max for "may" and max + ulp(max) for "must".
    - s infinite (the accumulator itself may overflow, and then meet another infinity): NaN, either infinity and either
      overflow value are right too; in an integer format, which wraps or saturates, anything is.
    - any other NaN or infinity is WRONG_CLASS.
    - y is zero, of either sign, and |x| <= flush_below + allowed: right.
    - |y - x| <= allowed: right, else OVER.
    """
    with np.errstate(all="ignore"):
        error = np.abs((y - hi) - lo)
        right = error <= allowed
        result = np.where(right, RIGHT, OVER).astype(np.int8)
        result[~np.isfinite(y)] = WRONG_CLASS
        if flush_below > 0:
            result[(y == 0) & (np.abs(hi) <= flush_below + allowed)] = RIGHT
        if slack is not None:
            _judge_overflow(result, y, hi, lo, slack, fmt, contract)
    _judge_infinite(result, y, hi, fmt, contract)
    unknown = np.isnan(hi)
    if unknown.any():
        result[unknown] = np.where(np.isnan(y[unknown]) | (not fmt.has_nan), RIGHT, WRONG_CLASS)
    return result


def elements_at(
    index: NDArray[np.int64], truth: "Truth", budget: "Budget"
) -> tuple[Floats, Floats, Floats, Floats | None]:
    """hi, lo, what is allowed and the overflow slack of the elements at flat indices `index`."""
    shape = truth.hi.shape or (1,)  # unravel_index takes no scalar's shape
    places = np.unravel_index(index, shape)
    hi, lo, allowed = (np.broadcast_to(array, shape)[places] for array in (truth.hi, truth.lo, budget.allowed))
    slack = budget.overflow_slack
    return hi, lo, allowed, None if slack is None else np.broadcast_to(slack, shape)[places]


def overflow_value(fmt: "Format", contract: "Contract", *, negative: bool, infinite: bool = False) -> float:
    """What `fmt` makes of a value beyond its range, or of an infinity, under the contract."""
    rounding = "nearest-even" if contract.output_rounding == "stochastic" else contract.output_rounding
    value = np.array([np.inf if infinite else _BEYOND])
    return float(fmt.round(-value if negative else value, rounding=rounding, overflow=contract.overflow)[0])


def _judge_overflow(
    result: NDArray[np.int8],
    y: Floats,
    hi: Floats,
    lo: Floats,
    slack: Floats,
    fmt: "Format",
    contract: "Contract",
) -> None:
    """Apply the window around the threshold to elements with a finite truth."""
    negative = np.signbit(hi)
    limit = np.where(negative, -fmt.lowest, fmt.max)
    step = fmt.ulp(limit)
    nearest = contract.output_rounding.startswith("nearest")
    past = (np.abs(hi) - limit) + np.where(negative, -lo, lo)  # exact where it matters: near the limit (Sterbenz)
    may = past + slack >= (step / 2 if nearest else 0.0)
    must = past - slack > (step / 2 if nearest else step)
    value = np.where(
        negative, overflow_value(fmt, contract, negative=True), overflow_value(fmt, contract, negative=False)
    )
    is_value = (y == value) | (np.isnan(y) & np.isnan(value))
    result[may & is_value] = RIGHT
    result[must & ~is_value] = WRONG_CLASS
    lost = np.isinf(slack)
    if lost.any():
        extremes = [overflow_value(fmt, contract, negative=side) for side in (False, True)]
        result[lost & (~np.isfinite(y) | np.isin(y, extremes) | (fmt.kind == "integer"))] = RIGHT


def _judge_infinite(result: NDArray[np.int8], y: Floats, hi: Floats, fmt: "Format", contract: "Contract") -> None:
    """Apply the rule for infinite truths."""
    for infinity in (np.inf, -np.inf):
        here = hi == infinity
        if not here.any():
            continue
        value = overflow_value(fmt, contract, negative=infinity < 0, infinite=True)
        right = (y == value) | (np.isnan(y) & np.isnan(value))
        if contract.overflow == "saturate":
            right |= y == infinity
        result[here] = np.where(right[here], RIGHT, WRONG_CLASS)
