"""verify() and assert_conforms(): what a kernel author calls from Python."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lastbit
from lastbit import Contract, Kernel, assert_conforms
from lastbit.errors import KernelError, UsageError
from lastbit.verdict import Outcome

F32 = {"a": "f32", "b": "f32", "out": "f32"}
F16 = {"a": "f16", "b": "f16", "out": "f16"}


def f32_sum(a: Any, b: Any) -> Any:
    return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)


def f16_sum(a: Any, b: Any) -> Any:
    out = np.zeros((a.shape[0], b.shape[1]), np.float16)
    for k in range(a.shape[1]):
        out += a[:, k : k + 1] * b[k : k + 1, :]
    return out


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No golden, budgets or findings of this repository."""
    monkeypatch.chdir(tmp_path)


def verify(kernel: Any, **options: Any) -> Any:
    return lastbit.verify(kernel, tier="smoke", **options)


def test_verify_passes_a_right_function_and_fails_a_wrong_one() -> None:
    right = verify(f32_sum, formats=F16, framework="numpy")
    assert right.passed
    assert [f for f in right.findings if f.outcome.failed] == []
    assert sum(record.outcome is Outcome.PASS for record in right.records) > 20
    wrong = verify(f16_sum, formats=F16, framework="numpy")
    assert not wrong.passed
    assert {f.outcome for f in wrong.findings} & {Outcome.OVER_BUDGET, Outcome.WRONG_CLASS}
    assert "test_verify/f16_sum" in str(wrong)
    assert "DOES NOT CONFORM" in str(wrong)


def test_same_bytes_are_right_under_another_contract() -> None:
    """A kernel that adds up in f16 keeps its promise once that is what it promises."""
    options = {"formats": F16, "framework": "numpy", "case": "bound uniform/m8-n12-k16"}
    assert not verify(f16_sum, **options).passed
    assert verify(f16_sum, **options, contract=Contract(accumulator="f16")).passed


def test_verify_replays_one_case_as_its_record_says() -> None:
    report = verify(f16_sum, formats=F16, framework="numpy", seed=3)
    failing = next(record for record in report.records if record.outcome is Outcome.OVER_BUDGET)
    assert failing.reproduce.startswith("lastbit.verify(kernel, device='cpu', seed=3, tier='smoke', case='")
    kernel = Kernel("test_verify/f16_sum", "gemm", f16_sum, F16, framework="numpy")
    again = eval(failing.reproduce, {"lastbit": lastbit, "kernel": kernel})
    judged = [record for record in again.records if record.outcome.judged]
    assert [replace(record, seconds=0.0) for record in judged] == [replace(failing, seconds=0.0)]


def test_case_with_a_layout_of_an_operand_that_it_lacks_is_no_crash_of_lastbit() -> None:
    report = verify(f32_sum, formats=F16, framework="numpy", case="layout integers/m2-n3-k4/c:strided")
    (record,) = report.records
    assert (record.outcome, record.reason.splitlines()[0]) == (
        Outcome.ERROR,
        "the case cannot be judged: layout of c: the operands are a, b and out",
    )


def test_nothing_judged_does_not_pass() -> None:
    kernel = Kernel("mine/slow", "gemm", f32_sum, F16, framework="numpy", tier="full")
    report = lastbit.verify(kernel)
    assert not report.passed
    assert [record.outcome for record in report.records] == [Outcome.NOT_TESTED]
    assert report.status == 2


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: verify(f32_sum), KernelError, "formats is missing"),
        (lambda: verify(f32_sum, formats={**F16, "a": "f17"}), KernelError, "unknown format f17"),
        (lambda: verify(f32_sum, formats=F16, op="gemv"), KernelError, "op is 'gemv'"),
        (lambda: verify(f32_sum, formats=F16, framework="numpy", device="tpu"), UsageError, "this machine has cpu"),
        (lambda: lastbit.verify(f32_sum, formats=F16, tier="huge"), UsageError, "expected one of smoke"),
        (lambda: verify("torch/mm", formats=F16), UsageError, "neither a Kernel nor a function"),
    ],
)
def test_verify_refuses(call: Callable[[], Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


def operands(framework: str, dtype: str, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((17, 65)), rng.standard_normal((65, 33))
    if framework == "numpy":
        return a.astype(dtype), b.astype(dtype)
    torch = pytest.importorskip("torch")
    return torch.from_numpy(a).to(getattr(torch, dtype)), torch.from_numpy(b).to(getattr(torch, dtype))


@pytest.mark.parametrize(
    ("framework", "dtype"),
    [("numpy", "float32"), ("numpy", "float64"), ("torch", "float32"), ("torch", "bfloat16"), ("torch", "float16")],
)
def test_assert_conforms_accepts_the_librarys_product(framework: str, dtype: str) -> None:
    a, b = operands(framework, dtype)
    assert_conforms(a @ b, inputs={"a": a, "b": b})


@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 2.0**-14), ("bfloat16", 2.0**-6)])
def test_assert_conforms_refuses_one_wrong_element(dtype: str, ulps: float) -> None:
    a, b = operands("torch", dtype)
    out = a @ b
    out[3, 4] *= 1 + ulps
    with pytest.raises(AssertionError, match=r"over_budget: max error .* ulp at \(3, 4\): got .*, want .*\nbudget"):
        assert_conforms(out, inputs={"a": a, "b": b})


def test_assert_conforms_takes_addends_and_scalars() -> None:
    a, b = operands("numpy", "float32")
    c, bias = np.full((17, 33), 0.5, np.float32), np.arange(33, dtype=np.float32)
    inputs = {"a": a, "b": b, "c": c, "bias": bias}
    out = (np.float32(0.5) * (a @ b) + np.float32(2.0) * c + bias).astype(np.float32)
    assert_conforms(out, inputs=inputs, alpha=0.5, beta=2.0)
    with pytest.raises(AssertionError, match="over_budget"):
        assert_conforms(out, inputs=inputs, alpha=0.5, beta=1.0)


def test_assert_conforms_holds_a_stated_contract() -> None:
    a, b = (np.abs(x) for x in operands("numpy", "float16"))
    a, b = a[:, :16], b[:16]
    with pytest.raises(AssertionError, match="over_budget"):
        assert_conforms(f16_sum(a, b), inputs={"a": a, "b": b})
    assert_conforms(f16_sum(a, b), inputs={"a": a, "b": b}, contract=Contract(accumulator="f16"))


def test_assert_conforms_refuses_a_promise_that_allows_anything() -> None:
    """4096 terms in bf16 may be wrong by more than their sum, so a pass would show nothing."""
    a, b = np.ones((8, 4096), np.float32), np.arange(4096 * 8, dtype=np.float32).reshape(4096, 8)
    with pytest.raises(AssertionError, match="vacuous: on these data the budget would also accept"):
        assert_conforms(a @ b, inputs={"a": a, "b": b}, contract=Contract(accumulator="bf16"))


def test_assert_conforms_refuses_a_wrong_shape() -> None:
    a, b = operands("numpy", "float32")
    with pytest.raises(AssertionError, match=r"shape is \(17, 32\), expected \(17, 33\)"):
        assert_conforms((a @ b)[:, :32], inputs={"a": a, "b": b})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"inputs": {"a": np.eye(2)}}, "inputs lacks b; give inputs="),
        ({"inputs": {"a": np.eye(2), "b": np.eye(3)}}, "expected .* and "),
        ({"inputs": {"a": [[1.0]], "b": np.eye(2)}}, "a is a list"),
        ({"inputs": {"a": np.eye(2) > 0, "b": np.eye(2)}}, "a has dtype bool"),
        ({"inputs": {"a": np.eye(2), "b": np.eye(2)}, "formats": {"a": "f32"}}, "formats says that a is f32"),
        ({"inputs": {"a": np.eye(2), "b": np.eye(2)}, "op": "cast"}, "op is 'cast', expected one of gemm"),
        ({"inputs": {"a": np.eye(2), "b": np.eye(2)}, "gamma": 1.0}, "gemm has no option gamma; it has alpha, beta"),
        ({"inputs": {"a": np.eye(2), "b": np.eye(2), "c": np.eye(3)}}, r"c has shape \(3, 3\), the result needs"),
        ({"inputs": {"a": np.eye(2), "b": np.eye(2), "bias": np.ones(3)}}, r"bias has shape \(3,\), the result needs"),
        ({"inputs": {"a": np.eye(2), "b": np.eye(2)}, "alpha": np.inf}, "scalars of a GEMM must be finite"),
        ({"inputs": {"q": np.eye(2)}, "op": "attention"}, "inputs lacks k and v; give inputs="),
        ({"inputs": {"x": np.eye(2), "y": np.eye(2)}, "op": "softmax"}, "inputs has y; softmax takes x"),
        ({"inputs": dict.fromkeys("qkv", np.eye(2)), "op": "attention"}, "expected four dimensions each"),
    ],
)
def test_assert_conforms_says_what_does_not_fit(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        assert_conforms(np.eye(2), **arguments)
