"""Each provider says plainly that its library is missing, judges a kernel of each op if not, and cites sources."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import lastbit
from lastbit.choices import options
from lastbit.discovery import PROVIDERS, Found, find
from lastbit.inventory import Known, catalogue, inventory
from lastbit.session import Policy, judge, plan

#: Providers of lastbit's own, which need no library but NumPy.
OWN = ("simulated",)
LIBRARIES = tuple(name for name in PROVIDERS if name not in OWN)
#: Libraries that a provider needs beside its own, first.
BESIDE = {"onnxruntime": "onnx"}
#: In a process of its own, in which a library cannot be imported.
BLOCKED = """
import json, sys
sys.path[:0] = {path!r}
import lastbit
lastbit.__path__[:] = {package!r}
from lastbit import discovery, inventory

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {libraries!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
absent = {{}}
found = discovery.Found(discovery._provider({provider!r}, absent), absent, ({provider!r},))
print(json.dumps([[entry.name, entry.state, entry.why] for entry in inventory.inventory(found)]))
"""
#: Something to look up: a file, a page, a paper of a year, a commit, a clause or an operator of a standard; or none.
PLACE = re.compile(
    r"\(20\d\d\)|\w/[\w-]+ [0-9a-f]{7}|C\+\+20 \[|ONNX \w+-\d|docs\.\w+\.\w+|"
    r"\.(py|h|hpp|cpp|c|cc|cu|cuh|src|md|rst|html|pdf)\b|\w\.(com|org|io|ai)/|not stated|arXiv|OCP|IEEE"
)


def states(provider: str, libraries: tuple[str, ...]) -> list[list[str]]:
    program = BLOCKED.format(path=sys.path, package=list(lastbit.__path__), libraries=libraries, provider=provider)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    listed: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return listed


@cache
def here() -> dict[str, Known]:
    return {entry.name: entry for entry in inventory(find(only=["*"]))}


@pytest.mark.parametrize("provider", LIBRARIES)
def test_every_kernel_of_a_missing_library_is_not_installed(provider: str) -> None:
    listed = states(provider, (provider,))
    assert {name for name, _, _ in listed} == set(catalogue()[provider])
    for name, state, why in listed:
        missing = [f"No module named {module!r}" for module in (provider, BESIDE.get(provider))]
        assert state == "not installed", name
        assert why in missing, name


@pytest.mark.parametrize("provider", OWN)
def test_own_provider_needs_no_library(provider: str) -> None:
    assert {state for _, state, _ in states(provider, tuple(set(LIBRARIES) - {"numpy", "ml_dtypes"}))} == {"ready"}


@pytest.mark.parametrize(
    ("provider", "op"), [(provider, op) for provider in PROVIDERS for op in sorted(set(catalogue()[provider].values()))]
)
def test_a_kernel_of_each_op_is_judged_where_the_library_is_installed(provider: str, op: str, tmp_path: Path) -> None:
    known = [here()[name] for name, its in catalogue()[provider].items() if its == op]
    ready = [
        entry.kernel for entry in known if entry.state == "ready" and entry.kernel and "cpu" in entry.kernel.devices
    ]
    if not ready:
        pytest.skip("; ".join({f"{entry.state} ({entry.why})" for entry in known}))
    kernel = min(ready, key=lambda kernel: ("smoke", "standard", "full").index(kernel.tier))
    chosen = plan(options({"tier": kernel.tier, "device": ["cpu"]}, tmp_path), Found((kernel,))).choices
    judged = []
    for check, trial in chosen[:12]:
        judged.append(str(judge(check, trial, Policy()).outcome))
        if judged[-1] == "pass":
            return
    raise AssertionError(f"{kernel.name} passes none of its first cases: {judged}")


def test_every_contract_cites_where_it_is_published() -> None:
    uncited = {
        entry.name: entry.kernel.contract.source
        for entry in here().values()
        if entry.kernel and not PLACE.search(entry.kernel.contract.source)
    }
    assert uncited == {}


@pytest.mark.parametrize("source", ["", "the library", "0.5", "as documented", "defaults"])
def test_citation_of_nothing_is_none(source: str) -> None:
    assert not PLACE.search(source)
