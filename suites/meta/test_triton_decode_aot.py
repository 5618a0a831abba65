"""The Triton paged decode and append compile for GPUs that are not here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

#: (target, format of q or of the tokens, format of the cache), by the kernel and its file.
DECODE, APPEND = ("triton_decode", "decode"), ("triton_append", "append")
WANTED = [
    *(("sm_90", q, cache) for q, cache in (("f32", "f32"), ("bf16", "bf16"), ("bf16", "e4m3fn"), ("bf16", "i8"))),
    ("sm_80", "f16", "e5m2"),
    ("sm_100", "f16", "f16"),
    ("gfx942", "bf16", "bf16"),
]
APPENDED = [
    *(("sm_90", x, cache) for x, cache in (("f64", "f64"), ("bf16", "bf16"), ("bf16", "e4m3fn"), ("bf16", "i8"))),
    ("sm_80", "f16", "e5m2"),
    ("sm_100", "f32", "e4m3fn"),
    ("gfx942", "bf16", "i8"),
]

COMPILE = """
import importlib, json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

POINTER = {"f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "i8"}
POINTER |= {"e4m3fn": "fp8e4nv", "e5m2": "fp8e5"}

def target(name):
    return GPUTarget("cuda", int(name[3:]), 32) if name.startswith("sm_") else GPUTarget("hip", name, 64)

CONSTANT = {
    "decode": {"BLOCK": 16, "D": 64, "DV": 64, "q_d": 1, "k_d": 1, "v_d": 1},
    "append": {"TOKENS": 32, "SIZE": 64, "LOW": -128.0, "HIGH": 127.0, "x_d": 1, "cache_d": 1},
}

def compiled(module, kernel, name, q, cache):
    values = CONSTANT[kernel] | {"SCALED": q != cache}
    if kernel == "append":
        values["INTEGER"] = cache == "i8"
    function = JITFunction(getattr(importlib.import_module("lastbit.providers." + module), kernel))
    types = {"q": "*" + POINTER[q], "k": "*" + POINTER[cache], "v": "*" + POINTER[cache], "out": "*" + POINTER[q]}
    types |= {"table": "*i32", "lengths": "*i32", "k_scale": "*fp32", "v_scale": "*fp32"}
    types |= {"x": "*" + POINTER[q], "cache": "*" + POINTER[cache], "slots": "*i32"}
    types["scale"] = "fp32" if kernel == "decode" else "*fp32"
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    asm = triton.compile(ASTSource(function, signature=signature, constexprs=constants), target=target(name)).asm
    return len(asm.get("cubin") or asm["hsaco"])

answers = []
for case in json.loads(sys.stdin.read()):
    try:
        answers.append(compiled(*case))
    except Exception as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "wanted"), [(DECODE, WANTED), (APPEND, APPENDED)], ids=["decode", "append"])
def test_kernel_compiles_for_each_cache(
    kernel: tuple[str, str], wanted: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    """In a process that does not interpret, with a cache of its own."""
    import lastbit

    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    path = f"import lastbit; lastbit.__path__[:] = {list(lastbit.__path__)!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", path + COMPILE],
        input=json.dumps([(*kernel, *case) for case in wanted]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    sizes = json.loads(result.stdout.splitlines()[-1])
    assert all(isinstance(size, int) and size > 1000 for size in sizes), dict(zip(wanted, sizes, strict=True))
