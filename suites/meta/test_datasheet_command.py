"""`lastbit datasheet`, its files, its comparison in words, and contracts made of it."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from lastbit.cli import main
from lastbit.contract import Contract
from lastbit.datasheet_command import read
from lastbit.errors import KernelError
from lastbit.references.accumulators import Accumulator

KERNELS = """
import numpy as np
import lastbit
from lastbit.providers.simulated import Simulated
from lastbit.references.accumulators import Accumulator
from dataclasses import replace

ENGINE = {engine}

def kernel(name, engine, operands, out="f32", **promises):
    contract = lastbit.Contract(**dict(accumulator=engine) | promises)
    return lastbit.Kernel(name, "gemm", Simulated(engine, out), dict(a=operands, b=operands, out=out), contract,
                          framework="numpy", devices=("cpu",), limit=2**16)

KERNELS = [kernel("mine/gemm", ENGINE, {fmt!r})]
"""


def kernels(path: Path, engine: str, fmt: str = "f16") -> str:
    path.write_text(KERNELS.format(engine=engine, fmt=fmt))
    return str(path)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stored datasheets of two simulated devices."""
    folder = tmp_path_factory.mktemp("sheets")
    made = {}
    for name, engine, fmt in (
        ("h100", 'Accumulator.of("h100", "f16")', "f16"),
        ("h100-flush", 'replace(Accumulator.of("h100", "f16"), flush=True)', "f16"),
        ("hopper8", 'Accumulator.of("h100", "e4m3fn")', "e4m3fn"),
        ("blackwell8", 'Accumulator.of("b200", "e4m3fn")', "e4m3fn"),
    ):
        made[name] = folder / f"{name}.json"
        source = kernels(folder / f"{name.replace('-', '_')}.py", engine, fmt)
        with made[name].with_suffix(".txt").open("w") as printed, contextlib.redirect_stdout(printed):
            words = ["datasheet", "--kernels", source, "--kernel", "mine/*", "--evidence", "--json", str(made[name])]
            assert main(words) == 0
    return made


def stored(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_text())
    assert data["form"] == 1
    sheet: dict[str, Any] = data["sheets"][0]
    return sheet


def test_a_datasheet_is_printed_and_stored(sheets):
    sheet = stored(sheets["h100"])
    values = {answer["property"]: answer["value"] for answer in sheet["answers"]}
    assert (values["terms"], values["fraction_bits"], values["precision"], values["rounding"]) == (
        16,
        25,
        24,
        "toward-zero",
    )
    assert sheet["confirmed"]
    assert sheet["one_order"]
    printed = sheets["h100"].with_suffix(".txt").read_text()
    assert "mine/gemm [a:f16 b:f16 out:f32] on cpu" in printed
    assert "model confirmed: " in printed
    assert (
        "sums are truncated to 25 fraction bits: errors grow one-sided, up to 0.015 % of the sum of magnitudes"
        in printed
    )
    assert "slots 0, 1, 2 = 2^30" in printed


def test_undecided_answers_are_printed_with_their_reason(sheets, capsys):
    from lastbit.reports.datasheet import text

    assert "INDETERMINATE: products of 11 and 11 bits are exact in 24" in text(stored(sheets["h100"]))


def test_claims_stand_beside_the_answers(sheets):
    """Of a device whose engine is published; a sheet without claims has no such column."""
    from lastbit.reports.datasheet import text

    sheet = stored(sheets["h100"])
    assert "claimed" not in text(sheet)
    printed = text(sheet | {"claims": {"fraction_bits": 25, "terms": 8}, "claims_source": "a model"})
    lines = {line.split("  ")[1].strip(): line.split() for line in printed.splitlines() if line.startswith("P")}
    assert lines["fraction bits of a term"][-2:] == ["25", "25"]
    assert lines["terms added at once"][-2:] == ["16", "8"]
    assert "claimed by: a model" in printed


@pytest.mark.parametrize(
    ("engine", "fmt", "said"),
    [
        ("h100", "e4m3fn", {"terms": 32, "fraction_bits": 13, "precision": 14, "rounding": "toward-zero"}),
        ("mi250", "f16", {"terms": 1, "precision": 24, "rounding": "nearest-even", "input_subnormals": "flushed"}),
        ("", "f16", {"precision": 24, "output_rounding": "nearest-even"}),
    ],
)
def test_claims_are_those_of_the_engine_else_of_the_contract(engine, fmt, said, monkeypatch):
    from lastbit.kernel import Kernel
    from lastbit.suites.probes import claims

    monkeypatch.setattr(claims, "matrix_engine", lambda device: engine)
    formats = {"a": fmt, "b": fmt, "out": "f32"}
    kernel = Kernel("mine/gemm", "gemm", print, formats, Contract(source="its page"))
    found, source = claims.claims(kernel, formats, "cuda")
    assert {name: found[name] for name in said} == said
    assert source == ("its page" if not engine else source)
    assert ("fraction_bits" in found) == ("fraction_bits" in said)
    assert claims.claims(Kernel("mine/gemm", "gemm", print, formats), formats, "cpu")[0] == (
        {} if not engine else found
    )


def test_equal_datasheets_compare_equal(sheets, capsys):
    assert main(["datasheet", "compare", str(sheets["h100"]), str(sheets["h100"])]) == 0
    assert "say the same of every kernel" in capsys.readouterr().out


def test_a_difference_is_told_in_words(sheets, capsys):
    assert main(["datasheet", "compare", str(sheets["blackwell8"]), str(sheets["hopper8"])]) == 1
    printed = capsys.readouterr().out
    assert (
        "fraction bits of a term: 25 -> 13; a term loses what is below 2^-13 of the largest one, where it was 2^-25"
        in printed
    )
    assert (
        "so: sums are truncated to 13 fraction bits: errors grow one-sided, up to 52 % of the sum of magnitudes"
        in printed
    )


def test_one_switch_changes_its_line_alone(sheets, capsys):
    assert main(["datasheet", "compare", str(sheets["h100"]), str(sheets["h100-flush"])]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines()[1:] if not line.startswith("  so: ")]
    assert lines == [
        "  subnormal operands: kept -> flushed; subnormal operands are flushed, where they were kept",
        "  subnormals aligned by: field -> INDETERMINATE: subnormal operands do not count",
    ]


def test_a_kernel_of_one_datasheet_only_is_named(sheets, tmp_path, capsys):
    data = json.loads(sheets["h100"].read_text())
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(data | {"sheets": []}))
    assert main(["datasheet", "compare", str(sheets["h100"]), str(empty)]) == 1
    assert "only the first datasheet has it" in capsys.readouterr().out


def test_a_confirmed_model_becomes_the_contract(sheets):
    contract = Contract.from_datasheet(sheets["hopper8"])
    promised, device = contract.accumulator, Accumulator.of("h100", "e4m3fn")
    assert isinstance(promised, Accumulator)
    assert (promised.terms, promised.fraction_bits, promised.precision) == (32, 13, 14)
    assert promised.coefficient(4096) == device.coefficient(4096)
    assert contract.subnormals == "keep"
    assert "lastbit datasheet of mine/gemm" in contract.source
    assert Contract.from_datasheet(sheets["h100-flush"], overflow="inf").subnormals == "flush"
    assert Contract.from_datasheet(sheets["h100-flush"], overflow="inf").overflow == "inf"


def test_a_measured_contract_is_kept_by_its_device_alone(sheets):
    """The budget is as tight as the device: its own kernel conforms, one that truncates earlier does not."""
    from dataclasses import replace

    from lastbit import Kernel, verify
    from lastbit.providers.simulated import Simulated

    contract = Contract.from_datasheet(sheets["h100"])
    h100 = Accumulator.of("h100", "f16")

    def passed(accumulator: Accumulator) -> bool:
        kernel = Kernel(
            "mine/gemm",
            "gemm",
            Simulated(accumulator, "f32"),
            {"a": "f16", "b": "f16", "out": "f32"},
            contract,
            framework="numpy",
            devices=("cpu",),
            limit=2**18,
        )
        return verify(kernel, device="cpu", tier="smoke").passed

    assert passed(h100)
    assert not passed(replace(h100, fraction_bits=13, precision=14))


def test_an_order_that_changes_with_the_shape_is_no_promise(sheets):
    sheet = stored(sheets["h100"])
    assert Contract.from_datasheet(sheet).accumulator.order == "sequential"
    assert Contract.from_datasheet(sheet | {"one_order": False}).accumulator.order == "any"


def test_an_unconfirmed_model_is_no_contract(sheets):
    sheet = stored(sheets["h100"]) | {"confirmed": False, "counterexample": "normal (0, 0): 1 for 2"}
    with pytest.raises(KernelError, match=r"mine/gemm: its model is not confirmed \(normal \(0, 0\): 1 for 2\)"):
        Contract.from_datasheet(sheet)


def test_a_sheet_is_chosen_by_kernel_and_formats(sheets):
    data = json.loads(sheets["h100"].read_text())
    data["sheets"] += json.loads(sheets["hopper8"].read_text())["sheets"]
    with pytest.raises(KernelError, match="2 sheets of mine/gemm in any formats, expected one"):
        Contract.from_datasheet(data, "mine/gemm")
    formats = {"a": "e4m3fn", "b": "e4m3fn", "out": "f32"}
    assert Contract.from_datasheet(data, "mine/gemm", formats).accumulator.fraction_bits == 13


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("datasheet", "--kernel", "nobody/*"), "no kernel matches 'nobody/*'"),
        (("datasheet", "--kernel", "simulated/dequantize-nf4"), "no kernel with a datasheet is called simulated/deq"),
        (("datasheet", "compare", "a.json"), "expected options, or: datasheet compare A B"),
        (("datasheet", "compare", "bad.json", "bad.json"), "bad.json is no datasheet"),
        (("datasheet", "compare", "nowhere.json", "nowhere.json"), "nowhere.json: No such file"),
    ],
)
def test_mistakes_are_one_line_and_status_2(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text('{"form": 1}')
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_a_kernel_that_fails_is_told_and_fails_the_command(tmp_path, capsys):
    (tmp_path / "bad.py").write_text(
        "import lastbit\n"
        "def run(a, b):\n    raise ValueError('not today')\n"
        "KERNELS = [lastbit.Kernel('mine/bad', 'gemm', run, dict(a='f32', b='f32', out='f32'), framework='numpy')]\n"
    )
    assert main(["datasheet", "--kernels", str(tmp_path / "bad.py"), "--kernel", "mine/*"]) == 1
    assert "no datasheet: mine/bad at 64x64x64: crashed: raised ValueError: not today" in capsys.readouterr().out


SEVERAL = """
def softmax(x):
    with np.errstate(all="ignore"):
        w = np.exp(x - x.max(-1, keepdims=True))
        w = np.where(w < 2.0**-126, np.float32(0), w)
        return w / w.sum(-1, keepdims=True)

KERNELS += [
    kernel("mine/invariant", ENGINE, "f16", batch_invariant=True),
    # A contract of f32 that an engine cannot keep that truncates.
    kernel("mine/broken", Accumulator.of("h100", "e4m3fn"), "e4m3fn", accumulator="f32"),
    lastbit.Kernel("mine/softmax", "softmax", softmax, dict(x="f32", out="f32"), framework="numpy", devices=("cpu",)),
]
"""


def test_datasheets_by_pytest(pytester):
    """Kernels that do what their contracts say pass; broken promises of a GEMM and of a softmax fail."""
    source = Path(kernels(pytester.path / "own.py", 'Accumulator.of("h100", "f16")'))
    source.write_text(source.read_text() + SEVERAL)
    result = run_datasheets(pytester)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*accumulator: sums of 4096 terms err by up to 0.516 of their magnitudes, f32 promises*",
            "*subnormals: keep is promised, but exp_underflow is flushed*",
        ]
    )


def run_datasheets(pytester: pytest.Pytester) -> pytest.RunResult:
    root = Path(__file__).resolve().parents[2]
    return pytester.runpytest_subprocess(
        str(root / "suites" / "test_datasheet.py"),
        f"--rootdir={root}",
        f"-c{root / 'pyproject.toml'}",
        "-p",
        "no:cacheprovider",
        f"--lastbit-kernels={pytester.path / 'own.py'}",
        "--lastbit-only=mine/*",
    )


STORED = sorted((Path(__file__).resolve().parents[2] / "golden").glob("datasheet.*.json"))
#: Kernels whose sums are no model's: f16 sums that are rounded twice, bf16 and e5m2 subnormals that change (F4, F6).
UNCONFIRMED = ("numpy/einsum-f16", "triton/gemm", "triton/gemm-f32")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_stored_datasheets_are_read_compared_and_contracts(path, capsys):
    """Each shipped datasheet is whole: every model is confirmed or has its counterexample, and makes a contract."""
    data = read(str(path))
    assert data["sheets"]
    assert main(["datasheet", "compare", str(path), str(path)]) == 0
    for sheet in data["sheets"]:
        reasons = [answer["value"] is None for answer in sheet["answers"] if answer["indeterminate"]]
        assert all(reasons)
        assert all(answer["value"] is not None or answer["indeterminate"] for answer in sheet["answers"])
        if sheet["confirmed"]:
            assert sheet["sums_compared"] >= 10_000
            assert isinstance(Contract.from_datasheet(sheet).accumulator, Accumulator)
        elif sheet["model"] is not None:
            assert sheet["kernel"] in UNCONFIRMED
            assert "the kernel gives" in sheet["counterexample"]


def test_datasheets_are_stored():
    assert {path.name.split(".")[1] for path in STORED} >= {"torch", "numpy", "jax", "onnxruntime"}
