"""What the plugin's own tests share: a stranger's repository, and a law small enough to run in a blink."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
# Tests import what they share (faulty kernels, rounding points) by name; importlib mode puts no folder on the path.
sys.path.append(str(Path(__file__).parent))

#: A conftest.py that finds lastbit (installed or not) and replaces the law of GEMM by two checks that need no truth.
FAKE_LAW = """
import importlib.util, sys, types
if importlib.util.find_spec("lastbit") is None:
    sys.path.insert(0, {plugins!r})
    import lastbit
    lastbit.__path__.append({root!r})
    pytest_plugins = ["lastbit.plugin"]
import lastbit
from lastbit.case import Case, Check
from lastbit.verdict import ErrorStats, Outcome, Verdict

def obey(trial):
    outcome = trial.kernel.run(trial.case)
    if isinstance(outcome, Exception):
        raise outcome
    return Verdict(Outcome(outcome), f"the kernel says {{outcome}}", 3.0, 1.0, "(1, 2)", "n*u*|A||B|", "fp64 exact",
                   ErrorStats(n=4, max_ulp=2.5, utilisation=0.25))

def applies(trial):
    return "no batch" if "batch" in dict(trial.case.sizes) and "batch" not in trial.kernel.features else ""

CASES = (
    Case("first", (("m", 2), ("n", 3), ("k", 4))),
    Case("second", (("batch", 2), ("m", 2), ("n", 3), ("k", 4))),
    Case("third", (("m", 20), ("n", 30), ("k", 40)), "a:transposed", (("alpha", 0.5),), tier="standard"),
)
law = types.ModuleType("lastbit.suites.gemm")
law.CHECKS = (
    Check("one", "gemm", CASES, obey, applies, "says what it is told"),
    Check("two", "gemm", CASES[:1], obey, applies, "says it again"),
)
trials = types.ModuleType("lastbit.suites.gemm_trial")
trials.sizes = lambda trial: dict(trial.case.sizes)
import lastbit.suites
sys.modules["lastbit.suites.gemm"], sys.modules["lastbit.suites.gemm_trial"] = law, trials
# The laws that stand on GEMM's own modules have no place here.
from lastbit.suites import law as laws
del laws.LAWS["scaled_gemm"]
laws.OPS_WITH_LAW = tuple(laws.LAWS)

def kernel(name, run, **fields):
    fields = {{"formats": {{"a": "f32", "b": "f32", "out": "f32"}}, "framework": "numpy", "devices": ("cpu",)}} | fields
    return lastbit.Kernel(name=name, op="gemm", run=run, **fields)
"""


Stranger = Callable[..., pytest.RunResult]


@pytest.fixture
def stranger(pytester: pytest.Pytester) -> Stranger:
    """Runs pytest in a stranger's repository, whose kernels say how each check ends.

    `stranger(*options, good="pass", bad="over_budget")` offers kernels mine/good and mine/bad; `kernels=` adds the
    text of further ones.
    """

    def run(*options: str, kernels: str = "", **outcomes: str) -> pytest.RunResult:
        rows = ", ".join(f"kernel('mine/{name}', lambda case: {outcome!r})" for name, outcome in outcomes.items())
        hook = f"\ndef pytest_lastbit_kernels(config):\n    return [{rows}{', ' * bool(rows)}{kernels}]\n"
        pytester.makeconftest(FAKE_LAW.format(plugins=str(ROOT / "plugins"), root=str(ROOT)) + hook)
        return pytester.runpytest_subprocess("--pyargs", "lastbit.suites", "-p", "no:cacheprovider", *options)

    return run
