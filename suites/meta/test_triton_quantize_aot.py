"""The Triton quantizers and dequantizers compile for GPUs that are not here, and divide as IEEE 754 does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

#: (target, kernel, scaling, format of x or of the result).
WANTED = [
    ("sm_80", "quantize", "fp8_row", "f16"),
    ("sm_80", "dequantize", "mxfp4", "f16"),
    *(("sm_90", "quantize", name, "f32") for name in ("fp8_block128", "i8_row", "mxfp8_e5m2", "nvfp4")),
    ("sm_90", "largest", "fp8_tensor", "bf16"),
    ("sm_90", "dequantize", "mxfp8_e5m2", "bf16"),
    ("sm_100", "quantize", "fp8_group128", "bf16"),
    ("sm_100", "quantize", "mxfp4", "bf16"),
    ("sm_100", "dequantize", "nvfp4", "f32"),
    ("gfx942", "quantize", "i8_tensor", "f32"),
    ("gfx942", "quantize", "mxfp8_e4m3", "f16"),
    ("gfx942", "dequantize", "fp8_block128", "bf16"),
]
#: Presets whose scales are quotients, not powers of two.
DIVIDING = ("fp8", "i8", "nvfp4")

COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from lastbit.providers import triton_quantize_kernels as kernels
from lastbit.providers.triton_quantize import TILE, dequantizing, quantizing
from lastbit.references.scaling import Scaling

POINTER = {"f32": "*fp32", "f16": "*fp16", "bf16": "*i16"}
SCALE = {"f32": "*fp32", "e8m0fnu": "*u8", "e4m3fn": "*u8"}

def target(name):
    return GPUTarget("cuda", int(name[3:]), 32) if name.startswith("sm_") else GPUTarget("hip", name, 64)

def compiled(name, kernel, preset, fmt):
    scaling = Scaling.of(preset)
    types = {"x": POINTER[fmt], "out": POINTER[fmt], "codes": "*u8", "scale": SCALE[scaling.scale_format]}
    types |= {"top": "*fp32", "amax": "*i32"}
    if kernel == "largest":
        values, types["out"] = {"SOURCE": fmt, "BLOCK": TILE}, "*i32"
    else:
        values = (quantizing if kernel == "quantize" else dequantizing)(scaling, fmt)
    function = JITFunction(getattr(kernels, kernel))
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    asm = triton.compile(ASTSource(function, signature=signature, constexprs=constants), target=target(name)).asm
    return {"bytes": len(asm.get("cubin") or asm["hsaco"]), "text": asm.get("ptx") or asm["amdgcn"]}

answers = []
for case in json.loads(sys.stdin.read()):
    try:
        answers.append(compiled(*case))
    except Exception as error:
        answers.append({"error": str(error)[-600:]})
print(json.dumps(answers))
"""


def compiled(wanted: list[tuple[str, ...]], cache: Path) -> list[dict]:
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
    found = compiled(WANTED, tmp_path_factory.mktemp("triton"))
    return dict(zip(WANTED, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", WANTED, ids="-".join)
def test_triton_quantizer_compiles_to_ieee_arithmetic(answers, case):
    """No quotient is approximate and no subnormal number is flushed: a code beside a tie would be another."""
    target, kernel, scaling, _ = case
    answer = answers[case]
    assert "error" not in answer, answer
    assert answer["bytes"] > 1000
    divides = kernel == "quantize" and scaling.startswith(DIVIDING)
    if target == "gfx942":
        assert bool(re.search(r"v_div_fixup_f32", answer["text"])) == divides
        assert re.search(r"float_denorm_mode_32[: ]+3", answer["text"])
    else:
        assert bool(re.search(r"div\.rn\.f32", answer["text"])) == divides
        assert not re.search(r"\.ftz|div\.(full|approx)|rcp\.approx", answer["text"])
