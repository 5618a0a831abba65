"""`lastbit merge RUN... --into DIR`: shards of one run, and runs of several machines, as one run."""

import argparse
import sys
from pathlib import Path
from typing import Any

from lastbit.errors import UsageError


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    merge = commands.add_parser("merge", help="make one run of shards, and of the runs of several machines")
    merge.add_argument("runs", metavar="RUN", nargs="+", help="folder of a run, or its run.jsonl; a merged one, too")
    merge.add_argument("--into", metavar="DIR", required=True, help="folder of the merged run.jsonl")
    merge.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where the merged run is whole, 1 where shards are missing or a part did not come to its end.

    Raises UsageError where the folder cannot take a run, RecordError where runs cannot be read or contradict each
    other; nothing is written then.
    """
    from lastbit.reports.merge import merge, write
    from lastbit.reports.merge_parts import machines
    from lastbit.reports.run import read, unwritable
    from lastbit.reports.summary import clean, counted

    folder = Path(parsed.into)
    if why := unwritable(folder):
        raise UsageError(f"--into is {folder}, but {why}; give another folder")
    merged = merge({name: read(Path(name)) for name in parsed.runs})
    path = write(merged.run, folder)
    header = merged.run.header
    slugs = machines(header)
    print(
        f"{path}: {len(merged.run.records)} records of {counted(len(header.parts), 'part')} "
        f"from {counted(len(slugs), 'kind')} of machine: {clean('; '.join(slugs), 1000)}"
    )
    for line in merged.lacks:
        print(f"not whole: {clean(line)}", file=sys.stderr)
    print(f"report: lastbit report {clean(parsed.into)}")
    return 1 if merged.lacks else 0
