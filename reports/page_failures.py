"""The failures of a report's page: a card for each, with what was found, what is allowed and why it matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lastbit.reports import standing, summary
from lastbit.reports.html import rendered
from lastbit.reports.kernel_section import anchor
from lastbit.reports.page_parts import number, table, word
from lastbit.reports.summary import Group, clean, short_formats
from lastbit.verdict import Outcome, Record

#: Cards, those of them that are unfolded, and lines of the table of others.
CARDS, OPENED, LISTED = 40, 3, 100
#: What is wrong with a result of this kind.
MEANS = {
    Outcome.OVER_BUDGET: "The result is further from the truth than the promised arithmetic can bring it.",
    Outcome.WRONG_CLASS: "NaN, infinity, zero or a number stands where the truth is of another kind.",
    Outcome.WRONG_STRUCTURE: "Shape, type, memory or operands are not as they have to be after the call.",
    Outcome.LAW_BROKEN: "Two results that have to agree do not.",
    Outcome.REGRESSED: "Within what is allowed, but worse than the stored baseline.",
    Outcome.SLOW: "Slower than what it is timed beside, by more than chance explains.",
    Outcome.CRASHED: "The kernel raised or ended its process: there is no result.",
    Outcome.TIMED_OUT: "The kernel did not come to its end: there is no result.",
    Outcome.ERROR: "lastbit itself failed; this says nothing about the kernel.",
}
#: Of these there is no result that the check's law could say anything of.
SILENT = (Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.ERROR)
GONE = "A known finding passes now: its row in findings.toml has to end, or nobody would notice when it comes back."


@dataclass(frozen=True, slots=True)
class Card:
    """One failure, and how many are like it."""

    sign: str
    word: str
    kernel: str
    check: str
    formats: str
    device: str
    more: int
    reason: str
    facts: tuple[tuple[str, str], ...]
    reproduce: str
    anchor: str


def failures(
    groups: Sequence[Group], meanings: Mapping[str, str], known: bool, strictly: Sequence[Record] = ()
) -> Markup:
    """A card for each of `groups`, the worst first; `meanings` say what a failure of "op check" means.

    `strictly` are records that fail only because the run is strict.
    """
    rest = groups[CARDS:]
    heads = ("kernel", "formats", "device", "check", "outcome", "checks", "first line")
    return rendered(
        "failures.html",
        cards=[_card(group, meanings) for group in groups[:CARDS]],
        opened=OPENED,
        known=known,
        rest=table(f"{len(rest)} more kinds of failure", heads, map(_line, rest), LISTED) if rest else "",
        strict=_strict(strictly) if strictly else "",
    )


def _strict(records: Sequence[Record]) -> Markup:
    rows = [
        (one.kernel, short_formats(one.formats), one.device, one.check, one.case, word(one.outcome), one.golden)
        for one in records
    ]
    heads = ("kernel", "formats", "device", "check", "case", "outcome", "golden")
    return table("Fails because the run is strict", heads, rows, LISTED)


def _card(group: Group, meanings: Mapping[str, str]) -> Card:
    record = group.shown
    return Card(
        sign="✗",
        word=word(record.outcome) if record.outcome.failed else "finding no longer happens",
        kernel=clean(record.kernel, 80),
        check=clean(record.check, 60),
        formats=clean(short_formats(record.formats), 60),
        device=clean(record.device, 40),
        more=group.count - 1,
        reason=standing.block(record.reason or word(record.outcome)),
        facts=tuple((name, value) for name, value in _facts(record, meanings) if value),
        reproduce=clean(record.reproduce, 1500),
        anchor=anchor(record.kernel),
    )


def _facts(record: Record, meanings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    law = meanings.get(f"{record.op} {record.check}", "") if record.outcome not in SILENT else ""
    why = GONE if not record.outcome.failed else law or MEANS[record.outcome]
    return (
        ("Why it matters", clean(why)),
        ("Case", clean(record.case, 300)),
        ("Where", clean(record.where, 200)),
        ("Got", clean(record.got, 200)),
        ("Want", clean(record.want, 200)),
        ("Measured / allowed", _ratio(record)),
        ("Allowed because", clean(record.formula, 1000)),
        ("Contract", clean(record.contract, 600)),
        ("Truth by", clean(record.proof, 60)),
        ("Golden", clean(record.golden, 300)),
        ("Known as", clean(record.known, 60)),
        ("Noted", clean("; ".join(f"{name}: {value}" for name, value in record.notes.items()), 600)),
    )


def _ratio(record: Record) -> str:
    if record.measured is None or record.allowed is None:
        return "" if record.measured is None else number(record.measured)
    return f"{number(record.measured)} / {number(record.allowed)}"


def _line(group: Group) -> tuple[object, ...]:
    shown = group.shown
    link = Markup('<a href="#{}">{}</a>').format(anchor(shown.kernel), clean(shown.kernel, 80))
    first = clean(shown.reason.partition("\n")[0], 160)
    formats = short_formats(shown.formats)
    return (link, formats, shown.device, shown.check, word(shown.outcome), group.count, first)


def known_table(records: Sequence[Record], findings: Mapping[str, str]) -> Markup:
    """The known findings that happened: id, what it is, and of which kernels."""
    rows = [(name, checks, kernels, findings.get(name, "")) for name, checks, kernels in summary.known(records)]
    heads = ("id", "checks", "kernels", "what it is")
    told = any(what for *_, what in rows)
    return table("Failures that are known as findings", heads if told else heads[:3], [row[: 3 + told] for row in rows])
