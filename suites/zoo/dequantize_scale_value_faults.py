"""Dequantizers that mistake scales of some values: negative, infinite, huge or tiny ones, and the signs of zeros."""

import numpy as np

from lastbit.suites.zoo.dequantize_faults import but
from lastbit.suites.zoo.dequantize_parts import as_double, i8_row, mxfp8, nvfp4, once
from lastbit.suites.zoo.quantize_kernels import wrong
from lastbit.suites.zoo.quantize_parts import F32, Array, Step
from lastbit.suites.zoo.specimen import Faulty

TINIEST = 2.0**-126


def q4_0(codes: Array, scale: Array, *, scales: Step = as_double) -> Array:
    """Groups of 32 of u4 around 8: the lower halves of 16 bytes are the first 16 codes."""
    groups = codes.reshape(*codes.shape[:-1], codes.shape[-1] // 16, 16)
    values = as_double(np.concatenate([groups & 15, groups >> 4], axis=-1)) - 8
    product = values * scales(scale)[..., None]
    return once(product.reshape(*codes.shape[:-1], codes.shape[-1] * 2), F32)


def size(scale: Array) -> Array:
    """Scales without their sign."""
    return np.abs(as_double(scale))


def finite(largest: float) -> Step:
    """Infinite scales become the largest number."""
    return lambda scale: np.clip(as_double(scale), -largest, largest)


def no_minus_zero(scale: Array) -> Array:
    """Scales of -0 become +0."""
    return as_double(scale) + 0.0


def without_minus_zero(run: Step) -> Step:
    """The dequantizer with +0 for every zero."""

    def positive(*arrays: Array) -> Array:
        found = run(*arrays)
        found[found == 0] = 0
        return found

    return positive


def as_one(top: Array) -> Array:
    """A global scale of 0 becomes 1."""
    return np.where(as_double(top) == 0, 1.0, as_double(top))


def flushed(below: float) -> Step:
    """A global scale below some number becomes 0."""
    return lambda top: np.where(np.abs(as_double(top)) < below, 0.0, as_double(top))


#: Fault class, name, the dequantizer, its scaling, the check that sees it, and its story.
_SCALES: tuple[tuple[str, str, Step, str, str, str], ...] = (
    (
        "F020",
        "scale_without_sign",
        but(i8_row, out=F32, scales=size),
        "i8_row",
        "exact",
        "The sign of a scale is lost.",
    ),
    ("F020", "scale_without_sign", but(q4_0, scales=size), "gguf_q4_0", "exact", "The sign of a scale is lost."),
    ("F020", "scale_without_sign", but(nvfp4, scales=size), "nvfp4", "scales", "Scales of e4m3 are read as ue4m3."),
    (
        "F071",
        "infinite_scale",
        but(i8_row, out=F32, scales=finite(2.0**127)),
        "i8_row",
        "special",
        "An infinite scale becomes 2^127.",
    ),
    (
        "F071",
        "infinite_scale",
        but(i8_row, out=F32, scales=finite(2.0**100)),
        "fp8_row",
        "special",
        "Scales are clamped to 2^100.",
    ),
    (
        "F071",
        "infinite_scale",
        but(q4_0, scales=finite(65504.0)),
        "gguf_q4_0",
        "special",
        "An infinite scale becomes the largest number of f16.",
    ),
    (
        "F071",
        "scale_of_minus_0",
        but(i8_row, out=F32, scales=no_minus_zero),
        "i8_row",
        "special",
        "A scale of -0 becomes +0.",
    ),
    ("F066", "zeros_positive", without_minus_zero(mxfp8), "mxfp8_e4m3", "codes", "The code of -0 gives +0."),
    (
        "F066",
        "zeros_positive",
        without_minus_zero(but(i8_row, out=F32)),
        "i8_row",
        "codes",
        "0 times a negative scale gives +0.",
    ),
    ("F066", "zeros_positive", without_minus_zero(nvfp4), "nvfp4", "exact", "The code of -0 gives +0."),
)
#: As above, of the global scale of nvfp4.
_TOPS: tuple[tuple[str, str, Step, str], ...] = (
    ("F021", "global_without_sign", size, "The sign of the global scale is lost."),
    ("F071", "global_nan_to_num", lambda top: np.nan_to_num(as_double(top)), "A global scale of NaN becomes 0."),
    (
        "F071",
        "global_infinite",
        finite(float(np.finfo(F32).max)),
        "An infinite global scale becomes the largest number of f32.",
    ),
    ("F077", "global_zero_as_one", as_one, "A global scale of 0 becomes 1."),
    (
        "F070",
        "global_below_2_20",
        lambda top: np.minimum(as_double(top), 2.0**20),
        "A global scale above 2^20 becomes 2^20.",
    ),
    ("F077", "global_guarded", lambda top: np.maximum(as_double(top), 1e-12), "A global scale is at least 1e-12."),
    ("F028", "global_below_2_60", flushed(2.0**-60), "A global scale below 2^-60 becomes 0."),
    ("F028", "global_subnormal", flushed(TINIEST), "A subnormal global scale becomes 0."),
)
#: Every dequantizer that is wrong about some scales.
FAULTY: tuple[Faulty, ...] = (
    *(
        wrong(fault, name, run, scaling, "f32", check, op="dequantize", story=story)
        for fault, name, run, scaling, check, story in _SCALES
    ),
    *(
        wrong(fault, name, but(nvfp4, tops=top), "nvfp4", "f32", "global_scale", op="dequantize", story=story)
        for fault, name, top, story in _TOPS
    ),
)
