"""The process of an isolated kernel: it gets hold of the kernel, and answers calls with bit patterns."""

import faulthandler
import importlib
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Case, Trial
from lastbit.contract import Contract
from lastbit.errors import KernelError, UsageError
from lastbit.harness import Obtained, series_here
from lastbit.kernel import Kernel

#: How to get hold of a kernel: a key of LOADERS, and what that loader needs.
Way = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Bits:
    """An operand as a worker needs it: bit patterns alone."""

    format: str
    codes: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A series of calls of a worker's kernel."""

    formats: Mapping[str, str]
    contract: Contract
    device: str
    case: Case
    data: Sequence[Mapping[str, Bits]]
    layouts: Mapping[str, str] | None
    scalars: Mapping[str, Any] | None


def serve(connection: Connection, given: Kernel | list[Way], path: list[str], log: str) -> None:
    """Run one kernel for as long as requests come: `given`, or the first that one of its ways leads to.

    `path` is that of the package in the parent. Standard error goes to the file `log`. The first answer is empty if
    there is a kernel, else it says why not.
    """
    import lastbit

    lastbit.__path__[:] = path
    _settle_in(connection, log)
    kernel: Kernel | None
    if isinstance(given, Kernel):
        _after_fork()
        kernel, missing = given, ""
    else:
        kernel, missing = load(given)
    connection.send_bytes(missing.encode())
    while kernel is not None:
        try:
            request = connection.recv()
        except EOFError:
            return
        _answer(connection, kernel, request)


def load(ways: list[Way]) -> tuple[Kernel | None, str]:
    """The kernel that the first usable way leads to, or None and why none is usable."""
    tried = []
    for way, what in ways:
        try:
            return LOADERS[way](what), ""
        except Exception as error:  # whatever a module does when it is imported: there may be another way
            tried.append(f"{way}: {type(error).__name__}: {error}")
    return None, "; ".join(tried) or "its function belongs to no module"


def _from_provider(what: tuple[str, str]) -> Kernel:
    module, name = what
    return _named(importlib.import_module(module).kernels(), name)


def _from_pickle(what: bytes) -> Kernel:
    kernel = pickle.loads(what)
    if not isinstance(kernel, Kernel):
        raise KernelError(f"expected a Kernel, got {kernel!r}")
    return kernel


def _from_file(what: tuple[str, str]) -> Kernel:
    from lastbit.discovery import from_source

    file, name = what
    return _named(from_source(file), name)


def _named(kernels: Sequence[Kernel], name: str) -> Kernel:
    for kernel in kernels:
        if kernel.name == name:
            return kernel
    raise KernelError(f"no kernel called {name} there")


LOADERS: dict[str, Callable[[Any], Kernel]] = {
    "provider": _from_provider,
    "pickle": _from_pickle,
    "file": _from_file,
}


def _answer(connection: Connection, kernel: Kernel, request: Request) -> None:
    trial = Trial(kernel, request.formats, request.contract, request.device, request.case)
    try:
        # Bits has what the harness reads of an operand.
        data: Any = request.data
        obtained = series_here(trial, data, layouts=request.layouts, scalars=request.scalars)
    except UsageError as error:
        _send(connection, {"usage": str(error)})
    except Exception:
        _send(connection, {"error": traceback.format_exc()})
    else:
        _send(connection, {"obtained": [_header(got) for got in obtained]})
        for got in obtained:
            connection.send_bytes(np.ascontiguousarray(got.codes).tobytes())
            for codes in got.others:
                if codes is not None:
                    connection.send_bytes(np.ascontiguousarray(codes).tobytes())


def _send(connection: Connection, answer: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(answer).encode())


def _header(got: Obtained) -> dict[str, Any]:
    fault = got.fault
    return {
        "shape": got.shape,
        "others": [None if codes is None else (codes.itemsize, codes.shape) for codes in got.others],
        "outcome": fault.outcome if fault else "",
        "reason": fault.reason if fault else "",
        "where": fault.where if fault else "",
        "notes": got.notes,
    }


def _settle_in(connection: Connection, log: str) -> None:
    """Keep what belongs to others out of the kernel's reach: every open file, the user's terminal, Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(3, connection.fileno())
    os.closerange(connection.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    faulthandler.enable(file=2)


def _after_fork() -> None:
    """Do without the OpenMP threads of the parent, which did not survive the fork."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
