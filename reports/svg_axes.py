"""Axes of plots: where a value lies on the page, and the ticks that a person reads it by."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

#: Values closer than this share of themselves are one point to the eye, and to a label of six digits.
CLOSEST = 1e-5
#: Pixels between two labels: of three to six characters across, of one line down.
ROOM_ACROSS = 44
ROOM_DOWN = 24
#: Pixels of a character of a tick's label.
DIGIT = 7.0
#: Pixels between the mark of zero and the smallest positive value on a logarithmic axis.
ZERO_GAP = 18
_LARGEST = 1.7e308


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows; limits left at None are those of the data."""

    label: str
    #: "linear"; "log", where what is not positive lies on a mark of its own, at zero; or "rows", one a name.
    kind: str = "linear"
    low: float | None = None
    high: float | None = None
    #: Of "rows": their names, from the first at the top (or left).
    names: tuple[str, ...] = ()
    #: Ticks to use in place of round numbers: (value, label), the ones to keep first where there is no room for all.
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis laid onto the pixels from `begin` to `end`."""

    axis: Axis
    #: The ends in the axis's own measure: a quarter of a linear value, the decimal logarithm, the row.
    low: float
    high: float
    begin: float
    end: float
    #: Whether a value that is not positive is to be shown on a logarithmic axis.
    zero: bool = False


def fit(axis: Axis, values: Iterable[float], begin: float, end: float) -> Scale:
    """The scale that shows every value; an axis without values shows 0 to 1 (logarithmic: 0.1 to 10)."""
    if axis.kind == "rows":
        return Scale(axis, -0.5, max(len(axis.names), 1) - 0.5, begin, end)
    found = [value for value in (*values, axis.low, axis.high) if value is not None and isfinite(value)]
    if axis.kind == "log":
        return _log(axis, found, begin, end)
    low = axis.low if axis.low is not None else min(found, default=0.0)
    high = axis.high if axis.high is not None else max(found, default=1.0)
    if high / 4 - low / 4 <= max(CLOSEST * max(abs(low), abs(high)), 1e-290) / 4:
        room = max(abs(low), 1.0) / 2
        low, high = max(low - room, -_LARGEST), min(high + room, _LARGEST)
    return Scale(axis, low / 4, high / 4, begin, end)


def position(scale: Scale, value: float) -> float:
    """The pixel of `value`; one beyond the ends lies on the nearer end."""
    if scale.axis.kind == "log":
        if value <= 0:
            return scale.begin
        begin = scale.begin + _gap(scale)
        return _between(log10(value), scale.low, scale.high, begin, scale.end)
    measure = value if scale.axis.kind == "rows" else value / 4
    return _between(measure, scale.low, scale.high, scale.begin, scale.end)


def ticks(scale: Scale) -> list[tuple[float, str]]:
    """(pixel, label) of every tick, in order."""
    axis = scale.axis
    if axis.kind == "rows":
        return [(position(scale, row), name) for row, name in enumerate(axis.names)]
    if axis.ticks:
        return _apart([(position(scale, value), label) for value, label in axis.ticks])
    room = ROOM_ACROSS if scale.end > scale.begin else ROOM_DOWN
    most = max(int(abs(scale.end - scale.begin - _gap(scale)) / room), 2)
    values = _decades(scale, most) if axis.kind == "log" else _round_numbers(scale, most)
    marks = [(position(scale, value), number(value)) for value in values]
    return [(scale.begin, "0"), *marks] if scale.zero else marks


def number(value: float) -> str:
    """A number as short as a tick's label or a table's cell may be: "0.5", "1e-7", "65536"."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6 or not isfinite(value):
        return f"{value:.6g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def short(value: float) -> str:
    """Three digits of the number, as text."""
    rounded = float(f"{value:.3g}")
    # The largest number of float64, to three digits, is infinite.
    return number(rounded) if isfinite(rounded) else f"{value:.2g}".replace("e+", "e")


def _apart(wanted: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Of ticks across, in their order, those whose label lies on none that is kept already; from the left."""
    kept: list[tuple[float, str]] = []
    for at, label in wanted:
        if all(abs(at - other) > (len(label) + len(name)) / 2 * DIGIT + DIGIT for other, name in kept):
            kept.append((at, label))
    return sorted(kept)


def _log(axis: Axis, found: list[float], begin: float, end: float) -> Scale:
    positive = [log10(value) for value in found if value > 0]
    low, high = min(positive, default=-1.0), max(positive, default=1.0)
    if high - low < 0.3:
        low, high = low - 0.3, high + 0.3
    return Scale(axis, low, high, begin, end, zero=any(value <= 0 for value in found))


def _gap(scale: Scale) -> float:
    return (ZERO_GAP if scale.end > scale.begin else -ZERO_GAP) if scale.zero else 0.0


def _between(measure: float, low: float, high: float, begin: float, end: float) -> float:
    share = (measure - low) / (high - low)
    return begin + min(max(share, 0.0), 1.0) * (end - begin)


def _round_numbers(scale: Scale, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    least = (scale.high - scale.low) / most
    quarter = next(size for size in _sizes(10.0 ** floor(log10(least * 4)) / 4) if size >= least)
    first, last = ceil(scale.low / quarter - 1e-9), floor(scale.high / quarter + 1e-9)
    return [count * quarter * 4 for count in range(first, last + 1)]


def _sizes(unit: float) -> tuple[float, ...]:
    return tuple(size * unit for size in (1.0, 2.0, 5.0, 10.0, 20.0))


def _decades(scale: Scale, most: int) -> list[float]:
    """Powers of ten, every so many where they are many, and their doubles and fives where they are few."""
    first, last = ceil(scale.low - 1e-9), floor(scale.high + 1e-9)
    every = next(size for size in (1, 2, 5, *_sizes(10.0), *_sizes(100.0)) if size * most >= last - first + 1)
    if last - first >= 2:
        return [10.0**power for power in range(first, last + 1) if power % every == 0]
    fine = [digit * 10.0**power for power in range(floor(scale.low), last + 1) for digit in (1, 2, 5)]
    inside = (value for value in fine if value > 0)  # the smallest power is below all numbers
    return [value for value in inside if scale.low - 1e-9 <= log10(value) <= scale.high + 1e-9]
