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


def test_reader_that_has_seen_enough_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["kernels", "--only", "numpy/dot"]) == 1
    assert capsys.readouterr().err == ""


def test_json_to_standard_output_is_json_alone(lastbit: Lastbit) -> None:
    done = lastbit("verify", str(EXAMPLE), "--only", "mine/gemm", *ONE_CASE, "--json", "-")
    assert json.loads(done.stdout)["passed"] is True


def test_verify_stores_its_report_on_request(lastbit: Lastbit, tmp_path: Path) -> None:
    done = lastbit("verify", str(EXAMPLE), *ONE_CASE, "--report", "out/here")
    assert done.returncode == 1, done.stderr
    assert "report: out/here/index.html and report.md, records: run.jsonl" in done.stdout
    again = lastbit("report", "out/here")
    assert "DOES NOT CONFORM: 1 of 2 kernels fails 1 of 2 checks: mine/gemm-hasty." in again.stdout
    for name in ("report.md", "index.html"):
        assert "mine/gemm-hasty" in (tmp_path / "out/here" / name).read_text(encoding="utf-8")
    end = json.loads((tmp_path / "out/here/run.jsonl").read_text().splitlines()[-1])
    assert (end["type"], end["exitstatus"]) == ("end", 1)


def test_verify_isolates_a_kernel_that_ends_its_process(lastbit: Lastbit, tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, lastbit\n"
        "def deadly(a, b): os.kill(os.getpid(), 9)\n"
        "KERNELS = [lastbit.Kernel('mine/deadly', 'gemm', deadly, {'a': 'f32', 'b': 'f32', 'out': 'f32'},\n"
        "                          framework='numpy', devices=('cpu',))]\n"
    )
    done = lastbit("verify", "deadly.py", *ONE_CASE, "--isolate")
    assert done.returncode == 1, done.stderr
    assert "its process ended by SIGKILL" in done.stdout


def test_case_in_formats_that_no_kernel_has_says_which_there_are(lastbit: Lastbit) -> None:
    done = lastbit("verify", str(EXAMPLE), "--case", "bound normal/m1-n1-k1 a:i8,b:i8,out:i32")
    assert done.returncode == 2
    assert "--lastbit-case asks for a:i8,b:i8,out:i32, but the kernels found have" in " ".join(done.stdout.split())


def test_kernels_lists_what_is_found(lastbit: Lastbit) -> None:
    done = lastbit("kernels", "--kernels", str(EXAMPLE))
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:-1]] == [
        ["mine/gemm", "ready"],
        ["mine/gemm-hasty", "ready"],
    ]
    assert done.stdout.splitlines()[-1] == "2 kernels known: 2 ready"
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
        (("verify", "numpy/matmul", "--perf"), "lastbit verify judges results, not speed"),
        (("verify", "numpy/matmul", "--json", "no/folder/out.json", *ONE_CASE), "no/folder/out.json: No such file"),
        (("verify", "numpy/matmul", "--case", "bound normal/m1-n1-k1/a:sideways"), "layout of a is 'sideways'"),
        (("verify", "numpy/matmul", "--case", "bound normal/m1-n1-k1 a:i4,b:i4,out:i32", "--report", "f/x"), "f/x"),
        (("verify", "numpy/matmul", "--golden", "nowhere"), "nowhere, which is not there; create it"),
        (("report", "nowhere"), "nowhere"),
        (("golden", "diff", "nowhere"), "nowhere"),
        (("golden", "accept", "nowhere", "--reason", "seen"), "selects everything"),
        (("golden", "doctor"), "golden folder golden is not there"),
        (("merge", "nowhere", "--into", "f/x"), "f/x"),
        (("merge", "nowhere", "--into", "x"), "nowhere"),
        (("datasheet", "--kernel", "nobody/*"), "nobody/*"),
        (("sweep",), "sweep is not built yet"),
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
    (tmp_path / "f").write_text("a file")
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lastbit: ")
    assert said in line


@pytest.mark.parametrize(
    ("kernel", "case", "said"),
    [
        ("numpy/softmax", "bound foo/m17-n9", "recipe is 'foo', expected one of"),
        ("numpy/attention", "bound foo/batch1-hq1-hkv1-lq7-lk7-d16-dv16", "recipe is 'foo', expected one of"),
        ("numpy/attention", "bound sharp/batch1-hq3-hkv2-lq7-lk7-d16-dv16", "hq is 3, expected a multiple of hkv, 2"),
        ("numpy/attention", "masks sharp/batch1-hq1-hkv1-lq7-lk7-d16-dv16/window=3", "window is 3, expected two whole"),
        ("numpy/paged-gather", "bound foo/b1-hq1-hkv1-lq1-d8-dv8-block8-len9/pages=ordered", "recipe is 'foo'"),
        ("numpy/paged-gather", "bound normal/b1-hq1-hkv1-lq1-d8-dv8-block8-len9/pages=odd", "pages is 'odd', expected"),
        ("numpy/paged-gather", "bound normal/b1-hq1-hkv1-lq1-d8-dv8-block8-len9", "it lacks /pages=..."),
        ("numpy/paged-gather", "bound normal/b1-hq3-hkv2-lq1-d8-dv8-block8-len9/pages=ordered", "hq is 3, expected"),
        ("numpy/kv-append", "exact foo/tokens3-hkv2-d8-dv8-block8-pages7/slots=shuffled", "recipe is 'foo'"),
        ("numpy/kv-append", "exact normal/tokens99-hkv2-d8-dv8-block8-pages7/slots=shuffled", "tokens is 99, expected"),
    ],
)
def test_case_that_cannot_be_is_one_line_and_status_2(
    kernel: str,
    case: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not a traceback, and not a kernel's crash."""
    monkeypatch.chdir(tmp_path)
    assert main(["verify", kernel, "--case", case]) == 2
    (line,) = capsys.readouterr().err.splitlines()
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
