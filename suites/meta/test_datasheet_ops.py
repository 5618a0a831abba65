"""`lastbit datasheet` of kernels that are no sums: printed, stored and compared."""

import json
from pathlib import Path

import pytest

from lastbit.cli import main

SOURCE = """
import ml_dtypes
import numpy as np
import lastbit
from lastbit.providers.simulated_quantize import SimulatedQuantizer
from lastbit.references.scaling import Scaling
from dataclasses import replace

def cast(x):
    with np.errstate(all="ignore"):
        return {cast}

def softmax(x):
    with np.errstate(all="ignore"):
        w = np.exp(x - x.max(-1, keepdims=True))
        w = np.where(w < 2.0**-126, np.float32(0), w) if {flush} else w
        return w / w.sum(-1, keepdims=True)

def attention(q, k, v, **_):
    s = (q @ k.swapaxes(-1, -2)) * np.float32(0.125)
    w = np.exp(s - s.max(-1, keepdims=True))
    return (w.astype({weight}).astype(np.float32) @ v) / w.sum(-1, keepdims=True)

scaling = Scaling.of("mxfp4")
FOUR = dict.fromkeys(("q", "k", "v", "out"), "f32")
KERNELS = [
    lastbit.Kernel("mine/cast", "cast", cast, dict(x="f32", out="e4m3fn"), framework="numpy", devices=("cpu",)),
    lastbit.Kernel("mine/softmax", "softmax", softmax, dict(x="f32", out="f32"), framework="numpy", devices=("cpu",)),
    lastbit.Kernel("mine/attention", "attention", attention, FOUR, framework="numpy", devices=("cpu",)),
    lastbit.Kernel("mine/quantize", "quantize", SimulatedQuantizer(replace(scaling, rule="{rule}")), dict(x="f32"),
                   framework="numpy", devices=("cpu",), scaling=scaling),
]
"""
PLAIN = {"cast": "x.astype(ml_dtypes.float8_e4m3fn)", "flush": False, "weight": "np.float32", "rule": "floor"}
OTHER = {
    "cast": "np.clip(x, -448, 448).astype(ml_dtypes.float8_e4m3fn)",
    "flush": True,
    "weight": "ml_dtypes.bfloat16",
    "rule": "ceil",
}


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Stored datasheets of four kernels, and of four that differ in one thing each."""
    folder, made = tmp_path_factory.mktemp("sheets"), []
    for name, values in (("plain", PLAIN), ("other", OTHER)):
        source = folder / f"{name}_kernels.py"
        source.write_text(SOURCE.format(**values))
        made.append(folder / f"{name}.json")
        words = ["datasheet", "--kernels", str(source), "--kernel", "mine/*", "--json", str(made[-1])]
        assert main(words) == 0
    return made


def test_every_op_is_stored(sheets):
    data = json.loads(sheets[0].read_text())
    found = {sheet["kernel"]: {a["property"]: a["value"] for a in sheet["answers"]} for sheet in data["sheets"]}
    assert found["mine/cast"]["cast_overflow"] == "NaN"
    assert found["mine/softmax"]["exp_underflow"] == "gradual"
    assert found["mine/attention"]["probabilities"] == "f32"
    assert found["mine/quantize"]["scale_rule"] == "floor"
    assert all(sheet["calls"] > 0 for sheet in data["sheets"])


def test_differences_are_told_in_words(sheets, capsys):
    assert main(["datasheet", "compare", *map(str, sheets)]) == 1
    printed = capsys.readouterr().out
    for said in (
        "beyond the largest number: NaN -> largest; a number beyond the range becomes largest, where it became NaN",
        "exp below the normal range: gradual -> flushed",
        "format of the weights: f32 -> bf16; weights are multiplied as bf16, where it was f32",
        "rule of scales: floor -> ceil; scales are got by ceil, not by floor",
    ):
        assert said in printed


def test_a_datasheet_is_printed(sheets, tmp_path, capsys):
    source = tmp_path / "printed_kernels.py"
    source.write_text(SOURCE.format(**PLAIN))
    words = ["datasheet", "--kernels", str(source), "--kernel", "mine/quantize", "--evidence"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "scale of a largest number of significand 1 to 2: 2^-2 from 1" in printed
    assert "INDETERMINATE: divide and exact and reciprocal give the same codes" in printed
    assert "no model" not in printed


def test_equal_datasheets_are_equal(sheets):
    assert main(["datasheet", "compare", str(sheets[0]), str(sheets[0])]) == 0
