"""The process whose instructions are counted: it finds each kernel, warms it up, and calls it once where it counts."""

import json
import os
import pickle
import subprocess
import time
from pathlib import Path

from lastbit.case import Trial
from lastbit.errors import LastbitError
from lastbit.perf import trees
from lastbit.perf.callgrind import SAID, TOLD, Job
from lastbit.perf.evidence import Evidence
from lastbit.perf.ring import Ring
from lastbit.perf.sides import reached
from lastbit.perf.threads import limited
from lastbit.perf.workload import CpuClock, Turn, Workload
from lastbit.session import blank

#: Calls before the counted one: imports, caches of shapes, the first blocks of memory.
WARM = 3
#: Seconds between two looks at vgdb: valgrind hears it only while this process runs.
PAUSE_S = 0.001


def serve(folder: str) -> None:
    """Make the calls that the jobs of the parent ask for, and say of each why it was not counted, or ""."""
    jobs: tuple[Job, ...] = pickle.loads((Path(folder) / TOLD).read_bytes())
    said = []
    for job in jobs:
        try:
            _serve(job, Path(folder))
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
        else:
            said.append("")
    (Path(folder) / SAID).write_text(json.dumps(said))


def _serve(job: Job, folder: Path) -> None:
    from lastbit.suites.law import checks

    one = reached(job.ways, job.label)
    trial = Trial(one.kernel, job.formats, job.contract, job.device, job.case)
    check = next(check for check in checks(one.kernel.op) if check.name == job.check)
    found = Evidence(check, (trial,), (job.call,), blank(check.name, trial))
    work = Workload(found, Ring(trial, (job.call,), 1), CpuClock())
    one.enter()
    try:
        with limited(1):
            for _ in range(WARM):
                work.turn(1).run()
            turn = work.turn(1)
            ask(folder, "instrumentation", "on")
            ask(folder, "zero")  # what the next count is taken from: switching off left it where it was
            try:
                counted(turn)
                ask(folder, "dump")
            finally:
                ask(folder, "instrumentation", "off")  # which forgets what was counted
    finally:
        trees.leave()


def ask(folder: Path, *words: str) -> None:
    """Give callgrind an order; raises LastbitError where vgdb cannot."""
    # Without ptrace, which containers forbid: valgrind looks for orders itself, every few thousand blocks.
    order = ["vgdb", f"--vgdb-prefix={folder / 'vgdb'}", f"--pid={os.getpid()}", "--max-invoke-ms=0", *words]
    asked = subprocess.Popen(order, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while asked.poll() is None:
        time.sleep(PAUSE_S)
    said = asked.communicate()[1]
    if asked.returncode:
        raise LastbitError(f"vgdb could not say {' '.join(words)}: {said.strip() or asked.returncode}")


def counted(turn: Turn) -> None:
    """Run the calls of `turn` once, inside of the interpreter's C function callgrind.TOGGLE, which `dir` enters.

    No function that ctypes calls would do: libffi moves the stack, and callgrind does not see that it is entered.
    Raises what the kernel raises.
    """

    class Called:
        def __dir__(self) -> list[str]:
            turn.run()
            return []

    dir(Called())
