"""The softmax kernels of PyTorch, NumPy and Triton keep their contracts, and fail only where a finding says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lastbit.discovery import find
from lastbit.kernel import REDUCTIONS, Kernel
from lastbit.providers import numpy_softmax
from lastbit.verdict import Outcome
from lastbit.verify import Report, verify

#: Some of each check, for what an interpreter does slowly.
FEW = (
    "exact equal/m17-n65",
    "exact one_hot/batch3-m5-n33",
    "tails normal/m3-novertile",
    "bound sharp/m12-n9",
    "bound increasing/m17-nfair",
    "bound tails/m17-nfair",
    "bound masked/m17-nfair",
    "special special/m17-n33",
    "layout low/m17-n65/x:strided",
    "output low/m17-n65/out:strided_rows",
)

COMPILE = """
import json, re, sys
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from lastbit.providers.triton_rows import rows
from lastbit.providers.triton_softmax import TILE

def compiled(op, pointer):
    work = tl.float64 if pointer == "fp64" else tl.float32
    values = {"BM": TILE["m"], "BN": TILE["n"], "OP": op, "WORK": work, "x_n": 1, "out_n": 1}
    function = JITFunction(rows)
    types = {"x": "*" + pointer, "out": "*" + pointer}
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    source = ASTSource(function, signature=signature, constexprs=constants)
    text = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    return sorted(set(re.findall(r"\\b(?:ex2|div)\\.[\\w.]*", text)))

asked = [(op, p) for op in ("softmax", "log_softmax", "logsumexp") for p in ("fp64", "fp32", "bf16")]
print(json.dumps({f"{op} {p}": compiled(op, p) for op, p in asked}))
"""


def kernels(*names: str) -> tuple[Kernel, ...]:
    return find(only=names).kernels


def failed(report: Report) -> set[tuple[str, str]]:
    return {(record.formats, record.outcome.value) for record in report.records if record.outcome.failed}


def test_every_provider_offers_the_three_ops() -> None:
    found = [kernel for kernel in kernels("torch/*", "numpy/*", "triton/*") if kernel.op in REDUCTIONS]
    for provider in ("torch", "numpy", "triton"):
        mine = [kernel for kernel in found if kernel.name.startswith(f"{provider}/")]
        assert {kernel.op for kernel in mine} == set(REDUCTIONS), provider
    for kernel in found:
        assert kernel.name.partition("/")[2].startswith(kernel.op)
        assert kernel.contract.source
        assert kernel.contract.masked_row == "nan"


@pytest.mark.parametrize(
    "name", ["numpy/softmax", "numpy/log_softmax", "numpy/logsumexp", "torch/softmax", "torch/softmax-*"]
)
def test_kernel_conforms(name: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    for kernel in kernels(name):
        if kernel.tier == "smoke":
            report = verify(kernel, tier="smoke", seed=1)
            assert report.passed, str(report)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_triton_conforms(op: str) -> None:
    pytest.importorskip("triton")
    (kernel,) = kernels(f"triton/{op}")
    report = verify(kernel, tier="smoke", case=FEW)
    assert report.passed, str(report)
    assert sum(record.outcome is Outcome.PASS for record in report.records) >= 32


@pytest.mark.parametrize("name", ["torch/log_softmax", "torch/logsumexp"])
def test_torch_rounds_the_sum_in_16_bits_and_only_there(name: str) -> None:
    pytest.importorskip("torch")
    (kernel,) = kernels(name)
    assert failed(verify(kernel, tier="smoke", seed=1)) == {
        ("x:f16 out:f16", "over_budget"),
        ("x:bf16 out:bf16", "over_budget"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("op", REDUCTIONS)
def test_torch_compiled_conforms_in_every_format(op: str) -> None:
    pytest.importorskip("torch")
    (kernel,) = kernels(f"torch/{op}-compiled")
    report = verify(kernel, tier="standard", case=[case for case in FEW if not case.startswith("output")])
    assert report.passed, str(report)
    assert {record.formats for record in report.records if record.outcome is Outcome.PASS} >= {
        "x:f32 out:f32",
        "x:bf16 out:bf16",
    }


def test_numpy_follows_scipy_at_the_ends() -> None:
    """+inf, rows of -inf and empty batches, told apart from NaN."""
    run = {kernel.op: kernel.run for kernel in numpy_softmax.kernels()}
    x = np.array([[np.inf, 0.0], [-np.inf, -np.inf], [-np.inf, 3.0]], np.float32)
    np.testing.assert_array_equal(run["logsumexp"](x), np.array([np.inf, -np.inf, 3.0], np.float32))
    np.testing.assert_array_equal(run["softmax"](x)[2], [0.0, 1.0])
    np.testing.assert_array_equal(run["log_softmax"](x)[2], [-np.inf, 0.0])
    assert np.isnan(run["softmax"](x)[:2]).all()
    assert run["softmax"](x[:0]).shape == (0, 2)


@pytest.mark.slow
def test_triton_rows_compile_for_a_gpu_with_a_rounded_division(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    import lastbit

    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    program = f"import lastbit; lastbit.__path__[:] = {list(lastbit.__path__)!r}\n{COMPILE}"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["softmax fp32"] == found["softmax bf16"] == ["div.rn.f32", "ex2.approx.f32"]
    assert found["softmax fp64"] == ["div.rn.f64"]
    assert found["log_softmax fp32"] == found["logsumexp bf16"] == ["ex2.approx.f32"]
