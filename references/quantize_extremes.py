"""Quantizer data of extremes: zero, constant, tiny and huge groups, and groups with NaN and infinities."""

import numpy as np

from lastbit.references.formats import Format
from lastbit.references.quantize_draw import Array, QuantizeDraw, normal

#: Every how many groups one keeps ordinary numbers, among those with a NaN or another special value.
ORDINARY = 3
#: Scales, in smallest numbers of their format, that the quotients for the scale of a group come to: rounded to a whole
#: one, some are too small for the largest number of the group by almost a half.
FEW = (1.4375, 0.5, 2.4375, 0.75, 1.0, 3.4375, 1.25, 1.75)


def blocks(draw: QuantizeDraw) -> Array:
    """Groups in turn constant, zero, of zeros of both signs, tiny, huge, with one number that is not zero, and with a
    scale of a few of its smallest numbers.

    Of one group, subnormal numbers.
    """
    if draw.count == 1:
        return _subnormal(draw)
    x = normal(draw)
    kind = draw.group % 9
    tiny = draw.x.eta * draw.rng.integers(-20, 21, draw.shape)
    alone = np.zeros(draw.shape)
    alone.reshape(-1)[draw.places()] = -1.7
    choices = (x, np.full(draw.shape, -2.6), np.zeros(draw.shape), _zeros(draw), tiny, _huge(draw), alone, _few(draw))
    return np.asarray(np.select([kind == number for number in range(1, 9)], choices, x))


def zero(draw: QuantizeDraw) -> Array:
    """Nothing but zeros, of both signs."""
    return _zeros(draw)


def constant(draw: QuantizeDraw) -> Array:
    """One number everywhere."""
    return np.full(draw.shape, float(draw.rng.choice([-1.0, 1.0]) * draw.rng.uniform(1.0, 2.0)))


def tiny(draw: QuantizeDraw) -> Array:
    """Numbers whose scale is a few of the smallest of its format; subnormal numbers of x, in one of three groups."""
    return np.where(draw.group % 3 == 1, _subnormal(draw), _few(draw))


def huge(draw: QuantizeDraw) -> Array:
    """The largest numbers of x, of both signs."""
    return _huge(draw)


def special(draw: QuantizeDraw) -> Array:
    """NaN, +inf, -inf, alone and together, first, last and inside, in two of three groups; ordinary groups between."""
    x = normal(draw)
    marks = ((np.nan,), (np.inf,), (-np.inf,), (np.nan, np.inf), (np.inf, -np.inf))
    first, last = draw.ends
    place = draw.places()
    for group in range(draw.count):
        if group % ORDINARY == ORDINARY - 1 and draw.count > 1:
            continue
        for where, mark in zip((place, first, last)[group % 2 :], marks[group % len(marks)], strict=False):
            x.reshape(-1)[where[group]] = mark
    return x


def not_a_number(draw: QuantizeDraw) -> Array:
    """One NaN in each other group, the last number of it; no infinity."""
    x = normal(draw)
    x.reshape(-1)[draw.ends[1][:: 2 if draw.count > 1 else 1]] = np.nan
    return x


def _subnormal(draw: QuantizeDraw) -> Array:
    """Subnormal numbers of x, up to the smallest normal one."""
    return draw.x.eta * np.rint(draw.rng.uniform(-1, 1, draw.shape) * 2.0 ** (draw.x.precision - 1))


def _few(draw: QuantizeDraw) -> Array:
    """Whole multiples of the smallest number of x, the largest of a group as FEW says."""
    scaling = draw.scaling
    stored = Format.of(scaling.global_scale or scaling.scale_format or "f32")
    least = max(2.0 ** (stored.emin - stored.precision + 1), draw.x.eta)
    largest = abs(scaling.largest) if scaling.global_scale is None else scaling.global_largest
    size = np.resize(FEW, draw.count) * largest * least
    x = draw.rng.uniform(-1.0, 1.0, draw.shape) * size[draw.group]
    x.reshape(-1)[draw.places()] = size * draw.signs((draw.count,))
    return draw.x.round(np.rint(x / draw.x.eta) * draw.x.eta, overflow="saturate")


def _zeros(draw: QuantizeDraw) -> Array:
    return np.copysign(0.0, draw.signs(draw.shape))


def _huge(draw: QuantizeDraw) -> Array:
    return draw.x.max * draw.rng.uniform(0.75, 1.0, draw.shape) * draw.signs(draw.shape)
