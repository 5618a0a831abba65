"""Dequantizers that are right but on one path: at some sizes, rows, batches, short groups or layouts of the scales."""

from collections.abc import Callable
from functools import partial

import numpy as np

from lastbit.suites.zoo.dequantize_faults import but
from lastbit.suites.zoo.dequantize_parts import as_double, i8_row, mxfp8, once, twice
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import F32, Array, Step
from lastbit.suites.zoo.specimen import Faulty

TWICE = but(i8_row, finish=twice)
#: Bytes that a vector load fetches.
VECTOR = 16


def where(applies: Callable[[tuple[int, ...]], bool]) -> Step:
    """Two roundings for codes of some shapes, one for others."""
    return lambda codes, scale: (TWICE if applies(codes.shape) else i8_row)(codes, scale)


def from_row_132(codes: Array, scale: Array) -> Array:
    """Two roundings from row 132 on, the number of multiprocessors of a GPU."""
    found = i8_row(codes, scale)
    if codes.ndim == 2:
        found[132:] = TWICE(codes, scale)[132:]
    return found


def with_scale_before(codes: Array, scale: Array) -> Array:
    """Half a group takes the scale of the group before."""
    found = mxfp8(codes, scale)
    if codes.shape[-1] % 32 == 16 and scale.shape[-1] > 1:
        found[..., -16:] = once(as_double(codes[..., -16:]) * as_double(scale[..., -2:-1]), F32)
    return found


def remembers(part: int) -> Step:
    """A dequantizer that keeps its codes (0) or scales (1) for as long as their shape and first element stay."""
    kept: list[Array] = []

    def run(*arrays: Array) -> Array:
        new = arrays[part]
        if not kept or kept[0].shape != new.shape or kept[0].flat[:1].tolist() != new.flat[:1].tolist():
            kept[:] = [new.copy()]
        return i8_row(*(kept[0] if turn == part else array for turn, array in enumerate(arrays)))

    return run


def strided_as(strides: Callable[[Array], tuple[int, ...]], *, axes: int = 0) -> Step:
    """The scales are read with other strides; only if they have so many `axes`, unless that is 0."""

    def run(codes: Array, scale: Array) -> Array:
        if scale.size and axes in (0, scale.ndim):
            scale = np.lib.stride_tricks.as_strided(scale, strides=strides(scale))
        return mxfp8(codes, scale)

    return run


def dense(scale: Array) -> tuple[int, ...]:
    """Strides of rows that follow one another."""
    sizes = [scale.itemsize, *scale.shape[:0:-1]]
    return tuple(int(step) for step in np.cumprod(sizes)[::-1]) if min(scale.strides) > 0 else scale.strides


def unit_columns(scale: Array) -> tuple[int, ...]:
    """The strides of the rows, with columns that follow one another."""
    return (*scale.strides[:-1], scale.itemsize) if min(scale.strides) > 0 else scale.strides


def forward(scale: Array) -> tuple[int, ...]:
    """The strides without their sign."""
    return tuple(abs(step) for step in scale.strides)


def aligned(codes: Array, scale: Array) -> Array:
    """The scales are loaded from the multiple of 16 bytes before them; what lies there counts as 1."""
    before = scale.__array_interface__["data"][0] % VECTOR // scale.itemsize if scale.flags.c_contiguous else 0
    loaded = np.concatenate([np.ones(before, scale.dtype), scale.reshape(-1)])
    return mxfp8(codes, loaded[: scale.size].reshape(scale.shape))


#: Name, the shapes of the codes that are rounded twice, and the story.
_ROUNDED: tuple[tuple[str, Step, str], ...] = (
    ("twice_n_64", where(lambda shape: shape[-1] % 64 == 0), "Two roundings where 64 divides n."),
    ("twice_n_128", where(lambda shape: shape[-1] % 128 == 0), "Two roundings where 128 divides n."),
    ("twice_long", where(lambda shape: shape[-1] >= 1024), "Two roundings of rows of 1024 numbers or more."),
    ("twice_m_4", where(lambda shape: shape[-2] % 4 == 0), "Two roundings where 4 divides m."),
    ("twice_row", where(lambda shape: shape[-2:-1] == (1,)), "Two roundings of a single row."),
    ("twice_batch", where(lambda shape: len(shape) > 2), "Two roundings of a batch."),
    ("twice_row_132", from_row_132, "Two roundings from row 132 on."),
)
_LAYOUTS: tuple[tuple[str, Step, str], ...] = (
    ("scale_strides", strided_as(dense), "The strides of the scales are ignored."),
    ("scale_column_stride", strided_as(unit_columns), "The stride of the columns of scales is ignored."),
    ("scale_strides_batch", strided_as(dense, axes=3), "The strides of the scales of a batch are ignored."),
    ("scale_forward", strided_as(forward), "Scales with negative strides are read forward."),
    ("scale_aligned", aligned, "Scales are loaded from the multiple of 16 bytes before them."),
)
#: Every dequantizer that is wrong on some paths.
FAULTY: tuple[Faulty, ...] = (
    *(
        wrong("F068", name, run, "i8_row", "bf16", "rounding", op="dequantize", story=story)
        for name, run, story in _ROUNDED
    ),
    *(
        wrong("F023", name, run, "mxfp8_e4m3", "f32", "layout", op="dequantize", story=story)
        for name, run, story in _LAYOUTS
    ),
    *(
        wrong(
            "F092",
            name,
            None,
            "i8_row",
            "bf16",
            "second_call",
            make=partial(remembers, part),
            op="dequantize",
            story=f"{what} are known again by their shape and first element.",
        )
        for part, (name, what) in enumerate((("codes_by_first", "Codes"), ("scales_by_first", "Scales")))
    ),
    wrong(
        "F008",
        "half_group",
        with_scale_before,
        "mxfp8_e4m3",
        "f32",
        "tails",
        op="dequantize",
        story="Half a group takes the scale of the group before.",
    ),
)
