"""Each kernel of each provider runs, and is right on data that need no rounding, unless a finding says not."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lastbit
from lastbit import arrays, discovery
from lastbit.kernel import Kernel
from lastbit.layouts import place
from lastbit.providers import numpy as numpy_provider
from lastbit.references.formats import Format

#: (kernel, formats) that are wrong on these data, and the finding (FINDINGS.md) that says so.
WRONG_ON_INTEGERS = {("triton/gemm-unwidened", "bf16 bf16 f32"): "F3"}
M, N, K = 5, 6, 7
INTEGERS = ("i8", "u8", "i32")


def provided(name: str) -> tuple[Kernel, ...]:
    module = pytest.importorskip(f"lastbit.providers.{name}")
    pytest.importorskip(name)
    return module.kernels()


def everything() -> Iterator[tuple[Kernel, dict[str, str]]]:
    for provider in ("torch", "numpy", "triton"):
        try:
            kernels = __import__(f"lastbit.providers.{provider}", fromlist=["kernels"]).kernels()
        except ImportError:
            continue
        for kernel in kernels:
            for formats in kernel.format_sets:
                yield kernel, formats


def text(formats: dict[str, str]) -> str:
    return " ".join(formats[name] for name in ("a", "b", "out"))


def codes(values: np.ndarray, format: str) -> np.ndarray:
    return values.astype(arrays.code_dtype(format)) if format in INTEGERS else Format.of(format).encode(values)


def tensor(kernel: Kernel, values: np.ndarray, format: str) -> Any:
    border = arrays.of(kernel.framework)
    stored = np.ascontiguousarray(codes(values, format))
    placement = place("contiguous", stored.shape, stored.itemsize)
    content = np.zeros(placement.nbytes, np.uint8)
    placement.view(content, stored.dtype)[...] = stored
    buffer = border.allocate(placement.nbytes, "cpu")
    border.load(buffer, content)
    return border.view(buffer, placement, format)


def value(kernel: Kernel, result: Any, format: str) -> np.ndarray:
    stored = arrays.of(kernel.framework).codes(result, format)
    if format in INTEGERS:
        return stored.view(f"i{stored.itemsize}").astype(np.float64)
    return Format.of(format).decode(stored)


def small(seed: int, *shape: int) -> np.ndarray:
    """0, 1 and, in the first column, only 1: sums of at most 7 are exact in every format."""
    values = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float64)
    values[..., 0] = 1.0
    return values


def run(kernel: Kernel, formats: dict[str, str], shape: tuple[int, ...] = (), **keywords: Any) -> tuple[Any, Any]:
    """The kernel's result and the exact one on `small` data."""
    a, b = small(1, *shape, M, K), small(2, *shape, K, N)
    if "out" in kernel.features:
        keywords["out"] = tensor(kernel, np.full((*shape, M, N), 3.0), formats["out"])
    result = kernel.run(tensor(kernel, a, formats["a"]), tensor(kernel, b, formats["b"]), **keywords)
    if "out" in kernel.features:
        assert result is keywords["out"]
    return value(kernel, result, formats["out"]), a @ b


ALL = [pytest.param(kernel, formats, id=f"{kernel.name} {text(formats)}") for kernel, formats in everything()]
RUN_HERE = [param for param in ALL if "cpu" in param.values[0].devices and param.values[0].tier == "smoke"]


def with_feature(*features: str) -> list[Any]:
    return [param for param in RUN_HERE if {*features} <= param.values[0].features]


@pytest.mark.parametrize(("kernel", "formats"), RUN_HERE)
def test_providers_kernel_is_exact_where_nothing_rounds(kernel, formats):
    got, want = run(kernel, formats)
    assert np.array_equal(got, want) == ((kernel.name, text(formats)) not in WRONG_ON_INTEGERS)


def test_providers_findings_on_integers_are_of_kernels_that_exist():
    known = {(kernel.name, text(formats)) for kernel, formats in everything()}
    if any(name.startswith("triton/") for name, _ in known):
        assert WRONG_ON_INTEGERS.keys() <= known


def test_providers_comparison_catches_a_dropped_product():
    kernel = numpy_provider.kernels()[0]
    broken = replace(kernel, run=lambda a, b: kernel.run(a[..., :-1], b[..., :-1, :]))
    got, want = run(broken, {"a": "f32", "b": "f32", "out": "f32"})
    assert not np.array_equal(got, want)


@pytest.mark.parametrize(("kernel", "formats"), with_feature("batch"))
@pytest.mark.parametrize("shape", [(3,), (1,)])
def test_providers_batch_is_exact(kernel, formats, shape):
    got, want = run(kernel, formats, shape)
    assert got.shape == (*shape, M, N)
    assert np.array_equal(got, want) == ((kernel.name, text(formats)) not in WRONG_ON_INTEGERS)


@pytest.mark.parametrize(("kernel", "formats"), with_feature("c", "alpha", "beta"))
def test_providers_epilogue_is_exact(kernel, formats):
    c = small(3, M, N)
    addend = tensor(kernel, c, formats["out"])
    got, product = run(kernel, formats, c=addend, alpha=2.0, beta=-1.0)
    assert np.array_equal(got, 2 * product - c)
    unread = tensor(kernel, np.full((M, N), np.nan), formats["out"])
    got, product = run(kernel, formats, c=unread, alpha=1.0, beta=0.0)
    assert np.array_equal(got, product)


@pytest.mark.parametrize(("kernel", "formats"), with_feature("bias"))
def test_providers_bias_is_exact(kernel, formats):
    bias = small(4, N)
    got, product = run(kernel, formats, bias=tensor(kernel, bias, formats["out"]))
    assert np.array_equal(got, product + bias)


@pytest.mark.parametrize(("kernel", "formats"), RUN_HERE)
def test_providers_empty_sum_is_zero(kernel, formats):
    keywords = {"out": tensor(kernel, np.full((2, 3), 3.0), formats["out"])} if "out" in kernel.features else {}
    a, b = (tensor(kernel, np.zeros(shape), formats[name]) for name, shape in (("a", (2, 0)), ("b", (0, 3))))
    got = value(kernel, kernel.run(a, b, **keywords), formats["out"])
    assert np.array_equal(got, np.zeros((2, 3)))


@pytest.mark.parametrize(("kernel", "formats"), ALL)
def test_providers_contract_names_its_source(kernel, formats):
    assert kernel.contract.source
    assert not kernel.contract.batch_invariant


def test_providers_names_are_unique_and_begin_with_the_provider():
    names = [kernel.name for provider in ("torch", "numpy", "triton") for kernel in provided(provider)]
    assert len(names) == len(set(names))
    assert {name.partition("/")[0] for name in names} == {"torch", "numpy", "triton"}


@pytest.mark.parametrize(("m", "n", "k"), [(63, 65, 129), (64, 64, 64), (1, 130, 65), (65, 1, 1)])
@pytest.mark.parametrize("format", ["f32", "i8"])
def test_providers_triton_tails_and_strides_are_exact(m, n, k, format):
    kernel = next(kernel for kernel in provided("triton") if kernel.name == "triton/gemm")
    if kernel.devices != ("cpu",):
        pytest.skip("Triton compiles here; the law walks these cases on the device")
    a, b = small(1, m, k), small(2, k, n)
    x = tensor(kernel, np.repeat(a, 3, axis=1).T, format)[::3].T
    y = tensor(kernel, np.repeat(b, 2, axis=0), format)[::2]
    out = tensor(kernel, np.full((n, m), 5.0), "f32" if format == "f32" else "i32").T
    kernel.run(x, y, out=out)
    assert np.array_equal(value(kernel, out, "f32" if format == "f32" else "i32"), a @ b)


@pytest.mark.slow
def test_providers_compiled_matmul_is_exact():
    kernel = next(kernel for kernel in provided("torch") if kernel.name == "torch/matmul-compiled")
    assert kernel.tier == "standard"
    got, want = run(kernel, {"a": "bf16", "b": "bf16", "out": "bf16"})
    assert np.array_equal(got, want)


def test_providers_numpy_einsum_keeps_its_f16_contract_and_not_the_one_of_matmul():
    """2048 + 1 is 2048 in f16, so a sum of 2,049 ones shows where it was kept."""
    ones = np.ones((2, 4096), np.float16)
    einsum, matmul = (kernel(name) for name in ("numpy/einsum-f16", "numpy/matmul"))
    assert (einsum.contract.accumulator, matmul.contract.accumulator) == ("f16", None)
    assert einsum.run(ones, np.ones((4096, 3), np.float16))[0, 0] == 2048
    assert matmul.run(ones, np.ones((4096, 3), np.float16))[0, 0] == 4096


def kernel(name: str) -> Kernel:
    return next(kernel for kernel in numpy_provider.kernels() if kernel.name == name)


@pytest.mark.parametrize("library", ["torch", "numpy", "triton"])
def test_providers_missing_library_is_reported_as_not_installed(library):
    """In a process of its own, where the library cannot be imported."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"import lastbit; lastbit.__path__[:] = {list(lastbit.__path__)!r}\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {library!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "from lastbit.discovery import _provider\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "absent = {}\n"
        f"print(_provider({library!r}, absent), absent)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("() {")
    assert f"not installed (No module named '{library}" in result.stdout
    assert discovery.PROVIDERS[:3] == ("torch", "numpy", "triton")
