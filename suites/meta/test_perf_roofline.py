"""The roofline by hand, on invented limits: bounds, what other formats buy, and kernels that have no speed."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from lastbit import roofline_command
from lastbit.kernel import Kernel
from lastbit.perf import reach as module_reach
from lastbit.perf.compare import Terms
from lastbit.perf.cost import Cost, Given, Stored
from lastbit.perf.limits import Figure, Limits
from lastbit.perf.reach import Reach, reach
from lastbit.perf.roofline import multiplied, narrower, roofline, rows, text
from lastbit.verdict import Outcome

SLUG = "cpu-x86_64-avx2-amd_epyc-f25m1"
DAY = date(2026, 11, 25)
KNOWN = Limits(
    SLUG, 1, "EPYC, 2 CPUs", "torch2.13.0", DAY.isoformat(),
    {2**18: Figure(100e9, 1.0, 0.0), 2**22: Figure(50e9, 1.0, 0.0), 2**28: Figure(10e9, 1.0, 0.0)},
    {"f32": Figure(100e9, 1.0, 0.0), "bf16": Figure(400e9, 1.0, 0.0), "i8": Figure(800e9, 1.0, 0.0)},
)  # fmt: skip


def test_roofline_by_hand() -> None:
    """1e9 operations at 400 G/s are 2.5 ms; 1e6 bytes at 10 GB/s are 0.1 ms, 1e8 are 10 ms."""
    found = roofline(Cost(10**9, 10**6, 0, 10**9), KNOWN, "bf16", measured_s=5e-3)
    assert (found.bound, found.seconds, found.fraction) == ("compute", pytest.approx(2.5e-3), pytest.approx(0.5))
    assert found.memory_s == pytest.approx(1e-4)
    found = roofline(Cost(10**9, 4 * 10**7, 6 * 10**7, 10**9), KNOWN, "bf16")
    assert (found.bound, found.seconds, found.fraction) == ("memory", pytest.approx(1e-2), 0.0)
    assert found.unsure == ()


def test_operations_beside_the_products_have_their_own_limit() -> None:
    """Of attention's: the products overlap with the softmax, the longer of the two bounds."""
    found = roofline(Cost(10**9 + 10**9, 0, 0, 10**9), KNOWN, "bf16")
    assert found.compute_s == pytest.approx(1e-2)


def test_data_in_a_cache_have_its_bandwidth() -> None:
    cost = Cost(1, 2**22, 0)
    cold, warm = roofline(cost, KNOWN), roofline(cost, KNOWN, cold=False)
    assert cold.memory_s == pytest.approx(5 * warm.memory_s)


def test_what_is_not_known_is_said() -> None:
    found = roofline(Cost(100, 10, 10, 100), KNOWN, "f64")
    assert (found.bound, found.unsure) == ("memory", ("no peak of f64",))
    busy = replace(KNOWN, gemm={**KNOWN.gemm, "bf16": Figure(1e9, 0.1, 0.0), "i8": Figure(1e9, 0.1, 0.0)})
    assert roofline(Cost(100, 10, 10, 100), busy, "bf16").unsure == ("gemm bf16",)


def test_what_a_change_of_format_buys() -> None:
    """A product of one row is bound by memory: half of the bytes, half of the time. A square one: by the peaks."""
    wide, narrow = {"a": "f32", "b": "f32", "out": "f32"}, {"a": "bf16", "b": "bf16", "out": "bf16"}
    kernel = Kernel("test/mm", "gemm", lambda a, b: a @ b, [wide, narrow], framework="numpy")
    row = Given({"a": Stored((1, 4096), "f32"), "b": Stored((4096, 4096), "f32")})
    now, then = rows(kernel, wide, row, KNOWN, kernel.format_sets, measured_s={"a:f32 b:f32 out:f32": 0.02})
    assert (now.roofline.bound, then.roofline.bound, now.gain) == ("memory", "memory", 1.0)
    assert then.gain == pytest.approx(2.0, rel=1e-6)
    assert now.roofline.fraction == pytest.approx(4 * (4096**2 + 2 * 4096) / 10e9 / 0.02)
    square = Given({"a": Stored((4096, 4096), "f32"), "b": Stored((4096, 4096), "f32")})
    times = {"a:f32 b:f32 out:f32": 3.0, "a:bf16 b:bf16 out:bf16": 1.5}
    now, then = rows(kernel, wide, square, KNOWN, [wide, narrow], measured_s=times)
    assert (now.measured_gain, then.measured_gain) == (1.0, 2.0)
    assert (now.roofline.bound, then.gain) == ("compute", pytest.approx(4.0))
    table = text([now, then])
    assert "a:bf16 b:bf16 out:bf16" in table
    assert "4.00 x" in table


def test_formats_that_a_reader_may_think_of() -> None:
    found = narrower("gemm", {"a": "f32", "b": "bf16", "out": "f32"})
    assert [formats["a"] + formats["b"] for formats in found] == ["bf16bf16", "e4m3fne4m3fn"]
    assert narrower("gemm", {"a": "i8", "b": "i8", "out": "i32"}) == ()
    assert narrower("cast", {"x": "f32", "out": "bf16"}) == ()


WRONG = (("x:f16 out:f16", Outcome.OVER_BUDGET, "too far off"),)
BUSY = (("x:f16 out:f16", Outcome.INCONCLUSIVE, "the machine was busy"),)


def test_what_has_no_speed_shows_in_text_and_status() -> None:
    one = Reach("mine/softmax", "softmax", "cpu", "bound", "normal/m3-n5")
    wrong, busy = replace(one, without=WRONG), replace(one, without=BUSY)
    assert [roofline_command.status(found) for found in ([one], [one, busy], [busy, wrong])] == [0, 3, 1]
    assert "no speed of x:f16 out:f16: over_budget: too far off" in roofline_command.text(wrong)


def test_limits_in_words() -> None:
    shown = roofline_command.limits_text(KNOWN)
    assert "256 KiB 100, 4 MiB 50, 256 MiB 10" in shown
    assert "busy" not in shown
    assert "guesses: gemm f32" in roofline_command.limits_text(replace(KNOWN, gemm={"f32": Figure(1e9, 0.1, 0.0)}))
    loud = {name: Figure(1e9, 1.0, 0.0, 0.62) for name in (2**18, "f32")}
    found = replace(KNOWN, copy={2**18: loud[2**18]}, gemm={"f32": loud["f32"]})
    said = "the machine was busy (others had 62% of its CPUs), so these are guesses: all of them"
    assert said in roofline_command.limits_text(found)


def _product(x: Any) -> Any:
    return np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)


def _doubled(x: Any) -> Any:
    return 2 * _product(x)


def test_a_kernel_is_judged_and_timed_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right: its time, invented here, stands beside the limit. Wrong: it has none, and nothing was timed."""
    asked: list[int] = []

    def invented(*_: Any, **__: Any) -> Figure:
        asked.append(1)
        return Figure(1e4, 1.0, 0.0)

    monkeypatch.setattr(module_reach, "figure", invented)
    monkeypatch.setattr(module_reach.novelty, "check", lambda *_: None)
    formats = {"x": "f64", "out": "f64"}
    right, wrong = (
        Kernel(f"test/{run.__name__}", "softmax", run, formats, framework="numpy") for run in (_product, _doubled)
    )
    found = list(reach([right, wrong], KNOWN, Terms(), ["bound normal/m4-n64"]))
    assert found[0].rows[0].measured_s == pytest.approx(1e-4)
    assert [row.formats for row in found[0].rows[1:]] == ["x:f32 out:f32", "x:bf16 out:bf16", "x:e4m3fn out:e4m3fn"]
    assert found[0].without == ()
    assert (found[1].rows, found[1].without[0][1].failed) == ((), True)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("found", "known"),
    [(Figure(1e4, 0.3, 0.01), True), (Figure(1e4, 0.0, 0.0), False), (Figure(1e4, 0.9, 0.06), False)],
)
def test_a_time_that_does_not_repeat_is_none(monkeypatch: pytest.MonkeyPatch, found: Figure, known: bool) -> None:
    """No clean samples, or halves that differ; few clean samples alone are those of a long call."""
    monkeypatch.setattr(module_reach, "figure", lambda *_, **__: found)
    monkeypatch.setattr(module_reach.novelty, "check", lambda *_: None)
    kernel = Kernel("test/softmax", "softmax", _product, {"x": "f64", "out": "f64"}, framework="numpy")
    (one,) = reach([kernel], KNOWN, Terms(), ["bound normal/m4-n64"])
    assert (one.rows[0].measured_s > 0) == known
    assert bool(one.without) == (not known)


def test_products_are_made_in_the_widest_format() -> None:
    formats = {"a": "bf16", "b": "i4", "out": "bf16"}
    plain = Kernel("test/mm", "gemm", lambda a, b: a, {"a": "f16", "b": "f32", "out": "f32"}, framework="numpy")
    assert multiplied(plain, {"a": "f16", "b": "f32", "out": "f32"}) == "f32"
    scaling = {"a": None, "b": "i4_group128"}
    scaled = Kernel("test/w4", "scaled_gemm", lambda *_: 0, formats, scaling=scaling, framework="numpy")
    assert multiplied(scaled, formats) == "bf16"
    row = Kernel("test/softmax", "softmax", lambda x: x, {"x": "bf16", "out": "bf16"}, framework="numpy")
    assert multiplied(row, {"x": "bf16", "out": "bf16"}) == "f32"
