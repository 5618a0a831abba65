"""Yardsticks of every kernel, and speeds of invented processes: which can tell, and what makes them inconclusive."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from lastbit.discovery import find
from lastbit.errors import LastbitError
from lastbit.golden.perf_drift import State, stand
from lastbit.golden.perf_store import PerfGolden
from lastbit.kernel import OPS, Kernel
from lastbit.perf.compare import Terms
from lastbit.perf.comparison import Comparison
from lastbit.perf.sides import Side, side
from lastbit.perf.speed import Speed
from lastbit.perf.speeds import LEAST_CLEAN, MOST_WIDE, speed
from lastbit.perf.yardstick import PROVIDERS, YARDSTICKS, yardstick
from lastbit.verdict import Outcome

DAY = date(2026, 11, 25)
SOFTWARE = "lastbit0.1.0 torch2.13.0 threads1"
SPEED = Speed(
    "mine/softmax", "softmax", "x:f32 out:f32", "cpu", "bound", "normal/m64-n1024", "torch/softmax",
    ratios=(0.99, 1.0, 1.01), processes=3, outcome=Outcome.PASS, clean_share=0.9,
)  # fmt: skip
KEY = "mine/softmax x:f32,out:f32 bound normal/m64-n1024 threads1-warm"
GOLDEN = PerfGolden(KEY, "torch/softmax", 1.0, 0.01, 3, SOFTWARE, "abc", "2026-11-20", "seen")


def test_a_yardstick_is_of_the_same_op_formats_and_scaling() -> None:
    known = find((), PROVIDERS).kernels
    named = {one.name: one for one in known}
    assert set(YARDSTICKS) == set(OPS)
    found = 0
    for kernel in known:
        for formats in kernel.format_sets:
            one = yardstick(kernel, formats, known)
            if one is None:
                continue
            found += 1
            assert one.op == kernel.op
            assert one.name != kernel.name
            assert formats in one.format_sets
            assert ("inplace" in one.features) == ("inplace" in kernel.features)
    assert found > 100
    for name, expected in (
        ("torch/matmul", "torch/mm"),
        ("numpy/matmul", "torch/matmul"),
        ("torch/softmax", "numpy/softmax"),
        ("numpy/quantize-i8-row", "torch/quantize-i8-row"),
        ("torch/kv-append-inplace", "numpy/kv-append-inplace"),
        ("numpy/astype-f16", "torch/to-f16"),
    ):
        kernel = named[name]
        chosen = yardstick(kernel, kernel.format_sets[0], known)
        assert chosen is not None
        assert chosen.name == expected
    assert yardstick(named["numpy/softmax"], {"x": "f16", "out": "f64"}, known) is None
    assert (
        yardstick(named["torch/matmul"], named["torch/matmul"].format_sets[0], [named["numpy/matmul"]], "cuda") is None
    )


FOUND = Comparison(
    "mine/softmax", "softmax", "x:f32 out:f32", "cpu", "bound", "normal/m64-n1024", "torch/softmax", "mine/softmax",
    Outcome.PASS, "", ratio=1.0, low=0.99, high=1.01, clean=100, taken=120,
)  # fmt: skip
START = replace(SPEED, ratios=(), processes=0, outcome=Outcome.INCONCLUSIVE, clean_share=0.0)


def _answers(*answers: Comparison | Exception) -> Callable[..., Comparison]:
    turns: Iterator[Comparison | Exception] = iter(answers)

    def again(base: Side, head: Side, asked: Comparison, terms: Terms) -> Comparison:
        assert (asked.check, asked.case, asked.formats) == (SPEED.check, SPEED.case, SPEED.formats)
        answer = next(turns)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return again


def _speed(*answers: Comparison | Exception) -> Speed:
    one = side(Kernel("mine/softmax", "softmax", abs, {"x": "f32", "out": "f32"}, framework="numpy"))
    return speed(START, one, one, Terms(), len(answers), _answers(*answers))


def test_every_process_counts_once() -> None:
    """A ratio that a merge gate calls slow, or inconclusive, is a ratio all the same."""
    slow = replace(FOUND, ratio=2.0, low=1.97, high=2.03, outcome=Outcome.SLOW)
    open_ = replace(FOUND, ratio=1.04, low=1.02, high=1.06, outcome=Outcome.INCONCLUSIVE, taken=200)
    found = _speed(FOUND, slow, open_)
    assert (found.outcome, found.ratios, found.processes) == (Outcome.PASS, (1.0, 2.0, 1.04), 3)
    assert found.clean_share == 0.5


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"clean": 19, "reason": "19 of 120 pairs"}, "19 of 120 pairs"),
        ({"taken": math.ceil(100 / LEAST_CLEAN) + 5}, "others had the machine"),
        ({"high": 0.99 * math.exp(2.1 * MOST_WIDE)}, "its interval is"),
        ({"ratio": 0.0, "low": 0.0, "outcome": Outcome.INCONCLUSIVE, "reason": "base is not right"}, "base is not"),
    ],
)
def test_a_process_that_cannot_tell_makes_it_inconclusive(spoilt: dict[str, Any], why: str) -> None:
    found = _speed(FOUND, replace(FOUND, **spoilt), FOUND)
    assert (found.outcome, found.ratios) == (Outcome.INCONCLUSIVE, (1.0, 1.0))
    assert why in found.reason
    assert stand(found, {KEY: GOLDEN}, SOFTWARE, DAY).state is State.UNKNOWN


def test_a_wrong_kernel_and_a_dead_process_have_no_speed() -> None:
    assert _speed(FOUND, replace(FOUND, outcome=Outcome.OVER_BUDGET, reason="too far")).outcome is Outcome.OVER_BUDGET
    found = _speed(FOUND, LastbitError("its process died"))
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "its process died")
    one = side(Kernel("mine/softmax", "softmax", abs, {"x": "f32", "out": "f32"}, framework="numpy"))
    assert "no yardstick" in speed(START, None, one, Terms(), 3, _answers()).reason
