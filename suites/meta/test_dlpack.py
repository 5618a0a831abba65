"""Kernels of other array libraries, through DLPack: a library of ctypes, and JAX where it is installed."""

from typing import Any

import dlpack_library as grids
import numpy as np
import pytest
from hostile_gemms import operands, product, trial

import lastbit
from lastbit.dlpack import through_dlpack
from lastbit.errors import KernelError
from lastbit.harness import call
from lastbit.kernel import Kernel
from lastbit.references.formats import Format
from lastbit.verdict import Outcome

F32 = {"a": "f32", "b": "f32", "out": "f32"}


def kernel(function: Any, framework: str) -> Kernel:
    run = through_dlpack(function, grids.from_dlpack, framework=framework)
    # 2^16 products, since they are Python's.
    return Kernel("grids/gemm", "gemm", run, F32, framework=framework, devices=("cpu",), limit=2**16)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_dlpack_kernel_conforms(framework: str) -> None:
    report = lastbit.verify(kernel(grids.multiply, framework), tier="smoke")
    assert report.passed, str(report)
    assert sum(record.outcome is Outcome.PASS for record in report.records) > 20


def test_dlpack_kernel_that_is_wrong_is_caught() -> None:
    report = lastbit.verify(kernel(grids.multiply_flipped, "numpy"), tier="smoke")
    assert ("exact", Outcome.OVER_BUDGET) in {(finding.check, finding.outcome) for finding in report.findings}


def test_dlpack_kernel_can_be_isolated() -> None:
    run = through_dlpack(grids.multiply, grids.from_dlpack)
    obtained = call(trial(run, framework="numpy", name="grids/isolated", isolate=True), operands())
    assert obtained.fault is None
    assert "isolation" not in obtained.notes
    assert np.array_equal(Format.of("f32").decode(obtained.codes), product(operands()))


def test_dlpack_format_that_numpy_cannot_export_is_unsupported() -> None:
    run = through_dlpack(grids.multiply, grids.from_dlpack)
    obtained = call(trial(run, "bf16", framework="numpy"), operands("bf16"))
    assert obtained.fault is not None
    assert obtained.fault.outcome is Outcome.UNSUPPORTED
    assert "numpy has no DLPack of bfloat16" in obtained.fault.reason


def test_dlpack_result_of_no_array_library_has_wrong_structure() -> None:
    run = through_dlpack(lambda a, b: [1.0], grids.from_dlpack)
    obtained = call(trial(run, framework="numpy"), operands())
    assert obtained.fault is not None
    assert obtained.fault.outcome is Outcome.WRONG_STRUCTURE


@pytest.mark.parametrize("format", ["f32", "bf16"])
def test_dlpack_brings_jax(format: str) -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    run = through_dlpack(jax.numpy.matmul, jax.numpy.from_dlpack, framework="torch")
    obtained = call(trial(run, format), operands(format))
    assert obtained.fault is None, obtained.fault.reason
    assert np.array_equal(Format.of(format).decode(obtained.codes), product(operands(format)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"framework": "jax"}, "framework is 'jax', expected one of numpy, torch"),
        ({"function": 3}, "function is 3, expected a function"),
        ({"take": None}, "take is None, expected a function; take is the library's from_dlpack"),
    ],
)
def test_dlpack_declaration_that_cannot_be_used_says_why(given: dict[str, Any], words: str) -> None:
    whole = {"function": grids.multiply, "take": grids.from_dlpack} | given
    with pytest.raises(KernelError, match=words):
        through_dlpack(whole.pop("function"), whole.pop("take"), **whole)
