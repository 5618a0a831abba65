"""How fast exact GEMM truth is: ratios to one DGEMM and to mpmath's fdot, measured side by side in this process."""

import json
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any, NamedTuple

import mpmath
import numpy as np

from lastbit.references.formats import Format
from lastbit.references.gemm import referee, truth

SIZE = 512
ROUNDS = 40
#: Rounds stop after this time, on a machine that others load.
PATIENCE_S = 4.0
#: Elements that mpmath computes; its time for all SIZE^2 is extrapolated from them.
SAMPLE = 24


class Spent(NamedTuple):
    """Seconds on the clock, and of all the process's threads: neighbours on a loaded machine stretch the first only."""

    wall_s: float
    cpu_s: float


def rows() -> list[dict[str, Any]]:
    """Each measured ratio as {"name", "value", "unit", "goal", "ok"}; at most 20 s, as a rule 5.

    f32 takes more slices than the others and has no goal of its own.
    """
    found = []
    for name in ("f16", "bf16", "f32"):
        a, b = _normal(name, 1), _normal(name, 2)
        exact, plain = _interleaved(lambda a=a, b=b: truth(a, b), lambda a=a, b=b: a @ b)
        label = f"exact truth of {name} N(0,1) {SIZE}x{SIZE}x{SIZE}"
        goals = ("<= 10", ">= 1000") if name != "f32" else ("", "")
        slow = _fdot(a, b) * SIZE * SIZE
        found.append(_row(f"{label} / one DGEMM", exact.wall_s / plain.wall_s, goals[0]))
        found.append(_row(f"{label} / one DGEMM, CPU time", exact.cpu_s / plain.cpu_s, ""))
        against = f"mpmath fdot ({SAMPLE} elements, extrapolated) / {label}"
        found.append(_row(against, slow / exact.wall_s, goals[1]))
    return found


def _normal(name: str, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A normal matrix rounded to the format."""
    return Format.of(name).round(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))


def _interleaved(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Spent, Spent]:
    """Least time of two calls taken in turns, after one unmeasured turn each: what others disturb least."""
    first()
    second()
    begun = perf_counter()
    turns: list[tuple[Spent, Spent]] = []
    while len(turns) < ROUNDS and perf_counter() - begun < PATIENCE_S:
        turns.append((_spent(first), _spent(second)))
    one, other = ([turn[i] for turn in turns] for i in (0, 1))
    return _least(one), _least(other)


def _spent(call: Callable[[], Any]) -> Spent:
    """What one call takes."""
    wall, cpu = perf_counter(), process_time()
    call()
    return Spent(perf_counter() - wall, process_time() - cpu)


def _least(spent: list[Spent]) -> Spent:
    """The least of each."""
    return Spent(min(x.wall_s for x in spent), min(x.cpu_s for x in spent))


def _fdot(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Least seconds of an element by mpmath.fdot at 200 bits, operands already converted to mpf."""
    random = np.random.default_rng(3)
    times = []
    for i, j in random.integers(0, SIZE, (SAMPLE, 2)):
        with mpmath.workprec(200):
            row, column = [mpmath.mpf(x) for x in a[i].tolist()], [mpmath.mpf(x) for x in b[:, j].tolist()]
            start = perf_counter()
            value = mpmath.fdot(row, column)
            times.append(perf_counter() - start)
        if value != referee(a, b, (int(i), int(j))):
            raise ArithmeticError(f"fdot at 200 bits rounded element ({i}, {j}); the comparison would be unfair")
    return min(times)


def _row(name: str, value: float, goal: str) -> dict[str, Any]:
    """One line of the report; `ok` is whether the goal is met, None without one."""
    if not goal:
        return {"name": name, "value": round(value, 2), "unit": "times", "goal": "", "ok": None}
    sign, limit = goal.split()
    met = value <= float(limit) if sign == "<=" else value >= float(limit)
    return {"name": name, "value": round(value, 2), "unit": "times", "goal": goal, "ok": met}


if __name__ == "__main__":
    print(json.dumps(rows(), indent=2))
