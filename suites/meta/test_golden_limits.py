"""The limits of drift, at their edges: golden/README.md's formulas written again, and what a drift says."""

from datetime import date
from math import e, log, sqrt

import pytest

from lastbit.golden.drift import Change, Drift, changes, compare, judged
from lastbit.golden.match import Baselines, Level, Match
from lastbit.golden.store import Golden, golden, key
from lastbit.verdict import ErrorStats, Outcome, Record

from .record_examples import SLUG, environment, record

DAY = date(2026, 11, 25)
ENV = environment().software("mine/gemm")


def adopted(stats: ErrorStats, **changed: object) -> Golden:
    return golden(record(stats=stats, **changed), env=ENV, by="", day=DAY.isoformat(), reason="first")


def stats(n: int, **changed: float) -> ErrorStats:
    plain = {"rms": 0.25, "utilisation": 0.2, "bias": 0.05, "p99_ulp": 4.0, "max_ulp": 8.0}
    return ErrorStats(n=n, **(plain | changed))  # type: ignore[arg-type]


def limits(n: int, *, same_data: bool) -> dict[str, float]:
    """From which value on each statistic of `stats` counts as worse."""
    n_eff = n if same_data else max(n / 128, e)
    top = 1.25 * sqrt(1 + log(2 / 1e-9) / log(n_eff))
    found = {
        "rms": 0.25 * (1.25 + 6 * sqrt(2 * 8 / (4 * n_eff))),
        "utilisation": 0.2 * top,
        "bias": 0.05 + 0.25 + 6 * 1.25 * sqrt(2 / n_eff),
    }
    if n >= 1000:
        found |= {"p99_ulp": max(4 * top, 4.5), "max_ulp": max(8 * top, 9.0)}
    return found


@pytest.mark.parametrize("n", [64, 999, 1000, 4096, 1 << 20])
@pytest.mark.parametrize("same_data", [True, False])
def test_each_statistic_drifts_from_its_limit_on(n: int, same_data: bool) -> None:
    old = adopted(stats(n))
    for name, limit in limits(n, same_data=same_data).items():
        for factor, moved in ((0.999, False), (1.001, True)):
            beside = {"p99_ulp": limit * 0.49} if name == "max_ulp" else {}  # a tail that is not heavy
            found = changes(stats(n, **beside, **{name: limit * factor}), old, same_data=same_data)
            assert [change.name for change in found] == [name] * moved, (name, factor)
            if moved:
                assert found[0].limit == pytest.approx(limit, rel=1e-9)
                assert found[0].old == getattr(old, name)
                assert found[0].new == pytest.approx(limit * 1.001, rel=1e-3)
                assert found[0].worse
    untold = {"p99_ulp": 1e6, "max_ulp": 1e6} if n < 1000 else {}
    assert changes(stats(n, **untold), old, same_data=same_data) == []


def test_each_statistic_is_better_below_as_much() -> None:
    n, old = 4096, adopted(stats(4096, bias=0.9))
    for name, limit in limits(n, same_data=True).items():
        before = getattr(old, name)
        edge = (
            before - (limit - 0.05)
            if name == "bias"
            else min(
                before / (limit / getattr(stats(n), name)), before - 0.5 * (name == "p99_ulp") - (name == "max_ulp")
            )
        )
        for factor, moved in ((1.001, False), (0.999, True)):
            found = changes(stats(n, **({"bias": 0.9} | {name: edge * factor})), old)
            assert [(change.name, change.worse) for change in found] == [(name, False)] * moved


def test_too_few_elements_and_heavy_tails_say_nothing() -> None:
    assert changes(stats(63, rms=9.0), adopted(stats(63))) == []
    assert [c.name for c in changes(stats(64, rms=9.0), adopted(stats(64)))] == ["rms"]
    for p99, most, has_scale in ((4.0, 12.0, True), (4.0, 12.01, False), (0.1, 1.5, True), (0.1, 1.51, False)):
        old = adopted(stats(4096, p99_ulp=p99, max_ulp=most))
        moved = changes(stats(4096, p99_ulp=500.0, max_ulp=900.0), old)
        assert {c.name for c in moved} == ({"p99_ulp", "max_ulp"} if has_scale else set())
    old = adopted(stats(4096, p99_ulp=1.0, max_ulp=2.0))
    heavy = stats(4096, p99_ulp=100.0, max_ulp=301.0)
    assert {c.name for c in changes(heavy, old, same_data=True)} == {"p99_ulp", "max_ulp"}
    assert changes(heavy, old, same_data=False) == []
    assert {c.name for c in changes(stats(4096, p99_ulp=100.0, max_ulp=300.0), old, same_data=False)} == {
        "p99_ulp",
        "max_ulp",
    }


def test_small_ulps_have_a_floor_of_half_a_step() -> None:
    old = adopted(stats(1 << 20, p99_ulp=0.1, max_ulp=0.2))
    for name, edge in (("p99_ulp", 0.6), ("max_ulp", 1.2)):
        for value, moved in ((edge * 0.999, False), (edge * 1.002, True)):
            found = changes(stats(1 << 20, **({"p99_ulp": 0.1, "max_ulp": 0.2} | {name: value})), old)
            assert [change.name for change in found] == [name] * moved


def test_a_baseline_of_no_error_has_a_scale_on_the_same_data_only() -> None:
    none = stats(4096, rms=0.0, utilisation=0.0, bias=0.0, p99_ulp=0.0, max_ulp=0.0)
    moved = changes(stats(4096), adopted(none))
    assert {change.name for change in moved} >= {"rms", "utilisation"}
    assert changes(stats(4096), adopted(none), same_data=False) == []


def told(new: Record, old: Golden, level: Level = Level.EXACT) -> Record:
    return judged(new, Baselines("gemm", SLUG, ((level, SLUG, {old.key: old}),)), environment(), DAY)


def test_a_regression_gives_the_change_that_is_furthest_beyond_its_limit() -> None:
    old = adopted(stats(4096))
    for rms, utilisation, name in ((2.0, 0.6, "rms"), (0.4, 0.9, "utilisation")):
        new = told(record(stats=stats(4096, rms=rms, utilisation=utilisation), digest=""), old)
        assert new.outcome is Outcome.REGRESSED
        assert new.measured == {"rms": rms, "utilisation": utilisation}[name]
        assert new.allowed == pytest.approx(limits(4096, same_data=True)[name])
        assert "rms" in new.reason
        assert "utilisation" in new.reason
    new = told(record(stats=stats(4096, rms=3.0, p99_ulp=20.0, max_ulp=40.0), digest=""), old)
    assert new.measured == 3.0  # eight times its limit; the others are larger numbers, and twice theirs


def test_the_sign_of_a_bias_is_no_drift() -> None:
    old = adopted(stats(4096, bias=-0.05))
    assert changes(stats(4096, bias=0.05), old) == []
    assert [change.old for change in changes(stats(4096, bias=0.9), old)] == [0.05]


def test_what_a_comparison_says() -> None:
    old = adopted(stats(4096))
    assert Change("rms", 0.2, 0.4, 0.28).text() == "rms 0.4 was 0.2 (limit 0.28)"
    assert not Change("rms", 0.2, 0.2, 0.2).worse
    better = told(record(stats=stats(4096, rms=0.1, utilisation=0.05), digest=""), old)
    assert better.golden.startswith("better: rms 0.1 was 0.25 (limit 0.1739), utilisation 0.05 was 0.2 (limit ")
    assert told(record(stats=stats(4096), digest=""), old).golden == "same"
    assert told(record(stats=stats(4096), digest=""), old, Level.ARCH).golden == f"new: on {SLUG} it would be same"
    assert told(record(stats=stats(4096), kernel="mine/other"), old).golden == "new"
    assert compare(record(stats=None, digest=""), old, DAY).state == "stale"


def test_a_digest_speaks_for_its_own_seed_only_and_an_empty_one_for_none() -> None:
    old = adopted(stats(4096), digest="a" * 16, seed=3)
    wild = stats(4096, rms=9.0)
    for digest, seed, same in (("a" * 16, 3, True), ("a" * 16, 4, False), ("b" * 16, 3, False)):
        assert (compare(record(stats=wild, digest=digest, seed=seed), old, DAY).state == "same") is same
    blank = adopted(stats(4096), digest="", seed=3)
    assert compare(record(stats=wild, digest="", seed=3), blank, DAY).state == "drifted"
    assert compare(record(stats=stats(9), digest="a" * 16, seed=3), old, DAY).state == "same"


def test_age_counts_from_the_day_of_the_run_and_hides_no_drift() -> None:
    old = adopted(stats(4096))
    for days, state in ((180, "same"), (181, "stale")):  # half a year
        today = date.fromordinal(DAY.toordinal() + days)
        assert compare(record(stats=stats(4096), digest=""), old, today).state == state
        assert compare(record(stats=stats(4096, rms=9.0), digest=""), old, today).state == "drifted"
        better = compare(record(stats=stats(4096, rms=0.1), digest=""), old, today)
        assert better.state == ("stale" if state == "stale" else "better")
        assert [change.name for change in better.changes] == ["rms"]
    assert compare(record(stats=stats(4096), digest=""), old).state in ("same", "stale")
    assert Drift("same") == Drift("same", (), "")


def test_records_that_failed_or_have_no_statistics_are_left_alone() -> None:
    old = adopted(stats(4096))
    for changed in ({"outcome": Outcome.OVER_BUDGET}, {"allowed": 0.0}, {"stats": stats(0)}, {"stats": None}):
        one = record(**({"stats": stats(4096)} | changed))
        assert told(one, old) == one


def test_the_nearest_device_speaks() -> None:
    a, b = adopted(stats(4096)), adopted(stats(4096, rms=0.5))
    other = adopted(stats(4096), kernel="mine/other")
    files = (
        (Level.EXACT, "own", {other.key: other}),
        (Level.FAMILY, "near", {a.key: a}),
        (Level.ARCH, "far", {b.key: b}),
    )
    found = Baselines("gemm", "own", files)
    assert found.match(a.key) == Match(Level.FAMILY, a, "near")
    assert found.match(other.key) == Match(Level.EXACT, other, "own")
    assert found.match("nothing") == Match(Level.NONE, None, "")
    assert key(record(stats=stats(4096))) == a.key
