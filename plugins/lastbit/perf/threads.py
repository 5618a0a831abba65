"""How many threads the libraries in this process compute with, while something is timed."""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

#: What libraries read when they are loaded.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
MAPS = Path("/proc/self/maps")
#: Names of OpenBLAS's functions as its builds have them: plain, with 64-bit integers, and in the wheels of NumPy.
_OPENBLAS = ("openblas_{}_num_threads", "openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads64_")


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let PyTorch and OpenBLAS, as far as they are loaded, compute with `threads` threads meanwhile.

    Libraries that are loaded later read the environment; put it there with `announce` before.
    """
    blas = _openblas()
    before = [library[0]() for library in blas]
    torch = sys.modules.get("torch")
    torch_before = torch.get_num_threads() if torch is not None else 0
    for _, write in blas:
        write(threads)
    if torch is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        for (_, write), count in zip(blas, before, strict=True):
            write(count)
        if torch is not None:
            torch.set_num_threads(torch_before)


def announce(threads: int) -> None:
    """Tell libraries that are not loaded yet, and new processes, how many threads they may use."""
    for name in VARIABLES:
        os.environ[name] = str(threads)


def _openblas() -> list[tuple[Callable[[], int], Callable[[int], None]]]:
    """Reader and writer of the number of threads of each OpenBLAS that is loaded."""
    if not MAPS.exists():
        return []
    found = []
    for path in sorted(set(re.findall(r"/\S*openblas\S*\.so\S*", MAPS.read_text()))):
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path)
            for name in _OPENBLAS:
                if hasattr(library, name.format("set")):
                    found.append((getattr(library, name.format("get")), getattr(library, name.format("set"))))
                    break
    return found
