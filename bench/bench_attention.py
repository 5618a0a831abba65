"""How long the truth of attention takes beside a plain FP64 evaluation, and what its budget adds."""

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from lastbit.attention_budget import budget
from lastbit.contract import Contract
from lastbit.references.attention import Problem, attention_truth

SHAPE = (1, 8, 1024, 64)
ROUNDS = 3


def rows() -> list[dict[str, Any]]:
    """The ratio of medians, measured by turns in this process, and times; about 20 s."""
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal(SHAPE) for _ in range(3))
    problem = Problem(q, k, v, causal=True)
    ahead = np.triu(np.ones((SHAPE[2], SHAPE[2]), bool), 1)
    contract, formats = Contract(accumulator="f32"), dict.fromkeys(("q", "k", "v", "out"), "f32")
    truth = attention_truth(problem)

    def plain() -> None:
        """The textbook formula on whole arrays: no bound, no blocks."""
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(SHAPE[3])
        scores = np.where(ahead, -np.inf, scores)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        if not np.allclose(weights @ v / weights.sum(-1, keepdims=True), truth.out.hi):
            raise RuntimeError("the plain evaluation is wrong; the timing means nothing")

    work = {
        "plain": plain,
        "truth": lambda: attention_truth(problem),
        "budget": lambda: budget(contract, formats, problem, truth),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(ROUNDS + 1):
        for name, function in work.items():
            start = perf_counter()
            function()
            if turn:  # the first warms caches and pages
                seconds[name].append(perf_counter() - start)
    ms = {name: 1e3 * median(times) for name, times in seconds.items()}
    ratio = ms["truth"] / ms["plain"]
    size = "(1, 8, 1024, 1024, 64), causal"
    return [
        _row(f"attention truth / plain FP64, {size}", ratio, "ratio of medians", "<= 10", ratio <= 10),
        _row(f"attention truth, {size}", ms["truth"], "ms", "", None),
        _row(f"attention budget, {size}", ms["budget"], "ms", "", None),
    ]


def _row(name: str, value: float, unit: str, goal: str, ok: bool | None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "ok": ok}
