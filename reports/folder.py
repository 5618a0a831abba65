"""The folder of a report: every file that is made of a run's records, beside them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.errors import RecordError, ReportError

if TYPE_CHECKING:
    from lastbit.reports.page import Beside
    from lastbit.reports.run import Run

PAGE, MARKDOWN = "index.html", "report.md"
#: Files of other commands that the page shows where they lie in the folder.
ZOO, DATASHEET = "zoo.json", "datasheet.json"
#: The run that the folder had before this one, as `RunWriter` keeps it.
PREVIOUS = "run.previous.jsonl"


def write(run: "Run", folder: Path, beside: "Beside | None" = None) -> None:
    """Write every file of the report of `run` into `folder`, which is made where it is not there.

    A zoo.json or datasheet.json in the folder becomes part of the page, unless `beside` has another; what differs from
    the folder's run.previous.jsonl, or the run that `beside` names, is part of page and report.md.
    Raises ReportError where a file cannot be written; files written before it stay, and so do the records.
    """
    from lastbit.reports import badge, compare_runs, compare_story, ctrf, junit, markdown, page
    from lastbit.reports.run import NAME

    found = beside or page.Beside()
    found = replace(
        found,
        records=found.records or (NAME if (folder / NAME).is_file() else ""),
        zoo=found.zoo or (zoo(folder / ZOO) if (folder / ZOO).is_file() else None),
        datasheet=found.datasheet or (datasheet(folder / DATASHEET) if (folder / DATASHEET).is_file() else None),
        before=found.before or _previous(folder / PREVIOUS),
    )
    base, before = found.before or ("", None)
    changes = compare_story.changes(compare_runs.compare(before, run)) if before is not None else []
    put(folder / MARKDOWN, markdown.text(run, run.notes, run.gone, base=base, changes=changes))
    put(folder / page.NAME, page.text(run, found))
    for part in (badge, ctrf, junit):
        put(folder / part.NAME, part.text(run))


def put(path: Path, text: str) -> None:
    """Write one file, folder and all; raises ReportError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise ReportError(
            f"{path}: cannot write ({why}); the records are as they were, write it with: lastbit report RUN --into DIR"
        ) from error


def zoo(path: Path) -> dict[str, Any]:
    """The score that `lastbit zoo --json` wrote; raises ReportError where the file is something else."""
    found = _json(path, "lastbit zoo --json FILE")
    if not isinstance(found, dict):
        raise ReportError(
            f"{path}: is not a JSON object, expected a zoo's score; write it with: lastbit zoo --json FILE"
        )
    return found


def datasheet(path: Path) -> Any:
    """What `lastbit datasheet --json` wrote; raises ReportError where the file is not JSON."""
    return _json(path, "lastbit datasheet --json FILE")


def _previous(path: Path) -> "tuple[str, Run] | None":
    """The folder's run before this one, and its name; None where there is none that this lastbit reads."""
    from lastbit.reports.run import read

    try:
        return (path.name, read(path)) if path.is_file() else None
    except RecordError:
        return None


def _json(path: Path, command: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: cannot read as JSON ({error}); write it with: {command}") from error
