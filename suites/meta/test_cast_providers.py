"""The casts of each library: what is offered, that it conforms or fails as a finding says, and compiles for GPUs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lastbit import discovery
from lastbit.kernel import Kernel
from lastbit.verify import verify

PROVIDERS = ("torch", "numpy", "ml_dtypes", "jax", "onnxruntime", "torchao", "simulated", "triton")


def casts(provider: str) -> dict[str, Kernel]:
    # Found, not imported: Triton has to be told to interpret before it is imported.
    if provider != "simulated" and importlib.util.find_spec(provider) is None:
        pytest.skip(f"{provider} is not installed")
    found = discovery.find(only=(f"{provider}/*",)).kernels
    return {kernel.name.partition("/")[2]: kernel for kernel in found if kernel.op == "cast"}


def pairs(kernels: dict[str, Kernel]) -> set[tuple[str, str]]:
    return {(formats["x"], formats["out"]) for kernel in kernels.values() for formats in kernel.format_sets}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_cast_says_where_its_promise_is_published(provider: str) -> None:
    kernels = casts(provider)
    assert kernels
    for kernel in kernels.values():
        assert kernel.contract.source, kernel.name
        assert all(formats["x"] != formats["out"] for formats in kernel.format_sets)


@pytest.mark.parametrize(
    ("provider", "sources", "targets"),
    [
        (
            "torch",
            ("f64", "f32", "f16", "bf16"),
            ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu", "i8", "u8", "i32"),
        ),
        ("ml_dtypes", ("f64", "f32", "f16", "bf16"), ("e3m4", "e4m3b11fnuz", "e3m2fn", "e2m3fn", "e2m1fn", "i4", "u4")),
        ("jax", ("f64", "f32", "f16", "bf16"), ("e3m4", "e4m3", "e8m0fnu", "e2m1fn", "i4")),
        ("onnxruntime", ("f64", "f32", "f16", "bf16"), ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "i8")),
        ("numpy", ("f64", "f32"), ("f16", "i8", "u8", "i32")),
    ],
)
def test_a_library_is_asked_for_every_pair_that_it_has(
    provider: str, sources: tuple[str, ...], targets: tuple[str, ...]
) -> None:
    found = pairs(casts(provider))
    assert {(x, out) for x in sources for out in targets} <= found
    assert {(out, x) for x in ("f32",) for out in ("e4m3fn", "e5m2") if provider != "numpy"} <= found


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("torch", "to-e4m3fn"),
        ("torch", "to-i8-integers"),
        ("numpy", "astype-f16"),
        ("ml_dtypes", "astype-e2m1fn"),
        ("jax", "astype-e5m2"),
        ("onnxruntime", "cast-e5m2-unsaturated"),
        ("onnxruntime", "cast-e8m0fnu"),
        ("simulated", "cast-e4m3fn-stochastic"),
        ("torchao", "f32_to_f4_unpacked"),
        ("torchao", "f6_e2m3_unpacked_to_f32"),
        ("triton", "cast-bf16"),
        ("triton", "cast-bf16-stochastic"),
        ("triton", "cast-e4m3fn"),
    ],
)
def test_a_cast_conforms_or_fails_as_a_finding_says(provider: str, name: str) -> None:
    kernels = casts(provider)
    report = verify(kernels[name], tier="smoke", seed=3)
    assert [record for record in report.records if record.outcome.failed and not record.known] == []
    assert report.passed


def test_a_provider_that_is_absent_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = discovery.find(only=("onnxruntime/*", "numpy/astype-f16"))
    assert [kernel.name for kernel in found.kernels] == ["numpy/astype-f16"]
    assert found.absent["onnxruntime"].startswith("not installed")


WANTED = [
    ("sm_90", "bf16"),
    ("sm_80", "bf16-stochastic"),
    ("sm_100", "e4m3fn"),
    ("gfx942", "e4m3fn"),
    ("gfx942", "bf16"),
]

COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from lastbit.providers.triton_cast_kernels import cast

def compiled(name, to):
    target = GPUTarget("cuda", int(name[3:]), 32) if name.startswith("sm_") else GPUTarget("hip", name, 64)
    values = {"BLOCK": 1024, "TO": to}
    function = JITFunction(cast)
    types = {"x": "*i32", "out": "*u8" if to == "e4m3fn" else "*i16"}
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    asm = triton.compile(ASTSource(function, signature=signature, constexprs=constants), target=target).asm
    return len(asm.get("cubin") or asm["hsaco"])

print(json.dumps([compiled(*case) for case in json.loads(sys.stdin.read())]))
"""


@pytest.mark.slow
def test_triton_casts_compile_for_gpus(tmp_path: Path) -> None:
    """In a process that does not interpret, with a cache of its own."""
    pytest.importorskip("triton")
    import lastbit

    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    path = f"import lastbit; lastbit.__path__[:] = {list(lastbit.__path__)!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", path + COMPILE],
        input=json.dumps(WANTED),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    sizes = json.loads(result.stdout.splitlines()[-1])
    assert all(size > 1000 for size in sizes), dict(zip(WANTED, sizes, strict=True))
