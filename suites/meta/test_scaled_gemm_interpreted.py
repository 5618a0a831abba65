"""The scaled products that need a process of their own: Triton's, interpreted, and JAX's."""

import json
import os
import subprocess
import sys

import pytest

CONFORMING = ("triton/scaled-i8-rows", "triton/scaled-mxfp4", "jax/scaled_dot-e4m3fn")
#: F6 of FINDINGS.md.
MISREADING = "triton/scaled-fp8-blocks"

VERIFY = """
import json, sys
from lastbit.discovery import find
from lastbit.verify import verify
answers = {}
for kernel in find(only=tuple(sys.argv[1:])).kernels:
    report = verify(kernel, tier="smoke", seed=5)
    failed = sorted({f.check for f in report.findings if f.outcome.failed})
    answers[kernel.name] = {"passed": report.passed, "records": len(report.records), "failed": failed}
print(json.dumps(answers))
"""


def verified(*names: str) -> dict:
    """What `verify` says of kernels by name, in a fresh process that interprets Triton."""
    import lastbit

    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    path = f"import lastbit; lastbit.__path__[:] = {list(lastbit.__path__)!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", path + VERIFY, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def answers() -> dict:
    pytest.importorskip("triton")
    return verified(*CONFORMING, MISREADING)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFORMING)
def test_kernel_conforms(answers: dict, name: str) -> None:
    if name not in answers:
        pytest.skip(f"{name} cannot run here: no JAX, or a Triton whose interpreter has no tl.dot_scaled")
    assert answers[name]["passed"], answers[name]
    assert answers[name]["records"] > 40


@pytest.mark.slow
def test_interpreter_reads_nan_of_e4m3fn_as_a_number_and_nothing_else_wrongly(answers: dict) -> None:
    assert answers[MISREADING]["failed"] == ["special"]
