"""`lastbit report`: the account of stored runs, printed and written again from their records alone."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.errors import UsageError
from lastbit.options import add_arguments
from lastbit.settling import exit_status

if TYPE_CHECKING:
    from lastbit.reports.page import Beside
    from lastbit.reports.run import Run


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    report = commands.add_parser("report", help="print and write the report of a stored run again")
    report.add_argument(
        "run", metavar="RUN", nargs="*", help="folder of a run, or its run.jsonl; of several: device by kernel"
    )
    report.add_argument("--before", metavar="RUN", help="an earlier run that the page compares this one with")
    report.add_argument("--zoo", metavar="FILE", help="what lastbit zoo --json wrote, for the page")
    report.add_argument("--datasheet", metavar="FILE", help="what lastbit datasheet --json wrote, for the page")
    report.add_argument("--into", metavar="DIR", help="write the report there, not beside the records")
    report.add_argument("--bundle", metavar="FILE", help="pack the run, its baselines and its report into FILE.zip")
    add_arguments(report, "golden")
    report.add_argument("--check", metavar="BUNDLE", help="prove that a bundle's report follows from its records")
    report.add_argument("--schema", action="store_true", help="print the JSON Schema of the lines of run.jsonl")
    report.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Print and write the report; the exit status is that of the run.

    No kernel library is needed. Raises RecordError where the records cannot be read, ReportError where the report
    cannot be written, which is after it was printed.
    """
    if parsed.schema:
        return _schema(parsed)
    if parsed.check or parsed.bundle:
        return _bundle(parsed)
    if not parsed.run:
        raise UsageError("report: RUN is missing; give the folder of a run, or a bundle with --check BUNDLE")
    if len(parsed.run) > 1:
        return _fleet(parsed)
    from lastbit.reports import folder, terminal
    from lastbit.reports.run import read

    (name,) = parsed.run
    stored = read(name)
    here, notes = stored.header.environment, _notes(stored)
    print("\n".join(terminal.lines(stored.records, here, notes, stored.gone, complete=stored.complete)))
    into = Path(parsed.into) if parsed.into else _place(name)
    folder.write(stored, into, _beside(parsed))
    print(f"report: {into / folder.PAGE} and {folder.MARKDOWN}")
    return exit_status(stored.records, bool(stored.header.options.get("strict")))


def _schema(parsed: argparse.Namespace) -> int:
    if parsed.run or parsed.check or parsed.bundle or parsed.into:
        raise UsageError("report: --schema is the same of every run, and takes nothing: lastbit report --schema")
    from lastbit.reports import run_schema

    print(run_schema.FILE.read_text(encoding="utf-8"), end="")
    return 0


def _bundle(parsed: argparse.Namespace) -> int:
    """Pack a run, or prove a bundle: 0 it is, 1 it is not."""
    from lastbit import bundle_command

    if parsed.check:
        if parsed.run or parsed.bundle or parsed.into:
            raise UsageError("report: --check takes a bundle and nothing else: lastbit report --check BUNDLE")
        return bundle_command.check(parsed.check)
    if len(parsed.run) != 1 or parsed.into:
        raise UsageError("report: --bundle packs one run: lastbit report RUN --bundle FILE.zip")
    return bundle_command.pack(parsed.run[0], parsed.bundle, parsed.golden or "golden", Path("suites"))


def _fleet(parsed: argparse.Namespace) -> int:
    """Write the table of several runs; 1 where one of them fails, 2 where nothing was judged."""
    if not parsed.into:
        raise UsageError("report: the table of several runs lies beside none of them; give a folder with --into DIR")
    from lastbit.reports import fleet, folder
    from lastbit.reports.run import read

    runs = {name: read(name) for name in parsed.run}
    table = fleet.fleet(runs)
    folder.put(Path(parsed.into) / fleet.NAME, fleet.page(table))
    print(fleet.sentence(table))
    print(f"report: {Path(parsed.into) / fleet.NAME}")
    return exit_status(record for run in runs.values() for record in run.records)


def _beside(parsed: argparse.Namespace) -> "Beside":
    from lastbit.reports import folder
    from lastbit.reports.page import Beside
    from lastbit.reports.run import read

    return Beside(
        zoo=folder.zoo(Path(parsed.zoo)) if parsed.zoo else None,
        datasheet=folder.datasheet(Path(parsed.datasheet)) if parsed.datasheet else None,
        before=(parsed.before, read(parsed.before)) if parsed.before else None,
    )


def _place(run: str) -> Path:
    path = Path(run)
    return path if path.is_dir() else path.parent


def _notes(stored: "Run") -> list[str]:
    early = [] if stored.complete else ["this run did not come to its end; what follows is what it had judged"]
    return [*early, *stored.notes]
