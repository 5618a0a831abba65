"""Stored runs that the tests of index.html open: a grid, one with every way to stand, and a real one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lastbit import Contract, Kernel
from lastbit.discovery import Found
from lastbit.reports.run import Run, read
from lastbit.verdict import Outcome, Record, Timing
from lastbit.verify import walk

from .record_examples import record, store_run

F16 = {"a": "f16", "b": "f16", "out": "f16"}
FORMATS = ("f32", "f16", "bf16", "e4m3fn")
FAILED = record(
    kernel="mine/leaky",
    outcome=Outcome.OVER_BUDGET,
    measured=24.6,
    where="(1, 1)",
    got="0.0390625 (0x2900)",
    want="0.03455829620361328",
    reason="max error 18.45 ulp at (1, 1): got 0.0390625, want 0.03455829620361328\nbudget 0.75 ulp (one rounding)",
    utilisation=24.6,
)
FINDING = """
[[finding]]
id = "F900"
kernel = "mine/known"
check = "*"
case = "*"
outcome = "over_budget"
reason = "sums are kept in f16"
every = false
"""


def grid() -> Iterator[Record]:
    """Two ops as grids of kernels and formats, in which mine/gemm-2 fails in bf16."""
    for op in ("gemm", "softmax"):
        for number in range(4):
            for fmt in FORMATS:
                one = record(kernel=f"mine/{op}-{number}", op=op, formats=f"a:{fmt} b:{fmt} out:{fmt}")
                bad = (op, number, fmt) == ("gemm", 2, "bf16")
                yield replace(one, outcome=Outcome.OVER_BUDGET, reason="over") if bad else one


def every_way() -> tuple[Record, ...]:
    """Records of each outcome, of a finding that happens and one that is gone, and of speed."""
    timing = Timing("torch.matmul", "bound", 1, 0, 1.1, 1.0, 1.2, 20, 22, 1000.0, 900.0)
    return (
        *(record(case=f"c{i}", outcome=one, reason=f"because of {one}") for i, one in enumerate(Outcome)),
        FAILED,
        replace(FAILED, kernel="mine/known", known="F900"),
        record(kernel="mine/mended", known="F901", reason="finding F901 no longer happens"),
        record(check="speed", case="speed", stats=None, timing=timing),
    )


def stored(folder: Path, *records: Record) -> Run:
    """The run of `records`, stored in `folder` and read back."""
    return read(store_run(folder, *records))


@pytest.fixture(scope="module")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's folder of a real run with a kernel that passes, one that fails, a known and a vacuous one."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "suites").mkdir()
    (folder / "suites" / "findings.toml").write_text(FINDING)
    vague = Kernel("mine/vague", "gemm", _good, F16, Contract(accumulator="f16"), "numpy", ("cpu",))
    kernels = [Kernel(f"mine/{name}", "gemm", run, F16, Contract(), "numpy", ("cpu",)) for name, run in RUNS.items()]
    cases = ["bound normal/m24-n40-k129", "exact integers/m17-n33-k65", "bound normal/m8-n8-k4096"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        walk(Found((*kernels, vague)), {"report": "out", "case": cases, "device": ["cpu"]}, "lastbit verify kernels.py")
    return folder / "out"


def _good(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)


def _hasty(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    out = np.zeros((*a.shape[:-1], b.shape[-1]), np.float16)
    for k in range(a.shape[-1]):
        out += a[..., :, k : k + 1] * b[..., k : k + 1, :]
    return out


RUNS = {"good": _good, "hasty": _hasty, "known": _hasty}
