"""Instructions of a call, counted by valgrind: a check of CPU kernels that no load disturbs, blind to caches."""

import contextlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lastbit.case import Case
from lastbit.contract import Contract
from lastbit.errors import LastbitError, UsageError
from lastbit.kernel import formats_text
from lastbit.perf import trees
from lastbit.perf.decide import percent
from lastbit.perf.evidence import Call, evidence
from lastbit.perf.sides import Side
from lastbit.perf.threads import VARIABLES, limited
from lastbit.verdict import Outcome
from lastbit.worker import Way

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms
    from lastbit.session import Choice

#: The interpreter's C function that the counted calls are made from, and that hardly anything else calls: counting is
#: switched on and off where it is entered and left.
TOGGLE = "PyObject_Dir"
#: Processes of each side. Addresses differ between them, and with them the work of hash tables and allocators.
RUNS = 2
#: More instructions than this are more: half a percent, or ten times the measured spread of one side, relative.
LEAST_MARGIN = 0.005
SPREADS = 10.0
#: Seconds of one process, which runs some fifty times slower.
LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a counting process is told, by a file."""

    package: tuple[str, ...]
    label: str
    ways: tuple[Way, ...]
    formats: dict[str, str]
    contract: Contract
    device: str
    check: str
    case: Case
    call: Call


@dataclass(frozen=True, slots=True)
class Counted:
    """Instructions of one call of two kernels on one case; 0 where nothing was counted."""

    kernel: str
    formats: str
    check: str
    case: str
    base: str
    head: str
    outcome: Outcome = Outcome.NOT_TESTED
    reason: str = ""
    base_count: int = 0
    head_count: int = 0
    #: Largest relative difference of two processes of one side, and how much more than base is allowed.
    spread: float = 0.0
    margin: float = 0.0


def valgrind() -> str:
    """Its program; raises UsageError, saying what to do, where it is not installed."""
    found = shutil.which("valgrind")
    if not found:
        raise UsageError(
            "--instructions needs valgrind, which is not on PATH: install it (apt-get install valgrind, dnf install "
            "valgrind), or leave --instructions out"
        )
    return found


def count(base: Side, head: Side, cases: Iterable[str], terms: "Terms") -> Iterator[Counted]:
    """Both kernels on each case in each of head's formats, one by one; both are judged first.

    Raises UsageError where valgrind is missing, the device is no CPU, or a case is none of the op's.
    """
    from lastbit.perf.compare import choices, usual_cases

    program = valgrind()
    if terms.device != "cpu":
        raise UsageError(f"--instructions counts those of a CPU; {terms.device} has none that valgrind sees")
    if base.kernel.op != head.kernel.op:
        raise UsageError(
            f"{base.kernel.name} is {base.kernel.op} and {head.kernel.name} {head.kernel.op}: compare one op"
        )
    asked = tuple(cases) or usual_cases(head.kernel.op)
    before = {_key(choice): choice for choice in choices(base.kernel, asked, terms)}
    for choice in choices(head.kernel, asked, terms):
        check, trial = choice
        start = Counted(
            head.kernel.name, formats_text(trial.formats), check.name, trial.case.id, base.label, head.label
        )
        partner = before.get(_key(choice))
        if partner is None:
            yield replace(start, reason=f"{base.label} has no such formats or case: nothing to compare with")
        else:
            yield _counted(start, (base, partner), (head, choice), terms, program)


def decide(base: list[int], head: list[int]) -> tuple[Outcome, str, float, float]:
    """PASS or SLOW, why, spread and margin; of the counts of each side's processes, the smallest is the kernel's."""
    spread = max((max(counts) - min(counts)) / min(counts) for counts in (base, head))
    margin = max(LEAST_MARGIN, SPREADS * spread)
    ratio = min(head) / min(base)
    text = f"{percent(ratio)} instructions ({min(base)} to {min(head)} a call, allowed {margin:+.2%})"
    return (Outcome.SLOW if ratio > 1 + margin else Outcome.PASS), text, spread, margin


def exit_status(counted: Iterable[Counted]) -> int:
    """1 where a head takes more or is wrong, else 3 where nothing is known of a case, or of any, else 0."""
    outcomes = [one.outcome for one in counted]
    if any(outcome.failed for outcome in outcomes):
        return 1
    compared = [outcome for outcome in outcomes if outcome is not Outcome.NOT_TESTED]
    return 0 if compared and all(outcome is Outcome.PASS for outcome in compared) else 3


def _counted(
    start: Counted, base: "tuple[Side, Choice]", head: "tuple[Side, Choice]", terms: "Terms", program: str
) -> Counted:
    counts: dict[str, list[int]] = {}
    for who, (one, (check, trial)) in (("head", head), ("base", base)):
        one.enter()
        try:
            with limited(terms.threads):
                found = evidence(check, trial, sets=1)
        finally:
            trees.leave()
        if not found.passed:
            outcome = found.record.outcome
            text = f"{who} is not right ({outcome.value}): {found.record.reason.partition(chr(10))[0]}"
            return replace(
                start, outcome=outcome if who == "head" and outcome.failed else Outcome.INCONCLUSIVE, reason=text
            )
        import lastbit

        job = Job(
            tuple(lastbit.__path__), one.label, one.ways, dict(trial.formats), trial.contract, trial.device,
            check.name, trial.case, found.calls[0],
        )  # fmt: skip
        try:
            counts[who] = [_run(job, program, who) for _ in range(RUNS)]
        except LastbitError as error:
            return replace(start, outcome=Outcome.INCONCLUSIVE, reason=f"{who}: {error}")
    outcome, reason, spread, margin = decide(counts["base"], counts["head"])
    return replace(
        start, outcome=outcome, reason=reason, base_count=min(counts["base"]), head_count=min(counts["head"]),
        spread=spread, margin=margin,
    )  # fmt: skip


def _run(job: Job, program: str, who: str) -> int:
    """Instructions of one call, counted in a process of its own: this interpreter, not the one on PATH."""
    if not job.ways:
        raise LastbitError(f"{job.label} cannot be found by another process: define it at the top level of a file")
    with tempfile.TemporaryDirectory(prefix="lastbit-") as name:
        folder = Path(name)
        told, out = folder / f"{who}.job", folder / "callgrind.out"
        told.write_bytes(pickle.dumps(job))
        words = [
            program, "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={TOGGLE}",
            f"--callgrind-out-file={out}", sys.executable, "-c", _PROGRAM, str(told), *job.package,
        ]  # fmt: skip
        # A fixed seed of str.__hash__, one thread, and Python's memory from malloc, alike in every process.
        environment = {**os.environ, "PYTHONHASHSEED": "0", **dict.fromkeys(VARIABLES, "1")}
        try:
            made = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise LastbitError(f"its process did not end in {LIMIT_S:.0f} s under valgrind") from error
        text = ""
        with contextlib.suppress(OSError):
            text = out.read_text(errors="replace")
    found = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    if made.returncode or not found or not int(found[1]):
        last = (made.stderr.strip().splitlines() or ["no message"])[-1]
        raise LastbitError(f"nothing was counted (status {made.returncode}): {last}")
    return int(found[1])


#: What the process runs: the package is this one's, wherever it was imported from.
_PROGRAM = (
    "import sys; job, *path = sys.argv[1:]; import importlib.machinery, importlib.util; "
    "spec = importlib.machinery.PathFinder.find_spec('lastbit', [path[0] + '/..']); "
    "module = importlib.util.module_from_spec(spec); sys.modules['lastbit'] = module; "
    "spec.loader.exec_module(module); module.__path__[:] = path; "
    "from lastbit.perf.instructions_worker import serve; serve(job)"
)


def _key(choice: "Choice") -> tuple[str, str, str]:
    check, trial = choice
    return check.name, trial.case.id, formats_text(trial.formats)
