"""Dequantized values are exact, rounded once, or rounded where the order says; against rational arithmetic."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_numbers import RULED, numbers

from lastbit.references.dequantize import ORDERS, dequantize, truth
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.quantize import Quantized, quantize
from lastbit.references.scaling import Scaling, ScalingError


def parts(quantized: Quantized, scaling: Scaling) -> list[tuple[Fraction, Fraction, Fraction, Fraction]]:
    """Element, zero point, scale and global scale of every number, as rationals."""
    shape = quantized.codes.shape

    def each(codes: Any, fmt: str | None, default: float) -> list[Fraction]:
        values = np.full(shape, default) if codes is None or fmt is None else None
        if values is None:
            values = spread(Format.of(fmt or "").decode(np.asarray(codes)), scaling, shape)
        return [Fraction(float(value)) for value in values.ravel()]

    element = [Fraction(float(v)) for v in Format.of(scaling.element).decode(quantized.codes).ravel()]
    zero = each(quantized.zero_point, scaling.zero_point, scaling.fixed_zero)
    scale = each(quantized.scale, scaling.scale_format, 1.0)
    top = Fraction(1)
    if quantized.global_scale is not None:
        top = Fraction(float(Format.of("f32").decode(np.asarray(quantized.global_scale))))
    return [(q, z, s, top) for q, z, s in zip(element, zero, scale, strict=True)]


@pytest.mark.parametrize("name", RULED)
@settings(max_examples=6)
@given(kind=st.sampled_from(["normal", "ties", "wide"]), seed=st.integers(0, 2**32))
def test_the_truth_is_the_product_of_the_parts(name: str, kind: str, seed: int) -> None:
    scaling = Scaling.of(name)
    quantized = quantize(numbers(kind, (2, 70), "f32", seed), scaling)
    found = truth(quantized, scaling)
    for (q, z, s, g), hi, lo, radius in zip(
        parts(quantized, scaling), found.hi.ravel(), found.lo.ravel(), found.radius.ravel(), strict=True
    ):
        exact = (q - z) / scaling.steps * s * g
        assert abs(Fraction(float(hi)) + Fraction(float(lo)) - exact) <= Fraction(float(radius))
        assert radius == 0 or scaling.steps == 127
    assert (np.abs(found.lo) <= np.spacing(np.abs(found.hi)) / 2).all()
    assert (found.weight >= np.abs(found.hi) * (1 - 2.0**-50)).all()


@pytest.mark.parametrize("seed", [2, 3])  # whose scales end in no zeros: then a product has more than 53 bits
def test_two_scales_of_f32_give_a_pair(seed: int) -> None:
    """7 bits of an element and twice 24 of scales: more than float64 has."""
    scaling = replace(Scaling.of("i8_row"), global_scale="f32", global_largest=1.7)
    quantized = quantize(numbers("normal", (2, 200), "f32", seed), scaling)
    found = truth(quantized, scaling)
    assert found.lo.any()
    for (q, _, s, g), hi, lo in zip(parts(quantized, scaling), found.hi.ravel(), found.lo.ravel(), strict=True):
        assert Fraction(float(hi)) + Fraction(float(lo)) == q * s * g


@pytest.mark.parametrize("name", ["nvfp4", "i8_affine", "u4", "fp8_row", "mxfp6_e3m2"])
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=6)
@given(
    kind=st.sampled_from(["normal", "ties", "wide"]), out=st.sampled_from(["f32", "bf16"]), seed=st.integers(0, 2**32)
)
def test_every_order_is_rational(order: str, name: str, kind: str, out: str, seed: int) -> None:
    scaling = Scaling.of(name)
    quantized = quantize(numbers(kind, (2, 70), "f32", seed), scaling)

    def fl(value: Fraction, fmt: str = "f32") -> Fraction:
        return Fraction(Format.of(fmt).round_rational(value))

    obtained = dequantize(quantized, scaling, out, order=order).ravel()
    for (q, z, s, g), value in zip(parts(quantized, scaling), obtained, strict=True):
        expected = {
            "once": lambda q=q, z=z, s=s, g=g: (q - z) * s * g,
            "scales_first": lambda q=q, z=z, s=s, g=g: fl((q - z) * fl(s * g)),
            "element_first": lambda q=q, z=z, s=s, g=g: fl(fl((q - z) * s) * g),
            "fused_zero": lambda q=q, z=z, s=s, g=g: fl(fl(q * s) + fl(-z * s)),
        }[order]()
        if order == "fused_zero" and name == "nvfp4":
            return
        assert Fraction(float(value)) == fl(expected, out)


def test_the_two_step_order_of_nvfp4_is_off_by_an_ulp_at_times() -> None:
    """1.5 u of the result at most (numerics 1.15), so a checker that rounds once must be told."""
    quantized = quantize(numbers("normal", (64, 256), "f32", 1), "nvfp4")
    once = dequantize(quantized, "nvfp4", "f32")
    twice = dequantize(quantized, "nvfp4", "f32", order="scales_first")
    exact = truth(quantized, "nvfp4")
    assert (once != twice).any()
    # Two relative errors of at most u: fl(s g), and the product.
    assert (np.abs(twice - exact.hi - exact.lo) <= 2.0**-23 * np.abs(exact.hi)).all()
    # Rounded once it is within half an ulp.
    assert (np.abs(once - exact.hi - exact.lo) <= Format.of("f32").ulp(exact.hi) / 2).all()


def test_a_nan_scale_and_an_infinite_one_come_through() -> None:
    codes = np.array([[0, 1, 2, 0x38], [0, 1, 2, 0x38]], np.uint8)
    quantized = Quantized(codes, np.array([[0xFF], [127]], np.uint8))
    found = truth(quantized, "mxfp8_e4m3")
    assert np.isnan(found.hi[0]).all()
    assert found.hi[1].tolist() == [0.0, 2.0**-9, 2.0**-8, 1.0]
    infinite = Format.of("f32").encode(np.array([[np.inf], [1.0]]))
    found = truth(Quantized(codes, infinite), "fp8_row")
    assert np.isnan(found.hi[0, 0])
    assert np.isinf(found.hi[0, 1:]).all()
    assert (found.lo == 0).all()
    assert np.isfinite(found.weight).all()


def test_all_codes_of_each_element_times_all_scales() -> None:
    """Every pair of an element and an e8m0 or e4m3 scale is exact in one float64."""
    for name in ("mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "nvfp4_single"):
        scaling = replace(Scaling.of(name), granularity="row")
        element, stored = Format.of(scaling.element), Format.of(scaling.scale_format or "")
        every = np.arange(256, dtype=np.uint8)[:, None]
        codes = np.broadcast_to(np.arange(1 << element.bits, dtype=np.uint8), (256, 1 << element.bits))
        found = truth(Quantized(codes, every), scaling)
        expected = stored.decode(every) * element.decode(codes)
        assert np.array_equal(found.hi, expected, equal_nan=True)
        assert not found.lo.any()


def test_an_order_that_there_is_not_is_refused() -> None:
    quantized = quantize(np.ones((1, 16)), "i8_row_bitsandbytes")
    with pytest.raises(ScalingError, match="expected one of"):
        dequantize(quantized, "i8_row_bitsandbytes", "f32", order="twice")
    with pytest.raises(ScalingError, match="only order"):
        dequantize(quantized, "i8_row_bitsandbytes", "f32", order="scales_first")
