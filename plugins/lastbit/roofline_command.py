"""`lastbit roofline NAME`: how far a kernel is from what this device can do, and what other formats would buy."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.compare_command import count, seed
from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.perf.limits import Limits
    from lastbit.perf.reach import Reach


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    roofline = commands.add_parser("roofline", help="how far a kernel is from what the device can do")
    roofline.add_argument("name", metavar="NAME", nargs="+", help="kernels by name or glob: mine/*")
    roofline.add_argument("--kernels", metavar="FILE_OR_MODULE", action="append", default=[], help="where kernels are")
    roofline.add_argument(
        "--case", metavar="CASE", action="append", default=[], help="'CHECK CASE [FORMATS]' in place of the op's own"
    )
    roofline.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (cpu)")
    roofline.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of data (0)")
    roofline.add_argument("--threads", type=count, default=1, metavar="N", help="threads of a CPU kernel (1)")
    memory = roofline.add_mutually_exclusive_group()
    memory.add_argument("--cold", action="store_true", help="operands from memory (default on a GPU)")
    memory.add_argument("--warm", action="store_true", help="operands from a cache (default on a CPU)")
    roofline.add_argument("--json", metavar="FILE", help="write limits and every row to FILE, or standard output for -")
    roofline.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where every kernel has a speed, 1 where one is not right, 3 where the machine was too busy.

    Raises UsageError where a name or a case is none.
    """
    from lastbit.perf import threads

    threads.announce(parsed.threads)  # before a framework is imported
    from lastbit.discovery import find
    from lastbit.perf.compare import Terms
    from lastbit.perf.limits import limits
    from lastbit.perf.lock import held
    from lastbit.perf.reach import reach

    cold = True if parsed.cold else False if parsed.warm else None
    terms = Terms(parsed.device, parsed.seed, parsed.threads, cold)
    kernels = find(parsed.kernels, parsed.name).kernels
    to = sys.stderr if parsed.json == "-" else sys.stdout
    found = []
    with held(parsed.device):
        known = limits(parsed.device, parsed.threads)
        print(limits_text(known), file=to)
        for one in reach(kernels, known, terms, parsed.case):
            found.append(one)
            print(text(one), file=to, flush=True)
    if not found:
        raise UsageError(f"no kernel called {' '.join(parsed.name)} has a case on {parsed.device}")
    if parsed.json:
        _write(parsed.json, known, found)
    return status(found)


def limits_text(found: "Limits") -> str:
    """The limits in a few lines."""
    copy = ", ".join(f"{_bytes(size)} {one.per_s / 1e9:.3g}" for size, one in found.copy.items())
    gemm = ", ".join(f"{fmt} {one.per_s / 1e9:.4g}" for fmt, one in found.gemm.items())
    lines = [
        f"{found.machine}, threads: {found.threads}, {found.software}, measured {found.date}",
        f"copy, GB/s in: {copy}",
        f"products, Gflop/s: {gemm}",
    ]
    if found.busy:
        lines.append(f"the machine was busy, so these are guesses: {', '.join(found.busy)}")
    return "\n".join(lines)


def text(one: "Reach") -> str:
    """One kernel on one case, for a person."""
    from lastbit.perf import roofline

    lines = ["", f"{one.kernel} {one.check} {one.case}"]
    if one.rows:
        lines.append(roofline.text(one.rows))
        unsure = dict.fromkeys(name for row in one.rows for name in row.roofline.unsure)
        lines += [f"? {', '.join(unsure)}"] if unsure else []
    lines += [f"no speed of {formats}: {outcome.value}: {reason}" for formats, outcome, reason in one.without]
    return "\n".join(lines)


def status(found: "list[Reach]") -> int:
    """1 where a kernel is not right, else 3 where formats have no speed, else 0."""
    outcomes = [outcome for one in found for _, outcome, _ in one.without]
    if any(outcome.failed for outcome in outcomes):
        return 1
    return 3 if outcomes else 0


def _bytes(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


def _write(target: str, known: "Limits", found: "list[Reach]") -> None:
    content = json.dumps({"limits": asdict(known), "cases": [asdict(one) for one in found]}, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(content)
    else:
        Path(target).write_text(content, encoding="utf-8")
