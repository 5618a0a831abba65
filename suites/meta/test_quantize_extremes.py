"""Given scales of every sign and exponent, scales of a few smallest numbers, growing rows: drawn and judged rightly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.contract import Contract
from lastbit.references.formats import Format
from lastbit.references.quantize import given as given_scales
from lastbit.references.quantize import quantize_with, scales
from lastbit.references.quantize_allowed import allowed_codes, allowed_scales
from lastbit.references.quantize_data import operands
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_faults import STATIC, static
from lastbit.suites.zoo.quantize_kernels import kernel
from lastbit.suites.zoo.quantize_path_faults import given_as
from lastbit.verify import verify

Array = np.ndarray
STATIC8 = replace(STATIC, name="i8_static_e4m3", scale_format="e4m3fn")


def drawn_scales(recipe: str, scaling: Scaling, seed: int = 0, m: int = 37) -> Array:
    held = operands(recipe, {"x": "f32"}, scaling, {"m": m, "n": 96}, seed)
    return np.asarray(held["scale"].values)


@pytest.mark.parametrize("seed", range(3))
def test_half_of_the_given_scales_are_negative_where_they_may_be(seed: int) -> None:
    for recipe in ("normal", "halves", "near_halves", "given_scales"):
        for scaling in (STATIC, STATIC8):
            assert 0.4 < (drawn_scales(recipe, scaling, seed) < 0).mean() < 0.6
        assert (drawn_scales(recipe, replace(STATIC, unsigned_scales=True), seed) > 0).all()
    unsigned = replace(STATIC, name="powers", scale_format="e8m0fnu")
    assert (drawn_scales("given_scales", unsigned, seed) > 0).all()


@pytest.mark.parametrize("scaling", [STATIC, STATIC8], ids=["f32", "e4m3fn"])
@pytest.mark.parametrize("seed", range(3))
def test_given_scales_reach_every_exponent(scaling: Scaling, seed: int) -> None:
    stored, found = Format.of(scaling.scale_format or "f32"), np.abs(drawn_scales("given_scales", scaling, seed))
    assert (found > 0).all()
    assert ((found < stored.min_normal).sum() >= 2) & (found.max() >= 2.0 ** (0.8 * stored.emax))
    gaps = np.diff(np.unique(np.frexp(found)[1]))
    assert gaps.max() <= 2 * (stored.emax - stored.emin + stored.precision) / found.size + 2


@pytest.mark.parametrize("name", ["i8_row", "fp8_group128", "gguf_q8_0"])
@pytest.mark.parametrize("recipe", ["tiny", "blocks"])
def test_some_scales_are_too_small_for_the_largest_number_of_their_group(name: str, recipe: str) -> None:
    """So that a quantizer that does not saturate is seen: the quotient is beyond the range by more than half a step."""
    scaling = Scaling.of(name)
    for seed in range(3):
        x = operands(recipe, {"x": "f32"}, scaling, {"m": 17, "n": 3 * (scaling.group or 32)}, seed)["x"].values
        found = scales(x, replace(scaling, unrounded_divisor=False))
        beyond = (found.amax > 1.03 * abs(scaling.high) * found.divisor) & (found.divisor > 0)
        assert beyond.any()


def test_rows_grow_to_the_last_number() -> None:
    x = operands("late", {"x": "bf16"}, Scaling.of("nvfp4"), {"batch": 2, "m": 150, "n": 16}, 0)["x"].values
    rows = np.abs(x).reshape(300, 16).max(axis=-1)
    assert np.abs(x[-1, -1, -1]) == rows.max()
    assert all(rows[:count].max() < 0.95 * rows.max() for count in (64, 128, 256, 280))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["f32", "bf16"]), st.integers(-150, 127))
def test_codes_under_a_negative_scale_are_those_of_the_negated_numbers(seed: int, fmt: str, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    scaling = replace(STATIC, name="any", arithmetic=None)
    x = Format.of(fmt).round(rng.standard_normal((2, 64)) * 2.0 ** rng.integers(-3, 8, (2, 64)))
    size = Format.of("f32").round(np.ldexp(rng.uniform(1, 2, (2, 1)), exponent))
    size = np.maximum(size, 2.0**-149)
    plus, minus = (given_scales(scaling, Format.of("f32").encode(sign * size)) for sign in (1, -1))
    one, other = allowed_codes(-x, plus, scaling, fmt), allowed_codes(x, minus, scaling, fmt)
    assert np.array_equal(one.low, other.low)
    assert np.array_equal(one.high, other.high)
    assert np.array_equal(one.free, other.free)
    for way in ("exact", "divide", "reciprocal"):
        assert other.holds(quantize_with(x, minus, replace(scaling, arithmetic=way), fmt).codes).all()


def test_scale_that_may_round_to_zero_may_be_the_one_that_stands_for_it() -> None:
    scaling = replace(Scaling.of("i8_row"), name="any", arithmetic=None)
    eta = 2.0**-149
    x = np.array([[183 * eta, 0.0], [20 * eta, 0.0], [0.0, 0.0], [127.0, 1.0]])
    allowed = allowed_scales(x, scaling)
    right = Format.of("f32").encode(np.array([[[eta], [eta], [1.0], [1.0]], [[1.0], [1.0], [1.0], [1.0]]]))
    wrong = Format.of("f32").encode(np.array([[[0.0], [0.0], [0.0], [0.0]], [[9 * eta], [9 * eta], [eta], [1.01]]]))
    for codes in right:
        assert allowed.holds(codes).all()
    for codes in wrong:
        assert not allowed.holds(codes).any()


def test_subnormal_given_scales_are_free_where_they_may_be_flushed() -> None:
    clamped = given_as(lambda scale: np.where(np.abs(scale) < 2.0**-126, np.float32(1), scale))
    case = "given_scales given_scales/m37-ntile"
    assert verify(kernel("flushes", clamped, STATIC, contract=Contract(subnormals="flush")), case=case).passed
    assert not verify(kernel("flushes", clamped, STATIC), case=case).passed
    doubled = given_as(lambda scale: 2 * scale)
    assert not verify(kernel("doubles", doubled, STATIC, contract=Contract(subnormals="flush")), case=case).passed
    assert verify(kernel("right", static(parts.integers(-127, 127)), STATIC), case=case).passed
