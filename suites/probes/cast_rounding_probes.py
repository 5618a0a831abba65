"""P21: how a cast rounds between two neighbours of its target, and whether once: quarters, halves and sticky bits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.op_access import Array

#: Values to values: exact numbers of the source in, numbers of the target out.
Cast = Callable[[Array], Array]
#: Parts of the way from one number of the target to the next.
PARTS = (0.25, 0.5, 0.75)
#: Binades, and numbers of each, between which is asked.
BINADES, PLACES = 7, 8
#: Calls that must give the same bits, else a rounding is stochastic.
CALLS = 3

#: Whether the magnitude goes up: of (negative, odd, part of the way), by name.
ROUNDINGS: dict[str, Callable[[bool, bool, float], bool]] = {
    "nearest-even": lambda negative, odd, part: part > 0.5 or (part == 0.5 and odd),
    "nearest-away": lambda negative, odd, part: part >= 0.5,
    "nearest-zero": lambda negative, odd, part: part > 0.5,
    "half-up": lambda negative, odd, part: part > 0.5 or (part == 0.5 and not negative),
    "half-down": lambda negative, odd, part: part > 0.5 or (part == 0.5 and negative),
    "nearest-odd": lambda negative, odd, part: part > 0.5 or (part == 0.5 and not odd),
    "toward-zero": lambda negative, odd, part: False,
    "down": lambda negative, odd, part: negative,
    "up": lambda negative, odd, part: not negative,
    "away": lambda negative, odd, part: True,
    "to-odd": lambda negative, odd, part: not odd,
}


@dataclass(frozen=True, slots=True)
class Points:
    """Numbers of the source that lie between two neighbours of the target."""

    x: Array
    #: Magnitudes of the neighbours.
    lower: Array
    upper: Array
    odd: NDArray[np.bool_]
    part: Array


def rounding(cast: Cast, source: Format, target: Format) -> Answer:
    """The rounding's name; "exact" where no number of the source lies between two of the target, or "stochastic"."""
    if target.kind == "table":
        return undecided("P21", "cast_rounding", f"{target.name} is a table: its levels have no last place")
    at = points(source, target)
    if not len(at.x):
        return Answer("P21", "cast_rounding", "exact", f"no {source.name} lies between two normal {target.name}")
    got = np.abs(cast(at.x))
    if any(not np.array_equal(np.abs(cast(at.x)), got) for _ in range(CALLS - 1)):
        fine = bool(((got == at.lower) | (got == at.upper)).all())
        told = f"{CALLS} calls with {len(at.x)} numbers between neighbours differ"
        return (
            Answer("P21", "cast_rounding", "stochastic", f"{told}, each is a neighbour")
            if fine
            else undecided("P21", "cast_rounding", "the same call gives other bits, and none of the neighbours", told)
        )
    told = _told(at, got)
    if not ((got == at.lower) | (got == at.upper)).all():
        return undecided("P21", "cast_rounding", "results are not the neighbours of the number", told)
    for name, goes_up in ROUNDINGS.items():
        asked = zip(at.x < 0, at.odd, at.part, strict=True)
        if np.array_equal(got == at.upper, [goes_up(bool(n), bool(odd), float(part)) for n, odd, part in asked]):
            return Answer("P21", "cast_rounding", name, told)
    return undecided("P21", "cast_rounding", "the results fit no rounding that is known", told)


def two_roundings(cast: Cast, source: Format, target: Format, known: str) -> Answer:
    """Whether a number is rounded on the way: a last bit of the source beside a boundary of the rounding is lost.

    The boundary is the middle for roundings to nearest, the lower number for others.
    """
    name, on_way = "cast_steps", None
    if known not in ROUNDINGS:
        return undecided("P21", name, f"the rounding is {known}")
    nearest = known.startswith(("nearest", "half"))
    at = points(source, target, (0.5,) if nearest else (0.0,))
    spare = source.precision - target.precision - 1
    if not len(at.x) or spare < 1:
        return undecided("P21", name, f"no {source.name} lies nearer to a boundary of {target.name} than half a place")
    base = at.lower + (at.upper - at.lower) * (0.5 if nearest else 0.0)
    place = np.array([_last_place(source, value) for value in base])
    most = int(np.log2(((at.upper - at.lower) / place).max())) - 1
    for bits in range(1, most + 1):
        delta = np.ldexp(at.upper - at.lower, -1 - bits)
        usable = delta >= place
        for side in (1.0, -1.0) if nearest else (1.0,):
            x = np.where(at.x < 0, -1.0, 1.0) * (base + side * delta)
            part = (0.5 if nearest else 0.0) + side * 2.0 ** (-1 - bits)
            asked = zip(at.x < 0, at.odd, strict=True)
            up = np.array([ROUNDINGS[known](bool(n), bool(odd), part) for n, odd in asked])
            wrong = usable & (np.abs(cast(np.where(usable, x, 0.0))) != np.where(up, at.upper, at.lower))
            if wrong.any() and on_way is None:
                i = int(np.flatnonzero(wrong)[0])
                on_way = (target.precision + bits, float(x[i]))
    told = f"2 to 2^-{most} of half a place beside {len(base)} boundaries"
    if on_way is None:
        return Answer("P21", name, "one rounding", told)
    return Answer("P21", name, f"two roundings, the first to {on_way[0]} bits", f"{told}; {on_way[1].hex()} is wrong")


def points(source: Format, target: Format, parts: tuple[float, ...] = PARTS) -> Points:
    """Numbers between neighbours of the target in its normal range, as far as the source has them."""
    lower, step = _places(source, target)
    grid = np.array([(low, width, part) for low, width in zip(lower, step, strict=True) for part in parts])
    grid = grid.reshape(-1, 3)
    low, width, part = grid.T
    x = low + width * part
    fits = _has(source, x)
    x, low, width, part = x[fits], low[fits], width[fits], part[fits]
    odd = (target.encode(low, overflow="saturate") & 1).astype(bool)
    if source.signed and target.signed:
        return Points(
            np.concatenate([x, -x]), np.tile(low, 2), np.tile(low + width, 2), np.tile(odd, 2), np.tile(part, 2)
        )
    return Points(x, low, low + width, odd, part)


def _places(source: Format, target: Format) -> tuple[Array, Array]:
    """Numbers of the target, and the distance to the next above."""
    if target.kind == "integer":
        top = int(min(target.max, 2**24)) - 1
        low = np.unique(np.linspace(1, top, BINADES * PLACES).astype(np.int64)).astype(np.float64)
        return low, np.ones_like(low)
    lowest = max(target.emin, source.emin if source.kind != "integer" else target.precision + 1) + 1
    highest = min(target.emax, source.emax) - 1
    if highest < lowest:
        return np.zeros(0), np.zeros(0)
    exponents = np.linspace(lowest, highest, BINADES).astype(np.int64)
    exponents = np.unique(np.concatenate([exponents, np.minimum(exponents + 1, highest)]))
    half = 1 << (target.precision - 1)
    kinds = np.unique(np.linspace(half, 2 * half - 1, PLACES).astype(np.int64))
    kinds = np.unique(np.concatenate([kinds, np.minimum(kinds + 1, 2 * half - 1)])).astype(np.float64)
    step: Array = np.ldexp(1.0, np.repeat(exponents, len(kinds)) - target.precision + 1)
    lower: Array = np.tile(kinds, len(exponents)) * step
    return lower, step


def _has(source: Format, x: Array) -> NDArray[np.bool_]:
    fits: NDArray[np.bool_] = source.round(x, overflow="saturate") == x
    return fits


def _last_place(source: Format, x: float) -> float:
    return float(source.ulp(x))


def _told(at: Points, got: Array) -> str:
    """How often each part of the way went up."""
    parts = []
    for part in np.unique(at.part):
        for sign, which in (("+", at.x > 0), ("-", at.x < 0)):
            for odd in (False, True):
                these = which & (at.odd == odd) & (at.part == part)
                if these.any():
                    up = int((got[these] == at.upper[these]).sum())
                    parts.append(f"{sign}{'odd' if odd else 'even'}+{part:g}: {up} of {int(these.sum())} up")
    return ", ".join(parts)
