"""Goldens of real products: a kernel that gets less accurate within its budget is told, one that stays is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import lastbit
from lastbit.golden.adopt import CI_VARIABLES, accept
from lastbit.reports.run import Header, RunWriter
from lastbit.verdict import Outcome
from lastbit.verify import Report

Floats = NDArray[np.float32]
CASES = [
    "statistics normal/m32-n48-k256 a:f32,b:f32,out:f32",
    "bound normal/m48-n64-k512 a:f32,b:f32,out:f32",
    "bound cancel/m24-n17-k256 a:f32,b:f32,out:f32",
]


def blocked(a: Floats, b: Floats) -> Floats:
    """Sums of 16 products each, added up pairwise: errors grow as the square root of log k."""
    parts = [a[..., i : i + 16] @ b[..., i : i + 16, :] for i in range(0, a.shape[-1], 16)]
    while len(parts) > 1:
        parts = [sum(parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0] if parts else np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)


def sequential(a: Floats, b: Floats) -> Floats:
    """One product after the other: as correct, but errors grow with the square root of k."""
    out = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    for i in range(a.shape[-1]):
        out = out + a[..., i : i + 1] * b[..., i : i + 1, :]
    return out


def verified(run: Callable[..., Floats], folder: Path, seed: int = 0) -> Report:
    kernel = lastbit.Kernel("mine/gemm", "gemm", run, {"a": "f32", "b": "f32", "out": "f32"}, framework="numpy")
    (folder / "golden").mkdir(exist_ok=True)
    return lastbit.verify(kernel, case=CASES, golden=folder / "golden", seed=seed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the goldens of `blocked`."""
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    report = verified(blocked, tmp_path)
    assert [(record.outcome, record.golden) for record in report.records] == [(Outcome.PASS, "new")] * 3
    writer = RunWriter(tmp_path, Header(replace(report.environment, dirty=False)))
    for record in report.records:
        writer.write(record)
    writer.close()
    assert accept(tmp_path, tmp_path / "golden", "mine/*", "blocked by 16")[-1].startswith("3 adopted")
    return tmp_path


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_product_that_stays_as_it_was_is_the_same(folder: Path, seed: int) -> None:
    report = verified(blocked, folder, seed)
    assert [record.golden for record in report.records] == ["same"] * 3
    assert report.passed


def test_product_that_sums_less_well_is_a_regression_within_its_budget(folder: Path) -> None:
    report = verified(sequential, folder)
    assert [record.outcome for record in report.records] == [Outcome.REGRESSED] * 3
    assert not report.passed
    for record in report.records:
        assert record.reason.startswith("worse than golden: ")
        assert "rms" in record.reason
        assert record.stats is not None
        assert record.stats.utilisation < 1
