"""The judge of dequantizers: one rounding, promised orders, and the bound of q * s + (-z * s)."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.contract import Contract, resolved
from lastbit.dequantize_judge import budget, judge_dequantized, working
from lastbit.references.dequantize import dequantize, truth
from lastbit.references.dequantize_data import quantized
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.verdict import Outcome

AFFINE = Scaling.of("i8_row_affine")
NVFP4 = Scaling.of("nvfp4")


def promise(order: str | None, out: str = "f32") -> Contract:
    return resolved(Contract(scale_arithmetic=order), {"codes": "i8", "scale": "f32", "out": out})


def row(codes: list[int], scale: float, zero: int) -> Quantized:
    fmt = Format.of("i8")
    return Quantized(
        fmt.encode(np.array([codes], np.float64)),
        Format.of("f32").encode(np.array([[scale]])),
        fmt.encode(np.array([[float(zero)]])),
    )


def parts(tensor: Quantized) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, z and s of each number, in f32."""
    fmt = Format.of("i8")
    q, z = (fmt.decode(codes).astype(np.float32) for codes in (tensor.codes, tensor.zero_point))
    s = Format.of("f32").decode(tensor.scale).astype(np.float32)
    return q, np.broadcast_to(z, q.shape), np.broadcast_to(s, q.shape)


def fused(tensor: Quantized) -> tuple[np.ndarray, ...]:
    """The two ways to compute q * s + (-z * s) in f32: with a rounded product, and with a fused multiply-add."""
    q, z, s = parts(tensor)
    with np.errstate(all="ignore"):
        shift = -z * s
        exact = q.astype(np.float64) * s.astype(np.float64) + shift  # 53 bits: one rounding more, far below an ulp
        return q * s + shift, exact.astype(np.float32)


def verdict(values: np.ndarray, tensor: Quantized, scaling: Scaling, out: str, order: str | None) -> Outcome:
    codes = Format.of(out).encode(values.astype(np.float64))
    return judge_dequantized(codes, out, tensor, scaling, promise(order, out)).outcome


scales = st.floats(2.0**-140, 2.0**110, width=32)
whole = st.integers(-128, 127)


@given(st.lists(whole, min_size=1, max_size=6), scales, whole, st.sampled_from(["f32", "bf16", "f16"]))
@settings(max_examples=300, deadline=None)
def test_fused_forms_are_within_their_bound(codes: list[int], scale: float, zero: int, out: str) -> None:
    tensor = row(codes, scale, zero)
    for values in fused(tensor):
        rounded = Format.of(out).round(values.astype(np.float64))
        assert verdict(rounded, tensor, AFFINE, out, "fused_zero") is Outcome.PASS


@given(st.lists(whole, min_size=1, max_size=6), st.floats(2.0**-100, 2.0**100, width=32), whole)
@settings(max_examples=200, deadline=None)
def test_bound_is_that_of_the_derivation(codes: list[int], scale: float, zero: int) -> None:
    """In rational arithmetic: u (|q s| + |z s|) + u |x| and no more than 2^-20 above it, where nothing underflows."""
    tensor = row(codes, scale, zero)
    exact = truth(tensor, AFFINE)
    allowed = np.broadcast_to(budget(promise("fused_zero"), "f32", tensor, AFFINE, exact).allowed, exact.hi.shape)
    for code, bound in zip(codes, allowed[0], strict=True):
        u, s = Fraction(1, 2**24), Fraction(scale)
        products = u * (abs(code) + abs(zero)) * s
        least = products + u * (abs(code - zero) * s + products)
        assert least <= Fraction(float(bound)) <= least * (1 + Fraction(1, 2**20)) + Fraction(1, 2**120)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (lambda q, z, s: (q - z) * (s * np.float32(1.0001)), True),
        (lambda q, z, s: q * s, True),
        (lambda q, z, s: (q - z) * s, False),
    ],
    ids=["scale", "zero point", "right"],
)
def test_bound_tells_wrong_from_right(change: object, caught: bool) -> None:
    tensor = quantized("zero_points", "f32", AFFINE, {"m": 17, "n": 96}, 0)
    values = change(*parts(tensor))  # type: ignore[operator]
    found = verdict(values, tensor, AFFINE, "f32", "fused_zero")
    assert found is (Outcome.OVER_BUDGET if caught else Outcome.PASS)


def test_one_rounding_is_asked_for_where_nothing_is_said() -> None:
    tensor = quantized("random_codes", "f32", AFFINE, {"m": 17, "n": 96}, 0)
    q, z, s = parts(tensor)
    once = (q - z) * s
    for order in (None, "once"):
        assert verdict(once, tensor, AFFINE, "f32", order) is Outcome.PASS
        assert verdict(fused(tensor)[0], tensor, AFFINE, "f32", order) is Outcome.OVER_BUDGET
    off = once.copy()
    off[3, 5] = np.nextafter(off[3, 5], np.float32(np.inf))
    assert verdict(off, tensor, AFFINE, "f32", None) is Outcome.OVER_BUDGET


@pytest.mark.parametrize("order", ["scales_first", "element_first"])
def test_promised_order_has_one_result(order: str) -> None:
    tensor = quantized("random_codes", "bf16", NVFP4, {"m": 17, "n": 96}, 0)
    for out in ("f32", "bf16"):
        values = dequantize(tensor, NVFP4, out, order=order)
        assert verdict(values, tensor, NVFP4, out, order) is Outcome.PASS
    values = dequantize(tensor, NVFP4, "f32", order=order)
    # An element of 2 bits times a scale of 4 is exact: only the other product rounds once more.
    other = Outcome.OVER_BUDGET if order == "scales_first" else Outcome.PASS
    assert verdict(values, tensor, NVFP4, "f32", "once") is other
    found = judge_dequantized(Format.of("f32").encode(values), "f32", tensor, NVFP4, promise(order))
    assert found.proof == f"{order} in f32"


def test_nan_scale_needs_nan() -> None:
    scaling = Scaling.of("mxfp8_e4m3")
    tensor = quantized("special", "f32", scaling, {"m": 17, "n": 96}, 0)
    right = Format.of("f32").round(*(lambda t: (t.hi, t.lo))(truth(tensor, scaling)))
    assert verdict(right, tensor, scaling, "f32", None) is Outcome.PASS
    assert np.isnan(right).any()
    assert verdict(np.nan_to_num(right), tensor, scaling, "f32", None) is Outcome.WRONG_CLASS


def test_zero_has_the_sign_of_its_factors() -> None:
    """IEEE 754-2019, 6.3, under every order that is a product; q - z = 0 is +0."""
    fp8, affine = Scaling.of("fp8_row"), AFFINE
    codes, scale = np.array([[0x00, 0x80, 0x38]], np.uint8), Format.of("f32").encode(np.array([[-1.0]]))
    right = np.array([[-0.0, 0.0, -1.0]])
    for order in (None, "once", "scales_first", "element_first"):
        tensor = Quantized(codes, scale)
        assert verdict(right, tensor, fp8, "f32", order) is Outcome.PASS
        assert verdict(right + 0.0, tensor, fp8, "f32", order) is Outcome.OVER_BUDGET
        tensor = row([3, 4], -2.0, 3)
        assert verdict(np.array([[-0.0, -2.0]]), tensor, affine, "f32", order) is Outcome.PASS
        assert verdict(np.array([[0.0, -2.0]]), tensor, affine, "f32", order) is Outcome.OVER_BUDGET
    assert verdict(np.array([[0.0, -2.0]]), row([3, 4], -2.0, 3), affine, "f32", "fused_zero") is Outcome.PASS


def test_sign_of_codes_that_are_not_used_is_open() -> None:
    """A table of integers has no -0: gguf's."""
    tensor = Quantized(np.full((1, 32), 8, np.uint8), np.array([[127]], np.uint8))
    zeros = np.zeros((1, 32))
    assert verdict(zeros, tensor, Scaling.of("gguf_mxfp4"), "f32", None) is Outcome.PASS
    assert verdict(zeros, tensor, Scaling.of("mxfp4"), "f32", None) is Outcome.OVER_BUDGET
    assert verdict(-zeros, tensor, Scaling.of("mxfp4"), "f32", None) is Outcome.PASS


@pytest.mark.parametrize(("code", "zero"), [(3, 2), (3, -2), (3, 0), (0, 0), (0, 2), (3, 3)])
def test_infinite_scale_under_a_fused_zero_point_is_ieee_754(code: int, zero: int) -> None:
    """inf - inf and 0 * inf are NaN; once it is (q - z) * inf."""
    tensor = row([code], np.inf, zero)
    for values in fused(tensor):
        assert verdict(values, tensor, AFFINE, "f32", "fused_zero") is Outcome.PASS
    wrong = np.where(np.isnan(fused(tensor)[0]), np.inf, np.nan)
    assert verdict(wrong, tensor, AFFINE, "f32", "fused_zero") is Outcome.WRONG_CLASS


def test_one_rounding_is_judged_against_the_truth_itself() -> None:
    tensor = quantized("random_codes", "f32", AFFINE, {"m": 3, "n": 96}, 0)
    values = dequantize(tensor, AFFINE, "f32", order="once")
    found = judge_dequantized(Format.of("f32").encode(values), "f32", tensor, AFFINE, promise("once"))
    assert found.outcome is Outcome.PASS
    assert found.proof == truth(tensor, AFFINE).rung


def test_finite_results_beyond_f32_are_asked_for_in_f64() -> None:
    tensor = row([127, -128], 2.0**127, 0)
    contract = replace(promise("fused_zero", "f64"), accumulator="f64")
    for values, outcome in (
        ([127 * 2.0**127, -(2.0**134)], Outcome.PASS),
        ([np.inf, -np.inf], Outcome.WRONG_CLASS),
        ([127 * 2.0**127, -(2.0**134) * (1 + 2.0**-40)], Outcome.OVER_BUDGET),
    ):
        codes = Format.of("f64").encode(np.array([values]))
        assert judge_dequantized(codes, "f64", tensor, AFFINE, contract).outcome is outcome


def test_a_zero_that_is_right_stays_right_where_scales_are_flushed() -> None:
    """q = z under a subnormal scale."""
    contract = replace(promise("once"), subnormals="flush")
    codes = Format.of("f32").encode(np.zeros((1, 1)))
    assert judge_dequantized(codes, "f32", row([96], 2.0**-127, 96), AFFINE, contract).outcome is Outcome.PASS
    assert judge_dequantized(codes, "f32", row([96], 2.0**-126, 95), AFFINE, contract).outcome is Outcome.OVER_BUDGET


def test_working_format_is_that_of_the_contract() -> None:
    assert [working(replace(promise(None), accumulator=name)) for name in ("f32", "bf16", "f64", "i32", None)] == [
        "f32",
        "bf16",
        "f64",
        "f32",
        "f32",
    ]
