"""badge.svg of a run: its verdict in a word, and how many checks it rests on."""

from collections import Counter

from lastbit.reports import standing
from lastbit.reports.html import rendered
from lastbit.reports.run_data import Run
from lastbit.reports.summary import counted
from lastbit.verdict import Outcome

NAME = "badge.svg"
#: White text on these has a contrast of 5 and more.
GREEN, RED, GREY = "#22702c", "#b3261e", "#5a5a5a"
#: Pixels that a character takes in Verdana at 11 pixels a line, and those that take another width; the text is set to
#: exactly what comes of it, whatever the font.
CHARACTER, MARGIN = 6.8, 8
OTHERS = {**dict.fromkeys("il", 3.0), **dict.fromkeys("f ,t", 4.0), **dict.fromkeys("r:", 4.8), "m": 10.7}


def text(run: Run) -> str:
    """badge.svg of `run`. Nothing of its text comes from a kernel: it is a word of lastbit's and counts."""
    word, rest, colour = said(run)
    label, message = "lastbit", f"{word}: {rest}"
    widths = [round(sum(OTHERS.get(char, CHARACTER) for char in part)) + 2 * MARGIN for part in (label, message)]
    return rendered(
        "badge.svg",
        label=label,
        message=message,
        left=widths[0],
        right=widths[1],
        colour=colour,
        margin=MARGIN,
    )


def said(run: Run) -> tuple[str, str, str]:
    """The word, what it rests on, and the colour; green is for a whole run that conforms, and for nothing else."""
    counts = Counter(stands for _, stands in standing.standings(run))
    judged = sum(record.outcome.judged for record in run.records)
    passed = sum(record.outcome is Outcome.PASS for record in run.records)
    known = [f"{counts['known']} known {'failure' if counts['known'] == 1 else 'failures'}"] if counts["known"] else []
    if counts["fail"]:
        return "does not conform", ", ".join([f"{counts['fail']} of {counted(judged, 'check')} failed", *known]), RED
    if not judged:
        return "nothing judged", counted(len(run.records), "check"), GREY
    rest = ", ".join([f"{counted(passed, 'check')} passed", *known])
    if not run.complete:
        return "incomplete", rest, GREY
    if standing.trouble(run):
        return "needs a look", rest, GREY
    return "conforms", rest, GREEN
