"""GEMM budgets: honest kernels of every contract stay within, kernels that break the contract do not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, round_output
from lastbit.budget_terms import Terms
from lastbit.contract import Contract
from lastbit.errors import KernelError
from lastbit.gemm_budget import BudgetError, budget
from lastbit.input_rounding import INPUT_ROUNDINGS
from lastbit.judge import judge
from lastbit.references import gemm
from lastbit.references.accumulator_table import ENGINES
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.verdict import Outcome, Verdict

Array = NDArray[np.float64]
STEPS = settings(max_examples=25, deadline=None, derandomize=True)

F32 = Accumulator.of("f32")
CHAINS = [
    replace(F32, name="sequential", order="sequential"),
    replace(F32, name="pairwise", order="pairwise"),
    replace(F32, name="lanes", order="lanes", width=4),
    replace(F32, name="split", order="split", width=3),
    replace(F32, name="multiply, add", order="sequential", fma=False),
]
#: (promised accumulator, the one that computes, operands' format): a promise of f32 is kept in any order.
PROMISES = [
    *((F32, chain, fmt) for chain in CHAINS for fmt in ("f32", "bf16", "f16", "e4m3fn")),
    *((Accumulator.of(fmt), replace(Accumulator.of(fmt), order="sequential"), fmt) for fmt in ("f16", "bf16")),
    (Accumulator.of("f16"), replace(Accumulator.of("f16"), order="pairwise"), "e5m2"),
    *((Accumulator.of(*pair),) * 2 + (pair[1].replace("tf32", "f32"),) for pair in ENGINES),
]
OUTPUTS = ("f32", "bf16", "f16", "e4m3fn", "e5m2")


@dataclass(frozen=True)
class Exact:
    """An operand: exact values only."""

    values: Array


@dataclass(frozen=True)
class Data:
    """Operands of one case, in a format, and what is known of them."""

    fmt: str
    a: Array
    b: Array

    @classmethod
    def draw(cls, fmt: str, sizes: tuple[int, int, int], seed: int, kind: str) -> "Data":
        rng = np.random.default_rng(seed)
        m, k, n = sizes
        make: dict[str, Callable[[tuple[int, int]], Array]] = {
            "normal": rng.standard_normal,
            "same sign": rng.random,
            "spread": lambda shape: rng.standard_normal(shape) * 2.0 ** rng.integers(-12, 6, shape),
            "small": lambda shape: rng.standard_normal(shape) * Format.of(fmt).min_normal,
            "integers": lambda shape: rng.integers(-3, 4, shape).astype(float),
        }
        wanted = Format.of(fmt)
        return cls(fmt, wanted.round(make[kind]((m, k))), wanted.round(make[kind]((k, n))))

    def truth(self, **rest: object) -> Truth:
        return gemm.truth(self.a, self.b, **rest)  # type: ignore[arg-type]

    def budget(self, contract: Contract, out: str, truth: Truth | None = None, **rest: object) -> Budget:
        scalars = {name: rest.pop(name) for name in ("alpha", "beta") if name in rest}
        operands = {"a": Exact(self.a), "b": Exact(self.b)} | {name: Exact(v) for name, v in rest.items()}  # type: ignore[arg-type]
        formats = {"a": self.fmt, "b": self.fmt, "out": out}
        return budget(contract, formats, operands, truth or self.truth(), **scalars)  # type: ignore[arg-type]

    def judge(self, y: Array, out: str, contract: Contract, **rest: object) -> Verdict:
        """The verdict on the float64 result `y`, rounded to `out` as the contract says."""
        fmt, truth = Format.of(out), self.truth(**rest)
        codes = fmt.encode(y, rounding=contract.output_rounding, overflow=contract.overflow)
        return judge(codes, fmt, truth, self.budget(contract, out, truth, **rest), contract)


SIZES = st.tuples(st.integers(1, 4), st.sampled_from([0, 1, 2, 3, 17, 40, 130]), st.integers(1, 4))
KINDS = st.sampled_from(["normal", "same sign", "spread", "small", "integers"])


@pytest.mark.parametrize(("promised", "used", "fmt"), PROMISES, ids=lambda x: x if isinstance(x, str) else x.name)
@STEPS
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1), kind=KINDS, out=st.sampled_from(OUTPUTS))
def test_budget_holds_for_every_accumulator_and_output(
    promised: Accumulator, used: Accumulator, fmt: str, sizes: tuple[int, int, int], seed: int, kind: str, out: str
) -> None:
    data = Data.draw(fmt, sizes, seed, kind)
    verdict = data.judge(used.matmul(data.a, data.b), out, Contract(accumulator=promised))
    assert verdict.outcome is Outcome.PASS, verdict.reason


@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away", "toward-zero", "up", "down"])
@STEPS
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1), kind=KINDS, out=st.sampled_from(OUTPUTS))
def test_budget_holds_for_every_output_rounding(
    rounding: str, sizes: tuple[int, int, int], seed: int, kind: str, out: str
) -> None:
    data, contract = Data.draw("f16", sizes, seed, kind), Contract(accumulator=F32, output_rounding=rounding)
    verdict = data.judge(CHAINS[0].matmul(data.a, data.b), out, contract)
    assert verdict.outcome is Outcome.PASS, verdict.reason


SCALARS = st.sampled_from([1.0, 0.5, -1.0, 0.1, 3.0, -2.7, 0.0])


@pytest.mark.parametrize("accumulator", [F32, Accumulator.of("a100", "f16"), Accumulator.of("h100", "e4m3fn")],
                         ids=lambda model: model.name)  # fmt: skip
@pytest.mark.parametrize("start", [False, True], ids=["added last", "starts the sum"])
@STEPS
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1), kind=KINDS, alpha=SCALARS, beta=SCALARS, bias=st.booleans())
def test_budget_holds_for_scalars_and_addends(
    accumulator: Accumulator,
    start: bool,
    sizes: tuple[int, int, int],
    seed: int,
    kind: str,
    alpha: float,
    beta: float,
    bias: bool,
) -> None:
    """An epilogue in f32, each operation rounded, the scalars too; or c as the first term, which needs alpha = 1."""
    fmt = "e4m3fn" if "e4m3fn" in accumulator.name else "f16"
    data = Data.draw(fmt, sizes, seed, kind)
    rng = np.random.default_rng(seed)
    c = Format.of("f32").round(rng.standard_normal((sizes[0], sizes[2])))
    row = Format.of("f32").round(rng.standard_normal(sizes[2]))
    used = replace(accumulator, order="sequential")

    def f32(x: Array) -> Array:
        return np.asarray(x).astype(np.float32).astype(np.float64)

    alpha = 1.0 if start else alpha
    scaled = f32(f32(np.array(beta)) * c) if beta != 1 else c
    y = used.matmul(data.a, data.b, scaled) if start else f32(f32(np.array(alpha)) * used.matmul(data.a, data.b))
    y = y if start or beta == 0 else f32(y + scaled)
    y = f32(y + row) if bias else y
    rest = {"alpha": alpha, "beta": beta, "c": c} | ({"bias": row} if bias else {})
    verdict = data.judge(y, "f32", Contract(accumulator=accumulator), **rest)
    assert verdict.outcome is Outcome.PASS, verdict.reason


@STEPS
@example(sizes=(3, 0, 2), seed=0, alpha=1.0, beta=0.1)
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1), alpha=SCALARS, beta=SCALARS)
def test_epilogue_in_f32_of_an_f16_sum_is_rounded_again(
    sizes: tuple[int, int, int], seed: int, alpha: float, beta: float
) -> None:
    """The sum fits the output as it is, but not what scalars and addends make of it."""
    accumulator = Accumulator.of("h100", "f16", carried="f16")
    data = Data.draw("f16", sizes, seed, "normal")
    c = Format.of("f16").round(np.random.default_rng(seed).standard_normal((sizes[0], sizes[2])))
    scaled = [
        np.float32(factor) * x.astype(np.float32)
        for factor, x in ((alpha, accumulator.matmul(data.a, data.b)), (beta, c))
    ]
    y = (scaled[0] + scaled[1]).astype(np.float64)
    verdict = data.judge(y, "f16", Contract(accumulator=accumulator), alpha=alpha, beta=beta, c=c)
    assert verdict.outcome is Outcome.PASS, verdict.reason


@pytest.mark.parametrize("engine", [("f32",), ("a100", "tf32"), ("b200", "bf16")], ids="-".join)
def test_scaled_result_that_is_subnormal_is_rounded_by_half_an_eta(engine: tuple[str, ...]) -> None:
    """Half of three eta is a tie: both neighbours are right, farther from it than u, and the next ones are wrong."""
    eta, contract = 2.0**-149, Contract(accumulator=Accumulator.of(*engine))
    data = Data("f32" if engine[-1] == "tf32" else "bf16", np.array([[3 * 2.0**-74]]), np.full((1, 4), 2.0**-75))
    verdicts = [data.judge(np.full((1, 4), n * eta), "f32", contract, alpha=0.5).outcome for n in range(4)]
    wrong = Outcome.OVER_BUDGET
    assert verdicts == [wrong, Outcome.PASS, Outcome.PASS, wrong]


def test_scalar_that_f32_does_not_hold_costs_a_second_rounding() -> None:
    """f32 holds alpha to 0.98 u, and results up to 1.5 lose up to 0.66 u more in the same direction: over one rounding,
    within two. A result one ulp further is over two."""
    data = Data("f16", np.ones((1, 1)), (1 + np.arange(512) / 1024)[None])
    alpha = 1 + 1.49 * 2.0**-23
    y = (np.float32(alpha) * data.b.astype(np.float32)).astype(np.float64)
    contract = Contract(accumulator=F32)
    verdict = data.judge(y, "f32", contract, alpha=alpha)
    assert verdict.outcome is Outcome.PASS
    assert verdict.measured is not None
    assert verdict.measured > 0.75
    assert data.judge(y - 2.0**-23, "f32", contract, alpha=alpha).outcome is Outcome.OVER_BUDGET


def split(x: Array, words: int) -> list[Array]:
    """`x` as a sum of `words` bf16 numbers, each the rounding of what is left."""
    parts = []
    for _ in range(words):
        parts.append(Format.of("bf16").round(x))
        x = x - parts[-1]
    return parts


def multiplied(rounding: str, a: Array, b: Array, used: Accumulator) -> Array:
    """A B as a kernel with rounded or split operands computes it: all products into one sum, the small ones first."""
    if rounding in ("f32", "bf16", "f16"):
        fmt = Format.of(rounding)
        return used.matmul(fmt.round(a), fmt.round(b))
    if rounding == "tf32":
        fmt = Format.of("tf32")
        return used.matmul(fmt.round(a, rounding="toward-zero"), fmt.round(b, rounding="toward-zero"))
    words = 3 if rounding == "bf16x6" else 2
    rows, columns = split(a, words), split(b, words)
    total = np.zeros((a.shape[0], b.shape[1]))
    for order in range(words - 1, -1, -1):
        for i in range(order + 1):
            total = used.matmul(rows[i], columns[order - i], total)
    return total


@pytest.mark.parametrize("rounding", sorted(INPUT_ROUNDINGS))
@STEPS
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["normal", "same sign", "spread", "small"]))
def test_budget_holds_for_rounded_and_split_operands(
    rounding: str, sizes: tuple[int, int, int], seed: int, kind: str
) -> None:
    data = Data.draw("f32", sizes, seed, kind)
    y = multiplied(rounding, data.a, data.b, CHAINS[0])
    verdict = data.judge(y, "f32", Contract(accumulator=F32, input_rounding=rounding))
    assert verdict.outcome is Outcome.PASS, verdict.reason


F32_NUMBERS = st.floats(2.0**-30, 2.0**30, width=32)
#: Words that are as large as they can be, of one sign: 2^-8 and 2^-17 (nearly) of the number.
WORST = 1 + 2.0**-8 - 2.0**-15 + 2.0**-17 - 2.0**-23


@pytest.mark.parametrize(("rounding", "words"), [("bf16x3", 2), ("bf16x6", 3)])
@settings(max_examples=300, deadline=None, derandomize=True)
@given(x=F32_NUMBERS, y=F32_NUMBERS)
@example(x=WORST, y=WORST)
def test_dropped_products_of_words_are_bounded(rounding: str, words: int, x: float, y: float) -> None:
    """In rational arithmetic, without any sum's rounding; and nearly attained."""
    parts = [[Fraction(float(word)) for word in split(np.array(value), words)] for value in (x, y)]
    kept = sum(parts[0][i] * parts[1][j] for i in range(words) for j in range(words - i))
    exact = Fraction(x) * Fraction(y)
    bound = Fraction(INPUT_ROUNDINGS[rounding].product_error) * exact
    assert abs(kept - exact) <= bound
    if x == y == WORST:
        assert abs(kept - exact) > bound * Fraction(95, 100)


#: What a stricter contract must refuse: a kernel that rounds its operands to the format before it.
STRICTER = [
    (None, "tf32"),
    (None, "bf16x3"),
    ("bf16x6", "bf16x3"),
    ("bf16x3", "tf32"),
    ("bf16x3", "bf16"),
    ("tf32", "bf16"),
]


@pytest.mark.parametrize(("promised", "used"), STRICTER)
def test_budget_refuses_coarser_operands_than_promised(promised: str | None, used: str) -> None:
    """On same-sign data of few terms, where no error can hide behind cancellation or the sum's own."""
    data = Data.draw("f32", (24, 4, 24), 1, "same sign")
    y = multiplied(used, data.a, data.b, CHAINS[0])
    assert data.judge(y, "f32", Contract(accumulator=F32, input_rounding=promised)).outcome is Outcome.OVER_BUDGET


@pytest.mark.parametrize(("promised", "used", "out"), [
    ("f32", Accumulator.of("f16"), "f16"), ("f32", Accumulator.of("bf16"), "f32"),
    ("f32", Accumulator.of("h100", "e4m3fn"), "bf16"), ("f32", Accumulator.of("v100", "f16"), "f32"),
    ("f64", F32, "f64"), ("exact", F32, "f32"),
])  # fmt: skip
def test_budget_refuses_a_narrower_accumulator_than_promised(promised: str, used: Accumulator, out: str) -> None:
    fmt = "e4m3fn" if "e4m3fn" in used.name else "f16"
    data = Data.draw(fmt, (16, 256, 16), 2, "same sign")
    if used.name == "v100/f16":  # a term of 1, and many just short of the last bit that V100 keeps beside it
        data = Data("f32", np.ones((2, 1024)), np.full((1024, 2), 2.0**-24 * (2 - 2.0**-10)))
        data.b[0] = 1.0
    y = replace(used, order="sequential").matmul(data.a, data.b)
    assert data.judge(y, out, Contract(accumulator=promised)).outcome is Outcome.OVER_BUDGET


@pytest.mark.parametrize("out", ["bf16", "f16", "e4m3fn"])
def test_budget_refuses_truncated_output(out: str) -> None:
    data, fmt = Data.draw("bf16", (16, 64, 16), 3, "same sign"), Format.of(out)
    contract = Contract(accumulator=F32)
    truth = data.truth()
    allowed = data.budget(contract, out, truth)
    cut = fmt.encode(CHAINS[0].matmul(data.a, data.b), rounding="toward-zero")
    assert judge(cut, fmt, truth, allowed, contract).outcome is Outcome.OVER_BUDGET


@pytest.mark.parametrize("out", ["f32", "bf16", "f16"])
def test_budget_refuses_a_dropped_last_term(out: str) -> None:
    data = Data.draw("bf16", (16, 64, 16), 4, "normal")
    y = CHAINS[0].matmul(data.a[:, :-1], data.b[:-1])
    assert data.judge(y, out, Contract(accumulator=F32)).outcome is Outcome.OVER_BUDGET


# Underflow and overflow ------------------------------------------------------------------------------------------


@STEPS
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([-14, -9, -7, 0]), zero=st.booleans())
def test_budget_holds_for_flushing_kernels(sizes: tuple[int, int, int], seed: int, scale: int, zero: bool) -> None:
    """Subnormal operands (2^-14 and below) and results flushed, by the accumulator or around it."""
    fmt = Format.of("f16")
    data = Data.draw("f16", sizes, seed, "normal")
    data = Data("f16", fmt.round(data.a * 2.0**scale), fmt.round(data.b * 2.0**scale))
    contract = Contract(accumulator=F32, subnormals="flush")

    def flushed(x: Array) -> Array:
        return np.where(np.abs(x) < fmt.min_normal, 0.0, x)

    used = replace(F32, flush=True, order="sequential")
    y = fmt.round(used.matmul(flushed(data.a), flushed(data.b)))
    verdict = data.judge(flushed(y) if zero else y, "f16", contract)
    assert verdict.outcome is Outcome.PASS, verdict.reason


@STEPS
@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1))
def test_budget_holds_for_flushed_products_and_partial_sums(sizes: tuple[int, int, int], seed: int) -> None:
    """Normal f32 operands whose products are around the smallest normal f32, where everything else is exact zero."""
    rng = np.random.default_rng(seed)
    m, k, n = sizes
    f32 = Format.of("f32")
    data = Data("f32", *(f32.round(rng.standard_normal(shape) * 2.0**-63) for shape in ((m, k), (k, n))))
    y = replace(F32, flush=True, order="sequential").matmul(data.a, data.b)
    verdict = data.judge(y, "f32", Contract(accumulator=F32, subnormals="flush"))
    assert verdict.outcome is Outcome.PASS, verdict.reason


def test_flushed_addend_is_allowed_in_its_own_format() -> None:
    """A subnormal f16 number is a normal f32 one, and lost nevertheless where f16 operands are flushed."""
    zeros, c = np.zeros((2, 2)), np.full((2, 2), 2.0**-15)
    truth = gemm.truth(zeros, zeros, c=c, beta=0.5)
    operands = {"a": Exact(zeros), "b": Exact(zeros), "c": Exact(c)}
    formats = {"a": "f16", "b": "f16", "c": "f16", "out": "f32"}
    for subnormals, outcome in (("flush", Outcome.PASS), ("keep", Outcome.OVER_BUDGET)):
        contract = Contract(accumulator=F32, subnormals=subnormals)
        allowed = budget(contract, formats, operands, truth, beta=0.5)
        assert judge(np.zeros((2, 2), np.uint32), Format.of("f32"), truth, allowed, contract).outcome is outcome


@pytest.mark.parametrize("rounding", ["f16", "bf16", "tf32", "bf16x3"])
def test_operands_below_the_range_they_are_rounded_to_lose_an_absolute_part(rounding: str) -> None:
    """Numbers of a few steps of the target format's smallest, against numbers near 1."""
    rng = np.random.default_rng(11)
    f32, eta = Format.of("f32"), Format.of(INPUT_ROUNDINGS[rounding].format).eta
    data = Data("f32", f32.round(rng.uniform(1, 9, (30, 3)) * eta), f32.round(rng.uniform(1, 2, (3, 30))))
    contract = Contract(accumulator=F32, input_rounding=rounding)
    verdict = data.judge(multiplied(rounding, data.a, data.b, CHAINS[0]), "f32", contract)
    assert verdict.outcome is Outcome.PASS, verdict.reason
    assert verdict.measured is not None
    assert verdict.measured > 0.1
    assert data.judge(np.zeros((30, 30)), "f32", contract).outcome is Outcome.OVER_BUDGET


def test_operands_that_overflow_when_rounded_excuse_their_rows_and_columns() -> None:
    data = Data("f32", np.array([[1e6, 1.0], [1.0, 1.0]]), np.ones((2, 2)))
    with np.errstate(over="ignore"):
        y = multiplied("f16", data.a, data.b, CHAINS[0])
    assert np.isinf(y[0]).all()
    assert data.judge(y, "f32", Contract(accumulator=F32, input_rounding="f16")).outcome is Outcome.PASS
    assert data.judge(y, "f32", Contract(accumulator=F32)).outcome is Outcome.WRONG_CLASS
    y[1, 1] = np.inf
    assert data.judge(y, "f32", Contract(accumulator=F32, input_rounding="f16")).where == "(1, 1)"


def test_flushed_operands_are_refused_where_subnormals_are_kept() -> None:
    data = Data("f16", np.full((2, 64), 2.0**-16), np.full((64, 2), 1.0))
    assert data.judge(np.zeros((2, 2)), "f16", Contract(accumulator=F32)).outcome is Outcome.OVER_BUDGET
    assert data.judge(np.zeros((2, 2)), "f16", Contract(accumulator=F32, subnormals="flush")).outcome is Outcome.PASS


def test_flushing_excuses_no_normal_result() -> None:
    data = Data("f16", np.full((2, 64), 2.0**-13), np.full((64, 2), 1.0))
    verdict = data.judge(np.zeros((2, 2)), "f16", Contract(accumulator=F32, subnormals="flush"))
    assert verdict.outcome is Outcome.OVER_BUDGET


@pytest.mark.parametrize(("out", "overflow", "right", "wrong"), [
    ("f16", None, np.inf, 65504.0), ("f16", "saturate", 65504.0, np.inf), ("e4m3fn", None, np.nan, 448.0),
    ("e4m3fn", "saturate", 448.0, np.nan), ("e5m2", "inf", np.inf, np.nan), ("e2m1fn", None, 6.0, 4.0),
])  # fmt: skip
def test_overflowing_output_follows_the_policy(out: str, overflow: str | None, right: float, wrong: float) -> None:
    data, fmt = Data("f16", np.full((1, 16), 256.0), np.full((16, 1), 256.0)), Format.of(out)
    contract = Contract(accumulator=F32, overflow=overflow)
    truth = data.truth()
    allowed = data.budget(contract, out, truth)
    assert judge(fmt.encode([[right]]), fmt, truth, allowed, contract).outcome is Outcome.PASS
    assert judge(fmt.encode([[wrong]]), fmt, truth, allowed, contract).outcome.failed


@pytest.mark.parametrize("name", ["f16", "e4m3fn", "e5m2", "bf16"])
def test_results_at_the_overflow_threshold_are_right_however_the_sum_was_rounded(name: str) -> None:
    """Exact sums around max + half an ulp, summed in f32 in both directions of k."""
    fmt = Format.of(name)
    step = float(fmt.ulp(fmt.max))
    contract = Contract(accumulator=F32)
    for shift in (-0.5, 0.25, 0.49, 0.5, 0.51, 0.75):
        terms = np.array([[fmt.max, shift * step, step * 2.0**-20, -step * 2.0**-19, step * 2.0**-30]])
        data = Data("f32", Format.of("f32").round(terms), np.ones((5, 1)))
        for order in (slice(None), slice(None, None, -1)):
            y = CHAINS[0].matmul(data.a[:, order], data.b)
            verdict = data.judge(y, name, contract)
            assert verdict.outcome is Outcome.PASS, (shift, verdict.reason)


def test_overflow_of_an_f16_sum_on_its_way_is_excused_and_of_an_f32_sum_is_not() -> None:
    data = Data("f16", np.array([[200.0, 200.0, 200.0, 1.0]]), np.array([[200.0], [200.0], [-400.0], [1.0]]))
    lost = np.array([[np.inf]])
    assert data.judge(lost, "f16", Contract(accumulator="f16")).outcome is Outcome.PASS
    assert data.judge(lost, "f16", Contract(accumulator="f32")).outcome is Outcome.WRONG_CLASS
    assert data.judge(np.array([[900.0]]), "f32", Contract(accumulator="f32")).outcome is Outcome.OVER_BUDGET


@pytest.mark.parametrize("contract", [
    Contract(accumulator=F32), Contract(accumulator=F32, input_rounding="tf32"),
    Contract(accumulator=F32, subnormals="flush"), Contract(accumulator=Accumulator.of("a100", "tf32")),
], ids=Contract.text)  # fmt: skip
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_nan_and_infinite_operands_leave_the_other_elements_their_budget(contract: Contract, alpha: float) -> None:
    data = Data.draw("f32", (4, 8, 4), 5, "normal")
    clean = data.budget(contract, "f32", data.truth(alpha=alpha), alpha=alpha).allowed
    data.a[0, 3], data.b[2, 1] = np.nan, np.inf
    truth = data.truth(alpha=alpha)
    found = data.budget(contract, "f32", truth, alpha=alpha)
    assert np.isfinite(found.allowed).all()
    assert np.allclose(found.allowed[1:, [0, 2, 3]], clean[1:, [0, 2, 3]], rtol=1e-9)
    with np.errstate(invalid="ignore"):
        y = Format.of("f32").encode(alpha * (data.a @ data.b))
    assert judge(y, Format.of("f32"), truth, found, contract).outcome is Outcome.PASS


# Integers, formulas, errors --------------------------------------------------------------------------------------


def test_integer_products_have_no_budget_at_all() -> None:
    data = Data("i8", *(np.random.default_rng(6).integers(-128, 128, shape) * 1.0 for shape in ((9, 100), (100, 7))))
    contract = Contract(accumulator="i32")
    allowed = data.budget(contract, "i32")
    assert not allowed.allowed.any()
    y = data.a @ data.b
    assert data.judge(y, "i32", contract).outcome is Outcome.PASS
    y[3, 3] += 1
    assert data.judge(y, "i32", contract).where == "(3, 3)"


def test_integer_sum_converted_to_f32_may_be_rounded_once() -> None:
    data = Data("i8", np.full((1, 2000), 127.0), np.full((2000, 1), 127.0))
    data.a[0, 0] = 126.0
    y = np.float64(np.float32(float((data.a @ data.b)[0, 0])))
    contract = Contract(accumulator="i32")
    assert data.judge(np.array([[y]]), "f32", contract).outcome is Outcome.PASS
    assert data.judge(np.array([[y + 8]]), "f32", contract).outcome is Outcome.OVER_BUDGET


@STEPS
@given(
    exponent=st.integers(-12, 9),
    below=st.floats(0, 2),
    before=st.floats(0, 3),
    name=st.sampled_from(["f16", "bf16", "e4m3fn", "e5m2"]),
)
def test_output_rounding_is_bounded_sharply(exponent: int, below: float, before: float, name: str) -> None:
    """Results just below a power of two, where an error can lift the value into the next binade.

    The bound is not under the error of any value that close, nor over the largest of them by more than 2^-45.
    """
    unit = 2.0**exponent * Format.of(name).u
    x, before = 2.0**exponent - below * unit, before * unit
    fmt = Format.of(name)
    truth = Truth(np.array([x]), np.zeros(1), np.zeros(1), np.array([x]), "given")
    terms = Terms(np.array([before]), truth.weight, None)
    allowed, _, _ = round_output(terms, terms.error, Contract(accumulator="exact"), Accumulator.of("exact"), fmt, truth)
    values = [x - before, x + before, *np.linspace(x - before, x + before, 50)]
    values = [value for value in values if abs(value) < fmt.max]
    errors = [abs(Fraction(fmt.round_rational(Fraction(v), overflow="saturate")) - Fraction(x)) for v in values]
    assert all(error <= Fraction(float(allowed[0])) for error in errors)
    assert allowed[0] <= (before + float(fmt.ulp(np.array([x + before]) * ROUND_UP)[0]) / 2) * ROUND_UP**2


def test_radius_of_the_truth_is_allowed() -> None:
    data, contract = Data.draw("f32", (3, 5, 3), 7, "normal"), Contract(accumulator=F32)
    truth = data.truth()
    wide = replace(truth, radius=truth.radius + 1e-3)
    difference = data.budget(contract, "f32", wide).allowed - data.budget(contract, "f32", truth).allowed
    assert np.allclose(difference, 1e-3, rtol=1e-9)
    assert "radius of the truth" in data.budget(contract, "f32", wide).formula


def test_formula_names_every_active_term_and_its_source() -> None:
    data = Data.draw("f32", (3, 5, 3), 8, "normal")
    contract = Contract(accumulator=F32, input_rounding="tf32", subnormals="flush", output_rounding="toward-zero")
    c, bias = np.ones((3, 3)), np.ones(3)
    truth = data.truth(alpha=0.5, beta=2.0, c=c, bias=bias)
    found = data.budget(contract, "bf16", truth, alpha=0.5, beta=2.0, c=c, bias=bias)
    for part in (
        "5 terms in f32",
        "operands in tf32",
        "alpha",
        "beta",
        "2 addends",
        "flushed",
        "one ulp of bf16 at |s|+error (toward-zero)",
    ):
        assert part in found.formula
    assert "budgets.md 2" in found.source
    assert "budgets.md 4" in found.source
    assert found.sigma is None
    assert found.unstatistical


def test_unknown_input_rounding_is_refused_with_the_known_ones() -> None:
    data = Data.draw("f32", (1, 1, 1), 9, "normal")
    with pytest.raises(KernelError, match="input_rounding is 'fp7', expected one of None, 'tf32'"):
        Contract(accumulator=F32, input_rounding="fp7")
    with pytest.raises(BudgetError, match="resolved"):
        data.budget(Contract(), "f32")


def test_batches_have_the_budgets_of_their_matrices() -> None:
    rng = np.random.default_rng(10)
    a, b = rng.standard_normal((3, 1, 4, 9)), rng.standard_normal((2, 9, 5))
    for out, contract in (
        ("bf16", Contract(accumulator=F32)),
        ("f32", Contract(accumulator="f32", input_rounding="tf32")),
    ):
        whole = Data("f32", a, b).budget(contract, out)
        assert whole.allowed.shape == (3, 2, 4, 5)
        one = Data("f32", a[1, 0], b[1]).budget(contract, out)
        assert np.allclose(whole.allowed[1, 1], one.allowed, rtol=1e-9)
