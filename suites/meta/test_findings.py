"""The programs in FINDINGS.md still print what is recorded there."""

import importlib.util
import os
import re
import subprocess
import sys
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import pytest

from lastbit.references.formats import Format

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "FINDINGS.md").read_text()
SECTION = re.compile(r"^## (F\d+): .*?^```python\n(.*?)^```$.*?^```text\n(.*?)^```$", re.M | re.S)
#: id: program, output.
PROGRAMS = {name: (program, output) for name, program, output in SECTION.findall(TEXT)}
#: Lines of a program, blank ones aside, so that a maintainer reads it at a glance.
LONGEST = 15
LIBRARIES = (
    *("torch", "triton", "transformers", "torchao", "bitsandbytes", "gguf", "ml_dtypes", "jax", "onnx", "onnxruntime"),
    *("vllm", "sglang"),
)
#: Instructions without which a CPU computes in another way.
NEEDED = {
    **dict.fromkeys(("F1", "F39"), "avx512_bf16"),
    **dict.fromkeys(("F11", "F13", "F27", "F43", "F44"), "avx512f"),
}


def identifiers() -> list[str]:
    return re.findall(r"^\| (F\d+) \|", TEXT, re.M)


def has_instructions(name: str) -> bool:
    return Path("/proc/cpuinfo").exists() and name in Path("/proc/cpuinfo").read_text()


def test_findings_have_a_program_and_a_row_each():
    assert identifiers() == list(PROGRAMS)
    assert len(PROGRAMS) == len(re.findall(r"^## ", TEXT, re.M)) > 0
    for name, (program, _) in PROGRAMS.items():
        assert len([line for line in program.splitlines() if line.strip()]) <= LONGEST, name


@pytest.mark.parametrize("name", PROGRAMS)
def test_findings_program_prints_what_is_recorded(name, tmp_path):
    program, output = PROGRAMS[name]
    for library in LIBRARIES:
        if re.search(rf"\b{library}\b", program) and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    if name in NEEDED and not has_instructions(NEEDED[name]):
        pytest.skip(f"seen on CPUs with {NEEDED[name]} only")
    if name == "F26" and version("triton") < "3.8":
        pytest.skip("the interpreter has tl.dot_scaled from Triton 3.8 on")
    # Triton reads the source of its kernels, so the program is a file.
    path = tmp_path / "program.py"
    path.write_text(program)
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == output


@pytest.mark.parametrize(
    ("name", "format", "line"),
    [
        ("F4", "bf16", 0),
        ("F4", "f32", 1),
        ("F5", "e4m3fn", None),
    ],
)
def test_findings_cast_is_wrong_by_rational_arithmetic(name, format, line):
    program, output = PROGRAMS[name]
    if line is None:
        literal = re.search(r"x = torch.tensor\(\[(.*?)\]\)", program)
        given = [eval(number, {"torch": Torch}) for number in literal[1].split(", ")]
        got, want = (numbers(text) for text in output.splitlines())
    else:
        given, got, want = (numbers(text) for text in re.findall(r"\[.*?\]", output.splitlines()[line]))
    target = Format.of(format)
    for x, obtained, wanted in zip(given, got, want, strict=True):
        if x != x or abs(x) == float("inf"):
            assert obtained != x  # neither NaN nor infinity is a finite number
            continue
        assert target.round_rational(Fraction(x), overflow="saturate") == wanted
    assert any(x != y for x, y in zip(got, want, strict=True))


class Torch:
    """What the literals of a program name."""

    inf, nan = float("inf"), float("nan")


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?(?:[\d.]+(?:e[+-]\d+)?|inf|nan)", text.partition("[")[2])]
