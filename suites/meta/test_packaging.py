"""The wheel: what it holds, and that it works alone in another repository."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
#: What package-data ships beside modules.
SHIPPED = ("*.py", "py.typed", "*.toml", "*.jsonl", "*.json")
ONE_CASE = "--lastbit-case=bound normal/m24-n40-k129"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy: a build/ in the tree would be packed again by the next build."""
    copy = tmp_path_factory.mktemp("tree")
    for name in {folder.partition("/")[0] for folder in FOLDERS.values()}:
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "out", "build")
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    words = [
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--skip-dependency-check",
        "--outdir",
        str(copy / "dist"),
        str(copy),
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (copy / "dist").iterdir()
    return built


def test_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    expected = set()
    for package, folder in FOLDERS.items():
        inner = ("providers", "perf") if package == "lastbit" else ()
        folders = [ROOT / folder, *(ROOT / folder / name for name in inner)]
        for place in folders:
            inside = place.relative_to(ROOT / folder)
            prefix = Path(package.replace(".", "/")) / inside
            expected |= {str(prefix / path.name) for pattern in SHIPPED for path in place.glob(pattern)}
    expected |= {f"lastbit/reports/templates/{path.name}" for path in (ROOT / "reports" / "templates").iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected


def test_wheel_offers_plugin_and_command_under_matching_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        points = configparser.ConfigParser()
        points.read_string(archive.read(name).decode())
    # Equal names: `-p lastbit.plugin` beside the entry point must not register the plugin twice.
    assert dict(points["pytest11"]) == {"lastbit.plugin": "lastbit.plugin"}
    assert dict(points["console_scripts"]) == {"lastbit": "lastbit.cli:main"}


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel, and of this environment's packages all but lastbit itself."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    executable = folder / "bin" / "python"
    site = Path(
        subprocess.run(
            [executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A path line is no site folder: an editable lastbit there is not switched on by it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return executable


def stranger(python: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def records(folder: Path) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in (folder / "lastbit-report" / "run.jsonl").read_text().splitlines()]
    return [line for line in lines if line["type"] == "record"]


@pytest.mark.slow
def test_wheel_works_beside_a_strangers_own_suites_golden_and_conftest(python: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import lastbit, numpy\n"
        "def pytest_lastbit_kernels(config):\n"
        "    formats = {'a': 'f32', 'b': 'f32', 'out': 'f32'}\n"
        "    return [lastbit.Kernel('mine/gemm', 'gemm', numpy.matmul, formats, framework='numpy', devices=('cpu',))]\n"
    )
    for name in ("suites", "golden", "reports", "references"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "suites" / "test_gemm.py").write_text("def test_own(): pass\n")
    done = stranger(python, tmp_path, "--pyargs", "lastbit.suites", "suites", ONE_CASE, "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "suites/test_gemm.py::test_own PASSED" in done.stdout
    assert "2 passed" in done.stdout
    assert [(r["kernel"], r["outcome"]) for r in records(tmp_path)] == [("mine/gemm", "pass")]


@pytest.mark.slow
def test_wheel_judges_numpy_where_no_framework_is_installed(python: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'triton', 'jax', 'gmpy2'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    done = stranger(python, tmp_path, "--pyargs", "lastbit.suites", ONE_CASE)
    assert done.returncode == 0, done.stdout + done.stderr
    judged = {r["kernel"] for r in records(tmp_path) if r["outcome"] == "pass"}
    assert {"numpy/matmul", "numpy/einsum", "simulated/h100"} <= judged
    assert "no kernels from torch: not installed" in done.stdout
    assert "no kernels from triton: not installed" in done.stdout


@pytest.mark.slow
def test_wheels_command_works_and_the_checkout_refuses_to_be_mixed_with_it(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-m", "lastbit.cli", "kernels", "--only", "numpy/*"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "numpy/matmul" in done.stdout
    mixed = stranger(python, ROOT, "--collect-only", "-q")
    assert mixed.returncode == 4
    assert "these suites are in" in mixed.stderr
