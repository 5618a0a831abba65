"""Rounding of rational numbers to a format, one at a time, by the definitions: the slow referee of `Format.round`."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from lastbit.references.format_table import FormatError

if TYPE_CHECKING:
    from lastbit.references.formats import Format

#: Whether a magnitude between two neighbours goes to the upper one, given twice the fraction minus 1, the parity of
#: the lower one, and the sign.
UP: dict[str, Callable[[Fraction, bool, bool], bool]] = {
    "nearest-even": lambda half, odd, negative: half > 0 or (half == 0 and odd),
    "nearest-away": lambda half, odd, negative: half >= 0,
    "toward-zero": lambda half, odd, negative: False,
    "down": lambda half, odd, negative: negative,
    "up": lambda half, odd, negative: not negative,
    "to-odd": lambda half, odd, negative: not odd,
}


def round_rational(fmt: "Format", x: Fraction, rounding: str, overflow: str | None) -> float:
    """`x` rounded to `fmt`; zero is +0, a negative value that rounds to zero -0 where the format has it.

    Raises FormatError for an unknown or stochastic rounding.
    """
    if rounding not in UP:
        raise FormatError(f"rounding is {rounding!r}, expected one of {', '.join(UP)}")
    rounded = _rounded(fmt, x, rounding)
    if Fraction(fmt.lowest) <= rounded <= Fraction(fmt.max):
        if rounded == 0 and x < 0 and fmt.has_negative_zero:
            return -0.0
        return float(rounded)
    positive = x > 0
    limit = fmt.max if positive else fmt.lowest
    policy = overflow or ("inf" if fmt.has_inf else "nan" if fmt.has_nan else "saturate")
    inward = rounding == "toward-zero" or rounding == ("down" if positive else "up")
    if policy in ("saturate", "propagate") or (inward and (positive or fmt.signed)):
        return limit
    if policy == "inf" and (positive or fmt.signed):
        return float("inf") if positive else float("-inf")
    return float("nan")


def _rounded(fmt: "Format", x: Fraction, rounding: str) -> Fraction:
    """`x` on the grid of `fmt`, which goes on beyond its largest value."""
    size, negative = abs(x), x < 0
    if fmt.kind == "table":
        return _on_levels(fmt, x, rounding)
    if fmt.kind == "exponent" and size < Fraction(fmt.min_normal):
        size = Fraction(fmt.min_normal)
    exponent = max(_floor_log2(size), fmt.emin) if size else fmt.emin
    if fmt.kind == "integer":
        exponent = fmt.emin
    quantum = Fraction(2) ** (exponent - fmt.precision + 1)
    count, rest = divmod(size, quantum)
    # With one significant bit the last bit of the code is that of the exponent.
    odd = (count if fmt.precision > 1 else count * (exponent + fmt.bias)) % 2 == 1
    if rest and UP[rounding](2 * rest / quantum - 1, odd, negative):
        count += 1
    return -count * quantum if negative else count * quantum


def _on_levels(fmt: "Format", x: Fraction, rounding: str) -> Fraction:
    """The level of a table that `x` rounds to, by trying all."""
    levels = [Fraction(level) for level in fmt.levels]
    x = min(max(x, levels[0]), levels[-1])
    if x in levels:
        return x
    below = max(i for i, level in enumerate(levels) if level < x)
    a, b = levels[below], levels[below + 1]
    inner, outer = (b, a) if x < 0 else (a, b)
    half = 2 * abs(x - inner) / (b - a) - 1
    odd = (below + (x < 0)) % 2 == 1
    return outer if UP[rounding](half, odd, x < 0) else inner


def _floor_log2(size: Fraction) -> int:
    """The exponent e with 2^e <= size < 2^(e+1), by integers alone."""
    e = size.numerator.bit_length() - size.denominator.bit_length()
    return e if Fraction(2) ** e <= size else e - 1
