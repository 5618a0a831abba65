"""`lastbit golden speed NAME`: is a kernel as fast, beside its yardstick, as when its baseline was adopted?"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.compare_command import add_budget, add_terms, count, terms
from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.golden.perf_drift import Standing
    from lastbit.perf.speed import Speed

#: Folder of a run, unless --report names one.
FOLDER = "lastbit-report"


def add(commands: Any) -> None:
    """Add the command to those of `lastbit golden`."""
    speed = commands.add_parser("speed", help="measure speed beside a yardstick, and compare with this device's own")
    speed.add_argument("name", metavar="NAME", nargs="+", help="kernels by name or glob: mine/*")
    speed.add_argument("--kernels", metavar="FILE_OR_MODULE", action="append", default=[], help="where kernels are")
    speed.add_argument(
        "--case", metavar="CASE", action="append", default=[], help="'CHECK CASE [FORMATS]' in place of the op's own"
    )
    speed.add_argument("--processes", type=count, default=3, metavar="N", help="fresh processes a case, from 3 on (3)")
    add_terms(speed)
    add_budget(speed)
    speed.add_argument("--golden", metavar="DIR", default="golden", help="folder of golden baselines (golden)")
    speed.add_argument("--report", metavar="DIR", default=FOLDER, help=f"folder of speed.jsonl ({FOLDER})")
    speed.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where no kernel is slower than its baseline, 1 where one is, or wrong, 3 where one is unknown.

    A kernel without baseline is new, and no failure. Raises UsageError where a name or a case is none.
    """
    from lastbit.perf import threads

    threads.announce(parsed.threads)  # before a framework is imported
    from lastbit.discovery import find
    from lastbit.environment import environment
    from lastbit.golden import perf_run, perf_store
    from lastbit.golden.perf_drift import stand
    from lastbit.perf.lock import held
    from lastbit.perf.speeds import speeds
    from lastbit.perf.yardstick import PROVIDERS

    kernels, known = find(parsed.kernels, parsed.name).kernels, find((), PROVIDERS).kernels
    measured = []
    with held(parsed.device):
        for one in speeds(kernels, known, terms(parsed), cases=parsed.case, processes=parsed.processes):
            measured.append(one)
            if sys.stderr.isatty():
                print(f"\r\033[K{one.outcome} {one.kernel} {one.case}"[:100], end="", file=sys.stderr, flush=True)
    if not measured:
        raise UsageError(f"no kernel called {' '.join(parsed.name)} has a case on {parsed.device}")
    made = perf_run.made(environment((parsed.device,)), measured)
    here = made.header.environment
    goldens = perf_store.find(here.devices[parsed.device], Path(parsed.golden))
    stands = [stand(one, goldens, perf_run.software(here, one)) for one in measured]
    print(text(list(zip(measured, stands, strict=True))))
    print(f"records: {perf_run.write(Path(parsed.report), made)}")
    return status(stands)


def text(found: "list[tuple[Speed, Standing]]") -> str:
    """A table for a person, and why, of whatever is not kept."""
    from tabulate import tabulate

    head = ("kernel", "case", "formats", "yardstick", "ratio", "spread", "clean", "golden")
    rows = [
        (
            one.kernel, f"{one.check} {one.case}", one.formats, one.yard or "none",
            f"{one.ratio:.4g}" if one.ratio else "", f"{one.sd:.1%}" if len(one.ratios) > 1 else "",
            f"{one.clean_share:.0%}" if one.processes else "", stand.state.value,
        )
        for one, stand in found
    ]  # fmt: skip
    lines = [tabulate(rows, head, tablefmt="simple", disable_numparse=True), ""]
    lines += [
        f"{stand.state.value} {one.key}: {stand.outcome.value}: {stand.reason}"
        for one, stand in found
        if stand.state.value not in ("kept", "new")
    ]
    return "\n".join(lines).rstrip()


def status(stands: "list[Standing]") -> int:
    """1 where a kernel is slow or wrong, else 3 where one is unknown, else 0."""
    if any(one.outcome.failed for one in stands):
        return 1
    return 3 if any(one.state.value == "unknown" for one in stands) else 0


def keeper(run: str) -> Any:
    """The module that adopts what the run has: golden.perf_adopt for speeds, golden.adopt for numbers.

    Raises UsageError where a folder has both: name the file.
    """
    from lastbit.golden import adopt, perf_adopt, perf_run

    folder = Path(run)
    if not perf_run.is_there(folder):
        return adopt
    if folder.is_dir() and (folder / "run.jsonl").exists():
        raise UsageError(f"{run} has numbers and speeds; give {folder / 'run.jsonl'} or {folder / perf_run.NAME}")
    return perf_adopt
