"""The scale of each block that brings its largest number to 4 or to 6, whichever errs less."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lastbit.references.dequantize import truth
from lastbit.references.groups import reduced
from lastbit.references.quantize_codes import quantize_with
from lastbit.references.scale_rules import Scales, by_rule
from lastbit.references.scaling import Scaling

Array = NDArray[np.float64]

#: Sums of squares this close, relative to their sum, are compared as fractions. Each number's error is exact in float64
#: (x of 24 bits, scaled codes of 30, on a common grid of fewer than 53), its square and at most 64 additions round.
CLOSE = 2.0**-45


def better(x: Array, six: Scales, scaling: Scaling, fmt: str) -> Scales:
    """`six`, with amax / 4 for amax / 6 in the blocks whose sum of squared errors is smaller for it.

    The sums are compared exactly. Source: Cook et al., Four Over Six: More Accurate NVFP4 Quantization with Adaptive
    Block Scaling (2025).
    """
    four = by_rule(x, replace(scaling, largest=scaling.largest * 4 / 6), fmt, six.global_scale)
    errors = [_errors(x, scales, scaling, fmt) for scales in (six, four)]
    squares = [reduced(np.square(error), scaling, np.sum) for error in errors]
    chosen = squares[1] < squares[0]
    close = np.abs(squares[1] - squares[0]) <= CLOSE * (squares[0] + squares[1])
    for place in zip(*np.nonzero(close & (squares[0] != squares[1])), strict=True):
        exact = [sum(Fraction(float(e)) ** 2 for e in _group(error, place, scaling)) for error in errors]
        chosen[place] = exact[1] < exact[0]
    assert six.scale is not None
    assert four.scale is not None
    return replace(
        six,
        scale=np.where(chosen, four.scale, six.scale),
        divisor=np.where(chosen, four.divisor, six.divisor),
    )


def _errors(x: Array, scales: Scales, scaling: Scaling, fmt: str) -> Array:
    """x minus what its code is worth; 0 where that is undefined."""
    with np.errstate(invalid="ignore"):
        error = x - truth(quantize_with(x, scales, scaling, fmt), scaling).hi
    return np.where(np.isfinite(error), error, 0.0)


def _group(error: Array, place: tuple[np.intp, ...], scaling: Scaling) -> Array:
    """The numbers of the block at `place`."""
    last = np.moveaxis(error, scaling.axis, -1)
    at = list(place)
    number = int(at.pop(scaling.axis % error.ndim))
    group: Array = last[tuple(at)][number * scaling.group : (number + 1) * scaling.group]
    return group
