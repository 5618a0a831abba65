"""The process around a kernel: what it must leave as it found it, and how that is seen and put back."""

import contextlib
import ctypes
import io
import os
import pickle
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from lastbit.guards import WIPED

#: Room for fenv_t: 28 to 32 bytes on the platforms that Python runs on.
FENV_BYTES = 256
#: mallopt's parameter of malloc.h: allocations are filled with the complement of its value.
M_PERTURB = -6
#: Longest text of a kernel's prints and warnings that a note keeps.
NOTED = 400


@dataclass(frozen=True, slots=True)
class Switch:
    """A setting of a framework that other code depends on."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Ambient:
    """The state of the process before a call."""

    floating_point: tuple[bool, ...]
    environment: Any
    #: Libraries that were loaded, and their settings.
    libraries: frozenset[str]
    switches: tuple[Any, ...]
    directory: str
    variables: dict[Any, Any]
    random_states: tuple[Any, ...]
    threads: int


def floating_point() -> tuple[bool, ...]:
    """Whether this thread's arithmetic is IEEE 754's default: gradual results and operands, rounding to nearest.

    In order: subnormal results are kept, subnormal operands are kept, sums are not rounded up, nor down, nor to zero.
    """
    smallest, tiny, one = _OPERANDS
    return (
        smallest * 0.5 != 0.0,
        _SUBNORMAL * 2.0 != 0.0,
        one + tiny == one,
        -one - tiny == -one,
        one - tiny == one,
    )


def observe() -> Ambient:
    """The state of the process now."""
    libraries = _loaded()
    return Ambient(
        floating_point=floating_point(),
        environment=_fenv(),
        libraries=libraries,
        switches=tuple([switch.read() for switch in _switches(libraries)]),
        directory=os.getcwd(),
        variables=_variables().copy(),
        random_states=_random_states(),
        threads=threading.active_count(),
    )


def settle(before: Ambient) -> tuple[list[str], dict[str, str]]:
    """What a kernel changed since `before`: faults in plain words, and notes; what can be is put back.

    Random states stay as they are: putting them back would make a kernel that draws random bits look repeatable.
    """
    faults = []
    after = floating_point()
    if after != before.floating_point:
        restored = _restore_fenv(before.environment)
        faults.append(
            f"it changed the floating-point mode ({_mode(after)}){'' if restored else ', which stays changed'}"
        )
    for switch, old in zip(_switches(before.libraries), before.switches, strict=True):
        new = switch.read()
        if new != old:
            switch.write(old)
            faults.append(f"it changed {switch.name} from {old} to {new}")
    return faults, _settle_surroundings(before)


@contextlib.contextmanager
def no_exit() -> Iterator[None]:
    """os._exit() raises SystemExit meanwhile: a kernel that ends the process must not end the run with status 0."""

    here = os.getpid()

    def refuse(status: int) -> None:
        if os.getpid() != here:  # a child that the kernel forked ends as it should
            kept(status)
        raise SystemExit(f"os._exit({status})")

    kept, os._exit = os._exit, refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = kept


@contextlib.contextmanager
def wiped_memory() -> Iterator[None]:
    """Let malloc fill what it hands out with guards.WIPED, where it can: no earlier result is found in it.

    glibc only. What a framework's own cache hands out is not wiped; Arrays.scrub sees to that.
    """
    library = _libm()
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(M_PERTURB, WIPED ^ 0xFF)
    try:
        yield
    finally:
        library.mallopt(M_PERTURB, int(os.environ.get("MALLOC_PERTURB_") or 0))


def spoken(stdout: io.StringIO, stderr: io.StringIO, warned: list[warnings.WarningMessage]) -> dict[str, str]:
    """What a kernel printed and warned of, as notes, shortened; what it did not is left out."""
    texts = {
        "printed": (stdout.getvalue() + stderr.getvalue()).strip(),
        "warned": "; ".join(f"{entry.category.__name__}: {entry.message}" for entry in warned),
    }
    return {kind: text[:NOTED] for kind, text in texts.items() if text}


def _settle_surroundings(before: Ambient) -> dict[str, str]:
    notes = {}
    if os.getcwd() != before.directory:
        notes["working directory"] = f"changed to {os.getcwd()}, put back"
        os.chdir(before.directory)
    if _variables() != before.variables:
        notes["environment variables"] = _put_back(before.variables)
    drawn = [
        name for name, old, new in zip(_GENERATORS, before.random_states, _random_states(), strict=False) if old != new
    ]
    if drawn:
        notes["random state"] = f"advanced: {', '.join(drawn)}"
    if threading.active_count() > before.threads:
        notes["threads"] = f"left {threading.active_count() - before.threads} running"
    return notes


_GENERATORS = ("random", "numpy.random", "torch")
#: Operands that the compiler of Python cannot fold: the smallest normal number, far less than one rounding of 1, and 1.
_OPERANDS = [sys.float_info.min, 2.0**-80, 1.0]
_SUBNORMAL = 2.0**-1074


def _mode(state: tuple[bool, ...]) -> str:
    results, operands, up, down, zero = state
    words = [] if results and operands else ["subnormals are flushed to zero"]
    if not (up and down and zero):
        words.append("rounding is " + ("up" if not up else "down" if not down else "toward zero"))
    return ", ".join(words) or "IEEE 754 defaults"


@cache
def _libm() -> Any:
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "fegetenv") else ctypes.CDLL("libm.so.6")
    except (OSError, TypeError):
        return None


def _fenv() -> Any:
    library = _libm()
    if library is None:
        return None
    environment = ctypes.create_string_buffer(FENV_BYTES)
    return environment if library.fegetenv(environment) == 0 else None


def _restore_fenv(environment: Any) -> bool:
    return environment is not None and _libm().fesetenv(environment) == 0


def _variables() -> dict[Any, Any]:
    # The table inside os.environ: reading it as a mapping encodes and decodes every variable, 20 times as slow.
    table: dict[Any, Any] = vars(os.environ)["_data"]
    return table


def _put_back(variables: dict[Any, Any]) -> str:
    """Give changed and removed environment variables their old values; what was done, in words.

    New variables stay: libraries talk to their native parts by them when they are first used (PyTorch's inductor).
    """
    mapping: Any = os.environ
    now = _variables()
    added = sorted(mapping.decodekey(key) for key in now.keys() - variables.keys())
    changed = {
        mapping.decodekey(key): mapping.decodevalue(old) for key, old in variables.items() if now.get(key) != old
    }
    os.environ.update(changed)
    parts = [f"{', '.join(added)} added"] if added else []
    parts += [f"{', '.join(sorted(changed))} changed, put back"] if changed else []
    return "; ".join(parts)


def _random_states() -> tuple[Any, ...]:
    states = (random.getstate(), pickle.dumps(np.random.get_state(legacy=False)))
    torch = sys.modules.get("torch")
    return states if torch is None else (*states, torch.get_rng_state().numpy().tobytes())


@cache
def _switches(libraries: frozenset[str]) -> tuple[Switch, ...]:
    """The settings to watch of NumPy and of those loaded among mpmath and torch (neither is imported for this)."""
    found = [Switch("numpy.geterr()", np.geterr, lambda old: np.seterr(**old))]
    if "mpmath" in libraries:
        # lastbit's referee computes with it, in this very process.
        found.append(Switch("mpmath.mp.prec", *_attribute(sys.modules["mpmath"].mp, "prec")))
    return (*found, *(_torch_switches() if "torch" in libraries else ()))


def _loaded() -> frozenset[str]:
    return frozenset(name for name in ("mpmath", "torch") if name in sys.modules)


def _torch_switches() -> list[Switch]:
    import torch
    from torch.overrides import _pop_mode as pop_function_mode
    from torch.utils._python_dispatch import _pop_mode as pop_dispatch_mode

    matmul, onednn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    return [
        Switch("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Switch("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Switch("torch's gradient mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
        Switch(
            "torch's deterministic mode",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        *(
            Switch(f"torch's autocast on {kind}", partial(torch.is_autocast_enabled, kind), _autocast(kind))
            for kind in ("cpu", "cuda")
        ),
        Switch("torch.backends.fp32_precision", *_attribute(torch.backends, "fp32_precision")),
        Switch("torch.backends.cuda.matmul.fp32_precision", *_attribute(matmul, "fp32_precision")),
        Switch("torch.backends.mkldnn.matmul.fp32_precision", *_attribute(onednn, "fp32_precision")),
        Switch("torch's FP16 reduction", *_attribute(matmul, "allow_fp16_reduced_precision_reduction")),
        Switch("torch's BF16 reduction", *_attribute(matmul, "allow_bf16_reduced_precision_reduction")),
        # A mode that is left on sees, and may answer, every later operation on any tensor.
        _stack("torch's function modes", torch._C._len_torch_function_stack, pop_function_mode),
        _stack("torch's dispatch modes", torch._C._len_torch_dispatch_stack, pop_dispatch_mode),
    ]


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _autocast(kind: str) -> Callable[[Any], Any]:
    import torch

    return partial(torch.set_autocast_enabled, kind)


def _stack(name: str, length: Callable[[], int], pop: Callable[[], Any]) -> Switch:
    def cut(old: int) -> None:
        while length() > old:
            pop()

    return Switch(name, length, cut)
