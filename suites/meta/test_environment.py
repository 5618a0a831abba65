"""The environment: a fingerprint wide enough to tell CPUs apart, and nothing that identifies a person or host."""

import getpass
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

import lastbit.environment as module
from lastbit.environment import Environment, Fingerprint, device_slug, fingerprint
from lastbit.environment import environment as current


def cpu(
    monkeypatch: pytest.MonkeyPatch, brand: str, family: int, model: int, flags: str, machine: str = "x86_64"
) -> str:
    """The slug of a machine whose CPU says this of itself."""
    info = {"brand_raw": brand, "family": family, "model": model, "flags": flags.split()}
    monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: info)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    module._cpu.cache_clear()
    try:
        return device_slug("cpu")
    finally:
        module._cpu.cache_clear()


AVX512 = "avx avx2 fma avx512f avx512bw avx512vl"


@pytest.mark.parametrize(
    ("brand", "family", "model", "flags", "slug"),
    [
        ("AMD EPYC", 26, 2, f"{AVX512} avx512_vnni avx512_bf16", "cpu-x86_64-avx512bf16-amd_epyc-f26m2"),
        ("AMD EPYC 7763 64-Core Processor", 25, 1, "avx avx2 fma", "cpu-x86_64-avx2-amd_epyc-f25m1"),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", 6, 106, f"{AVX512} avx512_vnni",
         "cpu-x86_64-avx512vnni-intel_xeon-f6m106"),
        ("Intel(R) Xeon(R) Platinum 8481C", 6, 143, f"{AVX512} avx512_vnni avx512_bf16 avx512_fp16 amx_tile",
         "cpu-x86_64-amx-intel_xeon-f6m143"),
        ("13th Gen Intel(R) Core(TM) i7-13700K", 6, 183, "avx avx2 fma", "cpu-x86_64-avx2-intel_core-f6m183"),
        ("AMD Ryzen 9 5950X 16-Core Processor", 25, 33, "avx avx2 fma", "cpu-x86_64-avx2-amd_ryzen-f25m33"),
        ("", 0, 0, "", "cpu-x86_64-base-unknown-f0m0"),
    ],
)  # fmt: skip
def test_cpus_that_choose_other_code_have_other_slugs(
    monkeypatch: pytest.MonkeyPatch, brand: str, family: int, model: int, flags: str, slug: str
) -> None:
    assert cpu(monkeypatch, brand, family, model, flags) == slug
    assert Fingerprint.parse(slug).slug == slug


def test_arm_cpu_has_its_vector_extension_in_the_slug(monkeypatch: pytest.MonkeyPatch) -> None:
    slug = cpu(monkeypatch, "Neoverse-V1", 8, 1, "asimd sve", machine="aarch64")
    assert slug == "cpu-aarch64-sve-neoverse_v1-f8m1"


@pytest.mark.parametrize(
    ("name", "major", "minor", "count", "slug"),
    [
        ("NVIDIA H100 80GB HBM3", 9, 0, 132, "cuda-sm90-h100-132"),
        ("NVIDIA H200", 9, 0, 132, "cuda-sm90-h200-132"),
        ("NVIDIA A100-SXM4-40GB", 8, 0, 108, "cuda-sm80-a100-108"),
        ("Tesla V100-SXM2-16GB", 7, 0, 80, "cuda-sm70-v100-80"),
        ("NVIDIA GeForce RTX 4090", 8, 9, 128, "cuda-sm89-rtx_4090-128"),
    ],
)
def test_gpu_slug_names_architecture_product_and_units(
    monkeypatch: pytest.MonkeyPatch, name: str, major: int, minor: int, count: int, slug: str
) -> None:
    gpu = SimpleNamespace(name=name, major=major, minor=minor, multi_processor_count=count)
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: True, get_device_properties=lambda index: gpu),
        version=SimpleNamespace(hip=None),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert device_slug("cuda:1") == slug
    assert Fingerprint.parse(slug).slug == slug


def test_amd_gpu_has_its_own_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="AMD Instinct MI300X", gcnArchName="gfx942:sramecc+:xnack-", multi_processor_count=304)
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: True, get_device_properties=lambda index: gpu),
        version=SimpleNamespace(hip="7.0"),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert device_slug("cuda") == "cuda-gfx942-mi300x-304"


def test_gpu_without_framework_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert fingerprint("cuda") == Fingerprint("cuda", "unknown", "unknown", "0")


@pytest.mark.parametrize("slug", ["", "cpu", "cpu-x86_64-avx2-amd_epyc", "h100", "cuda-sm90-h100-132-x"])
def test_what_is_no_slug_is_refused(slug: str) -> None:
    with pytest.raises(ValueError, match="expected cpu-ARCH-ISA-PRODUCT-MODEL"):
        Fingerprint.parse(slug)


def test_cpu_that_cannot_be_asked_is_still_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no /proc")

    monkeypatch.setattr("cpuinfo.get_cpu_info", fail)
    module._cpu.cache_clear()
    try:
        assert device_slug("cpu").endswith("-base-unknown-f0m0")
    finally:
        module._cpu.cache_clear()


def test_environment_of_this_machine_is_complete_and_plain() -> None:
    found = current()
    assert found.devices == {"cpu": device_slug("cpu")}
    assert found.packages["numpy"]
    assert found.packages["lastbit"]
    assert found.cpus >= 1
    assert msgspec.json.decode(msgspec.json.encode(found), type=Environment) == found


def test_variables_that_choose_a_code_path_are_part_of_the_software(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENBLAS_CORETYPE alone makes the errors of some of NumPy's products seven times as large (golden/README.md)."""
    for name in (*module._SWITCHES, *module._THREADS):
        monkeypatch.delenv(name, raising=False)
    before = current().software("numpy/matmul")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    assert current().software("numpy/matmul") == f"{before} OPENBLAS_CORETYPE=SkylakeX"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "threads7" in current().software("numpy/matmul")


def test_environment_names_neither_host_nor_user() -> None:
    text = msgspec.json.encode(current()).decode()
    host = platform.node()
    assert not host or host not in text
    assert f"/{getpass.getuser()}" not in text


def test_environment_imports_no_framework() -> None:
    parts, here = list(__import__("lastbit").__path__), str(Path(module.__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {here!r}); import lastbit; lastbit.__path__[:] = {parts!r}\n"
        "from lastbit.environment import environment\n"
        "environment()\n"
        "print([name for name in ('torch', 'numpy', 'triton', 'jax', 'mpmath') if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_tree_is_dirty_where_a_tracked_file_differs_but_for_goldens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def state() -> tuple[bool, bool]:
        module._git.cache_clear()
        found = current()
        return bool(found.commit), found.dirty

    assert state() == (False, False), "no repository"
    git(tmp_path, "init", "-q")
    assert state() == (False, False), "no commit"
    golden = tmp_path / "golden" / "gemm.cpu.jsonl"
    golden.parent.mkdir()
    for file in (golden, tmp_path / "kernel.py"):
        file.write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    assert state() == (True, False)
    (tmp_path / "scratch.py").write_text("1")
    golden.write_text("2")
    assert state() == (True, False), "adopting in several steps must be possible"
    (tmp_path / "kernel.py").write_text("2")
    assert state() == (True, True)
    module._git.cache_clear()
