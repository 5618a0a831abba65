"""One timing at a time: a lock of each device, which every process of this machine that times something takes."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lastbit.errors import LastbitError

try:
    import fcntl
except ImportError:  # Windows: two timings are then not told apart
    fcntl = None  # type: ignore[assignment]

#: Seconds to wait for another run's timings.
PATIENCE_S = 600.0
#: Seconds between two looks.
PAUSE_S = 0.2


@contextlib.contextmanager
def held(device: str, patience_s: float = PATIENCE_S, folder: Path | None = None) -> Iterator[None]:
    """Nobody else times something on the device meanwhile; waiting for others is said on standard error.

    Raises LastbitError where others do for `patience_s`.
    """
    if fcntl is None:
        yield
        return
    path = (folder or Path(tempfile.gettempdir())) / f"lastbit-timing-{_identity(device)}.lock"
    handle = _opened(path)
    try:
        end = time.monotonic() + patience_s
        waiting = False
        while not _taken(handle):
            if time.monotonic() > end:
                text = f"another run has been timing on {device} for {patience_s:.0f} s ({path})"
                raise LastbitError(f"{text}: wait for its end, for two runs at a time would time each other")
            if not waiting:
                print(
                    f"another run is timing on {device}: waiting for its end, {patience_s:.0f} s at most",
                    file=sys.stderr,
                )
            waiting = True
            time.sleep(PAUSE_S)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """The file, whoever made it: its rights are everybody's, for users share a device."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        os.fchmod(handle, 0o666)
        return handle
    try:
        return os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise LastbitError(f"{path} cannot be locked ({error.strerror}): remove it") from error


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(device: str) -> str:
    """The device by a name that does not change with what is visible."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return kind
    import torch

    return f"cuda-{getattr(torch.cuda.get_device_properties(int(index or 0)), 'uuid', index or 0)}"
