"""Every kernel that is known has a state, whatever is installed; a library that changed is told by name and version."""

import importlib
import json
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from lastbit import discovery
from lastbit.absence import why_absent
from lastbit.cli import main
from lastbit.discovery import PROVIDERS, ROOMS, Found
from lastbit.errors import LastbitError
from lastbit.inventory import STATES, catalogue, inventory, state_of
from lastbit.kernel import Kernel
from lastbit.providers import sglang_triton, vllm_cpu, vllm_sgl, vllm_triton

F32 = {"a": "f32", "b": "f32", "out": "f32"}
HERE = Kernel("mine/here", "gemm", print, F32, framework="numpy", devices=("cpu",))


@pytest.fixture(scope="module")
def here() -> Found:
    return discovery.find(only=["*"])


def test_catalogue_has_every_kernel_that_is_found(here: Found) -> None:
    """One that is missing goes into plugins/lastbit/providers/known.toml."""
    known = {name: op for names in catalogue().values() for name, op in names.items()}
    found = {kernel.name: kernel.op for kernel in here.kernels if kernel.name.partition("/")[0] in PROVIDERS}
    assert {name: op for name, op in found.items() if known.get(name) != op} == {}
    assert set(catalogue()) == set(PROVIDERS)


def test_catalogue_has_every_kernel_of_the_serving_libraries() -> None:
    for compiled in (False, True):
        offers = [
            *vllm_cpu.offers(compiled),
            *vllm_sgl.offers(compiled),
            *vllm_triton.offers(compiled),
            *sglang_triton.offers(compiled),
        ]
        for offer in offers:
            provider = offer.kernel.name.partition("/")[0]
            assert catalogue()[provider][offer.kernel.name] == offer.kernel.op


def test_every_kernel_known_has_a_state_and_a_reason(here: Found) -> None:
    listed = inventory(here)
    assert {entry.name for entry in listed} >= {name for names in catalogue().values() for name in names}
    assert [entry.name for entry in listed] == sorted(entry.name for entry in listed)
    for entry in listed:
        assert entry.state in STATES
        assert bool(entry.why) == (entry.state != "ready"), entry
        assert "does not offer it" not in entry.why, f"{entry.name} is skipped without a reason of its own"


def test_library_that_is_blocked_leaves_its_kernels_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    importlib.import_module("lastbit.providers.gguf")._settled.cache_clear()
    listed = inventory(discovery.find(only=["gguf/*", "numpy/dot"]), ["gguf/*", "numpy/dot"])
    states = {entry.name: entry.state for entry in listed}
    assert states.pop("numpy/dot") == "ready"
    assert states == dict.fromkeys(catalogue()["gguf"], "not installed")


def test_kernel_that_a_provider_drops_in_silence_is_seen(here: Found) -> None:
    fewer = replace(here, kernels=tuple(kernel for kernel in here.kernels if kernel.name != "numpy/dot"))
    (dropped,) = [entry for entry in inventory(fewer) if entry.name == "numpy/dot"]
    assert (dropped.state, dropped.kernel, dropped.op) == ("unsupported here", None, "gemm")
    assert "does not offer it" in dropped.why


def test_states_are_told_apart() -> None:
    away = replace(HERE, name="mine/away", devices=("cuda",), framework="torch")
    absent = {
        "other/moved, other/gone": "changed upstream (other 2.0: other.gone: it is not there)",
        "other/q-*": "other 1 is installed; lastbit knows 2 and newer",
    }
    listed = {entry.name: entry for entry in inventory(Found((HERE, away), absent))}
    assert listed["mine/here"].state == "ready"
    assert listed["other/moved"].state == listed["other/gone"].state == "changed upstream"
    assert listed["other/gone"].why == "other 2.0: other.gone: it is not there"
    torch = pytest.importorskip("torch")
    assert listed["mine/away"].state == ("ready" if torch.cuda.is_available() else "needs device")
    assert listed.keys() == {"mine/here", "mine/away", "other/moved", "other/gone"}, "a glob names no kernel"


@pytest.mark.parametrize(
    ("why", "state", "detail"),
    [
        ("not installed (No module named 'x')", "not installed", "No module named 'x'"),
        ("needs device (CUDA (8.9))", "needs device", "CUDA (8.9)"),
        ("changed upstream (x 2: gone)", "changed upstream", "x 2: gone"),
        ("x 1 is installed", "unsupported here", "x 1 is installed"),
        ("needs device", "unsupported here", "needs device"),
    ],
)
def test_reason_is_taken_apart(why: str, state: str, detail: str) -> None:
    assert state_of(why) == (state, detail)


def raised(program: str) -> Exception:
    try:
        exec(program, {})
    except Exception as error:
        return error
    raise AssertionError(f"{program} raises nothing")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import nothing_like_it", "not installed (No module named 'nothing_like_it')"),
        ("import nothing_like_it.part", "not installed (No module named 'nothing_like_it')"),
        ("import numpy.gone", f"changed upstream (numpy {version('numpy')}: No module named 'numpy.gone')"),
        ("from numpy.linalg import gone", f"changed upstream (numpy {version('numpy')}: cannot import name 'gone'"),
        ("import numpy; numpy.linalg.gone", f"changed upstream (numpy {version('numpy')}: module 'numpy.linalg' has"),
        ("raise ImportError('libcudart.so.12: cannot open')", "unsupported here (libcudart.so.12: cannot open)"),
    ],
)
def test_error_of_a_library_says_what_is_the_matter(program: str, said: str) -> None:
    assert (why_absent(raised(program)) or "").startswith(said)


@pytest.mark.parametrize("program", ["None.gone", "from lastbit.kernel import gone", "import lastbit.gone", "1 / 0"])
def test_mistake_of_a_provider_is_no_state_of_a_library(program: str) -> None:
    assert why_absent(raised(program)) is None


def test_own_error_is_kept_word_for_word() -> None:
    assert why_absent(LastbitError("needs device (x)")) == "needs device (x)"


def provider(monkeypatch: pytest.MonkeyPatch, room: str, program: str) -> None:
    module = ModuleType(f"lastbit.providers.{room}")
    exec(program, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_file_of_a_provider_that_met_a_change_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROOMS, "numpy", ("numpy", "numpy_moved"))
    provider(monkeypatch, "numpy_moved", "def kernels():\n    from numpy import gone\n")
    listed = {entry.name: entry for entry in inventory(discovery.find(only=["numpy/*"]), ["numpy/*"])}
    assert listed["numpy/dot"].state == "ready"
    assert listed["numpy/softmax"].state == "changed upstream"
    assert f"numpy {version('numpy')}: cannot import name 'gone'" in listed["numpy/softmax"].why


def test_mistake_of_a_provider_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROOMS, "numpy", ("numpy_wrong",))
    provider(monkeypatch, "numpy_wrong", "def kernels():\n    return None.gone\n")
    with pytest.raises(AttributeError, match="gone"):
        discovery.find(only=["numpy/*"])


def test_json_has_every_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file = tmp_path / "kernels.json"
    assert main(["kernels", "--only", "numpy/*", "--json", str(json_file)]) == 0
    rows = json.loads(json_file.read_text())["kernels"]
    assert {row["name"] for row in rows} == set(catalogue()["numpy"])
    (dot,) = [row for row in rows if row["name"] == "numpy/dot"]
    assert (dot["state"], dot["devices"], dot["formats"][0]) == ("ready", ["cpu"], "a:f64 b:f64 out:f64")
    assert dot["source"]
    assert capsys.readouterr().out == ""
    assert main(["kernels", "--only", "numpy/*", "--op", "softmax", "--json", "-"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["kernels"]] == ["numpy/softmax"]


def test_nothing_to_judge_is_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", "--only", "numpy/*", "--op", "dequantize", "--only", "numpy/dot"]) == 0
    assert main(["kernels", "--only", "numpy/dot", "--op", "softmax"]) == 2
    assert "0 kernels known" in capsys.readouterr().out
