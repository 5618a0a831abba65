"""Scaled GEMMs that are right but for some scales, sizes, layouts, results, or a call before."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo.scaled_gemm_parts import (
    AFFINE,
    FP8_BLOCK,
    FP8_ROW,
    FP8_TENSOR,
    MXFP8,
    NVFP4,
    Array,
    Scheme,
    Side,
    Sum,
    f32,
    wrong,
)
from lastbit.suites.zoo.scaled_gemm_scale_faults import Changed
from lastbit.suites.zoo.specimen import Faulty, story_of

Change = Callable[[Array], Array]


class Given(Sum):
    """`Sum` of an operand or scale that is changed as the kernel is given it."""

    def __init__(self, scheme: Scheme, name: str, change: Change) -> None:
        super().__init__(scheme)
        self.name, self.change = name, change

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        given = {"a": a, "b": b, "scale_a": scale_a, "scale_b": scale_b, **extra}
        with np.errstate(all="ignore"):
            given[self.name] = self.change(given[self.name])
        return super().__call__(**given)


class Finished(Sum):
    """`Sum` whose result is changed."""

    def __init__(self, scheme: Scheme, change: Change) -> None:
        super().__init__(scheme)
        self.change = change

    def finish(self, total: Array, **extra: Array) -> Array:
        result = super().finish(total, **extra)
        return self.change(f32(result)).astype(result.dtype)


class Remembers(Sum):
    """Scales are remembered by their shape and the first of them."""

    def __init__(self, scheme: Scheme) -> None:
        super().__init__(scheme)
        self.known: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        key = (scale_b.shape, float(f32(scale_b).flat[0]))
        return super().__call__(a, b, scale_a, self.known.setdefault(key, scale_b.copy()), **extra)


class RemembersCodes(Sum):
    """Codes of b are remembered by their shape and the first of them."""

    def __init__(self, scheme: Scheme) -> None:
        super().__init__(scheme)
        self.known: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        key = (b.shape, b.tobytes()[:1])
        return super().__call__(a, self.known.setdefault(key, b.copy()), scale_a, scale_b, **extra)


def sign_lost(sides: list[Side]) -> None:
    """The sign of a scale is lost."""
    for side in sides:
        side.scale = np.abs(side.scale)


def last_of_whole_tiles(sides: list[Side]) -> None:
    """The path for sums that tiles of 128 divide, from 512 on, leaves out the last product."""
    if sides[0].codes.shape[1] % 128 == 0 and sides[0].codes.shape[1] >= 512:
        sides[0].codes = sides[0].codes.copy()
        sides[0].codes[:, -1] = 0


def of_whole_columns(sides: list[Side]) -> None:
    """The path for columns that tiles of 128 divide takes the scale of the column before."""
    if len(sides[1].codes) % 128 == 0:
        sides[1].scale = np.roll(sides[1].scale, 1, axis=0)


def of_whole_rows(sides: list[Side]) -> None:
    """The path for rows that tiles of 64 divide takes the scale of the row before."""
    if len(sides[0].codes) % 64 == 0:
        sides[0].scale = np.roll(sides[0].scale, 1, axis=0)


def infinite_scale_clamped(sides: list[Side]) -> None:
    """An infinite scale counts as the largest f32."""
    for side in sides:
        side.scale = np.nan_to_num(side.scale, nan=np.nan)


def negative_infinite_scale_ignored(sides: list[Side]) -> None:
    """A scale of minus infinity counts as infinity."""
    for side in sides:
        side.scale = np.where(side.scale == -np.inf, f32(np.inf), side.scale)


def _infinite_beyond(limit: float) -> Callable[[list[Side]], None]:
    def change(sides: list[Side]) -> None:
        for side in sides:
            side.scale = np.where(side.scale > limit, f32(np.inf), side.scale)

    return change


def clamped_to_largest(result: Array) -> Array:
    """A result that overflows is the largest number."""
    top = np.abs(result[np.isfinite(result)]).max(initial=0)
    return np.where(np.isinf(result), np.copysign(f32(top), result), result)


def tiny_flushed(result: Array) -> Array:
    """Results below 2^-100 become zero."""
    return np.where(np.abs(result) < 2.0**-100, f32(0), result)


def strides_ignored(x: Array) -> Array:
    """Scales are taken to follow one another in memory."""
    if min(x.strides) <= 0:
        return x
    steps = [int(np.prod(x.shape[axis + 1 :])) * x.itemsize for axis in range(x.ndim)]
    return np.lib.stride_tricks.as_strided(x, strides=steps)


def direction_ignored(x: Array) -> Array:
    """Strides are taken without their sign."""
    return x[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in x.strides)]


def top_zero_point(zero: Array) -> Array:
    """A zero point of 255 is read as 254."""
    return np.minimum(zero, 254).astype(zero.dtype)


#: What becomes of a global scale, by name: its sentence and the fault's class.
GLOBAL_SCALES: dict[str, tuple[str, str, Change]] = {
    "global_nan_zero": ("F072", "A global scale of NaN counts as zero.", lambda g: np.nan_to_num(g, posinf=np.inf)),
    "global_infinite_clamped": ("F072", "An infinite global scale is clamped.", lambda g: np.nan_to_num(g, nan=np.nan)),
    "global_sign_lost": ("F021", "The sign of the global scale is lost.", np.abs),
    "global_zero_one": ("F021", "A global scale of zero counts as 1.", lambda g: np.where(g == 0, f32(1), g)),
    "global_limited": ("F021", "The global scale is at most 2^20.", lambda g: np.where(g > 2.0**20, f32(2.0**20), g)),
    "global_tiny_zero": ("F028", "A global scale below 2^-60 is 0.", lambda g: np.where(abs(g) < 2.0**-60, f32(0), g)),
    "global_flushed": ("F028", "A subnormal global scale is 0.", lambda g: np.where(abs(g) < 2.0**-126, f32(0), g)),
}


def _changed(fault: str, change: Callable[[list[Side]], None], scheme: Scheme, *checks: str) -> Faulty:
    made = partial(Changed, change=change)
    return wrong(fault, made, scheme, *checks, name=change.__name__, story=story_of(change))


def _given(fault: str, name: str, change: Change, scheme: Scheme, *checks: str) -> Faulty:
    made = partial(Given, name=name, change=change)
    return wrong(fault, made, scheme, *checks, name=f"{name}_{change.__name__}", story=story_of(change))


def _finished(fault: str, change: Change, scheme: Scheme, *checks: str) -> Faulty:
    made = partial(Finished, change=change)
    return wrong(fault, made, scheme, *checks, name=change.__name__, story=story_of(change))


def _of_global(name: str) -> Faulty:
    fault, story, change = GLOBAL_SCALES[name]
    made = partial(Given, name="global_scale", change=change)
    return wrong(fault, made, NVFP4, "special", "exact", name=name, story=story)


#: Every scaled GEMM that is faulty on one path.
FAULTY: tuple[Faulty, ...] = (
    *(_changed("F079", sign_lost, scheme, "exact") for scheme in (FP8_TENSOR, FP8_ROW, NVFP4)),
    _changed("F027", last_of_whole_tiles, FP8_ROW, "exact"),
    _changed("F027", of_whole_columns, FP8_ROW, "exact"),
    _changed("F027", of_whole_rows, FP8_ROW, "exact"),
    *(
        _changed("F072", change, FP8_ROW, "special")
        for change in (infinite_scale_clamped, negative_infinite_scale_ignored)
    ),
    *(
        wrong(
            "F080",
            partial(Changed, change=_infinite_beyond(2.0**limit)),
            MXFP8,
            "exact",
            name=f"infinite_beyond_{limit}",
            story=f"A scale beyond 2^{limit} is infinite.",
        )
        for limit in (60, 100, 126)
    ),
    *(_of_global(name) for name in GLOBAL_SCALES),
    *(_finished("F070", clamped_to_largest, scheme, "bound") for scheme in (FP8_TENSOR, FP8_ROW)),
    _finished("F028", tiny_flushed, FP8_TENSOR, "bound"),
    *(
        _given("F023", name, strides_ignored, scheme, "layout")
        for name in ("scale_a", "scale_b")
        for scheme in (FP8_ROW, FP8_BLOCK)
    ),
    *(_given("F023", name, direction_ignored, FP8_ROW, "layout") for name in ("a", "b", "scale_a", "scale_b")),
    wrong("F063", Remembers, FP8_ROW, "second_call"),
    wrong("F092", RemembersCodes, FP8_ROW, "second_call"),
    _given("F086", "zero_a", top_zero_point, AFFINE, "exact"),
)
