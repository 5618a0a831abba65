"""The `lastbit` command: the same code as the pytest path, without pytest."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit import (
    compare_command,
    datasheet_command,
    kernels_command,
    merge_command,
    report_command,
    roofline_command,
    speed_command,
    zoo_command,
)
from lastbit.errors import LastbitError, UsageError
from lastbit.options import OPTIONS, add_arguments

if TYPE_CHECKING:
    from lastbit.verdict import Record

#: Exit statuses: conforms, does not, wrong usage or nothing judged; compare has 3, inconclusive, too.
OK, FAILED, USAGE = 0, 1, 2
#: Commands of the design that are not built.
LATER = ("sweep", "search")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; a user's mistake is one line on standard error, and 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in LATER:
        known = "verify, kernels, golden, report, compare, merge, roofline, formats, zoo, datasheet"
        print(f"lastbit: {given[0]} is not built yet; there are {known}", file=sys.stderr)
        return USAGE
    parsed = _parser().parse_args(given)
    try:
        status: int = parsed.command(parsed)
        sys.stdout.flush()
    except LastbitError as error:
        print(f"lastbit: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        print(f"lastbit: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return USAGE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lastbit", description="Judge numerical kernels to the last bit.")
    parser.add_argument("--version", action="version", version=f"lastbit {_version()}")
    commands = parser.add_subparsers(
        required=True,
        metavar="verify | kernels | golden | report | compare | merge | roofline | formats | zoo | datasheet",
    )
    verify = commands.add_parser("verify", help="judge the kernels of a file, a module, or those of a name")
    verify.add_argument("target", metavar="FILE|MODULE|NAME", help="kernels.py, a module, or a name or glob: torch/mm")
    verify.add_argument("--json", metavar="FILE", help="write every record to FILE, or to standard output for -")
    add_arguments(verify, *(option.name for option in OPTIONS))
    verify.set_defaults(command=_verify)
    kernels_command.add(commands)
    _add_golden(commands)
    report_command.add(commands)
    formats = commands.add_parser("formats", help="what quantized formats lose on typical tensors, in decibels")
    add_arguments(formats, "seed")
    formats.add_argument("--plot", metavar="FILE", help="draw them, too: FILE.svg")
    formats.set_defaults(command=_formats)
    compare_command.add(commands)
    merge_command.add(commands)
    roofline_command.add(commands)
    zoo_command.add(commands)
    datasheet_command.add(commands)
    return parser


def _add_golden(commands: Any) -> None:
    golden = commands.add_parser("golden", help="compare with, adopt and check golden baselines")
    parts = golden.add_subparsers(required=True, metavar="diff | accept | doctor | speed")
    diff = parts.add_parser("diff", help="what a run would change")
    diff.add_argument("run", metavar="RUN", help="folder of a run, or its run.jsonl")
    add_arguments(diff, "golden")
    diff.set_defaults(command=_golden_diff)
    accept = parts.add_parser("accept", help="adopt a run's observations")
    accept.add_argument("run", metavar="RUN", help="folder of a run, or its run.jsonl")
    accept.add_argument("glob", metavar="KEY-GLOB", nargs="?", default="*", help="only records whose key matches")
    accept.add_argument("--reason", required=True, metavar="TEXT", help="why; stored with each record")
    accept.add_argument("--all", action="store_true", help="adopt every record, changed or not")
    accept.add_argument("--allow-worse", action="store_true", help="adopt records that are worse than before, too")
    accept.add_argument("--prune", action="store_true", help="remove records that the run no longer has")
    add_arguments(accept, "golden")
    accept.set_defaults(command=_golden_accept)
    doctor = parts.add_parser("doctor", help="check every golden file")
    doctor.add_argument("run", metavar="RUN", nargs="?", help="a run, to find missing and orphaned records")
    add_arguments(doctor, "golden")
    doctor.set_defaults(command=_golden_doctor)
    speed_command.add(parts)


def _verify(parsed: argparse.Namespace) -> int:
    from lastbit.verify import walk

    given = {name: value for name, value in vars(parsed).items() if name not in ("command", "target", "json")}
    # A run without --device judges on every device found; without --tier, as much as verify() does.
    given["tier"] = given.get("tier") or "standard"
    sources, only = _target(parsed)
    report = walk(_find(sources, only), given | {"only": only}, _again(parsed, sources), _progress)
    to = sys.stderr if parsed.json == "-" else sys.stdout
    print(report, file=to)
    if parsed.report:
        print(f"report: {parsed.report}/index.html and report.md, records: run.jsonl", file=to)
    if parsed.json:
        _write_json(parsed.json, report)
    return report.status


def _formats(parsed: argparse.Namespace) -> int:
    from lastbit.references.quality import compare, table
    from lastbit.references.quality_data import FAMILIES

    rows = compare(seed=int(parsed.seed or 0))
    if parsed.plot:
        from lastbit.reports.quality_plot import plot

        plot(rows, Path(parsed.plot))
    print(table(rows))
    print("\nSignal to quantization noise of bf16 tensors, 256 x 1024; more is better, 6 dB are a bit.")
    for family in FAMILIES.values():
        print(f"{family.name}: {family.why}")
    return OK


def _golden_diff(parsed: argparse.Namespace) -> int:
    print("\n".join(speed_command.keeper(parsed.run).diff(parsed.run, _golden(parsed))))
    return OK


def _golden_accept(parsed: argparse.Namespace) -> int:
    options = {"allow_worse": parsed.allow_worse, "all_keys": parsed.all, "prune": parsed.prune}
    accept = speed_command.keeper(parsed.run).accept
    print("\n".join(accept(parsed.run, _golden(parsed), parsed.glob, parsed.reason, **options)))
    return OK


def _golden_doctor(parsed: argparse.Namespace) -> int:
    from lastbit.golden.adopt import doctor

    folder = _golden(parsed)
    if not folder.is_dir():
        raise UsageError(f"golden folder {folder} is not there; name it with --golden DIR")
    faults = doctor(folder, parsed.run)
    print("\n".join(faults or [f"{folder}: nothing wrong"]))
    return FAILED if faults else OK


def _golden(parsed: argparse.Namespace) -> Path:
    return Path(parsed.golden or "golden")


def _target(parsed: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Sources of kernels and globs of names that the command line names."""
    from importlib.util import find_spec

    target, sources, only = parsed.target, list(parsed.kernels or ()), list(parsed.only or ())
    is_module = (
        target.replace(".", "").isidentifier() and not target.startswith(".") and find_spec(target.partition(".")[0])
    )
    if target.endswith(".py") or Path(target).is_file() or is_module:
        return [*sources, target], only
    return sources, [*only, target]


def _find(sources: list[str], only: list[str]) -> Any:
    from lastbit.discovery import find

    return find(sources, only)


def _again(parsed: argparse.Namespace, sources: list[str]) -> str:
    """The command of a failure's last line, up to the options that pick its case."""
    words = ["lastbit", "verify", parsed.target]
    for source in sources:
        words += ["--kernels", source] if source != parsed.target else []
    return " ".join(words)


def _progress(done: int, total: int, record: "Record") -> None:
    """One line that is written over, for people; nothing where standard error is a file."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        text = f"{done}/{total} {record.outcome} {record.kernel} {record.check} {record.case}"
        print(f"\r\033[K{text[:100]}", end=end, file=sys.stderr, flush=True)


def _write_json(target: str, report: Any) -> None:
    import msgspec

    from lastbit.reports.run import encode

    records = ",\n".join(encode(record) for record in report.records)
    environment = msgspec.json.encode(report.environment).decode()
    passed = "true" if report.passed else "false"
    text = (
        f'{{"passed": {passed}, "status": {report.status}, "environment": {environment}, "records": [\n{records}\n]}}\n'
    )
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")


def _version() -> str:
    import lastbit

    return lastbit.__version__


if __name__ == "__main__":
    sys.exit(main())
