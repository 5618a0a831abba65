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
from lastbit.perf import callgrind
from lastbit.perf.callgrind import Job
from lastbit.perf.callgrind_worker import counted
from lastbit.perf.compare import Terms, choices
from lastbit.perf.evidence import evidence
from lastbit.perf.instructions import decide
from lastbit.perf.sides import named
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
#: The same work twice, and 3 % more; and a kernel that raises when another process calls it.
LOOPS = """
import os
import numpy as np
from lastbit import Contract, Kernel

HERE = {here}

def softmax(turns):
    def run(x):
        total = 0
        for turn in range(turns):
            total += turn
        if turns == 0 and os.getpid() != HERE:
            raise ValueError("not here")
        weights = np.exp(x - x.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)
    return run

KERNELS = [
    Kernel(f"mine/{{name}}", "softmax", softmax(turns), {{"x": "f32", "out": "f32"}}, Contract(exp_ulp=4.0),
           framework="numpy", devices=("cpu",))
    for name, turns in (("base", 10_000), ("none", 0), ("same", 10_000), ("more", 10_300))
]
"""
#: Runs what it is given, as valgrind does; vgdb writes a count by the side's name when it is told to dump.
FAKE = """#!{python}
import os, subprocess, sys
words = sys.argv[1:]
options = [word for word in words if word.startswith("--")]
command = words[len(options):]
assert {{"--tool=callgrind", "--instr-atstart=no", "--toggle-collect=PyObject_Dir"}} <= set(options)
assert command[0] == {python!r}
os.environ["COUNTS"] = next(word for word in options if word.startswith("--callgrind-out-file=")).partition("=")[2]
sys.exit(subprocess.run(command).returncode)
"""
FAKE_VGDB = """#!{python}
import os, pathlib, sys
out = pathlib.Path(os.environ["COUNTS"])
if sys.argv[-1] == "dump":
    head = b"head.py" in (out.parent / "told").read_bytes()
    number = 1 + len(list(out.parent.glob(out.name + ".*")))
    pathlib.Path(f"{{out}}.{{number}}").write_text(f"events: Ir\\nsummary: {{10300 if head else 10000}}\\n")
"""


@pytest.mark.parametrize(
    ("base", "head", "outcome"),
    [
        ([10_000, 10_000], [10_050, 10_050], Outcome.PASS),  # half a percent
        ([10_000, 10_000], [10_051, 10_051], Outcome.SLOW),
        ([10_000, 10_010], [10_100, 10_100], Outcome.PASS),  # a spread of 0.1 % allows 1 %
        ([10_000, 10_010], [10_101, 10_101], Outcome.SLOW),
        ([10_000, 10_000], [5_000, 5_000], Outcome.PASS),
        ([10_000, 10_050], [10_400, 10_400], Outcome.PASS),  # a spread of 0.5 % allows 5 %
        ([10_000, 10_060], [10_400, 10_400], Outcome.INCONCLUSIVE),  # one of 0.6 % would allow 6 %
        ([10_000, 10_000], [10_000, 10_100], Outcome.INCONCLUSIVE),
        ([10_000, 10_100], [12_000, 12_000], Outcome.SLOW),
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
    options = (
        "--tool=callgrind",
        "--collect-atstart=no",
        f"--toggle-collect={callgrind.TOGGLE}",
        f"--callgrind-out-file={out}",
    )
    subprocess.run(["valgrind", *options, sys.executable, "-S", "-E", str(program)], check=True, capture_output=True)
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    assert found
    assert 10_000 < int(found[1]) < 5_000_000


@pytest.mark.skipif(shutil.which("vgdb") is None, reason="valgrind is not installed")
def test_counts_repeat_and_tell_three_percent(tmp_path: Path) -> None:
    """One process counts all four; what it imports, and the call that raises, leave no trace in the others' counts."""
    (tmp_path / "loops.py").write_text(LOOPS.format(here=os.getpid()))
    base, none, same, more = callgrind.counts(jobs(tmp_path, "loops.py"), callgrind.valgrind())
    assert (none.instructions, "not here" in none.why) == (0, True)
    assert decide([base.instructions] * 2, [same.instructions] * 2)[0] is Outcome.PASS
    outcome, text, _, _ = decide([base.instructions] * 2, [more.instructions] * 2)
    assert outcome is Outcome.SLOW
    assert 1.025 < more.instructions / base.instructions < 1.035, text


def jobs(folder: Path, source: str) -> list[Job]:
    made = []
    with named(source, folder=folder) as sides:
        for one in sides:
            ((check, trial),) = choices(one.kernel, ("bound normal/m6-n40",), Terms())
            (call,) = evidence(check, trial, sets=1).calls
            made.append(
                Job(one.label, one.ways, dict(trial.formats), trial.contract, "cpu", check.name, trial.case, call)
            )
    return made


def test_without_valgrind_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["compare", "--perf", "--instructions", "torch/softmax", "numpy/softmax"]) == 2
    assert "--instructions needs valgrind, which is not on PATH: install it" in capsys.readouterr().err
    put(tmp_path / "valgrind", "#!/bin/sh\n")
    assert cli.main(["compare", "--perf", "--instructions", "torch/softmax", "numpy/softmax"]) == 2
    assert "--instructions needs vgdb, which" in capsys.readouterr().err


def put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_more_instructions_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.py").write_text(KERNELS)
    (tmp_path / "head.py").write_text(KERNELS)
    for name, text in (("valgrind", FAKE), ("vgdb", FAKE_VGDB)):
        put(tmp_path / name, text.format(python=sys.executable))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    assert callgrind.valgrind() == str(tmp_path / "valgrind")
    words = ["compare", "--perf", "--instructions", "base.py", "head.py", "--case", "bound normal/m6-n40"]
    assert cli.main([*words, "--json", "out.json"]) == 1
    (one,) = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert (one["outcome"], one["base_count"], one["head_count"], one["spread"]) == ("slow", 10_000, 10_300, 0.0)
    assert "+3.0% instructions (10000 to 10300 a call, allowed +0.50%)" in capsys.readouterr().out
    assert cli.main([*words, "--processes", "--json", "-"]) == 1
    (one,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (one["outcome"], one["head_count"]) == ("slow", 10_300)
    (tmp_path / "head.py").write_text(KERNELS.replace("return weights", "return 2 * weights"))
    for more in ([], ["--processes"]):
        assert cli.main([*words, *more, "--json", "-"]) == 1
        (one,) = json.loads(capsys.readouterr().out)["comparisons"]
        assert one["reason"].startswith("head is not right (")
        assert (one["outcome"] not in ("slow", "pass"), one["head_count"]) == (True, 0)
