"""The process whose instructions are counted: it finds a kernel, calls it to warm up, and once where it is counted."""

import pickle
from pathlib import Path

from lastbit.case import Trial
from lastbit.perf.evidence import Evidence
from lastbit.perf.instructions import Job
from lastbit.perf.ring import Ring
from lastbit.perf.sides import reached
from lastbit.perf.threads import limited
from lastbit.perf.workload import CpuClock, Turn, Workload
from lastbit.session import blank

#: Calls before the counted one: imports, caches of shapes, the first blocks of memory.
WARM = 3


def serve(path: str) -> None:
    """Make the call that the file `path` (a pickled Job of the parent) asks for."""
    from lastbit.suites.law import checks

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
        counted(work.turn(1))


def counted(turn: Turn) -> None:
    """Run the calls of `turn` once, inside of the interpreter's C function TOGGLE, which `dir` enters.

    No function that ctypes calls would do: libffi moves the stack, and callgrind does not see that it is entered.
    Raises what the kernel raises.
    """

    class Called:
        def __dir__(self) -> list[str]:
            turn.run()
            return []

    dir(Called())
