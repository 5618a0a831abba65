"""Budgets of sums against the formulas of docs/budgets.md, written again for one element in plain Python."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import isinf

import numpy as np
import pytest
from gemm_formulas import NEAR, Exact, Product, with_output

from lastbit.contract import Contract
from lastbit.gemm_budget import BudgetError, budget, sum_terms
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.references import gemm
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format

ACCUMULATORS = [
    ("f32", "f16"), ("f32", "f32"), ("f16", "f16"), ("bf16", "bf16"), ("f64", "f32"), ("exact", "f32"),
    (Accumulator.of("a100", "f16"), "f16"), (Accumulator.of("h100", "e4m3fn"), "e4m3fn"),
    (replace(Accumulator.of("f32"), order="sequential", rounding="toward-zero", name="truncating"), "f16"),
    (replace(Accumulator.of("f32"), order="sequential", flush=True, name="flushing"), "f32"),
]  # fmt: skip
ROUNDINGS = ("nearest-even", "nearest-away", "toward-zero", "up", "stochastic")


def cases() -> Iterator[Product]:
    rng = np.random.default_rng(1)
    for number, ((accumulator, fmt), out, rounding, subnormals) in enumerate(
        product(ACCUMULATORS, ("f64", "f32", "bf16", "f16", "e5m2"), ROUNDINGS, ("keep", "flush"))
    ):
        k = int(rng.choice([1, 3, 8, 40]))
        a, b = (Format.of(fmt).round(rng.standard_normal(shape)) for shape in ((1, k), (k, 1)))
        if number % 3 == 0:
            a[0, 0] = b[-1, 0] = Format.of(fmt).eta * 3
        if number % 3 == 1:  # normal, just
            a[0, 0] = Format.of(fmt).min_normal
        plain = Product(
            a, b, fmt, out, Contract(accumulator=accumulator, output_rounding=rounding, subnormals=subnormals)
        )
        c, bias = (float(Format.of("f16").round(np.array(x))) for x in rng.standard_normal(2) * 30)
        yield plain
        yield replace(plain, alpha=(2.0, -2.7, 0.1, 0.0, 0.5)[number % 5])
        yield replace(plain, alpha=float(rng.choice([1.0, -0.7])), beta=1.0, c=c)
        yield replace(
            plain, alpha=float(rng.choice([1.0, 2.0])), beta=float(rng.choice([-2.0, 0.3, -0.1])), c=c, bias=bias
        )
        yield replace(plain, beta=float(rng.choice([0.0, 1.0])), c=c, bias=bias)


def test_budgets_are_what_the_formulas_give() -> None:
    scales = 0
    for case in cases():
        truth = case.truth()
        found, (allowed, scale, before) = case.budget(truth), with_output(case, truth)
        assert allowed <= found.allowed[0, 0] * (1 + 2.0**-50), case
        assert found.allowed[0, 0] == pytest.approx(allowed, rel=NEAR, abs=0), case
        assert (found.sigma is None) == (scale is None or (scale == 0 and found.unstatistical != "")), case
        assert (found.unstatistical == "") == (found.sigma is not None), case
        if found.sigma is not None and scale is not None:
            scales += 1
            assert found.sigma[0, 0] == pytest.approx(max(scale, np.finfo(np.float64).tiny), rel=NEAR, abs=0), case
        assert (found.before is None) == (before is None), case
        if found.before is not None:
            assert found.before[0, 0] == pytest.approx(before, rel=NEAR, abs=0)
        flushes = case.contract.subnormals == "flush" and case.out != "e5m2"
        assert found.flush_below == (Format.of(case.out).min_normal if flushes else 0.0)
    assert scales > 200


@pytest.mark.parametrize("out", ["i32", "f32", "f64", "f16", "bf16"])
def test_integer_sums_are_rounded_once_to_f32_beyond_2_to_the_24_and_then_to_the_output(out: str) -> None:
    contract = Contract(accumulator="i32")
    for size, scalars in product((15, 127), ({}, {"alpha": -0.1}, {"alpha": 0.5, "beta": 1.0, "c": 9.0})):
        if out == "i32" and scalars:
            continue
        a, b = np.full((1, 1301), float(size)), np.full((1301, 1), -127.0)
        b[-1] = -1.0
        case = replace(Product(a, b, "i8", out, contract), **scalars)
        truth = case.truth()
        found, (allowed, scale, _) = case.budget(truth), with_output(case, truth)
        assert found.allowed[0, 0] == pytest.approx(allowed, rel=1301 * 2.0**-52, abs=0)
        assert (out == "i32" or size == 15) or allowed > 0
        if found.sigma is not None and scale is not None:  # weights are rounded up k times
            assert found.sigma[0, 0] == pytest.approx(max(scale, np.finfo(np.float64).tiny), rel=1301 * 2.0**-52, abs=0)
        assert (found.unstatistical == "integers are not rounded") is (out == "i32")
        if size == 15 and not scalars and out in ("f32", "f64"):
            assert (found.unstatistical, found.sigma) == ("every result is exact", None)
        if out == "i32":
            assert (found.formula, found.source) == ("exact", "integers are exact")
    just = Product(np.full((1, 1023), 128.0), np.full((1023, 1), 128.0), "i16", "f32", contract)
    assert just.budget(just.truth()).allowed[0, 0] == 0


@pytest.mark.parametrize("rounding", sorted(INPUT_ROUNDINGS))
@pytest.mark.parametrize("accumulator", ["f32", Accumulator.of("a100", "tf32")], ids=["f32", "a100"])
@pytest.mark.parametrize("scale", [1.0, 2.0**-75])
@pytest.mark.parametrize("alpha", [1.0, -0.5])
def test_rounded_operands_cost_what_section_4_says(
    rounding: str, accumulator: str | Accumulator, scale: float, alpha: float
) -> None:
    """Also where products are below the smallest number of the accumulator."""
    rule, rng, k = INPUT_ROUNDINGS[rounding], np.random.default_rng(2), 12
    a, b = (Format.of("f32").round(scale * rng.standard_normal(shape)) for shape in ((1, k), (k, 1)))
    case = Product(a, b, "f32", "f64", Contract(accumulator=accumulator, input_rounding=rounding))
    model, eta = case.accumulator, Format.of(rule.format).eta
    weight, count = float(np.abs(a[0]) @ np.abs(b[:, 0])), k * rule.products
    factor = model.coefficient(count)
    error = factor * rule.growth * weight + rule.product_error * weight
    error += rule.growth * eta * (np.abs(a).sum() + np.abs(b).sum() + k * eta)
    if model.truncates:
        error += float(model.bound(a, b, weight=np.array([[weight]]))[0, 0]) * rule.growth * rule.products
    else:
        error += (1 + factor) * count * 2.0 ** (model.emin - model.precision)
    if alpha != 1:
        case, error = replace(case, alpha=alpha), error / 2
        error += 2.0**-24 * (1 + 2.0**-24) * (rule.growth * weight / 2 + error)
        error += 2.0**-150
    truth = case.truth()
    found = case.budget(truth)
    assert found.allowed[0, 0] == pytest.approx(error + truth.radius[0, 0], rel=NEAR, abs=0)
    assert found.sigma is None
    assert found.formula.startswith(f"{count} terms in {model.name}: {factor:.4g}*|A||B| + operands in {rounding}: ")
    assert found.source.startswith("budgets.md 3; " if model.truncates else "budgets.md 2; Jeannerod and Rump 2013; ")


@pytest.mark.parametrize("rounding", ["f16", "bf16x3"])
def test_small_operands_lose_their_absolute_part_to_the_last_step(rounding: str) -> None:
    """Operands of a few steps of the target: the absolute part of section 4 is most of the bound."""
    rule = INPUT_ROUNDINGS[rounding]
    eta = Format.of(rule.format).eta
    a, b = np.array([[3.0, 5.0]]) * eta, np.array([[7.0], [2.0]]) * eta
    case = Product(a, b, "f32", "f64", Contract(accumulator=Accumulator.of("f64"), input_rounding=rounding))
    absolute = rule.growth * eta * (17 * eta + 2 * eta)
    assert case.budget(case.truth()).allowed[0, 0] == pytest.approx(absolute, rel=0.25)


@pytest.mark.parametrize("contract", [
    Contract(accumulator="f32"), Contract(accumulator="f32", input_rounding="bf16x3"),
    Contract(accumulator="f32", input_rounding="f16"), Contract(accumulator="f32", subnormals="flush"),
    Contract(accumulator=Accumulator.of("a100", "tf32")),
    Contract(accumulator=Accumulator.of("a100", "tf32"), input_rounding="tf32"),
], ids=Contract.text)  # fmt: skip
def test_every_element_of_a_batch_has_the_budget_of_its_own_row_and_column(contract: Contract) -> None:
    rng = np.random.default_rng(4)
    a, b = (Format.of("f32").round(rng.standard_normal(shape)) for shape in ((2, 3, 7), (2, 7, 4)))
    a[0, 1, 2], b[1, 3, 3], a[1, 2, 0], b[0, 0, 0] = -70000.0, -90000.0, 65504.0, 2.0**-130
    c, bias = rng.integers(-9, 9, (2, 3, 4)) * 1.0, rng.integers(-9, 9, 4) * 1.0
    scalars = {"alpha": -0.5, "beta": 2.0}
    truth = gemm.truth(a, b, c=c, bias=bias, **scalars)
    truth = replace(truth, radius=np.where(rng.random((2, 3, 4)) < 0.5, 0.0, 2.0**-20))
    operands = {name: Exact(x) for name, x in (("a", a), ("b", b), ("c", c), ("bias", bias))}
    whole = budget(contract, {"a": "f32", "b": "f32", "out": "f32"}, operands, truth, **scalars)
    assert "radius of the truth" in whole.formula
    assert contract.input_rounding or whole.formula.startswith("7 terms in ")
    for place in np.ndindex(2, 3, 4):
        batch, i, j = place
        one = Product(a[batch, i : i + 1], b[batch, :, j : j + 1], "f32", "f32", contract, -0.5, 2.0)
        one = replace(one, c=float(c[place]), bias=float(bias[j]))
        parts = {name: getattr(truth, name)[place].reshape(1, 1) for name in ("hi", "lo", "radius", "weight")}
        alone = one.budget(replace(truth, **parts))
        # What is known of the whole (whether products underflow) may cost another 2^-22 of it.
        assert whole.allowed[place] == pytest.approx(alone.allowed[0, 0], rel=2.0**-20, abs=0)
        if whole.overflow_slack is not None:
            lost = contract.input_rounding == "f16" and (place[:2] == (0, 1) or (batch, j) == (1, 3))
            assert isinf(whole.overflow_slack[place]) is bool(lost)
    assert (whole.overflow_slack is not None) is (contract.input_rounding == "f16")
    assert (whole.unstatistical == "") is (contract == Contract(accumulator="f32"))
    if contract.input_rounding:
        assert whole.unstatistical == "an operand's rounding is shared by a whole row or column of results"


@pytest.mark.parametrize("contract", [
    Contract(accumulator="f32", subnormals="flush"), Contract(accumulator="f32", input_rounding="bf16"),
    Contract(accumulator="f64", input_rounding="bf16"), Contract(accumulator="f32"),
], ids=Contract.text)  # fmt: skip
def test_a_batch_of_small_products_counts_its_terms(contract: Contract) -> None:
    """Where all that is allowed is what underflows, once for each of the k terms."""
    a, b = np.full((1, 2, 9), 2.0**-133), np.full((1, 9, 3), 2.0**-133)
    operands = {"a": Exact(a), "b": Exact(b)}
    whole = budget(contract, {"a": "f32", "b": "f32", "out": "f64"}, operands, gemm.truth(a, b))
    assert whole.terms == 9
    one = Product(a[0, :1], b[0, :, :1], "f32", "f64", contract)
    assert whole.allowed.ravel().tolist() == pytest.approx([one.budget(one.truth()).allowed[0, 0]] * 6, rel=NEAR, abs=0)


def test_weights_are_rounded_up_as_often_as_they_were_rounded() -> None:
    k = 4000
    case = Product(np.ones((1, k)), np.ones((k, 1)), "f32", "f64", Contract(accumulator="f32"), alpha=0.5)
    allowed, exact = case.budget(case.truth()).allowed[0, 0], with_output(case, case.truth())[0]
    assert exact * (1 + k * 2.0**-53) < allowed < exact * (1 + 1.5 * k * 2.0**-53)
    operands = {"a": Exact(case.a[None]), "b": Exact(case.b[None])}
    truth = gemm.truth(case.a[None], case.b[None], alpha=0.5)
    batch = budget(case.contract, {"a": "f32", "b": "f32", "out": "f64"}, operands, truth, alpha=0.5)
    assert batch.allowed[0, 0, 0] == allowed


def test_a_product_alone_is_neither_scaled_nor_added_to() -> None:
    case = Product(np.full((1, 3), 0.5), np.full((3, 1), 0.25), "f32", "f32", Contract(accumulator="f32"))
    operands = {"a": Exact(case.a), "b": Exact(case.b), "c": Exact(np.array([[9.0]]))}
    plain = budget(case.contract, {"a": "f32", "b": "f32", "out": "f32"}, operands, case.truth())
    assert plain == case.budget(case.truth())


def test_contracts_that_are_not_complete_have_no_budget() -> None:
    case = Product(np.ones((1, 1)), np.ones((1, 1)), "f32", "f32", Contract())
    with pytest.raises(BudgetError, match="fill it in with"):
        case.budget(case.truth())
    with pytest.raises(BudgetError, match=r"input_rounding is 'f8', expected None or one of .*bf16x3"):
        sum_terms("f8", Accumulator.of("f32"), case.a, case.b, np.ones((1, 1)))


def test_terms_are_named_with_their_numbers() -> None:
    a, b, contract = np.full((1, 4), 0.5), np.full((4, 1), 0.5), Contract(accumulator="f32")
    plain = Product(a, b, "f16", "bf16", contract)
    u = 2.0**-24
    one = replace(plain, alpha=0.5, beta=0.1, c=2.0)
    assert one.budget(one.truth()).formula == (
        f"4 terms in f32: {4 * u:.4g}*|A||B| + alpha: 1*u_f32*|alpha x| + eta/2 + "
        "beta: 2*u_f32*|beta x| + eta/2 + "
        f"1 addend c: {4 * u:.4g}*|c| + {u:.4g}*(|A||B|+|c|) + half an ulp of bf16 at |s|+error (nearest-even)"
    )
    assert one.budget(one.truth()).unstatistical == "beta = 0.1 is rounded to f32, the same for every result"
    two = replace(plain, beta=1.0, c=2.0, bias=1.0, contract=replace(contract, subnormals="flush"))
    found = two.budget(two.truth())
    assert (found.terms, plain.budget(plain.truth()).terms) == (4, 4)
    assert f"2 addends c: {4 * u:.4g}*|c| + {2 * u:.4g}*(|A||B|+|c|)" in found.formula
    assert f"flushed subnormals: |A||B| of them + 14*{2.0**-126:.4g}" in found.formula
    assert found.source == "budgets.md 2; Jeannerod and Rump 2013; budgets.md 5; budgets.md 6; budgets.md 8"


def test_long_sums_have_no_statistics_from_an_eighth_on() -> None:
    for k, stagnates in ((255, False), (256, True)):
        rng = np.random.default_rng(3)
        a, b = (Format.of("f16").round(rng.random(shape)) for shape in ((1, k), (k, 1)))
        found = Product(a, b, "f16", "f16", Contract(accumulator="f16"))
        assert ("stagnate" in found.budget(found.truth()).unstatistical) is stagnates
