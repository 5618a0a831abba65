"""Softmax truth against mpmath and exact fractions: within its radius everywhere, and with the right classes."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references import exponential, pairs, softmax
from lastbit.references.dgemm import ArithmeticDoubtError
from lastbit.references.formats import Format
from lastbit.references.softmax_data import RECIPES, applicable, operands

INF, NAN = np.inf, np.nan
OPS = {
    "softmax": softmax.softmax_truth,
    "log_softmax": softmax.log_softmax_truth,
    "logsumexp": softmax.logsumexp_truth,
}
LOGITS = st.floats(-1e9, 1e9) | st.floats(-50, 50) | st.sampled_from([0.0, -0.0, 1.0, 5e-324, -745.2, -709.0, 1e300])
SIGNED = (st.floats(1e-100, 1e100) | st.floats(1, 2)).flatmap(lambda x: st.sampled_from([x, -x]))
SHARE = st.floats(-1, 1)


def exact(pair: pairs.Pair) -> Fraction:
    return Fraction(float(pair[0][0])) + Fraction(float(pair[1][0]))


def as_pair(hi: float, share: float) -> pairs.Pair:
    """A pair whose second part is `share` of half a spacing of the first."""
    return np.array([hi]), np.array([share * 0.49 * np.spacing(abs(hi))])


def check_row(op: str, row: np.ndarray, columns: list[int]) -> None:
    """The truth of one row is within its radius of mpmath's, in these columns."""
    truth, wanted = OPS[op](row[None]), softmax.softmax_referee(row, op)
    with mpmath.workdps(500):
        for i in [0] if op == "logsumexp" else columns:
            at = (0,) if op == "logsumexp" else (0, i)
            want = wanted if op == "logsumexp" else wanted[i]
            if np.isinf(truth.hi[at]):
                assert want == -mpmath.inf
                continue
            error = abs(want - mpmath.mpf(float(truth.hi[at])) - mpmath.mpf(float(truth.lo[at])))
            assert error <= mpmath.mpf(float(truth.radius[at]))
            assert abs(truth.lo[at]) <= np.spacing(abs(truth.hi[at]))


@settings(max_examples=150, deadline=None)
@given(st.lists(LOGITS, min_size=1, max_size=9), st.sampled_from(sorted(OPS)))
def test_truth_is_within_its_radius_of_mpmath(row: list[float], op: str) -> None:
    check_row(op, np.array(row), list(range(len(row))))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "special"])
@pytest.mark.parametrize("fmt", ["f64", "f16"])
def test_truth_of_every_recipe_agrees_on_sampled_rows(recipe: str, fmt: str, op: str) -> None:
    formats = {"x": fmt, "out": fmt}
    assert applicable(recipe, formats)
    x = operands(recipe, formats, {"m": 5, "n": 130}, 3)["x"].values
    for row in (0, 4):
        check_row(op, x[row], [0, 64, 65, 129, int(np.argmax(x[row]))])


def test_small_truth_rounds_as_mpmath_does() -> None:
    """16-bit results are correctly rounded: the pair rounds to what 500 digits round to."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 7)) * 3
    truth = softmax.softmax_truth(x)
    for name in ("f16", "bf16", "f32", "f64"):
        fmt = Format.of(name)
        got = fmt.round(truth.hi, truth.lo)
        for row in range(4):
            with mpmath.workdps(60):
                wanted = [
                    fmt.round_rational(Fraction(int(p * 2**180), 2**180)) for p in softmax.softmax_referee(x[row])
                ]
            assert got[row].tolist() == wanted


@settings(max_examples=200, deadline=None)
@given(SIGNED, SHARE, SIGNED, SHARE, st.sampled_from([None, -1.0, 0.5]))
def test_pairs_keep_their_error(a: float, b: float, c: float, d: float, near: float | None) -> None:
    x, y = as_pair(a, b), as_pair(c if near is None else near * a, d)
    total, product, quotient = exact(x) + exact(y), exact(x) * exact(y), exact(x) / exact(y)
    assert abs(exact(pairs.add(x, y)) - total) <= Fraction(pairs.U2) * Fraction(3001, 1000) * abs(total)
    assert abs(exact(pairs.times(x, y)) - product) <= Fraction(pairs.U2) * 7 * abs(product)
    assert abs(exact(pairs.over(x, y)) - quotient) <= Fraction(pairs.U2) * 16 * abs(quotient)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1000])
def test_total_is_the_sum(n: int) -> None:
    x = np.random.default_rng(n).random(n) * np.exp2(-np.arange(n) % 60.0)
    got = pairs.total((x[None], np.zeros((1, n))))
    want = sum(map(Fraction, x.tolist()))
    assert abs(exact(got) - want) <= Fraction(pairs.U2) * 3 * 10 * want
    assert pairs.total((np.zeros((2, 0)), np.zeros((2, 0))))[0].tolist() == [0.0, 0.0]


@settings(max_examples=150, deadline=None)
@given(st.floats(-790, 0) | st.floats(-1e-3, 0) | st.sampled_from([0.0, -5e-324, -np.log(2), -0.34657359]))
def test_exp_and_log_keep_their_error(x: float) -> None:
    hi, lo, k = exponential.exp((np.array([x]), np.array([0.0])))
    assert 0.69 < hi[0] < 1.43
    with mpmath.workdps(80):
        want = mpmath.exp(mpmath.mpf(x))
        got = (mpmath.mpf(float(hi[0])) + mpmath.mpf(float(lo[0]))) * mpmath.mpf(2) ** int(k[0])
        assert abs(got - want) <= exponential.EXP_ERROR * want
        y = 1.0 - x
        high, low = exponential.log((np.array([y]), np.array([y * 2.0**-60])))
        want = mpmath.log(mpmath.mpf(y) * (1 + mpmath.mpf(2) ** -60))
        assert abs(mpmath.mpf(float(high[0])) + mpmath.mpf(float(low[0])) - want) <= exponential.LOG_ERROR


def test_exp_of_zero_and_log_of_one_are_exact() -> None:
    hi, lo, k = exponential.exp((np.zeros(1), np.zeros(1)))
    assert (hi[0], lo[0], k[0]) == (1.0, 0.0, 0)
    assert [part[0] for part in exponential.log((np.ones(1), np.zeros(1)))] == [0.0, 0.0]
    assert sum(map(Fraction, exponential.LN2)) != Fraction(float(np.log(2.0)))


def test_log_refuses_a_bad_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's log is not trusted: one that is off makes no truth."""
    log = np.log
    monkeypatch.setattr(np, "log", lambda x: log(x) * (1 + 1e-9))
    with pytest.raises(ArithmeticDoubtError, match=r"numpy\.log is off"):
        exponential.log((np.array([3.0]), np.array([0.0])))


def test_classes_follow_the_policy() -> None:
    x = np.array([[1.0, NAN, -INF], [1.0, INF, -INF], [-INF, -INF, -INF], [-INF, 2.0, -INF], [INF, NAN, 0.0]])
    nan = [NAN] * 3
    np.testing.assert_array_equal(softmax.softmax_truth(x).hi, [nan, nan, nan, [0, 1, 0], nan])
    np.testing.assert_array_equal(softmax.softmax_truth(x, masked_row="zero").hi[2], [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(softmax.log_softmax_truth(x).hi, [nan, nan, nan, [-INF, 0, -INF], nan])
    np.testing.assert_array_equal(softmax.log_softmax_truth(x, masked_row="zero").hi[2], [-INF, -INF, -INF])
    np.testing.assert_array_equal(softmax.logsumexp_truth(x).hi, [NAN, INF, -INF, 2.0, NAN])
    for truth in (softmax.softmax_truth(x), softmax.log_softmax_truth(x), softmax.logsumexp_truth(x)):
        assert np.isfinite(truth.radius).all()
        assert np.isfinite(truth.weight).all()
        assert not truth.radius[3].any()


def test_differences_beyond_float64_are_infinite() -> None:
    x = np.array([[1.5e308, -1.5e308, 1.5e308]])
    truth = softmax.log_softmax_truth(x)
    assert truth.hi[0, 1] == -INF
    assert truth.hi[0, 0] == pytest.approx(-np.log(2.0))
    np.testing.assert_array_equal(softmax.softmax_truth(x).hi, [[0.5, 0.0, 0.5]])
    assert softmax.logsumexp_truth(x).hi[0] == 1.5e308


def test_axis_and_empty_shapes() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4))
    moved = softmax.softmax_truth(x, axis=1)
    np.testing.assert_array_equal(moved.hi, np.moveaxis(softmax.softmax_truth(np.moveaxis(x, 1, -1)).hi, -1, 1))
    assert softmax.logsumexp_truth(x, axis=0).hi.shape == (3, 4)
    assert softmax.softmax_truth(np.zeros((0, 3))).hi.shape == (0, 3)
    assert softmax.logsumexp_truth(np.zeros((3, 0))).hi.tolist() == [-INF] * 3
