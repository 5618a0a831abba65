"""`lastbit compare A B`: what differs between two stored runs, of two commits, library versions or devices."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.reports.compare_runs import Comparison

#: Options of --perf, and what they are where they are not given.
_OF_PERF = {
    "kernels": [], "kernel": "", "case": [], "device": "cpu", "seed": 0, "budget": 4.0, "threads": 1,
    "cold": False, "warm": False, "instructions": False,
}  # fmt: skip


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where nothing broke, 1 where something did (`compare_runs.exit_status`).

    Raises UsageError where a side is no run or an option is one of --perf, RecordError where a run cannot be read.
    """
    from lastbit.reports import compare_story, compare_text
    from lastbit.reports.compare_runs import compare, exit_status
    from lastbit.reports.run import read

    given = [name for name, default in _OF_PERF.items() if getattr(parsed, name) != default]
    if given:
        raise UsageError(f"compare: --{given[0]} is of --perf; two runs are compared as they were made, leave it out")
    names = (parsed.base, parsed.head)
    _check_runs(names)
    runs = [read(Path(name)) for name in names]
    comparison = compare(*runs)
    status = exit_status(comparison, parsed.strict)
    sides = [compare_story.side(name, run) for name, run in zip(names, runs, strict=True)]
    print("\n".join(compare_text.lines(comparison, sides)), file=sys.stderr if parsed.json == "-" else sys.stdout)
    if parsed.json:
        _write(parsed.json, comparison, status, compare_story.sentence(comparison))
    return status


def _check_runs(names: tuple[str, str]) -> None:
    for name in names:
        path = Path(name)
        what = (
            ""
            if path.is_dir() or path.suffix == ".jsonl"
            else "a file that is no run"
            if path.exists()
            else "not there"
        )
        if what:
            raise UsageError(
                f"compare: {name} is {what}; give the folders of two runs, or their run.jsonl; "
                "to compare the speed of kernels, give --perf"
            )


def _write(target: str, comparison: "Comparison", status: int, sentence: str) -> None:
    import msgspec

    data: dict[str, Any] = {"status": status, "sentence": sentence, **msgspec.to_builtins(comparison)}
    text = msgspec.json.format(msgspec.json.encode(data), indent=1).decode() + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")
