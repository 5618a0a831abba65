"""The score of the zoo for people: the matrix of fault class and judge, in the terminal and in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

#: How the matrix writes an answer.
MARKS = {"always": "yes", "sometimes": "some", "never": "NO", "no kernel": "-"}
#: Rows of kernels that escaped or were flagged in view; the rest is counted, and is in the JSON.
SHOWN = 20


def text(run: Mapping[str, Any]) -> str:
    """The run, as outcome.as_json gives it, for a terminal."""
    lines = [verdict(run), "", tabulate(_matrix(run), _heads(run), tablefmt="simple"), LEGEND, ""]
    lines += [tabulate(_totals(run), TOTALS, tablefmt="simple"), ""]
    lines += [tabulate(_ops(run), ("judge", *run["ops"]), tablefmt="simple"), PER_OP, ""]
    lines += _listed("Escaped", [_escape(one) for one in run["escaped"]])
    lines += _listed("Flagged though right", [_flag(one) for one in run["flagged"]])
    return "\n".join(lines)


def markdown(run: Mapping[str, Any]) -> str:
    """The run in GitHub's Markdown."""
    lines = ["# lastbit zoo", "", f"**{verdict(run)}**", "", "## Judges", ""]
    lines += [tabulate(_totals(run), TOTALS, tablefmt="github"), "", "## Ops", ""]
    lines += [tabulate(_ops(run), ("judge", *run["ops"]), tablefmt="github"), "", PER_OP, "", "## Fault classes", ""]
    lines += [tabulate(_matrix(run), _heads(run), tablefmt="github"), "", LEGEND, ""]
    for title, rows in (
        ("Escaped", [_escape(one) for one in run["escaped"]]),
        ("Flagged though right", [_flag(one) for one in run["flagged"]]),
    ):
        if rows:
            lines += [f"## {title}", "", *[f"- {row}" for row in rows[:SHOWN]], ""]
    return "\n".join(lines)


LEGEND = (
    "yes: every kernel of the class under every seed; 3/20: so many of so many pairs of a kernel and a seed; NO: none; "
    "-: the rule does not cover it, which counts neither way"
)
TOTALS = ("judge", "always", "some", "never", "false alarms", "seconds", "on")


PER_OP = "faulty kernels caught under every seed, of those looked at"


def verdict(run: Mapping[str, Any]) -> str:
    """The score in one sentence."""
    stopped = "" if run["complete"] else "stopped by the user, so of what was judged until then: "
    return (
        f"{stopped}lastbit caught {run['caught']} of {run['classes']} fault classes always and flagged "
        f"{run['false_alarms']} of {run['correct']} correct variants; tier {run['tier']}, "
        f"{seeds_text(run)}, "
        f"{run['seconds']:g} s"
    )


def seeds_text(run: Mapping[str, Any]) -> str:
    """How many seeds every kernel was judged under, and how many the core of the right ones."""
    seeds = len(run["seeds"])
    more = f" ({seeds + len(run['more_seeds'])} of {run['core']} variants)" if run["core"] else ""
    return f"{seeds} seed{'' if seeds == 1 else 's'}{more}"


def _heads(run: Mapping[str, Any]) -> list[str]:
    return ["class", "kernels", "lastbit", "first seen by", *_asked(run)]


def _asked(run: Mapping[str, Any]) -> dict[str, Any]:
    """The rivals that looked at a faulty kernel."""
    return {name: rival for name, rival in run["rivals"].items() if rival["classes"]}


def _looked(run: Mapping[str, Any]) -> dict[str, Any]:
    """The rivals that looked at a kernel at all."""
    return {name: rival for name, rival in run["rivals"].items() if rival["classes"] or rival["correct"]}


def _matrix(run: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for power in run["faults"]:
        if not power["tried"]:
            continue
        answers = [_answer(rival, power["fault"]) for rival in _asked(run).values()]
        caught = MARKS[power["answer"]]
        if power["answer"] == "sometimes":
            caught = f"{power['caught']}/{power['tried']}"
        rows.append([power["fault"], str(power["kernels"]), caught, power["check"], *answers])
    return rows


def _answer(rival: Mapping[str, Any], fault: str) -> str:
    """A rival's cell: how many of how many where it is some."""
    answer = rival["faults"].get(fault, "no kernel")
    return "{}/{}".format(*rival["counts"][fault]) if answer == "sometimes" else MARKS[answer]


def _totals(run: Mapping[str, Any]) -> list[list[str]]:
    answers = [power["answer"] for power in run["faults"]]
    ours = [str(answers.count(answer)) for answer in ("always", "sometimes", "never")]
    alarms = f"{run['false_alarms']} of {run['correct']}"
    rows = [["lastbit", *ours, alarms, f"{run['seconds']:g}", f"its law, tier {run['tier']}"]]
    for name, rival in _looked(run).items():
        never = rival["classes"] - rival["caught"] - rival["sometimes"]
        counts = [str(count) for count in (rival["caught"], rival["sometimes"], never)]
        alarms = f"{rival['false_alarms']} of {rival['correct']}"
        rows.append([name, *counts, alarms, f"{rival['seconds']:g}", rival["data"]])
    return rows


def _ops(run: Mapping[str, Any]) -> list[list[str]]:
    judges = {"lastbit": run["ops"], **{name: rival["ops"] for name, rival in _asked(run).items()}}
    pairs = {name: {op: "{} of {}".format(*pair) for op, pair in ops.items()} for name, ops in judges.items() if ops}
    return [[name, *(found.get(op, "-") for op in run["ops"])] for name, found in pairs.items()]


def _escape(one: Mapping[str, Any]) -> str:
    return f"{one['specimen']} under seed {one['seed']} passed {one['judged']} trials"


def _flag(one: Mapping[str, Any]) -> str:
    reason = " ".join(one["reason"].split())[:200]
    return f"{one['specimen']} under seed {one['seed']} by {one['check']} {one['case']}: {reason}"


def _listed(title: str, rows: Sequence[str]) -> list[str]:
    if not rows:
        return []
    more = [f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return [title, *[f"  {row}" for row in rows[:SHOWN]], *more, ""]
