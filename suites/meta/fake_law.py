"""A law small enough to run in a blink, for tests of what walks it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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
