"""Kernels in processes of their own: one that dies or hangs costs its own verdict, and the truth is out of its reach."""

import atexit
import contextlib
import faulthandler
import importlib
import json
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lastbit import arrays
from lastbit.case import Trial
from lastbit.errors import LastbitError, UsageError
from lastbit.harness import Obtained, call_here
from lastbit.kernel import Kernel
from lastbit.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lastbit.references.data import Operand

#: Seconds that a call may take unless `trial.settings["timeout"]` says otherwise.
TIMEOUT_S = 60.0
#: Seconds that a worker may take to import a kernel's framework and the kernel.
START_S = 120.0
#: Seconds that a process that closed its end is given to end.
END_S = 5.0
#: Workers kept for further calls: kernels take turns at each case, and each holds its own memory (about 100 MB).
KEPT_WORKERS = 16
#: Lines of a dead worker's last words that a verdict keeps.
LAST_WORDS = 6


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs one kernel."""

    kernel: Kernel
    process: BaseProcess
    connection: Connection
    #: Where its standard error goes: the interpreter's last words when it dies.
    log: Path
    #: It was forked from this process, so it holds a copy of what this process knew then.
    forked: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it is sent to a worker."""

    trial: Trial
    operands: "Mapping[str, Operand]"
    layouts: Mapping[str, str] | None
    scalars: Mapping[str, float] | None


_workers: dict[str, Worker] = {}


def invoke_isolated(
    trial: Trial,
    operands: "Mapping[str, Operand]",
    *,
    layouts: Mapping[str, str] | None = None,
    scalars: Mapping[str, float] | None = None,
) -> Obtained:
    """`harness.call` in a process that holds nothing but the kernel and its operands.

    A kernel that ends the process is CRASHED, with the signal's name or the exit status; one that takes longer than
    `trial.settings["timeout"]` seconds is TIMED_OUT and killed. The next call starts a new process.

    Raises UsageError as `call`.
    """
    worker = _workers.pop(trial.kernel.name, None)
    if worker is None or worker.kernel is not trial.kernel:
        if worker is not None:
            _end(worker)
        try:
            worker = _start(trial.kernel)
        except LastbitError as error:
            return _lost(Outcome.ERROR, str(error))
    limit = float(trial.settings.get("timeout", TIMEOUT_S))
    try:
        worker.connection.send(Request(replace(trial, kernel=None), operands, layouts, scalars))  # type: ignore[arg-type]
        if not worker.connection.poll(limit):
            _kill(worker)
            return _lost(Outcome.TIMED_OUT, f"no result after {limit:g} s; the kernel's process was killed")
        obtained = _read(worker, trial.formats["out"])
    except (EOFError, ConnectionError):
        return _lost(Outcome.CRASHED, _death(worker))
    except BaseException:
        _kill(worker)
        raise
    _workers[trial.kernel.name] = worker
    while len(_workers) > KEPT_WORKERS:
        _end(_workers.pop(next(iter(_workers))))
    return obtained


@atexit.register
def close() -> None:
    """End every worker."""
    while _workers:
        _end(_workers.popitem()[1])


def _lost(outcome: Outcome, reason: str) -> Obtained:
    return Obtained(np.empty(0, np.uint8), Verdict(outcome, reason))


# -- the parent's side of a worker's life


def _start(kernel: Kernel) -> Worker:
    """A worker that has the kernel: imported in a fresh process if that can be, else inherited by fork."""
    server = multiprocessing.get_context("forkserver")
    # A server that has imported the frameworks and never computed: its forks start fast and are safe.
    server.set_forkserver_preload([name for name in ("numpy", "torch") if name in sys.modules])
    worker, missing = _launch(server, kernel, _ways(kernel))
    if worker is None and not _cuda_in_use():
        worker, missing = _launch(multiprocessing.get_context("fork"), kernel, kernel)
    if worker is None:
        raise LastbitError(
            f"{kernel.name} cannot be isolated: {missing}; define its function at the top level of a module"
        )
    return worker


def _launch(context: Any, kernel: Kernel, given: Any) -> tuple[Worker | None, str]:
    import lastbit

    ours, theirs = context.Pipe()
    descriptor, log = tempfile.mkstemp(prefix="lastbit-", suffix=".log")
    os.close(descriptor)
    forked = isinstance(given, Kernel)
    inherited = [ours, *(worker.connection for worker in _workers.values())] if forked else []
    arguments = (theirs, given, list(lastbit.__path__), log, inherited)
    process = context.Process(target=_serve, args=arguments, name=kernel.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: _after_fork sees to these
        process.start()
    theirs.close()
    worker = Worker(kernel, process, ours, Path(log), forked)
    try:
        missing = ours.recv_bytes().decode() if ours.poll(START_S) else f"it did not start within {START_S:g} s"
    except (EOFError, ConnectionError):
        return None, _death(worker)
    if missing:
        _kill(worker)
        return None, missing
    return worker, ""


def _ways(kernel: Kernel) -> list[tuple[str, Any]]:
    """How a fresh process can get hold of the kernel, surest first."""
    from lastbit.discovery import PROVIDERS

    ways: list[tuple[str, Any]] = []
    provider = f"lastbit.providers.{kernel.name.partition('/')[0]}"
    if provider in sys.modules:
        ways.append(("provider", (provider, kernel.name)))
    with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):
        ways.append(("pickle", pickle.dumps(kernel)))
    file = getattr(sys.modules.get(getattr(kernel.run, "__module__", "")), "__file__", None)
    if file:
        ways.append(("file", (file, kernel.name)))
    return ways


def _cuda_in_use() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _read(worker: Worker, format: str) -> Obtained:
    """A worker's answer; its bytes are data, never unpickled."""
    answer = json.loads(worker.connection.recv_bytes())
    if "usage" in answer:
        raise UsageError(answer["usage"])
    content = worker.connection.recv_bytes()
    fault = Verdict(Outcome(answer["fault"][0]), *answer["fault"][1:]) if answer["fault"] else None
    notes = answer["notes"] | ({"isolation": "forked from lastbit's process"} if worker.forked else {})
    if not answer["has codes"]:
        return Obtained(np.empty(0, np.uint8), fault, notes)
    return Obtained(np.frombuffer(content, arrays.code_dtype(format)).reshape(answer["shape"]), fault, notes)


def _death(worker: Worker) -> str:
    """How the worker's process ended, in words."""
    worker.process.join(END_S)
    status = worker.process.exitcode
    words = [line for line in worker.log.read_text(errors="replace").splitlines() if line.strip()]
    _kill(worker)
    if status is None:
        return "its process closed the connection"
    how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    return f"its process {how}" + "".join(f"\n  {line}" for line in words[:LAST_WORDS])


def _end(worker: Worker) -> None:
    worker.connection.close()
    worker.process.join(END_S)
    _kill(worker)


def _kill(worker: Worker) -> None:
    worker.connection.close()
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join(END_S)
    worker.log.unlink(missing_ok=True)


# -- the worker's side


def _serve(
    connection: Connection,
    given: "Kernel | list[tuple[str, Any]]",
    path: list[str],
    log: str,
    inherited: list[Connection],
) -> None:
    """Run one kernel for as long as requests come."""
    import lastbit

    lastbit.__path__[:] = path
    _settle_in(log)
    kernel: Kernel | None
    if isinstance(given, Kernel):
        _after_fork(inherited)
        kernel, missing = given, ""
    else:
        kernel, missing = _load(given)
    connection.send_bytes(missing.encode())
    while kernel is not None:
        try:
            request = connection.recv()
        except EOFError:
            return
        _answer(connection, replace(request.trial, kernel=kernel), request)


def _answer(connection: Connection, trial: Trial, request: Request) -> None:
    try:
        got = call_here(trial, request.operands, layouts=request.layouts, scalars=request.scalars)
    except UsageError as error:
        connection.send_bytes(json.dumps({"usage": str(error)}).encode())
        return
    fault = [got.fault.outcome, got.fault.reason, None, None, got.fault.where] if got.fault else None
    has_codes = got.codes.dtype == arrays.code_dtype(trial.formats["out"]) and got.codes.shape != (0,)
    header = {"shape": got.shape, "has codes": has_codes, "fault": fault, "notes": got.notes}
    connection.send_bytes(json.dumps(header).encode())
    connection.send_bytes(np.ascontiguousarray(got.codes).tobytes())


def _load(ways: list[tuple[str, Any]]) -> tuple[Kernel | None, str]:
    tried = []
    for way, what in ways:
        try:
            return LOADERS[way](what), ""
        except Exception as error:  # whatever a module does when it is imported: there may be another way
            tried.append(f"{way}: {type(error).__name__}: {error}")
    return None, "; ".join(tried) or "its function belongs to no module"


def _from_provider(what: tuple[str, str]) -> Kernel:
    module, name = what
    return {kernel.name: kernel for kernel in importlib.import_module(module).kernels()}[name]


def _from_file(what: tuple[str, str]) -> Kernel:
    from lastbit.discovery import from_source

    file, name = what
    return {kernel.name: kernel for kernel in from_source(file)}[name]


LOADERS: dict[str, Callable[[Any], Kernel]] = {
    "provider": _from_provider,
    "pickle": pickle.loads,
    "file": _from_file,
}


def _settle_in(log: str) -> None:
    """Keep the kernel's output away from the user's terminal, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    faulthandler.enable(file=2)


def _after_fork(inherited: list[Connection]) -> None:
    """Drop what belongs to the parent: its pipes, and an OpenMP thread pool that did not survive the fork."""
    for connection in inherited:
        connection.close()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
