"""What rounding to the output format adds to a budget, and where it may overflow."""

from math import inf
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_terms import Terms
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]

#: Factor that covers the float64 rounding of a budget's own arithmetic (fewer than 40 operations on numbers that are
#: not negative: 40 * 2^-53) and of the judge's error (2^-51, metrics.measure).
ROUND_UP = 1 + 2.0**-46


def overflow_window(
    largest: Floats,
    slack: Floats,
    lost: NDArray[np.bool_] | None,
    accumulator: Accumulator,
    fmt: Format,
    truth: "Truth",
) -> Floats | None:
    """Budget.overflow_slack: None if nothing can overflow, infinite where the sum itself may overflow on its way."""
    with np.errstate(over="ignore"):
        reach = largest + slack
    high = float(reach.max(initial=0.0))
    finite = bool(np.isfinite(truth.hi).all())
    inside = accumulator.engine == "exact" or high < accumulator.max
    if (
        finite
        and inside
        and (lost is None or not lost.any())
        and high < min(fmt.max, -fmt.lowest if fmt.signed else inf)
    ):
        return None
    window = np.broadcast_to(slack, truth.hi.shape).copy()
    if not inside:
        window[np.broadcast_to(reach, window.shape) >= accumulator.max] = inf
    if lost is not None:
        window[np.broadcast_to(lost, window.shape)] = inf
    return window


def settled(
    terms: Terms,
    contract: "Contract",
    fmt: Format,
    rounded: tuple[Floats, Floats | None, Floats | None],
    window: Floats | None = None,
) -> Budget:
    """The budget that the terms come to, with what `round_output` and `overflow_window` say of the output."""
    allowed, sigma, before = rounded
    return Budget(
        allowed=allowed,
        formula=" + ".join(terms.formulas) or "exact",
        source="; ".join(terms.sources) or "integers are exact",
        sigma=sigma,
        unstatistical=terms.unstatistical,
        before=before,
        overflow_slack=window,
        flush_below=fmt.min_normal if contract.subnormals == "flush" and flushes(fmt) else 0.0,
        terms=terms.count,
    )


def flushes(fmt: Format) -> bool:
    """Whether arithmetic that flushes does so in this format: hardware flushes at 16 bits and more, never narrower."""
    return fmt.kind == "float" and fmt.bits >= 16


def round_output(
    terms: Terms, slack: Floats, contract: "Contract", accumulator: Accumulator, fmt: Format, truth: "Truth"
) -> tuple[Floats, Floats | None, Floats | None]:
    """The bound and the scale after the result is rounded to the output format, and Budget.before."""
    hi = np.where(np.isfinite(truth.hi), truth.hi, 0.0)
    nearest = contract.output_rounding.startswith("nearest")
    if accumulator.engine == "integer" and fmt.kind == "integer" and not float(slack.max(initial=0.0)):
        terms.no_statistics("integers are not rounded")
        return np.zeros(hi.shape), None, None
    if accumulator.engine == "integer":  # what follows it is in f32, and the conversion to f32 is a term already
        kept = fmt.kind == "float" and fmt.precision >= 24
    else:
        kept = accumulator.engine != "exact" and (
            fmt.precision >= accumulator.precision and fmt.emin <= accumulator.emin and fmt.emax >= accumulator.emax
        )
    if kept:
        return np.broadcast_to(slack, hi.shape), terms.sigma, None
    step = fmt.ulp((np.abs(hi) + slack) * ROUND_UP)
    size = "half an" if nearest else "one"
    terms.cite(f"{size} ulp of {fmt.name} at |s|+error ({contract.output_rounding})", "budgets.md 8")
    if contract.output_rounding not in ("nearest-even", "stochastic"):
        terms.no_statistics(f"rounding {contract.output_rounding} has one sign")
    allowed = slack + step * (0.5 if nearest else 1.0)
    sigma = None if terms.sigma is None else np.hypot(terms.sigma, step / 2)
    return allowed * ROUND_UP, sigma, slack if contract.output_rounding == "nearest-even" else None
