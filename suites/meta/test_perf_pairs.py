"""Pairs and verdicts on invented samples: what is dropped, when it stops, what passes, and what can never pass."""

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from lastbit.perf.decide import MERGE, decide, golden_limits, percent
from lastbit.perf.estimate import Estimate
from lastbit.perf.pairs import Pairs, Stop, measure
from lastbit.perf.samples import GPU_TARGET_NS, Sample, calibrated, dirt, dirt_of_pair, timed
from lastbit.verdict import Outcome

CLEAN = Sample(calls=10, ns=400_000, cpu_ns=400_000)
STOP = Stop()


class Machine:
    """A machine of its own: its clock goes on with every sample, its noise is drawn, its load takes the core away."""

    def __init__(
        self, seed: int, *, noise: float = 0.05, load: float = 0.0, drift: float = 0.0, refill: float = 0.0
    ) -> None:
        self.random, self.noise, self.load, self.drift, self.refill = Random(seed), noise, load, drift, refill
        self.seconds = 0.0
        self.order: list[str] = []

    def now(self) -> float:
        return self.seconds

    def source(self, name: str, slower: float = 0.0) -> Callable[[], Sample]:
        def take() -> Sample:
            self.order.append(name)
            speed = 1 + self.drift * math.sin(self.seconds)
            busy = 400_000 * (1 + slower) * speed * math.exp(self.random.gauss(0, self.noise)) + self.refill
            stolen = 4_000_000 if self.random.random() < self.load else 0
            self.seconds += (busy + stolen) * 1e-9
            return Sample(10, int(busy + stolen), int(busy), switches=1 if stolen else 0)

        return take

    def compare(self, slower: float, stop: Stop = STOP) -> Pairs:
        return measure(self.source("base"), self.source("head", slower), self.random, stop, now=self.now)


@pytest.mark.parametrize("load", [0.0, 0.3, 0.6])
@pytest.mark.parametrize(("slower", "expected"), [(0.0, Outcome.PASS), (0.1, Outcome.SLOW), (0.2, Outcome.SLOW)])
def test_verdicts_on_a_noisy_machine(load: float, slower: float, expected: Outcome) -> None:
    """40 machines each: speed that drifts by 30 %, 5 % of noise, samples of which up to 60 % are interrupted."""
    verdicts = [decide(Machine(seed, load=load, drift=0.3).compare(slower))[0] for seed in range(40)]
    assert set(verdicts) <= {expected, Outcome.INCONCLUSIVE}
    assert verdicts.count(expected) >= 38


@pytest.mark.parametrize("load", [0.5, 0.9])
@pytest.mark.parametrize("slower", [0.0, 0.093, 0.185])
def test_caches_that_others_empty_leave_it_open_at_worst(load: float, slower: float) -> None:
    """Every sample fetches 1 MiB again, at 10 GB/s: a tenth more then shows as 7.4 %, which is never called as fast."""
    verdicts = [decide(Machine(seed, load=load, refill=100_000).compare(slower))[0] for seed in range(40)]
    wrong = Outcome.PASS if slower else Outcome.SLOW
    assert wrong not in verdicts
    assert load == 0.9 or verdicts.count(Outcome.INCONCLUSIVE) <= 4


def test_dirty_samples_would_hide_a_slowdown_if_they_counted() -> None:
    """Where every other sample is interrupted, the ratio of all of them is far off, and says nothing."""
    stop = replace(STOP, most=100, half_width=0.0)
    for seed in range(10):
        machine = Machine(seed, load=0.5)
        clean = machine.compare(0.1, stop)
        sources = machine.source("base"), machine.source("head", 0.1)
        every = measure(*sources, machine.random, stop, dirty=lambda one, other: "", now=machine.now)
        assert clean.estimate is not None
        assert every.estimate is not None
        assert decide(clean)[0] is Outcome.SLOW
        assert decide(every)[0] is not Outcome.SLOW
        assert abs(clean.estimate.ratio - 1.1) < 0.03 < abs(every.estimate.ratio - 1.1)


def test_rests_after_a_dirty_pair_before_both_samples() -> None:
    """Not only before the one that was dirty: the two would begin differently."""
    heard: list[str] = []

    def take() -> Sample:
        heard.append("sample")
        return replace(CLEAN, switches=1) if len([one for one in heard if one == "sample"]) == 4 else CLEAN

    measure(take, take, Random(0), replace(STOP, most=40, least=40), rest=lambda: heard.append("rest"))
    text = " ".join(heard)
    assert text == " ".join(["sample"] * 4 + ["rest sample"] * 20 + ["sample"] * 2 * (40 - 1 - 10))


def test_order_within_pairs_is_random_and_seeded() -> None:
    orders = []
    for _ in range(2):
        machine = Machine(7)
        machine.compare(0.0)
        orders.append(machine.order)
    assert orders[0] == orders[1]
    pairs = list(zip(orders[0][::2], orders[0][1::2], strict=True))
    assert all(set(pair) == {"base", "head"} for pair in pairs)
    assert 0.2 < sum(first == "base" for first, _ in pairs) / len(pairs) < 0.8


def test_stops_as_soon_as_the_interval_is_narrow() -> None:
    assert Machine(0, noise=0.001).compare(0.0).clean == 20
    assert Machine(0, noise=0.05).compare(0.0).clean in range(30, 201, 10)
    wide = Machine(0, noise=0.5).compare(0.0)
    assert wide.clean == 200
    assert wide.estimate is not None
    assert wide.estimate.half_width > STOP.half_width


def test_budget_ends_a_hopeless_comparison() -> None:
    pairs = Machine(0, load=1.0).compare(0.0)
    assert (pairs.clean, pairs.estimate) == (0, None)
    assert STOP.budget_s <= pairs.seconds < STOP.budget_s + 0.01
    outcome, reason = decide(pairs)
    assert outcome is Outcome.INCONCLUSIVE
    assert reason.startswith(f"0 of {pairs.taken} pairs were clean in 4.0 s (most dropped: interrupted by another")


def test_nineteen_clean_pairs_are_too_few_however_slow_the_head_is() -> None:
    for count, expected in ((19, Outcome.INCONCLUSIVE), (20, Outcome.SLOW)):
        pairs = Machine(1, noise=0.001).compare(1.0, replace(STOP, most=count))
        assert pairs.clean == count
        assert decide(pairs)[0] is expected


def test_garbage_is_not_collected_meanwhile_and_is_again_afterwards() -> None:
    seen = []

    def take() -> Sample:
        seen.append(gc.isenabled())
        return CLEAN

    measure(take, take, Random(0), replace(STOP, most=20))
    assert not any(seen)
    assert gc.isenabled()


def told(ratio: float, low: float, high: float) -> tuple[Outcome, str]:
    times = (1.0,) * 100
    return decide(Pairs(times, times, 110, {}, 0.5, Estimate(ratio, low, high, 100, 0.95)))


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [
        (1.00, 0.99, 1.01, Outcome.PASS),
        (0.50, 0.49, 0.51, Outcome.PASS),
        (1.039, 1.03, 1.0499, Outcome.PASS),
        (1.00, 0.95, 1.0501, Outcome.INCONCLUSIVE),  # the prototype called this a pass
        (1.04, 1.03, 1.06, Outcome.INCONCLUSIVE),
        (1.06, 1.019, 1.10, Outcome.INCONCLUSIVE),
        (1.0501, 1.0201, 1.09, Outcome.SLOW),
        (2.0, 1.9, 2.1, Outcome.SLOW),
    ],
)
def test_verdict_by_ratio_and_interval(ratio: float, low: float, high: float, expected: Outcome) -> None:
    outcome, reason = told(ratio, low, high)
    assert outcome is expected
    assert reason.startswith(f"{percent(ratio)} ({percent(low)} to {percent(high)}, 100 pairs)")


def test_ratios_in_words() -> None:
    assert [percent(ratio) for ratio in (0.9, 1.0, 1.0312, 1.999, 2.0, 9.467)] == [
        "-10.0%",
        "+0.0%",
        "+3.1%",
        "+99.9%",
        "2.00 times",
        "9.47 times",
    ]


def test_golden_limits_follow_the_spread_between_processes() -> None:
    assert golden_limits(0.0) == golden_limits(0.025)
    assert (golden_limits(0.0).slower, golden_limits(0.0).sure) == (0.10, 0.05)
    assert golden_limits(0.04).slower == pytest.approx(0.16)
    assert golden_limits(0.04).sure == pytest.approx(0.08)
    assert (MERGE.slower, MERGE.sure) == (0.05, 0.02)


@pytest.mark.parametrize(
    ("sample", "spoilt"),
    [
        (CLEAN, ""),
        (replace(CLEAN, switches=1), "interrupted by another process"),
        (replace(CLEAN, cpu_ns=387_000), "waited off the core"),
        (replace(CLEAN, cpu_ns=389_000), ""),
        (replace(CLEAN, cpu_ns=417_000), "more than 1 thread at work"),
        (replace(CLEAN, cpu_ns=None), ""),
        (replace(CLEAN, cpu_ns=None, spoilt="clock held down (NVML 0x40)"), "clock held down (NVML 0x40)"),
    ],
)
def test_what_makes_a_sample_dirty(sample: Sample, spoilt: str) -> None:
    assert dirt(sample) == spoilt
    assert dirt_of_pair(CLEAN, sample) == dirt_of_pair(sample, CLEAN) == spoilt  # one side is enough


def test_two_threads_may_use_two_cores() -> None:
    both = replace(CLEAN, cpu_ns=800_000)
    assert dirt(both, threads=2) == ""
    assert dirt(both, threads=1) == "more than 1 thread at work"


def test_clocks_of_a_gpu_pair_must_agree() -> None:
    fast, slow = (replace(CLEAN, cpu_ns=None, clocks_mhz=(mhz, mhz)) for mhz in (1980, 1860))
    assert dirt_of_pair(fast, slow) == "clocks differ"
    assert dirt_of_pair(slow, replace(fast, clocks_mhz=(1980, 1950))) == ""
    assert dirt_of_pair(fast, replace(slow, clocks_mhz=(0, 0))) == ""  # NVML does not tell


def calls_of(*ns_per_call: float, target: int = 400_000) -> int:
    def timer(ns: float) -> Callable[[int], Sample]:
        tries: Iterator[float] = iter((50.0, 3.0, 1.0, 1.0, 1.2, 1.0))  # the first calls are cold
        return lambda calls: Sample(calls, int(next(tries) * ns * calls))

    return calibrated([timer(ns) for ns in ns_per_call], target)


@pytest.mark.parametrize(
    ("ns_per_call", "calls"),
    [((10_000,), 40), ((10_000, 20_000), 20), ((1,), 64), ((5_000_000, 10), 1), ((150_000,), 3)],
)
def test_calibration_aims_at_the_slower_side(ns_per_call: tuple[float, ...], calls: int) -> None:
    assert calls_of(*ns_per_call) == calls


def test_a_gpu_sample_is_one_launch_or_20_us() -> None:
    assert calls_of(50_000, target=GPU_TARGET_NS) == 1
    assert calls_of(2_000, target=GPU_TARGET_NS) == 10


def test_timed_counts_what_ran() -> None:
    ran = []
    sample = timed(lambda: ran.append(1), 1)
    assert ran == [1]
    assert sample.ns > 0
    assert sample.cpu_ns is not None
    assert sample.cpu_ns > 0
    assert sample.ns_per_call == sample.ns


def test_a_kernel_that_patches_the_clocks_is_timed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks are those that lastbit was imported with."""

    def patch() -> None:
        for name in ("perf_counter_ns", "process_time_ns", "perf_counter", "process_time", "time_ns"):
            monkeypatch.setattr(time, name, lambda: 0)
        sum(range(10_000))

    sample = timed(patch, 1)
    assert sample.ns > 1
    assert sample.cpu_ns is not None
    assert sample.cpu_ns > 0
