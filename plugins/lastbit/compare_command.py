"""`lastbit compare A B` of two runs; `lastbit compare --perf BASE HEAD`: is head as fast as base, here and now?"""

import argparse
import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit import compare_runs_command
from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms
    from lastbit.perf.comparison import Comparison
    from lastbit.perf.sides import Match


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    compare = commands.add_parser(
        "compare", help="what broke, was fixed, drifted or vanished between two runs; with --perf, speed here and now"
    )
    side = "with --perf a kernel's name, a file, a module; or ./FOLDER or a git commit, with --kernels"
    compare.add_argument("base", metavar="A", help=f"folder of a run, or its run.jsonl; {side}")
    compare.add_argument("head", metavar="B", help="the same for what is compared with A")
    compare.add_argument("--strict", action="store_true", help="a check that vanished or is no longer judged fails")
    compare.add_argument("--json", metavar="FILE", help="write every comparison to FILE, or to standard output for -")
    speed = compare.add_argument_group("speed")
    speed.add_argument("--perf", action="store_true", help="measure and compare speed; the options below are of it")
    speed.add_argument(
        "--kernels", metavar="FILE_OR_MODULE", action="append", default=[], help="where a folder or commit has kernels"
    )
    speed.add_argument("--kernel", metavar="GLOB", default="", help="only kernels of these names")
    speed.add_argument(
        "--case", metavar="CASE", action="append", default=[], help="'CHECK CASE [FORMATS]' in place of the op's own"
    )
    add_terms(speed)
    add_budget(speed)
    speed.add_argument(
        "--instructions", action="store_true", help="count instructions of a CPU with valgrind, in place of time"
    )
    speed.add_argument(
        "--processes", action="store_true", help="a process for each side, as libraries need that were compiled"
    )
    compare.set_defaults(command=run)


def add_terms(parser: argparse._ActionsContainer) -> None:
    """Add what every command takes that times kernels."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (cpu)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of data and order (0)")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="threads of a CPU kernel (1)")
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument("--cold", action="store_true", help="operands from memory (default on a GPU)")
    memory.add_argument("--warm", action="store_true", help="operands from a cache (default on a CPU)")


def add_budget(parser: argparse._ActionsContainer) -> None:
    """Add how long a comparison may take."""
    parser.add_argument(
        "--budget", type=seconds, default=4.0, metavar="SECONDS", help="longest time of a comparison in one process (4)"
    )


def terms(parsed: argparse.Namespace) -> "Terms":
    """What `add_terms` and `add_budget` have been given."""
    from lastbit.perf.compare import Terms
    from lastbit.perf.pairs import Stop

    cold = True if parsed.cold else False if parsed.warm else None
    stop = Stop(budget_s=parsed.budget) if "budget" in parsed else Stop()
    return Terms(parsed.device, parsed.seed, parsed.threads, cold, stop=stop)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; of runs, see `compare_runs_command.run`.

    Of speed: 0 where head is as fast, 1 where it is slower or wrong, 3 where nothing can be said.
    Raises UsageError where a side or a case is none.
    """
    if not parsed.perf:
        return compare_runs_command.run(parsed)
    if parsed.strict:
        raise UsageError("compare: --strict is of runs, leave it out with --perf")
    if parsed.instructions:
        return _instructions(parsed)
    from lastbit.perf import threads

    threads.announce(parsed.threads)  # before a framework is imported
    from lastbit.perf.comparison import exit_status
    from lastbit.perf.sides import match, named
    from lastbit.reports import speed

    with contextlib.ExitStack() as stack:
        sides = [
            stack.enter_context(named(text, parsed.kernels, apart=parsed.processes))
            for text in (parsed.base, parsed.head)
        ]
        found = match(sides[0], sides[1], parsed.kernel)
        comparisons = _compared(parsed, found)
    to = sys.stderr if parsed.json == "-" else sys.stdout
    print(speed.text(comparisons), file=to)
    for names, what in ((found.gone, "only in base"), (found.new, "only in head")):
        if names:
            print(f"{what}, so not compared: {', '.join(names)}", file=to)
    if parsed.json:
        rows = [{**asdict(one), "clean_share": round(one.clean_share, 4)} for one in comparisons]
        write(parsed.json, {"status": exit_status(comparisons), "comparisons": rows})
    return exit_status(comparisons)


def _instructions(parsed: argparse.Namespace) -> int:
    from lastbit.perf import callgrind, instructions, threads

    callgrind.valgrind()  # before anything is imported
    threads.announce(1)
    from lastbit.perf.sides import match, named
    from lastbit.reports import speed

    with contextlib.ExitStack() as stack:
        sides = [
            stack.enter_context(named(text, parsed.kernels, apart=parsed.processes))
            for text in (parsed.base, parsed.head)
        ]
        found = match(sides[0], sides[1], parsed.kernel)
        counted = instructions.count(found.pairs, parsed.case, terms(parsed))
    print(speed.instructions_text(counted), file=sys.stderr if parsed.json == "-" else sys.stdout)
    if parsed.json:
        rows = [asdict(one) for one in counted]
        write(parsed.json, {"status": instructions.exit_status(counted), "comparisons": rows})
    return instructions.exit_status(counted)


def _compared(parsed: argparse.Namespace, found: "Match") -> "list[Comparison]":
    from lastbit.perf.compare import walk
    from lastbit.perf.lock import held

    comparisons = []
    with held(parsed.device):
        for base, head in found.pairs:
            for one in walk(base, head, parsed.case, terms(parsed)):
                comparisons.append(one)
                _progress(one)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return comparisons


def _progress(one: "Comparison") -> None:
    """One line that is written over, for people; nothing where standard error is a file."""
    if sys.stderr.isatty():
        text = f"{one.outcome} {one.kernel} {one.case} {one.formats}"
        print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)


def write(target: str, content: dict[str, Any]) -> None:
    """Write JSON to a file, or to standard output for "-"."""
    text = json.dumps(content, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")


def count(text: str) -> int:
    """A command-line number from 1 on."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def seed(text: str) -> int:
    """A command-line seed."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to 2147483647")
    return int(text)


def seconds(text: str) -> float:
    """A command-line time limit."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value
