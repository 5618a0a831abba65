"""The summary page of a CI job: report.md appended to the file that GitHub or Gitea names for it."""

import os
from collections.abc import Mapping
from pathlib import Path

#: The variable that names the file; other systems have no such file.
VARIABLE = "GITHUB_STEP_SUMMARY"
#: Bytes of a step's summary; GitHub drops all of a larger one.
MOST_BYTES = 1 << 20


def append(page: Path, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Append `page`, a report.md, to the summary of this step, if there is one: why that failed, in a sentence.

    What the file holds already counts. What would be more than a mebibyte is cut at a line, and the lines left out are
    counted.
    """
    path = environ.get(VARIABLE, "")
    if not path:
        return []
    try:
        room = MOST_BYTES - (Path(path).stat().st_size if Path(path).exists() else 0)
        with open(path, "ab") as file:
            file.write(shortened(page.read_text(encoding="utf-8"), room))
    except OSError as error:
        why = error.strerror or str(error)
        return [f"{VARIABLE}: {path} cannot be written ({why}); the summary of this job lacks the report"]
    return []


def shortened(text: str, room: int) -> bytes:
    """`text` as UTF-8 with an empty line before it, in at most `room` bytes; b"" where not even a sentence fits."""
    whole = f"\n{text}".encode("utf-8", "replace")
    if len(whole) <= room:
        return whole
    lines = whole.splitlines(keepends=True)
    cut = (b"".join(lines[:kept]) + _end(lines, kept) for kept in reversed(range(len(lines))))
    return next((page for page in cut if len(page) <= room), b"")


def _end(lines: list[bytes], kept: int) -> bytes:
    """What closes the first `kept` lines: an open block of code, an open fold, and how many lines are left out."""
    fence = b""
    folded = False
    for line in lines[:kept]:
        marks = line[: len(line) - len(line.lstrip(b"`"))]
        if not fence and len(marks) > 2:
            fence = marks
        elif fence and line.strip() == fence:
            fence = b""
        elif not fence:
            folded = line.startswith(b"<details>") or (folded and not line.startswith(b"</details>"))
    closing = (fence + b"\n" if fence else b"") + (b"\n</details>\n" if folded else b"")
    left = len(lines) - kept
    return closing + f"\n{left} lines left out: a job summary holds 1 MiB; report.md has all.\n".encode()
