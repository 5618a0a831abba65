"""The benchmark beside do_bench: what counts as agreement, how both are asked, and what is said without a device."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastbit.perf.samples import Sample

sys.path.append(str(Path(__file__).resolve().parents[2]))
module = importlib.import_module("bench.bench_do_bench")


@pytest.mark.parametrize(
    ("ours", "theirs", "ok"),
    [(1000.0, 1029.0, True), (1029.0, 1000.0, True), (1000.0, 1035.0, False), (1035.0, 1000.0, False),
     (99.0, 200.0, None), (200.0, 99.0, None), (100.0, 101.0, True)],
)  # fmt: skip
def test_agreement(ours: float, theirs: float, ok: bool | None) -> None:
    row = module.agreement("mm", ours, theirs)
    assert row["ok"] is ok
    assert row["value"] == pytest.approx(ours / theirs - 1)


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (row,) = module.rows()
    assert (row["unit"], row["value"], row["ok"]) == ("no CUDA device", None, None)


class Timer:
    """Says 150 us a call, and of every third sample that something spoilt it."""

    def __init__(self, every: int = 3) -> None:
        self.taken, self.every = 0, every

    def timed(self, run: Callable[[], object], calls: int, freeze: Callable[[], object]) -> Sample:
        run()
        self.taken += 1
        spoilt = self.taken % self.every == 0
        return Sample(calls, 900_000 if spoilt else 150_000, spoilt="clock held down" if spoilt else "")


def test_ours_goes_round_and_counts_clean_samples() -> None:
    seen: list[Any] = []
    assert module.ours(Timer(), seen.append, [["first"], ["second"]]) == 150.0
    assert seen[:4] == ["first", "second", "first", "second"]  # warmed up, then timed
    assert (len(seen), seen.count("first")) == (2 + module.SAMPLES, 1 + module.SAMPLES // 2)
    with pytest.raises(RuntimeError, match="no sample of 50 is clean: clock held down"):
        module.ours(Timer(1), seen.append, [["first"]])


def test_theirs_is_asked_for_the_median_in_milliseconds() -> None:
    def do_bench(run: Callable[[], object], warmup: int, rep: int, return_mode: str) -> float:
        assert return_mode == "median"
        run()
        return 0.25

    seen: list[Any] = []
    assert module.theirs(do_bench, seen.append, ["x"]) == 250.0
    assert seen == ["x"]
