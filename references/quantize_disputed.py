"""Numbers that division, a product with the reciprocal and the real quotient give different codes: searched for."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.quantize import quantize_with, scales
from lastbit.references.quantize_draw import HIGHEST, LOWEST, Array, QuantizeDraw, per_element, ties
from lastbit.references.scaling import POWERS, Scaling

#: Scales that are tried; of bf16 numbers one in a few has a disputed tie.
CANDIDATES = 192
#: A candidate, and where two of the arithmetics disagree about it.
Turn = tuple[int, NDArray[np.bool_]]
ARITHMETICS = ("exact", "divide", "reciprocal")
#: Candidates that are used of each pair of arithmetics.
TURNS = 12
#: Share of a group's numbers that are disputed, if there are any; the others lie beside ties.
SHARE = 0.7


def disputed(draw: QuantizeDraw) -> Array:
    """Groups whose scales and numbers are such that the arithmetics disagree about many codes.

    The largest number of a group has few digits in half of the candidates, so that exact ties are to be had.
    """
    scaling, rng = draw.scaling, draw.rng
    top = None
    reach = np.ldexp(rng.uniform(1.0, 2.0, CANDIDATES), rng.integers(LOWEST, HIGHEST + 1, CANDIDATES))
    reach = np.where(rng.random(CANDIDATES) < 0.5, np.ldexp(np.rint(np.ldexp(reach, 8)), -8), reach)
    whole = 0.0
    if scaling.global_scale is not None:
        whole = float(draw.x.round(np.array(scaling.global_largest / scaling.largest)))
        top = scales(np.array([[whole]]), _by_row(scaling), draw.x.name).global_scale
        reach = np.minimum(reach, whole / scaling.largest)
    high = draw.x.round(reach * abs(scaling.largest), overflow="saturate")
    low = np.zeros(CANDIDATES)
    if scaling.rule == "affine_min_max":
        low = draw.x.round(-high * rng.choice([0.0, 0.25, 1.0, 3.0], CANDIDATES), overflow="saturate")
    points = ties(scaling)
    found = scales(np.stack([low, high], axis=-1), _by_row(scaling), draw.x.name, top)
    step, zero = per_element(found, _by_row(scaling), (CANDIDATES, points.size))
    x = draw.x.round((points - zero) * step, overflow="saturate")
    inside = (x > (low if low.any() else -high)[:, None]) & (x < high[:, None])
    x = np.where(inside, x, 0.0)
    ways = [replace(_by_row(scaling), arithmetic=way) for way in ARITHMETICS]
    codes = [quantize_with(x, found, way, draw.x.name).codes for way in ways]
    known = [way for way in ARITHMETICS if scaling.arithmetic in (way, None)]
    pairs = [
        inside & (codes[ARITHMETICS.index(one)] != codes[ARITHMETICS.index(other)])
        for one in known
        for other in ARITHMETICS
        if one != other
    ]
    turns = _turns(pairs, alone=draw.count == 1)
    return _placed(draw, x, turns, low, high, whole)


def is_disputed(x: Format, scaling: Scaling) -> bool:
    """Whether the arithmetics can disagree: scales are no powers of two, and follow from the numbers."""
    plain = scaling.steps & (scaling.steps - 1) == 0 and not scaling.unrounded_divisor
    return (
        plain
        and scaling.rounding != "stochastic"
        and scaling.rule not in (*POWERS, "given", "four_over_six")
        and scaling.arithmetic in (*ARITHMETICS, None)
    )


def _turns(pairs: list[NDArray[np.bool_]], *, alone: bool) -> list[Turn]:
    """Candidates for the groups: the most disputed ones of each pair of arithmetics; one group gets one for all."""
    counts = np.array([pair.sum(axis=-1) for pair in pairs])
    if alone:
        row = int(np.argmax(counts.min(axis=0) * pairs[0].shape[1] + counts.sum(axis=0)))
        return [(row, np.any(pairs, axis=0))]
    found = []
    for pair, count in zip(pairs, counts, strict=True):
        best = np.argsort(-count, kind="stable")[:TURNS]
        found += [(int(row), pair) for row in best if count[row]]
    return found or [(0, pairs[0])]


def _placed(draw: QuantizeDraw, x: Array, turns: list[Turn], low: Array, high: Array, whole: float) -> Array:
    result = np.zeros(int(np.prod(draw.shape)))
    order = np.argsort(draw.group.reshape(-1), kind="stable")
    members = np.split(order, np.cumsum(np.bincount(draw.group.reshape(-1), minlength=draw.count))[:-1])
    sign = -1.0 if draw.scaling.largest < 0 else 1.0
    for places in members:
        row, differ = turns[int(draw.rng.integers(0, len(turns)))]
        sought, beside = x[row][differ[row]], x[row]
        values = draw.rng.choice(beside, places.size)
        if sought.size:
            values = np.where(draw.rng.random(places.size) < SHARE, draw.rng.choice(sought, places.size), values)
        result[places] = values
        ends = draw.rng.permutation(places)[:2]
        result[ends[0]] = sign * high[row]
        if low[row] and ends.size > 1:
            result[ends[1]] = low[row]
    if whole:
        result[members[int(draw.rng.integers(0, draw.count))][0]] = whole
    return result.reshape(draw.shape)


def _by_row(scaling: Scaling) -> Scaling:
    """The same rule and arithmetic with one scale a row."""
    return replace(scaling, granularity="row", group=0, block=(0, 0), axis=-1, packing="none", scale_layout="row-major")
