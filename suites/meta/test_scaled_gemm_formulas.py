"""Budgets of scaled GEMM against the formulas of docs/scaled_gemm.md, written again for one element in plain Python."""

from dataclasses import replace
from fractions import Fraction
from math import inf, isinf, nan

import numpy as np
import pytest
from scaled_gemm_cases import BLACKWELL, CASES, CODES, GROUPS, LONG, NARROW, ONE, PLAIN
from scaled_gemm_formulas import Element, before_output

from lastbit.budget_output import ROUND_UP
from lastbit.budget_terms import Terms
from lastbit.contract import Contract
from lastbit.references.scaled_gemm import Part, Problem, truth
from lastbit.scaled_gemm_budget import _scale, budget
from lastbit.scaled_gemm_terms import _least, _shared, _underflow, largest_of, weight_of

NEAR = 2.0**-47


@pytest.mark.parametrize("name", CASES)
def test_budgets_are_the_documented_formulas(name: str) -> None:
    one, contract, out = CASES[name]
    found, want = one.budget(contract, out), before_output(contract, one, out)
    assert found.allowed.shape == (1, 1)
    slack = found.allowed if found.before is None else found.before
    radius = truth(one.problem()).radius[0, 0]
    assert slack[0, 0] == pytest.approx((want.error + radius) * ROUND_UP, rel=NEAR, abs=0)
    if want.sigma is None or found.unstatistical.startswith(("every", "integers")):
        assert found.sigma is None
    elif found.before is None:  # else the output's own rounding is in it
        assert found.sigma is not None
        assert found.sigma[0, 0] == pytest.approx(want.sigma, rel=NEAR, abs=1e-300)
    if want.lost:
        assert found.overflow_slack is not None
        assert isinf(found.overflow_slack[0, 0])
    elif abs(one.global_scale) < inf and want.reach < 2.0**127:
        assert found.overflow_slack is None


@pytest.mark.parametrize("scaled", ["sums", "operands"])
def test_every_element_has_the_budget_that_it_has_alone(scaled: str) -> None:
    """Rows of A and columns of B, in groups, with a bias each, under a global scale."""
    rng = np.random.default_rng(5)
    steps = [rng.integers(1, 16, (rows, 6)) * rng.choice([-1.0, 1.0], (rows, 6)) for rows in (3, 4)]
    scales = [rng.uniform(0.5, 2, (rows, 3)).astype(np.float32).astype(float) for rows in (3, 4)]
    bias = np.array([0.5, -3.0, 8.0, 1.0])
    sides = [Part(codes, np.repeat(scale, 2, axis=1), 2) for codes, scale in zip(steps, scales, strict=True)]
    whole = Problem(sides[0], sides[1], 0.75, bias)
    contract = Contract(accumulator="f32", scaled=scaled, subnormals="flush")
    found = budget(contract, {"a": "e4m3fn", "b": "e4m3fn", "out": "f64"}, ("f32", "f32"), whole, truth(whole))
    for i, j in np.ndindex(3, 4):
        one = Element(steps[0][i], steps[1][j], scales[0][i], scales[1][j], 2, global_scale=0.75, bias=float(bias[j]))
        want = before_output(contract, one, "f64").error * ROUND_UP
        assert found.allowed[i, j] == pytest.approx(want, rel=NEAR, abs=0)


def test_a_radius_of_the_truth_is_allowed() -> None:
    one, contract = GROUPS.problem(), Contract(accumulator="f32", scaled="sums")
    exact, formats = truth(one), {"a": "e4m3fn", "b": "e4m3fn", "out": "f64"}
    known = [replace(exact, radius=np.full((1, 1), radius)) for radius in (0.0, 0.25)]
    plain, wide = (budget(contract, formats, GROUPS.names, one, each) for each in known)
    assert (wide.allowed - plain.allowed).item() == pytest.approx(0.25, rel=1e-9)
    assert plain.formula == "3 sums (2 terms in f32: 1.192e-07*|A||B| of codes, 2*u_f32) scaled + 2*u_f32 to add them"
    assert plain.source == "scaled_gemm.md 3"
    assert wide.formula == f"{plain.formula} + radius of the truth"
    assert wide.source == "scaled_gemm.md 3; budgets.md 7"


def texts(one: Element, contract: Contract, out: str = "f64") -> tuple[str, str]:
    found = one.budget(contract, out)
    return found.formula, found.unstatistical


def test_formulas_name_what_is_allowed_and_why_there_are_no_statistics() -> None:
    f32, engine = Contract(accumulator="f32"), Contract(accumulator=BLACKWELL, scaled="products")
    once = "1 sums (6 terms in f32: 3.576e-07*|A||B| of codes, 2*u_f32) scaled"
    assert texts(ONE, replace(f32, scaled="sums")) == (once, "")
    assert texts(replace(ONE, bias=1.0), replace(f32, scaled="sums")) == (f"{once} + u*(|A||B|+|bias|)", "")
    assert texts(replace(ONE, global_scale=3.0), replace(f32, scaled="sums")) == (f"{once} + u*|global_scale x|", "")
    assert texts(replace(ONE, global_scale=2.0**70), replace(f32, scaled="sums")) == (
        f"{once} + 2^-150 of each product with global_scale",
        "products with global_scale may be subnormal",
    )
    assert texts(ONE, replace(f32, scaled="sums", subnormals="flush")) == (
        f"{once} + flushed subnormals: |A||B| of subnormal scales, and 2^-126 of each operand, product and sum",
        "flushing to zero has one sign",
    )
    bf16 = texts(ONE, replace(f32, scaled="operands", input_rounding="bf16"))[0]
    assert bf16.endswith("operands in bf16: (2*2^-8+2^-8^2)*|A||B| + 2*u_f32 before that")
    folded = texts(replace(ONE, global_scale=2.0), replace(f32, scaled="operands"))[0]
    assert folded.endswith("operands in f32: (2*2^-24+2^-24^2)*|A||B| + 4*u_f32 before that")
    assert texts(NARROW, engine, "f32") == (
        f"6 scaled terms in b200/e4m3fn: {BLACKWELL.coefficient(6):.4g}*|A||B|",
        "b200/e4m3fn truncates, which leans to one side",
    )
    both, _ = texts(ONE, f32)
    assert both.startswith(f"the larger of [{once}] and [6 terms in f32: ")
    rounded = texts(ONE, replace(f32, scaled="sums", input_rounding="bf16"))[0]
    assert rounded.startswith("1 sums (6 terms in f32: 3.576e-07*|A||B| of codes, 2*u_f32) scaled")
    assert both.count("[") == both.count("]") == 2
    assert texts(PLAIN, Contract(accumulator="i32"), "i32") == ("exact", "integers are not rounded")
    long = replace(LONG, names=(None, None), scale_a=[1.0], scale_b=[1.0])
    assert texts(long, Contract(accumulator="i32"), "f32")[0] == "conversion: u_f32*|s|"
    assert texts(LONG, Contract(accumulator="i32"), "f32")[0] == "1 sums (2*u_f32) scaled"


def test_sources_of_two_arithmetics_are_told_once() -> None:
    found = ONE.budget(Contract(accumulator="f32"))
    assert found.source.split("; ")[:3] == ["scaled_gemm.md 3", "budgets.md 2", "Jeannerod and Rump 2013"]
    assert len(set(found.source.split("; "))) == len(found.source.split("; "))


@pytest.mark.parametrize(
    ("names", "rows", "shared"),
    [
        (("f32", "f32"), [1.3125, 1.3125], True),
        (("f32", "f32"), [1.3125, 1.5], False),
        (("f32", None), [1.3125, 1.3125], False),
        ((None, "f32"), [1.3125, 1.3125], False),
        (("f32", "e8m0fnu"), [1.3125, 1.3125], False),
        (("e8m0fnu", "f32"), [2.0, 2.0], False),
        (("e4m3fn", "e4m3fn"), [1.5, 1.5], False),
        (("f32", "bf16"), [1.5, 1.5], True),
        (("f16", "bf16"), [1.5, 1.5], False),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_rounded_product_of_scales_that_results_share_has_no_statistics(
    names: tuple[str | None, str | None], rows: list[float], shared: bool, turned: bool
) -> None:
    """f32 with bf16 has 32 bits, f16 with bf16 19; f32 holds 24."""
    several = Part(np.array([CODES["a"]] * 2), np.array([[x] * 6 for x in rows]), 0)
    single = Part(np.array([CODES["b"]]), np.ones((1, 6)), 0)
    sides = (single, several) if turned else (several, single)
    one = Problem(*sides)
    contract = Contract(accumulator="f32", scaled="sums")
    found = budget(
        contract, {"a": "e4m3fn", "b": "e4m3fn", "out": "f64"}, names[::-1] if turned else names, one, truth(one)
    )
    assert (found.unstatistical == "the rounded product of two scales is shared by many results") is shared
    assert (found.sigma is None) is shared


def test_rows_share_scales_where_their_first_are_alike() -> None:
    """Those of blocks are, all of them; one that two groups of different rows have by chance is none."""
    other = Part(np.ones((1, 2)), np.ones((1, 2)), 1)
    for rows, shared in (([[1.5, 1.25], [1.75, 1.25]], False), ([[1.5, 1.25], [1.5, 1.75]], True)):
        assert bool(_shared(("f32", "f32"), Problem(Part(np.ones((2, 2)), np.array(rows), 1), other))) is shared


def test_scales_of_at_most_24_bits_together_are_exact() -> None:
    """Two scales of f16 have 22 bits together, one of f32 and one of f16 35."""
    for names, rounded in ((("f16", "f16"), False), (("f32", "f16"), True)):
        found = _shared(names, Problem(*(Part(np.ones((2, 1)), np.ones((2, 1)), 0) for _ in "ab")))
        assert bool(found) is rounded


@pytest.mark.parametrize(("sum_", "factor"), [(1e5, 2.0**-4), (1e4, 2.0**4)])
def test_a_sum_may_overflow_before_and_after_a_global_scale(sum_: float, factor: float) -> None:
    contract = Contract(accumulator="f32", scaled="sums")
    one = Element([sum_], [1.0], [1.0], [1.0], global_scale=factor)
    assert one.budget(contract, "f16").overflow_slack is not None
    assert replace(one, global_scale=1.0, a=[1e4]).budget(contract, "f16").overflow_slack is None
    assert replace(one, global_scale=1.0, a=[1e3], bias=65000.0).budget(contract, "f16").overflow_slack is not None


def test_an_integer_sum_that_a_scale_halves_is_rounded_to_an_integer() -> None:
    for names, scales in ((("e8m0fnu", None), (0.5, 1.0)), ((None, "e8m0fnu"), (1.0, 0.5))):
        one = Element([3.0], [5.0], [scales[0]], [scales[1]], names=names)
        assert one.budget(Contract(accumulator="i32"), "i32").allowed.item() == pytest.approx(0.5)
    assert PLAIN.budget(Contract(accumulator="i32"), "i32").allowed.item() == 0
    assert replace(PLAIN, bias=1.0).budget(Contract(accumulator="i32"), "i32").allowed.item() > 0
    assert replace(PLAIN, global_scale=0.5).budget(Contract(accumulator="i32"), "i32").allowed.item() > 0


def test_only_the_rows_that_may_leave_f32_are_told() -> None:
    """The scale of the first row is at f32's end, and so is the sum's product with it; the second's is less by 16."""
    rows = Part(np.full((3, 1), 3.0), np.array([[2.0**127], [2.0**123], [1.0]]), 0)
    sides = rows, Part(np.ones((1, 1)), np.full((1, 1), 2.0**-20), 0)
    for factor in (1.0, 2.0**-100):
        one = Problem(*sides, factor)
        for scaled in (None, "sums"):
            contract = Contract(accumulator="f32", scaled=scaled)
            found = budget(contract, {"a": "e4m3fn", "b": "e4m3fn", "out": "f64"}, ("f32", "f32"), one, truth(one))
            assert found.overflow_slack is not None
            assert np.isinf(found.overflow_slack).tolist() == [[True], [False], [False]]


def test_below_zero_is_beyond_an_unsigned_output() -> None:
    contract = Contract(accumulator="f32", scaled="sums")
    found = ONE.budget(contract, "u8")
    assert found.overflow_slack is not None
    assert found.before is not None
    assert found.overflow_slack.tolist() == found.before.tolist()
    far = replace(ONE, scale_a=[2.0**126], scale_b=[2.0**3])
    assert far.budget(contract, "u8").overflow_slack == np.inf
    assert ONE.budget(contract, "i8").overflow_slack is None


def test_statistics_of_exact_results_are_given_up_and_small_ones_are_kept_above_nothing() -> None:
    def terms() -> Terms:
        return Terms(np.zeros(2), np.zeros(2), np.zeros(2))

    exact = terms()
    assert _scale(exact, np.zeros(2)) is None
    assert exact.unstatistical == "every result is exact"
    some = terms()
    found = _scale(some, np.array([0.0, 2.0**-10]))
    assert found is not None
    assert found.tolist() == [2.0**-1022, 2.0**-10]
    assert some.unstatistical == ""
    without = terms()
    without.no_statistics("flushing")
    assert _scale(without, np.ones(2)) is None
    assert _scale(without, None) is None
    assert without.unstatistical == "flushing"


def test_nan_and_infinity_in_operands_leave_the_bounds_of_others_alone() -> None:
    contract, formats = Contract(accumulator="f32"), {"a": "e4m3fn", "b": "e4m3fn", "out": "f64"}
    codes, scales = np.array([CODES["a"]] * 3), np.full((3, 6), 1.3125)
    codes[1, 2], scales[2] = nan, inf
    other = Part(np.array([CODES["b"]]), np.full((1, 6), 0.6875), 0)
    one = Problem(Part(codes, scales, 0), other, 3.0, np.array([2.0]))
    found = budget(contract, formats, ("f32", "f32"), one, truth(one)).allowed
    clean = Problem(Part(codes[:1], scales[:1], 0), other, 3.0, np.array([2.0]))
    alone = budget(contract, formats, ("f32", "f32"), clean, truth(clean)).allowed
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(alone[0], rel=NEAR, abs=0)


def test_parts_of_the_bound_at_their_thresholds() -> None:
    """f32's normal range, and its end."""
    assert _least(np.array([0.0, 4.0, -3.0])) == 1.0
    assert _least(np.array([0.0, 0.25, -0.125])) == 0.125
    ones = np.ones((1, 1))
    for low, roundings, lost in ((2.0**-126, 2, 0.0), (2.0**-127, 2, 2 * 2.0**-150), (2.0**-127, 0, 2.0**-150)):
        found = _underflow((np.array([low]), np.ones(1)), ones, ones, np.full((1, 1), 3.0), roundings)
        assert np.sum(found) == lost * (1 + low) * 2 * 4
    scales = (np.array([0.5, -4.0]), np.array([-8.0, 0.25, 1.0]))
    assert largest_of(scales, np.full((2, 3), 0.5)).tolist() == [[8.0, 1.0, 1.0], [32.0, 4.0, 4.0]]
    assert largest_of(scales, np.full((2, 3), 2.0)).tolist() == [[16.0, 2.0, 2.0], [64.0, 8.0, 8.0]]


def test_a_weight_is_not_below_its_exact_value() -> None:
    rng = np.random.default_rng(0)
    for k in (1, 2, 3, 17, 200):
        a, b = rng.standard_normal((4, k)), rng.standard_normal((k, 4))
        found = weight_of(a, b)
        for i, j in np.ndindex(4, 4):
            exact = sum(abs(Fraction(x) * Fraction(y)) for x, y in zip(a[i].tolist(), b[:, j].tolist(), strict=True))
            assert exact <= Fraction(found[i, j]) <= exact * (1 + Fraction(2 * k + 10, 2**53))
