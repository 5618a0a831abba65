"""The errors of an output: every number of ErrorStats against plain arithmetic, one element at a time."""

from fractions import Fraction
from functools import partial
from math import inf, nan, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit import metrics
from lastbit.errors import UsageError
from lastbit.metrics import measure
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.verdict import ErrorStats

Array = NDArray[np.float64]
LARGEST = float(np.finfo(np.float64).max)


def truth_of(hi: object, lo: object = 0.0) -> Truth:
    exact = np.asarray(hi, np.float64)
    zero = np.zeros(exact.shape)
    return Truth(exact, zero + lo, zero, np.abs(np.where(np.isfinite(exact), exact, 0.0)), "given")


def check(fmt: Format, y: Array, hi: Array, lo: Array, allowed: Array | None, sigma: Array | None) -> None:
    """`measure` on one row, against sums and maxima of Fractions over the elements with a finite error."""
    codes = fmt.encode(y)
    got = fmt.decode(codes)
    found = measure(codes, fmt, truth_of(hi, lo), allowed, sigma)
    rows = [i for i in range(y.size) if np.isfinite(got[i]) and np.isfinite(hi[i])]
    x = {i: Fraction(float(hi[i])) + Fraction(float(lo[i])) for i in rows}
    error = {i: Fraction(float(got[i])) - x[i] for i in rows}
    steps = fmt.ulp(np.where(np.isfinite(hi), hi, 0.0))
    ulps = {i: abs(error[i]) / Fraction(float(steps[i])) for i in rows}
    stats, near = found.stats, partial(pytest.approx, abs=0)
    assert stats.n == y.size
    assert stats.max_ulp == near(float(max(ulps.values(), default=0)), rel=1e-12)
    if rows:
        quantiles = np.quantile([float(u) for u in ulps.values()], (0.5, 0.99))
        assert (stats.p50_ulp, stats.p99_ulp) == near(tuple(quantiles), rel=1e-9)
    relative = [abs(error[i] / Fraction(float(hi[i]))) for i in rows if hi[i]]
    assert stats.max_rel == near(float(max(relative, default=0)), rel=1e-12)
    total = sum(abs(e) for e in error.values())
    lean = sum((e if hi[i] > 0 else -e) for i, e in error.items() if hi[i])
    assert stats.bias == pytest.approx(float(lean / total) if total else 0.0, rel=1e-9, abs=1e-12)
    right = {i: fmt.round_rational(x[i], overflow="saturate") for i in rows}
    assert stats.inexact == sum(float(got[i]) != right[i] for i in rows)
    keys = fmt.keys(codes).astype(object) - fmt.keys(fmt.encode(np.array([right.get(i, 0.0) for i in range(y.size)])))
    assert stats.max_kappa == min(max((abs(keys[i]) for i in rows), default=0), 2**62)
    if sigma is not None:
        squares = sum((e / Fraction(float(sigma[i]))) ** 2 for i, e in error.items())
        assert stats.rms == near(sqrt(squares / max(1, len(rows))), rel=1e-12)
    else:
        assert stats.rms == 0
    lost = sorted(set(range(y.size)) - set(rows))
    if allowed is None:
        assert (stats.utilisation, found.suspects.tolist()) == (0.0, lost)
        return
    ratio = {i: shares(abs(e), float(allowed[i])) for i, e in error.items()}
    # The judge's error is that of float64, which is within 2^-51 of itself.
    over = [i for i in rows if abs((got[i] - hi[i]) - lo[i]) > allowed[i]]
    assert found.suspects.tolist() == sorted(over + lost)
    assert stats.utilisation == near(min(float(max(ratio.values(), default=0)), LARGEST), rel=1e-12)
    if rows:
        assert float(ratio[found.worst]) == near(float(max(ratio.values())), rel=1e-12)


def shares(error: Fraction, allowed: float) -> float:
    """error / allowed, the largest float64 for an infinity, and 0 where none is allowed and made."""
    if not allowed:
        return LARGEST if error else 0.0
    return float(min(error / Fraction(allowed), Fraction(LARGEST)))


@pytest.mark.parametrize(
    "name", ["bf16", "f16", "f32", "f64", "tf32", "e4m3fn", "e5m2", "e4m3fnuz", "e2m1fn", "e8m0fnu", "i8", "u8"]
)
@pytest.mark.parametrize("special", [False, True])
def test_stats_are_those_of_rational_arithmetic(name: str, special: bool) -> None:
    """Around ties, powers of two, zero, the smallest and the largest values; with and without NaN and infinities."""
    fmt, rng = Format.of(name), np.random.default_rng(len(name))
    size = 64
    edges = (
        [0.0, fmt.eta, fmt.min_normal, fmt.max, 1.5 * fmt.max, 3.0 * fmt.max] if name != "f64" else []
    )  # what float64 itself cannot divide
    for scale in (1.0, fmt.min_normal, fmt.eta, fmt.max / 4) if name != "f64" else (1.0, 2.0**-1015, 2.0**500):
        drawn = rng.standard_normal(size) * scale * 2.0 ** rng.integers(-3, 2, size)
        base = fmt.round(np.abs(drawn) if not fmt.signed else drawn, overflow="saturate")
        step = fmt.ulp(base)
        hi = np.where(np.isnan(base), 1.0, base) + step * rng.choice([0.0, 0.25, 0.5, -0.5, 1.0, 1.5], size)
        hi[::7] = base[::7]
        hi = np.clip(hi, fmt.lowest, fmt.max)
        hi[: len(edges)] = edges
        lo = np.spacing(np.abs(hi)) * rng.choice([0.0, 0.25, -0.25], size) * (hi != 0)
        y = np.clip(hi + step * rng.choice([0.0, 1.0, -1.0, 3.0], size), fmt.lowest, fmt.max)
        y = fmt.round(y, overflow="saturate")
        allowed = step * rng.choice([0.25, 0.5, 2.0, 1e3], size)
        lo[::5] = 0.0
        allowed[::5] = np.abs(y - hi)[::5]
        sigma = np.maximum(step * rng.choice([0.5, 1.0], size), 5e-324)
        if special:
            hi[[10, 20, 30]], lo[[10, 20, 30]] = [nan, inf, -inf], 0.0
            sigma[[10, 20, 30]] = 0.0
            if fmt.has_nan:
                y[[10, 40]] = nan
            if fmt.has_inf:
                y[[20, 50]] = [inf, -inf]
        check(fmt, y, hi, lo, allowed, sigma)
        check(fmt, y, hi, lo, None, None)
        check(fmt, y, hi, lo, np.zeros(size), None)


def test_one_element_of_each_kind_alone() -> None:
    fmt = Format.of("f16")
    for y, x in (
        (1.0, 1.5),
        (1.5, 1.0),
        (-1.0, 1.0),
        (0.0, 1.0),
        (1.0, 0.0),
        (nan, 1.0),
        (1.0, nan),
        (inf, inf),
        (2.0, 2.0),
    ):
        for allowed in (0.0, 0.5, 8.0):
            check(fmt, np.array([y]), np.array([x]), np.zeros(1), np.array([allowed]), np.array([0.25]))


@pytest.mark.parametrize("name", ["f16", "f32", "e4m3fn", "f64", "i8"])
def test_the_low_part_breaks_a_tie_of_one_element(name: str) -> None:
    fmt = Format.of(name)
    for below in (1.0, 3.0):
        above = below + float(fmt.ulp(below))
        if name == "f64":
            rows = [(below, above, below, sign * np.spacing(below) / 2) for sign in (1, -1)]
        else:
            rows = [(below, above, (below + above) / 2, sign * 2.0**-60) for sign in (1, -1)]
        for lower, upper, hi, lo in rows:
            for y in (lower, upper):
                check(fmt, np.array([y]), np.array([hi]), np.array([lo]), np.ones(1), None)


def test_an_output_of_another_shape_is_refused() -> None:
    fmt = Format.of("f32")
    with pytest.raises(UsageError, match=r"the output has shape \(2, 3\), its truth \(6,\)"):
        measure(fmt.encode(np.ones((2, 3))), fmt, truth_of(np.ones(6)))


@pytest.mark.parametrize("name", ["f16", "bf16", "e4m3fn"])
def test_ulps_stay_those_of_the_smallest_and_the_largest_values_beyond_them(name: str) -> None:
    """Beside ordinary values: only below the range, only above, both, and none."""
    fmt = Format.of(name)
    below, above = fmt.min_normal / 8, 3 * fmt.max
    for hi in ([1.0, 2.0], [below, 1.0], [1.0, above], [below, above], [below, below], [above, above], [fmt.max, 1.0]):
        x = np.array(hi)
        y = fmt.round(np.clip(x, 0, fmt.max) + fmt.ulp(x) * np.array([1.0, 0.0]), overflow="saturate")
        check(fmt, y, x, 0 * x, np.ones(2), fmt.ulp(x))


def test_of_equal_errors_the_first_is_the_worst() -> None:
    """In one piece, and in pieces far apart."""
    fmt, hi = Format.of("f32"), np.ones(2 * metrics.PIECE + 9)
    y = hi.copy()
    y[[3, 7, metrics.PIECE + 1, y.size - 1]] += 2.0**-23
    assert measure(fmt.encode(y), fmt, truth_of(hi), np.array(2.0**-24)).worst == 3
    assert measure(fmt.encode(hi), fmt, truth_of(hi), np.array(2.0**-24)).worst == 0


def test_no_element_with_a_finite_error_has_no_worst() -> None:
    fmt = Format.of("f32")
    found = measure(fmt.encode([nan, inf]), fmt, truth_of([1.0, 2.0]), np.ones(2), np.ones(2))
    assert (found.stats.utilisation, found.stats.rms, found.stats.max_ulp, found.stats.bias) == (0.0, 0.0, 0.0, 0.0)
    assert found.suspects.tolist() == [0, 1]
    empty = measure(fmt.encode(np.zeros(0)), fmt, truth_of(np.zeros(0)), np.zeros(0), np.zeros(0))
    assert empty.worst == -1
    assert empty.stats == ErrorStats(n=0)


def test_steps_between_values_are_counted_up_to_2_to_the_62() -> None:
    fmt = Format.of("f64")
    key = int(fmt.keys(fmt.encode([1.5]))[0])
    for y, x, steps in ((-1.0, 1.0, 2**62), (1.0, -1.0, 2**62), (2.0, 0.0, 2**62), (1.5, 0.0, key), (0.0, -1.5, key)):
        assert measure(fmt.encode([y]), fmt, truth_of([x])).stats.max_kappa == steps
    assert key < 2**62


@pytest.mark.parametrize("processors", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 200, 301, 1000])
def test_pieces_and_threads_change_no_number(size: int, processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fmt, rng = Format.of("bf16"), np.random.default_rng(size)
    x = rng.standard_normal(size)
    y = fmt.round(x + 0.01 * rng.standard_normal(size))
    if size > 100:
        y[size - 3] = nan
    codes, allowed, sigma = fmt.encode(y), fmt.ulp(x) / 2, fmt.ulp(x)
    whole = measure(codes, fmt, truth_of(x), allowed, sigma)
    monkeypatch.setattr(metrics, "PIECE", 32)
    monkeypatch.setattr(metrics, "WORTH_A_THREAD", 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(processors)))
    parts = measure(codes, fmt, truth_of(x), allowed, sigma)
    assert parts.suspects.tolist() == whole.suspects.tolist()
    assert parts.worst == whole.worst
    for field in whole.stats.__slots__:
        assert getattr(parts.stats, field) == pytest.approx(getattr(whole.stats, field), rel=1e-12), field


def test_threads_are_as_many_as_processors_and_as_the_output_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "WORTH_A_THREAD", 64)
    monkeypatch.setattr(metrics, "PIECE", 16)
    started: list[int] = []

    class Pool(metrics.ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            started.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(metrics, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2} if process == 0 else set())
    fmt = Format.of("f32")
    for size in (127, 128, 191, 192, 1000):
        measure(fmt.encode(np.ones(size)), fmt, truth_of(np.ones(size)))
    assert started == [2, 2, 3, 3]
    monkeypatch.delattr("os.sched_getaffinity")  # macOS and Windows
    measure(fmt.encode(np.ones(1000)), fmt, truth_of(np.ones(1000)))
    assert started == [2, 2, 3, 3]


def test_quantiles_of_a_large_output_are_taken_from_every_so_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """An odd stride, from the first element on, through all pieces; and all elements of an output that is small."""
    monkeypatch.setattr(metrics, "PIECE", 50)
    monkeypatch.setattr(metrics, "SAMPLE", 100)
    fmt = Format.of("f64")
    for size, stride in ((99, 1), (199, 1), (250, 3), (400, 5), (777, 7)):
        x = np.ones(size)
        y = 1 + np.arange(size) * 2.0**-52
        stats = measure(fmt.encode(y), fmt, truth_of(x)).stats
        middle, tail = np.quantile(np.arange(size)[::stride], (0.5, 0.99))
        assert (stats.p50_ulp, stats.p99_ulp) == pytest.approx((middle, tail)), size


def test_numbers_beyond_float64_count_as_its_largest() -> None:
    fmt, tiny = Format.of("f64"), np.full(3, 1e-320)
    stats = measure(fmt.encode([1e308, -1e308, 5e-324]), fmt, truth_of([1.0, 1.0, 0.0]), tiny, tiny).stats
    assert (stats.utilisation, stats.rms) == (LARGEST, LARGEST)
    assert all(abs(getattr(stats, field)) <= LARGEST for field in stats.__slots__)
