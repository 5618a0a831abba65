"""The rounding of P as chance: one column of each row of attention, with a scale for judge_statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_budget import weigh
from lastbit.attention_terms import working
from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP
from lastbit.references.attention import AttentionTruth
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.references.truth import Truth

if TYPE_CHECKING:
    from lastbit.contract import Contract

Index = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Elements whose errors are independent, and what judge_statistics needs of them."""

    #: Into the result, one element of each row: codes[sample.index] is what to judge.
    index: Index
    #: Their truth; its radius is everything that is not the rounding of P or of the output, in the worst case.
    truth: Truth
    #: Of `index`, with the scale of both roundings.
    budget: Budget


def sample(
    contract: "Contract", formats: Mapping[str, str], problem: Problem, truth: AttentionTruth, out: Budget
) -> Sample | None:
    """One column of each row, whose statistical scale is that of the rounding of P and of the result; None where P is
    not rounded. `out` is the budget of the result.

    The errors that P's rounding makes in two columns of a row are made of the same roundings, those in two rows are
    not: judge_statistics needs independence. Which column changes from row to row. Random data only: equal weights are
    rounded alike. Source: docs/attention.md 4.
    """
    work = working(contract, formats)
    if not work.u_p or contract.output_rounding not in ("nearest-even", "stochastic"):
        return None
    batches, heads, lq, dv = problem.shape
    b, h, i = (x.reshape(-1) for x in np.indices((batches, heads, lq)))
    index: Index = (b, h, i, (5 * i + 3 * h + b) % max(dv, 1))
    parts = weigh(work, problem, truth)
    exact = Truth(
        truth.out.hi[index],
        truth.out.lo[index],
        (parts.without_cast[index] + truth.out.radius[index]) * ROUND_UP,
        truth.out.weight[index],
        truth.out.rung,
    )
    allowed = out.allowed[index]
    step = Format.of(formats["out"]).ulp(np.where(np.isfinite(exact.hi), np.abs(exact.hi), 0.0) + allowed)
    sigma = np.hypot(np.sqrt(parts.cast[index]), step / 2)
    return Sample(
        index,
        exact,
        replace(
            out,
            allowed=allowed,
            sigma=np.maximum(sigma, np.finfo(np.float64).tiny),
            unstatistical="",
            before=None if out.before is None else out.before[index],
            overflow_slack=None if out.overflow_slack is None else out.overflow_slack[index],
        ),
    )
