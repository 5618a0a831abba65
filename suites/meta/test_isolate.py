"""Kernels in processes of their own: whatever kills one costs its own verdict, and the next call starts afresh."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile_gemms as hostile
import numpy as np
import pytest
from hostile_gemms import operands, product, trial

from lastbit import isolate, worker
from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained, call, series
from lastbit.references.formats import Format
from lastbit.verdict import Outcome

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


@pytest.fixture(autouse=True, scope="module")
def _no_workers_left() -> Iterator[None]:
    yield
    isolate.close()


def isolated(run: Callable[..., Any], **fields: Any) -> Trial:
    return trial(run, isolate=True, **fields)


def decoded(obtained: Obtained) -> "np.ndarray[Any, Any]":
    assert obtained.fault is None, obtained.fault.reason
    return Format.of("f32").decode(obtained.codes)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (hostile.segfaults, "its process ended by SIGSEGV\n  Fatal Python error: Segmentation fault"),
        (hostile.aborts, "its process ended by SIGABRT\n  Fatal Python error: Aborted"),
        (hostile.leaves, "raised SystemExit: os._exit(3)"),
        (hostile.leaves_in_peace, "raised SystemExit: os._exit(0)"),
    ],
)
def test_isolation_tells_how_a_kernel_died(run: Callable[..., Any], words: str) -> None:
    obtained = call(isolated(run), operands())
    assert obtained.fault is not None
    assert obtained.fault.outcome is Outcome.CRASHED
    assert obtained.fault.reason.startswith(words)


@pytest.mark.parametrize("run", [hostile.hangs, hostile.ignores_termination])
def test_isolation_ends_a_kernel_that_hangs(run: Callable[..., Any]) -> None:
    obtained = call(isolated(run, timeout=0.3), operands())
    assert obtained.fault is not None
    assert obtained.fault.outcome is Outcome.TIMED_OUT
    assert "no result after 0.3 s" in obtained.fault.reason


def test_isolation_starts_a_new_process_after_a_death() -> None:
    """The kernel dies on its first operands only."""
    given = isolated(hostile.dies_on_zeros, name="hostile/moody")
    zeros = {name: replace(operand, codes=operand.codes * 0) for name, operand in operands().items()}
    first, second = call(given, zeros), call(given, operands())
    assert first.fault is not None
    assert "SIGKILL" in first.fault.reason
    assert np.array_equal(decoded(second), product(operands()))


def test_isolation_keeps_the_process_of_a_kernel() -> None:
    given = isolated(hostile.tells_process, name="hostile/telling")
    told = [call(given, operands(seed=seed)).notes["printed"] for seed in range(3)]
    assert len(set(told)) == 1
    assert told[0] != str(os.getpid())


def test_isolation_reports_faults_and_refusals_as_in_process() -> None:
    for run in (hostile.returns_f64, hostile.writes_after, hostile.raises, hostile.says_unsupported, hostile.exits):
        here, there = call(trial(run), operands()), call(isolated(run), operands())
        assert there.fault == here.fault
    with pytest.raises(UsageError, match="layout 'diagonal'"):
        call(isolated(hostile.honest), operands(), layouts={"a": "diagonal"})


def test_isolation_serves_every_way_of_defining_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lastbit.discovery import from_source
    from lastbit.providers import numpy, torch

    file = tmp_path / "mine.py"
    file.write_text(
        "import lastbit\n"
        "def scaled(factor):\n"
        "    return lambda a, b: factor * (a @ b)\n"
        "KERNELS = [lastbit.Kernel(name='mine/gemm', op='gemm', run=scaled(1), framework='numpy',"
        " formats={'a': 'f32', 'b': 'f32', 'out': 'f32'})]\n"
    )
    (own,) = from_source(str(file))
    by_name = {kernel.name: kernel for kernel in (*torch.kernels(), *numpy.kernels(), own)}
    for name in ("torch/matmul", "torch/mm-out", "numpy/matmul", "mine/gemm"):
        given = replace(isolated(hostile.honest), kernel=by_name[name])
        obtained = call(given, operands())
        assert np.array_equal(decoded(obtained), product(operands()))
        assert "isolation" not in obtained.notes
    local = call(isolated(lambda a, b: a @ b), operands())
    assert np.array_equal(decoded(local), product(operands()))
    assert local.notes == {"isolation": "forked from lastbit's process"}


def test_isolation_carries_series_layouts_and_empty_results() -> None:
    both = series(
        isolated(hostile.CachedByPointer(), name="hostile/cached"),
        (operands(), operands(seed=1)),
        layouts={"a": "strided"},
    )
    assert np.array_equal(both[0].codes, both[1].codes)
    obtained = call(isolated(hostile.honest), operands(m=0))
    assert decoded(obtained).shape == (0, 5)


def test_isolation_takes_garbage_for_a_crash() -> None:
    given = isolated(hostile.writes_to_every_descriptor)
    obtained = call(given, operands())
    assert obtained.fault is not None
    assert obtained.fault.outcome is Outcome.CRASHED
    assert np.array_equal(decoded(call(isolated(hostile.honest), operands())), product(operands()))


def test_isolation_ends_the_least_used_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate.close()
    monkeypatch.setattr(isolate, "KEPT_WORKERS", 2)
    for index in range(4):
        call(isolated(hostile.honest, name=f"hostile/honest-{index}"), operands())
    assert list(isolate._workers) == ["hostile/honest-2", "hostile/honest-3"]


def test_worker_says_why_it_cannot_have_a_kernel() -> None:
    ways = [("file", (__file__ + ".missing", "mine/gemm")), ("provider", ("lastbit.providers.numpy", "numpy/none"))]
    kernel, missing = worker.load(ways)
    assert kernel is None
    assert "file: UsageError" in missing
    assert "provider: KernelError: no kernel called numpy/none there" in missing
