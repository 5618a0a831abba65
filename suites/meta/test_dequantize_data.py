"""Quantized tensors that dequantizers are judged on: scales of every sign, ties for every group, refused cases."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.errors import UsageError
from lastbit.references.dequantize import truth
from lastbit.references.dequantize_data import GLOBALS, RECIPES, applicable, quantized
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling, ScalingError
from lastbit.suites.zoo.dequantize_variants import VARIANTS
from lastbit.verify import verify

SIGNED = ("i8_row", "fp8_group128", "nvfp4", "gguf_q4_0", "nvfp4_single")
SIZES = {"m": 17, "n": 96}


def drawn(recipe: str, name: "str | Scaling", seed: int = 0) -> tuple[Quantized, np.ndarray]:
    """The tensor and its scales, in f64."""
    scaling = Scaling.of(name)
    tensor = quantized(recipe, "bf16", scaling, SIZES, seed)
    assert tensor.scale is not None
    return tensor, Format.of(scaling.scale_format or "").decode(tensor.scale)


@pytest.mark.parametrize("recipe", ["every_code", "random_codes", "every_scale", "placed", "special"])
@pytest.mark.parametrize("name", SIGNED)
def test_scales_have_both_signs(name: str, recipe: str) -> None:
    _, scales = drawn(recipe, name)
    assert 0.2 <= np.signbit(scales[~np.isnan(scales)]).mean() <= 0.8


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "zero_points"])
@pytest.mark.parametrize("name", ["nvfp4_divide", "nvfp4_round_up", "mxfp8_e4m3"])
def test_scales_without_a_sign_are_positive(name: str, recipe: str) -> None:
    if not applicable(recipe, "bf16", Scaling.of(name)):
        return
    tensor, scales = drawn(recipe, name)
    assert not (scales < 0).any()
    assert tensor.global_scale is None or not Format.of("f32").decode(tensor.global_scale) < 0


def test_sources_of_unsigned_scales_are_those_of_tensor_cores() -> None:
    """ue4m3 has no sign; the scale of Q4_0 has that of the number it is made of."""
    unsigned = {name for name in Scaling.names() if Scaling.of(name).unsigned_scales}
    assert unsigned == {"nvfp4_divide", "nvfp4_round_up"}
    assert all("ue4m3" in Scaling.of(name).source for name in unsigned)
    with pytest.raises(ScalingError, match="signed_amax makes negative scales"):
        replace(Scaling.of("gguf_q4_0"), unsigned_scales=True)


@pytest.mark.parametrize("name", ["i8_row", "gguf_q4_0", "fp8_row"])
def test_infinite_scales_of_both_signs_and_zeros_of_both_are_stored(name: str) -> None:
    _, scales = drawn("special", name)
    for mark in (np.inf, -np.inf):
        assert (scales == mark).any()
    assert {bool(sign) for sign in np.signbit(scales[scales == 0])} == {False, True}


@pytest.mark.parametrize("recipe", GLOBALS)
def test_global_scales_are_those_of_their_recipe(recipe: str) -> None:
    tensor, _ = drawn(recipe, "nvfp4")
    assert tensor.global_scale is not None
    value = float(Format.of("f32").decode(tensor.global_scale))
    assert value == GLOBALS[recipe] or (recipe == "global_nan" and np.isnan(value))
    assert not applicable(recipe, "f32", Scaling.of("nvfp4_single"))


@pytest.mark.parametrize("out", ["bf16", "f16"])
@pytest.mark.parametrize("name", ["i8_row", "i8_tensor", "fp8_row", "i4_group128"])
def test_every_group_has_products_that_two_roundings_get_wrong(name: str, out: str) -> None:
    """Of a row alone, too: a path of its own is seen under every seed."""
    fmt, f32 = Format.of(out), Format.of("f32")
    for seed in range(20):
        exact = truth(quantized("beside_ties", out, Scaling.of(name), {"m": 1, "n": 1024}, seed), name)
        assert (fmt.round(exact.hi) != fmt.round(f32.round(exact.hi))).mean() > 0.2


def test_case_of_another_op_is_refused_with_the_recipes_that_there_are() -> None:
    kernel = VARIANTS[0].build()
    with pytest.raises(UsageError, match="recipe is 'normal', expected one of every_code, random_codes, every_scale"):
        verify(kernel, case="exact normal/m17-ntile")


def test_case_that_the_scaling_has_no_data_for_is_not_tested() -> None:
    report = verify(VARIANTS[0].build(), case="global_scale global_nan/m3-nfair")
    assert [record.reason for record in report.records] == ["the scaling has no global_nan data"]
    assert not report.passed
