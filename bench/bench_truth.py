"""How fast exact GEMM truth is: ratios to one DGEMM and to mpmath's fdot, measured side by side in this process."""

import json
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import mpmath
import numpy as np

from lastbit.references.formats import Format
from lastbit.references.gemm import referee, truth

SIZE = 512
ROUNDS = 7
#: Elements that mpmath computes; its time for all SIZE^2 is extrapolated from them.
SAMPLE = 24


def rows() -> list[dict[str, Any]]:
    """Each measured ratio as {"name", "value", "unit", "goal", "ok"}; about 5 s."""
    found = []
    for name in ("f16", "bf16", "f32"):
        a, b = _normal(name, 1), _normal(name, 2)
        exact, plain = _interleaved(lambda a=a, b=b: truth(a, b), lambda a=a, b=b: a @ b)
        label = f"exact truth of {name} N(0,1) {SIZE}x{SIZE}x{SIZE}"
        # f32 needs more slices: reported, without a goal of its own
        found.append(_row(f"{label} / one DGEMM", exact / plain, "times", "<= 10" if name != "f32" else ""))
        slow = _fdot(a, b) * SIZE * SIZE
        found.append(_row(f"mpmath fdot ({SAMPLE} elements, extrapolated) / {label}", slow / exact, "times", ">= 1000"))
    return found


def _normal(name: str, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A normal matrix rounded to the format."""
    return Format.of(name).round(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))


def _interleaved(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of two calls taken in turns, after one unmeasured turn each."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, seconds in zip((first, second), times, strict=True):
            start = perf_counter()
            call()
            seconds.append(perf_counter() - start)
    return median(times[0]), median(times[1])


def _fdot(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Seconds an element of mpmath.fdot at 200 bits takes, operands already converted to mpf."""
    random = np.random.default_rng(3)
    spent = 0.0
    for i, j in random.integers(0, SIZE, (SAMPLE, 2)):
        with mpmath.workprec(200):
            row, column = [mpmath.mpf(x) for x in a[i].tolist()], [mpmath.mpf(x) for x in b[:, j].tolist()]
            start = perf_counter()
            value = mpmath.fdot(row, column)
            spent += perf_counter() - start
        if value != referee(a, b, (int(i), int(j))):
            raise ArithmeticError(f"fdot at 200 bits rounded element ({i}, {j}); the comparison would be unfair")
    return spent / SAMPLE


def _row(name: str, value: float, unit: str, goal: str) -> dict[str, Any]:
    """One line of the report; `ok` is whether the goal is met, None without one."""
    if not goal:
        return {"name": name, "value": round(value, 2), "unit": unit, "goal": "", "ok": None}
    sign, limit = goal.split()
    met = value <= float(limit) if sign == "<=" else value >= float(limit)
    return {"name": name, "value": round(value, 2), "unit": unit, "goal": goal, "ok": met}


if __name__ == "__main__":
    print(json.dumps(rows(), indent=2))
