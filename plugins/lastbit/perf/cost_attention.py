"""How many keys queries attend to, under causal masks and windows, and the operations of attention that follow."""

from dataclasses import dataclass

import numpy as np

#: Of each query and key: times the scale, and maximum, difference, exponential, sum and quotient of the softmax.
EACH_PAIR = 6
#: Of a sink in a row: maximum, difference, exponential, sum. Of a log-sum-exp: logarithm, and plus the maximum.
EACH_SINK, EACH_LSE = 4, 2
#: Of each softcap: quotient, tanh, product.
SOFTCAP = 3
#: Of the gradients, by query and key: dP * P and its sum over the row, dP less that, times P, times the scale.
EACH_GRADIENT = 5


@dataclass(frozen=True, slots=True)
class Spans:
    """The keys of one sequence that its queries attend to: those from `first` to `end`, by some query each."""

    #: Queries and keys that belong together.
    pairs: int
    first: int = 0
    end: int = 0

    @property
    def keys(self) -> int:
        """Keys that some query attends to."""
        return self.end - self.first

    def pages(self, block: int) -> int:
        """Pages of `block` keys that these lie in."""
        return -(-self.end // block) - self.first // block if self.keys else 0


@dataclass(frozen=True, slots=True)
class Attended:
    """Operations of attention."""

    matrix: int
    other: int


def spans(queries: int, keys: int, *, causal: bool, window: tuple[int, int] | None, shift: int) -> Spans:
    """The keys that each query attends to: query i stands at i + shift (references.attention_mask.Problem).

    Masks that are data do not shorten it: a kernel cannot know them before it has read them.
    """
    at = np.arange(queries, dtype=np.int64) + shift
    first, end = np.zeros(queries, np.int64), np.full(queries, keys, np.int64)
    if causal:
        end = np.minimum(end, at + 1)
    if window is not None:
        left, right = window
        if left >= 0:
            first = np.maximum(first, at - left)
        if right >= 0:
            end = np.minimum(end, at + right + 1)
    some = end > first
    if not some.any():
        return Spans(0)
    return Spans(int((end - first)[some].sum()), int(first[some].min()), int(end[some].max()))


def attended(
    pairs: int,
    rows: int,
    d: int,
    dv: int,
    *,
    addends: int = 0,
    softcap: bool = False,
    sinks: bool = False,
    lse: bool = False,
    gradients: bool = False,
) -> Attended:
    """The operations of `pairs` (query, key) in `rows` queries of all heads.

    Matrix: 2d for the logit and 2dv for the weighted value; with gradients 2dv each for dP and dv, 2d each for dq and
    dk, the weights kept from the forward pass.
    """
    matrix = pairs * (2 * d + 2 * dv) * (3 if gradients else 1)
    each = EACH_PAIR + addends + SOFTCAP * softcap + EACH_GRADIENT * gradients
    return Attended(matrix, pairs * each + rows * (EACH_SINK * sinks + EACH_LSE * lse))
