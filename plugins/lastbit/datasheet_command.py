"""`lastbit datasheet`: what this hardware and these libraries really do, by probes; and what differs between two."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.kernel import Kernel

#: Word in place of options that asks for the comparison of two stored datasheets.
COMPARE = "compare"


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    sheet = commands.add_parser("datasheet", help="what hardware and libraries really do, found by probes")
    sheet.add_argument(
        "compare", nargs="*", metavar="compare A B", help="say what differs between two files of --json, in words"
    )
    sheet.add_argument("--kernel", metavar="GLOB", action="append", default=[], help="kernels of these names: torch/mm")
    sheet.add_argument("--kernels", metavar="FILE_OR_MODULE", action="append", default=[], help="where kernels are")
    sheet.add_argument("--format", metavar="FORMAT", action="append", default=[], help="only results of these: bf16")
    sheet.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (cpu)")
    sheet.add_argument("--evidence", action="store_true", help="print what each probe asked and what came back")
    sheet.add_argument("--json", metavar="FILE", help="write the datasheet to FILE, or to standard output for -")
    sheet.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where every kernel has a datasheet, or two are equal; 1 where one has none, or they differ.

    Raises UsageError where no kernel with probes has the name, or a file is no datasheet.
    """
    if parsed.compare:
        return _compare(parsed.compare)
    from lastbit.reports import datasheet as reports

    to = sys.stderr if parsed.json == "-" else sys.stdout
    sheets: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for sheet in _sheets(parsed):
        (failed if "error" in sheet else sheets).append(sheet)
        print(reports.text(sheet, evidence=parsed.evidence), file=to, flush=True)
    if not sheets and not failed:
        raise UsageError(
            f"no kernel with a datasheet is called {' '.join(parsed.kernel) or 'anything'} on {parsed.device}"
        )
    if parsed.json:
        _write(parsed.json, {"form": 1, "environment": _environment(parsed.device), "sheets": sheets})
    return 1 if failed else 0


def _sheets(parsed: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The datasheet of every kernel that is asked for, in each of its formats."""
    from lastbit.discovery import find
    from lastbit.suites.probes.access import AccessError
    from lastbit.suites.probes.record import SHEETS, sheet_json

    for kernel in find(parsed.kernels, parsed.kernel).kernels:
        for formats in _formats(kernel, parsed) if kernel.op in SHEETS else ():
            try:
                yield sheet_json(kernel, formats, parsed.device)
            except AccessError as error:
                yield {"kernel": kernel.name, "formats": dict(formats), "error": str(error)}


def _formats(kernel: "Kernel", parsed: argparse.Namespace) -> list[dict[str, str]]:
    """The formats of a kernel that are asked for; none where it does not run on the device."""
    if parsed.device.partition(":")[0] not in kernel.devices:
        return []
    if not parsed.kernel and (kernel.op != "gemm" or kernel.name.startswith("simulated/")):
        return []
    return [formats for formats in kernel.format_sets if not parsed.format or formats["out"] in parsed.format]


def _compare(words: list[str]) -> int:
    if words[0] != COMPARE or len(words) != 3:
        raise UsageError(f"datasheet {' '.join(words)}: expected options, or: datasheet compare A B")
    from lastbit.reports.datasheet_compare import differences, text

    found = differences(read(words[1]), read(words[2]))
    print(text(found, words[1], words[2]))
    return 1 if found else 0


def read(path: str) -> dict[str, Any]:
    """The datasheet in a file.

    Raises UsageError where it holds none.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["form"] != 1:
            raise UsageError(f"{path}: form is {data['form']!r}, expected 1; another version of lastbit wrote it")
        {(sheet["kernel"], sheet["shape"]): sheet["answers"] for sheet in data["sheets"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no datasheet ({error!r}); make one with: lastbit datasheet --json FILE") from error
    found: dict[str, Any] = data
    return found


def _environment(device: str) -> dict[str, Any]:
    from dataclasses import asdict

    from lastbit.environment import environment

    return asdict(environment((device,)))


def _write(target: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")
