"""Which kernels there are: those somebody registered, and those of the libraries on this machine."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from lastbit.absence import why_absent
from lastbit.errors import LastbitError, UsageError
from lastbit.kernel import REGISTRY, Kernel

#: Entry-point group of packages that offer kernels: an entry names a list of kernels, or a function that returns one.
GROUP = "lastbit.kernels"
#: Providers by file name under lastbit/providers.
PROVIDERS = (
    "torch",
    "numpy",
    "triton",
    "ml_dtypes",
    "jax",
    "numba",
    "onnxruntime",
    "torchao",
    "bitsandbytes",
    "gguf",
    "transformers",
    "vllm",
    "sglang",
    "simulated",
)
#: Files of a provider whose kernels are of several ops; another has one, of its own name.
ROOMS = {
    "torch": (
        "torch",
        "torch_quantize",
        "torch_quantize_formulas",
        "torch_softmax",
        "torch_attention",
        "torch_paged",
        "torch_casts",
        "torch_scaled",
    ),
    "numpy": (
        "numpy",
        "numpy_quantize",
        "numpy_softmax",
        "numpy_attention",
        "numpy_paged",
        "numpy_casts",
        "numpy_scaled",
    ),
    "triton": (
        "triton",
        "triton_quantize",
        "triton_softmax",
        "triton_attention",
        "triton_paged",
        "triton_casts",
        "triton_scaled",
    ),
    "torchao": ("torchao_casts", "torchao_scaled", "torchao_quantize"),
    "simulated": ("simulated", "simulated_quantize", "simulated_casts", "simulated_scaled"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """The kernels of a run, and those that are not there."""

    kernels: tuple[Kernel, ...]
    #: Why a provider, or the kernels of a name or glob, are not there: "not installed (No module named 'triton')".
    absent: Mapping[str, str] = field(default_factory=dict)
    #: The providers that were asked.
    providers: tuple[str, ...] = ()


def find(sources: Iterable[str] = (), only: Iterable[str] = (), hooked: Iterable[Any] = ()) -> Found:
    """The kernels of `sources` (modules or files), of the hook's results, of the registry, of packages and providers.

    Kernels that somebody registered for this run (a source, the hook, `@lastbit.kernel`) take the place of those that
    packages and providers offer, unless `only` (globs of names) asks for some by name.

    Raises UsageError when a source cannot be imported or has no kernels, when two kernels share a name, or when no
    kernel is left.
    """
    only = tuple(only)
    own = [kernel for source in sources for kernel in from_source(source)]
    own += [kernel for result in hooked for kernel in checked(result, "pytest_lastbit_kernels")]
    own += [kernel for kernel in REGISTRY.values() if kernel not in own]
    offered: list[Kernel] = []
    absent: dict[str, str] = {}
    asked: tuple[str, ...] = ()
    if only or not own:
        asked = tuple(name for name in PROVIDERS if not only or any(_may_match(name, glob) for glob in only))
        offered = [*_packages(), *(kernel for name in asked for kernel in _provider(name, absent))]
    everything = _unique([*own, *offered])
    chosen = tuple(kernel for kernel in everything if not only or _matches(kernel, only))
    if not chosen:
        raise UsageError(_nothing(only, everything, absent))
    return Found(chosen, absent, asked)


def hooked(call: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    """What the hook's implementations return; raises UsageError, naming the place, when one fails."""
    try:
        return call()
    except LastbitError:
        raise
    except Exception as error:
        raise UsageError(f"pytest_lastbit_kernels failed: {_in_a_line(error)}") from error


def from_source(source: str) -> tuple[Kernel, ...]:
    """The kernels of a module name or a Python file: its KERNELS, and those that it registers.

    Raises UsageError when it cannot be imported or has none.
    """
    before = set(REGISTRY)
    module = _load(source)
    listed = checked(module.KERNELS, f"KERNELS of {source}") if hasattr(module, "KERNELS") else ()
    # A module that was imported before registers nothing anew: its functions still say where they come from.
    registered = [
        kernel
        for name, kernel in REGISTRY.items()
        if name not in before or getattr(kernel.run, "__module__", None) == module.__name__
    ]
    kernels = (*listed, *(kernel for kernel in registered if kernel not in listed))
    if not kernels:
        raise UsageError(
            f"{source} has no kernels; list them in KERNELS = [lastbit.Kernel(...)] or decorate a function with "
            "@lastbit.kernel(...)"
        )
    return kernels


def checked(kernels: Any, where: str) -> tuple[Kernel, ...]:
    """`kernels` (kernels, or a function that returns them) as a tuple.

    Raises UsageError, naming `where`, when it holds anything else.
    """
    listed = kernels() if callable(kernels) else kernels
    if listed is None:
        return ()
    if not isinstance(listed, Iterable):
        listed = (listed,)
    found = []
    for kernel in listed:
        if not isinstance(kernel, Kernel):
            raise UsageError(f"{where} holds {kernel!r}, expected a lastbit.Kernel")
        found.append(kernel)
    return tuple(found)


def devices_found(kernels: Iterable[Kernel]) -> tuple[str, ...]:
    """The devices of this machine that these kernels can be judged on: "cpu", and "cuda" where torch finds it.

    Torch is asked only if one of the kernels takes its tensors.
    """
    if not any(kernel.framework == "torch" and "cuda" in kernel.devices for kernel in kernels):
        return ("cpu",)
    try:
        import torch
    except ImportError:
        return ("cpu",)
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


#: Matrix engines of references.accumulators by CUDA compute capability and by AMD architecture.
CAPABILITIES = {
    (7, 0): "v100",
    (8, 0): "a100",
    (8, 6): "a2",
    (8, 9): "ada",
    (9, 0): "h100",
    (10, 0): "b200",
    (12, 0): "rtxpro6000",
}
ARCHITECTURES = {"gfx908": "mi100", "gfx90a": "mi250", "gfx942": "mi300"}


def matrix_engine(device: str) -> str:
    """The matrix engine of `device` ("cpu", "cuda", "cuda:1") by the name of its accumulator model, "" if unknown."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return ""
    import torch

    if torch.version.hip:
        name: str = torch.cuda.get_device_properties(int(index or 0)).gcnArchName
        return ARCHITECTURES.get(name.partition(":")[0], "")
    return CAPABILITIES.get(torch.cuda.get_device_capability(int(index or 0)), "")


def _provider(name: str, absent: dict[str, str]) -> tuple[Kernel, ...]:
    kernels: list[Kernel] = []
    for room in ROOMS.get(name, (name,)):
        try:
            module = importlib.import_module(f"lastbit.providers.{room}")
            kernels += checked(module.kernels if hasattr(module, "kernels") else module.KERNELS, f"provider {name}")
            absent.update(module.absent() if hasattr(module, "absent") else {})
        except (ImportError, AttributeError, LastbitError) as error:
            why = why_absent(error)
            if why is None:
                raise
            absent[name] = why
    return tuple(kernels)


def _packages() -> list[Kernel]:
    found: list[Kernel] = []
    for entry in entry_points(group=GROUP):
        where = f"entry point {entry.name} of group {GROUP} ({entry.value})"
        try:
            loaded = entry.load()
        except Exception as error:
            raise UsageError(f"{where} cannot be loaded: {_in_a_line(error)}") from error
        found += checked(getattr(loaded, "KERNELS", loaded) if isinstance(loaded, ModuleType) else loaded, where)
    return found


def _load(source: str) -> ModuleType:
    path = Path(source)
    is_file = source.endswith(".py") or os.sep in source
    if is_file and not path.is_file():
        raise UsageError(f"kernel file {source} is not there; looked in {Path.cwd()}")
    try:
        return _load_file(path.resolve()) if is_file else _load_module(source)
    except UsageError:
        raise
    except SystemExit as error:
        raise UsageError(f"{source} cannot be imported: it calls sys.exit({error.code!r})") from error
    except Exception as error:
        raise UsageError(f"{source} cannot be imported: {_in_a_line(error)}") from error


def _load_file(path: Path) -> ModuleType:
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"kernel file {path} is not a Python file; give one that ends in .py, or a module's name")
    module = importlib.util.module_from_spec(spec)
    # Known by its name only if that is free: a file called numpy.py must not hide NumPy.
    sys.modules.setdefault(path.stem, module)
    sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(path.stem) is module:
            del sys.modules[path.stem]
        raise
    return module


def _load_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.append(str(Path.cwd()))
    return importlib.import_module(name)


def _in_a_line(error: BaseException) -> str:
    where = ""
    traceback = error.__traceback__
    while traceback is not None:
        where = f" ({traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}{where}"


def _unique(kernels: list[Kernel]) -> list[Kernel]:
    by_name: dict[str, Kernel] = {}
    for kernel in kernels:
        if by_name.setdefault(kernel.name, kernel) != kernel:
            raise UsageError(f"two kernels are called {kernel.name}; rename one")
    return list(by_name.values())


def _matches(kernel: Kernel, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(kernel.name, glob) for glob in globs)


def _may_match(provider: str, glob: str) -> bool:
    """Whether a kernel called `provider`/... can match; spares importing a framework that is not asked for."""
    head, slash, _ = glob.partition("/")
    return not slash or fnmatchcase(provider, head) or "[" in head


def _nothing(only: tuple[str, ...], kernels: list[Kernel], absent: dict[str, str]) -> str:
    missing = "".join(f"; {name}: {why}" for name, why in absent.items())
    names = ", ".join(sorted(kernel.name for kernel in kernels)) or "none"
    asked = f"no kernel matches {', '.join(map(repr, only))}" if only else "no kernels were found"
    return f"{asked}; found: {names}{missing}; register one with @lastbit.kernel or --lastbit-kernels"
