"""Operators of PyTorch, built by torch.utils.cpp_extension or made by torch.library, by their registered names."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lastbit
from lastbit import isolate
from lastbit.errors import KernelError
from lastbit.kernel import Kernel
from lastbit.verdict import Outcome

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "native" / "torch_gemm.cpp"
F16 = {"a": "f16", "b": "f16", "out": "f16"}
F32 = {"a": "f32", "b": "f32", "out": "f32"}


@pytest.fixture(autouse=True, scope="module")
def _no_workers_left() -> Iterator[None]:
    yield
    isolate.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as cpp_extension builds operators: about 10 s on a free core."""
    if shutil.which("g++") is None or shutil.which("ninja") is None:
        pytest.skip("torch.utils.cpp_extension needs g++ and ninja")
    from torch.utils import cpp_extension

    folder = tmp_path_factory.mktemp("extension")
    cpp_extension.load(
        "torch_gemm", [str(EXAMPLE)], build_directory=str(folder), extra_cflags=["-O1"], is_python_module=False
    )
    return folder / "torch_gemm.so"


def operator(library: Path | str, name: str, signature: tuple[str, ...] | None = None) -> Kernel:
    return lastbit.native(library, f"lastbit_example::{name}", signature, op="gemm", formats=F16)


@pytest.mark.parametrize("isolated", [False, True])
def test_operator_of_an_extension_is_judged(library: Path, isolated: bool) -> None:
    right = lastbit.verify(operator(library, "gemm"), tier="smoke", isolate=isolated)
    assert right.passed, str(right)
    assert sum(record.outcome is Outcome.PASS for record in right.records) > 40
    assert not any("isolation" in record.notes for record in right.records)
    wrong = lastbit.verify(operator(library, "gemm_narrow", ("a", "b")), tier="smoke", isolate=isolated)
    assert ("bound", Outcome.OVER_BUDGET) in {(finding.check, finding.outcome) for finding in wrong.findings}


def test_operator_registered_in_python_takes_operands_in_its_own_order() -> None:
    """The operator has its operands the other way round; named in the op's order it would be another product."""
    name = "lastbit_test::swapped"
    if not hasattr(torch.ops.lastbit_test, "swapped"):
        torch.library.custom_op(name, mutates_args=())(_swapped)
    ordered = lastbit.native("", name, ("b", "a"), op="gemm", formats=F32)
    assert lastbit.verify(ordered, tier="smoke").passed
    unordered = lastbit.verify(lastbit.native("", name, op="gemm", formats=F32), tier="smoke")
    assert not unordered.passed


def _swapped(b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return a @ b


@pytest.mark.parametrize(
    ("library", "symbol", "signature", "words"),
    [
        ("", "lastbit_test::missing", None, "PyTorch has no operator lastbit_test::missing; what was imported must"),
        ("./nowhere/libops.so", "lastbit_test::gemm", None, "cannot be loaded"),
        ("", "aten::mm", (("c_int", "a"),), "expected names of operands"),
        ("", "aten::mm", ("a",), "the signature lacks b"),
    ],
)
def test_operator_that_is_not_there_says_why(library: str, symbol: str, signature: object, words: str) -> None:
    with pytest.raises(KernelError) as caught:
        lastbit.native(library, symbol, signature, op="gemm", formats=F32)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
