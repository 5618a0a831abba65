"""The error bounds of accumulators: never exceeded, and not loose, against rational arithmetic."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references import chains
from lastbit.references.accumulator_bounds import coefficient, height
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.suites.meta.accumulator_referee import (
    CHAINS,
    DEVICES,
    F32,
    KINDS,
    MODELS,
    Array,
    exact_dot,
    largest_ratio,
    name,
    operands,
)

H100_FP8 = Accumulator.of("h100", "e4m3fn")
VARIANTS = [
    (replace(Accumulator.of("b200", "e4m3fn"), name="b200/e4m3fn late addend", addend="last"), "e4m3fn"),
    (replace(Accumulator.of("h100", "f16"), name="h100/f16 to nearest", rounding="nearest-even"), "f16"),
    (replace(Accumulator.of("a100", "bf16"), name="a100/bf16 aligned down", alignment="down"), "bf16"),
    (replace(Accumulator.of("a100", "f16"), name="a100/f16 any order", order="any"), "f16"),
    (replace(F32, name="f32 toward zero", rounding="toward-zero"), "f32"),
    (Accumulator.of("a100", "tf32"), "f32"),
    (Accumulator.of("f64"), "f64"),
]
#: Every concrete way of summing that the promise "any" allows, in each working format.
ORDERS = [
    {"order": order, "width": width, "fma": fma}
    for order, width in (
        ("sequential", 0),
        ("pairwise", 0),
        ("blocked", 7),
        ("lanes", 3),
        ("split", 2),
        ("tree-blocks", 4),
    )
    for fma in (True, False)
]
STEPS = settings(max_examples=30, deadline=None, derandomize=True)


def errors(model: Accumulator, a: Array, b: Array, c: Array) -> Array:
    """|dot - exact| of each row, rounded down to float64."""
    return distances(model.dot(a, b, c), [exact_dot(*row) for row in zip(a, b, c.tolist(), strict=True)])


def distances(got: Array, exact: list[Fraction]) -> Array:
    """|got - exact|, rounded down to float64."""
    return np.nextafter([float(abs(Fraction(x) - y)) for x, y in zip(got.tolist(), exact, strict=True)], 0.0)


def row_bounds(model: Accumulator, a: Array, b: Array, c: Array | None) -> Array:
    """`bound` of each row's dot product."""
    addend = None if c is None else c[:, None, None]
    return model.bound(a[:, None, :], b[:, :, None], addend)[:, 0, 0]


@pytest.mark.parametrize(("model", "fmt"), [*MODELS, *VARIANTS], ids=name)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 70), kind=st.sampled_from(KINDS), addend=st.booleans())
@settings(STEPS, max_examples=18)
def test_bound_holds(model, fmt, seed, k, kind, addend):
    a, b = operands(kind, fmt, 4, k, seed, bits=model.fraction_bits or model.precision)
    if model.emax == 15:  # the bound is that of sums that do not overflow
        a, b = np.clip(a, -64, 64), np.clip(b, -64, 64)
    out = Format.of("f16" if model.emax == 15 else "f32" if model.precision >= 14 else "bf16")
    c = out.round(np.random.default_rng(seed).standard_normal(4) * np.abs(a * b).max()) if addend else np.zeros(4)
    assert largest_ratio(errors(model, a, b, c), row_bounds(model, a, b, c if addend else None)) <= 1


@pytest.mark.parametrize("fmt", ["f32", "f16", "bf16"])
@given(seed=st.integers(0, 2**32), k=st.integers(1, 60), kind=st.sampled_from(KINDS), how=st.sampled_from(ORDERS))
@settings(STEPS, max_examples=90)
def test_promise_of_any_order_covers_every_order(fmt, seed, k, kind, how):
    promise = Accumulator.of(fmt)
    a, b = operands(kind, fmt, 4, k, seed, bits=promise.precision)
    if fmt == "f16":
        a, b = np.clip(a, -64, 64), np.clip(b, -64, 64)
    kernel = replace(promise, **how)
    assert largest_ratio(errors(kernel, a, b, np.zeros(4)), row_bounds(promise, a, b, None)) <= 1
    assert largest_ratio(errors(kernel, a, b, np.zeros(4)), row_bounds(kernel, a, b, None)) <= 1


@pytest.mark.parametrize(
    ("model", "fmt", "k", "reached"),
    [
        (Accumulator.of("v100", "f16"), "f16", 512, 0.75),
        (Accumulator.of("a100", "f16"), "f16", 512, 0.75),
        (Accumulator.of("h100", "f16"), "f16", 512, 0.75),
        (Accumulator.of("mi300", "f16"), "f16", 8, 0.75),
        (H100_FP8, "e4m3fn", 64, 0.5),
        (F32, "f32", 64, 0.75),
        (Accumulator.of("f16"), "f16", 16, 0.75),
    ],
    ids=name,
)
def test_closed_form_is_nearly_reached(model, fmt, k, reached):
    """Products just under the last bit beside a 1 (truncation), or just under half of it (nearest), are all lost."""
    a, b = operands("truncation", fmt, 2, k, 0, bits=model.fraction_bits or model.precision)
    allowed = model.coefficient(k) * np.abs(a * b).sum(axis=1)
    assert reached <= largest_ratio(errors(model, a, b, np.zeros(2)), allowed) <= 1


def test_truncating_engine_exceeds_the_bound_of_f32():
    """V100 errs by up to 1.94 K*u32: the bound tells it from an f32 accumulator."""
    v100 = Accumulator.of("v100", "f16")
    a, b = operands("truncation", "f16", 2, 512, 0, bits=23)
    worst = errors(v100, a, b, np.zeros(2))
    assert 1.9 <= largest_ratio(worst, row_bounds(F32, a, b, None)) <= 2.5
    assert largest_ratio(worst, row_bounds(v100, a, b, None)) <= 1


@pytest.mark.parametrize(
    ("promised", "worse", "fmt", "kind"),
    [
        (Accumulator.of("f32"), Accumulator.of("f16"), "f16", "normal"),
        (Accumulator.of("f32"), Accumulator.of("bf16"), "bf16", "normal"),
        (Accumulator.of("b200", "e4m3fn"), H100_FP8, "e4m3fn", "positive"),
        (replace(H100_FP8, promote=32), H100_FP8, "e4m3fn", "positive"),
        (replace(F32, order="pairwise"), replace(F32, rounding="toward-zero", order="sequential"), "f32", "positive"),
        (Accumulator.of("h100", "f16"), replace(Accumulator.of("h100", "f16"), fraction_bits=22), "f16", "positive"),
        (Accumulator.of("f64"), Accumulator.of("f32"), "f32", "normal"),
    ],
    ids=name,
)
def test_bound_refutes_a_worse_accumulator(promised, worse, fmt, kind):
    a, b = operands(kind, fmt, 16, 512, 7)
    assert largest_ratio(errors(worse, a, b, np.zeros(16)), row_bounds(promised, a, b, None)) > 1


@pytest.mark.parametrize("model", [*DEVICES.values(), *CHAINS, F32], ids=lambda m: f"{m.name}-{m.order}")
@given(seed=st.integers(0, 2**32), k=st.integers(2, 200))
@settings(STEPS, max_examples=10)
def test_integers_up_to_exact_bits_are_exact(model, seed, k):
    """Random walks that touch +-2^exact_bits but do not leave it lose nothing."""
    rng = np.random.default_rng(seed)
    limit = 2.0 ** min(model.exact_bits, 12)
    a = rng.integers(-int(limit) // k, int(limit) // k, (3, k), endpoint=True).astype(float)
    a[0] = np.where(np.arange(k) % 2, -1.0, 1.0) * limit  # one term of the full size, then back
    np.testing.assert_array_equal(model.dot(a, np.ones_like(a)), a.sum(axis=1))


@pytest.mark.parametrize("model", [*DEVICES.values(), F32, Accumulator.of("f16"), Accumulator.of("f64")], ids=name)
def test_exact_bits_is_sharp(model):
    """2^b + 1 - 2^b is exact while the sum stays within 2^b, and loses the 1 beyond what the accumulator holds."""
    b = model.exact_bits
    walk = np.array([[2.0**b, -1.0, 1.0, -1.0]]), np.ones((1, 4))
    assert model.dot(*walk)[0] == 2.0**b - 1
    beyond = np.array([[2.0 ** (b + 2)] + [1.0] * 63]), np.ones((1, 64))
    assert model.dot(*beyond)[0] != 2.0 ** (b + 2) + 63


@pytest.mark.parametrize(
    "model", [Accumulator.of("h100", "f16"), replace(Accumulator.of("f16"), order="sequential")], ids=name
)
def test_running_bound_is_tighter_than_the_closed_form_where_sums_cancel(model):
    a, b = operands("normal", "f16", 8, 1024, 5)
    closed = model.coefficient(1024) * np.abs(a * b).sum(axis=1)
    assert (row_bounds(model, a, b, None) < 0.25 * closed).all()


def test_given_weight_is_used():
    a, b = operands("normal", "f32", 3, 33, 2)
    weight = np.abs(a) @ np.abs(b).T
    twice = F32.bound(a, b.T, weight=2 * weight)
    np.testing.assert_allclose(twice, 2 * F32.bound(a, b.T), rtol=1e-13)
    np.testing.assert_array_equal(Accumulator.of("i32").bound(a, b.T), 0)
    assert Accumulator.of("exact").coefficient(99) == 0


def test_nothing_is_allowed_where_nothing_is_rounded():
    """One exact product, a zero row, no terms: the bound is zero, also for flushing accumulators."""
    for model in (F32, Accumulator.of("mi250", "f16"), Accumulator.of("h100", "f16")):
        assert F32.bound(np.ones((2, 1)), np.ones((1, 2))).max() == 0
        assert model.bound(np.zeros((2, 9)), np.ones((9, 2))).max() == 0
        assert model.bound(np.zeros((2, 0)), np.ones((0, 2))).max() == 0


def test_flushed_and_truncated_operands_are_allowed_for():
    """CDNA2 drops subnormals, tensor cores the low bits of f32: the bound has what was dropped, and little else."""
    tiny = np.array([[2.0**-24, 1.0]])
    cdna2 = Accumulator.of("mi250", "f16")
    assert cdna2.dot(tiny, np.ones((1, 2)))[0] == 1.0
    assert 2.0**-24 <= cdna2.bound(tiny, np.ones((2, 1)))[0, 0] <= 2.0**-22
    a, b = operands("normal", "f32", 4, 64, 1)
    lost = Accumulator.of("a100", "tf32").bound(a, b.T)
    assert (lost <= (2 * 2.0**-10 + 2.0**-20 + 2.0**-16) * (np.abs(a) @ np.abs(b.T))).all()
    assert (lost > 2.0**-11 * (np.abs(a) @ np.abs(b.T))).all()


@pytest.mark.parametrize("order", ["sequential", "pairwise", "blocked", "lanes", "split", "tree-blocks"])
def test_height_is_the_deepest_chain_of_additions(order, monkeypatch):
    """The order is run on counters in place of numbers: an addition is one more than its deeper operand."""
    leaf = np.ones(1)  # 0 is a sum that nothing has been added to yet

    def add(x, y):
        return np.maximum(x, y) + (x.all() and y.all())

    counting = (lambda a, b: leaf, add, lambda a, b, c: add(c, leaf))
    monkeypatch.setattr(chains, "operations", lambda model: counting)
    for width in (1, 2, 3, 4, 7):
        for k in (1, 2, 3, 5, 8, 21, 64):
            model = replace(F32, order=order, width=width)
            depth = chains.chain(model, np.ones((k, 1)), np.ones((k, 1)), np.zeros(1))[0] - 1
            assert depth <= height(model, k) <= depth + 2, (width, k)


def test_coefficients_are_those_of_numerics():
    """The table of docs/accumulators.md, in units of u32."""
    u32 = 2.0**-24
    for device, fmt, units in (("v100", "f16", 2.5), ("a100", "f16", 1.25), ("a100", "tf32", 1.5),
                               ("h100", "f16", 0.625), ("h100", "tf32", 0.75), ("b200", "e4m3fn", 0.5625)):  # fmt: skip
        assert Accumulator.of(device, fmt).coefficient(4096) == units * 4096 * u32
    assert H100_FP8.coefficient(4096) == (1 + 1 / 32) * 2.0**-13 * 4096
    assert F32.coefficient(1000) == 1000 * u32
    assert replace(F32, order="pairwise").coefficient(1024) == pytest.approx(11 * u32, rel=1e-6)
    promoted = replace(H100_FP8, promote=128)
    assert promoted.coefficient(4096) == pytest.approx((1 + 1 / 32) * 2.0**-13 * 128 + 31 * u32, rel=0.02)
    assert Accumulator.of("bf16").coefficient(10**6) == 10**6 * 2.0**-8


@pytest.mark.parametrize("fmt", ["f32", "f16", "f64"])
@pytest.mark.parametrize("kind", ["normal", "positive", "wide"])
def test_sigma_covers_the_spread_of_errors(fmt, kind):
    """Over 400 results: root mean square below sigma, and nothing at 8 sigma, in any order."""
    a, b = operands(kind, fmt, 400, 48, 11)
    exact = [exact_dot(*row) for row in zip(a, b, strict=True)]
    model = Accumulator.of(fmt)
    scale = model.sigma(a[:, None, :], b[:, :, None])[:, 0, 0]
    for how in ORDERS:
        ratio = distances(replace(model, **how).dot(a, b), exact) / scale
        assert np.sqrt((ratio**2).mean()) <= 1
        assert ratio.max() <= 8


def test_sigma_is_none_where_errors_have_one_sign():
    a, b = np.ones((2, 4)), np.ones((4, 3))
    for model in (Accumulator.of("h100", "f16"), Accumulator.of("mi300", "f16"), Accumulator.of("mi250", "f16")):
        assert model.sigma(a, b) is None
    assert replace(F32, rounding="toward-zero").sigma(a, b) is None
    np.testing.assert_array_equal(Accumulator.of("exact").sigma(a, b), np.zeros((2, 3)))


def test_sigma_depends_on_the_depth():
    a, b = operands("normal", "f32", 3, 1024, 4)
    deep, flat = F32.sigma(a, b.T), replace(F32, order="pairwise").sigma(a, b.T)
    np.testing.assert_allclose(deep / flat, np.sqrt(1024 / (1 + ceil(log2(1024)))), rtol=1e-4)
    assert coefficient(F32, 1) == 2.0**-24


@pytest.mark.parametrize("model", [model for model, fmt in MODELS if fmt == "bf16"], ids=name)
@pytest.mark.parametrize("seed", range(3))
def test_bound_holds_where_the_carried_sum_is_subnormal(model: Accumulator, seed: int) -> None:
    """Later blocks are then aligned to the smallest normal exponent, which cuts them above the engine's floor."""
    rng, fmt = np.random.default_rng(seed), Format.of("bf16")
    for k in (20, 40, 65):
        a = fmt.round(np.ldexp(rng.uniform(0.5, 1, (6, k)), -50))
        b = fmt.round(np.ldexp(rng.uniform(0.5, 1, (k, 6)), -102 + seed))
        bound, got = model.bound(a, b), model.matmul(a, b)
        for i, j in np.ndindex(got.shape):
            exact = sum((Fraction(x) * Fraction(y) for x, y in zip(a[i], b[:, j], strict=True)), Fraction(0))
            assert abs(Fraction(got[i, j]) - exact) <= Fraction(bound[i, j])
