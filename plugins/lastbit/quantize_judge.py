"""Judging a quantizer: the code or the codes that each number may have, part by part, scales before codes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.failure_text import coded, place, share
from lastbit.references.formats import Format
from lastbit.references.groups import reduced, spread
from lastbit.references.quantize import Quantized, Scales, given, quantize_with, scales
from lastbit.references.quantize_allowed import Allowed, allowed_codes, allowed_scales, allowed_zero_points
from lastbit.references.scaling import POWERS, Scaling
from lastbit.scaled_operands import parts
from lastbit.verdict import ErrorStats, Outcome, Verdict

Array = NDArray[np.float64]
Codes = NDArray[Any]

#: Roundings between the tensor's amax and its scale, for arithmetic that is not declared: a reciprocal and a product.
GLOBAL_ROUNDINGS = 2
#: Below this a number of f32 may be flushed, or what is left of it after two roundings: four times the smallest normal.
FLUSHED = 4 * 2.0**-126


@dataclass(frozen=True, slots=True)
class Right:
    """What one part of a quantized tensor may be."""

    name: str
    fmt: str
    #: The codes between which all right ones lie, both included; the same where one is right.
    low: Codes
    high: Codes
    #: Where every code is right.
    free: NDArray[np.bool_]
    #: Whether zeros of different signs are different codes.
    signed_zeros: bool = True
    #: As `Allowed.also`.
    also: Codes | None = None

    def wrong(self, codes: Codes) -> NDArray[np.bool_]:
        """Where `codes` are none of the right ones; every NaN is the same."""
        if self.low is self.high and self.signed_zeros:
            fmt = Format.of(self.fmt)
            differs: NDArray[np.bool_] = (codes != self.low) & ~self.free
            if fmt.has_nan and differs.any():
                differs &= ~(np.isnan(fmt.decode(codes)) & np.isnan(fmt.decode(self.low)))
            return differs
        return ~self._allowed.holds(codes)

    @property
    def ambiguous(self) -> float:
        """The share of elements with more than one right code."""
        return self._allowed.share

    @property
    def _allowed(self) -> Allowed:
        return Allowed(self.fmt, self.low, self.high, self.free, self.also)


def right_parts(x: Array, fmt: str, scaling: Scaling, got: Quantized, scale: Scales | None = None) -> list[Right]:
    """What each part may be, in the order in which they are judged: global scale, scale, zero point, codes.

    `fmt` is the format of x; `scale` are the scales that the quantizer was given, if it was. Where the arithmetic is
    declared, one code is right; where it is not, each part is judged by those of `got` that come before it.
    """
    rounding = scaling.rounding
    if scaling.arithmetic is None:
        return _undeclared(x, fmt, scaling, got, scale)
    known = scale if scale is not None else scales(x, scaling, fmt)
    sides = ("down", "up") if rounding == "stochastic" else (rounding,)
    found = [quantize_with(x, known, replace(scaling, rounding=side), fmt) for side in sides]
    codes = Right("codes", scaling.element, found[0].codes, found[-1].codes, _mask(found[0].unspecified, x.shape))
    if scale is not None:
        return [codes]
    fixed = []
    for name in ("global_scale", "scale", "zero_point"):
        want = getattr(found[0], name)
        if name in parts(scaling) and want is not None:
            free = _mask(None if name == "global_scale" else found[0].unspecified_scale, want.shape)
            fixed.append(Right(name, parts(scaling)[name], want, want, free))
    return [*fixed, codes]


def judge_quantized(
    x: Array, fmt: str, scaling: Scaling, got: Quantized, scale: Scales | None = None, *, flush: bool = False
) -> tuple[Verdict, str]:
    """Whether every code of every part is one that the scaling allows: none may be wrong; and what that leaves open.

    The text is "" unless the scaling leaves open what every single code is. `flush`: subnormal numbers of f32 may be
    taken for zeros on the way, so that what depends on one is free.
    """
    rights = right_parts(x, fmt, scaling, got, scale)
    if flush:
        rights = _loosened(rights, x, scaling, scale)
    formula = f"exact [{scaling.name}: {_declared(scaling)}]"
    notes = {}
    if scaling.arithmetic is None:
        shares = [f"{right.name} {right.ambiguous:.3g}" for right in rights if right.ambiguous]
        notes["ambiguous"] = ", ".join(shares) or "none"
    stats = ErrorStats(n=int(x.size))
    for right in rights:
        codes = getattr(got, right.name)
        wrong = right.wrong(codes)
        if wrong.any():
            found = _explain(x, fmt, scaling, right, codes, wrong, got)
            return replace(found, formula=formula, proof="exact", stats=stats, notes=notes), ""
    hole = f"{scaling.name} leaves open what the codes of these numbers are" if x.size else ""
    hole = "" if any(not right.free.all() for right in rights) else hole
    return Verdict(Outcome.PASS, "", 0.0, 0.0, "", formula, "exact", stats, notes=notes), hole


def _loosened(rights: list[Right], x: Array, scaling: Scaling, given: Scales | None) -> list[Right]:
    """The same, free where a number, a scale or its reciprocal is subnormal in f32."""
    size = np.abs(x)
    if given is None:
        least, largest = FLUSHED * max(abs(scaling.largest), 1.0), abs(scaling.largest) / FLUSHED
        amax = reduced(size, scaling, np.max)
    else:
        least, largest, amax = FLUSHED, 1 / FLUSHED, np.abs(given.divisor)
    strange = (amax > 0) & ((amax < least) | (amax > largest))
    free = {
        "codes": spread(strange, scaling, x.shape) | ((x != 0) & (size < FLUSHED)),
        "global_scale": np.asarray(size.max(initial=0.0) < FLUSHED * scaling.global_largest),
    }
    return [replace(right, free=right.free | free.get(right.name, strange)) for right in rights]


def _undeclared(x: Array, fmt: str, scaling: Scaling, got: Quantized, scale: Scales | None) -> list[Right]:
    found = []
    if scale is None:
        if scaling.global_scale is not None and got.global_scale is not None:
            found.append(_allowed_global(x, fmt, scaling))
        if got.scale is not None:
            found.append(_set("scale", allowed_scales(x, scaling, fmt, got.global_scale)))
        scale = given(scaling, got.scale, got.zero_point, got.global_scale)
        if got.zero_point is not None:
            found.append(_set("zero_point", allowed_zero_points(x, scale, scaling, fmt)))
    return [*found, _set("codes", allowed_codes(x, scale, scaling, fmt))]


def _allowed_global(x: Array, fmt: str, scaling: Scaling) -> Right:
    stored = Format.of(scaling.global_scale or "f32")
    exact = np.abs(x).max(initial=0.0) / scaling.global_largest
    off = GLOBAL_ROUNDINGS * Format.of(scaling.scale_compute or fmt).u + 2.0**-50
    low, high = (stored.encode(np.asarray(exact * factor)) for factor in (1 - off, 1 + off))
    return Right("global_scale", stored.name, low, high, np.zeros((), bool), signed_zeros=False)


def _set(name: str, allowed: Allowed) -> Right:
    return Right(name, allowed.fmt, allowed.low, allowed.high, allowed.free, False, allowed.also)


def _mask(mask: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.zeros(shape, bool) if mask is None else np.broadcast_to(mask, shape)


def _declared(scaling: Scaling) -> str:
    return f"{scaling.rule}, {scaling.arithmetic or 'undeclared arithmetic'}, {scaling.rounding}"


def _computed(scaling: Scaling, fmt: str) -> str:
    """The formats of the arithmetic, for the reader of a failure; "" where nothing is rounded on the way."""
    if scaling.rule in POWERS and scaling.arithmetic == "exact":
        return ""
    scales, quotients = scaling.scale_compute or fmt, scaling.compute or fmt
    return f", in {quotients}" if scales == quotients else f", scales in {scales}, quotients in {quotients}"


def _explain(
    x: Array, x_format: str, scaling: Scaling, right: Right, codes: Codes, wrong: NDArray[np.bool_], got: Quantized
) -> Verdict:
    """What is wrong with the first wrong code."""
    fmt = Format.of(right.fmt)
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{right.name}{list(index)}"
    values = [float(fmt.decode(np.asarray(array[index]))) for array in (codes, right.low, right.high)]
    shown = [f"{int(array[index]):#x} ({value:g})" for array, value in zip((codes, right.low), values, strict=False)]
    want = shown[1] if right.low[index] == right.high[index] else f"{values[1]:g} to {values[2]:g}"
    first = place(int(np.flatnonzero(wrong)[0]), codes.shape)
    lines = [
        f"wrong {right.name.replace('_', ' ')} at {first}: got {shown[0]}, want {want}",
        f"{share(int(wrong.sum()), wrong.size)} wrong, none may be: {scaling.name}, {_declared(scaling)}"
        f"{_computed(scaling, x_format)}",
        _circumstances(x, scaling, right, index, got),
    ]
    strange = not np.isfinite(values).all()
    return Verdict(
        Outcome.WRONG_CLASS if strange else Outcome.OVER_BUDGET,
        "\n".join(filter(None, lines)),
        measured=float(wrong.sum()),
        allowed=0.0,
        where=where,
        got=coded(fmt, codes[index]),
        want=coded(fmt, right.low[index]) if right.low[index] == right.high[index] else want,
    )


def _circumstances(x: Array, scaling: Scaling, right: Right, index: tuple[int, ...], got: Quantized) -> str:
    """What the wrong code was made of."""
    if right.name == "global_scale":
        return f"amax of the tensor is {float(np.abs(x).max(initial=0.0)):.9g}"
    if right.name != "codes":
        shape = right.low.shape
        numbers = np.broadcast_to(spread(np.arange(right.low.size).reshape(shape), scaling, x.shape), x.shape)
        inside = x[numbers == int(np.ravel_multi_index(index, shape)) if shape else np.ones(x.shape, bool)]
        return f"numbers from {inside.min():.9g} to {inside.max():.9g} have this {right.name.replace('_', ' ')}"
    number = float(x[index])
    if got.scale is None or scaling.scale_format is None:
        return f"x is {number:.9g}"
    known = given(scaling, got.scale, got.zero_point, got.global_scale)

    def here(values: Array) -> float:
        return float(np.broadcast_to(spread(values, scaling, x.shape), x.shape)[index])

    stored, divisor = here(Format.of(scaling.scale_format).decode(got.scale)), here(known.divisor)
    top = 1.0
    if got.global_scale is not None and scaling.global_scale is not None:
        top = float(Format.of(scaling.global_scale).decode(np.asarray(got.global_scale)))
    with np.errstate(all="ignore"):
        quotient = float(np.float64(number) * scaling.steps / (divisor * top))
    used = f", divided by {divisor * top:.9g}" if divisor != stored else ""
    return f"x is {number:.9g}, its scale {stored * top:.9g}{used}, the quotient {quotient:.9g}"
