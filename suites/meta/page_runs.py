"""Runs that the tests of index.html show: a grid, one with every way to stand, a real one, and what lies beside."""

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lastbit import Contract, Kernel
from lastbit.discovery import Found
from lastbit.reports import page
from lastbit.reports.page import Beside
from lastbit.reports.run import Header, Run, read
from lastbit.reports.run_data import Footer
from lastbit.verdict import Outcome, Record, Timing
from lastbit.verify import walk

from .record_examples import environment, record, store_run

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
#: Text of kernels that would run, break the page or mislead its reader.
HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)", "]]>", "-->", "<!--",
    "</style></title></textarea>", "</script>", "javascript:alert(1)", "[x](javascript:alert(1))", "{{ 7 * 7 }}",
    "{% raw %}", "\u202eevil\u2066", "\x1b[2J\x07", "\x00", "\ud800", "&lt;b&gt;", "<svg onload=alert(1)>", "`|*_",
    "x" * 10_000,
)  # fmt: skip
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


class Outline(HTMLParser):
    """The elements of a page and their attributes, its headings, and the text of its body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple((name, value or "") for name, value in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def run_of(*records: Record, footer: Footer | None = None, **changed: Any) -> Run:
    end = footer or Footer("2026-11-25T10:01:05+00:00", len(records))
    return Run(Header(environment(**changed), started="2026-11-25T10:00:00+00:00"), records, True, end, 0, "ab12")


def shown(*records: Record, **changed: Any) -> str:
    """The page's text, without its markup."""
    return " ".join(" ".join(Outline(page.text(run_of(*records, **changed))).text).split())


DATASHEET = {
    "form": 1,
    "sheets": [
        {
            "kernel": "torch/mm",
            "formats": {"a": "f16", "b": "f16", "out": "f16"},
            "device": "cpu",
            "shape": "64x64x64",
            "answers": [
                {"probe": "P4", "property": "precision", "value": 24, "evidence": "<b>", "indeterminate": ""},
                {"probe": "P10", "property": "fma", "value": None, "evidence": "", "indeterminate": "nothing tells"},
                {"probe": "P18", "property": "repeatable", "value": True, "evidence": "60", "indeterminate": ""},
            ],
            "confirmed": True,
            "sums_compared": 28672,
            "sums_differing": 0,
        }
    ],
}


def score() -> dict[str, Any]:
    """A zoo's score with faults caught always, sometimes and never, and a right kernel flagged."""
    from lastbit.suites.zoo.outcome import as_json

    from .test_zoo_outcome import caught, missed, run

    ours = caught("gemm-zeros-f32"), missed("gemm-constant-f32"), caught("gemm-in_f64-f32")
    return as_json(run(*ours, rival=(caught("gemm-zeros-f32"), missed("gemm-constant-f32"))))


def beside() -> Beside:
    """Everything that a page may show beside a run."""
    before = run_of(record(), record(case="b"), *grid())
    return Beside("run.jsonl", score(), DATASHEET, ("before", before))


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
