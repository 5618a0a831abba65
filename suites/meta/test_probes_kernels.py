"""Datasheets of real kernels: switches with a known effect change their own lines and no other."""

from collections.abc import Callable

import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.probes.access import AccessError, Shape, of_kernel
from lastbit.suites.probes.sheet import Findings, findings, sheet

torch = pytest.importorskip("torch")

SUBNORMALS = {"input_subnormals", "result_subnormals"}
#: What is known of a sum's arithmetic, whatever its order.
ARITHMETIC = ("fraction_bits", "precision", "rounding", "output_rounding", "input_precision", "sum_range", "nan")


def found(fmt: str, run: Callable[..., object] | None = None, k: int = 32) -> Findings:
    """The probes' answers on torch.mm, or another function, of one format."""
    formats = dict.fromkeys(("a", "b", "out"), fmt)
    kernel = Kernel("mine/mm", "gemm", run or torch.mm, formats, Contract())
    return findings(of_kernel(kernel, formats, "cpu", Shape(32, 32, k)))


def changed(before: Findings, after: Findings) -> set[str]:
    """Properties whose values differ."""
    return {name for name, answer in before.answers.items() if answer.value != after.answers[name].value}


@pytest.fixture
def flushing() -> Callable[..., object]:
    """torch.mm in a thread that flushes: on for the call alone, for the probes' own arithmetic must not be flushed."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormal numbers")
    torch.set_flush_denormal(False)

    def run(a: object, b: object) -> object:
        torch.set_flush_denormal(True)
        try:
            return torch.mm(a, b)
        finally:
            torch.set_flush_denormal(False)

    return run


@pytest.fixture(autouse=True)
def one_thread():
    """The switch is one of a thread, and set on the calling one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_flushing_changes_the_subnormals_of_f32_alone(flushing):
    before = found("f32")
    after = found("f32", flushing)
    assert changed(before, after) == SUBNORMALS
    assert {before.answers[name].value for name in SUBNORMALS} == {"kept"}
    assert {after.answers[name].value for name in SUBNORMALS} == {"flushed"}


def test_flushing_changes_no_line_of_f16(flushing):
    """An f16 subnormal is a normal number of f32, which its products are computed in."""
    before = found("f16")
    after = found("f16", flushing)
    assert changed(before, after) == set()


def test_bf16_is_flushed_under_the_switch(flushing):
    after = found("bf16", flushing)
    assert {after.answers[name].value for name in SUBNORMALS} == {"flushed"}


@pytest.mark.parametrize("fmt", ["f32", "f16", "bf16"])
def test_threads_change_no_line(fmt):
    before = found(fmt)
    torch.set_num_threads(2)
    assert changed(before, found(fmt)) == set()


@pytest.mark.parametrize("fmt", ["f32", "bf16"])
def test_onednn_changes_the_order_and_subnormals_at_most(fmt):
    before = found(fmt)
    with torch.backends.mkldnn.flags(enabled=False):
        after = found(fmt)
    assert changed(before, after) <= {"tree", "places", "zero", "overflow"} | SUBNORMALS
    assert all(before.answers[name].value == after.answers[name].value for name in ARITHMETIC)


def test_reduced_operands_change_what_is_read_of_them_alone():
    """As a matmul precision of "medium" does where the CPU has bf16 units: the operands are rounded to bf16 first."""
    before = found("f32")
    after = found("f32", lambda a, b: torch.mm(a.bfloat16().float(), b.bfloat16().float()))
    assert changed(before, after) == {
        "input_precision",
        "input_rounding",
        "split",
        "fma",
        "input_subnormals",
    } & changed(before, after)
    assert after.answers["input_precision"].value == 8
    assert after.answers["input_rounding"].value == "nearest-even"
    assert before.answers["input_precision"].value == 24


def test_matmul_precision_changes_what_is_read_at_most():
    before, precision = found("f32"), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        after = found("f32")
    finally:
        torch.set_float32_matmul_precision(precision)
    assert changed(before, after) <= {"input_precision", "input_rounding", "split", "fma", "tree"} | SUBNORMALS


@pytest.mark.parametrize("fmt", ["f64", "f32", "f16", "bf16"])
def test_torch_is_confirmed(fmt):
    formats = dict.fromkeys(("a", "b", "out"), fmt)
    kernel = Kernel("mine/mm", "gemm", torch.mm, formats, Contract())
    made = sheet(of_kernel(kernel, formats, "cpu", Shape(64, 64, 64)))
    assert made.confirmation.confirmed, made.confirmation.counterexample
    assert made.answer("precision").value == {"f64": 53}.get(fmt, 24)


def test_an_addend_that_enters_last_is_seen():
    formats = dict.fromkeys(("a", "b", "out"), "f32")
    kernel = Kernel(
        "mine/addmm", "gemm", lambda a, b, *, c=None: torch.mm(a, b) + (0 if c is None else c), formats, features={"c"}
    )
    made = sheet(of_kernel(kernel, formats, "cpu", Shape(32, 32, 32)))
    assert made.answer("addend").value == "last"
    assert made.confirmation.confirmed, made.confirmation.counterexample


def test_a_thread_that_flushes_cannot_probe():
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormal numbers")
    try:
        with pytest.raises(AccessError, match="this thread flushes subnormal numbers"):
            found("f32")
    finally:
        torch.set_flush_denormal(False)
