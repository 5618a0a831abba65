"""Every kernel that lastbit knows, and whether it can be judged on this machine; if not, why."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

from lastbit.discovery import Found, devices_found
from lastbit.kernel import Kernel, formats_text

#: What a kernel can be; all but the first say why in brackets.
STATES = ("ready", "not installed", "needs device", "unsupported here", "changed upstream")


@dataclass(frozen=True, slots=True)
class Known:
    """A kernel by name, what it computes, and its state."""

    name: str
    op: str
    #: One of STATES.
    state: str
    #: What is missing, with the version found where a library has changed; "" of a kernel that is ready.
    why: str = ""
    #: None where its library does not offer it here.
    kernel: Kernel | None = None


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """The op of each kernel that lastbit has a file for, by provider and by name: "torch", "torch/mm", "gemm"."""
    text = files("lastbit.providers").joinpath("known.toml").read_text(encoding="utf-8")
    return {
        provider: {f"{provider}/{name}": op for op, names in ops.items() for name in names.split()}
        for provider, ops in tomllib.loads(text).items()
    }


def inventory(found: Found, only: Iterable[str] = (), ops: Iterable[str] = ()) -> tuple[Known, ...]:
    """The kernels found and those of the catalogue that the providers asked do not offer here, by name.

    `only` (globs of names) and `ops` narrow the second kind as they do the first.
    """
    only, ops = tuple(only), tuple(ops)
    known = {kernel.name: _found(kernel) for kernel in found.kernels}
    for entry in _elsewhere(found):
        if entry.name not in known and (not only or any(fnmatchcase(entry.name, glob) for glob in only)):
            known[entry.name] = entry
    return tuple(known[name] for name in sorted(known) if not ops or known[name].op in ops)


def state_of(why: str) -> tuple[str, str]:
    """A reason of `Found.absent` as state and detail: "needs device (CUDA)" as ("needs device", "CUDA")."""
    for state in STATES[1:]:
        if why.startswith(f"{state} (") and why.endswith(")"):
            return state, why[len(state) + 2 : -1]
    return "unsupported here", why


def row(known: Known) -> dict[str, Any]:
    """What `lastbit kernels --json` says of a kernel."""
    said: dict[str, Any] = {"name": known.name, "op": known.op, "state": known.state, "why": known.why}
    kernel = known.kernel
    if kernel is not None:
        said["formats"] = [formats_text(formats) for formats in kernel.format_sets]
        said["devices"] = list(kernel.devices)
        said["tier"], said["contract"] = kernel.tier, kernel.contract.text()
        said["source"] = kernel.contract.source
    return said


def _found(kernel: Kernel) -> Known:
    if set(devices_found([kernel])) & set(kernel.devices):
        return Known(kernel.name, kernel.op, "ready", "", kernel)
    return Known(kernel.name, kernel.op, "needs device", " or ".join(kernel.devices), kernel)


def _elsewhere(found: Found) -> Iterator[Known]:
    """Kernels of the catalogue, and those that a provider names as absent, with the reason."""
    listed = {name: op for provider in found.providers for name, op in catalogue().get(provider, {}).items()}
    for names in found.absent:
        # A provider's own name, a glob, or a name that the catalogue lacks: a package's own kernel.
        for name in names.split(", "):
            if "/" in name and "*" not in name:
                listed.setdefault(name, "")
    for name, op in listed.items():
        yield Known(name, op, *state_of(_reason(name, found.absent)))


def _reason(name: str, absent: Mapping[str, str]) -> str:
    """The reason that names the kernel, else its provider's."""
    for names, why in absent.items():
        if any(fnmatchcase(name, glob) for glob in names.split(", ")):
            return why
    return absent.get(name.partition("/")[0], "its provider does not offer it with the versions installed")
