"""Numbers whose rounding is known by construction: places in the gap between two neighbouring values of a format."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Floats = NDArray[np.float64]
MODES = ("nearest-even", "nearest-away", "toward-zero", "down", "up", "to-odd")

#: Whether a magnitude at a place of the gap goes up; `odd`: the last bit of the value below; `negative`: the sign.
UP: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
    "nearest-even": {
        "low": lambda odd, negative: False,
        "below": lambda odd, negative: False,
        "middle": lambda odd, negative: odd,
        "above": lambda odd, negative: True,
        "high": lambda odd, negative: True,
    },
    "nearest-away": {
        "low": lambda odd, negative: False,
        "below": lambda odd, negative: False,
        "middle": lambda odd, negative: True,
        "above": lambda odd, negative: True,
        "high": lambda odd, negative: True,
    },
    "toward-zero": dict.fromkeys(("low", "below", "middle", "above", "high"), lambda odd, negative: False),
    "down": dict.fromkeys(("low", "below", "middle", "above", "high"), lambda odd, negative: negative),
    "up": dict.fromkeys(("low", "below", "middle", "above", "high"), lambda odd, negative: ~negative),
    "to-odd": dict.fromkeys(("low", "below", "middle", "above", "high"), lambda odd, negative: ~odd),
}


@dataclass(frozen=True, slots=True)
class Points:
    """Numbers hi + lo of one sign at one place of gaps (a, b); magnitudes a < b are neighbours."""

    place: str
    hi: Floats
    lo: Floats
    a: Floats
    b: Floats
    #: Last bit of the code of a.
    odd: NDArray[np.bool_]
    negative: NDArray[np.bool_]


Rounder = Callable[[Floats, Floats, str], Floats]


def mismatches(fmt: Format, mode: str, rounder: Rounder) -> list[str]:
    """Where `rounder(hi, lo, mode)` differs from the construction, zero signs included; at most one line a place."""
    lines = []
    for points in all_points(fmt):
        got = rounder(points.hi, points.lo, mode)
        want = _expected(fmt, points, mode)
        same = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)
        if not same.all():
            i = int(np.argmin(same))
            lines.append(
                f"{fmt.name} {mode} {points.place}: {points.hi[i].hex()} + {points.lo[i].hex()} gave {got[i]}, "
                f"want {want[i]} ({np.count_nonzero(~same)} of {same.size})"
            )
    return lines


@cache
def all_points(fmt: Format) -> tuple[Points, ...]:
    """The points of every gap of `fmt` (of some thousand, beyond 16 bits), both signs, the overflow gap included."""
    return tuple(points for negative in ((False, True) if fmt.signed else (False,)) for points in _side(fmt, negative))


def _side(fmt: Format, negative: bool) -> list[Points]:
    a, b, odd = _gaps(fmt, negative)
    places = _double_places(a, b) if fmt.precision == 53 else _places(a, b)
    made = []
    for place, hi, lo in places:
        # Nothing lies between 0 and 0 + 0 * tiny: there the smallest float64 is the tiny one.
        hi = np.where((hi == 0) & (place == "low"), 5e-324, hi)
        kept = np.isfinite(hi) & ((lo != 0) | (place == "exact") | (fmt.precision < 53))
        lo = np.where(hi <= 5e-324, 0.0, lo)
        sign = -1.0 if negative else 1.0
        sides = np.full(a.shape, negative)
        made.append(Points(place, *(x[kept] for x in (sign * hi, sign * lo, a, b, odd, sides))))
    return made


def _places(a: Floats, b: Floats) -> list[tuple[str, Floats, Floats]]:
    """Places of the gaps (a, b) of a format of at most 32 significant bits, as (name, hi, lo)."""
    middle = a + (b - a) / 2
    zero = np.zeros_like(a)
    places = [("exact", a, zero), ("middle", middle, zero)]
    for tiny in (lambda x: x * 2.0**-54, lambda x: x * 2.0**-60, lambda x: np.full_like(x, 5e-324)):
        places += [("low", a, tiny(a)), ("below", middle, -tiny(middle))]
        places += [("above", middle, tiny(middle)), ("high", b, -tiny(b))]
    for step in (2.0**-45, 2.0**-52):
        places += [("low", a * (1 + step), zero), ("below", middle * (1 - step), zero)]
        places += [("above", middle * (1 + step), zero), ("high", b * (1 - step), zero)]
    return places


def _double_places(a: Floats, b: Floats) -> list[tuple[str, Floats, Floats]]:
    """Places of the gaps (a, b) of float64; lo is 0 where no float64 is small enough, hi infinite where none is."""
    gap = np.where(np.isinf(b), 2.0**971, b - a)
    almost = gap / 2 * (1 - 2.0**-50)
    almost[almost >= gap / 2] = 0
    tiny = gap * 2.0**-30
    places = [("exact", a, np.zeros_like(a)), ("middle", a, gap / 2), ("middle", b, -gap / 2)]
    places += [("low", a, tiny), ("high", b, -tiny), ("below", a, almost), ("above", b, -almost)]
    return places


def _gaps(fmt: Format, negative: bool) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Neighbouring magnitudes of one sign, ascending, to the first beyond the range, and the last bit of the lower."""
    if fmt.kind == "float" or fmt.kind == "exponent":
        spare = 13 if fmt.name == "tf32" else 0
        codes = _codes(fmt.max_code >> spare, fmt.precision - 1)
        a = _magnitude(fmt, codes << spare)
        b = _magnitude(fmt, np.minimum(codes + 1, fmt.max_code) << spare)
        odd = codes % 2 == 1
    elif fmt.kind == "integer":
        codes = _codes(fmt.max_code + negative, 0)
        a, b, odd = codes * 1.0, codes + 1.0, codes % 2 == 1
    else:
        levels = np.array(fmt.levels)
        codes = np.flatnonzero(levels <= 0)[::-1] if negative else np.flatnonzero(levels >= 0)
        return np.abs(levels[codes[:-1]]), np.abs(levels[codes[1:]]), codes[:-1] % 2 == 1
    with np.errstate(over="ignore"):
        b[-1] = a[-1] + fmt.ulp(fmt.max)
    return a, b, odd


def _magnitude(fmt: Format, codes: NDArray[np.int64]) -> Floats:
    return fmt.decode(codes.astype(fmt.code_dtype))


def _codes(top: int, hidden: int) -> NDArray[np.int64]:
    """All codes up to `top`; beyond 16 bits those around powers of two, at both ends, and some drawn ones."""
    if top < 1 << 16:
        return np.arange(top + 1)
    powers = np.arange(1, (top >> hidden) + 1) << hidden if hidden else 1 << np.arange(top.bit_length())
    drawn = np.random.default_rng(20).integers(0, top, 500)
    ends = np.concatenate([np.arange(64), top - np.arange(64)])
    codes = np.unique(np.concatenate([ends, drawn, (powers[:, None] + np.arange(-3, 4)).ravel()]))
    return codes[(codes >= 0) & (codes <= top)]


def _expected(fmt: Format, points: Points, mode: str) -> Floats:
    up: Any = False if points.place == "exact" else UP[mode][points.place](points.odd, points.negative)
    magnitude = np.where(up, points.b, points.a)
    value = np.where(points.negative, -magnitude, magnitude)
    if not fmt.has_negative_zero:
        value = value + 0.0
    beyond = (value > fmt.max) | (value < fmt.lowest)
    own = np.inf if fmt.has_inf else np.nan if fmt.has_nan else fmt.max
    return np.where(beyond, np.where(points.negative, fmt.lowest if own == fmt.max else -own, own), value)
