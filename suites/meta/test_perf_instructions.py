"""Instructions of a call: what is allowed, who counts, and what is said where nobody can."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lastbit import cli
from lastbit.perf.instructions import TOGGLE, decide, valgrind
from lastbit.perf.instructions_worker import counted
from lastbit.perf.workload import Turn
from lastbit.verdict import Outcome

KERNELS = """
import numpy as np
from lastbit import Contract, Kernel

def run(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)

KERNELS = [Kernel("mine/softmax", "softmax", run, {"x": "f32", "out": "f32"}, Contract(exp_ulp=4.0),
                  framework="numpy", devices=("cpu",))]
"""
#: Runs what it is given, as valgrind does, and says a count by the side's name.
FAKE = """#!{python}
import subprocess, sys
words = sys.argv[1:]
options = [word for word in words if word.startswith("--")]
command = words[len(options):]
assert "--tool=callgrind" in options and "--toggle-collect=PyObject_Dir" in options
assert command[0] == {python!r}
out = next(word for word in options if word.startswith("--callgrind-out-file=")).partition("=")[2]
status = subprocess.run(command).returncode
head = any(word.endswith("head.job") for word in command)
open(out, "w").write(f"events: Ir\\nsummary: {{10300 if head else 10000}}\\n")
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("base", "head", "outcome"),
    [
        ([10_000, 10_000], [10_050, 10_050], Outcome.PASS),  # half a percent
        ([10_000, 10_000], [10_051, 10_051], Outcome.SLOW),
        ([10_000, 10_010], [10_100, 10_100], Outcome.PASS),  # a spread of 0.1 % allows 1 %
        ([10_000, 10_010], [10_101, 10_101], Outcome.SLOW),
        ([10_000, 10_000], [5_000, 5_000], Outcome.PASS),
    ],
)
def test_margin(base: list[int], head: list[int], outcome: Outcome) -> None:
    assert decide(base, head)[0] is outcome


def test_counted_call_runs_once_and_raises_what_the_kernel_raises() -> None:
    calls: list[int] = []
    counted(Turn(lambda: calls.append(1), lambda: None))
    assert calls == [1]
    with pytest.raises(ZeroDivisionError):
        counted(Turn(lambda: 1 / 0, lambda: None))


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_valgrind_counts_what_is_called_and_no_more(tmp_path: Path) -> None:
    """The interpreter starts in some 40 million instructions; a sum of 10,000 numbers takes far fewer."""
    out, program = tmp_path / "callgrind.out", tmp_path / "program.py"
    program.write_text(
        "from __future__ import annotations\nimport sys, types\n"
        + inspect.getsource(counted)
        + "counted(types.SimpleNamespace(run=lambda: sum(range(10_000))))\n"
    )
    options = ("--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={TOGGLE}", f"--callgrind-out-file={out}")
    subprocess.run(["valgrind", *options, sys.executable, "-S", "-E", str(program)], check=True, capture_output=True)
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    assert found
    assert 10_000 < int(found[1]) < 5_000_000


def test_without_valgrind_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["compare", "--perf", "--instructions", "torch/softmax", "numpy/softmax"]) == 2
    assert "--instructions needs valgrind, which is not on PATH: install it" in capsys.readouterr().err


def test_more_instructions_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.py").write_text(KERNELS)
    (tmp_path / "head.py").write_text(KERNELS)
    fake = tmp_path / "valgrind"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    assert valgrind() == str(fake)
    words = ["compare", "--perf", "--instructions", "base.py", "head.py", "--case", "bound normal/m6-n40"]
    assert cli.main([*words, "--json", "out.json"]) == 1
    (one,) = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert (one["outcome"], one["base_count"], one["head_count"], one["spread"]) == ("slow", 10_000, 10_300, 0.0)
    assert "+3.0% instructions (10000 to 10300 a call, allowed +0.50%)" in capsys.readouterr().out
