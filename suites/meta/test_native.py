"""`lastbit.native`: examples are judged as they deserve, arguments arrive, and bad declarations say why."""

import shutil
from collections.abc import Callable
from ctypes import POINTER, c_double, c_float, c_int, c_int8, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_libraries import EXAMPLES, built, needs_compiler

import lastbit
from lastbit.environment import environment
from lastbit.errors import KernelError
from lastbit.kernel import Kernel
from lastbit.native import Count, Leading, Rank, Rows, Scalar, Shape, Size, Stride
from lastbit.native_arguments import Laid, laid, untold
from lastbit.verdict import Outcome

pytestmark = needs_compiler

F32 = {"a": "f32", "b": "f32", "out": "f32"}
QKV = dict.fromkeys(("q", "k", "v", "out"), "f32")
CACHES = dict.fromkeys(("k", "v", "k_cache", "v_cache", "out"), "f32")
RIGHT = ("gemm_f32", "gemm_bf16", "sgemm_rows", "softmax_rows", "quantize_i8")
#: The check that must name each planted fault, and what it says.
WRONG = {
    "gemm_tail": ("exact", Outcome.OVER_BUDGET),
    "softmax_raw": ("bound", Outcome.WRONG_CLASS),
    "quantize_i8_truncated": ("exact", Outcome.OVER_BUDGET),
}


def ops() -> Path:
    return built(Path(__file__).with_name("native_ops.cpp"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    """The kernels of examples/native/kernels.py, beside a library built as the file says."""
    from lastbit.discovery import from_source

    folder = tmp_path_factory.mktemp("examples")
    library = built(*(EXAMPLES / f"{name}.cpp" for name in ("gemm", "softmax", "quantize")))
    shutil.copy(library, folder / "libexamples.so")
    shutil.copy(EXAMPLES / "kernels.py", folder / "native_example_kernels.py")
    kernels = from_source(str(folder / "native_example_kernels.py"))
    return {kernel.name.removeprefix("native/"): kernel for kernel in kernels}


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("name", RIGHT)
def test_native_example_that_is_right_conforms(examples: dict[str, Kernel], name: str, isolate: bool) -> None:
    report = lastbit.verify(examples[name], tier="smoke", isolate=isolate)
    assert report.passed, str(report)
    assert sum(record.outcome is Outcome.PASS for record in report.records) > 40
    assert {finding.outcome for finding in report.findings} <= {Outcome.UNSUPPORTED}


@pytest.mark.parametrize("name", WRONG)
def test_native_example_with_a_planted_fault_is_caught(examples: dict[str, Kernel], name: str) -> None:
    report = lastbit.verify(examples[name], tier="smoke")
    assert not report.passed
    assert WRONG[name] in {(finding.check, finding.outcome) for finding in report.findings}


def test_native_layouts_that_the_signature_cannot_say_are_unsupported(examples: dict[str, Kernel]) -> None:
    """Leading dimensions pass rows with padding, and nothing else; strides in full pass every layout."""
    report = lastbit.verify(examples["sgemm_rows"], tier="smoke")
    told = {r.case.partition("/")[2]: r.outcome for r in report.records if r.check == "layout"}
    padded = [outcome for case, outcome in told.items() if "strided_rows" in case and "transposed" not in case]
    assert padded
    assert set(padded) == {Outcome.PASS}
    assert Outcome.UNSUPPORTED in {outcome for case, outcome in told.items() if "transposed" in case}
    full = lastbit.verify(examples["gemm_f32"], tier="smoke")
    assert Outcome.UNSUPPORTED not in {record.outcome for record in full.records}


def test_native_run_names_the_library(examples: dict[str, Kernel]) -> None:
    assert examples
    found = environment()
    assert found.libraries["libexamples.so"].startswith("sha256:")
    assert f"libexamples.so {found.libraries['libexamples.so']}" in found.text()
    assert str(Path(ops()).parent) not in found.text()


def epilogue() -> Kernel:
    return lastbit.native(ops(), "epilogue", op="gemm", formats=F32, features={"alpha", "beta", "c", "bias"})


def attention() -> Kernel:
    features = {"scale", "causal", "window", "softcap", "gqa", "dv", "lse"}
    return lastbit.native(ops(), "attention", op="attention", formats=QKV, features=features)


def kv_append() -> Kernel:
    return lastbit.native(ops(), "kv_append", op="kv_append", formats=CACHES, features={"inplace", "padding"})


def cast() -> Kernel:
    signature = ((POINTER(c_float), "x"), (c_void_p, "out"), (c_int64, Count("x")))
    return lastbit.native(ops(), "cast_packed", signature, op="cast", formats={"x": "f32", "out": "bf16"})


def scaled_gemm() -> Kernel:
    formats = {"a": "i8", "b": "i8", "out": "f32"}
    return lastbit.native(
        ops(), "scaled_gemm", op="scaled_gemm", formats=formats, scaling={"a": "i8_row", "b": "i8_tensor"}
    )


@pytest.mark.parametrize("kernel", [epilogue, attention, kv_append, cast, scaled_gemm])
def test_native_arguments_of_every_kind_of_op_arrive(kernel: Callable[[], Kernel]) -> None:
    report = lastbit.verify(kernel(), tier="smoke")
    assert report.passed, str(report)
    assert sum(record.outcome is Outcome.PASS for record in report.records) > 20


def test_native_function_of_pytorch_tensors_conforms() -> None:
    """What a kernel on a GPU is given, but for the device; quantize's results are memory of the call's own."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    library = built(*(EXAMPLES / f"{name}.cpp" for name in ("gemm", "softmax", "quantize")))
    gemm = lastbit.native(library, "gemm_f32", op="gemm", formats=F32, framework="torch")
    signature = (
        *((FLOATS, "x"), (POINTER(c_int8), "codes"), (FLOATS, "scale")),
        *((c_int64, Rows("x")), (c_int64, Size("x", -1))),
    )
    quantizer = lastbit.native(
        library, "quantize_i8", signature, op="quantize", formats={"x": "f32"}, scaling="i8_row", framework="torch"
    )
    for kernel in (gemm, quantizer):
        report = lastbit.verify(kernel, tier="smoke")
        assert report.passed, str(report)
        assert {record.outcome for record in report.records if record.outcome.judged} == {Outcome.PASS}


FLOATS = POINTER(c_float)
POINTERS = ((c_void_p, "a"), (c_void_p, "b"), (c_void_p, "out"))


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (POINTERS[:2], "has no pointer to out; gemm has a, b, out"),
        ((*POINTERS, c_int), "argument 3 of the signature is <class 'ctypes.c_int'>, expected a pair"),
        ((*POINTERS, (c_int, None)), "argument 3 of the signature is None, expected an operand's name"),
        ((*POINTERS, (c_int, "m")), "argument 3 of the signature is of 'm', but the kernel's arrays are a, b, out"),
        ((*POINTERS, (c_void_p, "bias")), "those of a feature (bias, c, mask) come with it"),
        (((c_int64, "a"), *POINTERS[1:]), "is an address ('a') of type c_long, expected c_void_p or POINTER"),
        (((POINTER(c_double), "a"), *POINTERS[1:]), "points to c_double of 8 bytes, but a is f32, of 4"),
        (((POINTER(c_int8), "a"), *POINTERS[1:]), "points to c_byte of 1 bytes, but a is f32, of 4"),
        ((*POINTERS, (c_float, Size("a", 0))), "of type c_float, expected an integer such as c_int or c_int64"),
        ((*POINTERS, (c_int, 0.5)), "is 0.5 of type c_int, expected c_double or c_float"),
        ((*POINTERS, (c_int, Shape("a"))), "of type c_int, expected c_void_p or POINTER"),
        ((*POINTERS, (c_double, Scalar("gamma", 1.0))), "is the number 'gamma', but gemm has alpha, beta"),
        ((*POINTERS, (c_int64, Stride("a", 0, "bits"))), "in units of 'bits', expected 'elements' or 'bytes'"),
        ((*POINTERS, (int, Rank("a"))), "of type int, expected an integer such as c_int or c_int64"),
    ],
)
def test_native_signature_that_does_not_fit_says_why(signature: Any, words: str) -> None:
    with pytest.raises(KernelError) as caught:
        lastbit.native(ops(), "epilogue", signature, op="gemm", formats=F32)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"library": "./nowhere/libmine.so"}, "cannot be loaded"),
        ({"library": "libno-such-library.so"}, "build it, or give its path"),
        ({"symbol": "gemm"}, "has no symbol 'gemm'; nm -D lists those it has"),
        ({"returns": c_double}, "returns is <class 'ctypes.c_double'>, expected an integer type such as c_int"),
        ({"formats": [F32]}, "expected one mapping"),
        (
            {"op": "attention", "features": {"packed"}, "formats": dict.fromkeys("qkv", "f32") | {"out": "f32"}},
            "packed",
        ),
        ({"op": "kv_append", "formats": dict.fromkeys(("k", "v", "k_cache", "v_cache", "out"), "f32")}, "inplace"),
    ],
)
def test_native_declaration_that_cannot_be_used_says_why(changed: dict[str, Any], words: str) -> None:
    given = {"library": ops(), "symbol": "epilogue", "op": "gemm", "formats": F32} | changed
    with pytest.raises(KernelError) as caught:
        lastbit.native(given.pop("library"), given.pop("symbol"), **given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sources", "array", "told"),
    [
        (("a",), np.zeros((3, 4)), True),
        (("a",), np.zeros((3, 4)).T, False),
        (("a",), np.zeros((3, 9))[:, :4], False),
        (("a", Leading("a")), np.zeros((3, 9))[:, :4], True),
        (("a", Leading("a")), np.zeros((3, 8))[:, ::2], False),
        (("a", Stride("a", 0), Stride("a", 1)), np.zeros((4, 3)).T, True),
        (("a", Stride("a", -2), Stride("a", -1)), np.zeros((4, 3))[::-1, ::-1], True),
        (("a", Stride("a", -2), Stride("a", -1)), np.zeros((2, 4, 3))[::2], True),
        (("a", Leading("a")), np.zeros((2, 6, 3))[:, :4], False),
        (("a", Leading("a")), np.zeros((2, 4, 9))[..., :3], True),
        (("a",), np.zeros((1, 9))[:, :4], True),
        (("a",), np.zeros((0, 4)).T, True),
        (("b", Leading("b")), np.zeros((3, 9))[:, :4], False),
        (("a",), np.zeros((3, 2))[:, :1], False),
        (("a", Leading("a")), np.zeros((3, 4))[::-1], False),
        (("a", Leading("a")), np.broadcast_to(np.zeros((1, 4)), (3, 4)), False),
    ],
)
def test_native_strides_that_are_not_passed_must_be_packed(sources: Any, array: Any, told: bool) -> None:
    assert (untold(sources, "a", laid(array)) == "") is told


@settings(derandomize=True, deadline=None, max_examples=300, database=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 3), min_size=1, max_size=3), told=st.sets(st.integers(0, 2)))
def test_native_function_that_fills_in_packed_strides_finds_every_element(
    data: st.DataObject, shape: list[int], told: set[int]
) -> None:
    """What a function does that is told some strides: `untold` refuses just those arrays that it would misread."""
    strides = tuple(data.draw(st.sampled_from([1, 2, 3, 4, 6, 9, 0, -1])) for _ in shape)
    sources = ("a", *(Stride("a", axis) for axis in told if axis < len(shape)))
    filled: list[int] = []
    for axis in reversed(range(len(shape))):
        packed = filled[0] * shape[axis + 1] if filled else 1
        filled.insert(0, strides[axis] if axis in told else packed)
    where = [sum(i * step for i, step in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]
    found = [sum(i * step for i, step in zip(index, filled, strict=True)) for index in np.ndindex(*shape)]
    assert (untold(sources, "a", Laid(0, tuple(shape), strides, 4)) == "") is (where == found)
