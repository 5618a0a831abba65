"""The process whose instructions are counted: it finds a kernel, calls it to warm up, and once from `lfind`."""

import ctypes
import pickle
from pathlib import Path

from lastbit.case import Trial
from lastbit.perf.evidence import Evidence
from lastbit.perf.instructions import TOGGLE, Job
from lastbit.perf.ring import Ring
from lastbit.perf.sides import reached
from lastbit.perf.threads import limited
from lastbit.perf.workload import CpuClock, Turn, Workload
from lastbit.session import blank
from lastbit.suites.law import checks

#: Calls before the counted one: imports, caches of shapes, the first blocks of memory.
WARM = 3


def serve(path: str) -> None:
    """Make the call that the file `path` (a pickled Job of the parent) asks for."""
    job: Job = pickle.loads(Path(path).read_bytes())
    one = reached(job.ways, job.label)
    trial = Trial(one.kernel, job.formats, job.contract, job.device, job.case)
    check = next(check for check in checks(one.kernel.op) if check.name == job.check)
    found = Evidence(check, (trial,), (job.call,), blank(check.name, trial))
    work = Workload(found, Ring(trial, (job.call,), 1), CpuClock())
    one.enter()
    with limited(1):
        for _ in range(WARM):
            work.turn(1).run()
        called_from_c(work.turn(1))


def called_from_c(turn: Turn) -> None:
    """Run the calls of `turn` inside of the C library's linear search, as its comparison: once, for it has one element.

    Raises what the kernel raises.
    """
    raised: list[BaseException] = []

    def compare(key: int, element: int) -> int:
        try:
            turn.run()
        except BaseException as error:  # an exception does not pass through C
            raised.append(error)
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare)
    search = getattr(ctypes.CDLL(None), TOGGLE)
    element, many = ctypes.c_int(0), ctypes.c_size_t(1)
    search(ctypes.byref(element), ctypes.byref(element), ctypes.byref(many), ctypes.c_size_t(4), callback)
    if raised:
        raise raised[0]
