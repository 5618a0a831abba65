"""Budgets against the formulas of docs/budgets.md, written again for one element in plain Python."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import frexp, hypot, inf, isinf, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output
from lastbit.budget_terms import Terms
from lastbit.contract import Contract
from lastbit.gemm_budget import BudgetError, budget, sum_terms
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.references import gemm
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.truth import Truth

Array = NDArray[np.float64]
#: What the code's float64 operations and its factor ROUND_UP, twice, may differ by.
NEAR = 2.0**-44


@dataclass(frozen=True)
class Exact:
    values: Array


@dataclass(frozen=True)
class Product:
    """alpha A B + beta c + bias of one element: a row of A and a column of B."""

    a: Array
    b: Array
    fmt: str
    out: str
    contract: Contract
    alpha: float = 1.0
    beta: float = 0.0
    c: float | None = None
    bias: float | None = None

    @property
    def addends(self) -> dict[str, float]:
        found = {"c": self.c} if self.c is not None and self.beta else {}
        return found | ({"bias": self.bias} if self.bias is not None else {})  # type: ignore[return-value]

    def truth(self) -> Truth:
        c = None if self.c is None else np.array([[self.c]])
        bias = None if self.bias is None else np.array([self.bias])
        return gemm.truth(self.a, self.b, alpha=self.alpha, beta=self.beta, c=c, bias=bias)

    def budget(self, truth: Truth) -> Budget:
        operands = {"a": Exact(self.a), "b": Exact(self.b)}
        operands |= {n: Exact(np.array([[x]])) for n, x in (("c", self.c), ("bias", self.bias)) if x is not None}
        formats = {"a": self.fmt, "b": self.fmt, "out": self.out}
        return budget(self.contract, formats, operands, truth, alpha=self.alpha, beta=self.beta)

    @property
    def accumulator(self) -> Accumulator:
        chosen = self.contract.accumulator
        return Accumulator.of(chosen) if isinstance(chosen, str) else chosen  # type: ignore[return-value]


def epilogue_unit(accumulator: Accumulator) -> float:
    """Section 5: the accumulator's own format if it is a chain, else f32."""
    if accumulator.engine == "exact":
        return 0.0
    return accumulator.unit if accumulator.engine == "chain" and not accumulator.truncates else 2.0**-24


def before_output(case: Product, truth: Truth) -> tuple[float, float | None, float]:
    """Bound and scale of the error before the output is rounded, and the weight: sections 2 to 7."""
    accumulator, k, u = case.accumulator, case.a.shape[1], epilogue_unit(case.accumulator)
    weight = float(np.abs(case.a[0]) @ np.abs(case.b[:, 0]))
    w = np.array([[weight]])
    error = float(accumulator.bound(case.a, case.b, weight=w)[0, 0])
    known = accumulator.sigma(case.a, case.b, weight=w)
    scale = None if known is None or k * accumulator.unit >= 1 / 8 else float(np.broadcast_to(known, (1, 1))[0, 0])

    def scaled(factor: float, size: float) -> None:
        nonlocal error, scale
        held = u == 0 or (frexp(factor)[0] / u) % 1 == 0
        error += (1 if held else 2) * u * (1 + u) * (size + error)
        scale = None if scale is None or not held else hypot(scale, u * size)

    if case.alpha != 1:
        weight, error = weight * abs(case.alpha), error * abs(case.alpha)
        scale = None if scale is None else scale * abs(case.alpha)
        scaled(case.alpha, weight)
    added = 0.0
    for name, value in case.addends.items():
        if name == "c" and case.beta != 1:
            scaled(case.beta, abs(case.beta * value))
        added += abs(value) * (abs(case.beta) if name == "c" else 1)
    if case.addends:
        count, total = len(case.addends), weight + added
        aligned = 2.0**-accumulator.fraction_bits if accumulator.fraction_bits else 0.0
        error += accumulator.coefficient(k) * (added + error) + (aligned + count * u) * (total + error)
        scale = None if scale is None else hypot(scale, u * sqrt(k + 4 * count) * total)
        weight = total
    if accumulator.engine == "integer" and Format.of(case.out).kind != "integer":
        converted = 2.0**-24 * weight if weight > 1 << 24 else 0.0
        error, scale = error + converted, None if scale is None else hypot(scale, converted)
    if case.contract.subnormals == "flush":
        error, scale = error + flushed(case), None
    return error + float(truth.radius[0, 0]), scale, weight


def flushed(case: Product) -> float:
    """Section 6."""
    accumulator, k, count, fmt = case.accumulator, case.a.shape[1], len(case.addends), Format.of(case.fmt)
    least = 0.0 if accumulator.engine in ("integer", "exact") else 2.0**accumulator.emin
    lost = 2 * k * least
    for x, y in product((case.a[0],), (case.b[:, 0],)):
        if fmt.bits >= 16 and fmt.kind == "float":
            lost += sum(abs(p * q) for p, q in zip(x, y, strict=True) if abs(p) < fmt.min_normal)
            lost += sum(abs(p * q) for p, q in zip(x, y, strict=True) if abs(q) < fmt.min_normal)
    smallest = Format.of(case.out).min_normal
    parts = sum(smallest * (abs(case.beta) if name == "c" else 1) for name in case.addends)
    through = 1 + accumulator.coefficient(k) + 8 * accumulator.unit
    return through * (abs(case.alpha) * lost + parts + (2 * count + 2) * least)


def with_output(case: Product, truth: Truth) -> tuple[float, float | None, float | None]:
    """Allowed error, scale, and the bound before the output rounding if that is to nearest even: section 8."""
    error, scale, _ = before_output(case, truth)
    accumulator, fmt = case.accumulator, Format.of(case.out)
    if accumulator.engine == "integer":
        kept = fmt.kind == "integer" or fmt.precision >= 24
    else:
        inside = (
            fmt.precision >= accumulator.precision and fmt.emin <= accumulator.emin and fmt.emax >= accumulator.emax
        )
        kept = accumulator.engine != "exact" and inside
    if kept:
        return error, None if fmt.kind == "integer" else scale, None
    step = float(fmt.ulp(np.array([abs(float(truth.hi[0, 0])) + error * (1 + NEAR)]))[0])
    rounding = case.contract.output_rounding
    random = rounding in ("nearest-even", "stochastic")
    allowed = error + step * (0.5 if rounding.startswith("nearest") else 1.0)
    return (
        allowed,
        None if scale is None or not random else hypot(scale, step / 2),
        error if rounding == "nearest-even" else None,
    )


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
    whole = budget(contract, {"a": "f32", "b": "f32", "out": "f64"}, operands, gemm.truth(a, b)).allowed
    one = Product(a[0, :1], b[0, :, :1], "f32", "f64", contract)
    assert whole.ravel().tolist() == pytest.approx([one.budget(one.truth()).allowed[0, 0]] * 6, rel=NEAR, abs=0)


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
        f"4 terms in f32: {4 * u:.4g}*|A||B| + alpha: 1*u_f32*|alpha x| + beta: 2*u_f32*|beta x| + "
        f"1 addend c: {4 * u:.4g}*|c| + {u:.4g}*(|A||B|+|c|) + half an ulp of bf16 at |s|+error (nearest-even)"
    )
    assert one.budget(one.truth()).unstatistical == "beta = 0.1 is rounded to f32, the same for every result"
    two = replace(plain, beta=1.0, c=2.0, bias=1.0, contract=replace(contract, subnormals="flush"))
    found = two.budget(two.truth())
    assert f"2 addends c: {4 * u:.4g}*|c| + {2 * u:.4g}*(|A||B|+|c|)" in found.formula
    assert f"flushed subnormals: |A||B| of them + 14*{2.0**-126:.4g}" in found.formula
    assert found.source == "budgets.md 2; Jeannerod and Rump 2013; budgets.md 5; budgets.md 6; budgets.md 8"


@pytest.mark.parametrize("out", ["f16", "e4m3fn", "i32", "bf16"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_overflow_is_possible_exactly_where_weight_and_error_reach_the_end(out: str, sign: float) -> None:
    """None below the largest value of the output, the error from there on, infinite where the sum itself overflows."""
    fmt = Format.of(out)
    accumulator = Accumulator.of("i32" if out == "i32" else "f32")
    for share in (0.25, 0.99, 1.0, 1.01, 3.0):
        size = fmt.max * share
        a, b = np.array([[size / 4]]), np.array([[sign * 4.0]])
        case = Product(a, b, "f32" if out != "i32" else "i32", out, Contract(accumulator=accumulator))
        truth = case.truth()
        found = case.budget(truth).overflow_slack
        error, _, weight = before_output(case, truth)
        if weight + error >= accumulator.max:
            assert found is not None
            assert isinf(found[0, 0])
        elif weight + error < fmt.max:
            assert found is None, share
        else:
            assert found is not None, share
            assert found[0, 0] == pytest.approx(error, rel=NEAR, abs=0)


def test_a_sum_that_may_overflow_before_it_is_scaled_down_is_excused() -> None:
    """65504 is reached by |A||B| + B though alpha makes the result small; by an addend though the product is small."""
    contract = Contract(accumulator="f16")
    a, b = np.array([[300.0, 250.0]]), np.array([[200.0], [-200.0]])
    for case, excused in (
        (Product(a, b, "f16", "f16", contract, alpha=1 / 1024), True),
        (Product(a / 8, b, "f16", "f16", contract, alpha=1 / 1024), False),
        (Product(a / 8, b, "f16", "f16", contract, beta=1.0, c=60000.0), True),
    ):
        slack = case.budget(case.truth()).overflow_slack
        assert (slack is not None and isinf(slack[0, 0])) is excused
    unlimited = replace(case, contract=Contract(accumulator="exact"), out="f32")
    assert unlimited.budget(unlimited.truth()).overflow_slack is None


def test_an_infinite_truth_always_has_a_window() -> None:
    case = Product(np.array([[1.0]]), np.array([[1.0]]), "f32", "f32", Contract(accumulator="f32"))
    truth = case.truth()
    assert case.budget(truth).overflow_slack is None
    endless = replace(truth, hi=np.array([[inf]]))
    slack = case.budget(endless).overflow_slack
    assert slack is not None
    assert np.isfinite(slack).all()


def test_long_sums_have_no_statistics_from_an_eighth_on() -> None:
    for k, stagnates in ((255, False), (256, True)):
        rng = np.random.default_rng(3)
        a, b = (Format.of("f16").round(rng.random(shape)) for shape in ((1, k), (k, 1)))
        found = Product(a, b, "f16", "f16", Contract(accumulator="f16"))
        assert ("stagnate" in found.budget(found.truth()).unstatistical) is stagnates


def test_round_up_covers_forty_operations() -> None:
    assert 1 + 44 * 2.0**-53 < ROUND_UP < 1 + 2.0**-45


# The output alone ------------------------------------------------------------------------------------------------


def given(x: Array) -> Truth:
    return Truth(x, 0 * x, 0 * x, np.abs(x), "given")


@pytest.mark.parametrize(("out", "end"), [("f16", 65504.0), ("e4m3fn", 448.0), ("i8", 127.0), ("u8", 255.0)])
def test_the_window_opens_at_the_nearer_end_of_the_output(out: str, end: float) -> None:
    """Of i8, 127 and not 128; an unsigned format has no lower end that a magnitude could reach."""
    exact, fmt, x = Accumulator.of("exact"), Format.of(out), given(np.ones(2))
    slack = np.array([0.0, 0.5])
    for largest, opens in ((end - 0.51, False), (end - 0.5, True), (end, True)):
        found = overflow_window(np.array([0.0, largest]), slack, None, exact, fmt, x)
        assert (found is not None) is opens, largest
        if found is not None:
            assert found.tolist() == slack.tolist()


def test_a_sum_overflows_from_the_accumulators_largest_value_on() -> None:
    half, wide, x = Accumulator.of("f16"), Format.of("f32"), given(np.ones(3))
    top = half.max
    assert overflow_window(np.array([0.0, top - 1, 1.0]), np.array(0.5), None, half, wide, x) is None
    for reach in (top, top + 1):
        found = overflow_window(np.array([1.0, reach - 0.5, top - 1]), np.array(0.5), None, half, wide, x)
        assert found is not None
        assert found.tolist() == [0.5, inf, 0.5]


def test_lost_operands_open_the_window_of_their_elements_alone() -> None:
    f32, x, slack = Accumulator.of("f32"), given(np.ones(3)), np.array([0.5, 0.25, 0.125])
    for lost, want in (([False, True, False], [0.5, inf, 0.125]), ([True] * 3, [inf] * 3)):
        found = overflow_window(np.ones(3), slack, np.array(lost), f32, Format.of("f32"), x)
        assert found is not None
        assert found.tolist() == want
    assert overflow_window(np.ones(3), slack, np.zeros(3, bool), f32, Format.of("f32"), x) is None
    assert slack.tolist() == [0.5, 0.25, 0.125]


def test_an_output_within_the_safety_factor_of_a_power_of_two_has_the_larger_step() -> None:
    contract, exact, fmt = Contract(accumulator="exact"), Accumulator.of("exact"), Format.of("f16")
    for x, step in ((2 * (1 - 2.0**-44), 2.0**-10), (2 * (1 - 2.0**-47), 2.0**-9), (2.0, 2.0**-9)):
        for value in (x, -x):
            truth = given(np.array([value]))
            terms = Terms(np.zeros(1), truth.weight, None)
            allowed, _, _ = round_output(terms, terms.error, contract, exact, fmt, truth)
            assert allowed[0] == step / 2 * ROUND_UP


def test_an_integer_output_that_is_not_exact_is_rounded_everywhere() -> None:
    model, truth = Accumulator.of("i32"), given(np.array([5.0, 7.0]))
    for error, allowed in (([0.0, 0.0], [0.0, 0.0]), ([0.0, 0.25], [0.5, 0.75])):
        terms = Terms(np.array(error), truth.weight, None)
        found, _, _ = round_output(terms, terms.error, Contract(accumulator="i32"), model, Format.of("i32"), truth)
        assert found.tolist() == pytest.approx(allowed, rel=NEAR, abs=0)
