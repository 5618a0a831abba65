"""The budget of scaled GEMM holds for every arithmetic it names, on hostile data, and is not much wider than that."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.errors import KernelError
from lastbit.providers.simulated_scaled import _narrow_blocks, _scaled_blocks, _scaled_sums
from lastbit.references.accumulators import Accumulator
from lastbit.references.scaled_gemm import Problem, part, segments, truth
from lastbit.references.scaling import Scaling
from lastbit.scaled_gemm_budget import budget

F32 = {"a": "e4m3fn", "b": "e4m3fn", "out": "f32"}
Array = Any


def allowed(
    one: Problem, contract: Contract, formats: dict[str, str] = F32, scales: tuple[Any, Any] = ("f32", "f32")
) -> Budget:
    return budget(contract, formats, scales, one, truth(one))


def numbers(rng: np.random.Generator, shape: tuple[int, int], spread: int) -> Array:
    """Codes of e4m3 with exponents over `spread` binades."""
    whole = rng.integers(8, 16, shape) * rng.choice([-1, 1], shape)
    return np.ldexp(whole.astype(np.float64), rng.integers(-3 - spread // 2, -2 + spread // 2, shape))


def scales(rng: np.random.Generator, scaling: Scaling, shape: tuple[int, int], low: int, high: int) -> Array:
    wanted = scaling.scale_shape(shape)
    return np.float32(np.ldexp(1 + rng.random(wanted), rng.integers(low, high, wanted))).astype(np.float64)


def drawn(
    seed: int, a: str, b: str, k: int = 100, *, spread: int = 4, low: int = -3, high: int = 3, m: int = 5, n: int = 6
) -> Problem:
    rng = np.random.default_rng(seed)
    sides = []
    for name, rows in ((a, m), (b, n)):
        scaling = Scaling.of(name)
        sides.append(part(numbers(rng, (rows, k), spread), scaling, scales(rng, scaling, (rows, k), low, high)))
    return Problem(*sides)


def error(one: Problem, computed: Array) -> Array:
    """|computed - exact|, each element in rational arithmetic, as float64 rounded up."""
    worst = np.zeros(computed.shape)
    for i, j in np.ndindex(computed.shape):
        exact = sum(
            Fraction(q) * Fraction(s) * Fraction(p) * Fraction(t)
            for q, s, p, t in zip(
                *(x.tolist() for x in (one.a.steps[i], one.a.scale[i], one.b.steps[j], one.b.scale[j])), strict=True
            )
        )
        worst[i, j] = float(abs(Fraction(float(computed[i, j])) - exact)) * (1 + 2.0**-50)
    return worst


def chain(left: Array, right: Array) -> Array:
    total = np.zeros((left.shape[0], right.shape[0]), np.float32)
    for k in range(left.shape[1]):
        total = total + np.float32(left[:, k, None]) * np.float32(right[None, :, k])
    return total


def by_sums(one: Problem, *, product_first: bool = True, accumulate: Callable[[Array, Array], Array] = chain) -> Array:
    total = np.zeros((len(one.a.steps), len(one.b.steps)), np.float32)
    for cut in segments(one):
        partial = np.float32(accumulate(one.a.steps[:, cut], one.b.steps[:, cut]))
        s, t = np.float32(one.a.scale[:, cut.start, None]), np.float32(one.b.scale[None, :, cut.start])
        total = total + (partial * (s * t) if product_first else (partial * s) * t)
    return total


def by_operands(one: Problem, narrow: Callable[[Array], Array] = np.float32) -> Array:
    left, right = (narrow(np.float32(side.steps) * np.float32(side.scale)) for side in (one.a, one.b))
    return chain(left, right)


PAIRS = [
    ("fp8_row", "fp8_row"),
    ("fp8_group128", "fp8_block128"),
    ("i4_group32", "fp8_tensor"),
    ("fp8_column", "fp8_row"),
]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    pair=st.sampled_from(PAIRS),
    k=st.sampled_from([1, 2, 31, 33, 129, 200]),
    low=st.sampled_from([-150, -126, -60, -3, 40]),
)
def test_any_place_of_the_scales_stays_within_the_budget(seed: int, pair: tuple[str, str], k: int, low: int) -> None:
    """Subnormal scales too: one operand's run from `low` on, the other's around 1."""
    one = drawn(seed, *pair, k, low=-2, high=2, m=3, n=3)
    scale = np.float32(np.ldexp(one.a.scale, low)).astype(np.float64)
    one = replace(one, a=replace(one.a, scale=scale))
    with np.errstate(all="ignore"):
        results = [by_sums(one), by_sums(one, product_first=False), by_operands(one)]
    bound = allowed(one, Contract(accumulator="f32")).allowed
    for result in results:
        assert (error(one, result) <= bound).all()


def test_bound_is_near_what_a_hostile_sum_does() -> None:
    """One sign and growing partial sums reach a tenth of the bound; random data stay far below."""
    one = drawn(3, "fp8_row", "fp8_row", 200)
    one = replace(one, a=replace(one.a, steps=np.abs(one.a.steps)), b=replace(one.b, steps=np.abs(one.b.steps)))
    result = by_sums(one)
    bound = allowed(one, Contract(accumulator="f32", scaled="sums")).allowed
    assert (error(one, result) / bound).max() > 0.005
    wrong = by_sums(replace(one, a=replace(one.a, scale=one.a.scale * (1 + 2.0**-14))))
    assert (error(one, wrong) > bound).all()


def test_scale_rounded_to_bf16_is_over_the_budget() -> None:
    one = drawn(4, "fp8_group128", "fp8_block128", 300)
    cut = replace(one, a=replace(one.a, scale=np.round(one.a.scale * 2**7) / 2**7))
    bound = allowed(one, Contract(accumulator="f32")).allowed
    assert (error(one, by_sums(cut)) > bound).any()


@pytest.mark.parametrize("k", [32, 96, 128])
def test_h100_and_b200_stay_within_their_own_bounds_and_break_that_of_f32(k: int) -> None:
    hopper = Accumulator.of("h100", "e4m3fn")
    one = drawn(8, "fp8_row", "fp8_row", k, spread=10)
    result = _scaled_sums(hopper)(one)
    promised = allowed(one, Contract(accumulator=hopper, scaled="sums")).allowed
    assert (error(one, result) <= promised).all()
    assert (error(one, result) > allowed(one, Contract(accumulator="f32")).allowed).any()


def test_block_promotion_bounds_each_block_by_itself() -> None:
    """The bound of DeepSeek's scheme: each block's own, scaled, and an f32 addition a block; worked by hand."""
    hopper = Accumulator.of("h100", "e4m3fn")
    one = drawn(9, "fp8_group128", "fp8_block128", 384, spread=2)
    bound = allowed(one, Contract(accumulator=hopper, scaled="sums")).allowed
    expected, weight = np.zeros((5, 6)), np.zeros((5, 6))
    for start in range(0, 384, 128):
        cut = slice(start, start + 128)
        x, y = np.abs(one.a.steps[:, cut]), np.abs(one.b.steps[:, cut]).T
        inner = hopper.bound(one.a.steps[:, cut], one.b.steps[:, cut].T)
        scale = np.outer(one.a.scale[:, start], one.b.scale[:, start])
        expected += scale * (inner + 2 * 2.0**-24 * (x @ y + inner))
        weight += scale * (x @ y)
    expected += 2 * 2.0**-24 * (weight + expected)
    assert np.allclose(bound, expected, rtol=1e-6, atol=0)
    assert (error(one, _scaled_sums(hopper)(one)) <= bound).all()


@pytest.mark.parametrize(("name", "k"), [("mxfp8_e4m3", 96), ("mxfp4", 128), ("nvfp4_single", 128)])
def test_scaled_products_of_matrix_engines_stay_within_their_bound(name: str, k: int) -> None:
    scaling = Scaling.of(name)
    blackwell = Accumulator.of("b200", "e4m3fn")
    rng = np.random.default_rng(2)
    sides = []
    for rows in (4, 5):
        levels = np.array([0.5, 1, 1.5, 2, 3, 4, 6])
        if scaling.element != "e2m1fn":
            levels = np.ldexp(np.arange(8.0, 16), -6)
        codes = rng.choice(levels, (rows, k)) * rng.choice([-1.0, 1.0], (rows, k))
        largest = 1.0 if scaling.scale_format == "e8m0fnu" else 1.125
        powers = np.ldexp(largest, rng.integers(-12, 13, (rows, k // scaling.group)))
        sides.append(part(codes, scaling, powers))
    one = Problem(*sides)
    narrow = replace(blackwell, name="b200/e2m1fn", terms=64, fraction_bits=35, input_emin=0)
    chosen = narrow if scaling.element == "e2m1fn" else blackwell
    result = (_narrow_blocks if chosen is narrow else _scaled_blocks)(chosen)(one)
    bound = allowed(one, Contract(accumulator=chosen, scaled="products"), scales=(scaling.scale_format,) * 2).allowed
    assert (error(one, result) <= bound).all()
    assert error(one, result).max() > 0


def test_subnormal_code_is_aligned_as_the_smallest_normal_one() -> None:
    """The exponent field of 2^-9 is that of 2^-6: a row of them pushes more of a small product away than its size."""
    scaling = Scaling.of("mxfp8_e4m3")
    blackwell = Accumulator.of("b200", "e4m3fn")
    tiny = part(np.full((1, 32), 2.0**-9), scaling, np.full((1, 1), 4.0))
    full = part(np.full((1, 32), 448.0), scaling, np.full((1, 1), 2.0))
    promise = Contract(accumulator=blackwell, scaled="products")
    ordinary = part(np.full((1, 32), 2.0**-6), scaling, np.full((1, 1), 4.0))
    bounds = [allowed(Problem(side, full), promise, scales=("e8m0fnu",) * 2).allowed for side in (tiny, ordinary)]
    assert bounds[0] == pytest.approx(bounds[1])


def integers(k: int, scale: float = 2.0, high: int = 128) -> Problem:
    rng = np.random.default_rng(1)
    row = Scaling.of("i8_row")
    sides = [
        part(rng.integers(-high, high, (rows, k)).astype(float), row, np.full((rows, 1), scale)) for rows in (3, 4)
    ]
    return Problem(*sides)


I8 = {"a": "i8", "b": "i8", "out": "i32"}


def test_integers_have_no_tolerance() -> None:
    plain = Problem(*(part(side.steps, None) for side in (integers(5000).a, integers(5000).b)))
    zero = allowed(plain, Contract(accumulator="i32"), I8, (None, None))
    assert not zero.allowed.any()
    assert zero.formula == "exact"


def test_integers_scaled_by_powers_of_two_are_exact_until_f32_ends() -> None:
    promise = Contract(accumulator="i32")
    short = allowed(integers(1000, high=100), promise, {**I8, "out": "f32"}, ("e8m0fnu",) * 2)
    assert not short.allowed.any()
    long = allowed(integers(5000), promise, {**I8, "out": "f32"}, ("e8m0fnu",) * 2)
    assert (long.allowed > 0).all()
    one = integers(5000)
    exact = one.a.values @ one.b.values.T
    assert (np.abs(np.float32(exact).astype(float) - exact) <= long.allowed).all()


def test_operands_that_their_format_has_are_not_rounded() -> None:
    scaling = Scaling.of("mxfp8_e4m3")
    rng = np.random.default_rng(0)
    side = part(numbers(rng, (4, 64), 2), scaling, np.full((4, 2), 8.0))
    promise = Contract(accumulator="f32", scaled="operands", input_rounding="bf16")
    tight = allowed(Problem(side, side), promise, scales=("e8m0fnu",) * 2).allowed
    assert (tight <= 65 * 2.0**-24 * truth(Problem(side, side)).weight).all()
    odd = replace(side, scale=side.scale * (1 + 2.0**-12))
    assert (allowed(Problem(odd, side), promise).allowed > 20 * tight).all()


def test_operands_rounded_to_bf16_stay_within_what_that_promises() -> None:
    import ml_dtypes

    one = drawn(12, "fp8_row", "i4_group32", 100)
    result = by_operands(one, lambda x: np.float32(x.astype(ml_dtypes.bfloat16)))
    promise = Contract(accumulator="f32", scaled="operands", input_rounding="bf16")
    assert (error(one, result) <= allowed(one, promise).allowed).all()
    assert (error(one, result) > allowed(one, Contract(accumulator="f32")).allowed).any()


def test_undeclared_place_of_the_scales_allows_what_either_does() -> None:
    one = drawn(13, "fp8_group128", "fp8_block128", 200)
    either, first, second = (
        allowed(one, Contract(accumulator="f32", scaled=scaled)).allowed for scaled in (None, "sums", "operands")
    )
    assert (either >= np.maximum(first, second) * (1 - 2.0**-40)).all()
    assert (either <= np.maximum(first, second) * (1 + 2.0**-40)).all()


def test_bias_and_global_scale_each_cost_a_rounding() -> None:
    one = drawn(14, "fp8_row", "fp8_row", 50)
    promise = Contract(accumulator="f32", scaled="sums")
    plain, weight = allowed(one, promise).allowed, truth(one).weight
    doubled = allowed(replace(one, global_scale=2.0), promise).allowed
    assert np.allclose(doubled, 2 * plain, rtol=1e-12, atol=0)
    tripled = allowed(replace(one, global_scale=3.0), promise).allowed
    assert (tripled >= 3 * plain + 3 * 2.0**-24 * weight).all()
    bias = np.full(6, 1000.0)
    biased = allowed(replace(one, bias=bias), promise).allowed
    assert (biased >= plain + 2.0**-24 * 1000).all()
    assert (biased <= plain + 2.0**-23 * (weight + 1000)).all()


def test_flushed_subnormal_scales_are_allowed_where_promised() -> None:
    one = drawn(15, "fp8_row", "fp8_row", 20)
    tiny = replace(one, a=replace(one.a, scale=np.ldexp(one.a.scale, -135)))
    promise = Contract(accumulator="f32", subnormals="flush")
    size = np.abs(truth(tiny).hi)
    assert (allowed(tiny, promise).allowed >= size).all()
    assert (allowed(tiny, replace(promise, subnormals="keep")).allowed < size).any()


@pytest.mark.parametrize("scaled", ["sums", "operands", None])
def test_budget_says_how_many_products_it_sums(scaled: str | None) -> None:
    promise = Contract(accumulator="f32", scaled=scaled)
    assert [allowed(drawn(3, "fp8_row", "fp8_row", k), promise).terms for k in (1, 70)] == [1, 70]


def test_word_of_the_contract_that_is_none_is_refused() -> None:
    with pytest.raises(KernelError, match="scaled is 'twice', expected one of None, 'sums', 'operands', 'products'"):
        Contract(scaled="twice")
