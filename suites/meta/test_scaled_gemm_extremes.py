"""Scales of either sign, at the ends of their formats, and infinite: data hold them, and bounds hold for them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lastbit.contract import Contract, resolved
from lastbit.kernel import Kernel
from lastbit.references.scaled_gemm import Problem, truth
from lastbit.references.scaled_gemm_data import problem, scaled
from lastbit.references.scaled_gemm_draw import Array
from lastbit.references.scaling import Scaling
from lastbit.scaled_gemm_budget import budget

ROW, NVFP4, MXFP8 = (Scaling.of(name) for name in ("fp8_row", "nvfp4", "mxfp8_e4m3"))
TENSOR = Scaling.of("fp8_tensor")
FP8 = {"a": "e4m3fn", "b": "e4m3fn", "out": "f32"}
FP4 = {"a": "e2m1fn", "b": "e2m1fn", "out": "f32"}


def drawn(recipe: str, scaling: Scaling, sizes: tuple[int, int, int], seed: int, **formats: str) -> Problem:
    """What the operands of a recipe stand for."""
    chosen = (FP4 if scaling.element == "e2m1fn" else FP8) | formats
    named = dict(zip("mnk", sizes, strict=True))
    operands = scaled(recipe, chosen, (scaling, scaling), named, seed)
    return problem(operands, (chosen["a"], chosen["b"]), (scaling, scaling), sizes[2])


def f32(x: Array | float) -> Array:
    """The values as f32, whose arithmetic NumPy rounds once."""
    return np.asarray(x, np.float32)


def sum_times_scales(one: Problem) -> Array:
    """((g * s) * t) * P, of scales that are the same along k."""
    total = f32(one.a.steps @ one.b.steps.T)
    return ((f32(one.global_scale) * f32(one.a.scale[:, :1])) * f32(one.b.scale[:, 0])) * total


def scales_times_sum(one: Problem) -> Array:
    """((P * s) * t) * g, of scales that are the same along k."""
    total = f32(one.a.steps @ one.b.steps.T)
    return ((total * f32(one.a.scale[:, :1])) * f32(one.b.scale[:, 0])) * f32(one.global_scale)


def sum_of_operands(one: Problem) -> Array:
    """The sum of (g s q) (t p), in order."""
    left = (f32(one.a.scale) * f32(one.global_scale)) * f32(one.a.steps)
    right = f32(one.b.scale) * f32(one.b.steps)
    total = np.zeros((len(left), len(right)), np.float32)
    for k in range(one.k):
        total = total + left[:, k, None] * right[None, :, k]
    return total


def sum_of_products(one: Problem) -> Array:
    """The sum of ((q p) (s t)), times g, in order."""
    total = np.zeros((len(one.a.steps), len(one.b.steps)), np.float32)
    for k in range(one.k):
        x, y = (f32(side.steps[:, k]) for side in (one.a, one.b))
        s, t = (f32(side.scale[:, k]) for side in (one.a, one.b))
        total = total + (x[:, None] * y) * (s[:, None] * t)
    return total * f32(one.global_scale)


ORDERS = (sum_times_scales, scales_times_sum, sum_of_operands, sum_of_products)


@pytest.mark.parametrize("recipe", ["integers", "scales", "wide", "ties", "normal", "sharp", "cancel"])
@pytest.mark.parametrize("scaling", [ROW, NVFP4], ids=["fp8_row", "nvfp4"])
def test_half_of_the_scales_are_negative_where_they_may_be(recipe: str, scaling: Scaling) -> None:
    if recipe == "ties" and scaling is NVFP4:
        pytest.skip("codes of two bits have no ties")
    out = "bf16" if recipe == "ties" else "f32"
    for side in (
        drawn(recipe, scaling, (64, 64, 96), 1, out=out).a,
        drawn(recipe, scaling, (64, 64, 96), 1, out=out).b,
    ):
        assert 0.2 < np.signbit(side.scale).mean() < 0.8
    unsigned = replace(scaling, unsigned_scales=True)
    assert not np.signbit(drawn(recipe, unsigned, (64, 64, 96), 1, out=out).a.scale).any()


def test_scales_of_a_tensor_are_negative_under_some_seeds() -> None:
    signs = {float(np.sign(drawn("normal", TENSOR, (3, 4, 20), seed).a.scale[0, 0])) for seed in range(12)}
    assert signs == {-1.0, 1.0}


@pytest.mark.parametrize("seed", range(3))
def test_opposite_scales_have_every_exponent_and_one_answer_in_any_order(seed: int) -> None:
    one = drawn("opposite_scales", MXFP8, (3, 4, 8192), seed)
    assert set(np.frexp(one.a.scale)[1].flat) == set(range(-125, 129))
    exact = truth(one)
    with np.errstate(all="raise"):
        assert np.array_equal(sum_of_operands(one), exact.hi)
        assert np.array_equal(sum_of_products(one), exact.hi)
        total = np.zeros(exact.hi.shape, np.float32)
        for start in range(0, one.k, 32):
            part = slice(start, start + 32)
            inner = f32(one.a.steps[:, part] @ one.b.steps[:, part].T)
            total += (inner * f32(one.a.scale[:, start, None])) * f32(one.b.scale[:, start])
    assert np.array_equal(total, exact.hi)


@pytest.mark.parametrize("order", ORDERS[1:])
def test_infinite_scales_give_the_truth_whatever_is_multiplied_first(order: Callable[[Problem], Array]) -> None:
    one = drawn("infinite_scales", ROW, (17, 33, 60), 2)
    assert {-np.inf, np.inf} <= set(one.a.scale.flat)
    with np.errstate(all="ignore"):
        got, exact = order(one), truth(one).hi
    assert np.isinf(exact).any()
    assert np.array_equal(np.isnan(got), np.isnan(exact))
    assert np.array_equal(got[np.isinf(exact)], exact[np.isinf(exact)])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_the_truth_under_a_global_scale_that_is_not_finite_is_ieee_754s(value: float) -> None:
    one = drawn("normal", NVFP4, (5, 6, 32), 0)
    finite = truth(one).hi * one.global_scale
    with np.errstate(invalid="ignore"):
        expected = finite * value
    found = truth(replace(one, global_scale=value))
    assert np.array_equal(found.hi, expected, equal_nan=True)
    assert not found.lo.any()
    assert not found.radius.any()


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
@pytest.mark.parametrize(
    "factor", [-1.375, 1.1875 * 2.0**100, 1.1875 * 2.0**-100, 2.0**-130 + 2.0**-140, 2.0**-148, 0.0]
)
def test_no_order_of_products_leaves_the_bound_under_any_global_scale(
    order: Callable[[Problem], Array], factor: float
) -> None:
    for seed in range(4):
        one = replace(drawn("normal", ROW, (9, 10, 70), seed), global_scale=factor)
        _assert_within(one, order)


@pytest.mark.parametrize("order", [sum_times_scales, scales_times_sum], ids=lambda order: order.__name__)
@pytest.mark.parametrize("exponents", [(-140, 100), (-126, 100), (-70, -70), (-148, 0), (100, -100)])
def test_no_order_of_products_leaves_the_bound_under_opposite_scales(
    order: Callable[[Problem], Array], exponents: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    plain = drawn("normal", ROW, (9, 10, 70), 5)
    sides = [
        replace(side, scale=np.broadcast_to(np.float32(np.ldexp(rng.uniform(1, 2, (rows, 1)), by)), side.scale.shape))
        for side, rows, by in zip((plain.a, plain.b), (9, 10), exponents, strict=True)
    ]
    sides = [replace(side, scale=side.scale.astype(np.float64)) for side in sides]
    _assert_within(replace(plain, a=sides[0], b=sides[1]), order, Contract(scaled="sums"))


def _assert_within(one: Problem, order: Callable[[Problem], Array], contract: Contract | None = None) -> None:
    kernel = Kernel("k", "scaled_gemm", lambda: None, FP8, contract or Contract(), scaling="fp8_row")
    exact = truth(one)
    bound = budget(resolved(kernel.contract, FP8), FP8, ("f32", "f32"), one, exact)
    with np.errstate(all="ignore"):
        error = np.abs(order(one).astype(np.float64) - exact.hi - exact.lo)
    lost = np.zeros(error.shape, bool) if bound.overflow_slack is None else np.isinf(bound.overflow_slack)
    assert not lost.all()
    assert (error <= bound.allowed)[~lost].all()
