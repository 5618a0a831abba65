"""The Triton kernels of scaled products compile for GPUs that are not here, and use their matrix units."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCALED = "mma.sync.aligned.m16n8k{k}.row.col.kind::{kind}.block_scale.scale_vec::{vec}X"
#: Matrix instruction by target and case.
EXPECTED = {
    ("sm_80", "i8-rows"): "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    ("sm_90", "fp8"): "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    ("sm_90", "fp8-imprecise"): "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3",
    ("sm_90", "fp8-blocks"): "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    ("sm_90", "i8-rows"): "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8",
    ("sm_100", "fp8-blocks"): "tcgen05.mma.cta_group::1.kind::f8f6f4",
    ("sm_100", "mxfp8"): "tcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale.block32",
    ("sm_100", "nvfp4"): "tcgen05.mma.cta_group::1.kind::mxf4nvf4.block_scale.block16",
    ("sm_120", "mxfp8"): f"{SCALED.format(k=32, kind='mxf8f6f4', vec=1)}.f32.e4m3.e4m3.f32.ue8m0",
    ("sm_120", "mxfp4"): f"{SCALED.format(k=64, kind='mxf4nvf4', vec=2)}.f32.e2m1.e2m1.f32.ue8m0",
    ("sm_120", "nvfp4"): f"{SCALED.format(k=64, kind='mxf4nvf4', vec=4)}.f32.e2m1.e2m1.f32.ue4m3",
}

COMPILE = """
import json, re, sys
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from lastbit.providers import triton_scaled_kernels as kernels
from lastbit.providers.triton_scaled import TILE

MATRIX = re.compile(r"(?:wgmma\\.mma_async|tcgen05\\.mma|mma\\.sync)[\\w.:]+")
BLOCKS = {"BM": TILE["m"], "BN": TILE["n"], "BK": TILE["k"], "a_k": 1, "b_k": 1, "out_n": 1}
SUMS = {"ROWS_A": 1, "ROWS_B": 1, "RUN": 0, "ACC": tl.float32, "IMPRECISE": 0}
CASES = {
    "fp8": ("scaled_sums", "fp8e4nv", "fp32", SUMS),
    "fp8-imprecise": ("scaled_sums", "fp8e4nv", "fp32", {**SUMS, "IMPRECISE": None}),
    "fp8-blocks": ("scaled_sums", "fp8e4nv", "fp32", {**SUMS, "ROWS_B": 128, "RUN": 128}),
    "i8-rows": ("scaled_sums", "i8", "fp32", {**SUMS, "ACC": tl.int32}),
    "mxfp8": ("scaled_products", "fp8e4nv", "u8", {"FORMAT": "e4m3", "PACK": 1, "GROUP": 32, "BM": 128, "BN": 128}),
    "mxfp4": ("scaled_products", "u8", "u8", {"FORMAT": "e2m1", "PACK": 2, "GROUP": 32, "BM": 128, "BN": 128}),
    "nvfp4": ("scaled_products", "u8", "fp8e4nv", {"FORMAT": "e2m1", "PACK": 2, "GROUP": 16, "BM": 128, "BN": 128}),
}

def compiled(name, case):
    kernel, element, scale, options = CASES[case]
    values = {**BLOCKS, **options}
    function = JITFunction(getattr(kernels, kernel))
    types = {"a": "*" + element, "b": "*" + element, "out": "*fp32", "scale_a": "*" + scale, "scale_b": "*" + scale,
             "global_scale": "*fp32"}
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    source = ASTSource(function, signature=signature, constexprs=constants)
    asm = triton.compile(source, target=GPUTarget("cuda", int(name[3:]), 32)).asm
    return {"bytes": len(asm["cubin"]), "matrix": sorted(set(MATRIX.findall(asm["ptx"])))}

answers = []
for name, case in json.loads(sys.stdin.read()):
    try:
        answers.append(compiled(name, case))
    except Exception as error:
        answers.append({"error": str(error)[-600:]})
print(json.dumps(answers))
"""


def compiled(wanted: list[tuple[str, str]], cache: Path) -> list[dict]:
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
    wanted = list(EXPECTED)
    found = compiled(wanted, tmp_path_factory.mktemp("triton"))
    return dict(zip(wanted, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "case"), list(EXPECTED))
def test_triton_scaled_product_compiles_to_the_matrix_instruction(answers, target, case):
    answer = answers[target, case]
    assert "error" not in answer, answer
    assert answer["bytes"] > 1000
    # PTX calls it scale_vec::1X and ::4X, too, and so does Triton 3.7.
    known = [one.replace("scale_vec::1X", "block32").replace("scale_vec::4X", "block16") for one in answer["matrix"]]
    assert (known if "tcgen05" in EXPECTED[target, case] else answer["matrix"]) == [EXPECTED[target, case]]
