"""Measuring a device's limits: copies that go round in more and more bytes, and square matrix products by format."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from lastbit.perf.limits import LEAST_CLEAN, Figure
from lastbit.perf.memory import keep_memory
from lastbit.perf.others import moment, share
from lastbit.perf.pairs import no_collection
from lastbit.perf.ring import MOST_BYTES, TIMES_CACHE, last_cache
from lastbit.perf.samples import MOST_CALLS, Sample, Timer, calibrated, dirt

#: Samples of a figure, at most, and seconds for them. A limit is what is reached again and again, undisturbed: the
#: lower decile of the times. The minimum would be one lucky moment, the median has the neighbours' noise in it.
SAMPLES = 40
BUDGET_S = 1.5
DECILE = 0.1
#: Fewest clean samples that two halves can be told from; with fewer the figure is of dirty ones, and so flagged.
FEWEST = 8
#: A GPU's launches are queued behind one another, so that a sample is as long as is needed to hide them.
GPU_SAMPLE_NS = 2_000_000
#: Bytes that one call copies at most: of a larger round the calls take a slice each, so that a sample stays short.
SLICE = {"cpu": 2**20, "cuda": 2**28}
#: Bytes of the smallest round, where the copy outweighs its call, and of the largest on a GPU, beyond any L2.
SMALLEST = {"cpu": 2**18, "cuda": 2**24}
LARGEST_GPU = 2**30
#: Sides of the square products, upwards until one lasts longer than SLOW_NS: long samples are rarely clean, and slow
#: formats reach their speed early.
SIDES = {"cpu": (64, 128, 256, 384, 512, 1024), "cuda": (2048, 4096, 8192)}
SLOW_NS = {"cpu": 1_000_000, "cuda": 50_000_000}
#: Rounds over all figures, with fresh memory in each; and over those whose two best rounds do not agree, at most. What
#: disturbs a limit, a neighbour in the last cache for one, lasts longer than the samples of one figure do.
ROUNDS, MOST_ROUNDS = 5, 10
FORMATS = ("f64", "f32", "tf32", "bf16", "f16", "e4m3fn", "i8")


@dataclass(frozen=True, slots=True)
class Job:
    """Something to time: a call, and the bytes or operations of it."""

    run: Callable[[], object]
    amount: float


def measured(device: str, threads: int = 1) -> tuple[Mapping[int, Figure], Mapping[str, Figure]]:
    """Copy bandwidth by bytes, and the peak of products by format, of `device` now; about 20 s."""
    from lastbit.perf.devices import clock

    keep_memory()
    kind = device.partition(":")[0]
    works = TorchJobs(device) if find_spec("torch") else NumpyJobs()
    timer = clock(device, threads)
    target = timer.target_ns if kind == "cpu" else GPU_SAMPLE_NS

    def rate(job: Job) -> Figure:
        def take(calls: int) -> Sample:
            return timer.timed(lambda: _repeat(job.run, calls), calls, lambda: None)

        return figure(take, job.amount, threads, target)

    def copied(size: int) -> Figure:
        return rate(works.copy(size, SLICE[kind]))

    def multiplied(fmt: str, side: int) -> Figure:
        return rate(works.gemm(fmt, side))

    before = moment()
    best = {fmt: side for fmt in FORMATS if (side := _best_side(works, fmt, kind, rate))}
    takes: dict[int | str, Callable[[], Figure]] = {size: partial(copied, size) for size in rounds(kind)}
    takes |= {fmt: partial(multiplied, fmt, side) for fmt, side in best.items()}
    found = repeated(takes)
    others = round(share(before, moment()), 4) if kind == "cpu" else 0.0
    found = {name: replace(one, others=others) for name, one in found.items()}
    return {size: found[size] for size in rounds(kind)}, {fmt: found[fmt] for fmt in best}


def repeated(takes: Mapping[int | str, Callable[[], Figure]]) -> dict[int | str, Figure]:
    """Each figure, taken in ROUNDS rounds over all, then again, up to MOST_ROUNDS, where its two best do not agree."""
    found: dict[int | str, list[Figure]] = {name: [] for name in takes}
    for turn in range(MOST_ROUNDS):
        for name, take in takes.items():
            if turn < ROUNDS or best_of(found[name]).busy:
                found[name].append(take())
    return {name: best_of(figures) for name, figures in found.items()}


def best_of(figures: Sequence[Figure]) -> Figure:
    """The highest rate, for a limit is what is reached undisturbed, and how far the next one is from it."""
    sure = [one for one in figures if one.clean_share >= LEAST_CLEAN] or list(figures)
    first, second = sorted(sure, key=lambda one: -one.per_s)[:2] if len(sure) > 1 else (sure[0], None)
    apart = first.per_s / second.per_s - 1 if second else first.apart
    return Figure(first.per_s, first.clean_share, round(apart, 4))


def rounds(kind: str, cache: int | None = None) -> list[int]:
    """Bytes that copies go round in: by fours, up to TIMES_CACHE of the last cache (LARGEST_GPU on a GPU)."""
    largest = (
        LARGEST_GPU if kind != "cpu" else min(MOST_BYTES, TIMES_CACHE * (last_cache() if cache is None else cache))
    )
    found = [SMALLEST[kind]]
    while found[-1] < largest:
        found.append(found[-1] * 4)
    return found


def figure(
    timer: Timer,
    amount: float,
    threads: int = 1,
    target_ns: int = GPU_SAMPLE_NS,
    *,
    most: int = MOST_CALLS,
    now: Callable[[], float] = time.monotonic,
) -> Figure:
    """The rate of what `timer` takes samples of, `amount` a call: the decile of the clean samples' times.

    A sample has at most `most` calls.
    """
    calls = calibrated([timer], target_ns, most)
    clean: list[float] = []
    every: list[float] = []
    start = now()
    with no_collection():
        while len(clean) < SAMPLES and len(every) < 4 * SAMPLES and (now() - start < BUDGET_S or len(every) < 2):
            sample = timer(calls)
            every.append(sample.ns_per_call)
            if not dirt(sample, threads):
                clean.append(sample.ns_per_call)
    kept = clean if len(clean) >= FEWEST else every
    middle = len(kept) // 2
    one, other = _decile(kept[:middle]), _decile(kept[middle:])
    apart = max(one, other) / min(one, other) - 1
    share = len(clean) / len(every) if len(clean) >= FEWEST else 0.0
    return Figure(amount * 1e9 / _decile(kept), round(share, 4), round(apart, 4))


class TorchJobs:
    """The jobs in PyTorch."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch: Any = torch
        self._device = device

    def copy(self, size: int, most: int) -> Job:
        """A copy that goes round in `size` bytes, half of them read and half written, at most `most` of each a call."""
        each = min(size // 2, most)
        source, target = (
            self._torch.zeros((size // 2 // each, each // 4), dtype=self._torch.float32, device=self._device).unbind()
            for _ in range(2)
        )
        return Job(_turns([partial(b.copy_, a) for a, b in zip(source, target, strict=True)]), 2 * each)

    def gemm(self, fmt: str, side: int) -> Job:
        """A product of two matrices of `side` rows and columns.

        Raises RuntimeError where the device has none of this format.
        """
        torch = self._torch
        if fmt == "tf32":
            if self._device == "cpu":
                raise RuntimeError("a CPU has no tf32")
            return Job(self._with_tf32(self.gemm("f32", side).run), 2.0 * side**3)
        a, b = (torch.randn((side, side), device=self._device) for _ in range(2))
        if fmt == "i8":
            whole = [(16 * one).clamp(-127, 127).to(torch.int8) for one in (a, b)]
            return Job(lambda: torch._int_mm(*whole), 2.0 * side**3)
        if fmt == "e4m3fn":
            one = torch.ones((), device=self._device)
            left, right = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
            return Job(
                lambda: torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16),
                2.0 * side**3,
            )
        dtype = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[fmt]
        left, right = a.to(dtype), b.to(dtype)
        return Job(lambda: torch.mm(left, right), 2.0 * side**3)

    def _with_tf32(self, run: Callable[[], object]) -> Callable[[], object]:
        matmul = self._torch.backends.cuda.matmul

        def allowed() -> object:
            before, matmul.allow_tf32 = matmul.allow_tf32, True
            try:
                return run()
            finally:
                matmul.allow_tf32 = before

        return allowed


class NumpyJobs:
    """The jobs in NumPy, where there is no PyTorch."""

    def copy(self, size: int, most: int) -> Job:
        """As TorchJobs.copy."""
        import numpy as np

        each = min(size // 2, most)
        source, target = (np.zeros((size // 2 // each, each // 4), np.float32) for _ in range(2))
        return Job(_turns([partial(np.copyto, b, a) for a, b in zip(source, target, strict=True)]), 2 * each)

    def gemm(self, fmt: str, side: int) -> Job:
        """As TorchJobs.gemm, of f64 and f32."""
        import numpy as np

        if fmt not in ("f64", "f32"):
            raise RuntimeError(f"NumPy has no fast product of {fmt}")
        random = np.random.default_rng(0)
        a, b = (random.standard_normal((side, side)).astype(f"f{int(fmt[1:]) // 8}") for _ in range(2))
        return Job(lambda: a @ b, 2.0 * side**3)


def _best_side(works: TorchJobs | NumpyJobs, fmt: str, kind: str, rate: Callable[[Job], Figure]) -> int:
    """The side of the fastest products; 0 where the device does not multiply this format."""
    found: dict[int, Figure] = {}
    for side in SIDES[kind]:
        try:
            job = works.gemm(fmt, side)
            job.run()
        except (RuntimeError, NotImplementedError, TypeError, AttributeError):  # each library says no in its own way
            break
        found[side] = rate(job)
        if job.amount * 1e9 / found[side].per_s > SLOW_NS[kind]:
            break
    return max(found, key=lambda side: (found[side].clean_share >= LEAST_CLEAN, found[side].per_s), default=0)


def _turns(runs: list[Callable[[], object]]) -> Callable[[], object]:
    """One of `runs` after the other, with every call the next."""
    turn = 0

    def run() -> object:
        nonlocal turn
        turn = (turn + 1) % len(runs)
        return runs[turn]()

    return run


def _repeat(run: Callable[[], object], calls: int) -> None:
    for _ in range(calls):
        run()


def _decile(times: list[float]) -> float:
    return sorted(times)[int(len(times) * DECILE)]
