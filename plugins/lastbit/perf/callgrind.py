"""Instructions of single calls, counted by valgrind's callgrind in a process of its own, for many calls at once."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lastbit.case import Case
from lastbit.contract import Contract
from lastbit.errors import LastbitError, UsageError
from lastbit.perf.evidence import Call
from lastbit.perf.threads import VARIABLES
from lastbit.worker import Way

#: The interpreter's C function that the counted calls are made from: counting begins where it is entered, and ends
#: where it is left. A kernel that calls `dir` is not counted meanwhile.
TOGGLE = "PyObject_Dir"
#: Seconds of one process. A counted call takes some fifty times as long as without valgrind, everything else ten times.
LIMIT_S = 900.0
#: Names in the process's folder: what it is told, what it says, and the counts, numbered by callgrind.
TOLD, SAID, COUNTS = "told", "said.json", "callgrind.out"


@dataclass(frozen=True, slots=True)
class Job:
    """One call to count."""

    label: str
    ways: tuple[Way, ...]
    formats: dict[str, str]
    contract: Contract
    device: str
    check: str
    case: Case
    call: Call


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of one call; 0 where it was not counted, and why."""

    instructions: int
    why: str = ""


def valgrind() -> str:
    """Its program; raises UsageError, saying what to do, where it, or vgdb that comes with it, is not installed."""
    for name in ("valgrind", "vgdb"):
        if not shutil.which(name):
            raise UsageError(
                f"--instructions needs {name}, which is not on PATH: install it (apt-get install valgrind, dnf install "
                "valgrind), or leave --instructions out"
            )
    return str(shutil.which("valgrind"))


def counts(jobs: Sequence[Job], program: str) -> tuple[Count, ...]:
    """One call of each job, counted in one process of its own: this interpreter, not the one on PATH.

    Nothing is instrumented but the counted calls themselves (perf.callgrind_worker). Raises LastbitError where the
    process dies, or does not end in LIMIT_S.
    """
    import lastbit

    with tempfile.TemporaryDirectory(prefix="lastbit-") as name:
        folder = Path(name)
        (folder / TOLD).write_bytes(pickle.dumps(tuple(jobs)))
        words = [
            program, "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", f"--toggle-collect={TOGGLE}",
            f"--vgdb-prefix={folder / 'vgdb'}", f"--callgrind-out-file={folder / COUNTS}",
            sys.executable, "-c", _PROGRAM, str(folder), *lastbit.__path__,
        ]  # fmt: skip
        # A fixed seed of str.__hash__ and one thread, alike in every process.
        environment = {**os.environ, "PYTHONHASHSEED": "0", **dict.fromkeys(VARIABLES, "1")}
        try:
            made = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise LastbitError(f"its process did not end in {LIMIT_S:.0f} s under valgrind") from error
        if made.returncode or not (folder / SAID).exists():
            last = (made.stderr.strip().splitlines() or ["no message"])[-1]
            raise LastbitError(f"nothing was counted (status {made.returncode}): {last}")
        return _read(folder)


def _read(folder: Path) -> tuple[Count, ...]:
    """The count of each job: callgrind numbers its files, and a job that failed has none."""
    found, number = [], 0
    for why in json.loads((folder / SAID).read_text()):
        number += not why
        found.append(Count(0, why) if why else _count(folder / f"{COUNTS}.{number}"))
    return tuple(found)


def _count(path: Path) -> Count:
    text = path.read_text(errors="replace") if path.exists() else ""
    found = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    return Count(int(found[1])) if found and int(found[1]) else Count(0, f"callgrind counted nothing ({path.name})")


#: What the process runs: the package is this one's, wherever it was imported from.
_PROGRAM = (
    "import sys; folder, *path = sys.argv[1:]; import importlib.machinery, importlib.util; "
    "spec = importlib.machinery.PathFinder.find_spec('lastbit', [path[0] + '/..']); "
    "module = importlib.util.module_from_spec(spec); sys.modules['lastbit'] = module; "
    "spec.loader.exec_module(module); module.__path__[:] = path; "
    "from lastbit.perf.callgrind_worker import serve; serve(folder)"
)
