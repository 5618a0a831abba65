"""Simulators of matrix engines that add a block of products and a carried sum as one aligned, truncated addition."""

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.references.chains import add_to_odd, power_below, round_to

if TYPE_CHECKING:
    from lastbit.references.accumulators import Accumulator

Array = NDArray[np.float64]

ALIGN: dict[str, np.ufunc] = {"toward-zero": np.trunc, "down": np.floor, "nearest-even": np.rint}
#: Fraction bits of the products' sum and of c where CDNA3 adds them (MMA-Sim, amd_fused_dot_rd_add).
CDNA3_SUM_BITS, CDNA3_ADDEND_BITS = 31, 24


def exponents(x: Array, emin: int) -> Array:
    """2^e for the exponent field e of each value: floor(log2|x|), at least emin as for subnormals; 0 for 0."""
    return np.where(x == 0, 0.0, np.maximum(power_below(x), 2.0**emin))


def truncated_inputs(x: Array, precision: int) -> Array:
    """`x` with its significand cut to `precision` bits, as tensor cores read f32 operands for tf32."""
    drop = np.int64(53 - precision)
    bits: NDArray[np.int64] = np.ascontiguousarray(x).view(np.int64) >> drop << drop
    return bits.view(np.float64)


def fused(model: "Accumulator", a: Array, b: Array, c: Array) -> Array:
    """Blocks of `model.terms` products and the carried sum, aligned to the largest exponent and cut to F fraction bits.

    a, b (k, ..) broadcast against c (..), which has the result's shape. A product's exponent is the sum of its
    operands' (unnormalised). The aligned terms are added exactly and rounded once to the carried format.
    Source: microsoft/MMA-Sim c785138 `nv_fused_dot_add`; Khattak and Mikaitis, doi 10.1145/3830409.
    """
    pa, pb = exponents(a, model.input_emin), exponents(b, model.input_emin)
    late = model.addend == "last"
    for start in range(0, len(a), model.terms):
        block = slice(start, start + model.terms)
        products = a[block] * b[block]
        carried = np.zeros_like(c) if late else c
        scale = np.maximum((pa[block] * pb[block]).max(axis=0), exponents(carried, model.emin))
        total = aligned(model, products, carried, np.maximum(scale, 2.0**model.floor))
        rounded = round_to(total, model.precision, model.emin, model.emax, model.rounding)
        c = f32_add(rounded, c) if late else rounded
    return c


def aligned(model: "Accumulator", products: Array, carried: Array, scale: Array) -> Array:
    """The exact sum of products (g, ..) and carried (..) after each was cut to a multiple of scale * 2^-F."""
    step = ALIGN[model.alignment]
    cut = 2.0**model.fraction_bits / scale
    total: Array = (step(products * cut).sum(axis=0) + step(carried * cut)) / cut
    special = ~np.isfinite(scale)
    if special.any():
        return np.where(special, products.sum(axis=0) + carried, total)
    return total


def promoted(model: "Accumulator", a: Array, b: Array, c: Array) -> Array:
    """`fused` over every part of the terms from zero, each partial sum added to c in f32, rounded to nearest even.

    Source: DeepSeek-V3 technical report (arXiv 2412.19437), section 3.3.2.
    """
    zero, length = np.zeros_like(c), part(model, len(a))
    for start in range(0, len(a), length):
        block = slice(start, start + length)
        c = f32_add(fused(model, a[block], b[block], zero), c)
    return c


def part(model: "Accumulator", k: int) -> int:
    """Terms that a fused engine adds before it hands its sum to an f32 addition: all k, `promote`, or k / `width`."""
    length = ceil(k / model.width) if model.order == "split" else k
    return max(1, min(length, model.promote or length))


def f32_add(x: Array, y: Array) -> Array:
    """x + y rounded once to f32."""
    return add_to_odd(x, y).astype(np.float32).astype(np.float64)


def cdna3(model: "Accumulator", a: Array, b: Array, c: Array) -> Array:
    """AMD CDNA3: products cut toward zero at F bits, their sum and c then aligned downwards, rounded to nearest f32.

    8-bit operands are added as two groups, even and odd terms, and c is dropped when it is 2^26 times smaller.
    Source: microsoft/MMA-Sim c785138 `amd_fused_dot_rd_add`.
    """
    pa, pb = exponents(a, model.input_emin), exponents(b, model.input_emin)
    for start in range(0, len(a), model.terms):
        block = slice(start, start + model.terms)
        raw = a[block] * b[block]
        products = np.where(np.abs(raw) >= 2.0**128, np.copysign(np.inf, raw), raw)
        powers = pa[block] * pb[block]
        groups = [(products[0::2], powers[0::2]), (products[1::2], powers[1::2])] if model.interleaved else []
        (total, scale), *rest = [_group(model, *group) for group in groups or [(products, powers)] if len(group[0])]
        for other, other_scale in rest:
            top = np.maximum(scale, other_scale)
            total = _down(total, top, model.fraction_bits) + _down(other, top, model.fraction_bits)
            scale = top
        power = exponents(c, model.emin)
        top = np.maximum(scale, power)
        addend = _down(c, top, CDNA3_ADDEND_BITS)
        if model.interleaved:
            addend = np.where(power >= top * 2.0**-25, addend, 0.0)
        both = _down(total, top, CDNA3_SUM_BITS) + addend
        both = np.where(np.isfinite(top), both, products.sum(axis=0) + c)
        c = round_to(both, model.precision, model.emin, model.emax, model.rounding)
    return c


def _group(model: "Accumulator", products: Array, powers: Array) -> tuple[Array, Array]:
    """The aligned sum of one group of products and the power of two that it was aligned to."""
    scale = np.maximum(powers.max(axis=0), 2.0**model.floor)
    return aligned(model, products, np.zeros_like(scale), scale), scale


def _down(x: Array, top: Array, bits: int) -> Array:
    """`x` rounded down to a multiple of top * 2^-bits."""
    cut = 2.0**bits / top
    return np.floor(x * cut) / cut
