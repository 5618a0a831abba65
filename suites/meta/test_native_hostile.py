"""Native functions that crash, hang, overrun or fail: each costs its own verdict, under the right name."""

import sys
from collections.abc import Iterator
from ctypes import c_int8, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_gemms import CASE, operands, product
from native_libraries import built, needs_compiler

import lastbit
from lastbit import isolate
from lastbit.case import Case, Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained, call
from lastbit.native import CAPACITY, Message, Rows, Size
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.verdict import Outcome

pytestmark = [needs_compiler, pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")]

F32 = {"a": "f32", "b": "f32", "out": "f32"}
PACKED = (
    (c_void_p, "a"),
    (c_void_p, "b"),
    (c_void_p, "out"),
    (c_int64, Size("a", -2)),
    (c_int64, Size("b", -1)),
    (c_int64, Size("a", -1)),
)


@pytest.fixture(autouse=True, scope="module")
def _no_workers_left() -> Iterator[None]:
    yield
    isolate.close()


def hostile(symbol: str, signature: Any = PACKED, **settings: Any) -> Trial:
    library = built(Path(__file__).with_name("native_hostile.cpp"))
    kernel = lastbit.native(library, symbol, signature, op="gemm", formats=F32)
    return Trial(kernel, F32, Contract(), "cpu", CASE, settings=settings)


def fault(obtained: Obtained) -> tuple[Outcome, str]:
    assert obtained.fault is not None
    return obtained.fault.outcome, obtained.fault.reason


@pytest.mark.parametrize("isolated", [False, True])
def test_native_function_returns_its_result(isolated: bool) -> None:
    obtained = call(hostile("honest", isolate=isolated), operands())
    assert obtained.fault is None
    assert np.array_equal(Format.of("f32").decode(obtained.codes), product(operands()))
    assert "isolation" not in obtained.notes  # its process has loaded the library itself


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("segfaults", "ended by SIGSEGV"),
        ("aborts", "ended by SIGABRT"),
        ("throws", "ended by SIGABRT"),
        ("leaves", "ended with exit status 0"),
    ],
)
def test_native_function_that_ends_its_process_is_crashed(symbol: str, words: str) -> None:
    outcome, reason = fault(call(hostile(symbol, isolate=True), operands()))
    assert outcome is Outcome.CRASHED
    assert words in reason


def test_native_function_that_hangs_is_timed_out() -> None:
    outcome, reason = fault(call(hostile("hangs", isolate=True, timeout=0.3), operands()))
    assert outcome is Outcome.TIMED_OUT
    assert "no result after 0.3 s" in reason


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("overruns", "it wrote outside result out: 3 bytes, first at byte 80"),
        ("underruns", "it wrote outside result out: 3 bytes, first 4 bytes before its first element"),
        ("stops_short", "holds lastbit's poison at 5 of 20 elements, first (3, 0)"),
        ("adds_to_out", "holds lastbit's poison"),
        ("changes_operand", "it changed operand a"),
    ],
)
def test_native_function_that_wrongs_memory_has_wrong_structure(symbol: str, words: str, isolated: bool) -> None:
    """Times 0 the poison, a signalling or quiet NaN, is a NaN still; hardware keeps its payload."""
    outcome, reason = fault(call(hostile(symbol, isolate=isolated), operands()))
    assert outcome is Outcome.WRONG_STRUCTURE
    assert words in reason


def test_native_status_says_unsupported_or_failed() -> None:
    assert fault(call(hostile("refuses"), operands())) == (
        Outcome.UNSUPPORTED,
        "refuses returned status 1: unsupported",
    )
    outcome, reason = fault(call(hostile("fails", (*PACKED, (c_void_p, Message()), (c_int64, CAPACITY))), operands()))
    assert outcome is Outcome.CRASHED
    assert "fails returned status 7: workspace of 12 bytes is too small" in reason


@pytest.mark.parametrize(
    ("symbol", "outcome", "words"),
    [
        ("quantize_overruns", Outcome.CRASHED, "it wrote 3 bytes outside result scale, first at byte 12"),
        ("quantize_forgets", Outcome.WRONG_STRUCTURE, "holds lastbit's poison at 3 of 3 elements"),
    ],
)
def test_native_results_of_ops_without_out_are_guarded(symbol: str, outcome: Outcome, words: str) -> None:
    signature = (
        (c_void_p, "x"),
        (c_void_p, "codes"),
        (c_void_p, "scale"),
        (c_int64, Rows("x")),
        (c_int64, Size("x", -1)),
    )
    library = built(Path(__file__).with_name("native_hostile.cpp"))
    kernel = lastbit.native(library, symbol, signature, op="quantize", formats={"x": "f32"}, scaling="i8_row")
    trial = Trial(kernel, kernel.format_sets[0], Contract(), "cpu", Case("any", (("m", 3), ("n", 8))))
    obtained = call(trial, {"x": Operand.of(np.ones((3, 8)), "f32")})
    assert fault(obtained)[0] is outcome
    assert words in fault(obtained)[1]


def test_native_number_that_a_type_cannot_hold_is_unsupported() -> None:
    signature = (*PACKED[:3], (c_int8, Size("a", -2)), (c_int64, Size("b", -1)), (c_int64, Size("a", -1)))
    outcome, reason = fault(call(hostile("honest", signature), operands(m=200)))
    assert outcome is Outcome.UNSUPPORTED
    assert "is 200, which c_byte cannot hold" in reason
