"""`lastbit kernels`: every kernel that is known, ready or why not."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.options import add_arguments

if TYPE_CHECKING:
    from lastbit.inventory import Known

HEADER = ("kernel", "state", "op", "formats", "devices", "from tier", "contract")


def add(commands: Any) -> None:
    """Add the command to `lastbit`'s."""
    parser = commands.add_parser("kernels", help="list the kernels that are known, ready or why not")
    parser.add_argument("--json", metavar="FILE", help="write them to FILE, or to standard output for -, instead")
    add_arguments(parser, "kernels", "only", "op")
    parser.set_defaults(command=_kernels)


def _kernels(parsed: argparse.Namespace) -> int:
    from lastbit.choices import options
    from lastbit.discovery import find
    from lastbit.inventory import inventory

    chosen = options({"kernels": parsed.kernels, "only": parsed.only, "op": parsed.op}, Path.cwd())
    found = find(list(chosen.kernels), list(chosen.only))
    known = inventory(found, chosen.only, chosen.op)
    if parsed.json:
        _write(parsed.json, known)
    else:
        _show(known)
    # Exit status 2 is that of a run with nothing to judge.
    return 0 if any(entry.kernel for entry in known) else 2


def _write(target: str, known: Iterable["Known"]) -> None:
    from lastbit.inventory import row

    text = json.dumps({"kernels": [row(entry) for entry in known]}, indent=1) + "\n"
    if target == "-":
        print(text, end="")
    else:
        Path(target).write_text(text, encoding="utf-8")


def _show(known: Iterable["Known"]) -> None:
    from tabulate import tabulate

    known = tuple(known)
    print(tabulate([line for entry in known for line in _lines(entry)], HEADER, tablefmt="simple"))
    reasons: dict[str, list[str]] = {}
    for entry in known:
        if entry.why:
            reasons.setdefault(f"{entry.state} ({entry.why})", []).append(entry.name)
    for why, names in reasons.items():
        print(f"{why}: {', '.join(names)}")
    counts = Counter(entry.state for entry in known)
    print(f"{len(known)} kernels known: {', '.join(f'{count} {state}' for state, count in counts.items())}")


def _lines(entry: "Known") -> Iterable[tuple[str, ...]]:
    """One for each mapping of formats; one of name, state and op where the library does not offer it here."""
    from lastbit.kernel import formats_text

    kernel = entry.kernel
    if kernel is None:
        yield entry.name, entry.state, entry.op, "", "", "", ""
        return
    rest = " ".join(kernel.devices), kernel.tier, kernel.contract.text()
    for formats in kernel.format_sets:
        yield entry.name, entry.state, entry.op, formats_text(formats), *rest
