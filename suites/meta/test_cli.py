"""The lastbit command: statuses, output, and one-line errors."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lastbit.cli import main
from lastbit.golden.adopt import CI_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "my_kernels.py"
ONE_CASE = ("--tier", "smoke", "--case", "bound normal/m24-n40-k129")

Lastbit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def lastbit(tmp_path: Path) -> Lastbit:
    """Runs the command in an empty folder, as its own process."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        program = (
            f"import sys; sys.path.insert(0, {str(ROOT / 'plugins')!r})\n"
            f"import lastbit; lastbit.__path__.append({str(ROOT)!r})\n"
            "from lastbit.cli import main; sys.exit(main())"
        )
        environment = {name: value for name, value in os.environ.items() if name not in CI_VARIABLES}
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_verify_judges_the_kernels_of_a_file(lastbit: Lastbit, tmp_path: Path) -> None:
    done = lastbit("verify", str(EXAMPLE), *ONE_CASE, "--json", "out.json")
    assert done.returncode == 1, done.stderr
    assert "DOES NOT CONFORM: 1 of 2 kernels fails 1 of 2 checks: mine/gemm-hasty." in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["passed"], found["status"]) == (False, 1)
    assert {(r["kernel"], r["outcome"]) for r in found["records"]} == {
        ("mine/gemm", "pass"),
        ("mine/gemm-hasty", "over_budget"),
    }
    again = next(r["reproduce"] for r in found["records"] if r["kernel"] == "mine/gemm-hasty")
    assert again.startswith(
        f"lastbit verify {EXAMPLE} --only mine/gemm-hasty --device cpu --seed 0 --tier smoke --case "
    )


def test_verify_of_one_kernel_conforms(lastbit: Lastbit) -> None:
    done = lastbit("verify", str(EXAMPLE), "--only", "mine/gemm", *ONE_CASE)
    assert done.returncode == 0, done.stderr
    assert "CONFORMS: 1 kernel, 1 check passed" in done.stdout


def test_verify_finds_a_kernel_by_name(lastbit: Lastbit) -> None:
    done = lastbit("verify", "numpy/matmul", *ONE_CASE)
    assert done.returncode == 0, done.stderr
    assert "numpy/matmul" in done.stdout
    assert "numpy/dot" not in done.stdout


def test_json_to_standard_output_is_json_alone(lastbit: Lastbit) -> None:
    done = lastbit("verify", str(EXAMPLE), "--only", "mine/gemm", *ONE_CASE, "--json", "-")
    assert json.loads(done.stdout)["passed"] is True


def test_kernels_lists_what_is_found(lastbit: Lastbit) -> None:
    done = lastbit("kernels", "--kernels", str(EXAMPLE))
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["mine/gemm", "mine/gemm-hasty"]
    assert "numpy/dot" in lastbit("kernels", "--only", "numpy/*").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "nowhere.py"), "kernel file nowhere.py is not there"),
        (("verify", "nobody/nothing"), "no kernel matches 'nobody/nothing'"),
        (("verify", "numpy/matmul", "--tier", "huge"), "tier is 'huge', expected one of smoke, standard, full"),
        (("verify", "numpy/matmul", "--device", "tpu"), "device is 'tpu', but this machine has cpu"),
        (("verify", "numpy/matmul", "--op", "convolution"), "op is 'convolution', expected one of gemm"),
        (("verify", "numpy/matmul", "--seed", "x"), "seed is 'x', expected a whole number"),
        (("verify", "numpy/matmul", "--case", "bound normal"), "case id 'normal': expected recipe/"),
        (("verify", "numpy/matmul", "--perf"), "lastbit does not judge speed yet"),
        (("verify", "numpy/matmul", "--json", "no/folder/out.json", *ONE_CASE), "no/folder/out.json: No such file"),
        (("report", "nowhere"), "nowhere"),
        (("golden", "diff", "nowhere"), "nowhere"),
        (("golden", "accept", "nowhere", "--reason", "seen"), "selects everything"),
        (("golden", "doctor"), "golden folder golden is not there"),
        (("compare", "a", "b"), "compare is not built yet"),
    ],
    ids=lambda value: "-".join(value[:4]).replace("/", "_") if isinstance(value, tuple) else "",
)
def test_mistake_is_one_line_and_status_2(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lastbit: ")
    assert said in line


@pytest.mark.parametrize(
    "words", [(), ("verify",), ("golden",), ("verify", "x", "--no-such-option"), ("golden", "accept", "r")]
)
def test_wrong_words_are_status_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: lastbit" in capsys.readouterr().err


def stored_run(lastbit: Lastbit, folder: Path) -> Path:
    """A run of the example's right kernel, made by pytest, as `golden` and `report` read it."""
    (folder / "conftest.py").write_text(
        "import importlib.util, sys\n"
        "if importlib.util.find_spec('lastbit') is None:\n"
        f"    sys.path.insert(0, {str(ROOT / 'plugins')!r})\n"
        f"    import lastbit; lastbit.__path__.append({str(ROOT)!r})\n"
        "    pytest_plugins = ['lastbit.plugin']\n"
    )
    words = ["--pyargs", "lastbit.suites", "-q", "-p", "no:cacheprovider", f"--lastbit-kernels={EXAMPLE}"]
    words += ["--lastbit-only", "mine/gemm", "--lastbit-case", "bound normal/m24-n40-k129"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return folder / "lastbit-report"


def test_golden_life(lastbit: Lastbit, tmp_path: Path) -> None:
    """diff, accept, run again, doctor: the second run is the same as its baseline."""
    run = stored_run(lastbit, tmp_path)
    assert "1 new" in lastbit("golden", "diff", str(run)).stdout
    accepted = lastbit("golden", "accept", str(run), "mine/*", "--reason", "first look")
    assert accepted.returncode == 0, accepted.stderr
    assert "1 adopted, 0 removed in golden" in accepted.stdout
    assert lastbit("golden", "doctor").returncode == 0
    stored_run(lastbit, tmp_path)
    record = json.loads((run / "run.jsonl").read_text().splitlines()[1])
    assert record["golden"] == "same"
    (file,) = (tmp_path / "golden").iterdir()
    file.write_text(file.read_text().replace("first", "worst"))
    doctor = lastbit("golden", "doctor")
    assert doctor.returncode == 1
    assert "it was edited" in doctor.stdout


def test_report_is_made_again_from_the_records_alone(lastbit: Lastbit, tmp_path: Path) -> None:
    run = stored_run(lastbit, tmp_path)
    before = (run / "report.md").read_text()
    (run / "report.md").unlink()
    done = lastbit("report", str(run))
    assert done.returncode == 0, done.stderr
    assert "CONFORMS: 1 kernel, 1 check passed" in done.stdout
    assert (run / "report.md").read_text() == before
