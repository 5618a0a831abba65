"""Sides in a process each: two builds of one library, faults and deaths in the other process, and who is timed so."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lastbit import cli
from lastbit.perf import apart
from lastbit.perf.compare import Terms, compare_kernels
from lastbit.perf.comparison import Comparison
from lastbit.perf.decide import MERGE
from lastbit.perf.pairs import Stop
from lastbit.perf.sides import Side, named
from lastbit.verdict import Outcome

CASE = "bound normal/m6-n40"
TERMS = Terms(stop=Stop(budget_s=20.0))
compiled = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")

KERNEL = """
import ctypes, os
from pathlib import Path
import numpy as np
from lastbit import Contract, Kernel

library = ctypes.CDLL({library})
calls = 0

def run(x):
    global calls
    calls += 1
    {early}
    out = np.empty(x.shape, np.float32)
    library.softmax(np.ascontiguousarray(x).ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p),
                    ctypes.c_long(x.shape[0]), ctypes.c_long(x.shape[1]))
    {late}
    return out

KERNELS = [Kernel("mine/softmax", "softmax", run, {{"x": "f32", "out": "f32"}}, Contract(exp_ulp=4.0),
                  framework="numpy", devices=("cpu",))]
"""
SOURCE = """
#include <math.h>
void softmax(const float *x, float *y, long m, long n) {
  for (long turn = 0; turn < TURNS; turn++)
    for (long r = 0; r < m; r++) {
      float most = x[r * n];
      for (long i = 1; i < n; i++) if (x[r * n + i] > most) most = x[r * n + i];
      double sum = 0, e;
      for (long i = 0; i < n; i++) { e = exp((double)x[r * n + i] - most); y[r * n + i] = e; sum += e; }
      for (long i = 0; i < n; i++) y[r * n + i] = WRONG + y[r * n + i] / sum;
    }
}
"""


def build(folder: Path, *, turns: int = 2, wrong: float = 0.0, early: str = "pass", late: str = "pass") -> None:
    """A kernel whose library has one name, and calls itself by it, in whatever folder."""
    folder.mkdir()
    (folder / "softmax.c").write_text(SOURCE)
    library = folder / "libsoftmax.so"
    flags = ("-O2", "-shared", "-fPIC", "-Wl,-soname,libsoftmax.so", f"-DTURNS={turns}", f"-DWRONG={wrong}")
    subprocess.run(["cc", *flags, "-o", str(library), str(folder / "softmax.c"), "-lm"], check=True)
    text = KERNEL.format(library='str(Path(__file__).with_name("libsoftmax.so"))', early=early, late=late)
    (folder / "kernels.py").write_text(text)


def compare(folder: Path, head: str = "./head") -> Comparison:
    with named("./base", ["kernels.py"], folder) as (old,), named(head, ["kernels.py"], folder) as (new,):
        assert old.apart
        assert new.apart
        (found,) = compare_kernels(old, new, [CASE], TERMS)
    return found


@compiled
def test_the_same_library_built_twice_is_not_slow(tmp_path: Path) -> None:
    for name in ("base", "head"):
        build(tmp_path / name)
    found = compare(tmp_path)
    assert found.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE), found.reason
    assert (found.apart, found.allowed) == (True, 0.1)
    assert 0.8 < found.ratio < 1.25, found.reason


@compiled
def test_a_slower_library_of_the_same_name_is_slow_in_other_processes_too(tmp_path: Path) -> None:
    build(tmp_path / "base", turns=10)
    build(tmp_path / "head", turns=13)
    found = compare(tmp_path)
    assert found.outcome is Outcome.SLOW, found.reason
    assert 1.1 < found.ratio < 1.4
    assert found.confirmed[-1] is Outcome.SLOW


@compiled
def test_each_side_has_its_own_library(tmp_path: Path) -> None:
    """Loaded in one process, the second would be the first, for they call themselves by one name."""
    build(tmp_path / "base")
    build(tmp_path / "head", wrong=0.25)
    found = compare(tmp_path)
    assert (found.outcome.failed, found.ratio) == (True, 0.0)
    assert found.reason.startswith("head is not right, so it has no speed")


@compiled
@pytest.mark.parametrize(
    ("changed", "outcome", "said"),
    [
        ({"late": "out = out + (calls > 2)"}, None, "head is not right, so it has no speed"),
        ({"early": "os.kill(os.getpid(), 9)"}, Outcome.INCONCLUSIVE, "head: its process died"),
        ({"early": "os.kill(os.getpid(), 9) if calls > 2 else None"}, Outcome.INCONCLUSIVE, "head: its process died"),
    ],
    ids=["wrong when timed", "dead when judged", "dead when timed"],
)
def test_what_goes_wrong_in_the_process(
    tmp_path: Path, changed: dict[str, str], outcome: Outcome | None, said: str
) -> None:
    build(tmp_path / "base")
    build(tmp_path / "head", **changed)  # type: ignore[arg-type]
    found = compare(tmp_path)
    assert found.reason.startswith(said)
    assert found.outcome is outcome if outcome else found.outcome.failed


def test_a_tree_is_native_by_its_own_libraries_alone(tmp_path: Path) -> None:
    for name in (".venv/lib/a.so", "env/pyvenv.cfg", "env/lib/b.so", "node_modules/c.so", "package/deep/d.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert not apart.is_native(tmp_path)
    (tmp_path / "package/deep/_kernels.cpython-311-x86_64-linux-gnu.so").touch()
    assert apart.is_native(tmp_path)
    assert not apart.is_native(tmp_path, 0)


def test_a_process_for_each_is_what_the_option_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--perf", "--processes", "numpy/softmax", "numpy/softmax"]
    assert cli.main([*words, "--case", f"{CASE} x:f32,out:f32", "--json", "-"]) in (0, 3)
    (one,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (one["apart"], one["taken"] > 0, 0.5 < one["ratio"] < 2) == (True, True, True)


def test_limits_that_are_given_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(
        apart, "_compared", lambda base, head, start, terms, *_: seen.append(terms.limits.slower) or start
    )
    with named("numpy/softmax", apart=True) as (one, *_):
        for limits in (MERGE, replace(MERGE, slower=0.07)):
            tuple(compare_kernels(one, one, [f"{CASE} x:f32,out:f32"], replace(TERMS, limits=limits)))
    assert seen == [0.1, 0.07]


def test_a_side_that_no_process_can_find_is_inconclusive() -> None:
    with named("numpy/softmax", apart=True) as (one, *_):
        lost: Side = replace(one, ways=())
        (found,) = compare_kernels(one, lost, [f"{CASE} x:f32,out:f32"], TERMS)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "cannot be found by another process; define its function at the top level" in found.reason
