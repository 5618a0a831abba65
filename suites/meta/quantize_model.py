"""Quantizers written out in rational arithmetic, one number at a time: the referee of references/quantize.py."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from lastbit.references.formats import Format
from lastbit.references.scaling import Scaling


class SpecialError(Exception):
    """A step leaves the finite numbers, where this model has nothing to say."""


def quantize(x: Any, scaling: Scaling, fmt: str) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Of each group in turn: its places, its codes, its scale's code, and its zero point's; x is a matrix."""
    top = None
    if scaling.global_scale is not None:
        amax = rounded(scaling.scale_compute or fmt, max(abs(Fraction(float(v))) for v in x.reshape(-1)))
        top = rounded(
            scaling.global_scale, rounded(scaling.scale_compute or fmt, amax / Fraction(scaling.global_largest))
        )
    places, codes, scales, zeros = [], [], [], []
    for group in groups(x.shape, scaling):
        numbers = [Fraction(float(x[place])) for place in group]
        stored, divisor, amax, zero = scale(numbers, scaling, fmt, top)
        places.append(group)
        scales.append(code(scaling.scale_format, stored))
        zeros.append(None if scaling.zero_point is None else code(scaling.zero_point, zero))
        negative = [bool(np.signbit(x[place])) for place in group]
        codes.append(
            [element(v, n, divisor, amax, zero, top, scaling, fmt) for v, n in zip(numbers, negative, strict=True)]
        )
    return places, codes, scales, zeros


def groups(shape: tuple[int, int], scaling: Scaling) -> list[list[tuple[int, int]]]:
    """The places that share a scale, in the order of the scales."""
    rows, columns = shape
    height, width = {
        "tensor": shape,
        "row": (1, columns),
        "column": (rows, 1),
        "group": (1, scaling.group),
        "block": scaling.block,
    }[scaling.granularity]
    return [
        [(i, j) for i in range(top, min(top + height, rows)) for j in range(left, min(left + width, columns))]
        for top in range(0, rows, height)
        for left in range(0, columns, width)
    ]


def rounded(fmt: str, value: Fraction, rounding: str = "nearest-even", overflow: str | None = None) -> Fraction:
    """`value` rounded once."""
    result = Format.of(fmt).round_rational(value, rounding=rounding, overflow=overflow)
    if not np.isfinite(result):
        raise SpecialError
    return Fraction(result)


def code(fmt: str | None, value: Fraction) -> int:
    """The code of a number that the format has."""
    assert fmt is not None
    return int(Format.of(fmt).encode(float(value)))


def exponent(value: Fraction) -> int:
    """floor(log2 value)."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e if Fraction(2) ** e <= value else e - 1


def scale(numbers: list[Fraction], scaling: Scaling, fmt: str, top: Fraction | None) -> tuple[Any, Any, Any, Any]:
    """The stored scale, what is divided by, amax, the zero point."""
    compute = scaling.scale_compute or fmt
    amax = max(abs(v) for v in numbers)
    if scaling.smallest_amax is not None:
        amax = max(amax, rounded(compute, Fraction(scaling.smallest_amax)))
    zero = Fraction(scaling.fixed_zero)
    if scaling.rule in ("floor", "ceil", "even", "rceil"):
        e = -127 if amax == 0 else power(amax, scaling, compute)
        stored = divisor = Fraction(2) ** min(max(e, -127), 127)
    else:
        if scaling.rule == "signed_amax":
            raw = next(v for v in numbers if abs(v) == amax) / Fraction(scaling.largest)
        elif scaling.rule == "affine_min_max":
            low, high = min([*numbers, Fraction(0)]), max([*numbers, Fraction(0)])
            raw = rounded(compute, high - low) / Fraction(scaling.largest)
        else:
            raw = amax / Fraction(scaling.largest)
        raw = rounded(compute, raw)
        if top is not None:
            if top == 0:
                raise SpecialError
            raw = rounded(compute, raw / top)
        if scaling.smallest_scale is not None:
            least = Format.of(fmt).min_normal if scaling.smallest_scale == "input" else scaling.smallest_scale
            raw = max(raw, rounded(compute, Fraction(least)))
        saturate = None if Format.of(scaling.scale_format or "").has_inf else "saturate"
        stored = rounded(scaling.scale_format or "", raw, scaling.scale_rounding, saturate)
        if scaling.zero_scale is not None and (amax == 0 or stored == 0):
            raw = stored = Fraction(scaling.zero_scale)
        divisor = raw if scaling.unrounded_divisor else stored
        if scaling.rule == "affine_min_max":
            if divisor == 0:
                raise SpecialError
            steps = nearest(rounded(compute, low / divisor), "nearest-even")
            zero = min(max(Fraction(scaling.low) - steps, Fraction(scaling.low)), Fraction(scaling.high))
    if scaling.smallest_divisor is not None:
        divisor = max(divisor, rounded(scaling.compute or fmt, Fraction(scaling.smallest_divisor)))
    return stored, divisor, amax, zero


def power(amax: Fraction, scaling: Scaling, compute: str) -> int:
    """The exponent of a power-of-two scale."""
    emax = exponent(Fraction(scaling.largest))
    if scaling.rule == "floor":
        return exponent(amax) - emax
    if scaling.rule == "ceil":
        return exponent(amax) + (amax != Fraction(2) ** exponent(amax)) - emax
    if scaling.rule == "even":
        ulp = Fraction(2) ** (exponent(amax) - Format.of(scaling.element).precision + 1)
        return exponent(nearest(amax / ulp, "nearest-even") * ulp) - emax
    descale = rounded(compute, amax / Fraction(scaling.largest))
    return -127 if descale == 0 else exponent(descale) + (descale != Fraction(2) ** exponent(descale))


def nearest(value: Fraction, rounding: str) -> Fraction:
    """The integer nearest to `value`."""
    if rounding == "nearest-even":
        return Fraction(round(value))
    assert rounding == "nearest-away"
    whole = (abs(value) + Fraction(1, 2)).__floor__()
    return Fraction(whole if value >= 0 else -whole)


def element(
    v: Fraction,
    negative: bool,
    divisor: Fraction,
    amax: Fraction,
    zero: Any,
    top: Fraction | None,
    s: Scaling,
    fmt: str,
) -> int:
    """The code of one number."""
    compute = s.compute or fmt
    if divisor == 0 and s.zero_codes:
        quotient = Fraction(0)
    elif divisor == 0 or top == 0:
        raise SpecialError
    elif s.arithmetic == "exact":
        quotient = v * s.steps / (divisor * (top or 1))
    elif s.arithmetic == "divide":
        quotient = rounded(compute, v / (divisor if top is None else rounded(compute, divisor * top))) * s.steps
    elif s.arithmetic == "ratio":
        quotient = rounded(compute, v * rounded(compute, Fraction(s.largest) / amax))
    else:
        factor = rounded(compute, (1 if top is None else rounded(compute, 1 / top)) / divisor)
        quotient = v * rounded(compute, factor * s.steps)
        quotient = quotient if s.arithmetic == "fused" else rounded(compute, quotient)
    fmt_of = Format.of(s.element)
    if s.rounding == "half-up":
        whole = Fraction(rounded(compute, quotient + Fraction(1, 2) + zero).__floor__())
        return code(s.element, min(max(whole, Fraction(s.low)), Fraction(s.high)))
    if s.zero_before_rounding:
        quotient, zero = rounded(compute, quotient + zero), Fraction(0)
    if fmt_of.kind == "integer":
        whole = nearest(quotient, s.rounding) + zero
        return code(s.element, min(max(whole, Fraction(s.low)), Fraction(s.high)))
    if s.rounding == "thresholds":
        levels = [Fraction(level) for level in fmt_of.levels]
        middles = [rounded("f32", (a + b) / 2) for a, b in pairwise(levels)]
        return sum(quotient > middle for middle in middles)
    if s.rounding == "nearest-zero":
        away = rounded(s.element, quotient, "nearest-away", "saturate")
        inward = rounded(s.element, quotient, "toward-zero", "saturate")
        value = float(min(inward, away, key=lambda level: (abs(level - quotient), abs(level))))
    else:
        value = float(rounded(s.element, quotient, s.rounding, s.overflow))
    return int(fmt_of.encode(-0.0 if value == 0 and negative and s.negative_zero else value))
