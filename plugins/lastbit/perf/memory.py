"""Memory that stays with the process: a large result is not fetched from, and given back to, the system every time."""

import ctypes
from functools import cache

#: Parameters of glibc's mallopt (malloc.h), and the values that keep all but the largest blocks: the first is the
#: largest that glibc takes.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2
LARGEST_BLOCK, KEPT_FREE, FETCHED = 2**25, 2**30, 2**24


@cache
def keep_memory() -> bool:
    """Let malloc keep freed memory, for the rest of the process; False where it is not glibc's.

    Page faults of results above 128 KiB were 5 to 10 % of noise on the machine that this was written on; a program that
    calls a kernel over and over is spared them by glibc's own adaptation, or by its framework's cache.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_BLOCK), (M_TRIM_THRESHOLD, KEPT_FREE), (M_TOP_PAD, FETCHED))
    return all(library.mallopt(name, value) for name, value in settings)
