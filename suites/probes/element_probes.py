"""P26: how a quantizer divides and rounds: every arithmetic and rounding that gives its codes under its own scales."""

from dataclasses import replace
from itertools import product

import numpy as np

from lastbit.references.formats import Format, FormatError
from lastbit.references.quantize import given, quantize_with, right, scales
from lastbit.references.scale_rules import Scales
from lastbit.references.scaling import Scaling, ScalingError
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.op_access import Array
from lastbit.suites.probes.scale_access import Found, Groups, with_amax

ARITHMETICS = ("exact", "divide", "reciprocal", "ratio")
ROUNDINGS = ("nearest-even", "nearest-away", "nearest-zero", "half-up", "toward-zero", "down", "up", "thresholds")
#: Groups, a half of whose numbers are at ties.
TIED = 96
#: Calls that must give the same codes.
CALLS = 3


def element_answers(groups: Groups) -> list[Answer]:
    """The arithmetic of the quotient, and the rounding to the element."""
    names = ("quotient", "element_rounding")
    asked = [_numbers(groups, seed) for seed in ((1,) if groups.scaling.granularity != "tensor" else (1, 2, 3, 4))]
    found = [groups(one) for one in asked]
    for one, first in zip(asked, found, strict=True):
        if any(not np.array_equal(groups(one).quantized.codes, first.quantized.codes) for _ in range(CALLS - 1)):
            told = f"{CALLS} calls with the same numbers give other codes"
            return [undecided("P26", names[0], told), Answer("P26", names[1], "stochastic", told)]
    ways = [way for way in product(ARITHMETICS, ROUNDINGS) if all(_gives(groups, one, *way) for one in found)]
    told = f"{sum(one.x.size for one in found)} numbers, a half of them at ties under their scales"
    if not ways:
        return [
            undecided("P26", name, "no arithmetic and rounding that is known gives these codes", told) for name in names
        ]
    return [_one(name, [way[i] for way in ways], told) for i, name in enumerate(names)]


def _numbers(groups: Groups, seed: int) -> Array:
    """Groups whose numbers are as near to ties of the element as their format has them, under their scales."""
    rng, x, element = np.random.default_rng(seed), groups.x, Format.of(groups.scaling.element)
    count = groups.count(TIED) if groups.scaling.granularity != "tensor" else 1
    amax = x.round(np.exp2(rng.uniform(-2, 2, count)))
    # Under scales that are powers of two every tie is a number of the format.
    even = x.round(np.ldexp(groups.scaling.largest, rng.integers(-3, 3, count)), overflow="saturate")
    amax = np.where(rng.random(count) < 0.5, amax, even)
    drawn = with_amax(amax, groups.size, x)
    drawn = np.abs(drawn) if groups.scaling.zero_point is not None else drawn
    first = groups(drawn)
    scale = np.abs(first.scale * first.top)[:, None] / groups.scaling.steps
    levels = np.unique(np.abs(element.decode(np.arange(1 << element.bits).astype(element.code_dtype))))
    levels = levels[np.isfinite(levels)]
    ties = (levels[:-1] + levels[1:]) / 2
    tied = x.round(rng.choice(ties, drawn.shape) * scale * rng.choice([-1.0, 1.0], drawn.shape))
    keep = (np.abs(drawn) == amax[:, None]) | (np.abs(tied) > amax[:, None]) | (rng.random(drawn.shape) < 0.2)
    values = np.where(keep, drawn, tied)
    return np.abs(values) if groups.scaling.zero_point is not None else values


def _gives(groups: Groups, found: Found, arithmetic: str, rounding: str) -> bool:
    """Whether these codes come of this arithmetic and rounding."""
    chosen = groups.scaling
    if (rounding == "thresholds") and Format.of(chosen.element).kind != "table":
        return False
    try:
        way = replace(chosen, arithmetic=arithmetic, rounding=rounding, zero_before_rounding=False)
        known = _known(groups, found, way)
        if arithmetic == "ratio" and np.isnan(known.amax).any():  # what the rule made of amax is not known
            return False
        wanted = quantize_with(found.x, known, way, groups.x.name)
    except (ScalingError, FormatError):  # the element has no such rounding
        return False
    return bool(right(found.quantized.codes, wanted, way).all())


def _known(groups: Groups, found: Found, way: Scaling) -> Scales:
    """The scales that were returned; with what was rounded to them where the rule gives the same."""
    by_rule = scales(found.x, way, groups.x.name, found.quantized.global_scale)
    held = found.quantized
    if by_rule.scale is not None and held.scale is not None and np.array_equal(by_rule.scale, held.scale):
        return by_rule
    return given(way, held.scale, held.zero_point, held.global_scale)


def _one(name: str, values: list[str], told: str) -> Answer:
    kinds = sorted(set(values))
    if len(kinds) > 1:
        return undecided("P26", name, f"{' and '.join(kinds)} give the same codes", told)
    return Answer("P26", name, kinds[0], told)
