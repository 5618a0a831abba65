"""Test data of quantizers and dequantizers: the same on every machine, and with what each recipe promises."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lastbit.references import dequantize_data, quantize_data
from lastbit.references.dequantize import truth
from lastbit.references.formats import Format
from lastbit.references.quantize import Scales, given, quantize, quantize_with, scales
from lastbit.references.quantize_data import operands
from lastbit.references.quantize_draw import QuantizeDraw, levels, per_element, ties
from lastbit.references.scaling import Scaling

Array = np.ndarray
SCALINGS = (
    *("mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp4", "mxint8", "nvfp4", "nvfp4_single", "fp8_row", "fp8_block128"),
    *("i8_tensor", "i8_row", "i8_row_affine", "i4_group32", "i4_group32_zp", "nf4", "i8_affine_torch", "gguf_q4_0"),
)
FORMATS = ("f32", "bf16", "f16")


def shape(scaling: Scaling) -> dict[str, int]:
    rows, columns = {"block": scaling.block, "group": (17, 3 * scaling.group)}.get(scaling.granularity, (17, 96))
    return {"m": 2 * rows if scaling.granularity == "block" else rows, "n": columns}


def draw(recipe: str, name: str, fmt: str, seed: int = 0) -> tuple[Scaling, Array]:
    scaling = Scaling.of(name)
    return scaling, operands(recipe, {"x": fmt}, scaling, shape(scaling), seed)["x"].values


def known(scaling: Scaling, recipe: str, x: Array, fmt: str, seed: int = 0) -> Scales:
    """The scales that x has, or is given."""
    if scaling.rule != "given":
        return scales(x, scaling, fmt)
    held = operands(recipe, {"x": fmt}, scaling, shape(scaling), seed)
    return given(scaling, held["scale"].codes, held["zero_point"].codes)


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_recipes_are_repeatable_and_in_their_format(name: str, fmt: str) -> None:
    scaling = Scaling.of(name)
    for recipe in quantize_data.RECIPES:
        if not quantize_data.applicable(recipe, fmt, scaling):
            continue
        first, again = (operands(recipe, {"x": fmt}, scaling, shape(scaling), 3) for _ in range(2))
        for part, operand in first.items():
            assert np.array_equal(operand.codes, again[part].codes), recipe
        values = first["x"].values
        assert np.array_equal(Format.of(fmt).round(values), values, equal_nan=True)
        if recipe not in ("special", "not_a_number"):
            assert np.isfinite(values).all(), recipe


@pytest.mark.parametrize(
    "name", ["mxfp8_e4m3", "mxfp4", "nvfp4_divide", "fp8_row", "i8_row", "i8_row_affine", "i8_affine_torch"]
)
def test_halves_are_ties_in_rational_arithmetic(name: str) -> None:
    """A third of them, the others lie one step of x beside one."""
    scaling, x = draw("halves", name, "f32")
    step, zero = per_element(known(scaling, "halves", x, "f32"), scaling, x.shape)
    wanted = {Fraction(tie) for tie in ties(scaling)}
    hits = [
        Fraction(float(value)) / Fraction(float(worth)) + Fraction(float(point)) in wanted
        for value, worth, point in zip(x.reshape(-1), step.reshape(-1), zero.reshape(-1), strict=True)
    ]
    assert 0.2 < float(np.mean(hits)) < 0.6


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_level_gives_nearly_every_code(name: str, fmt: str) -> None:
    """Some rules leave part of the elements out of reach: of those that a rule can give, all occur in four draws."""
    scaling = Scaling.of(name)
    seen = set()
    for seed in range(4):
        x = draw("every_level", name, fmt, seed)[1]
        seen |= set(
            np.unique(quantize_with(x, known(scaling, "every_level", x, fmt, seed), scaling, fmt).codes).tolist()
        )
    assert len(seen) > 0.9 * levels(scaling).size


@pytest.mark.parametrize("name", ["fp8_row", "i8_row", "i8_tensor", "nvfp4", "i4_group32_zp"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_arithmetics_disagree_about_disputed_numbers(name: str, fmt: str) -> None:
    scaling, x = draw("disputed", name, fmt)
    found = known(scaling, "disputed", x, fmt)
    codes = [
        quantize_with(x, found, replace(scaling, arithmetic=way), fmt).codes
        for way in dict.fromkeys((scaling.arithmetic, "divide", "reciprocal", "exact"))
    ]
    assert max(float((codes[0] != other).mean()) for other in codes[1:]) > 0.2


@pytest.mark.parametrize("name", ["nvfp4_divide", "nvfp4_single", "nvfp4_round_up"])
def test_boundaries_hold_ties_of_the_scale_format(name: str) -> None:
    """amax / 6 / global half way between two scales, exactly, in some groups."""
    scaling = replace(Scaling.of(name), smallest_scale=None)
    x = operands("boundaries", {"x": "bf16"}, scaling, {"m": 37, "n": 96}, 0)["x"].values
    stored = Format.of("e4m3fn")
    top = scales(x, scaling, "bf16").global_scale
    whole = 1.0 if top is None else float(Format.of("f32").decode(top))
    raw = np.abs(x.reshape(-1, 16)).max(axis=-1) / 6 / whole
    low, high = (stored.round(raw, rounding=way, overflow="saturate") for way in ("down", "up"))
    assert ((raw == (low + high) / 2) & (low < high)).sum() >= 5


def test_largest_numbers_are_everywhere_in_their_groups() -> None:
    x = draw("amaxes", "mxfp4", "f32")[1]
    groups = x.reshape(17, 3, 32)
    places = np.abs(groups).argmax(axis=-1)
    assert {0, 31} < set(places.reshape(-1).tolist())
    largest = np.take_along_axis(groups, places[..., None], axis=-1)
    assert 0.3 < float((largest < 0).mean()) < 0.7


def test_no_neighbouring_groups_have_scales_alike() -> None:
    for name in ("mxfp8_e4m3", "fp8_block128", "i8_row"):
        scaling = Scaling.of(name)
        sizes = {"m": 400, "n": 5 * (scaling.group or 128)}
        x = operands("placed", {"x": "f32"}, scaling, sizes, 0)["x"].values
        scale = Format.of(scaling.scale_format or "f32").decode(quantize(x, scaling, "f32").scale)
        exponents = np.frexp(scale)[1]
        for axis in range(2):
            if exponents.shape[axis] > 1:
                assert (np.diff(exponents, axis=axis) != 0).mean() > 0.95
        assert len(np.unique(exponents)) > 8


@pytest.mark.parametrize("fmt", ["bf16", "f16"])
def test_patterns_are_all_finite_ones_of_16_bits(fmt: str) -> None:
    scaling, target = Scaling.of("mxfp4"), Format.of(fmt)
    codes = operands("patterns", {"x": fmt}, scaling, {"m": 683, "n": 96}, 0)["x"].codes
    every = np.arange(1 << 16, dtype=np.uint16)
    finite = every[np.isfinite(target.decode(every)) & (target.decode(every) != 0)]
    assert np.isin(finite, codes).all()


@pytest.mark.parametrize("name", ["fp8_tensor", "mxfp8_e5m2", "nvfp4"])
def test_window_is_all_patterns_in_the_range_of_the_elements(name: str) -> None:
    scaling = Scaling.of(name)
    x = operands("window", {"x": "bf16"}, scaling, {"m": 683, "n": 96}, 0)["x"]
    every = Format.of("bf16").decode(np.arange(1 << 16, dtype=np.uint16))
    low, high = levels(scaling)[levels(scaling) > 0].min() / 4, abs(scaling.largest)
    inside = every[(np.abs(every) >= low) & (np.abs(every) <= high)]
    assert np.isin(inside, x.values).mean() > 0.99  # the largest of a group takes the place of one number


@pytest.mark.parametrize("name", SCALINGS)
def test_dequantized_data_are_repeatable_and_hold_every_code(name: str) -> None:
    scaling = Scaling.of(name)
    for recipe in dequantize_data.RECIPES:
        if not dequantize_data.applicable(recipe, "bf16", scaling):
            continue
        first, again = (dequantize_data.quantized(recipe, "bf16", scaling, shape(scaling), 5) for _ in range(2))
        assert np.array_equal(first.codes, again.codes)
        assert first.scale is None or np.array_equal(first.scale, again.scale)
    element = Format.of(scaling.element)
    found = dequantize_data.quantized("every_code", "bf16", scaling, shape(scaling), 0).codes
    every = np.arange(1 << element.bits)
    assert set(found.reshape(-1).tolist()) == set(every[np.isfinite(element.decode(every))].tolist())


def test_products_beside_ties_go_wrong_when_rounded_twice() -> None:
    scaling = Scaling.of("i8_row")
    tensor = dequantize_data.quantized("beside_ties", "bf16", scaling, {"m": 64, "n": 96}, 0)
    exact = truth(tensor, scaling)
    once = Format.of("bf16").round(exact.hi, exact.lo)
    twice = Format.of("bf16").round(Format.of("f32").round(exact.hi, exact.lo))
    assert (once != twice).mean() > 0.02


def test_every_scale_of_8_bits_is_used() -> None:
    for name in ("mxfp4", "nvfp4_single"):
        scaling = Scaling.of(name)
        tensor = dequantize_data.quantized("every_scale", "bf16", scaling, {"m": 131, "n": 3 * scaling.group}, 0)
        stored = Format.of(scaling.scale_format or "")
        every = stored.decode(np.arange(256))
        assert set(np.unique(stored.decode(tensor.scale))) == set(every[np.isfinite(every)])


def test_places_reach_the_first_and_the_last_of_a_group() -> None:
    one = QuantizeDraw(np.random.default_rng(0), (4, 96), Format.of("f32"), Scaling.of("mxfp4"))
    first, last = one.ends
    assert (first[:4].tolist(), last[:4].tolist()) == ([0, 32, 64, 96], [31, 63, 95, 127])
    places = one.places()
    assert all(one.group.reshape(-1)[place] == number for number, place in enumerate(places))
