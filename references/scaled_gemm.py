"""Proved truth for scaled GEMM: codes less zero points, times the scales that they share, summed exactly."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lastbit.references import gemm
from lastbit.references.eft import two_product
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.scaling import Scaling
from lastbit.references.truth import Truth

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """One operand with the summed dimension last: a (m, k), or b transposed (n, k), as weights are stored."""

    #: (code - zero point) / steps, exactly.
    steps: Array
    #: The scale of each number, of the same shape; ones where the operand has no scale.
    scale: Array
    #: Numbers along k that share a scale; 0: all of them.
    run: int

    @property
    def values(self) -> Array:
        """What the operand is worth, without a global scale: exact, for the widest code and scale have 24 bits each."""
        with np.errstate(all="ignore"):
            worth: Array = self.steps * self.scale
        return worth


@dataclass(frozen=True, slots=True)
class Problem:
    """global_scale * A B + bias, where A and B are codes with scales."""

    a: Part
    b: Part
    global_scale: float = 1.0
    #: (n,), or None.
    bias: Array | None = None

    @property
    def k(self) -> int:
        """Length of the sums."""
        return int(self.a.steps.shape[-1])


def part(codes: Array, scaling: Scaling | None, scale: Array | None = None, zero: Array | None = None) -> Part:
    """The operand whose codes are worth `codes` (rows, k), with scales and zero points of `scaling`'s shape.

    `scaling` None: a plain operand. Without `zero` the zero point is the scaling's fixed one. NaN and infinities follow
    IEEE 754. Raises ValueError when scales or zero points do not have the scaling's shape.
    """
    if scaling is None:
        return Part(codes, np.ones(codes.shape), 0)
    shape = scaling.scale_shape(codes.shape)
    for name, given in (("scale", scale), ("zero point", zero)):
        if given is not None and given.shape != shape:
            raise ValueError(f"{name} of {scaling.name} has shape {given.shape}, codes {codes.shape} need {shape}")
    offset = scaling.fixed_zero if zero is None else spread(zero, scaling, codes.shape)
    factor = np.ones(codes.shape) if scale is None else spread(scale, scaling, codes.shape)
    with np.errstate(invalid="ignore"):
        return Part((codes - offset) / scaling.steps, np.ascontiguousarray(factor), run(scaling))


def run(scaling: Scaling) -> int:
    """Numbers along k that share a scale, 0 if all do."""
    sizes: dict[str, int] = {"group": scaling.group, "block": scaling.block[1], "column": 1}
    return sizes.get(scaling.granularity, 0)


def segments(problem: Problem) -> list[slice]:
    """The stretches of k in which no scale changes, in order."""
    k = problem.k
    cuts = {0, k}
    for one in (problem.a, problem.b):
        cuts |= set(range(0, k, one.run)) if one.run else set()
    edges = sorted(cuts)
    return [slice(start, stop) for start, stop in pairwise(edges)]


def truth(problem: Problem, *, resolution: float = 0.0) -> Truth:
    """global_scale * sum_k a_ik b_kj + bias_j, proved as `gemm.truth` does; weight with the global scale and bias.

    NaN and infinities by IEEE 754 on the operands' worth: 0 * inf is NaN. A global scale that is NaN or infinite times
    the sum; its weight counts as 0. Raises ValueError where a code times its scale needs more than 53 bits, which
    no format of at most 24 bits does, and where the sign of a sum under an infinite global scale is not proved.
    """
    a, b = problem.a, problem.b
    for one in (a, b):
        _check_exact(one)
    if not np.isfinite(problem.global_scale):
        return _beyond(problem)
    return gemm.truth(a.values, b.values.T, alpha=problem.global_scale, bias=problem.bias, resolution=resolution)


def _beyond(problem: Problem) -> Truth:
    """The sum times a global scale that is NaN or infinite: by the sign of the sum, which is proved."""
    total = gemm.truth(problem.a.values, problem.b.values.T)
    if (np.abs(total.hi) < total.radius).any():
        raise ValueError("a sum without a proved sign has no product with an infinite global scale")
    with np.errstate(invalid="ignore"):
        hi = total.hi * problem.global_scale
        hi = hi if problem.bias is None else hi + problem.bias
    return Truth(hi, np.zeros(hi.shape), np.zeros(hi.shape), np.zeros(hi.shape), total.rung)


def integer_limit(a: str, b: str, bits: int = 31, *, zeros: tuple[bool, bool] = (False, False)) -> int:
    """The longest sum of products of integer formats `a` and `b` that never leaves -2^bits .. 2^bits - 1.

    For 31 bits: i8 x i8 131071, u8 x i8 65793, u8 x u8 33025, i4 x i4 2^25 - 1. `zeros`: which of them have zero
    points, anywhere in their range: numbers are then as large as the range is wide.
    """
    ends = []
    for name, zero in zip((a, b), zeros, strict=True):
        fmt = Format.of(name)
        width = fmt.max - fmt.lowest
        ends.append((-width, width) if zero else (fmt.lowest, fmt.max))
    products = [p * q for p in ends[0] for q in ends[1]]
    top, bottom = max(products), min(products)
    limits = [(2**bits - 1) // int(top)] if top > 0 else []
    limits += [2**bits // int(-bottom)] if bottom < 0 else []
    return int(min(limits))


def _check_exact(one: Part) -> None:
    finite = np.isfinite(one.steps) & np.isfinite(one.scale)
    product, error = two_product(np.where(finite, one.steps, 0.0), np.where(finite, one.scale, 0.0))
    if error.any() or not np.isfinite(product).all():
        raise ValueError("a code times its scale is no float64: codes and scales have at most 24 bits each")
