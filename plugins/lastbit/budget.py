"""Budget: one allowed error per element, and why it is allowed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Budget:
    """What a contract allows on given data; arrays broadcast against the output, float64."""

    #: Largest allowed |y - truth|, the truth's own radius included. Not negative, finite.
    allowed: "NDArray[np.float64]"
    #: Name of the formula, as the report prints it: "n*u32*|A||B| + u_out*|s|".
    formula: str
    #: Where it is derived: "budgets.md 2; Jeannerod and Rump 2013", sections of docs/budgets.md.
    source: str
    #: Sub-Gaussian scale of the error under independent mean-zero roundings, or None where that does not hold;
    #: `unstatistical` then says why.
    sigma: "NDArray[np.float64] | None" = None
    unstatistical: str = ""
    #: Bound of the error before the output was rounded to nearest even: what can move a result to another value than
    #: the rounded truth. None where no rounding follows the sum, or another one.
    before: "NDArray[np.float64] | None" = None
    #: The result may be the overflow value where |truth| + slack exceeds the threshold, and must be where
    #: |truth| - slack does; None: the output format cannot overflow.
    overflow_slack: "NDArray[np.float64] | None" = None
    #: Results with |truth| below this may be flushed to zero (contract subnormals="flush"); 0: never.
    flush_below: float = 0.0
    #: How long the sum behind an element is at most: products, numbers of a row, keys; 0 where nothing is summed.
    terms: int = 0
