"""The truth of scaled GEMM is the sum in rational arithmetic, and its data say what they mean to a kernel."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.packing import pack
from lastbit.references.scaled_gemm import Part, Problem, integer_limit, part, run, segments, truth
from lastbit.references.scaled_gemm_data import applicable, problem, scaled
from lastbit.references.scaled_gemm_recipes import RECIPES
from lastbit.references.scaling import Scaling

#: a, b, out, scaling of a, scaling of b transposed.
SCHEMES = (
    ("e4m3fn", "e4m3fn", "bf16", "fp8_tensor", "fp8_tensor"),
    ("e4m3fn", "e5m2", "f32", "fp8_row", "fp8_row"),
    ("e4m3fn", "e4m3fn", "bf16", "fp8_group128", "fp8_block128"),
    ("e4m3fn", "e4m3fn", "f16", "mxfp8_e4m3", "mxfp8_e4m3"),
    ("e3m2fn", "e2m3fn", "f32", "mxfp6_e3m2", "mxfp6_e2m3"),
    ("e2m1fn", "e2m1fn", "f16", "mxfp4", "mxfp4"),
    ("e2m1fn", "e2m1fn", "bf16", "nvfp4", "nvfp4"),
    ("i8", "i8", "f32", "mxint8", "mxint8"),
    ("i8", "i8", "bf16", "i8_row", "i8_row"),
    ("u8", "i8", "f32", "u8_affine_onnx", "i8_affine"),
    ("f32", "u4", "f32", None, "u4_group32"),
    ("bf16", "i4", "bf16", None, "i4_group32_zp"),
)
IDS = [f"{a}-{b}-{left}" for a, b, _, left, _ in SCHEMES]
Scheme = tuple[str, str, str, str | None, str | None]


def scalings(scheme: Scheme) -> tuple[Scaling | None, Scaling | None]:
    a, b = (None if name is None else Scaling.of(name) for name in scheme[3:])
    return a, b


def drawn(scheme: Scheme, recipe: str, m: int = 5, n: int = 7, k: int = 40, seed: int = 0) -> Problem:
    formats = dict(zip(("a", "b", "out"), scheme[:3], strict=True))
    operands = scaled(recipe, formats, scalings(scheme), {"m": m, "n": n, "k": k}, seed)
    return problem(operands, (scheme[0], scheme[1]), scalings(scheme), k)


def rational(one: Problem, i: int, j: int) -> Fraction:
    """Element (i, j) from codes and scales, in rational arithmetic."""
    total = sum(
        (Fraction(q) * Fraction(s) * Fraction(p) * Fraction(t))
        for q, s, p, t in zip(
            one.a.steps[i].tolist(),
            one.a.scale[i].tolist(),
            one.b.steps[j].tolist(),
            one.b.scale[j].tolist(),
            strict=True,
        )
    )
    total = total * Fraction(one.global_scale)
    return total + (Fraction(0) if one.bias is None else Fraction(float(one.bias[j])))


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
@pytest.mark.parametrize("recipe", ["scales", "normal", "cancel"])
def test_truth_is_the_rational_sum(scheme: Scheme, recipe: str) -> None:
    one = drawn(scheme, recipe)
    proved = truth(one)
    for i, j in ((0, 0), (4, 6), (2, 3)):
        exact = rational(one, i, j)
        error = abs(Fraction(proved.hi[i, j]) + Fraction(proved.lo[i, j]) - exact)
        assert error <= Fraction(proved.radius[i, j])
        assert proved.radius[i, j] <= 2.0**-100 * proved.weight[i, j]


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_exact_recipes_are_exact_in_f32_in_any_order_and_at_any_place_of_the_scales(scheme: Scheme) -> None:
    rng = np.random.default_rng(5)
    for recipe in ("integers", "scales", "k_blocks", "cancel_halves", "wide", "one_hot_a"):
        if not applicable(recipe, dict(zip(("a", "b", "out"), scheme[:3], strict=True)), scalings(scheme)):
            continue
        one = drawn(scheme, recipe, m=6, n=5, k=70)
        order = rng.permutation(70)
        left, right = one.a.values[:, order].astype(np.float32), one.b.values[:, order].astype(np.float32)
        assert (left == one.a.values[:, order]).all()
        total = np.zeros((6, 5), np.float32)
        for step in range(70):
            total = total + left[:, step, None] * right[None, :, step]
        proved = truth(one)
        assert (total.astype(np.float64) * one.global_scale == proved.hi).all(), recipe
        assert not proved.lo.any()


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_power_of_two_scales_differ_from_one_to_the_next(scheme: Scheme) -> None:
    """So that every swap of axes and every offset by one shows."""
    for side in (drawn(scheme, "scales", m=140, n=140, k=300).a, drawn(scheme, "scales", m=140, n=140, k=300).b):
        scale = side.scale
        assert (np.abs(np.frexp(scale)[0]) == 0.5).all()
        if side.run and side.run < 300:
            ahead = scale[:, side.run :]
            assert (scale[:, : ahead.shape[1]] != ahead).all()


def test_operands_hold_what_their_problem_says() -> None:
    """Codes packed low nibble first along k, b turned, scales by group: worked by hand."""
    one = Scaling.of("mxfp4")
    codes = np.array([[2, 4, 1] + [0] * 30], np.uint8)  # 1, 2, 0.5
    turned = Operand("u8", pack(codes, "nibbles_low_first").T.copy(), np.zeros((17, 1)))
    assert turned.codes[:2, 0].tolist() == [0x42, 0x01]
    a = Operand("u8", pack(codes, "nibbles_low_first"), np.zeros((1, 17)))
    scale = Operand.of(np.array([[2.0, 8.0]]), "e8m0fnu")
    down = Operand.of(np.array([[4.0], [16.0]]), "e8m0fnu")
    made = problem({"a": a, "b": turned, "scale_a": scale, "scale_b": down}, ("e2m1fn", "e2m1fn"), (one, one), 33)
    assert truth(made).hi[0, 0] == 2 * 4 * (1 + 4 + 0.25)
    assert made.a.scale[0, 31] == 2
    assert made.a.scale[0, 32] == 8
    assert [(cut.start, cut.stop) for cut in segments(made)] == [(0, 32), (32, 33)]


def test_zero_points_and_steps_come_off_before_the_scale() -> None:
    affine = Scaling.of("u8_affine_onnx")
    side = part(np.array([[200.0, 3.0]]), affine, np.array(0.5), np.array(130.0))
    assert side.values.tolist() == [[35.0, -63.5]]
    assert part(np.array([[64.0, -32.0]]), Scaling.of("mxint8"), np.array([[2.0]])).values.tolist() == [[2.0, -1.0]]


def test_segments_are_where_either_scale_changes() -> None:
    a = part(np.ones((2, 300)), Scaling.of("fp8_group128"), np.ones((2, 3)))
    b = part(np.ones((2, 300)), Scaling.of("i4_group32"), np.ones((2, 10)))
    starts = [cut.start for cut in segments(Problem(a, b))]
    assert starts == list(range(0, 300, 32))
    assert run(Scaling.of("fp8_row")) == 0


@pytest.mark.parametrize(
    ("a", "b", "limit"), [("i8", "i8", 131071), ("u8", "i8", 65793), ("u8", "u8", 33025), ("i4", "i4", 2**25 - 1)]
)
def test_longest_sum_that_stays_in_i32(a: str, b: str, limit: int) -> None:
    assert integer_limit(a, b) == limit
    x, y = Format.of(a), Format.of(b)
    extremes = [int(p) * int(q) for p in (x.lowest, x.max) for q in (y.lowest, y.max)]
    assert all(-(2**31) <= limit * product < 2**31 for product in extremes)
    assert not all(-(2**31) <= (limit + 1) * product < 2**31 for product in extremes)


def test_zero_points_make_the_longest_sum_shorter() -> None:
    assert integer_limit("u8", "i8", zeros=(True, True)) == (2**31 - 1) // 255**2
    assert integer_limit("u8", "i8", zeros=(False, True)) == (2**31 - 1) // 255**2
    assert integer_limit("i8", "i8", zeros=(True, False)) == (2**31 - 1) // (255 * 128)


def test_nan_scale_is_nan_in_its_row_and_zero_times_infinity_too() -> None:
    row = Scaling.of("fp8_row")
    scale = np.array([[1.0], [np.nan], [0.0]])
    a = part(np.array([[1.0, 2.0], [1.0, 2.0], [np.inf, 1.0]]), row, scale)
    b = part(np.array([[1.0, 1.0]]), row, np.array([[2.0]]))
    hi = truth(Problem(a, b)).hi
    assert hi[0, 0] == 6
    assert np.isnan(hi[1:, 0]).all()


def test_code_times_scale_that_is_no_float64_is_refused() -> None:
    bad = Part(np.array([[1 + 2.0**-40]]), np.array([[1 + 2.0**-40]]), 0)
    with pytest.raises(ValueError, match="is no float64"):
        truth(Problem(bad, bad))


def test_scale_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale of fp8_row has shape \(1, 2\), codes \(2, 4\) need \(2, 1\)"):
        part(np.ones((2, 4)), Scaling.of("fp8_row"), np.ones((1, 2)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 70),
    scheme=st.sampled_from(SCHEMES),
    name=st.sampled_from(sorted(RECIPES)),
)
def test_any_recipe_of_any_scheme_draws_numbers_of_its_formats(seed: int, k: int, scheme: Scheme, name: str) -> None:
    formats = dict(zip(("a", "b", "out"), scheme[:3], strict=True))
    if not applicable(name, formats, scalings(scheme)):
        return
    one = drawn(scheme, name, m=9, n=10, k=k, seed=seed)
    assert one.a.steps.shape == one.a.scale.shape == (9, k)
    assert one.b.steps.shape == one.b.scale.shape == (10, k)
    again = drawn(scheme, name, m=9, n=10, k=k, seed=seed)
    assert np.array_equal(one.a.values, again.a.values, equal_nan=True)
    assert np.array_equal(one.b.values, again.b.values, equal_nan=True)
