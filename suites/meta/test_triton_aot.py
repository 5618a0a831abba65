"""The Triton kernel compiles for GPUs that are not here, and uses their matrix units."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

#: Matrix instruction by target, then by operand format and precision; "": none, as for IEEE f32 on NVIDIA's GPUs.
EXPECTED = {
    "sm_80": {
        "f32": "",
        "f32-tf32": "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
        "f16": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        "bf16": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        "e5m2": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        "i8": "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    },
    "sm_90": {
        "f32": "",
        "f32-tf32": "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32",
        "f16": "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16",
        "bf16": "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16",
        # Not wgmma on FP8: that keeps 14 bits of the sum, and max_num_imprecise_acc=0 forbids it.
        "e4m3fn": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        "e5m2": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        "i8": "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8",
    },
    "sm_100": {
        "f32": "",
        "f32-tf32": "tcgen05.mma.cta_group::1.kind::tf32",
        "f16": "tcgen05.mma.cta_group::1.kind::f16",
        "bf16": "tcgen05.mma.cta_group::1.kind::f16",
        "e4m3fn": "tcgen05.mma.cta_group::1.kind::f8f6f4",
        "e5m2": "tcgen05.mma.cta_group::1.kind::f8f6f4",
    },
    "gfx942": {
        "f32": "v_mfma_f32_32x32x2_f32",
        "f32-tf32": "v_mfma_f32_32x32x4_xf32",
        "f16": "v_mfma_f32_32x32x8_f16",
        "bf16": "v_mfma_f32_32x32x8_bf16",
        "e4m3fn": "v_mfma_f32_32x32x8_f16",
        "e5m2": "v_mfma_f32_32x32x8_f16",
        "i8": "v_mfma_i32_32x32x16_i8",
    },
}
OUT = {"f32": "f32", "f32-tf32": "f32", "f16": "f16", "bf16": "bf16", "e4m3fn": "e4m3fn", "e5m2": "bf16", "i8": "i32"}

COMPILE = """
import json, re, sys
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from lastbit.providers.triton_gemm import gemm
from lastbit.providers.triton import TILE

POINTER = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "e4m3fn": "fp8e4nv", "e5m2": "fp8e5", "i8": "i8", "i32": "i32"}
MATRIX = re.compile(r"(?:wgmma\\.mma_async|tcgen05\\.mma|mma\\.sync)\\.[\\w.:]+|v_mfma_\\w+")

def target(name):
    return GPUTarget("cuda", int(name[3:]), 32) if name.startswith("sm_") else GPUTarget("hip", name, 64)

def compiled(name, case, out, imprecise):
    fmt, _, precision = case.partition("-")
    values = {"BM": TILE["m"], "BN": TILE["n"], "BK": TILE["k"], "ACC": tl.int32 if fmt == "i8" else tl.float32,
              "PRECISION": precision or "ieee", "IMPRECISE": imprecise, "WIDEN": False, "a_k": 1, "b_n": 1, "out_n": 1}
    function = JITFunction(gemm)
    types = {"a": "*" + POINTER[fmt], "b": "*" + POINTER[fmt], "out": "*" + POINTER[out]}
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    source = ASTSource(function, signature=signature, constexprs=constants)
    asm = triton.compile(source, target=target(name)).asm
    binary = asm.get("cubin") or asm["hsaco"]
    text = asm.get("ptx") or asm["amdgcn"]
    saturates = "cvt.rn.satfinite.e4m3x2.f32" in text
    return {"bytes": len(binary), "matrix": sorted(set(MATRIX.findall(text))), "satfinite": saturates}

answers = []
for name, case, out, imprecise in json.loads(sys.stdin.read()):
    try:
        answers.append(compiled(name, case, out, imprecise))
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


def compiled(wanted: list[tuple[str, str, str, int | None]], cache: Path) -> list[dict]:
    """Compile in a process that does not interpret, with a cache of its own."""
    import lastbit

    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    path = f"import lastbit; lastbit.__path__[:] = {list(lastbit.__path__)!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", path + COMPILE],
        input=json.dumps(wanted),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    wanted = [(target, case, OUT[case], 0) for target, cases in EXPECTED.items() for case in cases]
    found = compiled(wanted, tmp_path_factory.mktemp("triton"))
    return {(target, case): answer for (target, case, *_), answer in zip(wanted, found, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(("target", "case"), [(target, case) for target, cases in EXPECTED.items() for case in cases])
def test_triton_gemm_compiles_to_the_matrix_instruction(answers, target, case):
    answer = answers[target, case]
    assert "error" not in answer, answer
    assert answer["bytes"] > 1000
    expected = EXPECTED[target][case]
    assert answer["matrix"] == ([expected] if expected else [])


@pytest.mark.slow
def test_triton_gemm_saturates_e4m3fn_on_nvidia(answers):
    assert answers["sm_90", "e4m3fn"]["satfinite"]
    assert answers["sm_100", "e4m3fn"]["satfinite"]
    assert not answers["sm_90", "bf16"]["satfinite"]


@pytest.mark.slow
def test_triton_gemm_reports_what_a_target_lacks_and_what_imprecision_would_buy(tmp_path):
    too_old, imprecise = compiled([("sm_80", "e4m3fn", "f32", 0), ("sm_90", "e4m3fn", "f32", None)], tmp_path)
    # The text by which the harness knows that the kernel does not offer this.
    assert "not supported in this architecture" in too_old["error"]
    assert imprecise["matrix"] == ["wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3"]
