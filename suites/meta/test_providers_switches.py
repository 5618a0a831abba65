"""PyTorch's precision switches are put back after a call, and Triton interprets only where it must."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from lastbit.providers import torch as provider  # noqa: E402

MATMUL = torch.backends.cuda.matmul
REDUCED = "allow_fp16_reduced_precision_reduction"


def state() -> dict[str, object]:
    """Every switch, read as a user would; the newer one alone where the older cannot be read beside it."""
    names = (REDUCED, "allow_bf16_reduced_precision_reduction", "allow_fp16_accumulation", "fp32_precision")
    seen = {name: getattr(MATMUL, name) for name in names}
    seen["split"] = provider._setting(MATMUL, REDUCED)
    seen["cpu"] = torch.backends.mkldnn.matmul.fp32_precision
    seen["legacy"] = provider._legacy_precision()
    return seen


@pytest.fixture(autouse=True)
def restored():
    before = state()
    yield
    setattr(MATMUL, REDUCED, before["split"])
    MATMUL.allow_bf16_reduced_precision_reduction = before["allow_bf16_reduced_precision_reduction"]
    MATMUL.allow_fp16_accumulation = before["allow_fp16_accumulation"]
    torch.set_float32_matmul_precision(before["legacy"])
    MATMUL.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = before["fp32_precision"], before["cpu"]


def users_legacy():
    torch.set_float32_matmul_precision("medium")


def users_new():
    MATMUL.fp32_precision = "tf32"


def users_reductions():
    setattr(MATMUL, REDUCED, (False, False) if hasattr(MATMUL, f"{REDUCED}_split_k") else False)
    MATMUL.allow_fp16_accumulation = True


@pytest.mark.parametrize("choose", [users_legacy, users_new, users_reductions, lambda: None])
@pytest.mark.parametrize("fails", [False, True])
def test_switches_are_as_asked_within_and_as_before_after(choose, fails):
    choose()
    before, within = state(), []

    def function(a, b):
        within.append(state())
        if fails:
            raise ValueError("planted")
        return a @ b

    one = torch.ones(2, 2)
    run = provider._under(function, float32="high", allow_fp16_accumulation=True)
    if fails:
        with pytest.raises(ValueError, match="planted"):
            run(one, one)
    else:
        assert run(one, one)[0, 0] == 2
    assert state() == before
    (seen,) = within
    assert (seen["fp32_precision"], seen["allow_fp16_accumulation"], seen[REDUCED]) == ("tf32", True, False)


def test_switches_are_off_for_a_plain_kernel_whatever_the_user_set():
    users_legacy()
    users_reductions()
    within = []
    provider._strict(lambda a, b: within.append(state()))(None, None)
    assert within[0]["fp32_precision"] == within[0]["cpu"] == "ieee"
    assert not any(within[0][name] for name in provider.STRICT if name != "float32")


def test_switches_give_the_cuda_kernels_their_contracts():
    kernels = {kernel.name: kernel for kernel in provider.kernels()}
    assert kernels["torch/matmul-tf32"].contract.input_rounding == "tf32"
    assert kernels["torch/matmul-f16-reduced"].contract.accumulator == "f16"
    assert kernels["torch/matmul-bf16-reduced"].contract.accumulator == "bf16"
    assert kernels["torch/matmul-f16-accumulate"].contract.accumulator == "f16"
    assert all(
        kernels[name].devices == ("cuda",)
        for name in kernels
        if name.startswith("torch/matmul-") and "comp" not in name
    )


def test_int_mm_says_what_cuda_does_not_take():
    class OnCuda:
        is_cuda, dtype, shape = True, torch.int8, (5, 7)

    with pytest.raises(NotImplementedError, match="multiples of 8"):
        provider._int_mm(OnCuda(), OnCuda())


def child(program: str, **environment: str) -> str:
    """What `program` prints in a process that has imported neither torch nor triton."""
    start = f"import sys; sys.path[:0] = {sys.path!r}\nimport os, lastbit; lastbit.__path__[:] = {list(_path())!r}\n"
    cleared = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, "-c", start + program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=cleared | environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def _path():
    import lastbit

    return lastbit.__path__


SHOW = "print(sorted({d for k in kernels() for d in k.devices}), os.environ.get('TRITON_INTERPRET'))"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a CUDA device")
def test_triton_is_interpreted_without_a_cuda_device():
    pytest.importorskip("triton")
    assert child(f"from lastbit.providers.triton import kernels; {SHOW}") == "['cpu'] 1"


def test_triton_is_compiled_and_nothing_set_with_a_cuda_device():
    pytest.importorskip("triton")
    program = "import torch; torch.cuda.is_available = lambda: True\nfrom lastbit.providers.triton import kernels; "
    assert child(program + SHOW) == "['cuda'] None"
    names = child(program + "print([k.name for k in kernels()])")
    assert "triton/gemm-tf32" in names
    assert "triton/gemm-unwidened" not in names


@pytest.mark.parametrize(
    ("start", "environment", "reason"),
    [
        ("import triton", {}, "set TRITON_INTERPRET=1 before Triton is imported"),
        ("import torch; torch.cuda.is_available = lambda: True", {"TRITON_INTERPRET": "1"}, "unset it"),
    ],
)
def test_triton_in_the_wrong_mode_is_reported_with_the_remedy(start, environment, reason):
    pytest.importorskip("triton")
    if torch.cuda.is_available() and not environment:
        pytest.skip("a compiled Triton is right where there is a CUDA device")
    program = (
        f"{start}\nfrom lastbit.discovery import _provider\nabsent = {{}}\nprint(_provider('triton', absent), absent)"
    )
    said = child(program, **environment)
    assert said.startswith("() {'triton': ")
    assert reason in said
