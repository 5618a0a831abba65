"""Kernels in processes of their own: one that dies or hangs costs its own verdict, and never sees the truth."""

import atexit
import contextlib
import json
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from lastbit.arrays import code_dtype
from lastbit.case import Trial
from lastbit.errors import LastbitError, UsageError
from lastbit.harness import Obtained
from lastbit.kernel import Kernel
from lastbit.verdict import Outcome, Verdict
from lastbit.worker import Bits, Request, serve

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


class GarbageError(LastbitError):
    """A worker's answer is not one: the kernel wrote into the connection."""


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


_workers: dict[str, Worker] = {}


def series_isolated(
    trial: Trial,
    data: "Sequence[Mapping[str, Operand]]",
    *,
    layouts: Mapping[str, str] | None = None,
    scalars: Mapping[str, Any] | None = None,
) -> tuple[Obtained, ...]:
    """`harness.series` in a process that holds nothing but the kernel and its operands.

    A kernel that ends the process is CRASHED, with the signal's name or the exit status; one that takes longer than
    `trial.settings["timeout"]` seconds a call is TIMED_OUT and killed. The next call starts a new process.

    Raises UsageError as `series`.
    """
    try:
        worker = _worker(trial.kernel)
    except LastbitError as error:
        return (_lost(Outcome.ERROR, str(error)),) * len(data)
    limit = float(trial.settings.get("timeout", TIMEOUT_S)) * len(data)
    try:
        bits = [{name: Bits(operand.format, operand.codes) for name, operand in given.items()} for given in data]
        worker.connection.send(Request(trial.formats, trial.contract, trial.device, trial.case, bits, layouts, scalars))
        if not worker.connection.poll(limit):
            _kill(worker)
            return (_lost(Outcome.TIMED_OUT, f"no result after {limit:g} s; its process was killed"),) * len(data)
        obtained = _read(worker, trial.formats, len(data))
    except (EOFError, ConnectionError):
        return (_lost(Outcome.CRASHED, _death(worker)),) * len(data)
    except GarbageError as error:
        _kill(worker)
        return (_lost(Outcome.CRASHED, f"its process answered with garbage: {error}"),) * len(data)
    except BaseException:
        _kill(worker)
        raise
    _keep(worker)
    return obtained


@atexit.register
def close() -> None:
    """End every worker."""
    while _workers:
        _end(_workers.popitem()[1])


def _lost(outcome: Outcome, reason: str) -> Obtained:
    return Obtained(np.empty(0, np.uint8), Verdict(outcome, reason))


def _worker(kernel: Kernel) -> Worker:
    """The worker that has this kernel, taken out of those kept, or a new one."""
    worker = _workers.pop(kernel.name, None)
    if worker is not None and (worker.kernel is not kernel or not worker.process.is_alive()):
        _end(worker)
        worker = None
    return worker or _start(kernel)


def _keep(worker: Worker) -> None:
    _workers[worker.kernel.name] = worker
    while len(_workers) > KEPT_WORKERS:
        _end(_workers.pop(next(iter(_workers))))


def _start(kernel: Kernel) -> Worker:
    """A worker that has the kernel: imported in a fresh process if that can be, else inherited by fork."""
    server = multiprocessing.get_context("forkserver")
    # A server that has imported the frameworks and never computed: its forks start fast and are safe.
    server.set_forkserver_preload([name for name in ("numpy", "torch") if name in sys.modules])
    worker, missing = _launch(server, kernel, ways(kernel))
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
    arguments = (theirs, given, list(lastbit.__path__), log)
    process = context.Process(target=serve, args=arguments, name=kernel.name)
    with warnings.catch_warnings(), hidden_main():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: _after_fork sees to these
        try:
            process.start()
        except OSError as error:
            raise LastbitError(f"{kernel.name} cannot be isolated: no process could be started: {error}") from error
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


@contextlib.contextmanager
def hidden_main() -> Iterator[None]:
    """No main module for a new process to import: a user's script is not run again, guarded or not."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def ways(kernel: Kernel) -> list[tuple[str, Any]]:
    """How a fresh process can get hold of the kernel, surest first."""
    found: list[tuple[str, Any]] = []
    module = getattr(kernel.run, "__module__", None)
    # A provider may have several files: the function's own comes first.
    for provider in (module, f"lastbit.providers.{kernel.name.partition('/')[0]}"):
        if str(provider).startswith("lastbit.providers.") and provider in sys.modules:
            found.append(("provider", (provider, kernel.name)))
    if module == "__main__":
        return found
    # PyTorch's operators raise RuntimeError.
    with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError, RuntimeError):
        found.append(("pickle", pickle.dumps(kernel)))
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file:
        found.append(("file", (file, kernel.name)))
    return found


def _cuda_in_use() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _read(worker: Worker, formats: Mapping[str, str], count: int) -> tuple[Obtained, ...]:
    """A worker's answers; their bytes are data, never unpickled."""
    try:
        answer = json.loads(worker.connection.recv_bytes())
        obtained = [_obtained(header, worker, formats) for header in answer.get("obtained", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GarbageError(f"{type(error).__name__}: {error}") from error
    if "usage" in answer:
        raise UsageError(answer["usage"])
    if "error" in answer:
        return (_lost(Outcome.ERROR, f"lastbit failed in the kernel's process\n{answer['error']}"),) * count
    if len(obtained) != count:
        raise GarbageError(f"{len(obtained)} results of {count} calls")
    return tuple(obtained)


def _obtained(header: dict[str, Any], worker: Worker, formats: Mapping[str, str]) -> Obtained:
    content = worker.connection.recv_bytes()
    dtype = code_dtype(formats["out"]) if header["shape"] != [0] else np.dtype(np.uint8)
    codes = np.frombuffer(content, dtype).reshape(header["shape"])
    others = tuple(
        None if one is None else np.frombuffer(worker.connection.recv_bytes(), f"u{int(one[0])}").reshape(one[1])
        for one in header["others"]
    )
    fault = Verdict(Outcome(header["outcome"]), header["reason"], where=header["where"]) if header["outcome"] else None
    notes = header["notes"] | ({"isolation": "forked from lastbit's process"} if worker.forked else {})
    return Obtained(codes, fault, notes, others)


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
