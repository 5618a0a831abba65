"""Truth, the proved answer: an unevaluated float64 pair, a radius, and the weight that budgets scale with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact result lies within `radius` of `hi + lo`, elementwise; all arrays have the result's shape.

    `hi` is NaN or infinite where the exact result is (by IEEE 754-2019 section 6.1 on real operands), or infinite
    where it rounds to infinity in float64 (from 2^1024 - 2^970 on); there `lo` and `radius` are 0. |lo| <= ulp(hi) / 2.
    """

    hi: Array
    lo: Array
    #: Proved bound of |exact - (hi + lo)|; 0 where hi + lo is exact.
    radius: Array
    #: sum_i |a_i b_i| (with |alpha|, plus the addends' magnitudes), rounded up; finite: NaN and infinity count 0.
    weight: Array
    #: The rung that proved it: "fp64 bound", "fp64 exact", "sliced", "rational"; several joined by "+".
    rung: str
