"""Which kernels of a serving library are offered, and what is said of one that is absent or has changed."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lastbit.discovery import find
from lastbit.kernel import Kernel
from lastbit.providers import serving, vllm_cpu
from lastbit.providers.serving import Entry, Offer, Package, UnavailableKernelError
from lastbit.providers.serving_files import load, module

KERNEL = Kernel(
    "mine/decode",
    "paged_attention",
    print,
    {"q": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"},
    devices=("cpu",),
)
ENTRY = Entry("served.ops.decode", "decode", ("q", "out"))
#: Files of a library whose own start-up must not run.
FILES = {
    "__init__.py": "raise RuntimeError('the library was started')",
    "ops/__init__.py": "raise RuntimeError('the library was started')",
    "ops/decode.py": (
        "from served.platform import answer\nfrom served.ops.parts import one\n"
        "def decode(q, out):\n    return answer() + one\n"
    ),
    "ops/parts.py": "one = 1\n",
    "ops/greedy.py": "from served.gone import nothing\n",
}


@pytest.fixture
def served(tmp_path: Path) -> Package:
    """A library called "served", in a folder that nothing imports from."""
    folder = tmp_path / "served"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Package("served-cpu", "9.9", folder)


def loaded(served: Package, name: str) -> Any:
    given = {"served.platform": module("served.platform", answer=lambda: 41)}
    return load(served.folder, name, given)


def test_file_is_loaded_without_its_library(served: Package) -> None:
    before, finders = set(sys.modules), list(sys.meta_path)
    assert loaded(served, "served.ops.decode").decode(None, None) == 42
    assert (set(sys.modules), list(sys.meta_path)) == (before, finders)


def test_imported_library_is_put_back(served: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = module("served", kept=True)
    monkeypatch.setitem(sys.modules, "served", mine)
    loaded(served, "served.ops.decode")
    assert sys.modules["served"] is mine
    assert "served.ops.decode" not in sys.modules


def test_what_a_file_misses_is_named(served: Package) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'served\.gone'"):
        loaded(served, "served.ops.greedy")
    assert not [name for name in sys.modules if name.startswith("served")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (replace(ENTRY, function="prefill"), "it is not there"),
        (replace(ENTRY, arguments=("q",)), "missing a required argument: 'out'"),
        (replace(ENTRY, arguments=("q", "out", "lse")), "got an unexpected keyword argument 'lse'"),
    ],
)
def test_changed_function_is_named_with_its_version(served: Package, entry: Entry, said: str) -> None:
    with pytest.raises(UnavailableKernelError) as caught:
        serving.published(entry, loaded(served, entry.module), served)
    assert str(caught.value) == f"changed upstream (served-cpu 9.9: {entry}: {said})"
    assert serving.published(ENTRY, loaded(served, ENTRY.module), served)(1, 2) == 42


def finder(states: dict[str, Exception]) -> Callable[[Entry], Callable[..., Any]]:
    def found(entry: Entry) -> Callable[..., Any]:
        if entry.function in states:
            raise states[entry.function]
        return lambda *operands: (entry.function, operands)

    return found


def test_kernels_are_settled_one_by_one() -> None:
    offers = [
        Offer(
            replace(KERNEL, name=f"mine/{name}", run=lambda *found: [one() for one in found]),
            (replace(ENTRY, function=name),),
        )
        for name in ("good", "gone", "absent", "also-gone")
    ]
    offers.append(Offer(replace(KERNEL, name="mine/wide"), (ENTRY,), "needs device (a large one)"))
    gone = UnavailableKernelError("changed upstream (x 1.0)")
    states = {"gone": gone, "also-gone": gone, "absent": ImportError("No module named 'x'")}
    kernels, said = serving.settle(offers, finder(states))
    assert [kernel.name for kernel in kernels] == ["mine/good"]
    assert kernels[0].run() == [("good", ())]
    assert said == {
        "mine/gone, mine/also-gone": "changed upstream (x 1.0)",
        "mine/absent": "not installed (No module named 'x')",
        "mine/wide": "needs device (a large one)",
    }


@pytest.mark.parametrize("library", ["vllm", "sglang"])
def test_absent_library_is_said_and_no_error(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lastbit.providers import sglang, vllm

    for provider in (vllm, sglang):
        provider._settled.cache_clear()
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    found = find(only=[f"{library}/*", "numpy/dot"])
    assert {kernel.name for kernel in found.kernels} == {"numpy/dot"}
    assert found.absent == {library: f"not installed (No module named '{library}')"}


def test_partly_changed_library_is_shown_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from lastbit.providers import sglang

    said = "changed upstream (sglang 9.9: sglang.kernels.ops.decode: it is not there)"
    monkeypatch.setattr(sglang, "_settled", lambda: ((replace(KERNEL, name="sglang/left"),), {"sglang/decode": said}))
    found = find(only=["sglang/*"])
    assert [kernel.name for kernel in found.kernels] == ["sglang/left"]
    assert found.absent == {"sglang/decode": said}


def fake(monkeypatch: pytest.MonkeyPatch, *schemas: Entry) -> None:
    monkeypatch.setattr(vllm_cpu, "_schemas", lambda: {entry.function: entry.arguments for entry in schemas})


def test_operator_of_other_arguments_has_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    owner = Package("vllm-cpu", "9.9", tmp_path)
    fake(monkeypatch, replace(vllm_cpu.ATTEND, arguments=("query", "cache")))
    with pytest.raises(UnavailableKernelError, match=r"^changed upstream \(vllm-cpu 9\.9: .*it takes query, cache\)$"):
        vllm_cpu.find(owner, vllm_cpu.ATTEND)
    fake(monkeypatch, vllm_cpu.ATTEND)
    with pytest.raises(UnavailableKernelError, match=r"get_scheduler_metadata: it is not there\)$"):
        vllm_cpu.find(owner, vllm_cpu.SCHEDULE)


def test_package_without_kernels_for_cpus_needs_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch)
    (tmp_path / "_C.abi3.so").write_bytes(b"")
    with pytest.raises(UnavailableKernelError, match=r"^needs device \(vllm 9\.9 has no kernels for this CPU"):
        vllm_cpu.find(Package("vllm", "9.9", tmp_path), vllm_cpu.ATTEND)


@pytest.mark.parametrize(("avx512", "bf16", "name"), [(0, 0, "_C_AVX2"), (1, 0, "_C_AVX512"), (1, 1, "_C")])
def test_shared_object_is_the_one_that_vllm_takes(
    avx512: int, bf16: int, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: bool(avx512))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(bf16))
    for built in ("_C_AVX2", "_C_AVX512", "_C"):
        (tmp_path / f"{built}.abi3.so").write_bytes(b"")
    assert vllm_cpu.object_file(Package("vllm-cpu", "9.9", tmp_path)).name == f"{name}.abi3.so"


def test_version_is_that_of_the_distribution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "__init__.py").write_text("raise RuntimeError('the library was started')")
    (tmp_path / "served_cpu-1.2.dist-info").mkdir()
    (tmp_path / "served_cpu-1.2.dist-info" / "METADATA").write_text("Name: served-cpu\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert str(serving.package("served", ("served", "served-cpu"))) == "served-cpu 1.2"
    assert str(serving.package("served", ())) == "served of unknown version"
    assert "served" not in sys.modules
