"""Fresh processes that have computed nothing, for what must not share memory, modules or libraries with this one."""

import contextlib
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from lastbit.errors import LastbitError
from lastbit.isolate import hidden_main


@contextlib.contextmanager
def started(target: Callable[..., None], *given: Any) -> Iterator[Connection]:
    """A connection to a fresh process that runs `target(connection, *given)`, and is killed in the end.

    It is forked from a server that has imported the frameworks and never computed: it starts fast, with memory of its
    own. `target` is a function of a module, which sends str where it fails.
    """
    import lastbit

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in ("numpy", "torch") if name in sys.modules])
    ours, theirs = context.Pipe()
    process = context.Process(target=_enter, args=(theirs, list(lastbit.__path__), target, given))
    with warnings.catch_warnings(), hidden_main():
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.kill()
        process.join()


def answer(connection: Connection, seconds: float) -> Any:
    """What the process sends next; raises LastbitError where it fails, dies, or is silent for so long."""
    try:
        if not connection.poll(seconds):
            raise LastbitError("its process did not answer")
        found = connection.recv()
    except (EOFError, ConnectionError) as error:
        raise LastbitError("its process died") from error
    if isinstance(found, str):
        raise LastbitError(found)
    return found


def _enter(connection: Connection, path: list[str], target: Callable[..., None], given: tuple[Any, ...]) -> None:
    import lastbit

    lastbit.__path__[:] = path
    try:
        target(connection, *given)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
