"""The judge: class rules by an exhaustive table, errors by rational arithmetic, planted faults at every place."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lastbit import metrics
from lastbit.acceptance import OVER, RIGHT, WRONG_CLASS, classify
from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.errors import UsageError
from lastbit.judge import judge, judge_exact
from lastbit.metrics import PIECE, measure
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.verdict import Outcome

Array = NDArray[np.float64]
STEPS = settings(max_examples=60, deadline=None, derandomize=True)
PLAIN = Contract(accumulator="f32")


def truth_of(hi: object, lo: object = 0.0) -> Truth:
    exact = np.asarray(hi, np.float64)
    zero = np.zeros(exact.shape)
    return Truth(exact, zero + lo, zero, np.abs(np.where(np.isfinite(exact), exact, 0.0)), "given")


def budget_of(allowed: object, **fields: object) -> Budget:
    return Budget(np.asarray(allowed, np.float64), "a test's", "a test", **fields)  # type: ignore[arg-type]


# Class rules -----------------------------------------------------------------------------------------------------


def rule(x: float, y: float, fmt: Format, contract: Contract, slack: float, allowed: float) -> int:
    """The rules of acceptance.classify, written again, one element at a time and without NumPy."""
    if x != x:
        return RIGHT if y != y or not fmt.has_nan else WRONG_CLASS
    policy = contract.overflow or ("inf" if fmt.has_inf else "nan" if fmt.has_nan else "saturate")
    sign = -1 if x < 0 else 1
    value = {"inf": sign * inf, "nan": nan, "saturate": sign * fmt.max}[policy]
    is_value = y == value or (y != y and value != value)
    if abs(x) == inf:
        return RIGHT if is_value or (policy == "saturate" and y == x) else WRONG_CLASS
    threshold = fmt.max + (fmt.max - float(fmt.decode(np.array([fmt.max_code - 1], fmt.code_dtype))[0])) / 2
    if abs(x) - slack > threshold:
        return RIGHT if is_value else WRONG_CLASS
    if abs(x) + slack >= threshold and is_value:
        return RIGHT
    if not isfinite(y):
        return WRONG_CLASS
    return RIGHT if abs(Fraction(y) - Fraction(x)) <= Fraction(allowed) else OVER


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "e4m3fn", "e5m2", "e4m3fnuz", "e2m1fn", "e3m2fn"])
def test_class_rules_hold_for_every_kind_of_truth_result_and_policy(name: str) -> None:
    fmt = Format.of(name)
    top = fmt.max
    step = top - float(fmt.decode(np.array([fmt.max_code - 1], fmt.code_dtype))[0])
    edges = (0.0, 1.0, top - step, top, top + step / 4, top + step / 2, top + 0.75 * step, top + 2 * step, 4 * top)
    truths = [sign * x for x in (*edges, inf) for sign in (1.0, -1.0)] + [nan]
    results = [sign * y for y in (0.0, 1.0, top - step, top) for sign in (1.0, -1.0)]
    results += [nan] if fmt.has_nan else []
    results += [inf, -inf] if fmt.has_inf else []
    policies = [None, "saturate", *(["inf"] if fmt.has_inf else []), *(["nan"] if fmt.has_nan else [])]
    for policy, slack in product(policies, (0.0, step / 8, step)):
        contract = replace(PLAIN, overflow=policy)
        allowed = slack + step / 2
        x, y = (np.array(column) for column in zip(*product(truths, results), strict=True))
        got = classify(y, x, np.zeros(x.shape), np.full(x.shape, allowed), np.full(x.shape, slack), 0.0, fmt, contract)
        want = [rule(a, b, fmt, contract, slack, allowed) for a, b in zip(x, y, strict=True)]
        assert got.tolist() == want, [(a, b, g, w) for a, b, g, w in zip(x, y, got, want, strict=True) if g != w][:5]


def test_judge_agrees_with_the_rules_on_every_pair() -> None:
    """The fast pass finds every element that the rules refuse, and none other."""
    fmt, contract = Format.of("e5m2"), replace(PLAIN, overflow="inf")
    truths = [0.0, 1.0, -3.5, 57344.0, 61440.0, 65536.0, -1e6, inf, -inf, nan]
    for x, code in product(truths, range(256)):
        codes = np.array([[code]], np.uint8)
        verdict = judge(codes, fmt, truth_of([[x]]), budget_of([[64.0]], overflow_slack=np.array([[64.0]])), contract)
        want = rule(x, float(fmt.decode(codes)[0, 0]), fmt, contract, 64.0, 64.0)
        assert verdict.outcome is {0: Outcome.PASS, 1: Outcome.OVER_BUDGET, 2: Outcome.WRONG_CLASS}[want], (x, code)


def test_zeros_of_both_signs_are_right() -> None:
    fmt = Format.of("f16")
    codes = fmt.encode(np.array([0.0, -0.0, 0.0, -0.0]))
    truth = truth_of([0.0, 0.0, -0.0, -0.0])
    assert judge(codes, fmt, truth, budget_of(0.0), PLAIN).outcome is Outcome.PASS
    assert judge_exact(codes, fmt, truth, PLAIN).outcome is Outcome.PASS


def test_sign_of_a_zero_is_judged_where_it_is_asked_for() -> None:
    fmt, tiny = Format.of("f16"), 2.0**-40
    truth = replace(truth_of([0.0, -0.0, tiny, -tiny]), lo=np.array([0.0, -0.0, 0.0, -0.0]))
    right, wrong = (fmt.encode(np.array(zeros)) for zeros in ([0.0, -0.0, 0.0, -0.0], [0.0, -0.0, 0.0, 0.0]))
    assert judge_exact(right, fmt, truth, PLAIN, signed_zeros=True).outcome is Outcome.PASS
    verdict = judge_exact(wrong, fmt, truth, PLAIN, signed_zeros=True)
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert verdict.where == "(3,)"
    assert "got 0, want -0" in verdict.reason
    assert (
        judge_exact(wrong, fmt, truth, PLAIN, signed_zeros=np.array([True, True, True, False])).outcome is Outcome.PASS
    )
    assert judge_exact(wrong, fmt, truth, replace(PLAIN, subnormals="flush"), signed_zeros=True).outcome is Outcome.PASS
    # A radius elsewhere leaves the sign of a zero, and a zero that may be of both signs is open.
    near = replace(truth, radius=np.array([0.0, 0.0, tiny / 2, 2 * tiny]))
    assert judge_exact(wrong, fmt, near, PLAIN, signed_zeros=True).outcome is Outcome.PASS
    astray = fmt.encode(np.array([0.0, 0.0, 0.0, 0.0]))
    assert judge_exact(astray, fmt, near, PLAIN, signed_zeros=True).where == "(1,)"


def test_overflow_of_the_accumulator_excuses_nan_and_infinity_only_where_it_is_possible() -> None:
    fmt = Format.of("f16")
    budget = budget_of([1.0, 1.0], overflow_slack=np.array([inf, 0.0]))
    for got in (nan, inf, -inf):
        assert judge(fmt.encode(np.array([got, 1.0])), fmt, truth_of([1.0, 1.0]), budget, PLAIN).outcome is Outcome.PASS
        wrong = judge(fmt.encode(np.array([1.0, got])), fmt, truth_of([1.0, 1.0]), budget, PLAIN)
        assert (wrong.outcome, wrong.where) == (Outcome.WRONG_CLASS, "(1,)")
    wrong = judge(fmt.encode(np.array([9.0, 1.0])), fmt, truth_of([1.0, 1.0]), budget, PLAIN)
    assert wrong.outcome is Outcome.OVER_BUDGET


def test_flushed_result_is_right_below_the_smallest_normal_only() -> None:
    fmt = Format.of("f16")
    small = fmt.min_normal * np.array([0.5, 0.99, 1.5])
    budget = budget_of(0.0, flush_below=fmt.min_normal)
    verdict = judge(fmt.encode(np.zeros(3)), fmt, truth_of(small), budget, PLAIN)
    assert (verdict.outcome, verdict.where) == (Outcome.OVER_BUDGET, "(2,)")
    flushed = judge(fmt.encode(np.zeros(2)), fmt, truth_of(small[:2]), budget, PLAIN)
    assert flushed.stats is not None
    assert (flushed.outcome, flushed.stats.max_ulp) == (Outcome.PASS, 0.0)
    assert judge(fmt.encode(np.zeros(2)), fmt, truth_of(small[:2]), budget_of(0.0), PLAIN).outcome.failed


@pytest.mark.parametrize(("rounding", "x", "right", "wrong"), [
    ("up", 65510.0, inf, 65472.0), ("up", -65510.0, -65504.0, -inf), ("down", 65510.0, 65504.0, inf),
    ("down", -65510.0, -inf, -65472.0), ("toward-zero", 1e6, 65504.0, inf), ("up", 1e6, inf, 65504.0),
    ("stochastic", 65510.0, inf, 65440.0), ("stochastic", 65510.0, 65504.0, nan), ("stochastic", 65600.0, inf, 65504.0),
])  # fmt: skip
def test_directed_rounding_overflows_on_its_own_side(rounding: str, x: float, right: float, wrong: float) -> None:
    fmt, contract = Format.of("f16"), replace(PLAIN, output_rounding=rounding)
    budget = budget_of([32.0], overflow_slack=np.zeros(1))
    assert judge(fmt.encode([right]), fmt, truth_of([x]), budget, contract).outcome is Outcome.PASS
    assert judge(fmt.encode([wrong]), fmt, truth_of([x]), budget, contract).outcome is not Outcome.PASS


def test_low_part_of_the_truth_decides_at_the_threshold() -> None:
    """f16 overflows from 65520 on; a truth a hair below may not, one a hair above must."""
    fmt = Format.of("f16")
    budget = budget_of([16.0], overflow_slack=np.zeros(1))
    for sign in (1.0, -1.0):
        for lo, right, wrong in ((-1e-9, 65504.0, inf), (1e-9, inf, 65504.0)):
            truth = truth_of([sign * 65520.0], sign * lo)
            assert judge(fmt.encode([sign * right]), fmt, truth, budget, PLAIN).outcome is Outcome.PASS
            assert judge(fmt.encode([sign * wrong]), fmt, truth, budget, PLAIN).outcome.failed


def test_an_i32_sum_that_may_wrap_may_be_anything() -> None:
    fmt = Format.of("i32")
    codes = np.array([0x80000005, 7], np.uint32)
    budget = budget_of(np.zeros(2), overflow_slack=np.array([inf, 0.0]))
    assert judge(codes, fmt, truth_of([2.0**31 + 5, 7.0]), budget, PLAIN).outcome is Outcome.PASS
    assert judge(codes[::-1].copy(), fmt, truth_of([2.0**31 + 5, 7.0]), budget, PLAIN).where == "(1,)"


def test_output_of_another_shape_is_refused() -> None:
    fmt = Format.of("f32")
    for judged in (lambda: judge(fmt.encode(np.ones((2, 3))), fmt, truth_of(np.ones(3)), budget_of(1.0), PLAIN),
                   lambda: judge_exact(fmt.encode(np.ones((2, 3))), fmt, truth_of(np.ones(3)), PLAIN)):  # fmt: skip
        with pytest.raises(UsageError, match=r"shape \(2, 3\), its truth \(3,\)"):
            judged()


def test_unsigned_integer_saturates_at_zero() -> None:
    fmt = Format.of("u8")
    budget = budget_of(np.zeros(3), overflow_slack=np.zeros(3))
    truth = truth_of([-5.0, 300.0, 7.0])
    assert judge(np.array([0, 255, 7], np.uint8), fmt, truth, budget, PLAIN).outcome is Outcome.PASS
    for wrapped in ([251, 255, 7], [0, 44, 7], [0, 255, 8]):
        assert judge(np.array(wrapped, np.uint8), fmt, truth, budget, PLAIN).outcome.failed


# Numbers ---------------------------------------------------------------------------------------------------------

WIDE = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-30)


@STEPS
@example(name="f64", pairs=[(0.0, 1e6, 0.0)], allowed=1.0)
@given(
    name=st.sampled_from(["bf16", "f16", "f32", "f64", "e4m3fn", "e2m1fn", "i8"]),
    pairs=st.lists(st.tuples(WIDE, WIDE, st.floats(-0.5, 0.5)), min_size=1, max_size=12),
    allowed=st.floats(1e-3, 1e3),
)
def test_stats_equal_rational_arithmetic(name: str, pairs: list[tuple[float, float, float]], allowed: float) -> None:
    fmt = Format.of(name)
    hi = np.array([x for x, _, _ in pairs])
    hi = np.where(hi == 0, 0.0, hi)
    lo = np.array([part for _, _, part in pairs]) * np.spacing(hi) * (hi != 0)
    codes = fmt.encode(np.array([y for _, y, _ in pairs]), overflow="saturate")
    y = fmt.decode(codes)
    stats = measure(codes, fmt, truth_of(hi, lo), np.full(hi.shape, allowed), np.full(hi.shape, 2 * allowed)).stats
    x = [Fraction(h) + Fraction(low) for h, low in zip(hi, lo, strict=True)]
    error = [Fraction(got) - want for got, want in zip(y, x, strict=True)]
    ulps = [abs(e) / Fraction(float(u)) for e, u in zip(error, fmt.ulp(hi), strict=True)]
    near = pytest.approx
    largest = Fraction(np.finfo(np.float64).max)  # f64's ulp at 0 is 2^-1074
    assert stats.max_ulp == near(float(min(max(ulps), largest)), rel=1e-14)
    assert stats.utilisation == near(float(max(map(abs, error)) / Fraction(allowed)), rel=1e-14)
    assert stats.rms == near(float(sum(e * e for e in error) / len(error)) ** 0.5 / (2 * allowed), rel=1e-12)
    assert stats.max_rel == near(
        float(max((abs(e / v) for e, v in zip(error, x, strict=True) if v), default=0)), rel=1e-14
    )
    total = sum(map(abs, error))
    lean = sum(e * (1 if v > 0 else -1) for e, v in zip(error, x, strict=True) if v)
    assert stats.bias == near(float(lean / total) if total else 0.0, rel=1e-12, abs=1e-14)
    rounded = [fmt.round_rational(v, overflow="saturate") for v in x]
    assert stats.inexact == sum(a != b for a, b in zip(y, rounded, strict=True))
    keys = np.abs(fmt.keys(codes).astype(object) - fmt.keys(fmt.encode(np.array(rounded))).astype(object))
    assert stats.max_kappa == min(max(keys), 2**62)


@pytest.mark.parametrize("name", ["bf16", "f16", "e4m3fn", "e5m2", "f32"])
def test_kappa_and_inexact_are_exact_around_every_tie(name: str) -> None:
    """Truths at ties, moved by lo alone, and results at the three nearest values."""
    fmt = Format.of(name)
    rng = np.random.default_rng(3)
    codes = rng.integers(1, fmt.max_code - 2, 3000).astype(fmt.code_dtype)
    below, above = fmt.decode(codes), fmt.decode(codes + 1)
    tie = (below + above) / 2
    lo = rng.choice([-1.0, 0.0, 1.0], tie.shape) * np.spacing(tie) / 4
    results = (codes + rng.integers(0, 3, codes.shape).astype(fmt.code_dtype)).astype(fmt.code_dtype)
    stats = measure(results, fmt, truth_of(tie, lo)).stats
    right = [Fraction(t) + Fraction(part) for t, part in zip(tie, lo, strict=True)]
    expected = fmt.encode(np.array([fmt.round_rational(x) for x in right]))
    steps = np.abs(fmt.keys(results) - fmt.keys(expected))
    assert (stats.inexact, stats.max_kappa) == (np.count_nonzero(steps), steps.max())


def test_quantiles_are_those_of_all_elements() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((700, 300))
    fmt = Format.of("f16")
    stats = measure(fmt.encode(x), fmt, truth_of(x)).stats
    ulps = np.abs(fmt.round(x) - x) / fmt.ulp(x)
    assert stats.p50_ulp == pytest.approx(np.quantile(ulps, 0.5), abs=0.01)
    assert stats.p99_ulp == pytest.approx(np.quantile(ulps, 0.99), abs=0.005)


def test_stats_stay_finite_whatever_is_judged() -> None:
    for name in ("f64", "f32", "e5m2"):
        fmt = Format.of(name)
        special = np.array([nan, inf, -inf, 0.0, -0.0, 1.0, fmt.max, -fmt.max, fmt.eta])
        y, x = (grid.reshape(-1) for grid in np.meshgrid(special, np.append(special, [1.7e308, -1.7e308, 5e-324])))
        zeros = np.zeros(x.shape)
        stats = judge(fmt.encode(y), fmt, truth_of(x), budget_of(zeros, sigma=zeros + 1e-300), PLAIN).stats
        assert stats is not None
        values = [getattr(stats, field) for field in stats.__slots__]
        assert all(isfinite(value) for value in values), stats


def test_statistics_leave_out_elements_without_a_finite_error() -> None:
    fmt = Format.of("f32")
    x = np.array([1.0, nan, inf, 2.0])
    stats = measure(fmt.encode(np.array([1.5, nan, inf, 2.0])), fmt, truth_of(x), np.ones(4), np.ones(4)).stats
    assert (stats.n, stats.max_rel, stats.utilisation, stats.bias) == (4, 0.5, 0.5, 1.0)
    assert stats.rms == pytest.approx((0.25 / 2) ** 0.5)


# The whole output ------------------------------------------------------------------------------------------------


def exact_output(shape: tuple[int, ...], name: str = "bf16") -> tuple[Format, Array, NDArray[np.unsignedinteger]]:
    fmt = Format.of(name)
    x = np.random.default_rng(5).standard_normal(shape)
    return fmt, x, fmt.encode(x)


@pytest.mark.parametrize("worth", [1 << 20, 1 << 30], ids=["threads", "one thread"])
def test_one_wrong_element_of_4_million_is_found_at_its_place(worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first and last element, around every kind of piece and thread boundary, and at random."""
    monkeypatch.setattr(metrics, "WORTH_A_THREAD", worth)
    fmt, x, codes = exact_output((2048, 2048))
    truth, budget = truth_of(x), budget_of(fmt.ulp(x) / 2)
    size = codes.size
    places = [0, size - 1, PIECE - 1, PIECE, size // 2 - 1, size // 2, *np.random.default_rng(6).integers(0, size, 2)]
    for flat in map(int, places):
        wrong = codes.copy()
        wrong.reshape(-1)[flat] ^= 1
        verdict = judge(wrong, fmt, truth, budget, PLAIN)
        assert verdict.outcome is Outcome.OVER_BUDGET
        assert verdict.where == f"({flat // 2048}, {flat % 2048})"
        assert "1 of 4194304 elements" in verdict.reason
        assert verdict.stats is not None
        assert verdict.stats.inexact >= 1


def test_one_wrong_element_is_found_at_every_place_of_small_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PIECE", 8)
    for shape in ((), (1,), (3, 5), (2, 3, 4), (8, 3)):
        fmt, x, codes = exact_output(shape)
        truth, budget = truth_of(x), budget_of(fmt.ulp(x) / 2)
        assert judge(codes, fmt, truth, budget, PLAIN).outcome is Outcome.PASS
        for flat, value in product(range(codes.size), (nan, inf, 100.0)):
            wrong = codes.copy()
            wrong.reshape(-1)[flat] = fmt.encode(value)
            verdict = judge(wrong, fmt, truth, budget, PLAIN)
            assert verdict.outcome is (Outcome.OVER_BUDGET if isfinite(value) else Outcome.WRONG_CLASS)
            assert verdict.where == (str(tuple(int(i) for i in np.unravel_index(flat, shape))) if shape else "()")
            assert judge_exact(wrong, fmt, truth, PLAIN).where == verdict.where


def test_worst_element_is_the_one_reported() -> None:
    fmt, x, codes = exact_output((300, 301))
    y = fmt.decode(codes)
    y[7, 9] += 64 * fmt.ulp(x)[7, 9]
    y[200, 300] -= 8 * fmt.ulp(x)[200, 300]
    verdict = judge(fmt.encode(y), fmt, truth_of(x), budget_of(fmt.ulp(x) / 2), PLAIN)
    assert verdict.where == "(7, 9)"
    assert "2 of 90300 elements over it" in verdict.reason


def test_utilisation_over_1_is_the_same_as_failing() -> None:
    fmt = Format.of("f32")
    x = np.random.default_rng(7).standard_normal(5000)
    codes = fmt.encode(x * (1 + 1e-6))
    error = np.abs(fmt.decode(codes) - x)
    for factor in (0.5, 1 - 2**-52, 1.0, 1 + 2**-52, 2.0):
        verdict = judge(codes, fmt, truth_of(x), budget_of(error * factor), PLAIN)
        assert verdict.outcome is (Outcome.PASS if factor >= 1 else Outcome.OVER_BUDGET)
        assert verdict.stats is not None
        assert (verdict.stats.utilisation > 1) == verdict.outcome.failed
        assert verdict.measured == verdict.stats.utilisation


def test_saturated_elements_count_in_no_statistic() -> None:
    fmt, contract = Format.of("e4m3fn"), replace(PLAIN, overflow="saturate")
    x = np.array([1.0, 1e5, 2.0, -1e5])
    budget = budget_of(np.full(4, 0.1), overflow_slack=np.full(4, 0.1))
    verdict = judge(fmt.encode(x, overflow="saturate"), fmt, truth_of(x), budget, contract)
    assert verdict.outcome is Outcome.PASS
    assert verdict.stats is not None
    assert (verdict.stats.n, verdict.stats.max_ulp, verdict.stats.utilisation) == (4, 0.0, 0.0)
    wrong = judge(fmt.encode(np.array([1.25, 448.0, 2.0, -448.0])), fmt, truth_of(x), budget, contract)
    assert (wrong.outcome, wrong.where) == (Outcome.OVER_BUDGET, "(0,)")


def test_budget_broadcasts_against_the_output() -> None:
    fmt, x, codes = exact_output((40, 30))
    assert judge(codes, fmt, truth_of(x), budget_of(0.01), PLAIN).outcome is Outcome.PASS
    row = np.full(30, 0.01)
    row[11] = 0.0
    assert judge(codes, fmt, truth_of(x), budget_of(row), PLAIN).where.endswith(", 11)")


def test_empty_output_passes() -> None:
    fmt = Format.of("f32")
    for shape in ((0,), (0, 4), (3, 0)):
        truth = truth_of(np.zeros(shape))
        assert judge(fmt.encode(np.zeros(shape)), fmt, truth, budget_of(np.zeros(shape)), PLAIN).outcome is Outcome.PASS
        assert judge_exact(fmt.encode(np.zeros(shape)), fmt, truth, PLAIN).outcome is Outcome.PASS


def test_failure_says_metric_place_got_want_limit_and_reason() -> None:
    fmt = Format.of("bf16")
    verdict = judge(fmt.encode(np.array([[0.5, 0.0390625]])), fmt, truth_of([[0.5, 0.0345]]), budget_of(1e-4), PLAIN)
    first, second = verdict.reason.splitlines()[:2]
    assert first == "max error 18.69 ulp at (0, 1): got 0.0390625, want 0.0345"
    assert second.startswith("budget 0.4096 ulp (a test's; a test)")


# Exact expectations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away", "toward-zero", "up", "down"])
def test_exact_judge_takes_the_rounded_truth_and_no_neighbour(rounding: str) -> None:
    fmt, contract = Format.of("e5m2"), replace(PLAIN, output_rounding=rounding)
    x = np.linspace(-40, 40, 641)
    right = fmt.encode(x, rounding=rounding)
    assert judge_exact(right, fmt, truth_of(x), contract).outcome is Outcome.PASS
    for step in (1, -1):
        wrong = right.copy()
        wrong[100] = int(wrong[100]) + step
        verdict = judge_exact(wrong, fmt, truth_of(x), contract)
        assert (verdict.outcome, verdict.where, verdict.measured) == (Outcome.OVER_BUDGET, "(100,)", 1.0)


def test_exact_judge_lets_stochastic_rounding_choose_a_neighbour() -> None:
    fmt, contract = Format.of("f16"), replace(PLAIN, output_rounding="stochastic")
    x = np.array([1 + 2**-13, 1.0, -3 - 2**-12])
    for mode in ("down", "up"):
        assert judge_exact(fmt.encode(x, rounding=mode), fmt, truth_of(x), contract).outcome is Outcome.PASS
    moved = fmt.encode(np.array([1 + 2**-13, 1 + 2**-10, -3.0]))
    assert judge_exact(moved, fmt, truth_of(x), contract).where == "(1,)"


def test_exact_judge_reads_lo_and_counts_a_wide_radius() -> None:
    fmt = Format.of("f16")
    tie = 1 + 2.0**-11
    for lo, right, wrong in ((2.0**-60, 1 + 2.0**-10, 1.0), (-(2.0**-60), 1.0, 1 + 2.0**-10)):
        truth = truth_of([tie], lo)
        odd = replace(truth, radius=np.spacing(np.abs(truth.lo)))
        for known in (truth, odd):
            assert judge_exact(fmt.encode([right]), fmt, known, PLAIN).outcome is Outcome.PASS
            assert judge_exact(fmt.encode([wrong]), fmt, known, PLAIN).outcome is Outcome.OVER_BUDGET
        wide = replace(truth, radius=np.array([2.0**-59]))
        assert judge_exact(fmt.encode([wrong]), fmt, wide, PLAIN).outcome is Outcome.PASS


def test_exact_judge_knows_classes() -> None:
    fmt = Format.of("f16")
    x = np.array([nan, inf, -inf, 1e6, 0.0])
    right = fmt.encode(np.array([nan, inf, -inf, inf, -0.0]))
    assert judge_exact(right, fmt, truth_of(x), PLAIN).outcome is Outcome.PASS
    for place, value in ((0, 1.0), (1, nan), (2, inf), (3, 65504.0)):
        wrong = right.copy()
        wrong[place] = fmt.encode(value)
        verdict = judge_exact(wrong, fmt, truth_of(x), PLAIN)
        assert (verdict.outcome, verdict.where) == (Outcome.WRONG_CLASS, f"({place},)")


def test_exact_judge_lists_the_first_wrong_places() -> None:
    fmt = Format.of("f32")
    x = np.arange(64.0).reshape(8, 8)
    y = x.copy()
    y[2] += 1
    reason = judge_exact(fmt.encode(y), fmt, truth_of(x), PLAIN).reason
    assert reason.splitlines()[0] == "wrong value at (2, 0): got 17, want 16"
    assert "8 of 64 elements wrong" in reason
    assert "(2, 1) got 18, want 17; (2, 2) got 19, want 18" in reason
    assert "only row 2 of 8" in reason
