"""Numbers and codes at which a cast decides: ties, thresholds, ends of binades, specials, shared numbers."""

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Floats = NDArray[np.float64]
Codes = NDArray[Any]

#: Formats of at most so many bits are listed whole, number by number, and code by code.
LISTED_BITS = 8
COUNTED_BITS = 16
#: Random significands of each binade of a wider format.
PER_BINADE = 3
#: Steps between two neighbours of the target at which stochastic rounding is looked at.
STEPS = 16


def every_code(fmt: Format, start: int = 0, count: int | None = None) -> Codes:
    """The `count` codes from `start` on, in order: all, if None; tf32 codes are spread in their 32 bits."""
    stop = (1 << fmt.bits) if count is None else min(start + count, 1 << fmt.bits)
    codes = np.arange(start, stop, dtype=np.uint64)
    return (codes << np.uint64(13 if fmt.name == "tf32" else 0)).astype(fmt.code_dtype)


def decisive(fmt: Format) -> Floats:
    """Numbers where rounding to `fmt` decides: its values and the middles between them, beyond its range too.

    Every value of a format of at most 8 bits; of a wider one, in every binade, the lowest and the highest values, some
    random ones and the middles beside them. Ascending, both signs.
    """
    return _decisive(fmt)


@lru_cache(maxsize=64)
def _decisive(fmt: Format) -> Floats:
    if fmt.bits <= LISTED_BITS:
        values = fmt.decode(every_code(fmt))
        values = np.unique(values[np.isfinite(values)])
        middles = (values[:-1] + values[1:]) / 2
        ends = [fmt.threshold, fmt.max + 2 * (fmt.threshold - fmt.max), 2 * fmt.max, fmt.lowest - 0.5, 2 * fmt.lowest]
        ends += [] if fmt.kind == "table" else [-fmt.eta / 2, fmt.eta / 2, fmt.eta / 4, -fmt.eta, fmt.lowest - fmt.eta]
        points = np.concatenate([values, middles, np.array(ends)])
        points = np.concatenate([points, -points])
    elif fmt.kind == "integer":
        powers = np.ldexp(1.0, np.arange(fmt.bits + 2))
        near = (powers[:, None] + np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])).reshape(-1)
        points = np.concatenate([near, -near, np.array([fmt.max + 0.5, fmt.lowest - 0.5])])
    else:
        points = _by_binade(fmt)
    points = np.unique(points[np.isfinite(points)])
    points.flags.writeable = False
    return points


def _by_binade(fmt: Format) -> Floats:
    """Of each binade: its first two and last two values, random ones, and the middles above them; and near zero."""
    rng = np.random.default_rng(zlib.crc32(fmt.name.encode()))
    units = 1 << (fmt.precision - 1)
    exponents = np.arange(fmt.emin, min(fmt.emax, 1022) + 1)
    fixed = np.array([0, 1, units - 2, units - 1])
    random = rng.integers(2, max(3, units - 2), (len(exponents), PER_BINADE))
    whole = units + np.concatenate([np.broadcast_to(fixed, (len(exponents), 4)), random], axis=1)
    twice = np.stack([2 * whole, 2 * whole + 1], axis=-1).astype(np.float64) if fmt.precision < 53 else whole[..., None]
    spare = 1 if fmt.precision < 53 else 0
    scale = (exponents - (fmt.precision - 1) - spare)[:, None, None]
    normal = np.ldexp(twice, scale).reshape(-1)
    small = np.concatenate([np.arange(0, 9), np.ldexp(1.0, np.arange(3, fmt.precision))])
    subnormal = fmt.eta * np.concatenate([small, small + 0.5, small + 0.25] if fmt.precision < 53 else [small])
    beyond = [fmt.threshold, 2 * fmt.max] if fmt.precision < 53 else [fmt.max]
    points = np.concatenate([normal, subnormal, np.array(beyond)])
    return np.concatenate([points, -points])


def around(points: Floats, fmt: Format) -> Codes:
    """Codes of the values of `fmt` at `points` or, where it has none there, on both sides; and of their neighbours."""
    below = fmt.round(points, rounding="down", overflow="saturate")
    above = fmt.round(points, rounding="up", overflow="saturate")
    with np.errstate(over="ignore", under="ignore"):  # beyond the ends of float64
        further = np.nextafter(below, -np.inf), np.nextafter(above, np.inf)
    lower = fmt.round(further[0], rounding="down", overflow="saturate")
    upper = fmt.round(further[1], rounding="up", overflow="saturate")
    codes = fmt.encode(np.concatenate([below, above, lower, upper]))
    return np.unique(codes)


def specials(fmt: Format) -> Codes:
    """Codes of zeros, infinities, quiet and signalling NaN of both signs, and the ends of the ranges."""
    if fmt.bits <= LISTED_BITS:
        return every_code(fmt)
    if fmt.kind == "integer":
        return fmt.encode(np.array([0.0, 1.0, -1.0, fmt.max, fmt.lowest]))
    spare = 13 if fmt.name == "tf32" else 0
    hidden, sign = fmt.precision - 1, 1 << (fmt.bits - 1)
    infinity, quiet = (fmt.inf_code or 0) >> spare, 1 << (fmt.precision - 2)
    sizes = [0, 1, 2, (1 << hidden) - 1, 1 << hidden, (1 << hidden) + 1, infinity - 1, infinity]
    sizes += [infinity | payload for payload in (1, quiet - 1, quiet, quiet | 1, 2 * quiet - 1)]
    codes = np.array([size | s for size in sizes for s in (0, sign)], np.uint64)
    return (codes << np.uint64(spare)).astype(fmt.code_dtype)


def shared(source: Format, target: Format) -> tuple[Codes, Codes]:
    """Codes of numbers that both formats have, in the source and in the target, infinities and zeros included."""
    narrow = min((source, target), key=lambda fmt: (fmt.bits, fmt.name != source.name))
    codes = every_code(narrow) if narrow.bits <= COUNTED_BITS else np.unique(around(decisive(narrow), narrow))
    values = narrow.decode(codes)
    values = values[~np.isnan(values)]
    kept = _holds(source, values) & _holds(target, values)
    return source.encode(values[kept]), target.encode(values[kept])


def _holds(fmt: Format, values: Floats) -> NDArray[np.bool_]:
    """Where `fmt` has exactly these numbers, the sign of zero included."""
    inside = fmt.round(values, overflow=None)
    same: NDArray[np.bool_] = (inside == values) & (np.signbit(inside) == np.signbit(values))
    return same


def fractions(source: Format, target: Format) -> tuple[Floats, Floats, Floats]:
    """(x, lower magnitude, k) of numbers k / STEPS of the way between neighbours of the target, that the source holds.

    The neighbours are the smallest numbers, normal ones of even and odd last bit, and the largest pair, of both signs.
    """
    codes = [0, 1, target.max_code // 2, target.max_code // 2 + 1, target.max_code - 1]
    if target.kind == "integer":
        codes = [0, 1, target.max_code // 2, target.max_code - 1]
    unit = 1 << (13 if target.name == "tf32" else 0)
    base = np.array([code - code % unit for code in codes]).astype(target.code_dtype)
    lower, upper = target.decode(base), target.decode((base + np.array(unit, base.dtype)).astype(base.dtype))
    k = np.arange(STEPS + 1, dtype=np.float64)
    x = lower[:, None] + (upper - lower)[:, None] * (k / STEPS)
    low, steps = np.broadcast_to(lower[:, None], x.shape), np.broadcast_to(k, x.shape)
    x, low, steps = x.reshape(-1), low.reshape(-1), steps.reshape(-1)
    if target.signed:
        x, low, steps = np.concatenate([x, -x]), np.concatenate([low, -low]), np.concatenate([steps, steps])
    kept = np.isfinite(x) & (steps < STEPS) & _holds(source, x)
    return x[kept], low[kept], steps[kept]


def stochastic_points(source: Format, target: Format) -> Floats:
    """The numbers of `fractions`, those halfway last."""
    x, _, steps = fractions(source, target)
    return x[np.argsort(steps == STEPS // 2, kind="stable")]
