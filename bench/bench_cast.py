"""What it costs to judge the casts of all 65,536 f16 and bf16 codes to every 8-bit-and-below format of ml_dtypes."""

from collections.abc import Callable
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from lastbit.case import Check, Trial
from lastbit.contract import resolved
from lastbit.kernel import Kernel
from lastbit.numpy_arrays import dtype
from lastbit.providers import ml_dtypes as provider
from lastbit.references.formats import Format
from lastbit.suites import cast, cast_trial

SOURCES = ("f16", "bf16")
ROUNDS = 5
_SEEDS = count()


def rows() -> list[dict[str, Any]]:
    """Judging (a guarded call, every right code, the comparison), cold, against the casts themselves."""
    [check] = [one for one in cast.CHECKS if one.name == "exhaustive"]
    turns = [(kernel, formats) for kernel in provider.kernels() for formats in kernel.format_sets if _narrow(formats)]
    operands = {fmt: np.arange(1 << 16, dtype=np.uint16).view(dtype(fmt)) for fmt in SOURCES}
    casts, judging = [], []
    for turn in range(ROUNDS + 1):
        times = _timed(lambda: [kernel.run(operands[formats["x"]]) for kernel, formats in turns])
        judged = _timed(lambda: [_judge(check, kernel, formats) for kernel, formats in turns])
        if turn:  # the first warms caches and pages
            casts.append(times)
            judging.append(judged)
    ratio = median(judging) / median(casts)
    pairs = f"{len(turns)} pairs"
    return [
        _row("judging exhaustive casts of f16 and bf16 / the casts", ratio, "ratio of medians", "<= 20", ratio <= 20),
        _row(f"casts of 65,536 codes, {pairs}", median(casts) * 1e3, "ms", "", None),
        _row(f"judging them, {pairs}", median(judging) * 1e3, "ms", "", None),
    ]


def _narrow(formats: dict[str, str]) -> bool:
    return formats["x"] in SOURCES and Format.of(formats["out"]).bits <= 8


def _judge(check: Check, kernel: Kernel, formats: dict[str, str]) -> None:
    """One trial, with nothing kept from an earlier one."""
    cast_trial._operand.cache_clear()
    # Another seed has no kept answer.
    trial = Trial(kernel, formats, resolved(kernel.contract, formats), "cpu", check.cases[0], seed=next(_SEEDS))
    verdict = check.judge(trial)
    if formats["out"] != "e8m0fnu" and verdict.outcome.failed:  # F24 is about e8m0fnu
        raise AssertionError(verdict.reason)


def _timed(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _row(name: str, value: float, unit: str, goal: str, ok: bool | None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "ok": ok}
