"""Drift: planted drifts are told, each by name, and the noise of other data is not."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest

from lastbit.errors import GoldenError
from lastbit.golden.drift import FEWEST, STALE_DAYS, changes, compare, judged
from lastbit.golden.match import Baselines, Level
from lastbit.golden.store import golden, key, rounded
from lastbit.verdict import ErrorStats, Outcome, Record

from .record_examples import SLUG, environment, record

DAY = date(2026, 11, 25)
ENV = environment().software("mine/gemm")


def baselines(one: Record, level: Level = Level.EXACT, env: str = ENV, day: date = DAY) -> Baselines:
    kept = golden(one, env=env, by="abc1234", day=day.isoformat(), reason="first")
    return Baselines("gemm", SLUG, ((level, SLUG, {kept.key: kept}),))


def told(new: Record, old: Record, **changed: object) -> Record:
    return judged(new, baselines(old, **changed), environment(), DAY)  # type: ignore[arg-type]


def test_software_of_a_kernel_names_what_its_numbers_depend_on() -> None:
    assert ENV == "lastbit0.1.0 numpy2.4.6 torch2.13.0 threads2"
    assert environment().software("torch/mm") == "lastbit0.1.0 torch2.13.0 threads2"
    assert environment(threads={"OMP_NUM_THREADS": "1"}).software("numpy/dot") == "lastbit0.1.0 numpy2.4.6 threads1"
    assert environment().software("simulated/h100") == "lastbit0.1.0 threads2"


def test_record_like_its_baseline_is_the_same() -> None:
    assert told(record(), record()) == record(golden="same")


def test_record_without_baseline_is_new() -> None:
    assert told(record(case="other"), record()).golden == "new"


def test_equal_digest_of_the_same_seed_is_the_same_at_once() -> None:
    """The statistics are not even looked at: a digest is of all bits of the output."""
    assert told(record(rms=0.9), record()).golden == "same"
    assert told(record(rms=0.9, seed=1), record()).golden.startswith("drifted: rms 0.9 was 0.25")
    assert told(record(rms=0.9, digest=""), record(digest="")).outcome is Outcome.REGRESSED


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("rms", 0.5, "rms 0.5 was 0.25"),
        ("utilisation", 0.7, "utilisation 0.7 was 0.2"),
        ("p99_ulp", 6.0, "p99_ulp 6 was 1"),
        ("max_ulp", 7.0, "max_ulp 7 was 2"),
        ("bias", 0.6, "bias 0.6 was 0.05"),
        ("bias", -0.6, "bias 0.6 was 0.05"),
    ],
)
def test_planted_drift_of_each_statistic_is_a_regression(name: str, value: float, said: str) -> None:
    worse = told(record(digest="f" * 16, **{name: value}), record())
    assert worse.outcome is Outcome.REGRESSED
    assert worse.failed
    assert worse.golden == "drifted"
    assert said in worse.reason
    assert "baseline of 2026-11-25: first" in worse.reason
    assert worse.measured is not None
    assert worse.allowed is not None
    assert worse.measured > worse.allowed


@pytest.mark.parametrize(("name", "value"), [("rms", 0.28), ("utilisation", 0.4), ("p99_ulp", 1.4), ("max_ulp", 2.9)])
def test_change_within_the_noise_is_the_same(name: str, value: float) -> None:
    assert told(record(digest="f" * 16, **{name: value}), record()).golden == "same"


@pytest.mark.parametrize(("name", "value"), [("rms", 0.1), ("utilisation", 0.05), ("bias", 0.05)])
def test_improvement_is_better_and_passes(name: str, value: float) -> None:
    old = record(bias=0.7) if name == "bias" else record()
    better = told(record(digest="f" * 16, **{name: value}), old)
    assert better.outcome is Outcome.PASS
    assert better.golden.startswith(f"better: {name}")


def test_one_statistic_worse_is_a_regression_whatever_got_better() -> None:
    assert told(record(digest="", rms=0.5, utilisation=0.05), record()).outcome is Outcome.REGRESSED


def test_drift_with_another_seed_is_told_but_passes() -> None:
    moved = told(record(rms=1.2, seed=7), record())
    assert moved.outcome is Outcome.PASS
    assert moved.golden == "drifted: rms 1.2 was 0.25 (limit 0.8428); seed was 0, is 7"


def test_drift_under_other_software_is_told_but_passes() -> None:
    """A new PyTorch may sum in another order: that is news, not this kernel's regression."""
    moved = told(record(digest="", rms=0.5), record(), env="lastbit0.1.0 numpy2.4.6 torch2.12.0 threads2")
    assert moved.outcome is Outcome.PASS
    assert moved.golden.startswith("drifted: rms 0.5 was 0.25")
    assert "software was lastbit0.1.0 numpy2.4.6 torch2.12.0 threads2" in moved.golden


@pytest.mark.parametrize("level", [Level.FAMILY, Level.ARCH])
def test_baseline_of_another_device_is_advice_only(level: Level) -> None:
    moved = told(record(digest="", rms=0.9), record(), level=level)
    assert moved.outcome is Outcome.PASS
    assert moved.golden == f"new: on {SLUG} it would be drifted, rms 0.9 was 0.25 (limit 0.3594)"


def test_old_baseline_is_stale_unless_the_record_drifted() -> None:
    old = date.fromordinal(DAY.toordinal() - STALE_DAYS - 1)
    assert told(record(), record(), day=old).golden == f"stale: the baseline is {STALE_DAYS + 1} days old"
    assert told(record(rms=0.9, digest=""), record(), day=old).outcome is Outcome.REGRESSED
    assert told(record(), record(), day=date.fromordinal(old.toordinal() + 1)).golden == "same"


def test_baseline_of_another_size_is_stale() -> None:
    assert (
        told(record(n=512, digest=""), record()).golden == "stale: the baseline is of 4096 elements, this case has 512"
    )


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PASS])
def test_only_a_pass_is_compared(outcome: Outcome) -> None:
    assert told(record(outcome=outcome, rms=0.9), record()) == record(outcome=outcome, rms=0.9)


def test_error_where_the_baseline_had_none_is_a_regression_on_the_same_data_only() -> None:
    exact = record(max_ulp=0.0, p99_ulp=0.0, rms=0.0, utilisation=0.0, bias=0.0)
    assert told(record(digest=""), exact).outcome is Outcome.REGRESSED
    assert told(record(digest="", seed=7), exact).golden == "same"


def test_few_elements_say_nothing_about_drift() -> None:
    few = {"n": FEWEST - 1, "digest": ""}
    assert told(record(rms=0.9, **few), record(**few)).golden == "same"


def test_failing_record_has_no_baseline() -> None:
    with pytest.raises(GoldenError):
        baselines(record(outcome=Outcome.OVER_BUDGET))


def outputs(n: int, data: int, errors: int, scale: float = 1.0) -> ErrorStats:
    """The statistics of n Gaussian errors, an eighth of sigma, of truths that are Gaussian: some are near zero."""
    truth, error = np.random.default_rng(data).standard_normal(n), np.random.default_rng(errors).standard_normal(n)
    error *= scale / 8
    ulps = np.abs(error) / np.exp2(np.floor(np.log2(np.abs(truth))))
    return ErrorStats(
        n=n,
        max_ulp=float(ulps.max()),
        p99_ulp=float(np.quantile(ulps, 0.99)),
        utilisation=float(np.abs(error).max()) / 1.5,
        rms=float(np.sqrt(np.mean(error**2))),
        bias=float(np.sum(error * np.sign(truth)) / np.sum(np.abs(error))),
    )


def pairs(n: int, scale: float, *, same_data: bool) -> Iterator[bool]:
    """Whether drift is told of each of 40 pairs of samples, the second's errors scaled."""
    for seed in range(40):
        old = golden(record(stats=outputs(n, seed, 2000 + seed)), env="", by="", day="2026-11-25", reason="")
        new = outputs(n, seed if same_data else 1000 + seed, 3000 + seed, scale)
        yield any(change.worse for change in changes(new, old, same_data=same_data))


@pytest.mark.parametrize("same_data", [True, False])
@pytest.mark.parametrize("n", [64, 561, 4096, 65536])
def test_other_errors_of_the_same_size_never_drift(n: int, same_data: bool) -> None:
    assert not any(pairs(n, 1.0, same_data=same_data))


@pytest.mark.parametrize(
    ("n", "scale", "same_data"), [(561, 2.5, True), (4096, 1.75, True), (65536, 1.5, True), (65536, 2.0, False)]
)
def test_larger_errors_always_drift(n: int, scale: float, same_data: bool) -> None:
    assert all(pairs(n, scale, same_data=same_data))


def test_comparison_is_with_the_rounded_value_as_stored() -> None:
    exact = record(digest="", rms=1 / 3, utilisation=2 / 3, max_ulp=10 / 3, p99_ulp=1.1111111)
    kept = golden(exact, env=ENV, by="", day="2026-11-25", reason="")
    assert kept.rms == rounded(1 / 3) == 0.3333
    assert compare(exact, kept, DAY).state == "same"
    assert key(exact) == kept.key
