"""Quantizer data around chosen quotients: ties, elements, ends of the range, shares of the way between two elements."""

import numpy as np

from lastbit.references.formats import Format
from lastbit.references.quantize_draw import Array, QuantizeDraw, fill, grid, levels, rows, stepped, ties
from lastbit.references.scaling import Scaling

#: Shares of the way from one element to the next at which stochastic rounding is tried, a row each. Few random bits
#: show at 1/64, which needs the most draws. A prime number of them: rows at every distance meet in many pairs.
SHARES = (1 / 4, 1 / 2, 1 / 64, 1 / 3, 3 / 4, 1 / 64, 1 / 16, 1 / 2, 1 / 64, 15 / 16, 63 / 64)


def halves(draw: QuantizeDraw) -> Array:
    """Ties under scales that are powers of two where the rule can give them, and one step of x to either side."""
    return _points(draw, _ties(draw.scaling))


def near_halves(draw: QuantizeDraw) -> Array:
    """The same under scales of many digits: a division, a product with the reciprocal and a short cut differ."""
    return _points(draw, _ties(draw.scaling))


def every_level(draw: QuantizeDraw) -> Array:
    """Every element's number times the scale, and one step of x to either side: all codes, all binade boundaries."""
    return _points(draw, levels(draw.scaling))


def tiny_quotients(draw: QuantizeDraw) -> Array:
    """Quotients around the smallest elements and far below them, zeros of both signs."""
    small = min(level for level in levels(draw.scaling) if level > 0)
    sizes = np.array([0.0, small, small / 2, small * 0.75, small / 4, small * 2.0**-12, small * 1.5])
    return _points(draw, np.concatenate([sizes, -sizes]))


def beyond(draw: QuantizeDraw) -> Array:
    """Quotients past the largest element: at the overflow threshold, beside it, and up to 2^20 times the range."""
    element = Format.of(draw.scaling.element)
    high, low = draw.scaling.high, draw.scaling.low
    step = float(element.ulp(np.array([high]))[0]) if element.kind != "table" else high / 8
    points = np.array([high, high + step / 2, high + step, 1.5 * high, 2 * high, 4 * high, 300 * high, 2.0**20 * high])
    lower = -points if low < 0 else low - points / 4
    return _points(draw, np.concatenate([points, lower, [low, low - step / 2, low - step]]))


def given_scales(draw: QuantizeDraw) -> Array:
    """Elements and ties times given scales of every exponent: many of the products are subnormal or saturated in x."""
    return _points(draw, np.concatenate([levels(draw.scaling), ties(draw.scaling)]))


def shares(draw: QuantizeDraw) -> Array:
    """One share of the way between two elements in each row, of either sign, under a scale that is a power of two."""
    found = levels(draw.scaling)
    upper = found[(found > 0)]
    lower = np.concatenate([[0.0], upper[:-1]])
    number_of = rows(draw)
    share = np.array(SHARES)[number_of % len(SHARES)]
    number = (number_of * 7) % upper.size
    at = grid(draw)
    x = (lower[number] + share * (upper - lower)[number]) * np.where(number_of % 2, -1.0, 1.0) * at.step
    return np.where(at.fixed, at.x, x)


def _ties(scaling: Scaling) -> Array:
    """The ties, those beside zero more often: one half added to 0.49999997 is 1."""
    found = ties(scaling)
    smallest = found[np.argsort(np.abs(found), kind="stable")[:2]]
    return np.concatenate([found, np.repeat(smallest, max(1, found.size // 16))])


def _points(draw: QuantizeDraw, points: Array) -> Array:
    """x around quotients of `points`, each at it and one step of x to either side."""
    at = grid(draw)
    x = fill(draw, at, points)
    near = draw.x.round(stepped(draw.x, x, draw.rng.integers(-1, 2, draw.shape).astype(float)), overflow="saturate")
    return np.where(at.fixed | (near < at.low) | (near > at.high), x, near)
