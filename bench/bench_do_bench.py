"""Whether the timing core agrees with triton.testing.do_bench on a CUDA device: the same calls, from a cold cache."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from lastbit.perf.devices import CudaClock, last_cache_of
from lastbit.perf.ring import copies_for
from lastbit.perf.samples import Sample, dirt

#: Relative difference of the two medians, of calls that take LEAST_US at least: in shorter ones the two differ by what
#: they leave in the cache, and by a tick of the events.
GOAL = 0.03
LEAST_US = 100.0
#: Samples of ours a turn, and turns of the two tools one after the other.
SAMPLES, TURNS = 50, 3

Row = dict[str, Any]


def rows() -> list[Row]:
    """A row a call; one that says so where there is no CUDA device. About a minute."""
    import torch

    if not torch.cuda.is_available():
        return [_row("do_bench", None, "no CUDA device", None)]
    from triton.testing import do_bench

    timer = CudaClock("cuda")
    made = []
    for name, run, operands in _calls(torch):
        size = sum(one.nbytes for one in operands)
        copies = [[one.clone() for one in operands] for _ in range(copies_for(size, last_cache_of("cuda"), cold=True))]
        turns = [(ours(timer, run, copies), theirs(do_bench, run, operands)) for _ in range(TURNS)]
        made.append(agreement(name, *(median(times) for times in zip(*turns, strict=True))))
    return made


def ours(timer: CudaClock, run: Callable[..., Any], copies: Sequence[Sequence[Any]]) -> float:
    """Microseconds of one call: the median of the clean samples, operands going round.

    Raises RuntimeError where no sample is clean.
    """
    for given in copies:
        run(*given)
    taken = [_sample(timer, run, copies[turn % len(copies)]) for turn in range(SAMPLES)]
    clean = [one.ns_per_call / 1e3 for one in taken if not dirt(one)]
    if not clean:
        raise RuntimeError(f"no sample of {SAMPLES} is clean: {dirt(taken[0])}")
    return median(clean)


def theirs(do_bench: Callable[..., float], run: Callable[..., Any], operands: Sequence[Any]) -> float:
    """Microseconds of one call by do_bench, which writes over the cache before each."""
    return 1e3 * do_bench(lambda: run(*operands), warmup=50, rep=200, return_mode="median")


def agreement(name: str, ours_us: float, theirs_us: float) -> Row:
    """The row of one call; no goal for those that are too short."""
    apart = ours_us / theirs_us - 1
    long = min(ours_us, theirs_us) >= LEAST_US
    unit = f"relative ({ours_us:.4g} us, do_bench {theirs_us:.4g} us)"
    return _row(f"do_bench: {name}", apart, unit, abs(apart) <= GOAL if long else None)


def _sample(timer: CudaClock, run: Callable[..., Any], given: Sequence[Any]) -> Sample:
    return timer.timed(lambda: run(*given), 1, lambda: None)


def _calls(torch: Any) -> list[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """Calls bound by memory and by arithmetic, from some 20 us to some milliseconds on a large GPU."""

    def normal(*shape: int, dtype: Any = torch.float32) -> Any:
        return torch.randn(shape, device="cuda").to(dtype)

    half = torch.bfloat16
    return [
        ("softmax 1024x1024 f32", lambda x: torch.softmax(x, -1), (normal(1024, 1024),)),
        ("softmax 8192x8192 f32", lambda x: torch.softmax(x, -1), (normal(8192, 8192),)),
        ("copy of 512 MiB", lambda x: x.clone(), (normal(2**27),)),
        ("mm 4096 bf16", torch.mm, (normal(4096, 4096, dtype=half), normal(4096, 4096, dtype=half))),
        ("mm 2048 f32", torch.mm, (normal(2048, 2048), normal(2048, 2048))),
    ]


def _row(name: str, value: float | None, unit: str, ok: bool | None) -> Row:
    return {"name": name, "value": value, "unit": unit, "goal": f"<= {GOAL}", "ok": ok}
