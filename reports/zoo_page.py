"""The zoo's score as a page of HTML: one file, without scripts or anything from the network."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from lastbit.errors import ReportError
from lastbit.reports.summary import clean
from lastbit.reports.zoo import LEGEND, PER_OP, seeds_text, verdict

#: A cell with nothing to say.
NOTHING = "\u2013"
#: Symbol, word and class of each answer: no answer is told by its colour alone.
ANSWERS = {
    "always": ("\u25cf", "always", "p"),
    "sometimes": ("\u25d0", "sometimes", "k"),
    "never": ("\u25cb", "never", "f"),
    "": (NOTHING, "no rule", "n"),
}


def page(run: Mapping[str, Any]) -> str:
    """The run, as outcome.as_json gives it, as a whole document."""
    from lastbit.reports.page import framed

    return framed("zoo.html", "lastbit zoo", score=clean(verdict(run), 2000), body=body(run))


def body(run: Mapping[str, Any], level: int = 2) -> Markup:
    """The run's tables as part of a page, with headings of this level.

    Raises ReportError where `run` is not what `lastbit zoo --json` writes.
    """
    try:
        parts = [
            _judges(run),
            _ops(run),
            _matrix(run),
            _listed("Escaped", ("kernel", "seed", "trials passed"), _escaped(run)),
            _listed("Flagged though right", ("kernel", "seed", "check", "case", "reason"), _flagged(run)),
            _alarms(run),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ReportError(
            f"the zoo's score lacks or mistakes {error}; write it with: lastbit zoo --json FILE"
        ) from error
    made = "".join(parts)
    if level != 2:
        made = made.replace("<h2>", f"<h{level}>").replace("</h2>", f"</h{level}>")
    return Markup(made)  # every text in it is escaped above


def _table(caption: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table; `heads` are text, `rows` are HTML."""
    top = "".join(f'<th scope="col">{_safe(head)}</th>' for head in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide" role="group" tabindex="0" aria-label="{_safe(caption)}">'
        f"<table><caption>{_safe(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(head: str, cells: Iterable[Any]) -> str:
    return f'<th scope="row">{_safe(head)}</th>' + "".join(f"<td>{_safe(str(cell))}</td>" for cell in cells)


def _answer(answer: str, counts: Sequence[int]) -> str:
    symbol, word, name = ANSWERS[answer]
    text = "{} of {}".format(*counts) if answer == "sometimes" else word
    return f'<td class="{name}">{symbol} {_safe(text)}</td>'


def _judges(run: Mapping[str, Any]) -> str:
    answers = [power["answer"] for power in run["faults"]]
    ours = [answers.count(answer) for answer in ("always", "sometimes", "never")]
    law = f"its law, tier {run['tier']}"
    rows = [_row("lastbit", [*ours, f"{run['false_alarms']} of {run['correct']}", f"{run['seconds']:g}", law, ""])]
    for name, rival in _looked(run).items():
        never = rival["classes"] - rival["caught"] - rival["sometimes"]
        alarms = f"{rival['false_alarms']} of {rival['correct']}"
        counts = (rival["caught"], rival["sometimes"], never, alarms, f"{rival['seconds']:g}")
        rows.append(_row(name, (*counts, rival["data"], rival["source"])))
    heads = ("judge", "always", "sometimes", "never", "false alarms", "seconds", "on", "rule from")
    seeds = seeds_text(run)
    return "<h2>Judges</h2>" + _table(f"Fault classes by how often they are caught; {seeds}", heads, rows)


def _ops(run: Mapping[str, Any]) -> str:
    judges = {"lastbit": run["ops"], **{name: rival["ops"] for name, rival in _looked(run).items()}}
    rows = [
        _row(name, ("{} of {}".format(*ops[op]) if op in ops else NOTHING for op in run["ops"]))
        for name, ops in judges.items()
    ]
    return "<h2>Ops</h2>" + _table(PER_OP, ("judge", *run["ops"]), rows)


def _matrix(run: Mapping[str, Any]) -> str:
    asked = _looked(run)
    rows = []
    for power in run["faults"]:
        if not power["tried"]:
            continue
        fault = power["fault"]
        row = _row(fault, (f"{power['always']} of {power['kernels']}",))
        row += _answer(power["answer"], (power["caught"], power["tried"]))
        row += f"<td>{_safe(power['check'] or NOTHING)}</td>"
        for rival in asked.values():
            row += _answer(rival["faults"].get(fault, ""), rival["counts"].get(fault, ()))
        rows.append(row)
    heads = ("class", "kernels always caught", "lastbit", "first seen by", *asked)
    legend = "; ".join(f"{symbol} {word}" for symbol, word, _ in ANSWERS.values())
    return "<h2>Fault classes</h2>" + _table(f"{legend}. {LEGEND}", heads, rows)


def _escaped(run: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["specimen"], one["seed"], one["judged"]) for one in run["escaped"]]


def _flagged(run: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["specimen"], one["seed"], one["check"], one["case"], one["reason"]) for one in run["flagged"]]


def _alarms(run: Mapping[str, Any]) -> str:
    """The right kernels that the rivals flag, by rival."""
    flagged = {name: rival["flagged"] for name, rival in _looked(run).items() if rival["flagged"]}
    if not flagged:
        return ""
    items = "".join(
        f"<details><summary>{_safe(name)}: {len(names)}</summary><p>{_safe(', '.join(names))}</p></details>"
        for name, names in flagged.items()
    )
    return f"<h2>Right kernels that rivals flag</h2>{items}"


def _listed(title: str, heads: Sequence[str], found: Sequence[tuple[Any, ...]]) -> str:
    if not found:
        return ""
    rows = [_row(str(one[0]), one[1:]) for one in found]
    return f"<h2>{_safe(title)}</h2>" + _table(f"{len(found)} in all", heads, rows)


def _looked(run: Mapping[str, Any]) -> dict[str, Any]:
    """The rivals that looked at a kernel at all."""
    return {name: rival for name, rival in run["rivals"].items() if rival["classes"] or rival["correct"]}


def _safe(text: str) -> str:
    return str(escape(clean(text, 2000)))
