"""The CUDA C++ example: compiled where nvcc is, declared as a kernel, and judged where a device is."""

import shutil
import subprocess
from ctypes import POINTER, c_float, c_int64, c_void_p
from pathlib import Path

import pytest
from native_libraries import EXAMPLES

import lastbit
from lastbit.kernel import Kernel
from lastbit.native import Leading, Size, Stream
from lastbit.verdict import Outcome

FLOATS = POINTER(c_float)
SIGNATURE = (
    *((FLOATS, "a"), (c_int64, Leading("a")), (FLOATS, "b"), (c_int64, Leading("b"))),
    *((FLOATS, "out"), (c_int64, Leading("out"))),
    *((c_int64, Size("a", -2)), (c_int64, Size("b", -1)), (c_int64, Size("a", -1)), (c_void_p, Stream())),
)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on this machine")
    library = tmp_path_factory.mktemp("cuda") / "libgemm_cuda.so"
    flags = ["-O2", "-shared", "-Xcompiler", "-fPIC", "-Wno-deprecated-gpu-targets"]
    subprocess.run(["nvcc", *flags, "-o", library, EXAMPLES / "gemm.cu"], check=True, timeout=120)
    return gemm(library)


def gemm(library: Path) -> Kernel:
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    return lastbit.native(library, "gemm_f32_cuda", SIGNATURE, op="gemm", formats=formats, device="cuda")


def test_cuda_example_compiles_and_is_declared(kernel: Kernel) -> None:
    assert (kernel.framework, kernel.devices) == ("torch", ("cuda",))
    assert "out" in kernel.features


def test_cuda_example_is_not_passed_on_a_cpu(kernel: Kernel) -> None:
    report = lastbit.verify(kernel, device="cpu", tier="smoke")
    assert not report.passed
    assert not any(record.outcome.judged for record in report.records)


@pytest.mark.gpu
def test_cuda_example_conforms(kernel: Kernel) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    report = lastbit.verify(kernel, device="cuda", tier="smoke")
    assert report.passed, str(report)
    assert sum(record.outcome is Outcome.PASS for record in report.records) > 40
