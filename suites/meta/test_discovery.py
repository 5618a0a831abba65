"""Which kernels a run finds, and what is said about those that it cannot use."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastbit import discovery, kernel
from lastbit.errors import KernelError, UsageError
from lastbit.kernel import REGISTRY, Kernel

F32 = {"a": "f32", "b": "f32", "out": "f32"}


def made(name: str, run: Any = print) -> Kernel:
    return Kernel(name, "gemm", run, F32, framework="numpy", devices=("cpu",))


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty registry and folder; modules loaded by a test are forgotten."""
    monkeypatch.chdir(tmp_path)
    known, modules, path = dict(REGISTRY), set(sys.modules), list(sys.path)
    REGISTRY.clear()
    yield
    REGISTRY.clear()
    REGISTRY.update(known)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def names(**options: Any) -> set[str]:
    return {found.name for found in discovery.find(**options).kernels}


def test_own_kernels_take_the_place_of_the_libraries() -> None:
    assert "numpy/matmul" in names(only=["numpy/*"])
    assert names(hooked=[[made("mine/a"), made("mine/b")], None]) == {"mine/a", "mine/b"}
    kernel("gemm", name="mine/c", formats=F32)(lambda a, b: a)
    assert names() == {"mine/c"}
    assert names(only=["mine/c", "numpy/dot"]) == {"mine/c", "numpy/dot"}


def test_only_what_can_match_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(discovery, "_provider", lambda name, absent: asked.append(name) or ())
    with pytest.raises(UsageError, match=r"no kernel matches 'numpy/\*'; found: none"):
        discovery.find(only=["numpy/*"])
    assert asked == ["numpy"]


def test_file_gives_what_it_lists_and_what_it_registers(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("FORMATS = {'a': 'f32', 'b': 'f32', 'out': 'f32'}\n")
    (tmp_path / "numpy_like.py").write_text(
        "import lastbit\nfrom helper import FORMATS\n"
        "@lastbit.kernel('gemm', formats=FORMATS)\ndef registered(a, b): return a\n"
        "KERNELS = [lastbit.Kernel('mine/listed', 'gemm', registered, FORMATS)]\n"
    )
    assert names(sources=["numpy_like.py"]) == {"mine/listed", "numpy_like/registered"}
    assert names(sources=["numpy_like.py"]) == {"mine/listed", "numpy_like/registered"}, (
        "a second time, not loaded again"
    )
    REGISTRY.clear()
    assert names(sources=["numpy_like"]) == {"mine/listed"}, "as a module, by its name"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "has no kernels; list them in KERNELS"),
        ("KERNELS = 3", "KERNELS of bad.py holds 3, expected a lastbit.Kernel"),
        ("KERNELS = ['numpy/dot']", "holds 'numpy/dot', expected a lastbit.Kernel"),
        ("def f(:", r"bad.py cannot be imported: SyntaxError"),
        ("raise SystemExit(4)", r"cannot be imported: it calls sys.exit\(4\)"),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        (
            "import lastbit\nlastbit.kernel('gemm', formats={'a': 'f17'})(print)",
            "cannot be imported: KernelError: kernel .*lack b, out",
        ),
    ],
)
def test_file_that_cannot_be_used_is_said(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bad", raising=False)  # of a test before, which may have left it
    (tmp_path / "bad.py").write_text(text + "\n")
    with pytest.raises(UsageError, match=said):
        discovery.find(sources=["bad.py"])
    assert "bad" not in sys.modules or text.startswith(("x", "KERNELS"))


def test_two_kernels_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two kernels are called mine/a"):
        discovery.find(hooked=[[made("mine/a", print), made("mine/a", len)]])
    assert names(hooked=[[made("mine/a"), made("mine/a")]]) == {"mine/a"}
    kernel("gemm", name="mine/b", formats=F32)(lambda a, b: a)
    with pytest.raises(KernelError, match="both have this name"):
        kernel("gemm", name="mine/b", formats=F32)(lambda a, b: b)


def test_package_offers_kernels_by_entry_point(tmp_path: Path) -> None:
    info = tmp_path / "their_lib-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-lib\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lastbit.kernels]\ntheir = their_lib:kernels\n")
    (tmp_path / "their_lib.py").write_text(
        "import lastbit\n"
        "def kernels():\n"
        "    formats = {'a': 'f32', 'b': 'f32', 'out': 'f32'}\n"
        "    return [lastbit.Kernel('their/gemm', 'gemm', print, formats)]\n"
    )
    sys.path.insert(0, str(tmp_path))
    assert names(only=["their/*"]) == {"their/gemm"}
    (tmp_path / "their_lib.py").unlink()
    del sys.modules["their_lib"]
    sys.path_importer_cache.clear()
    with pytest.raises(UsageError, match=r"entry point their of group lastbit\.kernels .* cannot be loaded"):
        discovery.find(only=["their/*"])


def test_absent_library_is_reported_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    found = discovery.find(only=["triton/*", "numpy/dot"])
    assert {k.name for k in found.kernels} == {"numpy/dot"}
    assert found.absent["triton"].startswith("not installed (")


def test_torch_is_not_asked_for_devices_of_numpy_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert discovery.devices_found([made("mine/a")]) == ("cpu",)
