"""Recipes of scaled GEMM at the ends of ranges: tiny, huge, infinite, opposite scales; sums beyond the output."""

from collections.abc import Callable

import numpy as np

from lastbit.references import data_exact
from lastbit.references.draw import is_integer
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm_draw import (
    Array,
    Contents,
    ScaledDraw,
    Side,
    groups_of,
    normal_codes,
    random_pair,
)


def subnormals(one: ScaledDraw) -> Contents:
    """Codes and scales from the smallest to ordinary ones, row by row."""
    a, b = normal_codes(one, one.a), normal_codes(one, one.b)
    sides = []
    for side, x in ((one.a, a), (one.b, b)):
        fmt = side.format
        if not is_integer(fmt):
            steps = np.linspace(min(fmt.emin - fmt.precision + 3, 0), 0, side.rows).round().astype(int)
            x = np.ldexp(np.clip(x, -4, 4), steps[:, None])
        sides.append(x)
    scale_a, scale_b = random_pair(one)
    if scale_a is None:
        return Contents(sides[0], sides[1], None, _shrinking(scale_b, one.b, one.out))
    return Contents(sides[0], sides[1], _shrinking(scale_a, one.a, one.out), scale_b)


def _shrinking(scales: Array | None, side: Side, out: Format) -> Array | None:
    """Scales from the smallest of their format to ordinary ones, row by row."""
    fmt = side.scale_format
    if scales is None or fmt is None:
        return None
    low = max(fmt.emin - fmt.precision + 6, out.emin - out.precision if scales.ndim else out.emin + 16)
    rows = np.linspace(low, 0, len(scales) if scales.ndim else 1).round().astype(int)
    tiny = np.ldexp(scales, rows.reshape((-1, 1) if scales.ndim else ()))
    rounded: Array = fmt.round(tiny, overflow="saturate")
    return np.maximum(rounded, fmt.eta if fmt.kind == "float" else fmt.min_normal)


def near_overflow(one: ScaledDraw) -> Contents:
    """One sign, with sums from an eighth of the output's largest number to four times it, where rows have scales."""
    a, b = np.abs(normal_codes(one, one.a)) + 1, np.abs(normal_codes(one, one.b)) + 1
    scales = list(random_pair(one, along_k=False))
    index = max((0, 1), key=lambda i: _emax((one.a, one.b)[i]) if scales[i] is not None else -1)
    side, chosen = (one.a, one.b)[index], scales[index]
    other = scales[1 - index]
    if other is not None:  # no smaller than 1, so that no order of products passes what it comes to
        other = np.maximum(other, 1.0)
        scales[1 - index] = other
    fmt = side.scale_format
    if chosen is not None and fmt is not None:
        size = one.a.k * float(np.median(a)) * float(np.median(b)) * (1.0 if other is None else float(np.median(other)))
        steps = np.exp2(np.linspace(-3, 2, chosen.shape[0])) if chosen.ndim else np.full((), 4.0)
        if not chosen.ndim:  # codes of the rows differ instead
            codes = (a, b)[index]
            codes *= np.exp2(np.linspace(-5, 0, side.rows))[:, None]
            np.rint(codes, out=codes, where=is_integer(side.format))
        rows = one.out.max / size * steps
        scales[index] = fmt.round(
            np.broadcast_to((rows[:, None] if chosen.ndim else rows), chosen.shape), overflow="saturate"
        )
    return Contents(a, b, scales[0], scales[1])


def special(one: ScaledDraw) -> Contents:
    """NaN and infinite codes, scales of NaN and of zero, signed zeros."""
    sides = []
    for side in (one.a, one.b):
        x = normal_codes(one, side)
        fmt = side.format
        if not is_integer(fmt):
            x = np.copysign(np.maximum(np.abs(x), 0.5), x)
            marks = [np.nan] * fmt.has_nan + [np.inf, -np.inf] * fmt.has_inf + [-0.0]
            for row, mark in enumerate(marks[: max(0, side.rows - 3)]):
                x[row, (row * 7) % side.k] = mark
        sides.append(x)
    scales = list(random_pair(one))
    for index, side in enumerate((one.a, one.b)):
        chosen, of_scale = scales[index], side.scale_format
        if chosen is None or of_scale is None or not chosen.ndim or chosen.shape[0] < 5:
            continue
        chosen = chosen.copy()
        if of_scale.has_nan:
            chosen[-1, -1] = np.nan
        if of_scale.kind == "float":
            chosen[-2, 0] = 0.0
            chosen[-3, 0] = -0.0 if side.signed_scales else 0.0
        scales[index] = chosen
    return Contents(sides[0], sides[1], scales[0], scales[1])


def infinite_scales(one: ScaledDraw) -> Contents:
    """Infinite scales of single rows, of numbers of one sign and none 0: whatever is multiplied first, it is infinite.

    With 0 among the numbers, or both signs, the scaled sum is infinite and the sum of scaled operands NaN. The other
    scales are small, so that the largest number in place of infinity gives less.
    """
    sides, scales = [], list(_small_pair(one))
    for index, side in enumerate((one.a, one.b)):
        sides.append(np.maximum(np.abs(normal_codes(one, side)), 1.0))
        chosen = scales[index]
        if chosen is None or not _infinite_scales(side) or (not chosen.ndim and index and scales[0] is not None):
            continue
        if chosen.ndim:
            chosen = chosen.copy()
            chosen[1::5, 0] = np.inf
            chosen[3::7, -1] = -np.inf if side.signed_scales else np.inf
        else:
            chosen = np.asarray(one.rng.choice(np.array([-np.inf, np.inf])) if side.signed_scales else np.inf)
        scales[index] = chosen
    return Contents(sides[0], sides[1], scales[0], scales[1], signs="none")


def _small_pair(one: ScaledDraw) -> tuple[Array | None, Array | None]:
    """Random scales of both sides, times 2^-40 or as much as their formats have."""
    scales = list(random_pair(one))
    for index, side in enumerate((one.a, one.b)):
        chosen, fmt = scales[index], side.scale_format
        if chosen is not None and fmt is not None:
            scales[index] = np.maximum(fmt.round(np.ldexp(chosen, max(fmt.emin, -40))), fmt.eta)
    return scales[0], scales[1]


def under(value: float) -> Callable[[ScaledDraw], Contents]:
    """N(0, 1) with random scales under a scale of the tensors; numbers of one sign, none 0, under an infinite one."""

    def draw(one: ScaledDraw) -> Contents:
        a, b = normal_codes(one, one.a), normal_codes(one, one.b)
        if np.isinf(value):
            a, b = np.maximum(np.abs(a), 1.0), np.maximum(np.abs(b), 1.0)
            return Contents(a, b, *_small_pair(one), global_scale=value)
        return Contents(a, b, *random_pair(one), global_scale=value)

    return draw


def opposite(one: ScaledDraw) -> Contents:
    """Scales of a from 2^-126 to 2^127 along k, of b their reciprocals: products of scales are 1, or 2 at the very end.

    Where a scale is beyond 2^100 a group has a single 1, so that no order of products leaves the range of f32.
    """
    a, turned = data_exact.integers(one.gemm(exact_bits=max(4, one.exact_bits - 1)))
    b = turned.T.copy()
    groups = [groups_of(side) for side in (one.a, one.b)]
    apart = groups[0] == groups[1] > 1
    every = np.arange(-126, 128)
    steps = max(1, every.size // groups[0]) if apart else 1
    turn = int(one.rng.integers(0, steps)) if apart else 0
    chosen = every[(turn + np.arange(groups[0] if apart else 1) * steps) % every.size]
    if not apart:
        chosen = one.rng.choice(np.array([-100, 100]), 1)
    run = max(1, min(one.a.scaling.group or one.a.scaling.block[1], one.a.k)) if apart and one.a.scaling else one.a.k
    for group in np.flatnonzero(np.abs(chosen) > 100):
        for x in (a, b):
            x[:, group * run : (group + 1) * run] = 0.0
            x[:, group * run] = 1.0
    scales = []
    for side, exponents in ((one.a, chosen), (one.b, np.maximum(-chosen, -126))):
        shape = () if side.scaling is None else side.scaling.scale_shape(side.shape)
        scales.append(np.broadcast_to(np.ldexp(1.0, exponents) if shape else np.ldexp(1.0, exponents[0]), shape).copy())
    return Contents(a, b, scales[0], scales[1])


def has_special(a: Side, b: Side, out: Format) -> bool:
    """Whether NaN or an infinity is among codes or scales, and NaN among results."""
    formats = [side.format for side in (a, b)] + [side.scale_format for side in (a, b) if side.scale_format]
    return out.has_nan and any(fmt is not None and (fmt.has_nan or fmt.has_inf) for fmt in formats)


def may_overflow(a: Side, b: Side, out: Format) -> bool:
    """Whether scales bring sums beyond the output."""
    formats = [side.scale_format for side in (a, b) if side.scale_format is not None]
    reach = sum(fmt.emax for fmt in formats) + max(a.format.emax, b.format.emax)
    return max((fmt.emax for fmt in formats), default=0) > 32 and reach > out.emax


def is_wide(a: Side, b: Side, out: Format) -> bool:
    """Whether the output has the exponents of f32."""
    return out.emax > 64


def is_far(a: Side, b: Side, out: Format) -> bool:
    """Whether the scales of both have the exponents of f32."""
    formats = [side.scale_format for side in (a, b)]
    return all(fmt is not None and fmt.emax > 100 for fmt in formats)


def _emax(side: Side) -> int:
    return 0 if side.scale_format is None else side.scale_format.emax


def _infinite_scales(side: Side) -> bool:
    return side.scale_format is not None and side.scale_format.has_inf


def has_infinite(a: Side, b: Side, out: Format) -> bool:
    """Whether scales and results may be infinite."""
    return out.has_nan and out.has_inf and (_infinite_scales(a) or _infinite_scales(b))


def has_global(a: Side, b: Side, out: Format) -> bool:
    """Whether there is a scale of the tensors, and the output has its range."""
    scalings = [side.scaling for side in (a, b) if side.scaling is not None]
    return out.emax > 64 and any(scaling.global_scale is not None for scaling in scalings)
