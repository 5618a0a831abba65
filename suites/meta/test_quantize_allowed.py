"""The set of right codes holds those of every arithmetic, little more, and no wrong one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_numbers import KINDS, RULED, numbers

from lastbit.references.formats import Format
from lastbit.references.quantize import quantize, quantize_with, scales
from lastbit.references.quantize_allowed import allowed_codes, allowed_scales, allowed_zero_points
from lastbit.references.scaling import Scaling, ScalingError

NAMES = [name for name in RULED if Scaling.of(name).rounding != "half-up" and Scaling.of(name).steps in (1, 64)]
RANGES = [name for name in RULED if Scaling.of(name).rule != "four_over_six"]
ARITHMETICS = ("exact", "divide", "reciprocal")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=7)
@given(kind=st.sampled_from(KINDS), fmt=st.sampled_from(["f32", "bf16", "f16"]), seed=st.integers(0, 2**32))
def test_the_codes_of_every_arithmetic_are_allowed(name: str, kind: str, fmt: str, seed: int) -> None:
    scaling = Scaling.of(name)
    x = numbers(kind, (2, 134), fmt, seed)
    known = scales(x, scaling, fmt)
    allowed = allowed_codes(x, known, scaling, fmt)
    for arithmetic in ARITHMETICS:
        assert allowed.holds(quantize_with(x, known, replace(scaling, arithmetic=arithmetic), fmt).codes).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_code_beside_the_allowed_ones_is_refused(name: str) -> None:
    scaling = Scaling.of(name)
    element = Format.of(scaling.element)
    x = numbers("normal", (4, 256), "f32", 1)
    allowed = allowed_codes(x, scales(x, scaling), scaling)
    assert not allowed.free.any()
    every = np.arange(1 << element.bits).astype(element.code_dtype)
    every = every[~np.isnan(element.decode(every))]
    by_key = dict(zip(element.keys(every).tolist(), every.tolist(), strict=True))
    for ends, step in ((allowed.low, -1), (allowed.high, 1)):
        keys = element.keys(ends) + step
        there = np.array([key in by_key for key in keys.ravel().tolist()]).reshape(keys.shape)
        beside = np.array([by_key.get(key, 0) for key in keys.ravel().tolist()], element.code_dtype).reshape(keys.shape)
        assert there.any()
        assert not allowed.holds(beside)[there].any()


@pytest.mark.parametrize("name", RANGES)
@settings(max_examples=6)
@given(kind=st.sampled_from(KINDS), fmt=st.sampled_from(["f32", "bf16"]), seed=st.integers(0, 2**32))
def test_the_scales_and_zero_points_of_the_rule_are_allowed(name: str, kind: str, fmt: str, seed: int) -> None:
    scaling = Scaling.of(name)
    x = numbers(kind, (3, 140), fmt, seed)
    known = scales(x, scaling, fmt)
    assert known.scale is not None
    allowed = allowed_scales(x, scaling, fmt, known.global_scale)
    assert allowed.holds(known.scale).all()
    if known.zero_point is not None:
        zeros = allowed_zero_points(x, known, scaling, fmt)
        assert zeros.holds(known.zero_point).all()
        assert not (zeros.holds(known.zero_point ^ np.uint8(4)) & ~zeros.ambiguous).any()


@pytest.mark.parametrize("other", [{"rule": "ceil"}, {"rule": "even"}, {"group": 16}])
def test_scales_of_another_rule_are_refused(other: dict[str, Any]) -> None:
    x = numbers("normal", (16, 256), "f32", 2)
    for name in ("mxfp8_e4m3", "mxfp4"):
        allowed = allowed_scales(x, name)
        wrong = scales(x, replace(Scaling.of(name), **other)).scale
        assert wrong is not None
        assert not allowed.holds(wrong[:, : allowed.low.shape[1]]).all()
        assert allowed.share == 0


def test_scales_of_another_largest_element_are_refused() -> None:
    x = numbers("normal", (16, 256), "f32", 2)
    for name, largest in (("fp8_group128", 240.0), ("i8_row", 128.0), ("i8_row_affine", 254.0), ("nvfp4", 5.5)):
        scaling = Scaling.of(name)
        wrong = scales(x, replace(scaling, largest=largest))
        assert wrong.scale is not None
        assert not allowed_scales(x, scaling, "f32", wrong.global_scale).holds(wrong.scale).all()


def test_few_codes_are_ambiguous() -> None:
    """By a power of two none is; of f32 data 1e-5, of bf16 data up to a hundredth, for its quotients are often ties."""
    x = numbers("normal", (64, 4096), "f32", 3)
    assert allowed_codes(x, scales(x, "mxfp4"), "mxfp4").share == 0
    assert allowed_codes(x, scales(x, "fp8_row"), "fp8_row").share < 4e-5
    rough = numbers("normal", (64, 4096), "bf16", 3)
    share = allowed_codes(rough, scales(rough, "fp8_row", "bf16"), "fp8_row", "bf16").share
    assert 1e-3 < share < 0.02


def test_a_tie_has_two_codes_and_its_neighbours_have_one() -> None:
    """2.5 scales by a scale that is no power of two: the quotient is a tie that each arithmetic rounds its own way."""
    scaling = replace(Scaling.of("i8_tensor"), rule="given")
    scale = np.float32(0.1)
    x = np.array([[2.5 * float(scale), 2.4999 * float(scale), 2.5001 * float(scale), 2.5, 0.0]])
    x = x.astype(np.float32).astype(np.float64)
    known = replace(scales(x, "i8_tensor"), divisor=np.array(float(scale)))
    allowed = allowed_codes(x, known, scaling)
    assert allowed.ambiguous.tolist() == [[True, False, False, False, False]]
    assert allowed.low.tolist() == [[2, 2, 3, 25, 0]]
    assert allowed.high.tolist() == [[3, 2, 3, 25, 0]]


def test_what_is_no_set_is_refused() -> None:
    x = np.ones((1, 32))
    with pytest.raises(ScalingError, match="rounds a sum"):
        allowed_codes(x, scales(x, "gguf_q4_0"), "gguf_q4_0")
    with pytest.raises(ScalingError, match="two scales"):
        allowed_scales(x, "nvfp4_four_over_six")


def test_an_undeclared_nan_allows_every_code_and_a_declared_one_only_nan() -> None:
    x = np.array([[np.nan, 1.0, 2.0, 3.0]])
    known = scales(np.ones((1, 4)), "i8_row")
    allowed = allowed_codes(x, known, "i8_row")
    assert allowed.free.tolist() == [[True, False, False, False]]
    known = scales(np.ones((1, 4)), "fp8_row")
    allowed = allowed_codes(x, known, "fp8_row")
    codes = quantize(np.ones((1, 4)), "fp8_row").codes
    assert not allowed.free.any()
    assert allowed.holds(np.where(np.isnan(x), 0xFF, codes).astype(np.uint8))[0, 0]
    assert not allowed.holds(codes)[0, 0]
