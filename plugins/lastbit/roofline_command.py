"""`lastbit roofline NAME`: how far a kernel is from what this device can do, and what other formats would buy."""

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lastbit.compare_command import add_terms, terms, write
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
    add_terms(roofline)
    roofline.add_argument("--json", metavar="FILE", help="write limits and every row to FILE, or standard output for -")
    roofline.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where every kernel has a speed, 1 where one is not right, 3 where the machine was too busy.

    Raises UsageError where a name or a case is none.
    """
    from lastbit.perf import threads

    threads.announce(parsed.threads)  # before a framework is imported
    from lastbit.discovery import find
    from lastbit.perf.limits import limits
    from lastbit.perf.lock import held
    from lastbit.perf.reach import reach

    kernels = find(parsed.kernels, parsed.name).kernels
    to = sys.stderr if parsed.json == "-" else sys.stdout
    found = []
    with held(parsed.device):
        known = limits(parsed.device, parsed.threads)
        print(limits_text(known), file=to)
        for one in reach(kernels, known, terms(parsed), parsed.case):
            found.append(one)
            print(text(one), file=to, flush=True)
    if not found:
        raise UsageError(f"no kernel called {' '.join(parsed.name)} has a case on {parsed.device}")
    if parsed.json:
        write(parsed.json, {"limits": asdict(known), "cases": [asdict(one) for one in found]})
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
        lines.append(found.guesses)
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
