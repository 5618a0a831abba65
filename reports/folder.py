"""The folder of a report: every file that is made of a run's records, beside them."""

from pathlib import Path
from typing import TYPE_CHECKING

from lastbit.errors import ReportError

if TYPE_CHECKING:
    from lastbit.reports.run import Run

PAGE, MARKDOWN = "index.html", "report.md"


def write(run: "Run", folder: Path) -> None:
    """Write every file of the report of `run` into `folder`, which is made where it is not there.

    Raises ReportError where a file cannot be written; files written before it stay, and so do the records.
    """
    from lastbit.reports import markdown

    made = {MARKDOWN: lambda: markdown.text(run, run.notes, run.gone)}
    for name, text in made.items():
        put(folder / name, text())


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
