"""What the plugin costs: in a stranger's repository that does not use it, and per test where it judges."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Pairs of runs with and without the plugin; and rounds of the four runs that give the cost of a test.
PAIRS, ROUNDS = 15, 5
FEW, MANY = 200, 1200

#: A law whose checks cost nothing, so that what is left is lastbit's own handling of a trial.
LAW = """
import sys, types
import lastbit, lastbit.suites
from lastbit.case import Case, Check
from lastbit.verdict import ErrorStats, Outcome, Verdict
verdict = Verdict(Outcome.PASS, "", 0.5, 1.0, "", "n*u*|A||B|", "fp64 exact", ErrorStats(n=4, max_ulp=0.5))
cases = tuple(Case("nothing", (("m", i), ("n", 1), ("k", 1))) for i in range({count}))
law = types.ModuleType("lastbit.suites.gemm")
law.CHECKS = (Check("free", "gemm", cases, lambda trial: verdict, lambda trial: "", ""),)
sys.modules["lastbit.suites.gemm"] = law
def pytest_lastbit_kernels(config):
    formats = dict(a="f32", b="f32", out="f32")
    return [lastbit.Kernel("mine/free", "gemm", print, formats, framework="numpy", devices=("cpu",))]
"""
PLAIN = "import pytest\n@pytest.mark.parametrize('i', range({count}))\ndef test(i): pass\n"


def rows() -> list[dict[str, Any]]:
    """Two rows, medians over runs of pytest in processes of their own; about 30 s."""
    with tempfile.TemporaryDirectory() as folder:
        added = _added_ms(Path(folder))
        handling = _per_test_ms(Path(folder))
    return [
        _row("plugin in a stranger's pytest --collect-only", added, 30.0),
        _row("plugin's own time per judged test", handling, 2.0),
    ]


def _added_ms(folder: Path) -> float:
    """Median, over pairs of runs taken in turns, of what the plugin adds to collecting one test file."""
    test = folder / "test_stranger.py"
    test.write_text("def test_one(): pass\n")
    differences = []
    for pair in range(PAIRS + 1):
        without = _seconds(folder, "-p", "no:lastbit.plugin", "--collect-only", test.name)
        added = _seconds(folder, "-p", "lastbit.plugin", "--collect-only", test.name) - without
        if pair:  # the first writes the compiled modules
            differences.append(added)
    test.unlink()
    return 1e3 * median(differences)


def _per_test_ms(folder: Path) -> float:
    """Slope of a run's time with the number of trials, less that of pytest's own with the number of empty tests."""
    slopes = []
    for _ in range(ROUNDS):
        judged = [_judged(folder, count) for count in (FEW, MANY)]
        plain = [_plain(folder, count) for count in (FEW, MANY)]
        slopes.append(((judged[1] - judged[0]) - (plain[1] - plain[0])) / (MANY - FEW))
    return 1e3 * median(slopes)


def _judged(folder: Path, count: int) -> float:
    (folder / "conftest.py").write_text(LAW.format(count=count))
    seconds = _seconds(folder, "-p", "lastbit.plugin", "--pyargs", "lastbit.suites.test_gemm")
    (folder / "conftest.py").unlink()
    return seconds


def _plain(folder: Path, count: int) -> float:
    test = folder / "test_plain.py"
    test.write_text(PLAIN.format(count=count))
    seconds = _seconds(folder, "-p", "no:lastbit.plugin", test.name)
    test.unlink()
    return seconds


def _seconds(folder: Path, *options: str) -> float:
    """Seconds of processor time of one run of pytest, which other work on the machine hardly changes.

    Other plugins are left out: they would hide imports that they share with lastbit.
    """
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'plugins')!r})\n"
        "import pytest\n"
        "if 'lastbit.plugin' in sys.argv and '--pyargs' in sys.argv:\n"
        f"    import lastbit; lastbit.__path__.append({str(ROOT)!r})\n"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(
            f"the benchmark's own run ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
        )
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _row(name: str, value: float, most: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": "ms of CPU", "goal": f"<= {most:g}", "ok": value <= most}
